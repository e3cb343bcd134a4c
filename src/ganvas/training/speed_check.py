"""Warns of a run that is too slow before its first round, and suggests flags that make it fast enough."""

import dataclasses
import math
from collections.abc import Iterator

from ganvas.config import Network, TrainConfig
from ganvas.config.flags import format_flags
from ganvas.errors import GanvasError
from ganvas.networks import Shape
from ganvas.progress import format_duration, format_rate
from ganvas.recipes import get_recipe
from ganvas.training import distributed
from ganvas.training.estimate import CostEstimate, forward_flops

MAX_ROUND_SECONDS, MAX_FIRST_GRID_SECONDS = 60.0, 3600.0
"""Seconds of a round, and seconds to the first grid of generated images, above which there is a warning."""

WIDTH_DIVISORS = (2, 4, 8, 16, 32)
"""Divisors of the widths that are tried, in this order, to find networks that are fast enough."""

LIGHT_RECIPE = "cnn-stable"
"""The fast recipe that is suggested: it suits any images."""


def format_speed_warning(cost: CostEstimate, config: TrainConfig, shape: Shape, images_per_s: float) -> str:
    """A warning if the speed is too low, and flags that raise it, with the effect of each; else an empty text.

    Speeds of other networks follow from the operations of their forward passes.
    """
    images_per_round, images_to_grid = config.images_per_round, _images_to_first_grid(config)
    round_seconds, grid_seconds = images_per_round / images_per_s, images_to_grid / images_per_s
    if round_seconds <= MAX_ROUND_SECONDS and grid_seconds <= MAX_FIRST_GRID_SECONDS:
        return ""
    warning = (
        f"Warning: at this speed a round of {images_per_round:,} images takes {format_duration(round_seconds)}, and "
        f"the first images come after {format_duration(grid_seconds)} ({images_to_grid / 1000:g} kimg). To change that:"
    )
    return "\n".join([warning, *(f"  {flags}" for flags in _suggest_flags(cost, config, shape, images_per_s))])


def _images_to_first_grid(config: TrainConfig) -> int:
    """Images shown until the first snapshot after the start."""
    return (
        math.ceil(min(config.snapshot_every(), config.total_images) / config.images_per_round) * config.images_per_round
    )


def _suggest_flags(cost: CostEstimate, config: TrainConfig, shape: Shape, images_per_s: float) -> Iterator[str]:
    if config.images_per_round / images_per_s > MAX_ROUND_SECONDS:
        world, steps = distributed.world_size(), config.balance.d_steps
        batch = cost.in_groups(int(MAX_ROUND_SECONDS * images_per_s / steps) // world) * world
        if batch >= 2 * world:
            duration = format_duration(batch * steps / images_per_s)
            yield f"--batch {batch}: a round takes {duration}; the result differs"
    interval = math.floor(MAX_FIRST_GRID_SECONDS * images_per_s / config.images_per_round) * config.images_per_round
    if 0 < interval < config.snapshot_every():
        yield f"--snapshot-kimg {interval / 1000:g}: the first images after {format_duration(interval / images_per_s)}"

    def estimate_speed(network: Network) -> float:
        return images_per_s * (cost.g_flops + cost.d_flops) / sum(forward_flops(network, shape))

    needed = config.images_per_round / MAX_ROUND_SECONDS  # for the first images, --snapshot-kimg is enough
    if images_per_s < needed:
        for divisor in WIDTH_DIVISORS:
            network = _divide_widths(config.network, divisor)
            if network == config.network:  # it has no widths
                break
            try:
                speed = estimate_speed(network)
            except GanvasError:  # no network of this family is so narrow
                break
            if speed >= needed:
                yield f"{_format_flags(config.network, network)}: about {format_rate(speed)} images/s"
                break
    light = get_recipe(LIGHT_RECIPE).config.network
    if light.family != config.network.family and (speed := estimate_speed(light)) > 2 * images_per_s:
        yield f"the recipe {LIGHT_RECIPE} instead: about {format_rate(speed)} images/s"


def _divide_widths(network: Network, divisor: int) -> Network:
    """The configuration with every width divided, rounded down to multiples of 8, at least 8."""

    def divide(width: int) -> int:
        return max(8, width // divisor // 8 * 8)

    knobs = {
        name: tuple(map(divide, width)) if isinstance(width, tuple) else divide(width)
        for name, width in vars(network).items()
        if name.endswith(("width", "widths"))
    }
    return dataclasses.replace(network, **knobs)


def _format_flags(network: Network, narrower: Network) -> str:
    """The command-line flags that turn `network` into `narrower`."""
    before = vars(network)
    return format_flags({name: value for name, value in vars(narrower).items() if value != before[name]})
