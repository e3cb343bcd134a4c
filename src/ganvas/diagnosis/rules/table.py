"""The table of all conditions, causes before their effects."""

from ganvas.diagnosis.rules import hardware, optimisation, samples, trends
from ganvas.diagnosis.rules.conditions import Condition, ConditionName

CONDITIONS = (
    optimisation.NON_FINITE,
    optimisation.D_FROZEN,
    optimisation.G_FROZEN,
    samples.RANGE,
    samples.NORMALISATION,
    optimisation.LEAK,
    optimisation.UNCONSTRAINED,
    optimisation.RATE_HIGH,
    optimisation.DIVERGENCE,
    optimisation.RATE_LOW,
    optimisation.TOO_WEAK,
    optimisation.UNDER_TRAINED,
    samples.MEMORISING,
    optimisation.OVERFITTING,
    optimisation.TOO_STRONG,
    samples.CYCLING,
    samples.COLLAPSE,
    samples.D_LABELS,
    samples.G_LABELS,
    samples.MISSING,
    samples.CHECKERBOARD,
    samples.IMBALANCED,
    optimisation.PARTLY_FROZEN,
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
