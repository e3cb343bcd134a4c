"""Output of a training: a progress bar on a terminal, one line a tick elsewhere, and the run's log.txt."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from ganvas.runs.log import append_text
from ganvas.speed import SpeedMeter

_MIN_INTERVAL = 0.1
"""Seconds between two updates of the bar."""


class ProgressReporter:
    """Prints messages and progress to stderr and to the run's log.txt.

    Use as a context manager, within which the bar is shown.

    Args:
        total: length of the run in images.
        quiet: print nothing to stderr.
        critic: call D the critic.
    """

    def __init__(self, total: int, *, quiet: bool = False, critic: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)
        self._total, self._log = total, None
        self._updated_at = 0.0
        self._losses = self._quality = ""
        self._d_name = "critic" if critic else "D"
        self._bar = Progress(
            TextColumn("[bold]{task.fields[kimg]}[/] kimg"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%  {task.fields[speed]} images/s  {task.fields[losses]}"),
            TextColumn("[cyan]left {task.fields[left]}"),
            console=self._console,
            disable=quiet or not self._console.is_terminal,
        )
        self._task = self._bar.add_task("", total=total, kimg="0", speed="–", losses="", left="–")
        self._speed = SpeedMeter()

    def __enter__(self) -> "ProgressReporter":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def set_log_file(self, path: Path) -> None:
        """Writes all later messages to this file too."""
        self._log = path

    def print(self, text: str) -> None:
        """Prints a message, above the bar."""
        self._console.print(text, markup=False)
        self._write_log(text)

    def update_bar(self, nimg: int) -> None:
        """Updates the bar and the speed, at most ten times a second."""
        now = time.monotonic()
        if now - self._updated_at > _MIN_INTERVAL:
            self._updated_at = now
            self._speed.update(nimg)
            speed = self._speed.per_second
            self._bar.update(
                self._task,
                completed=nimg,
                kimg=f"{nimg / 1000:.1f}/{self._total / 1000:g}",
                speed=f"{speed:,.0f}" if speed else "–",
                losses=self._losses + self._quality,
                left=self._format_time_left(nimg),
            )

    def report_tick(self, line: Mapping[str, Any]) -> None:
        """Shows the numbers of a tick in the bar, or as a line of its own, and writes them to log.txt."""
        losses = ((self._d_name, "D/loss"), ("G", "G/loss"))
        self._losses = "  ".join(f"{name} {line[key]['mean']:.3f}" for name, key in losses if key in line)
        if "quality" in line:
            self._quality = f"  quality {line['quality']:.3g} (best {line['best']:.3g})"
        speed = line["kimg_per_s"] * 1000
        text = (
            f"kimg {line['nimg'] / 1000:.1f}/{self._total / 1000:g}  {speed:,.0f} images/s  "
            f"{self._losses}{self._quality}  left {self._format_time_left(line['nimg'], speed)}"
        )
        if self._bar.disable:
            self.print(text)
        else:
            self._write_log(text)

    def _format_time_left(self, nimg: int, fallback_speed: float | None = None) -> str:
        """The time left at the recent speed, or at another one while that is unknown."""
        speed = self._speed.per_second or fallback_speed
        return format_duration((self._total - nimg) / speed) if speed else "–"

    def _write_log(self, text: str) -> None:
        """Writes to log.txt, each line with the time."""
        if self._log is not None:
            stamp = time.strftime("%Y-%m-%d %H:%M:%S")
            append_text(self._log, "".join(f"{stamp}  {line}\n" for line in text.splitlines()))


def format_duration(seconds: float) -> str:
    """Formats seconds as minutes:seconds, hours:minutes:seconds, or days."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours / 24:,.0f} days"
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
