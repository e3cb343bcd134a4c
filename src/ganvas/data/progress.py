"""A progress bar for work that takes noticeable time."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Advance(Protocol):
    def __call__(self, count: int, /) -> None:
        """Reports that `count` more images are done."""
        ...


_DELAY = 0.7  # seconds


@contextmanager
def progress_bar(title: str, total: int, *, shown: bool) -> Iterator[Advance]:
    """Yields a function that counts finished images; the bar appears on stderr after 0.7 seconds, on terminals only."""
    if not (shown and sys.stderr.isatty()):
        yield lambda count: None
        return

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    display = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    task = display.add_task(title, total=total)
    began = time.monotonic()
    visible = False

    def advance(count: int) -> None:
        nonlocal visible
        display.advance(task, count)
        if not visible and time.monotonic() - began > _DELAY:
            display.start()
            visible = True

    try:
        yield advance
    finally:
        if visible:
            display.stop()
