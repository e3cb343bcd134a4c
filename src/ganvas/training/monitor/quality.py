"""The trend of the quality: measured now and then, at a bounded cost; an error does not end the run."""

import json
import time
from typing import Any

import torch

from ganvas.config import TrainConfig
from ganvas.data import ImageSet
from ganvas.evaluation.trend import MIN_IMAGES, Trend
from ganvas.networks import Generator
from ganvas.runs import log
from ganvas.runs.folder import Run

SHARE = 0.05
"""Of the training time, at most."""

LEAST = 0.5
"""Seconds of measuring time below which nothing is tried: the first ten of a run."""


class QualityMonitor:
    """The trend of a run, and the best value so far.

    Attributes:
        best: the lowest value; infinite before the first.
        trend: the measurement; None before the first time, and where it is switched off.
    """

    def __init__(self, run: Run, config: TrainConfig, images: ImageSet, device: torch.device) -> None:
        self._run, self._config, self._images, self._device = run, config, images, device
        every = config.runtime.evaluate_every
        self._every = config.snapshot_every() if every is None else round(every * 1000)
        self._measured_at, self._spent = 0, 0.0
        self.trend: Trend | None = None
        self.best, self._count = float("inf"), None
        if run.best_snapshot is not None:
            card = json.loads((run.best_snapshot / "card.json").read_text(encoding="utf-8"))
            self.best, self._count = card["quality"]["value"], card["quality"]["count"]

    def resume(self, nimg: int, seconds: float) -> None:
        """Continues after an earlier session, which has used its share of the time."""
        self._measured_at, self._spent = nimg, SHARE * seconds

    def measure(self, generator: Generator, nimg: int, seconds: float) -> float | None:
        """The trend's value if it is due and `seconds` of training leave the time for it, else None.

        An error is written to events.jsonl and ends the measuring, not the run.
        """
        left = SHARE * seconds - self._spent
        if not self._every or nimg // self._every <= self._measured_at // self._every or left < LEAST:
            return None
        began = time.perf_counter()
        try:
            if self.trend is None:
                self.trend = self._start(generator, seconds * self._every / nimg)
            value = self.trend.measure(generator, left) if self.trend.expected_seconds <= left else None
        except Exception as error:  # a failing measurement must not end the run
            log.append_event(self._run.path, "evaluation failed", nimg, error=f"{type(error).__name__}: {error}")
            self._every = 0
            return None
        self._spent += time.perf_counter() - began
        if value is not None:
            self._measured_at = nimg
        return value

    def _start(self, generator: Generator, between: float) -> Trend:
        """The trend on as many images as time allows for measurements that are so many seconds apart."""
        arguments = self._images, self._config.network.latent, self._config.dataset.conditional, self._device
        if self._count is None:
            self._count = round(SHARE * between / Trend(*arguments, MIN_IMAGES).seconds_per_image(generator))
        return Trend(*arguments, self._count)

    def describe(self, value: float) -> dict[str, Any]:
        """The entry in the card of the best snapshot."""
        assert self.trend is not None
        return {"value": value, **self.trend.describe()}
