"""What is chosen for a run where its recipe and the user leave it open: the size of large images, the width of the
projected family's G, and another frozen network where the package of lite0 is missing. What it gives up is noted too.

A choice depends on nothing but the configuration, time included, the images, the kind of device, and whether that
package is installed, so the same command finds the same run again.
"""

import math
from typing import NamedTuple

import torch

from ganvas import user_code
from ganvas.config import TrainConfig, replace
from ganvas.config.custom import Custom, features_net_of
from ganvas.config.families import Projected
from ganvas.data.limits import choose_limited_size
from ganvas.features.frozen import resolve_frozen
from ganvas.networks import Shape
from ganvas.progress import format_minutes
from ganvas.schedule import Schedule
from ganvas.training.state import MIN_IMAGES_PER_CLASS

MAX_SIDE = {"CPU": 64, "GPU": 256}
"""Pixels of the shorter side of the images, at the most, if the user names no resolution."""


class Width(NamedTuple):
    """The g_width for images of at most so many pixels and runs of at most so many minutes."""

    pixels: float
    minutes: float
    g_width: int


G_WIDTHS = {
    "CPU": (Width(40 * 40, math.inf, 32), Width(math.inf, 12, 16), Width(math.inf, math.inf, 24)),
    "GPU": (Width(math.inf, math.inf, 64),),
}
"""The first one that fits is taken where g_width is None; every other knob of `fast` is its recipe's."""


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
    remark = size.remark if config.dataset.fit != "pad" else ""  # bars do not enlarge
    note = f"Images are trained at {resolution} pixels, {size.describe(MAX_SIDE[kind])} on a {kind}{remark}"
    return replace(config, resolution=resolution), [f"{note}; --resolution changes this."]


def choose_networks(config: TrainConfig, shape: Shape, device: torch.device) -> tuple[TrainConfig, list[str]]:
    """Chooses the g_width of the projected family where it is None, and another frozen network if a package is missing.

    Returns:
        The configuration with both, and notes for the user; one of them where a batch is too small for what is asked.
    """
    network, shared = config.network, _note_on_moments(config, shape.classes)
    if isinstance(network, Custom):
        config, notes = _choose_frozen(config, network)
        return config, notes + shared
    if not isinstance(network, Projected):
        return config, []
    g_width, kind, notes = network.g_width, _kind(device), list[str]()
    if g_width is None:
        pixels, minutes = shape.height * shape.width, config.minutes or math.inf
        g_width = next(row.g_width for row in G_WIDTHS[kind] if pixels <= row.pixels and minutes <= row.minutes)
        time = f" and {format_minutes(minutes)}" if config.minutes else ""
        notes.append(f"For {shape.height}x{shape.width} pixels{time} on a {kind}, --g-width {g_width} is chosen.")
    features_net, note = resolve_frozen(network.features_net)
    return replace(config, g_width=g_width, features_net=features_net), notes + ([note] if note else []) + shared


def _choose_frozen(config: TrainConfig, network: Custom) -> tuple[TrainConfig, list[str]]:
    features_net, note = resolve_frozen(network.features_net)
    if not note:
        return config, []
    arguments = user_code.parse(network.d).arguments | {"features_net": features_net}
    text = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    return replace(config, d=f"projected({text})"), [note]


def _note_on_moments(config: TrainConfig, classes: int) -> list[str]:
    """Where moments of each class would be matched if the batch were larger."""
    batch, least = config.optimisation.batch, MIN_IMAGES_PER_CLASS * classes
    if max(Schedule.parse(config.loss.moments).ends) == 0 or batch >= least:
        return []
    return [
        f"With a batch of {batch}, moments are matched over all {classes} classes together: --batch {least} gives each "
        "of them its own."
    ]


def _kind(device: torch.device) -> str:
    return "CPU" if device.type == "cpu" else "GPU"
