"""What is chosen for a run where its recipe and the user leave it open: the size of large images, knobs by size and
time, and another frozen network where the package of lite0 is missing.

A choice depends on nothing but the configuration, time included, the images, the kind of device, and whether that
package is installed, so the same command finds the same run again.
"""

import math
from typing import Any, NamedTuple

import torch

from ganvas import user_code
from ganvas.config import TrainConfig, leaves, replace
from ganvas.config.custom import Custom, features_net_of
from ganvas.config.families import Projected
from ganvas.config.flags import format_flags
from ganvas.data.limits import choose_limited_size
from ganvas.features.frozen import resolve_frozen
from ganvas.networks import Shape

MAX_SIDE = {"CPU": 64, "GPU": 256}
"""Pixels of the shorter side of the images, at the most, if the user names no resolution."""


class Row(NamedTuple):
    """The knobs for images of at most so many pixels and runs of at most so many minutes."""

    pixels: float
    minutes: float
    knobs: dict[str, Any]


TABLE: dict[str, list[Row]] = {
    "CPU": [
        Row(40 * 40, math.inf, {"g_width": 32}),
        Row(math.inf, 12, {"g_width": 16}),
        Row(math.inf, math.inf, {"g_width": 24}),
    ],
    "GPU": [Row(math.inf, math.inf, {"g_width": 64})],
}
"""The first row that fits gives the knobs whose value is None."""


def choose_resolution(config: TrainConfig, device: torch.device, *, progress: bool) -> tuple[TrainConfig, list[str]]:
    """Limits the size of large images for a D with a frozen network, and in runs by time on a CPU; reads only headers.

    Returns:
        The configuration with a resolution, if one is needed; and a note for the user.

    Raises:
        GanvasError: there is no such data.
    """
    kind = _kind(device)
    is_limited = bool(features_net_of(config.network)) or (config.minutes is not None and kind == "CPU")
    if not is_limited or config.dataset.resolution is not None:
        return config, []
    size = choose_limited_size(config.dataset.options(), MAX_SIDE[kind], progress=progress)
    if size is None:
        return config, []
    resolution = f"{size.height}x{size.width}"
    note = f"Images are trained at {resolution} pixels, {size.describe(MAX_SIDE[kind])} on a {kind}{size.remark}"
    return replace(config, resolution=resolution), [f"{note}; --resolution changes this."]


def choose(config: TrainConfig, shape: Shape, device: torch.device) -> tuple[TrainConfig, list[str]]:
    """Chooses the knobs of the projected family that are None, and another frozen network if a package is missing.

    Returns:
        The configuration with a value for each, and notes for the user.
    """
    network = config.network
    if isinstance(network, Custom):
        return _choose_frozen(config, network)
    if not isinstance(network, Projected):
        return config, []
    kind, knobs, notes = _kind(device), dict(leaves(config)), list[str]()
    pixels, minutes = shape.height * shape.width, config.minutes or math.inf
    row = next(row for row in TABLE[kind] if pixels <= row.pixels and minutes <= row.minutes)
    chosen = {name: value for name, value in row.knobs.items() if knobs[name] is None}
    if chosen:
        time = f" and {minutes:g} minutes" if config.minutes else ""
        notes.append(f"For {shape.height}x{shape.width} pixels{time} on a {kind}, {format_flags(chosen)} is chosen.")
    features_net, note = resolve_frozen(network.features_net)
    return replace(config, **chosen, features_net=features_net), notes + ([note] if note else [])


def _choose_frozen(config: TrainConfig, network: Custom) -> tuple[TrainConfig, list[str]]:
    features_net, note = resolve_frozen(network.features_net)
    if not note:
        return config, []
    arguments = user_code.parse(network.d).arguments | {"features_net": features_net}
    text = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    return replace(config, d=f"projected({text})"), [note]


def _kind(device: torch.device) -> str:
    return "CPU" if device.type == "cpu" else "GPU"
