"""The estimate of the time left follows the speed of the last half minute."""

import math
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
