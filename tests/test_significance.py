"""Significance against SciPy, Holm's rule by hand, and simulated seeds with a known true ratio."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from ganvas.comparison.significance import PairTest, adjust_holm, compare_pair


def compare(x: Any, y: Any, *, ratio: bool = False, shift: int = 0) -> PairTest:
    """Compare x of the seeds 0, 1 … with y of the seeds from `shift` on."""
    ours, theirs = dict(enumerate(map(float, x))), {shift + i: float(v) for i, v in enumerate(y)}
    found = compare_pair("a", ours, "b", theirs, ratio=ratio)
    assert found is not None
    return found


def test_shared_seeds_are_paired() -> None:
    x, y = np.array([5.1, 6.0, 7.2]), np.array([4.0, 5.2, 5.9])
    found = compare(x, y)
    standard_error = (x - y).std(ddof=1) / math.sqrt(3)
    half_width = stats.t.ppf(0.975, 2) * standard_error
    assert found.paired
    assert found.seeds == 3
    assert found.estimate == pytest.approx((x - y).mean())
    assert (found.low, found.high) == pytest.approx(((x - y).mean() - half_width, (x - y).mean() + half_width))
    assert found.p == pytest.approx(2 * stats.t.sf((x - y).mean() / standard_error, 2))
    assert found.significant
    assert not compare([1.0, 2.0, 3.0], [2.0, 2.0, 2.0]).significant


def test_different_seeds_are_compared_by_welch() -> None:
    x, y = [5.1, 6.0, 7.2, 5.5], [4.0, 5.2]
    found = compare(x, y, shift=10)
    parts = np.var(x, ddof=1) / 4, np.var(y, ddof=1) / 2
    degrees_of_freedom = sum(parts) ** 2 / (parts[0] ** 2 / 3 + parts[1] ** 2 / 1)
    t = (np.mean(x) - np.mean(y)) / math.sqrt(sum(parts))
    assert not found.paired
    assert found.seeds == 2
    assert found.p == pytest.approx(2 * stats.t.sf(t, degrees_of_freedom))
    assert found.high is not None
    assert found.high - found.estimate == pytest.approx(stats.t.ppf(0.975, degrees_of_freedom) * math.sqrt(sum(parts)))


@pytest.mark.parametrize("n", [(2, 2), (3, 3), (2, 5), (6, 3)])
@pytest.mark.parametrize("scale", [1e-70, 1.0, 1e70])
def test_both_tests_agree_with_scipy(n: tuple[int, int], scale: float) -> None:
    random = np.random.default_rng(sum(n))
    x, y = (scale * random.normal(mean, spread, n) for mean, spread, n in ((1.0, 0.1, n[0]), (0.7, 0.5, n[1])))
    tests: list[tuple[PairTest, Any]] = [(compare(x, y, shift=10), stats.ttest_ind(x, y, equal_var=False))]
    if len(x) == len(y):
        tests.append((compare(x, y), stats.ttest_rel(x, y)))
    for found, theirs in tests:
        interval = theirs.confidence_interval(0.95)
        assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-9, abs=1e-9 * scale)
        assert found.p == pytest.approx(theirs.pvalue, rel=1e-9)


def test_only_shared_seeds_count() -> None:
    found = compare([9.0, 5.1, 6.0, 7.2], [4.0, 5.2, 5.9, 100.0], shift=1)
    assert found == compare([5.1, 6.0, 7.2], [4.0, 5.2, 5.9])


def test_ratio_is_compared_by_logarithms() -> None:
    x, y = np.array([2.0, 3.0, 4.5]), np.array([1.0, 1.4, 2.4])
    found, logs = compare(x, y, ratio=True), compare(np.log(x), np.log(y))
    assert found.ratio
    assert found.low is not None
    assert math.log(found.estimate) == pytest.approx(logs.estimate)
    assert math.log(found.low) == pytest.approx(logs.low)
    assert found.p == pytest.approx(logs.p)
    assert found.significant
    assert not compare([2.0, 0.0], [1.0, 1.0], ratio=True).ratio, "0 has no logarithm"


def test_one_seed_gives_no_interval_and_no_seed_gives_none() -> None:
    one = compare([2.0], [1.0], ratio=True)
    assert (one.estimate, one.low, one.high, one.p) == (2.0, None, None, None)
    assert not one.significant
    assert compare_pair("a", {0: math.nan}, "b", {0: 1.0}, ratio=True) is None
    assert compare_pair("a", {}, "b", {0: 1.0}, ratio=False) is None


def test_equal_differences_have_an_interval_and_no_p() -> None:
    same = compare([3.0, 3.0], [3.0, 3.0])
    assert (same.estimate, same.low, same.high, same.p) == (0.0, 0.0, 0.0, None)
    assert not same.significant
    assert compare([2.0, 3.0], [1.0, 2.0]).significant
    assert compare([1e300, 1e300], [1e-300, 1e-300], ratio=True).estimate < math.inf


def test_holm_adjustment_equals_the_values_by_hand() -> None:
    """0.01 × 4, 0.02 × 3, 0.03 × 2, 0.04 × 1, none below the one before it: by hand, after Holm 1979."""
    assert adjust_holm([0.01, 0.04, 0.03, 0.02]) == pytest.approx([0.04, 0.06, 0.06, 0.06])
    assert adjust_holm([0.005, None, 0.5, 0.6]) == [pytest.approx(0.015), None, 1.0, 1.0]
    assert adjust_holm([]) == []


@pytest.mark.parametrize("shift", [0, 10])
def test_intervals_cover_the_true_ratio_at_their_level(shift: int) -> None:
    """2,000 comparisons of three seeds whose true ratio is 1.3: 95 % of the intervals contain it."""
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(2000):
        x = np.exp(random.normal(math.log(1.3), 0.2, 3))
        y = np.exp(random.normal(0.0, 0.2, 3))
        found = compare(x, y, ratio=True, shift=shift)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 1.3 <= found.high
    assert 0.94 < covered / 2000 < 0.975
