"""A run that would keep its user waiting: said before its first step, with the knobs that would change it."""

import dataclasses
import math
from collections.abc import Iterator

from ganvas.config import Network, TrainConfig
from ganvas.errors import GanvasError
from ganvas.networks import Shape
from ganvas.recipes import recipe
from ganvas.training import distributed
from ganvas.training.estimate import Estimate, forward_flops
from ganvas.training.progress import clock

LONGEST_ROUND, LONGEST_WAIT = 60.0, 3600.0
"""Seconds of a round, and seconds to the first picture, above which a user is warned."""

NARROWER = (2, 4, 8, 16, 32)
"""By how much widths are divided to find networks that are fast enough."""

LIGHT = "cnn-stable"
"""The recipe named where another one may do: it suits any pictures."""


def warning(cost: Estimate, config: TrainConfig, shape: Shape, images_per_s: float) -> str:
    """What is wrong with this speed, and flags that would mend it, with what each gives; empty if nothing is.

    Speeds of other networks follow from the operations of their forward passes.
    """
    a_round, pictured = config.a_round, _first_picture(config, config.snapshot_every())
    if a_round / images_per_s <= LONGEST_ROUND and pictured / images_per_s <= LONGEST_WAIT:
        return ""
    said = (
        f"Warning: at this speed a round of {a_round:,} images takes {clock(a_round / images_per_s)}, and the first "
        f"picture comes after {clock(pictured / images_per_s)} ({pictured / 1000:g} kimg). To change that:"
    )
    return "\n".join([said, *(f"  {option}" for option in _options(cost, config, shape, images_per_s))])


def _first_picture(config: TrainConfig, every: int) -> int:
    """Images shown at the first snapshot after the start, where there is one in so many."""
    return math.ceil(min(every, config.total) / config.a_round) * config.a_round


def _options(cost: Estimate, config: TrainConfig, shape: Shape, images_per_s: float) -> Iterator[str]:
    if config.a_round / images_per_s > LONGEST_ROUND:
        ranks, steps = distributed.world(), config.balance.d_steps
        batch = int(LONGEST_ROUND * images_per_s / steps) // ranks * ranks
        if batch >= 2 * ranks:
            yield f"--batch {batch}: a round in {clock(batch * steps / images_per_s)}; it learns differently"
    every = math.floor(LONGEST_WAIT * images_per_s / config.a_round) * config.a_round
    if 0 < every < config.snapshot_every():
        yield f"--snapshot-kimg {every / 1000:g}: the first picture after {clock(every / images_per_s)}"

    def faster(network: Network) -> float:
        return images_per_s * (cost.g_flops + cost.d_flops) / sum(forward_flops(network, shape))

    needed = config.a_round / LONGEST_ROUND  # snapshots can be had more often
    if images_per_s < needed:
        for divisor in NARROWER:
            network = _narrower(config.network, divisor)
            try:
                speed = faster(network)
            except GanvasError:  # no network of this family is so narrow
                break
            if speed >= needed:
                yield f"{_flags(config.network, network)}: about {speed:,.0f} images/s"
                break
    light = recipe(LIGHT).config.network
    if light.family != config.network.family and (speed := faster(light)) > 2 * images_per_s:
        yield f"the recipe {LIGHT} instead: about {speed:,.0f} images/s"


def _narrower(network: Network, divisor: int) -> Network:
    """The same with every width divided, to multiples of 8."""

    def less(width: int) -> int:
        return max(8, width // divisor // 8 * 8)

    knobs = {
        name: tuple(map(less, width)) if isinstance(width, tuple) else less(width)
        for name, width in vars(network).items()
        if name.endswith(("width", "widths"))
    }
    return dataclasses.replace(network, **knobs)


def _flags(network: Network, narrower: Network) -> str:
    """The command line's way from one to the other."""
    changed = {name: value for name, value in vars(narrower).items() if value != vars(network)[name]}
    words = {name: " ".join(map(str, v)) if isinstance(v, tuple) else v for name, v in changed.items()}
    return " ".join(f"--{name.replace('_', '-')} {value}" for name, value in words.items())
