"""Remedies: what `--on-failure correct` and `rollback` change about a condition while a run continues.

Each is declared with its condition. It changes the configuration in force, so repeated remedies add up, and only in
what a running training can take up: learning rates, momentum, penalties, noise, augmentation.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ganvas.config import TrainConfig, differences, leaves
from ganvas.diagnosis.rules import fixes
from ganvas.diagnosis.rules.fixes import GP, NOISE, R1_R2, Knobs, change_config, peak, scaled, scaling_rates
from ganvas.errors import GanvasError
from ganvas.schedule import ScheduleSpec

USUAL_UPDATE = 0.01
"""The relative change of a network's weights in one update that a smaller learning rate aims at."""

LiveChange = Callable[[Knobs, str, float | None], Mapping[str, Any]]
"""(present fields, the network concerned: D, G or "", the relative change of its weights in one update, if known) ->
new values of some fields."""

Remedy = tuple[tuple[LiveChange, ...], ...]
"""Changes that are made one after the other; of each, alternatives, of which the first is taken that is accepted and
changes something, but none twice."""


def changes_of(remedy: Remedy, config: TrainConfig, about: str = "", update: float | None = None) -> dict[str, Any]:
    """{knob: value} of what a remedy changes in a configuration; empty where no change would help, or none is accepted.

    Args:
        about: the network concerned, D or G, if it is only one.
        update: the relative change of that network's weights in one update, where it is known.
    """
    changed, made = config, list[LiveChange]()
    for alternatives in remedy:
        for change in alternatives:
            if change in made:
                break
            try:
                with_change = change_config(changed, change(dict(leaves(changed)), about, update))
            except GanvasError:  # the configuration excludes it
                continue
            if with_change != changed:
                changed = with_change
                made.append(change)
                break
    return {name: new for name, _, new in differences(config, changed)}


def scale_rates(factor: float) -> LiveChange:
    """Both learning rates times `factor`, or only that of the network concerned."""
    return lambda knobs, about, update: scaling_rates(factor)(knobs, about)


def scale_d_rate(factor: float) -> LiveChange:
    """D's learning rate times `factor`."""
    return lambda knobs, about, update: scaling_rates(factor)(knobs, "D")


def lower_rates_to_usual(knobs: Knobs, about: str, update: float | None) -> Mapping[str, Any]:
    """Learning rates at which an update is of the usual size; where its size is not known, a tenth."""
    factor = 0.1 if not update else min(max(USUAL_UPDATE / update, 0.05), 0.5)
    return scaling_rates(factor)(knobs, about)


def stop_momentum(knobs: Knobs, about: str, update: float | None) -> Mapping[str, Any]:
    """No first moment of Adam."""
    return fixes.stop_momentum(knobs, about)


def raise_penalties(knobs: Knobs, about: str, update: float | None) -> Mapping[str, Any]:
    """WGAN-GP's penalty for a critic, R1 and R2 elsewhere; a configuration with batch norm in D refuses them."""
    if knobs["objective"] == "wasserstein":
        return {"gp": _raised(knobs["gp"], GP, 2), "clip": 0.0}  # clipped weights keep the gradient from that norm
    return {name: _raised(knobs[name], R1_R2, 4) for name in ("r1", "r2")}


def with_penalties(config: TrainConfig) -> TrainConfig:
    """The configuration with the gradient penalties that `--on-failure` may add to it; itself where there are none."""
    if config.runtime.on_failure not in ("rollback", "correct"):
        return config
    try:
        return change_config(config, raise_penalties(dict(leaves(config)), "", None))
    except GanvasError:  # the configuration excludes them
        return config


def raise_noise(knobs: Knobs, about: str, update: float | None) -> Mapping[str, Any]:
    """More noise on D's input."""
    return {"noise": _raised(knobs["noise"], NOISE, 2)}


def augment(knobs: Knobs, about: str, update: float | None) -> Mapping[str, Any]:
    """DiffAugment: ADA's probability is no state that a running training has."""
    return fixes.diffaugment(knobs)


def _raised(knob: ScheduleSpec, least: float, factor: float) -> ScheduleSpec:
    return scaled(knob, factor) if peak(knob) >= least else least


STEADY: Remedy = ((stop_momentum,), (raise_penalties, raise_noise))
"""No momentum, and smaller input gradients of D."""

USUAL_RATES: Remedy = ((lower_rates_to_usual,), *STEADY)
HALF_RATES: Remedy = ((scale_rates(0.5),), *STEADY)
HIGHER_RATES: Remedy = ((scale_rates(10),),)
FASTER_D: Remedy = ((scale_d_rate(4),),)
AUGMENTED: Remedy = ((augment, raise_noise), *STEADY)
