"""The exponential moving average of the generator's weights, which is sampled, evaluated and saved."""

import copy
from typing import TypeVar

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

Network = TypeVar("Network", bound=nn.Module)


def frozen_copy(network: Network) -> Network:
    """A copy of `network` without gradients, in evaluation mode, for `update`."""
    return copy.deepcopy(network).eval().requires_grad_(False)


@torch.no_grad()
def update(average: nn.Module, network: nn.Module, *, images: int, half_life: float) -> None:
    """Updates the parameters of `average` by those of `network`, after `images` more images.

    Args:
        half_life: images after which an old weight counts half (β = 0.5^(images / half_life), as in Karras et
            al. 2018); 0 copies. Buffers (batch-norm statistics) are copied, not averaged.
    """
    beta = 0.5 ** (images / half_life) if half_life > 0 else 0.0
    get_ema_multi_avg_fn(beta)(tuple(average.parameters()), tuple(network.parameters()), 0)
    for averaged, current in zip(average.buffers(), network.buffers(), strict=True):
        averaged.copy_(current)
