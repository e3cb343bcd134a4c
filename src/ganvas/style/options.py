"""Every knob of style transfer, the three presets, and the default layers of each network."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from ganvas.errors import GanvasError, describe_value
from ganvas.values import to_choice, to_number, to_text, to_whole


@dataclass(frozen=True)
class StyleOptions:
    """Options of style transfer. A field that is None takes the value of the preset or of the network."""

    preset: Literal["preview", "standard", "fine"] = "preview"
    """preview: 256 pixels, under half a minute on a CPU; standard: 512; fine: 1024, for a GPU."""
    size: int | None = None
    """Longer side of the result, in pixels."""
    iterations: int | None = None
    """Iterations at each scale; twice as many at the first."""
    network: Literal["eye", "vgg19", "squeezenet"] = "eye"
    """The feature network. eye needs no download; weights of the others are downloaded once, or given by --weights."""
    weights: Path | None = None
    """The network's weights with torchvision's names: .safetensors or .pth."""
    statistic: Literal["wasserstein", "gram"] = "wasserstein"
    """The style loss: Wasserstein-2 distance of Gaussians of features, or Gram matrices (Gatys et al. 2016)."""
    style_layers: str | None = None
    """Layers of the style loss, with weights if they differ: rgb,relu1_1,relu2_1:0.5"""
    content_layers: str | None = None
    """Layers of the content loss."""
    content_weight: float | None = None
    """Weight of the content loss; larger: closer to the photo."""
    tv_weight: float = 0.1
    """Weight of the total variation; larger: smoother."""
    style_weights: tuple[float, ...] = ()
    """One for each style, if there are several."""
    style_scale: float = 1.0
    """Size of the paintings relative to the result; larger: broader strokes."""
    strength: float = 1.0
    """From 0, the photo as it is, to 1."""
    keep_colours: Literal["none", "luminance", "match"] = "none"
    """Keep the colours of the photo: change only its luminance, or match the paintings to its palette first."""
    palette: bool = True
    """Match the photo to the palette of the paintings before the optimisation."""
    init: str = "content"
    """The initial image: content, noise, or an image file."""
    optimiser: Literal["lbfgs", "adam"] = "lbfgs"
    """L-BFGS bounded to the range of pixels, or Adam, which needs more iterations."""
    lr: float | None = None
    """Step size; by default 1 for L-BFGS, 0.08 for Adam."""
    min_scale: int = 64
    """Longer side of the first, coarsest scale in pixels; each next one is larger by √2."""
    average: float = 0.1
    """With Adam: the fraction of a scale's iterations over which images are averaged; 0: no averaging."""
    tile: int | None = None
    """Side of the tiles that are processed one after the other; by default as memory allows."""
    seed: int = 0
    """Seed of the noise."""
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
"""Default layers and content weight of each network; layers beyond the end of its weights are left out."""

BOUNDS = {
    "size": (17, 16384), "iterations": (1, 100_000), "content_weight": (0, 1e6), "tv_weight": (0, 1e6),
    "style_scale": (0.1, 10), "strength": (0, 1), "lr": (1e-6, 100), "min_scale": (16, 16384), "average": (0, 1),
    "tile": (32, 16384), "seed": (0, 2**63 - 1),
}  # fmt: skip


def resolve_options(options: StyleOptions | None, knobs: Mapping[str, Any]) -> StyleOptions:
    """The options with `knobs` changed, None replaced by the value of the preset or network, and all of them checked.

    Raises:
        GanvasError: an unknown knob, or a value out of range.
    """
    known = [field.name for field in fields(StyleOptions)]
    for knob in knobs:
        if knob not in known:
            raise GanvasError(f"Style transfer has no knob '{knob}'.", expected=f"one of {', '.join(known)}")
    if not isinstance(options, StyleOptions | None):
        raise GanvasError(f"options is {describe_value(options)}.", expected="StyleOptions, or None")
    chosen = _with_right_types(replace(options or StyleOptions(), **knobs))
    defaults = {**PRESETS[chosen.preset], "content_weight": NETWORK_DEFAULTS[chosen.network]["content_weight"]}
    defaults["lr"] = 0.08 if chosen.optimiser == "adam" else 1.0
    chosen = replace(chosen, **{knob: value for knob, value in defaults.items() if getattr(chosen, knob) is None})
    return chosen


def _with_right_types(options: StyleOptions) -> StyleOptions:
    """The options with NumPy's numbers as Python's, and all within their bounds.

    Raises:
        GanvasError: a value is of another type, or out of range.
    """
    changed: dict[str, Any] = {}
    for knob, kind in get_type_hints(StyleOptions).items():
        value, flag = getattr(options, knob), f"--{knob.replace('_', '-')}"
        kinds = get_args(kind) or (kind,)
        if value is None and NoneType in kinds:
            continue
        if get_origin(kind) is Literal:
            to_choice(value, flag, kinds)
        elif knob in BOUNDS:
            changed[knob] = (to_whole if int in kinds else to_number)(value, flag, *BOUNDS[knob])
        elif knob == "style_weights":
            if not isinstance(value, tuple | list):
                raise GanvasError(f"{flag} is {describe_value(value)}.", expected="a list of numbers above 0")
            changed[knob] = tuple(to_number(weight, flag, above=True) for weight in value)
        elif kind is bool:
            if not isinstance(value, bool):
                raise GanvasError(f"{flag} is {describe_value(value)}.", expected="True or False")
        else:
            text = to_text(value, flag, "a path" if knob == "weights" else "text")
            changed[knob] = Path(text) if knob == "weights" else text
    return replace(options, **changed)


def parse_layers(text: str, knob: str) -> dict[str, float]:
    """Parses `relu1_1:2,relu2_1` -> {"relu1_1": 2.0, "relu2_1": 1.0}.

    Raises:
        GanvasError: the text has another form.
    """
    found = {}
    for part in text.replace(" ", "").split(","):
        name, _, weight = part.partition(":")
        try:
            found[name] = float(weight or 1)
        except ValueError:
            found[name] = math.nan
        if not name or not 0 < found[name] < math.inf:
            raise GanvasError(f"{knob} has '{part}' in it.", expected="layers such as relu1_1,relu2_1:0.5")
    return found
