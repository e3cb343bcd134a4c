"""The length of a run: known from the start, or planned from the time it may take and re-planned while it runs.

A schedule is a function of the fraction of the run that is done. A re-plan changes how fast that fraction grows with
the images from then on, not the fraction itself, so no schedule jumps or goes back.
"""

import dataclasses
import math
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ganvas.config import DEFAULT_TICK_KIMG, TrainConfig, replace
from ganvas.progress import format_duration, format_minutes
from ganvas.reading import is_number

TICKS = 40
"""Ticks, at which a run by time is re-planned, in its first plan at the least."""

WINDOW = 0.1
"""The fraction of the run's time over which its speed is averaged: weights of older ticks fall by e in it."""

TRIAL_WEIGHT = 0.02
"""The fraction of the run's time that the speed of the trial counts as in this average."""

TOLERANCE = 0.05
"""A run is re-planned if its end is off by more than this fraction of the time left, and by more than a round."""


PAUSE, BEAT = 20.0, 1.0
"""If a thread that looks at the clock every BEAT seconds could not for PAUSE seconds, the process did not run."""


def now() -> float:
    """Seconds on a clock that never goes back."""
    return time.monotonic()


@dataclass(frozen=True)
class Plan:
    """How long a run is, and which fraction of it is done.

    Attributes:
        total: images shown to D at its end.
        nimg: images shown when this was planned.
        fraction: of the run that was done then, from 0 to 1.
    """

    total: int
    nimg: int = 0
    fraction: float = 0.0

    @classmethod
    def of(cls, config: TrainConfig) -> "Plan":
        """That of a configuration; of a run by time, which is not planned yet, its end, as that of its last schedule.

        Schedules in kimg do not go by the fraction: a trial of its last round has to be after all of them.
        """
        if config.kimg is not None:
            return cls(config.total_images)
        last = max((schedule.finish for schedule in config.schedules().values() if schedule.absolute), default=0.0)
        return cls(math.ceil(1000 * last) + config.images_per_round, fraction=1.0)

    def fraction_at(self, nimg: int) -> float:
        """The fraction that is done after `nimg` images, which are at least those of the plan."""
        if nimg >= self.total:
            return 1.0
        return self.fraction + (1.0 - self.fraction) * ((nimg - self.nimg) / (self.total - self.nimg))

    def ending_at(self, total: int, nimg: int) -> "Plan":
        """The plan that continues this one after `nimg` images, with another end."""
        return Plan(total, nimg, self.fraction_at(nimg))


class Planner:
    """Plans a run that ends when its time is up.

    The clock counts all of `ganvas.training.start.train`, from its call to the last save: decoding the data, the trial,
    training, probes, saving; and earlier sessions up to the state that was saved. A plan leaves time for the
    snapshots to come. Every session trains a round at the least. A session that was killed may have planned after its
    last saved state: the next one does the same at the same images (`replay`), and goes by the clock from there on.
    Pauses do not count where `leaving_out_pauses` looks for them.

    Args:
        config: of a run by time.
        began: the time by `now` at which this session began.

    Attributes:
        minutes: the time that the run may take.
        plan: the present one.
        tick_interval, snapshot_interval: images between two ticks and two snapshots, from the first plan.
    """

    def __init__(self, config: TrainConfig, began: float) -> None:
        assert config.minutes is not None
        self._config, self._began, self.minutes = config, began, config.minutes
        self._budget, self._round = config.minutes * 60, config.images_per_round
        self._earlier = 0.0  # seconds of earlier sessions
        self._images = self._seconds = 0.0  # trained and spent within the window
        self._marked_nimg, self._marked_at = 0, 0.0  # at the last tick
        self._saving_since: float | None = None
        self._save_seconds, self._saves, self._session_nimg = 0.0, 0, 0
        self._totals, self._replayed_until = dict[int, int](), 0  # planned ends, by the images at which they were
        self._seen_at: float | None = None  # when this process ran last, while pauses are left out
        self._lock = threading.RLock()
        self.plan, self.tick_interval, self.snapshot_interval = Plan(1), 1, sys.maxsize

    @property
    def elapsed(self) -> float:
        """Seconds so far, those of earlier sessions included."""
        with self._lock:
            at = now()
            if self._seen_at is not None:
                if at - self._seen_at > PAUSE:
                    self._began += at - self._seen_at
                self._seen_at = at
            return self._earlier + at - self._began

    @contextmanager
    def leaving_out_pauses(self) -> Iterator[None]:
        """Time in the block does not count while this process is stopped (Ctrl-Z), or its container or machine is.

        A round may take longer than PAUSE, and use hardly any CPU time. So a thread looks at the clock meanwhile.
        """
        ended = threading.Event()

        def look() -> None:
            while not ended.wait(BEAT):
                _ = self.elapsed

        thread = threading.Thread(target=look, name="ganvas-pauses", daemon=True)
        self._seen_at = now()
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self._seen_at = None

    @property
    def seconds_left(self) -> float:
        """Seconds until the time is up; negative after that."""
        return self._budget - self.elapsed

    @property
    def images_per_s(self) -> float:
        """The present speed, without saving."""
        return self._images / self._seconds

    def start(self, images_per_s: float) -> None:
        """Plans a new run by the speed of its trial."""
        self._seconds = TRIAL_WEIGHT * self._budget
        self._images = images_per_s * self._seconds
        self.plan = Plan(max(self._round, self._images_left()))
        kimg = self.plan.total / 1000
        tick_kimg = max(min(DEFAULT_TICK_KIMG, kimg / TICKS), self._round / 1000)
        planned = replace(self._config, kimg=kimg, tick_kimg=self._config.runtime.tick_kimg or tick_kimg)
        self.tick_interval, self.snapshot_interval = planned.tick_every(), planned.snapshot_every()

    def load_state(self, saved: Mapping[str, Any]) -> None:
        """Continues a run after what `saved_state` gave; intervals that the user has set since then are kept."""
        self.plan = Plan(**saved["plan"])
        self._earlier, self._marked_nimg = saved["elapsed"], saved["marked_nimg"]
        self._images, self._seconds = saved["images"], saved["seconds"]
        self._marked_at, self._save_seconds = saved["elapsed"] - saved["pending"], saved["saves"][0]
        runtime = self._config.runtime
        self.tick_interval = self._config.tick_every() if runtime.tick_kimg else saved["tick"]
        self.snapshot_interval = self._config.snapshot_every() if runtime.snapshot_kimg else saved["snapshot"]

    def replay(self, nimg: int, events: Iterable[Mapping[str, Any]], lines: Iterable[Mapping[str, Any]]) -> None:
        """Does what a session that was killed did after its last saved state, again at the same images.

        Args:
            nimg: images shown at that state.
            events: those of the run; "replanned" ones have the end in `kimg`.
            lines: of its stats.jsonl; up to the last one of a killed session its plans are those of the events.
        """
        for event in events:
            if event["event"] == "replanned" and event["nimg"] > nimg and is_number(event.get("kimg")):
                self._totals[event["nimg"]] = round(event["kimg"] * 1000)
        self._replayed_until = max([0, *self._totals, *(line["nimg"] for line in lines)])

    def is_replaying(self, nimg: int) -> bool:
        """Whether a session that was killed has planned already what comes after so many images."""
        return nimg <= self._replayed_until

    def saved_state(self) -> dict[str, Any]:
        """What is saved with the state of the training."""
        elapsed = self.elapsed
        return {
            "plan": dataclasses.asdict(self.plan),
            "elapsed": elapsed,
            "images": self._images,
            "seconds": self._seconds,
            "marked_nimg": self._marked_nimg,
            "pending": (elapsed if self._saving_since is None else self._saving_since) - self._marked_at,
            "saves": [self._save_seconds, self._saves],
            "tick": self.tick_interval,
            "snapshot": self.snapshot_interval,
        }

    def planned_config(self) -> TrainConfig:
        """The configuration with the length and the intervals of the plan instead of the time."""
        kimg, tick_kimg, snapshot_kimg = (
            images / 1000 for images in (self.plan.total, self.tick_interval, self.snapshot_interval)
        )
        return replace(self._config, kimg=kimg, tick_kimg=tick_kimg, snapshot_kimg=snapshot_kimg)

    def describe(self, nimg: int = 0) -> str:
        """The plan in words, after so many images."""
        left, round_seconds = max(0.0, self.seconds_left), self._round / self.images_per_s
        text = f"{format_minutes(self._budget / 60)}, planned as {self.plan.total / 1000:g} kimg"
        if round_seconds > left:
            return f"{text}: a round, of {format_duration(round_seconds)}, takes longer than what is left of the time"
        return text if nimg == 0 else f"{text}, with {format_duration(left)} left"

    def begin_rounds(self, nimg: int) -> None:
        """The rounds of this session begin: what came before is not counted in the speed."""
        pending = self._earlier - self._marked_at
        self._marked_at, self._session_nimg = self.elapsed - pending, nimg

    def leave_out(self, began: float, images: int) -> None:
        """What was trained since `began`, a value of `elapsed`, is not counted in the speed; its time is."""
        self._marked_at += self.elapsed - began
        self._marked_nimg += images

    @contextmanager
    def saving(self) -> Iterator[None]:
        """The block is a snapshot: its time counts, but not in the speed."""
        began = self._saving_since = self.elapsed
        yield
        seconds, self._saving_since = self.elapsed - began, None
        self._marked_at += seconds
        self._saves += 1
        if self._saves > 1:  # the first of a session imports libraries
            self._save_seconds = seconds

    def is_due(self, nimg: int) -> bool:
        """Whether `update` is due, tick or not: the time is up, or a session that was killed planned anew here."""
        return nimg in self._totals if self.is_replaying(nimg) else self._time_is_up(nimg)

    def _time_is_up(self, nimg: int) -> bool:
        """Whether the run ends now, so that the end of its last save is closest to the end of its time."""
        if nimg <= self._session_nimg:
            return False
        return self.seconds_left - self._save_seconds < self._round / self.images_per_s / 2

    def update(self, nimg: int) -> Plan:
        """The plan after a tick, at the planned end, or where it is due; another one if it misses the time."""
        if not self.is_replaying(nimg) and self._time_is_up(nimg):
            if nimg < self.plan.total:
                self.plan = self.plan.ending_at(nimg, nimg)
            return self.plan
        elapsed = self.elapsed
        images, seconds = nimg - self._marked_nimg, elapsed - self._marked_at
        decay = math.exp(-seconds / (WINDOW * self._budget))
        self._images, self._seconds = self._images * decay + images, self._seconds * decay + seconds
        self._marked_nimg, self._marked_at = nimg, elapsed
        if self.is_replaying(nimg):
            if nimg in self._totals:
                self.plan = self.plan.ending_at(self._totals[nimg], nimg)
            return self.plan
        left = self._images_left(nimg)
        tolerance = max(TOLERANCE * left, self._round)
        if abs(self.plan.total - nimg - left) > tolerance:
            self.plan = self.plan.ending_at(nimg + left, nimg)
        return self.plan

    def _images_left(self, nimg: int = 0) -> int:
        """Images of the whole rounds that fit into the time left, beside the snapshots that are due within them."""
        saves, images = 0, self._round
        while images:
            saves += 1
            seconds = max(0.0, self.seconds_left - saves * self._save_seconds)
            images = round(seconds * self.images_per_s / self._round) * self._round
            end, every = nimg + images, self.snapshot_interval
            if (end - 1) // every - nimg // every < saves:  # one of them is at the end
                break
        return images
