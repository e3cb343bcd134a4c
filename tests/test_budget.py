"""Budgets: images, minutes and operations become a length; operations of training equal a count by hand."""

from typing import Any

import pytest
from support import tiny

from ganvas.comparison.budget import Budget, apply_budget, parse_budget, shared_budget_kind
from ganvas.config import replace
from ganvas.errors import GanvasError
from ganvas.networks import Shape
from ganvas.recipes import RECIPES
from ganvas.training.estimate import round_flops

DIGITS = Shape(1, 8, 8)


def plain(**loss: Any) -> Any:
    return tiny(r1=0.0, r2=0.0, objective="non-saturating", shared_fakes=False, **loss)


def test_operations_of_an_mlp_equal_a_count_by_hand() -> None:
    """For one image through 6-8-8-64 and 64-8-1; a multiply-add counts as two."""
    g, d = 2 * (6 * 8 + 8 * 8 + 8 * 64), 2 * (64 * 8 + 8)
    d_weights, d_inner = d, 2 * 8  # backward: the images themselves need no gradient
    g_weights, g_inner = g, 2 * (8 * 8 + 8 * 64)
    d_update = g + 2 * (d + d_weights + d_inner)
    g_update = g + d + d + g_weights + g_inner  # D's weights need no gradient
    assert round_flops(plain(), DIGITS) == d_update + g_update
    twice = replace(plain(), d_steps=2)
    assert round_flops(twice, DIGITS) == d_update + g_update / 2


def test_operations_of_a_penalty_are_averaged_over_the_rounds_between_two() -> None:
    without, always, seldom = (
        round_flops(replace(plain(), r1=r1, penalty_every=every), DIGITS)
        for r1, every in ((0.0, 1), (1.0, 1), (1.0, 4))
    )
    assert always > 1.3 * without
    assert seldom == pytest.approx(without + (always - without) / 4)


def test_images_minutes_and_operations_become_a_length() -> None:
    config = plain()
    assert apply_budget(config, Budget("kimg", 0.3)).kimg == 0.3
    by_time = apply_budget(config, Budget("minutes", 0.5))
    assert (by_time.kimg, by_time.minutes) == (None, 0.5)
    assert apply_budget(by_time, Budget("kimg", 0.3)).minutes is None
    assert apply_budget(config, Budget("PFLOP", 1e-12)).total_images == 20, "a round at the least"
    image_flops = round_flops(config, DIGITS)
    spent = apply_budget(config, Budget("PFLOP", 1e-6)).total_images * image_flops
    assert spent == pytest.approx(1e9, abs=20 * image_flops)


def test_operations_are_counted_of_a_run_in_images() -> None:
    """The width that is chosen for ten minutes on a CPU, the recipe's own length, is not that of a longer run."""
    large = replace(RECIPES["fast"].config, features_net="eye", data="digits", resolution="48")
    wide, narrow = (replace(large, g_width=width) for width in (24, 16))
    images = [apply_budget(one, Budget("PFLOP", 1.0), "cpu").total_images for one in (large, wide, narrow)]
    assert images[0] == images[1] < images[2]


@pytest.mark.parametrize(
    "amounts", [(1, 2, None), (1, None, 3), (0, None, None), (None, -1, None), (None, None, float("nan"))]
)
def test_invalid_budgets_and_several_are_refused(amounts: tuple[Any, Any, Any]) -> None:
    with pytest.raises(GanvasError):
        parse_budget(*amounts)


def test_budget_is_formatted_in_its_unit() -> None:
    assert parse_budget(None, None, None) is None
    assert str(parse_budget(None, 1.5, None)) == "1.5 minutes"


def test_runs_may_share_any_kind_of_budget() -> None:
    def spent(nimg: float, seconds: float, flops: float | None) -> dict[str, Any]:
        return {"nimg": nimg, "seconds": seconds, "flops": flops}

    assert shared_budget_kind([spent(1000, 50, 1e12), spent(1005, 500, 9e12)]) == "kimg"
    assert shared_budget_kind([spent(1000, 50, 1e12), spent(3000, 54, 9e12)]) == "minutes"
    assert shared_budget_kind([spent(1000, 50, 1e12), spent(3000, 500, 1.005e12)]) == "PFLOP"
    assert shared_budget_kind([spent(1000, 50, 1e12), spent(3000, 500, 9e12)]) is None
    assert shared_budget_kind([spent(0, 0, None), spent(0, 0, None)]) is None
