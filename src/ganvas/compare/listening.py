"""The wish to stop: Ctrl-C and SIGTERM, collected, so that what is in hand can be finished first."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def listening() -> Iterator[list[int]]:
    """Collects Ctrl-C and SIGTERM into the list it yields; a second Ctrl-C interrupts at once."""
    caught: list[int] = []

    def catch(number: int, _: FrameType | None) -> None:
        caught.append(number)
        if len(caught) > 1 and number == signal.SIGINT:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # only the main thread may listen
        yield caught
        return
    previous = {number: signal.signal(number, catch) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
