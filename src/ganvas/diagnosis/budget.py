"""The time that monitoring may take: one account of training seconds, of what was spent, and on what."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

SHARE = 0.08
"""The share of the training time for all monitoring of a run together. Only probes on which interventions depend are
never left out, and may exceed it; then less is left for the rest."""

PROBES = 0.03
"""The part of it for probes of the networks; what remains is for the trend of the quality."""

FREE = 2.0
"""Seconds of a run's probes that do not count: the first probe imports libraries."""


class TimeBudget:
    """What measurements may still take: each has a share of the training time, and all together have the sum.

    Args:
        shares: {name: share of the training time} of each measurement.
        free: {name: seconds} that do not count.

    Attributes:
        shares: as given.
        seconds: training time so far.
        spent: {name: seconds} of each measurement.
    """

    def __init__(self, shares: Mapping[str, float], free: Mapping[str, float] = {}) -> None:
        self.seconds, self.spent = 0.0, dict.fromkeys(shares, 0.0)
        self.shares, self._free = dict(shares), dict.fromkeys(shares, 0.0) | dict(free)

    @classmethod
    def of_run(cls) -> "TimeBudget":
        """Of a run of Ganvas: for its probes and the trend of its quality."""
        return cls({"probes": PROBES, "quality": SHARE - PROBES}, {"probes": FREE})

    def left(self, name: str) -> float:
        """Seconds that a measurement may take now; negative where too many were spent."""
        own = {one: self._free[one] + share * self.seconds - self.spent[one] for one, share in self.shares.items()}
        return min(own[name], sum(own.values()))

    def allows(self, name: str, expected: float = 0.0) -> bool:
        """Whether a measurement that is expected to take so many seconds may run now."""
        return self.left(name) >= expected

    @contextmanager
    def spend(self, name: str) -> Iterator[None]:
        """Adds the seconds of the block to those of a measurement."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.spent[name] += time.perf_counter() - began

    def resume(self, seconds: float) -> None:
        """Continues after so many seconds of training, in which each measurement has used up its share."""
        self.seconds = max(self.seconds, seconds)
        for name, share in self.shares.items():
            self.spent[name] = max(self.spent[name], share * seconds)
