"""Is it luck? Two entrants' numbers, seed by seed, and what chance alone would do to their difference."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

LEVEL = 0.95
"""Of every interval."""


@dataclass(frozen=True)
class Pairing:
    """a beside b.

    Attributes:
        a, b: whose numbers.
        seeds: how many of each were used; the smaller number where they differ.
        paired: whether the same seeds were trained, and compared one by one.
        ratio: whether a/b was compared, on a logarithmic scale; else a - b.
        estimate: the geometric mean of a/b, or the mean of a - b.
        low, high: its 95 % interval by Student's t; None with a single seed, which says nothing of chance.
        p: two-sided, of no difference; None with a single seed, or where every seed says exactly the same.
    """

    a: str
    b: str
    seeds: int
    paired: bool
    ratio: bool
    estimate: float
    low: float | None = None
    high: float | None = None
    p: float | None = None

    @property
    def beyond_chance(self) -> bool:
        """Whether the interval leaves out that both are equal."""
        equal = 1.0 if self.ratio else 0.0
        return self.low is not None and self.high is not None and not self.low <= equal <= self.high


def pairing(a: str, ours: Mapping[int, float], b: str, theirs: Mapping[int, float], *, ratio: bool) -> Pairing | None:
    """Compares values by seed: paired by Student's t where two seeds or more are shared, else by Welch's.

    Args:
        ratio: compare logarithms; values that are not above zero cannot be, and are compared by difference.

    Returns:
        None where a side has no finite value.
    """
    ours, theirs = ({seed: x for seed, x in side.items() if math.isfinite(x)} for side in (ours, theirs))
    if not ours or not theirs:
        return None
    ratio = ratio and min(*ours.values(), *theirs.values(), math.inf) > 0
    common = sorted(ours.keys() & theirs.keys())
    paired = len(common) > 1 or (len(ours) == len(theirs) == len(common))
    chosen = (common, common) if paired else (sorted(ours), sorted(theirs))
    x, y = (np.array([side[seed] for seed in of]) for side, of in zip((ours, theirs), chosen, strict=True))
    x, y = (np.log(x), np.log(y)) if ratio else (x, y)
    estimate, seeds = float(x.mean() - y.mean()), min(len(x), len(y))
    low, high, p = _interval(x, y, paired)
    ends = [None if end is None else _back(end, ratio) for end in (low, high)]
    return Pairing(a, b, seeds, paired, ratio, _back(estimate, ratio), ends[0], ends[1], p)


def holm(p: Sequence[float | None]) -> list[float | None]:
    """The p of several comparisons, each as it counts among all (Holm 1979); None stays None."""
    known = sorted((value, i) for i, value in enumerate(p) if value is not None)
    adjusted: list[float | None] = [None] * len(p)
    most = 0.0
    for rank, (value, i) in enumerate(known):
        most = max(most, min(1.0, (len(known) - rank) * value))
        adjusted[i] = most
    return adjusted


def _interval(x: np.ndarray, y: np.ndarray, paired: bool) -> tuple[float | None, float | None, float | None]:
    if min(len(x), len(y)) < 2:
        return None, None, None
    spread = (x - y).std() if paired else x.std() + y.std()
    estimate = float(x.mean() - y.mean())
    if spread <= 1e-12 * max(abs(x).max(), abs(y).max(), 1e-300):  # every seed says the same: t is not defined
        return estimate, estimate, None
    from scipy import stats  # half a second's import

    found: Any = stats.ttest_rel(x, y) if paired else stats.ttest_ind(x, y, equal_var=False)
    interval = found.confidence_interval(LEVEL)
    return float(interval.low), float(interval.high), float(found.pvalue)


def _back(value: float, ratio: bool) -> float:
    return math.exp(min(value, 700.0)) if ratio else value
