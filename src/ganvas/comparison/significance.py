"""Significance: two candidates' values over seeds, with a confidence interval and a p-value of their difference."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

CONFIDENCE = 0.95
"""Confidence level of every interval."""


@dataclass(frozen=True)
class PairTest:
    """The comparison of candidate a with candidate b.

    Attributes:
        a, b: the candidates' names.
        seeds: number of seeds used of each; the smaller number where they differ.
        paired: whether both have the same seeds, compared one by one.
        ratio: whether a/b is compared, on a logarithmic scale; else a - b.
        estimate: the geometric mean of a/b, or the mean of a - b.
        low, high: its 95 % confidence interval by Student's t; None with a single seed.
        p: two-sided p-value of no difference; None with a single seed, or where all seeds give exactly the same.
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
    def equal(self) -> float:
        """The estimate of candidates that are equal."""
        return 1.0 if self.ratio else 0.0

    @property
    def significant(self) -> bool:
        """Whether the confidence interval excludes equality."""
        return self.low is not None and self.high is not None and not self.low <= self.equal <= self.high


def compare_pair(
    a: str, a_values: Mapping[int, float], b: str, b_values: Mapping[int, float], *, ratio: bool
) -> PairTest | None:
    """Tests the difference of values by seed: paired t-test where two or more seeds are shared, else Welch's t-test.

    Args:
        a_values, b_values: seed -> value.
        ratio: compare logarithms; if a value is not positive, differences are compared instead.

    Returns:
        None where a side has no finite value.
    """
    a_values, b_values = ({seed: x for seed, x in side.items() if math.isfinite(x)} for side in (a_values, b_values))
    if not a_values or not b_values:
        return None
    ratio = ratio and min(*a_values.values(), *b_values.values(), math.inf) > 0
    common = sorted(a_values.keys() & b_values.keys())
    paired = len(common) > 1 or (len(a_values) == len(b_values) == len(common))
    a_seeds, b_seeds = (common, common) if paired else (sorted(a_values), sorted(b_values))
    x, y = np.array([a_values[seed] for seed in a_seeds]), np.array([b_values[seed] for seed in b_seeds])
    x, y = (np.log(x), np.log(y)) if ratio else (x, y)
    estimate, seeds = float(x.mean() - y.mean()), min(len(x), len(y))
    low, high, p = _t_interval(x, y, paired)
    ends = [None if end is None else _from_log(end, ratio) for end in (low, high)]
    return PairTest(a, b, seeds, paired, ratio, _from_log(estimate, ratio), ends[0], ends[1], p)


def central_value(values: Iterable[float], *, ratio: bool) -> float:
    """The geometric mean where values are compared by their ratios, else the arithmetic mean."""
    values = list(values)
    if len(set(values)) == 1:  # exactly, without the error of a logarithm
        return values[0]
    return math.exp(fmean(map(math.log, values))) if ratio else fmean(values)


def adjust_holm(p: Sequence[float | None]) -> list[float | None]:
    """The p-values of several tests, adjusted for their number (Holm 1979); None stays None."""
    known = sorted((value, i) for i, value in enumerate(p) if value is not None)
    adjusted: list[float | None] = [None] * len(p)
    largest = 0.0
    for rank, (value, i) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * value))
        adjusted[i] = largest
    return adjusted


def _t_interval(x: np.ndarray, y: np.ndarray, paired: bool) -> tuple[float | None, float | None, float | None]:
    if min(len(x), len(y)) < 2:
        return None, None, None
    spread = (x - y).std() if paired else x.std() + y.std()
    estimate = float(x.mean() - y.mean())
    if spread <= 1e-12 * max(abs(x).max(), abs(y).max(), 1e-300):  # all seeds give the same: t is not defined
        return estimate, estimate, None
    from scipy import special  # scipy.stats takes half a second to import, and a millisecond for each test

    if paired:
        error, freedom = _standard_error(x - y), len(x) - 1.0
    else:
        of_x, of_y = _standard_error(x), _standard_error(y)
        error = math.hypot(of_x, of_y)
        share = (of_x / error) ** 2 if error < math.inf else 1.0
        freedom = 1 / (share**2 / (len(x) - 1) + (1 - share) ** 2 / (len(y) - 1))  # Welch's
    half = float(special.stdtrit(freedom, (1 + CONFIDENCE) / 2)) * error
    return estimate - half, estimate + half, 2 * float(special.stdtr(freedom, -abs(estimate / error)))


def _standard_error(values: np.ndarray) -> float:
    """Of their mean."""
    return float(values.std(ddof=1)) / math.sqrt(len(values))


def _from_log(value: float, ratio: bool) -> float:
    return math.exp(min(value, 700.0)) if ratio else value
