"""Progress on a terminal: a bar on stderr, the recent speed, and durations in words."""

import math
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from ganvas.terminal import drop_output, escape_in_console, unwrapped

WINDOW_SECONDS = 30.0
"""Seconds over which a speed is measured."""

MIN_BAR_WIDTH = 10
"""Columns that a bar keeps while the text after it still has a part to leave out."""

DELAY = 0.7
"""Seconds after which `progress_bar` appears: short work needs none."""


class ProgressBar:
    """A bar between two texts, on terminals only. Use as a context manager; elsewhere nothing is shown.

    A terminal that only prints line after line (TERM=dumb) shows none either.

    Args:
        total: the amount of work.
        console: the rich console that messages above the bar are printed on; by default one on stderr.
        shown: show it, if the console is a terminal that can move its cursor.
        interval: seconds between two updates; others are dropped.
        transient: remove the bar at the end.
    """

    def __init__(
        self, total: int, *, console: Any = None, shown: bool = True, interval: float = 0.1, transient: bool = False
    ) -> None:
        self.console = console or make_console()
        self.shown = shown and self.console.is_terminal and not self.console.is_dumb_terminal
        self._interval, self._updated_at = interval, -interval
        if self.shown:
            from rich.progress import BarColumn, Progress, TextColumn

            self._bar = Progress(
                TextColumn("{task.fields[before]}", markup=False, style="bold"),
                BarColumn(),
                TextColumn("{task.fields[after]}", markup=False),
                console=self.console,
                transient=transient,
            )
            self._task = self._bar.add_task("", total=total, before="", after="")

    def __enter__(self) -> "ProgressBar":
        if self.shown:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.shown:
            self._bar.stop()

    @property
    def is_due(self) -> bool:
        """Whether the interval since the last update has passed."""
        return time.monotonic() - self._updated_at >= self._interval

    def update(
        self, done: float, before: str, after: Sequence[str], total: int | None = None, *, last: bool = False
    ) -> None:
        """Shows the amount of work done, and the two texts; nothing if no update is due, unless it is the last one.

        The parts of `after` are in the order of their importance: in a narrow terminal the last ones are left out.
        """
        if not (last or self.is_due):
            return
        self._updated_at = time.monotonic()
        if self.shown:
            text = self._join_fitting(before, after)
            self._bar.update(self._task, completed=done, before=before, after=text, total=total)

    def _join_fitting(self, before: str, after: Sequence[str]) -> str:
        """The first part of the text after the bar, and as many more as fit."""
        from rich.cells import cell_len

        width = self.console.width - cell_len(before) - MIN_BAR_WIDTH - 2  # a space on each side of the bar
        text, *more = after
        for part in more:
            if cell_len(longer := f"{text}  {part}") > width:
                break
            text = longer
        return text


class Advance(Protocol):
    """Reports that `count` more images are done."""

    def __call__(self, count: int, /) -> None: ...


@contextmanager
def progress_bar(title: str, total: int, *, shown: bool) -> Iterator[Advance]:
    """Yields a function that counts finished images; the bar appears on stderr after DELAY seconds, if at all."""
    if not (shown and sys.stderr.isatty()):
        yield lambda count: None
        return
    bar, speed, began, done, visible = ProgressBar(total, transient=True), SpeedMeter(), time.monotonic(), 0, False

    def advance(count: int) -> None:
        nonlocal done, visible
        done += count
        if not visible and time.monotonic() - began > DELAY:
            visible = True
            bar.__enter__()
        if visible and bar.is_due:
            speed.update(done)
            bar.update(done, title, (f"{done:,}/{total:,}  left {speed.format_time_left(total - done)}",))

    try:
        yield advance
    finally:
        if visible:
            bar.__exit__()


class SpeedMeter:
    """Work per second over the last WINDOW_SECONDS, or since the update before the last if that is longer ago."""

    def __init__(self) -> None:
        self._marks = deque[tuple[float, float]]()

    def update(self, done: float) -> None:
        """Records how much work is done by now. Pauses count as time: they delay the end too."""
        now = time.monotonic()
        self._marks.append((now, done))
        while len(self._marks) > 2 and self._marks[1][0] <= now - WINDOW_SECONDS:
            self._marks.popleft()

    @property
    def per_second(self) -> float | None:
        """None before the second update."""
        if not self._marks:
            return None
        (began, before), (now, done) = self._marks[0], self._marks[-1]
        return (done - before) / (now - began) if now > began else None

    def format_time_left(self, work: float, speed: float | None = None) -> str:
        """The time that so much work takes at the recent speed, or at `speed` while that is unknown."""
        speed = self.per_second or speed
        return format_duration(work / speed) if speed else "–"


def make_console(*, quiet: bool = False) -> Any:
    """The rich console on stderr: no colours for numbers, no line breaks of its own.

    Once stderr cannot be written any more, what it is given goes nowhere: no work ends because nobody can see it.
    """
    from rich.console import Console

    class LastingConsole(Console):
        @property
        def file(self) -> Any:
            """While a bar is shown, rich's own proxy lies above our stream that escapes: it looks through one only."""
            return unwrapped(super().file)

        @file.setter
        def file(self, new_file: Any) -> None:
            self._file = new_file

        def _check_buffer(self) -> None:
            try:
                super()._check_buffer()
            except OSError:  # the terminal was closed, the reader of the pipe has ended, or a disk is full
                self.quiet = True
                drop_output(self.file)

        def on_broken_pipe(self) -> None:
            raise

    return escape_in_console(LastingConsole(stderr=True, quiet=quiet, highlight=False, soft_wrap=True))


def format_rate(per_second: float) -> str:
    """Formats an amount a second: 1,708, 9.7, 0.5."""
    return f"{per_second:,.0f}" if per_second >= 10 else f"{per_second:.2g}"


def format_minutes(minutes: float) -> str:
    """Formats a length in words: 1 minute, 2.5 minutes."""
    return f"{minutes:g} minute{'' if minutes == 1 else 's'}"


def format_duration(seconds: float) -> str:
    """Formats seconds as minutes:seconds, hours:minutes:seconds, or days; never below 0:00."""
    if not math.isfinite(seconds):
        return "unknown"
    seconds = max(0.0, seconds)
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours / 24:,.0f} days"
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
