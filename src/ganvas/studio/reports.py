"""What work in a child process says before it is done, and whether it shall end: the child's side of `worker`."""

import threading
from collections.abc import Callable
from typing import Any

stopping = threading.Event()
"""Set when the page wants the work to end with what it has."""

_write: Callable[[Any], None] = lambda event: None  # noqa: E731 - replaced by the child


def start(write: Callable[[Any], None]) -> None:
    """Sends what is said to `write` from now on."""
    global _write
    _write = write


def say(**event: Any) -> None:
    """Sends values of JSON to the studio; they must not follow each other faster than pages are drawn."""
    _write(event)
