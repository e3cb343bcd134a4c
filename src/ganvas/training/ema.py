"""The exponential moving average of the generator's weights, which is sampled, evaluated and saved."""

import copy
from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import get_ema_multi_avg_fn

Network = TypeVar("Network", bound=nn.Module)


def frozen_copy(network: Network) -> Network:
    """A copy of `network` without gradients, in evaluation mode, for `update`."""
    return copy.deepcopy(network).eval().requires_grad_(False)


@torch.no_grad()
def estimate_statistics(average: nn.Module, passes: Iterable[Callable[[], object]]) -> None:
    """Estimates the statistics of all batch norms anew: those of G's weights do not fit their average.

    Izmailov et al. 2018 (section 3.2) do so for averaged weights, Brock et al. 2019 (appendix E, "standing statistics")
    for generators. Without batch norm nothing is done.

    Args:
        passes: forward passes of `average`, over whose inputs the statistics are averaged.
    """
    norms = [module for module in average.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the passes
        norm.train()
    for forward in passes:
        forward()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


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
