"""Ctrl-C and SIGTERM, one as good as the other: collected until what is in hand is done, or interrupting at once."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def collected() -> Iterator[list[int]]:
    """Collects both into the list it yields; a second Ctrl-C interrupts at once."""
    caught: list[int] = []

    def catch(number: int, frame: FrameType | None) -> None:
        if caught and number == signal.SIGINT:
            signal.default_int_handler(number, frame)
        caught.append(number)

    with _handled(catch):
        yield caught


@contextmanager
def interrupting() -> Iterator[None]:
    """Both raise KeyboardInterrupt, Ctrl-C also where a shell's background job would ignore it."""
    with _handled(signal.default_int_handler):
        yield


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # only the main thread may listen
        yield
        return
    previous = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)
