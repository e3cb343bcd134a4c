"""Every knob of style transfer, the three presets, and what each network looks with."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from ganvas.errors import GanvasError


@dataclass(frozen=True)
class StyleOptions:
    """How a picture is redrawn. A field that is None takes what the preset or the network has."""

    preset: Literal["preview", "standard", "fine"] = "preview"
    """preview: 256 pixels, under half a minute on a CPU; standard: 512; fine: 1024, for a GPU."""
    size: int | None = None
    """Longer side of the result in pixels."""
    iterations: int | None = None
    """At each scale; twice as many at the first."""
    network: Literal["eye", "vgg19", "squeezenet"] = "eye"
    """What looks: eye needs no download; the weights of the others are downloaded once, or given by --weights."""
    weights: Path | None = None
    """The network's weights with torchvision's names: .safetensors or .pth."""
    statistic: Literal["wasserstein", "gram"] = "wasserstein"
    """How styles are compared: as Gaussians of features, or by Gram matrices (Gatys et al. 2016)."""
    style_layers: str | None = None
    """Layers that carry the style, with weights if they differ: rgb,relu1_1,relu2_1:0.5"""
    content_layers: str | None = None
    """Layers that carry the content."""
    content_weight: float | None = None
    """More: closer to the photo."""
    tv_weight: float = 0.1
    """Weight of the total variation. More: smoother."""
    style_weights: tuple[float, ...] = ()
    """One for each style, where they are several."""
    style_scale: float = 1.0
    """Size of the paintings beside the result's. More: broader strokes."""
    strength: float = 1.0
    """From 0, the photo as it is, to 1."""
    keep_colours: Literal["none", "luminance", "match"] = "none"
    """The photo's own: only its luminance is redrawn, or the paintings take its palette first."""
    palette: bool = True
    """The photo takes the paintings' palette before anything is drawn."""
    init: str = "content"
    """Where to begin: content, noise, or a picture's file."""
    optimiser: Literal["lbfgs", "adam"] = "lbfgs"
    """Limited-memory BFGS between the bounds of pixels, or Adam, which needs more iterations."""
    lr: float | None = None
    """Step size; by default 1 for L-BFGS, 0.08 for Adam."""
    smallest: int = 64
    """Longer side of the first, coarsest scale; the next are larger by √2."""
    average: float = 0.1
    """With Adam: the part of each scale's iterations that the result is averaged over; 0: the last iterate."""
    tile: int | None = None
    """Side of the tiles that are looked at one after the other; by default as memory allows."""
    seed: int = 0
    """Of the noise."""
    device: str = "auto"
    """Where to compute: auto, cpu, cuda …"""


PRESETS: dict[str, dict[str, Any]] = {
    "preview": {"size": 256, "iterations": 40},
    "standard": {"size": 512, "iterations": 80},
    "fine": {"size": 1024, "iterations": 150},
}

NETWORK_DEFAULTS: dict[str, dict[str, Any]] = {
    "eye": {
        "style_layers": "rgb,patches,relu1_1,relu1_2,relu2_1,relu2_2,relu3_1,relu3_2,relu4_1",
        "content_layers": "relu3_1",
        "content_weight": 0.1,
    },
    "vgg19": {
        "style_layers": "rgb,patches,relu1_1,relu1_2,relu2_1,relu2_2,relu3_1,relu4_1,relu5_1",
        "content_layers": "relu4_2",
        "content_weight": 0.03,
    },
    "squeezenet": {
        "style_layers": "rgb,patches,relu1,fire2,fire3,fire4,fire5,fire7",
        "content_layers": "fire5",
        "content_weight": 0.1,
    },
}
"""The layers and the weight of the content that suit each network; where weights end early, the layers they reach."""

BOUNDS = {
    "size": (16, 16384), "iterations": (1, 100_000), "content_weight": (0, 1e6), "tv": (0, 1e6),
    "style_scale": (0.1, 10), "strength": (0, 1), "lr": (1e-6, 100), "smallest": (16, 16384), "average": (0, 1),
    "tile": (32, 16384), "seed": (0, 2**63 - 1),
}  # fmt: skip


def resolved(options: StyleOptions | None, knobs: Mapping[str, Any]) -> StyleOptions:
    """The options with `knobs` changed, every None that a preset or network knows filled in, and all of them checked.

    Raises:
        GanvasError: no such knob, or a value that cannot be.
    """
    known = [field.name for field in fields(StyleOptions)]
    for knob in knobs:
        if knob not in known:
            raise GanvasError(f"Style transfer has no knob '{knob}'.", expected=f"one of {', '.join(known)}")
    chosen = replace(options or StyleOptions(), **knobs)
    for knob, table in (("preset", PRESETS), ("network", NETWORK_DEFAULTS)):
        if (name := getattr(chosen, knob)) not in table:
            raise GanvasError(f"There is no {knob} '{name}'.", expected=f"one of {', '.join(table)}")
    usual = {**PRESETS[chosen.preset], "content_weight": NETWORK_DEFAULTS[chosen.network]["content_weight"]}
    usual["lr"] = 0.08 if chosen.optimiser == "adam" else 1.0
    chosen = replace(chosen, **{knob: value for knob, value in usual.items() if getattr(chosen, knob) is None})
    for knob, (least, most) in BOUNDS.items():
        value = getattr(chosen, knob)
        if value is not None and not least <= value <= most:  # also not a number
            raise GanvasError(f"--{knob.replace('_', '-')} is {value}.", expected=f"a number from {least} to {most}")
    if not all(math.isfinite(weight) and weight > 0 for weight in chosen.style_weights):
        raise GanvasError(f"--style-weights are {chosen.style_weights}.", expected="numbers above 0")
    return chosen


def parse_layers(told: str, knob: str) -> dict[str, float]:
    """`relu1_1:2,relu2_1` -> {"relu1_1": 2.0, "relu2_1": 1.0}

    Raises:
        GanvasError: that is not what it looks like.
    """
    found = {}
    for part in told.replace(" ", "").split(","):
        name, _, weight = part.partition(":")
        try:
            found[name] = float(weight or 1)
        except ValueError:
            found[name] = math.nan
        if not name or not 0 < found[name] < math.inf:
            raise GanvasError(f"{knob} has '{part}' in it.", expected="layers such as relu1_1,relu2_1:0.5")
    return found
