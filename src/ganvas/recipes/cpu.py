"""The CPU presets of recipes: narrow networks, small batches, high learning rates that fall.

The configuration of a recipe follows its paper, which had hours of a GPU. A run by --minutes on a CPU starts from the
recipe's preset instead. The table was found by measurement on two cores (docs/results.md; what did worse is in
docs/log.md). `mlp`, `cnn`, `cnn-sigmoid` and `transformer` have none: they are there as teaching material has such
networks. Nor have `fast`, `digits28` and `digits`, which are made for minutes, and `r3gan`, which is made for GPUs.
"""

from collections.abc import Iterator, Mapping
from math import inf
from typing import Any, NamedTuple

from ganvas.config import TrainConfig, leaves, replace
from ganvas.config.flags import format_flags
from ganvas.progress import format_minutes
from ganvas.recipes.catalogue import get_recipe


class Preset(NamedTuple):
    """The knobs with which runs of at most so many minutes start."""

    minutes: float
    knobs: Mapping[str, Any]


def _quick(lr: str, minutes: float = inf, **others: Any) -> tuple[Preset, ...]:
    """One preset, for runs of any length unless `minutes` limits it: small batches, falling rates, a short average."""
    return (Preset(minutes, {"batch": 32, "g_lr": lr, "d_lr": lr, "ema": 4.0, **others}),)


_LAZY_PENALTIES = {"r1": 1.0, "r2": 1.0, "penalty_every": 4}
"""Penalties of weight 1 in every fourth update of D only (lazy regularisation, Karras et al. 2020)."""

_PLAIN = {"g_width": 16, "d_width": 32, "d_steps": 1}
"""Narrow plain networks of the `resnet` family, and as many updates of G as of D."""

_HALVED_FROM_4 = {"width": 64, "full_width_stages": 1}
"""Half as many channels at each size from 8×8 up: most of an image's cost is at the largest sizes."""

_EQUALISED = {
    "batch": 16, "latent": 64, "objective": "rpgan", "r1": 0.1, "r2": 0.1, "penalty_every": 4, "shared_fakes": True,
    **_HALVED_FROM_4,
}  # fmt: skip
"""RpGAN, and small batches: networks with equalised learning rates, whose weights of size 1 want high rates."""

PRESETS: dict[str, tuple[Preset, ...]] = {
    "mlp-stable": (
        Preset(inf, {"output": "tanh", "penalty_every": 2, "g_lr": "1e-3..1e-5:cosine", "d_lr": "1e-3..1e-5:cosine"}),
    ),
    "cnn-stable": _quick("2e-3..1e-4:linear@0.3-1", latent=64, g_width=16, d_width=32, **_LAZY_PENALTIES),
    "transformer-stable": _quick(
        "7e-4..2e-5:linear@0.1-0.9", latent=64, token_width=64, heads=2, head_width=64, r1=3.0, r2=3.0
    ),
    "transformer-modern": _quick("1e-3..1e-4:linear@0.3-1", token_width=64, depth=2, d_width=12, **_LAZY_PENALTIES),
    "dcgan": (
        *_quick("3e-4..5e-5:linear@0.5-1", 15.0, g_width=16, d_width=16, batch=16),
        Preset(inf, {"g_width": 16, "d_width": 16, "batch": 16, "ema": 5.0}),
    ),
    "wgan": _quick("5e-4..5e-5:linear@0.3-1", d_lr="3e-4..3e-5:linear@0.3-1", g_width=16, d_width=32, d_steps=2),
    "wgan-gp": _quick("1e-3..1e-4:linear@0.3-1", blocks="plain", penalty_every=4, **_PLAIN),
    "wgan-conditional": _quick("1e-3..1e-4:linear@0.3-1", penalty_every=4, **_PLAIN),
    "sngan": _quick("1e-3..1e-4:linear@0.3-1", blocks="plain", **_PLAIN),
    "stylegan": _quick("6e-3..6e-4:linear@0.5-1", growth="0..1@0.02-0.2", **_EQUALISED),
    "msg": _quick("6e-3..6e-4:linear@0.5-1", **_EQUALISED),
    "r3gan-short": _quick(
        "2e-3..1e-4:linear@0.3-1",
        blocks=1,
        group_size=64,
        beta2=0.99,
        r1=0.5,
        r2=0.5,
        penalty_every=4,
        **_HALVED_FROM_4,
    ),
}
"""Recipe -> its presets, the shortest runs first."""

FOUND_FOR = 10.0
"""Minutes of the runs by which the presets were found; those of longer runs by LONGEST_FOUND."""

LONGEST_FOUND = 30.0
"""Minutes of the runs by which the presets of longer runs were found."""

FAR_BEYOND = 60.0
"""Minutes above which a run has time for wider networks than those."""

RIGHT_AFTER: dict[str, float] = {"dcgan": 30, "stylegan": inf, "msg": inf}
"""Recipe -> minutes of two cores after which its faces look right, where ten do not suffice.

inf: not within LONGEST_FOUND. Measured with the preset of that length, on faces of 64 pixels, of stylegan and msg 32
(docs/results.md)."""


def find_preset(recipe: str, minutes: float | None) -> Mapping[str, Any]:
    """The knobs of a recipe's preset for so many minutes on a CPU; empty if it has none, or the run has no minutes."""
    if minutes is None:
        return {}
    return next((knobs for longest, knobs in PRESETS.get(recipe, ()) if minutes <= longest), {})


def presets_by_length(recipe: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """("of at most 15", or "" of any minutes; knobs) of each preset of a recipe, that of the shortest runs first."""
    least = 0.0
    for longest, knobs in PRESETS.get(recipe, ()):
        limits = [f"more than {least:g}"] if least else []
        limits += [f"at most {longest:g}"] if longest < inf else []
        yield f"of {' and '.join(limits)}" if limits else "", knobs
        least = longest


def describe_time_needed(recipe: str) -> str:
    """Until the faces of a recipe look right on a CPU: "30 minutes", "more than 30 minutes"; empty if ten suffice."""
    needed = RIGHT_AFTER.get(recipe, 0)
    more = "more than " if needed == inf else ""
    return f"{more}{format_minutes(min(needed, LONGEST_FOUND))}" if needed else ""


def base_config(recipe: str, minutes: float | None = None, *, on_cpu: bool) -> TrainConfig:
    """The configuration that a command starts from before its own knobs: the recipe's, or its preset.

    The length stays that of the recipe.

    Args:
        recipe: its name.
        minutes: the length of a run by time.
        on_cpu: whether the run trains on a CPU.

    Raises:
        GanvasError: there is no such recipe.
    """
    config = get_recipe(recipe).config
    return replace(config, **find_preset(recipe, minutes)) if on_cpu else config


def differing_knobs(recipe: str, config: TrainConfig) -> dict[str, Any]:
    """The knobs that a command has to name to make a configuration of a recipe on any machine: {name: value}.

    These are the ones that differ from the recipe, or from its preset, which applies where there is no GPU. Beside
    another generator growth is among them: the command starts with the generator's.
    """
    bases = [dict(leaves(base_config(recipe, config.minutes, on_cpu=on_cpu))) for on_cpu in (False, True)]
    if config.transfer.init_from is not None:
        bases.append({**bases[0], "growth": None})
    return {name: value for name, value in leaves(config) if any(base.get(name) != value for base in bases)}


def describe_preset(recipe: str, config: TrainConfig) -> str:
    """What a run's configuration has of its recipe's preset, as a note for the user; empty if nothing."""
    preset = find_preset(recipe, config.minutes)
    if not preset:
        return ""
    own = dict(leaves(get_recipe(recipe).config))
    chosen = {name: value for name, value in leaves(config) if name in preset and preset[name] == value != own[name]}
    if not chosen:
        return ""
    assert config.minutes is not None, "there is no preset without minutes"
    start = f"For {format_minutes(config.minutes)} on a CPU, {recipe} starts from {format_flags(chosen)}"
    note = f"{start}; knobs that you give override these."
    needed = RIGHT_AFTER.get(recipe, 0)
    if config.minutes < needed < inf:
        note += f" On two cores, faces looked right after {needed:g} minutes; this run has {config.minutes:g}."
    elif needed == inf and config.minutes <= LONGEST_FOUND:
        note += f" On two cores, faces did not look right within {LONGEST_FOUND:g} minutes."
    if config.minutes > FAR_BEYOND:
        found = FOUND_FOR if len(PRESETS[recipe]) == 1 else LONGEST_FOUND
        note += f" These settings were found for runs of {found:g} minutes"
        widths = [f"--{name.replace('_', '-')}" for name in chosen if name.endswith("width")]
        note += f"; hours allow wider networks ({', '.join(widths)})." if widths else "."
    return note


def suggest_preset(recipe: str, config: TrainConfig) -> str:
    """That a run by kimg could start from its recipe's preset, as a note for the user; empty if it could not."""
    if config.minutes is not None or config.transfer.init_from is not None or recipe not in PRESETS:
        return ""
    return f"{recipe} has settings for a CPU: --minutes {FOUND_FOR:g} uses them."
