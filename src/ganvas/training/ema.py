"""The moving average of the generator: what is sampled, judged and kept."""

import copy

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ganvas.networks import Generator


def average_of(network: Generator) -> Generator:
    """A frozen copy of `network`, in evaluation mode, to be moved by `update`."""
    return copy.deepcopy(network).eval().requires_grad_(False)


@torch.no_grad()
def update(average: nn.Module, network: nn.Module, *, images: int, half_life: float) -> None:
    """Moves `average` towards `network` after `images` more images.

    Args:
        half_life: images after which an old weight counts half (β = 0.5^(images / half_life), as in Karras et
            al. 2018); 0 copies. Buffers (batch-norm statistics) are copied, not averaged.
    """
    decay = 0.5 ** (images / half_life) if half_life > 0 else 0.0
    ours, theirs = tuple(average.parameters()), tuple(network.parameters())
    get_ema_multi_avg_fn(decay)(ours, theirs, 0)
    for kept, current in zip(average.buffers(), network.buffers(), strict=True):
        kept.copy_(current)
