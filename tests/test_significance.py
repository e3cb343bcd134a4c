"""Is it luck: against scipy by hand, Holm's own rule, and simulated seeds whose truth is known."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from ganvas.comparison.significance import PairTest, adjust_holm, compare_pair


def beside(x: Any, y: Any, *, ratio: bool = False, shift: int = 0) -> PairTest:
    """x of the seeds 0, 1 … beside y of as many seeds from `shift` on."""
    ours, theirs = dict(enumerate(map(float, x))), {shift + i: float(v) for i, v in enumerate(y)}
    found = compare_pair("a", ours, "b", theirs, ratio=ratio)
    assert found is not None
    return found


def test_seeds_that_both_have_are_paired() -> None:
    x, y = np.array([5.1, 6.0, 7.2]), np.array([4.0, 5.2, 5.9])
    found = beside(x, y)
    spread = (x - y).std(ddof=1) / math.sqrt(3)
    far = stats.t.ppf(0.975, 2) * spread
    assert found.paired
    assert found.seeds == 3
    assert found.estimate == pytest.approx((x - y).mean())
    assert (found.low, found.high) == pytest.approx(((x - y).mean() - far, (x - y).mean() + far))
    assert found.p == pytest.approx(2 * stats.t.sf((x - y).mean() / spread, 2))
    assert found.significant
    assert not beside([1.0, 2.0, 3.0], [2.0, 2.0, 2.0]).significant


def test_other_seeds_are_compared_by_welch() -> None:
    x, y = [5.1, 6.0, 7.2, 5.5], [4.0, 5.2]
    found = beside(x, y, shift=10)
    parts = np.var(x, ddof=1) / 4, np.var(y, ddof=1) / 2
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 3 + parts[1] ** 2 / 1)
    t = (np.mean(x) - np.mean(y)) / math.sqrt(sum(parts))
    assert not found.paired
    assert found.seeds == 2
    assert found.p == pytest.approx(2 * stats.t.sf(t, freedom))
    assert found.high is not None
    assert found.high - found.estimate == pytest.approx(stats.t.ppf(0.975, freedom) * math.sqrt(sum(parts)))


def test_of_seeds_that_are_shared_in_part_only_those_count() -> None:
    found = beside([9.0, 5.1, 6.0, 7.2], [4.0, 5.2, 5.9, 100.0], shift=1)
    assert found == beside([5.1, 6.0, 7.2], [4.0, 5.2, 5.9])


def test_a_ratio_is_compared_by_logarithms_and_told_as_a_ratio() -> None:
    x, y = np.array([2.0, 3.0, 4.5]), np.array([1.0, 1.4, 2.4])
    found, logs = beside(x, y, ratio=True), beside(np.log(x), np.log(y))
    assert found.ratio
    assert found.low is not None
    assert math.log(found.estimate) == pytest.approx(logs.estimate)
    assert math.log(found.low) == pytest.approx(logs.low)
    assert found.p == pytest.approx(logs.p)
    assert found.significant
    assert not beside([2.0, 0.0], [1.0, 1.0], ratio=True).ratio, "nought has no logarithm"


def test_one_seed_says_nothing_of_chance_and_none_says_nothing_at_all() -> None:
    one = beside([2.0], [1.0], ratio=True)
    assert (one.estimate, one.low, one.high, one.p) == (2.0, None, None, None)
    assert not one.significant
    assert compare_pair("a", {0: math.nan}, "b", {0: 1.0}, ratio=True) is None
    assert compare_pair("a", {}, "b", {0: 1.0}, ratio=False) is None


def test_seeds_that_all_say_the_same_have_an_interval_and_no_p() -> None:
    same = beside([3.0, 3.0], [3.0, 3.0])
    assert (same.estimate, same.low, same.high, same.p) == (0.0, 0.0, 0.0, None)
    assert not same.significant
    assert beside([2.0, 3.0], [1.0, 2.0]).significant
    assert beside([1e300, 1e300], [1e-300, 1e-300], ratio=True).estimate < math.inf


def test_holm_as_in_the_worked_example() -> None:
    """0.01 × 4, 0.02 × 3, 0.03 × 2, 0.04 × 1, none below the one before it: by hand, after Holm 1979."""
    assert adjust_holm([0.01, 0.04, 0.03, 0.02]) == pytest.approx([0.04, 0.06, 0.06, 0.06])
    assert adjust_holm([0.005, None, 0.5, 0.6]) == [pytest.approx(0.015), None, 1.0, 1.0]
    assert adjust_holm([]) == []


@pytest.mark.parametrize("shift", [0, 10])
def test_intervals_hold_the_truth_as_often_as_they_say(shift: int) -> None:
    """2,000 comparisons of three seeds whose true ratio is 1.3: 95 % of the intervals hold it."""
    random = np.random.default_rng(0)
    held = 0
    for _ in range(2000):
        x = np.exp(random.normal(math.log(1.3), 0.2, 3))
        y = np.exp(random.normal(0.0, 0.2, 3))
        found = beside(x, y, ratio=True, shift=shift)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 1.3 <= found.high
    assert 0.94 < held / 2000 < 0.975
