"""The table of all conditions, causes before their effects."""

from ganvas.diagnosis.rules import balance, frozen, hardware, optimisation, samples, trends, wiring
from ganvas.diagnosis.rules.conditions import Condition, ConditionName

CONDITIONS = (
    optimisation.NON_FINITE,
    wiring.NOT_CONNECTED,
    wiring.WRONG_OPTIMISER,
    wiring.SWAPPED,
    wiring.NOT_ZEROED,
    wiring.NOT_SEPARATED,
    wiring.NOT_DETACHED,
    wiring.SIGMOID_TWICE,
    wiring.EVAL_MODE,
    frozen.D_FROZEN,
    frozen.G_FROZEN,
    samples.RANGE,
    samples.NORMALISATION,
    optimisation.LEAK,
    balance.SILENT_CRITIC,
    balance.UNCONSTRAINED,
    optimisation.RATE_HIGH,
    optimisation.DIVERGENCE,
    optimisation.RATE_LOW,
    balance.TOO_WEAK,
    balance.UNDER_TRAINED,
    samples.MEMORISING,
    optimisation.OVERFITTING,
    balance.TOO_STRONG,
    samples.CYCLING,
    samples.COLLAPSE,
    samples.D_LABELS,
    samples.G_LABELS,
    samples.MISSING,
    samples.CHECKERBOARD,
    samples.IMBALANCED,
    frozen.PARTLY_FROZEN,
    trends.NO_IMPROVEMENT,
    trends.REGRESSING,
    trends.OSCILLATING,
    hardware.GROWING,
    trends.PLATEAU,
    hardware.SLOWING,
    trends.EARLY,
)


def condition(name: ConditionName) -> Condition:
    """The row of that name."""
    return next(row for row in CONDITIONS if row.name == name)
