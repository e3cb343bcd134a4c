"""The budget: as many pictures, minutes or operations for each; and whether runs that are there had the same."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ganvas.config import TrainConfig, replace
from ganvas.errors import GanvasError
from ganvas.networks import Shape
from ganvas.training import start
from ganvas.training.estimate import round_flops

Kind = Literal["kimg", "minutes", "PFLOP"]

SPENT: dict[Kind, tuple[str, float, float]] = {
    "kimg": ("nimg", 1e3, 0.01),
    "minutes": ("seconds", 60, 0.1),
    "PFLOP": ("flops", 1e15, 0.01),
}
"""Kind -> (what of a run is counted, how much of it is one, how far two may differ and still be equal)."""


@dataclass(frozen=True)
class Budget:
    """What each training may spend: so many thousand pictures, minutes, or 10¹⁵ operations."""

    kind: Kind
    amount: float

    def __str__(self) -> str:
        return f"{self.amount:g} {self.kind}"


def asked(kimg: float | None, minutes: float | None, pflop: float | None) -> Budget | None:
    """The budget that was asked for, or None.

    Raises:
        GanvasError: more than one, or nothing to spend.
    """
    given: dict[Kind, float | None] = {"kimg": kimg, "minutes": minutes, "PFLOP": pflop}
    budgets = [Budget(kind, amount) for kind, amount in given.items() if amount is not None]
    if len(budgets) > 1:
        raise GanvasError(
            f"{' and '.join(map(str, budgets))} are two budgets.",
            expected="one of --kimg, --minutes, --pflop",
            fix="leave the others out.",
        )
    if budgets and not 0 < budgets[0].amount < float("inf"):
        raise GanvasError(f"A budget of {budgets[0]}.", expected="more than nothing", fix="--kimg 100, for instance.")
    return budgets[0] if budgets else None


def within(config: TrainConfig, budget: Budget) -> TrainConfig:
    """The configuration, as long as the budget lasts.

    Minutes become pictures by a trial of the speed here and now, so that schedules know the length beforehand; the
    time really taken is reported. Operations are counted (`round_flops`), not estimated.

    Raises:
        GanvasError: what `train` would refuse at its start.
    """
    if budget.kind == "kimg":
        return replace(config, kimg=budget.amount)
    told = start.plan(config)
    if budget.kind == "minutes":
        images = budget.amount * 60 * told["images_per_s"]
    else:
        shape = Shape(*(told["data"][side] for side in Shape._fields))
        images = budget.amount * 1e15 / round_flops(config, shape)
    rounds = max(1, round(images / config.a_round))
    return replace(config, kimg=rounds * config.a_round / 1000)


def shared(spent: Sequence[Mapping[str, Any]]) -> Kind | None:
    """The kind of budget in which all runs are equal, pictures before minutes before operations; None if in none."""
    for kind, (fact, _, slack) in SPENT.items():
        amounts = [own[fact] for own in spent if own.get(fact)]
        if len(amounts) == len(spent) and max(amounts) - min(amounts) <= slack * max(amounts):
            return kind
    return None
