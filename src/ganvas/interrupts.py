"""Ctrl-C and SIGTERM, one as good as the other: collected until what is in hand is done, or interrupting at once."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType

GRACE_SECONDS = 2.0
"""Seconds after a request to stop in which the work in hand may still be finished; then it is given up."""


@dataclass
class Stop:
    """The requests to stop that came so far; false while there are none.

    Attributes:
        signals: their numbers, as they came.
        since: `time.monotonic` at the first.
        raising: whether the next one raises KeyboardInterrupt, as a second Ctrl-C always does; see `raised`.
    """

    signals: list[int] = field(default_factory=list)
    since: float = 0.0
    raising: bool = False

    def __bool__(self) -> bool:
        return bool(self.signals)

    @contextmanager
    def raised(self) -> Iterator[None]:
        """A request that comes in the block raises KeyboardInterrupt."""
        self.raising = True
        try:
            yield
        finally:
            self.raising = False

    @contextmanager
    def raised_once(self) -> Iterator[None]:
        """A first request that comes in the block only ends the block."""
        try:
            with self.raised():
                yield
        except KeyboardInterrupt:
            if not self or self.at_once:
                raise

    @property
    def overdue(self) -> bool:
        """Whether the first request is older than PATIENCE."""
        return bool(self) and time.monotonic() - self.since > GRACE_SECONDS

    @property
    def at_once(self) -> bool:
        """Whether Ctrl-C came after a first request. A second SIGTERM asks for nothing new: launchers repeat it."""
        return signal.SIGINT in self.signals[1:]


@contextmanager
def collected(on_first: Callable[[], None] = lambda: None) -> Iterator[Stop]:
    """Collects both into what it yields; calls `told` at the first, and raises KeyboardInterrupt at a second Ctrl-C."""
    stop = Stop()

    def catch(number: int, frame: FrameType | None) -> None:
        stop.since = stop.since or time.monotonic()
        stop.signals.append(number)
        if len(stop.signals) == 1:
            with suppress(RuntimeError):  # it came in the middle of a print, and streams cannot be entered twice
                on_first()
        if stop.raising or stop.at_once:
            signal.default_int_handler(number, frame)

    with _handle_signals(catch):
        yield stop


@contextmanager
def interrupting() -> Iterator[None]:
    """Both raise KeyboardInterrupt, Ctrl-C also where a shell's background job would ignore it."""
    with _handle_signals(signal.default_int_handler):
        yield


@contextmanager
def ending() -> Iterator[None]:
    """Both end the process at once: for imports, within which a KeyboardInterrupt may be swallowed."""
    with _handle_signals(signal.SIG_DFL):
        yield


@contextmanager
def _handle_signals(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # only the main thread may listen
        yield
        return
    previous = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)
