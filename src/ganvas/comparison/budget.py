"""The training budget: the same number of images, minutes or operations for each run; and whether runs had the same."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from ganvas.config import TrainConfig, replace
from ganvas.data import open_images
from ganvas.errors import GanvasError
from ganvas.progress import format_minutes
from ganvas.training import start
from ganvas.training.estimate import round_flops
from ganvas.values import to_number

BudgetKind = Literal["kimg", "minutes", "PFLOP"]


class BudgetUnit(NamedTuple):
    """How a kind of budget is counted: the run's fact, its amount in one unit, and the relative tolerance."""

    fact: str
    size: float
    tolerance: float


BUDGET_KINDS: dict[BudgetKind, BudgetUnit] = {
    "kimg": BudgetUnit("nimg", 1e3, 0.01),
    "minutes": BudgetUnit("seconds", 60, 0.1),
    "PFLOP": BudgetUnit("flops", 1e15, 0.01),
}


MAX_AMOUNT = 1e9


@dataclass(frozen=True)
class Budget:
    """What each training may use: thousands of images, minutes, or 10¹⁵ operations."""

    kind: BudgetKind
    amount: float

    def __str__(self) -> str:
        return format_minutes(self.amount) if self.kind == "minutes" else f"{self.amount:g} {self.kind}"


def parse_budget(kimg: float | None, minutes: float | None, pflop: float | None) -> Budget | None:
    """The given budget, or None if none is given.

    Raises:
        GanvasError: more than one budget, or an amount that is not positive and finite.
    """
    given: dict[BudgetKind, float | None] = {"kimg": kimg, "minutes": minutes, "PFLOP": pflop}
    budgets = [
        Budget(kind, to_number(amount, f"The budget in {kind}", most=MAX_AMOUNT, above=True))
        for kind, amount in given.items()
        if amount is not None
    ]
    if len(budgets) > 1:
        raise GanvasError(
            f"{' and '.join(map(str, budgets))} are two budgets.",
            expected="one of --kimg, --minutes, --pflop",
            fix="leave the others out.",
        )
    return budgets[0] if budgets else None


def with_unit(config: TrainConfig, budget: Budget | None) -> TrainConfig:
    """The configuration with a length in minutes or in images, as the budget is: what is chosen depends on that.

    The images of a budget of operations are not known yet; the recipe's stand for them.
    """
    if budget is None:
        return config
    if budget.kind == "minutes":
        return replace(config, minutes=budget.amount)
    return replace(config, kimg=budget.amount if budget.kind == "kimg" else config.kimg or 1.0)


def apply_budget(config: TrainConfig, budget: Budget, device: str | None = None) -> TrainConfig:
    """The configuration with the length that the budget allows.

    Minutes are those of a run by time, which plans its own images (`ganvas.training.planning`). Operations are counted
    exactly (`round_flops`).

    Args:
        device: as for `ganvas.training.start.complete`.

    Raises:
        GanvasError: the data cannot be opened, or do not fit.
    """
    config = with_unit(config, budget)
    if budget.kind != "PFLOP":
        return config
    completed = start.complete(config, device=device)
    shape = start.network_shape(open_images(completed.dataset.options()), completed)
    images = budget.amount * 1e15 / round_flops(completed, shape)
    rounds = max(1, round(images / config.images_per_round))
    return replace(config, kimg=rounds * config.images_per_round / 1000)


def shared_budget_kind(runs: Sequence[Mapping[str, Any]]) -> BudgetKind | None:
    """The first of images, minutes and operations in which all runs' expense is equal; None if in none."""
    for kind, unit in BUDGET_KINDS.items():
        amounts = [run[unit.fact] for run in runs if run.get(unit.fact)]
        if len(amounts) == len(runs) and max(amounts) - min(amounts) <= unit.tolerance * max(amounts):
            return kind
    return None
