"""What people see while a run goes on: a live bar on a terminal, one plain line a tick elsewhere."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from ganvas.runs.log import write_text
from ganvas.speed import Speed

_LEAST_WAIT = 0.1
"""Seconds between two movements of the bar."""


class Terminal:
    """Says things to the user, on stderr and in the run's log.txt; silent on all ranks but the first.

    Use as a context manager: the bar lives inside. `critic` says that D is one.
    """

    def __init__(self, total: int, *, quiet: bool = False, critic: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)
        self._total, self._log = total, None
        self._moved = self._ticked = 0.0
        self._losses = self._quality = ""
        self._d = "critic" if critic else "D"
        self._bar = Progress(
            TextColumn("[bold]{task.fields[kimg]}[/] kimg"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%  {task.fields[speed]} images/s  {task.fields[losses]}"),
            TextColumn("[cyan]left {task.fields[left]}"),
            console=self._console,
            disable=quiet or not self._console.is_terminal,
        )
        self._task = self._bar.add_task("", total=total, kimg="0", speed="–", losses="", left="–")
        self._speed = Speed()

    def __enter__(self) -> "Terminal":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def write_to(self, path: Path) -> None:
        """From now on, repeat everything in this file."""
        self._log = path

    def say(self, text: str) -> None:
        """One message, above the bar."""
        self._console.print(text, markup=False)
        self._keep(text)

    def move(self, nimg: int) -> None:
        """The bar and the speed, at most ten times a second."""
        now = time.monotonic()
        if now - self._moved > _LEAST_WAIT:
            self._moved = now
            self._speed.mark(nimg)
            speed = self._speed.per_second
            self._bar.update(
                self._task,
                completed=nimg,
                kimg=f"{nimg / 1000:.1f}/{self._total / 1000:g}",
                speed=f"{speed:,.0f}" if speed else "–",
                losses=self._losses + self._quality,
                left=self._left(nimg),
            )

    def tick(self, line: Mapping[str, Any]) -> None:
        """The numbers of a tick: into the bar, or as a line of its own."""
        players = ((self._d, "D/loss"), ("G", "G/loss"))
        self._losses = "  ".join(f"{who} {line[loss]['mean']:.3f}" for who, loss in players if loss in line)
        if "quality" in line:
            self._quality = f"  quality {line['quality']:.3g} (best {line['best']:.3g})"
        speed = line["kimg_per_s"] * 1000
        text = (
            f"kimg {line['nimg'] / 1000:.1f}/{self._total / 1000:g}  {speed:,.0f} images/s  "
            f"{self._losses}{self._quality}  left {self._left(line['nimg'], speed)}"
        )
        if self._bar.disable:
            self.say(text)
        else:
            self._keep(text)

    def _left(self, nimg: int, otherwise: float | None = None) -> str:
        """The time that the rest takes at the recent speed, or at another one before that is known."""
        speed = self._speed.per_second or otherwise
        return clock((self._total - nimg) / speed) if speed else "–"

    def _keep(self, text: str) -> None:
        """Into log.txt, each line with the time."""
        if self._log is not None:
            stamp = time.strftime("%Y-%m-%d %H:%M:%S")
            write_text(self._log, "".join(f"{stamp}  {line}\n" for line in text.splitlines()))


def clock(seconds: float) -> str:
    """Seconds as minutes:seconds, hours:minutes:seconds, or days."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours / 24:,.0f} days"
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
