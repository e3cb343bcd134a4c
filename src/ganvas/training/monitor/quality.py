"""The trend of the quality: measured now and then, at a bounded cost; an error does not end the run."""

from collections.abc import Callable
from functools import partial
from typing import Any

from ganvas.diagnosis.budget import TimeBudget
from ganvas.evaluation.independence import is_independent
from ganvas.evaluation.trend import MIN_IMAGES, Trend
from ganvas.networks import Generator
from ganvas.runs import log
from ganvas.runs.card import read_card
from ganvas.runs.folder import Run

LEAST = 0.5
"""Seconds of measuring time below which nothing is tried: the first ten of a run."""


class QualityMonitor:
    """The trend of a run, and the best value so far.

    Args:
        build_trend: a number of images, and the keyword arguments of `Trend` -> the trend on so many.
        every: images between two measurements; 0 for none.
        budget: its "quality" pays for them.

    Attributes:
        best: the lowest value; infinite before the first, and where none is chosen.
        trend: the measurement; None before the first time, and where it is switched off.
    """

    def __init__(self, run: Run, build_trend: Callable[..., Trend], every: int, budget: TimeBudget) -> None:
        self._run, self._every, self._budget = run, every, budget
        self._measured_at = 0
        self.trend: Trend | None = None
        self.best, self._count, features = float("inf"), None, None
        if run.best_quality is not None and run.best_snapshot is not None:  # else it is damaged, or not there yet
            quality = read_card(run.best_snapshot)["quality"]
            self.best, self._count, features = (quality[key] for key in ("value", "count", "extractor"))
        self._build_trend = partial(build_trend, features=features)

    def resume(self, nimg: int) -> None:
        """Continues after an earlier session."""
        self._measured_at = nimg

    def measure(self, average: Callable[[], Generator], nimg: int) -> float | None:
        """The trend's value of `average()` if it is due and the budget leaves the time for it, else None.

        An error is written to events.jsonl and ends the measuring, not the run.
        """
        if not self._every or nimg // self._every <= self._measured_at // self._every:
            return None
        if not self._budget.allows("quality", LEAST):
            return None
        left = self._budget.left("quality")
        try:
            with self._budget.spend("quality"):
                generator = average()
                if self.trend is None:
                    self.trend = self._start(generator, self._budget.seconds * self._every / nimg)
                value = self.trend.measure(generator, left) if self.trend.expected_seconds <= left else None
        except Exception as error:  # a failing measurement must not end the run
            log.append_event(self._run.path, "evaluation failed", nimg, error=f"{type(error).__name__}: {error}")
            self._every = 0
            return None
        if value is not None:
            self._measured_at = nimg
        return value

    def _start(self, generator: Generator, between: float) -> Trend:
        """The trend on as many images as time allows for measurements that are so many seconds apart."""
        if self._count is None:
            affordable = self._budget.shares["quality"] * between
            self._count = round(affordable / self._build_trend(MIN_IMAGES).seconds_per_image(generator))
        return self._build_trend(self._count)

    def describe_dependence(self) -> str:
        """Why the values say little of the images, if D looks through the network of their features; else empty."""
        assert self.trend is not None
        protocol = self.trend.describe()
        return "" if is_independent(protocol) else protocol["independence"]["sentence"]

    def describe(self, value: float) -> dict[str, Any]:
        """The entry in the card of the best snapshot."""
        assert self.trend is not None
        return {"value": value, **self.trend.describe()}
