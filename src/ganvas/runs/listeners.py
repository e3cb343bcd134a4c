"""Listeners of a training: they are told when a run has written something, and read it from the run's folder."""

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Protocol

from ganvas.errors import GanvasError, describe_value
from ganvas.runs.folder import Run

END_SECONDS, INTERRUPTED_SECONDS = 60.0, 5.0
"""How long a training waits for a listener after its end, and after an interruption."""


class Listener(Protocol):
    """Hears of a run on the main process. Only `end` may take time: training waits for each call."""

    def begin(self, run: Run, report: Callable[[str], object]) -> None:
        """A session of the training begins: what an earlier one wrote is in the folder. `report` prints a text."""

    def written(self) -> None:
        """The run has written a line of stats.jsonl, an event or a grid."""

    def end(self, seconds: float) -> None:
        """Nothing more will be written; the training ends after so many seconds at the latest."""


class Listeners:
    """The listeners of one training. One that raises is left out from then on, with a warning: training goes on.

    A context manager, whose end is that of the training.
    """

    def __init__(self, listeners: Iterable[Listener], report: Callable[[str], object]) -> None:
        self._listeners, self._report = list(listeners), report

    def __enter__(self) -> "Listeners":
        return self

    def begin(self, run: Run) -> None:
        """Tells all of them that a session begins."""
        self._tell("begin", run, self._report)

    def written(self) -> None:
        """Tells all of them that the run has written something."""
        self._tell("written")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        interrupted = kind is not None and not issubclass(kind, Exception)
        self._tell("end", INTERRUPTED_SECONDS if interrupted else END_SECONDS)

    def _tell(self, what: str, *arguments: Any) -> None:
        for listener in list(self._listeners):
            try:
                getattr(listener, what)(*arguments)
            except Exception as error:  # it belongs to somebody else, and the training does not depend on it
                self._listeners.remove(listener)
                reason = str(error) if isinstance(error, GanvasError) else f"{type(error).__name__}: {error}"
                self._report(f"Warning: {type(listener).__name__} failed, and hears no more of this run: {reason}")


def check_listeners(value: Any) -> tuple[Listener, ...]:
    """The listeners that a caller passes.

    Raises:
        GanvasError: one of them has not the three methods.
    """
    methods = ("begin", "written", "end")
    listeners = tuple(value) if isinstance(value, list | tuple) else (value,)
    for one in listeners:
        if isinstance(one, type) or not all(callable(getattr(one, name, None)) for name in methods):
            raise GanvasError(
                f"listeners is {describe_value(value)}.", expected=f"objects with the methods {', '.join(methods)}"
            )
    return listeners
