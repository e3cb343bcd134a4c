"""The time budget of monitoring: a share for each measurement, their sum for all, and an account of both."""

import time
from contextlib import suppress

import pytest

from ganvas.diagnosis.budget import FREE, PROBES, SHARE, TimeBudget


def test_each_measurement_has_its_share_of_the_training_time() -> None:
    budget = TimeBudget({"probes": 0.03, "quality": 0.05})
    assert budget.allows("probes"), "the first one costs nothing yet"
    assert not budget.allows("quality", expected=0.5)
    budget.seconds = 100.0
    assert budget.left("quality") == pytest.approx(5.0)
    assert budget.allows("quality", expected=4.9)
    assert not budget.allows("quality", expected=5.1)


def test_what_one_measurement_overspends_is_missing_from_the_others() -> None:
    budget = TimeBudget.of_run()
    budget.seconds = 100.0
    budget.spent["probes"] = FREE + 100.0 * PROBES + 4.0
    assert not budget.allows("probes")
    assert budget.left("quality") == pytest.approx(100.0 * (SHARE - PROBES) - 4.0)


def test_seconds_of_a_block_are_counted_even_if_it_fails() -> None:
    budget = TimeBudget({"probes": 0.03})
    with suppress(ZeroDivisionError), budget.spend("probes"):
        time.sleep(0.01)
        raise ZeroDivisionError
    assert budget.spent["probes"] >= 0.01
    assert not budget.allows("probes")


def test_resumed_session_has_used_up_the_shares_of_the_earlier_one() -> None:
    budget = TimeBudget.of_run()
    budget.resume(1000.0)
    assert budget.left("quality") == pytest.approx(0.0)
    assert budget.left("probes") == pytest.approx(FREE)
