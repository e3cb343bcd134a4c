"""Moment matching in G's loss: the means and deviations of frozen features, of the fakes against the reals.

dos Santos et al. 2019 ("Learning implicit generative models by matching perceptual features", GFMN) train a generator
by these alone; here they accompany the adversarial loss (docs/decisions/0019). As there, means are running averages
over the fakes of many updates, as one batch is far too small for them. Differences: the features are pooled to a
coarse grid, with their squares; deviations too are running averages; and both are compared in the eigenbasis of the
reals' correlations, so that directions in which the reals hardly vary count as much as the others, down to a floor.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MAP_GRID, IMAGE_GRID = 2, 8
"""Sides of the grids to which feature maps and the image are pooled."""

DECAY = 0.9
"""The weight of the older fakes in the running moments, at each update of G."""

FLOOR = 0.05
"""The least variance, of 1 on average, by whose root a direction is divided."""


class Moments(nn.Module):
    """The loss of one group of k descriptors; everything it remembers is in its buffers.

    Before `fit`, the reals count as standard normal.
    """

    mean: Tensor
    basis: Tensor
    deviation: Tensor
    fakes: Tensor
    mass: Tensor

    def __init__(self, k: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(k))
        self.register_buffer("basis", torch.eye(k))
        self.register_buffer("deviation", torch.ones(k))
        self.register_buffer("fakes", torch.zeros(2, k))
        self.register_buffer("mass", torch.zeros(()))

    @torch.no_grad()
    def fit(self, reals: Tensor) -> None:
        """Takes the moments of the reals from their descriptors, float [n k]; n is to exceed k."""
        mean, spread = reals.mean(0), reals.std(0)
        spread = spread + 1e-3 * spread.mean() + 1e-12
        whitened = (reals - mean) / spread
        variances, directions = torch.linalg.eigh(whitened.T @ whitened / len(reals))
        floored = variances.clamp_min(FLOOR)
        self.mean.copy_(mean)
        self.basis.copy_(directions / floored.sqrt() / spread[:, None])
        self.deviation.copy_((variances.clamp_min(0) / floored).sqrt())

    def forward(self, descriptors: Tensor) -> Tensor:
        """The loss of the running moments with this batch of fakes in them, float []; adds the batch to them."""
        x = (descriptors - self.mean) @ self.basis
        batch = torch.stack([x.mean(0), x.square().mean(0)])
        moments, mass = torch.lerp(batch, self.fakes, DECAY), DECAY * self.mass + (1 - DECAY)
        self.fakes.copy_(moments.detach())
        self.mass.copy_(mass)
        mean, square = moments / mass
        deviation = (square - mean.square()).clamp_min(1e-4).sqrt()
        loss = mean.square().clamp(max=1e4).mean() + (deviation - self.deviation).square().mean()
        return loss * mass / (1 - DECAY)  # otherwise the gradient would have the batch's share of the moments


class MomentMatching(nn.Module):
    """The sum of `Moments` over the feature maps in D's input.

    Args:
        unpack: inputs of D float [n …] -> feature maps float [n c h w], the image last.
        example: an input of D.
    """

    def __init__(self, unpack: Callable[[Tensor], list[Tensor]], example: Tensor) -> None:
        super().__init__()
        self._unpack = unpack
        self.groups = nn.ModuleList(Moments(x.shape[1]) for x in self.describe(example))

    def describe(self, inputs: Tensor) -> list[Tensor]:
        """Inputs of D float [n …] -> for each map, regional means of x and of x², float [n k]."""
        maps = self._unpack(inputs)
        grids = [MAP_GRID] * (len(maps) - 1) + [IMAGE_GRID]
        both = (torch.cat([x, x.square()], dim=1) for x in maps)
        return [F.adaptive_avg_pool2d(x, grid).flatten(1) for x, grid in zip(both, grids, strict=True)]

    def fit(self, batches: Iterable[Tensor]) -> None:
        """Takes the moments of the reals from inputs of D, float [n …] at a time."""
        for group, parts in zip(self.groups, zip(*map(self.describe, batches), strict=True), strict=True):
            assert isinstance(group, Moments)
            group.fit(torch.cat(parts))

    @property
    def running(self) -> list[Tensor]:
        """The running moments of the fakes, float [2 k] each."""
        return [group.get_buffer("fakes") for group in self.groups]

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs of D made of fakes, float [n …] -> the loss, float []; adds them to the running moments."""
        losses = [group(x) for group, x in zip(self.groups, self.describe(inputs), strict=True)]
        return torch.stack(losses).sum()
