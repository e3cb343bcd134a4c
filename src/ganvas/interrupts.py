"""Handlers of Ctrl-C (SIGINT), SIGTERM and SIGHUP: collect them until the current work is done, or interrupt at once.

SIGHUP comes when the terminal is closed or the connection to it is lost. Where it is ignored (nohup), it stays so.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType

from ganvas.errors import GanvasError

GRACE_SECONDS = 2.0
"""Seconds after a stop request in which the current work may still be finished; then it is cancelled."""


@dataclass
class StopRequests:
    """The stop requests received so far; false while there are none.

    Attributes:
        signals: their signal numbers, in order.
        since: `time.monotonic` of the first.
        raising: whether the next one raises KeyboardInterrupt, as a second Ctrl-C always does.
    """

    signals: list[int] = field(default_factory=list)
    since: float = 0.0
    raising: bool = False

    def __bool__(self) -> bool:
        return bool(self.signals)

    @contextmanager
    def raise_in_block(self) -> Iterator[None]:
        """A request that arrives in the block raises KeyboardInterrupt."""
        self.raising = True
        try:
            yield
        finally:
            self.raising = False

    @contextmanager
    def end_block(self) -> Iterator[None]:
        """A first request that arrives in the block only ends the block."""
        try:
            with self.raise_in_block():
                yield
        except KeyboardInterrupt:
            if not self or self.immediate:
                raise

    @property
    def overdue(self) -> bool:
        """Whether the first request is older than GRACE_SECONDS."""
        return bool(self) and time.monotonic() - self.since > GRACE_SECONDS

    @property
    def immediate(self) -> bool:
        """Whether Ctrl-C followed a first request. Another signal has no effect: launchers and shells repeat it."""
        return signal.SIGINT in self.signals[1:]


@contextmanager
def collect_stop_requests(on_first: Callable[[], None] = lambda: None) -> Iterator[StopRequests]:
    """Collects the signals in the block; calls `on_first` at the first.

    Raises:
        KeyboardInterrupt: at a second Ctrl-C.
    """
    stop = StopRequests()

    def catch(number: int, frame: FrameType | None) -> None:
        stop.since = stop.since or time.monotonic()
        stop.signals.append(number)
        if len(stop.signals) == 1:
            with suppress(RuntimeError):  # a print may have been interrupted, and streams are not reentrant
                on_first()
        if stop.raising or stop.immediate:
            signal.default_int_handler(number, frame)

    with _handle_signals(catch):
        yield stop


@contextmanager
def raise_on_signal() -> Iterator[None]:
    """The signals raise KeyboardInterrupt in the block; Ctrl-C even in a background job, where shells ignore it.

    Errors that follow one are taken for it, except those of Ganvas: libraries in C++ turn what is raised while they
    convert an argument into an error of their own.
    """
    interrupted = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        signal.default_int_handler(number, frame)

    with _handle_signals(interrupt):
        try:
            yield
        except Exception as error:
            if interrupted and not isinstance(error, GanvasError):
                raise KeyboardInterrupt from error
            raise


@contextmanager
def exit_on_signal() -> Iterator[None]:
    """The signals end the process at once in the block: for imports, which may swallow a KeyboardInterrupt."""

    def end(number: int, frame: FrameType | None) -> None:
        with suppress(OSError):  # the terminal may be gone
            os.write(2, b"ganvas: interrupted\n")
        os._exit(130)

    with _handle_signals(end):
        yield


@contextmanager
def _handle_signals(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return
    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    numbers = [number for number in numbers if signal.getsignal(number) is not None]  # of C: it cannot be put back
    previous = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, before in previous.items():
            if signal.getsignal(number) is handler:  # else it is ignored from now on
                signal.signal(number, before)
