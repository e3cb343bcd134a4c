"""The settings of recipes for minutes of a CPU: narrow networks, small batches, high learning rates that fall.

The configuration of a recipe follows its paper, which had hours of a GPU. A run by --minutes on a CPU starts from the
recipe's setting instead. The table was found by measurement on two cores (docs/results.md; what did worse is in
docs/log.md). The classic recipes and their exact games have no setting, nor has `fast`, which is made for minutes.
"""

from collections.abc import Mapping
from math import inf
from typing import Any, NamedTuple

from ganvas.config import TrainConfig, leaves, replace
from ganvas.recipes.catalogue import get_recipe


class Setting(NamedTuple):
    """The knobs of runs of at most so many minutes."""

    minutes: float
    knobs: Mapping[str, Any]


SETTINGS: dict[str, tuple[Setting, ...]] = {
    "cnn-stable": (
        Setting(
            inf,
            {
                "latent": 64,
                "g_width": 16,
                "d_width": 32,
                "r1": 1.0,
                "r2": 1.0,
                "penalty_every": 4,
                "batch": 32,
                "g_lr": "2e-3..1e-4:linear@0.3-1",
                "d_lr": "2e-3..1e-4:linear@0.3-1",
                "ema": 4.0,
            },
        ),
    ),
}
"""Recipe -> its settings, the shortest runs first."""


def find_setting(recipe: str, minutes: float | None) -> Mapping[str, Any]:
    """The knobs of a recipe's setting for so many minutes of a CPU; empty if it has none, or the run has no minutes."""
    if minutes is None:
        return {}
    return next((knobs for longest, knobs in SETTINGS.get(recipe, ()) if minutes <= longest), {})


def base_config(recipe: str, minutes: float | None = None, *, on_cpu: bool) -> TrainConfig:
    """The configuration that a command starts from before its own knobs: the recipe's, or its setting.

    The length stays that of the recipe.

    Args:
        recipe: its name.
        minutes: the length of a run by time.
        on_cpu: whether the run trains on a CPU.

    Raises:
        GanvasError: there is no such recipe.
    """
    config = get_recipe(recipe).config
    return replace(config, **find_setting(recipe, minutes)) if on_cpu else config


def differing_knobs(recipe: str, config: TrainConfig) -> dict[str, Any]:
    """The knobs that a command has to name to make a configuration of a recipe on any machine: {name: value}.

    These are the ones that differ from the recipe, or from its setting, which applies where there is no GPU.
    """
    bases = [dict(leaves(base_config(recipe, config.minutes, on_cpu=on_cpu))) for on_cpu in (False, True)]
    return {name: value for name, value in leaves(config) if any(base.get(name) != value for base in bases)}


def describe_setting(recipe: str, config: TrainConfig) -> str:
    """What a run's configuration has of its recipe's setting, as a note for the user; empty if nothing."""
    setting = find_setting(recipe, config.minutes)
    if not setting:
        return ""
    own, knobs = dict(leaves(get_recipe(recipe).config)), dict(leaves(config))
    chosen = {name: value for name, value in setting.items() if knobs[name] == value != own[name]}
    flags = " ".join(f"--{name.replace('_', '-')} {_written(value)}" for name, value in chosen.items())
    return f"For {config.minutes:g} minutes of a CPU, {recipe} has {flags}; any knob changes that." if chosen else ""


def _written(value: Any) -> str:
    """A value of a knob as people write it: 1, not 1.0."""
    return f"{value:g}" if isinstance(value, float) else str(value)
