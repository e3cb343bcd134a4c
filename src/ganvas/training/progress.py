"""Output of a training: a progress bar on a terminal, one line a tick elsewhere, and the run's log.txt."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ganvas.preview import IMAGES, MAX_IMAGES, Preview
from ganvas.progress import ProgressBar, SpeedMeter, format_duration, format_rate, make_console
from ganvas.runs.log import append_text
from ganvas.training.planning import Planner


class ProgressReporter:
    """Prints messages and progress to stderr and to the run's log.txt.

    Use as a context manager, within which the bar is shown.

    Args:
        total: length of the run in images.
        quiet: print nothing to stderr.
        critic: call D the critic.
        preview: show images under the bar, where the terminal can.
    """

    def __init__(self, total: int, *, quiet: bool = False, critic: bool = False, preview: bool = True) -> None:
        self._console = make_console(quiet=quiet)
        self._preview = Preview(self._console, shown=preview and not quiet)
        self._bar = ProgressBar(total, console=self._console, shown=not quiet)
        self._speed = SpeedMeter()
        self._total, self._log = total, None
        self._planner: Planner | None = None
        self._losses = self._quality = self._best = ""
        self._d_name = "critic" if critic else "D"

    def __enter__(self) -> "ProgressReporter":
        self._bar.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.__exit__()
        self._preview.leave()

    def set_length(self, total: int, planner: Planner | None) -> None:
        """Shows another length from now on, and the time that the planner of a run by time has left."""
        self._total, self._planner = total, planner

    def set_log_file(self, path: Path) -> None:
        """Writes all later messages to this file too."""
        self._log = path

    def print(self, text: str) -> None:
        """Prints a message, above the bar."""
        with self._preview.hidden():
            self._console.print(text, markup=False)
        self._write_log(text)

    def show_images(self, read: Callable[[int], Sequence[Image.Image]], classes: int = 0) -> None:
        """Shows the images that `read` returns, called with the most that are needed: one of each class, if they fit.

        Args:
            read: the first n images, class by class if there are classes.
            classes: their number; 0 where training is not conditional.
        """
        if self._preview.shown:
            needed = min(classes, MAX_IMAGES)
            self._preview.show(read(max(IMAGES, needed)), needed)

    def update_bar(self, nimg: int, *, last: bool = False) -> None:
        """Updates the bar and the speed, at most ten times a second, and at the end."""
        if last or self._bar.is_due:
            self._preview.follow_size()
            self._speed.update(nimg)
            speed = format_rate(self._speed.per_second) if self._speed.per_second else "–"
            done = f"{nimg / self._total:4.0%}  left {self._format_time_left(nimg)}"
            more = (f"{speed} images/s", self._quality, self._losses, self._best)
            self._bar.update(
                nimg,
                f"{nimg / 1000:.1f}/{self._total / 1000:g} kimg",
                (done, *filter(None, more)),
                total=self._total,
                last=last,
            )

    def report_tick(self, line: Mapping[str, Any]) -> None:
        """Shows the numbers of a tick in the bar, or as a line of its own, and writes them to log.txt."""
        losses = ((self._d_name, "D/loss"), ("G", "G/loss"))
        self._losses = "  ".join(f"{name} {line[key]['mean']:.3f}" for name, key in losses if key in line)
        if "quality" in line:
            self._quality = f"quality {line['quality']:.3g}"
            self._best = f"best {line['best']:.3g}" if "best" in line else ""
        speed = line["kimg_per_s"] * 1000
        quality = f"{self._quality} ({self._best})" if self._best else self._quality
        text = "  ".join(
            [
                f"kimg {line['nimg'] / 1000:.1f}/{self._total / 1000:g}",
                f"{format_rate(speed)} images/s",
                *filter(None, (self._losses, quality)),
                f"left {self._format_time_left(line['nimg'], speed)}",
            ]
        )
        if self._bar.shown:
            self._write_log(text)
        else:
            self.print(text)

    def _format_time_left(self, nimg: int, speed: float | None = None) -> str:
        if self._planner is not None:
            return format_duration(max(0.0, self._planner.seconds_left))
        return self._speed.format_time_left(self._total - nimg, speed)

    def _write_log(self, text: str) -> None:
        """Writes to log.txt, each line with the time."""
        if self._log is not None:
            stamp = time.strftime("%Y-%m-%d %H:%M:%S")
            append_text(self._log, "".join(f"{stamp}  {line}\n" for line in text.splitlines()))
