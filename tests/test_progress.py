"""The time left follows the speed of the last half minute, and is seen in any terminal."""

import io
import math
import os
import re
import sys
from pathlib import Path

import pytest

from ganvas import progress
from ganvas.training.progress import ProgressReporter


class Run:
    """A run of 100 kimg with a simulated clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, nimg: int = 0) -> None:
        self.now, self.nimg = 1000.0, nimg
        monkeypatch.setattr(progress.time, "monotonic", lambda: self.now)
        self.terminal = ProgressReporter(100_000, quiet=True)
        self.terminal.set_log_file(Path("log.txt"))
        self.terminal.update_bar(nimg)

    def advance(self, seconds: float, images_per_s: float, images_per_round: int = 10) -> None:
        for _ in range(round(seconds * images_per_s / images_per_round)):
            self.now += images_per_round / images_per_s
            self.nimg += images_per_round
            self.terminal.update_bar(self.nimg)

    def left(self) -> str:
        self.terminal.report_tick({"nimg": self.nimg, "kimg_per_s": 5.0})
        return Path("log.txt").read_text().splitlines()[-1].rpartition("left ")[2]


def test_time_left_follows_a_change_of_speed_within_half_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch)
    run.advance(600, 100)
    assert run.left() == "6:40"  # 40 kimg
    run.advance(31, 10)
    assert run.left() == "1:06:09"  # 39.69 kimg at 10 images/s
    run.advance(31, 100)
    assert run.left() == "6:06"


def test_output_that_nobody_reads_any_more_ends_no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of `ganvas train 2>&1 | tee log` whose tee has ended."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        with ProgressReporter(100_000) as terminal:
            terminal.set_log_file(Path("log.txt"))
            terminal.print("one")
            terminal.report_tick({"nimg": 1000, "kimg_per_s": 5.0})
            stream.write("two")
    assert [line[21:24] for line in Path("log.txt").read_text().splitlines()] == ["one", "kim"]


def test_time_left_of_a_resumed_run_uses_only_the_new_session(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, nimg=90_000)
    run.advance(5, 50)
    assert run.left() == "3:15"  # 9.75 kimg


def test_time_left_with_rounds_longer_than_half_a_minute_uses_the_last_round(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch)
    run.advance(300, 10, images_per_round=1000)
    run.advance(100, 100, images_per_round=10_000)
    assert run.nimg == 13_000
    assert run.left() == "14:30"  # 87 kimg at 100 images/s


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-0.4, "0:00"), (-7300.0, "0:00"), (59.6, "1:00"), (math.inf, "unknown"), (math.nan, "unknown")],
)
def test_duration_is_never_negative(seconds: float, text: str) -> None:
    assert progress.format_duration(seconds) == text


class Terminal(io.StringIO):
    encoding = "utf-8"  # type: ignore[assignment]

    def isatty(self) -> bool:
        return True


TICK = {
    "nimg": 54_000, "kimg_per_s": 1.708, "D/loss": {"mean": 0.66}, "G/loss": {"mean": 0.766}, "quality": 0.198,
    "best": 0.191,
}  # fmt: skip


def report_tick(monkeypatch: pytest.MonkeyPatch, term: str = "xterm", columns: int = 80, **changed: float) -> str:
    """What a training of 60 kimg prints in a terminal of so many columns, with one tick."""
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": term, "COLUMNS": str(columns), "LINES": "24"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setattr(progress.SpeedMeter, "per_second", changed.get("kimg_per_s", 1.708) * 1000)
    with ProgressReporter(60_000, preview=False) as reporter:
        reporter.report_tick({**TICK, **changed})
        reporter.update_bar(54_000, last=True)
    return terminal.getvalue()


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        (30, "90%  left 0:04"),
        (60, "90%  left 0:04  1,708 images/s"),
        (80, "90%  left 0:04  1,708 images/s  quality 0.198"),
        (120, "90%  left 0:04  1,708 images/s  quality 0.198  D 0.660  G 0.766  best 0.191"),
    ],
)
def test_bar_shows_the_time_left_and_as_much_more_as_fits(
    columns: int, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", report_tick(monkeypatch, columns=columns))
    line = [line for line in re.split(r"[\r\n]", printed) if "kimg" in line][-1].rstrip()
    assert line.startswith("54.0/60 kimg ")
    assert line.endswith(f" {shown}")
    assert len(line) <= columns
    assert len(re.findall("[━╸╺]", line)) >= min(progress.MIN_BAR_WIDTH, columns - 29)


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_terminal_without_a_cursor_gets_a_line_for_each_tick(term: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = "kimg 54.0/60  1,708 images/s  D 0.660  G 0.766  quality 0.198 (best 0.191)  left 0:04\n"
    assert report_tick(monkeypatch, term) == expected


@pytest.mark.parametrize(("speed", "text"), [(0.5, "0.5"), (9.96, "10"), (9.7, "9.7"), (1708.4, "1,708")])
def test_slow_speeds_are_not_0(speed: float, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert progress.format_rate(speed) == text
    assert f"  {text} images/s  " in report_tick(monkeypatch, "dumb", kimg_per_s=speed / 1000)
    assert f"  {text} images/s  " in report_tick(monkeypatch, kimg_per_s=speed / 1000)
