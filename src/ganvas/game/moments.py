"""Moment matching in G's loss: the means and deviations of frozen features, of the fakes against the reals.

dos Santos et al. 2019 ("Learning implicit generative models by matching perceptual features", GFMN) train a generator
by these alone; here they accompany the adversarial loss (docs/decisions/0019). As there, means are running averages
over the fakes of many updates, as one batch is far too small for them. Differences: the features are pooled to a
coarse grid, with their squares; deviations too are running averages; and both are compared in the eigenbasis of the
reals' correlations, so that directions in which the reals hardly vary count as much as the others, down to a floor.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganvas.networks.layers import average_pool

MAP_GRID, IMAGE_GRID = 2, 8
"""Sides of the grids to which feature maps and the image are pooled."""

DECAY = 0.9
"""The weight of the older fakes in the running moments, at each update of G; with microbatches, at each of them."""

FLOOR = 0.05
"""The least variance, of 1 on average, by whose root a direction is divided."""

FEW = 8
"""Different reals of a class below which the deviation within all classes is its own: one image would have none at all,
and so few have one that is far too small, which G would match by drawing one image again and again."""


class Moments(nn.Module):
    """The loss of one group of k descriptors; everything it remembers is in its buffers.

    With classes each class has moments of its own: those of all together cannot tell a class of one image repeated.
    Before `fit`, the reals count as standard normal.
    """

    mean: Tensor
    basis: Tensor
    real_moments: Tensor
    fake_sums: Tensor
    mass: Tensor

    def __init__(self, k: int, classes: int = 0) -> None:
        super().__init__()
        classes = max(1, classes)
        self.register_buffer("mean", torch.zeros(k))
        self.register_buffer("basis", torch.eye(k))
        self.register_buffer("real_moments", torch.stack([torch.zeros(classes, k), torch.ones(classes, k)]))
        self.register_buffer("fake_sums", torch.zeros(2, classes, k))
        self.register_buffer("mass", torch.zeros(classes, 1))

    @torch.no_grad()
    def fit(self, reals: Tensor, labels: Tensor | None, sizes: Tensor | None = None) -> None:
        """Takes the moments of the reals from their descriptors, float [n k]; n is to exceed k. Forgets the fakes.

        A class of fewer than `FEW` different reals gets the deviation within all classes.

        Args:
            sizes: how many different reals there are of each class, of which some are here more than once, [classes].
        """
        spread = reals.std(0)
        spread = spread + 1e-3 * spread.mean() + 1e-12
        whitened = (reals - reals.mean(0)) / spread
        # on the CPU: MPS has no eigh up to PyTorch 2.13
        both = torch.linalg.eigh((whitened.T @ whitened / len(reals)).cpu())
        variances, directions = (x.to(reals.device) for x in both)
        self.mean.copy_(reals.mean(0))
        self.basis.copy_(directions / variances.clamp_min(FLOOR).sqrt() / spread[:, None])
        sums, counts = self._sums(reals, labels)
        mean, deviation = _mean_and_deviation(sums, counts)
        freedom = (counts - 1).clamp_min(0).sum().clamp_min(1)
        within = ((counts * deviation.square()).sum(0) / freedom).sqrt()
        different = counts if sizes is None else counts.minimum(sizes.to(counts)[:, None])
        few = (different > 0) & (different < FEW)
        self.real_moments.copy_(torch.stack([mean, torch.where(few, within, deviation)]))
        self.fake_sums.zero_()  # they were in another basis
        self.mass.zero_()

    def forward(self, descriptors: Tensor, labels: Tensor | None) -> Tensor:
        """The loss of the running moments with this batch of fakes in them, float []; adds the batch to them."""
        sums, counts = self._sums(descriptors, labels)
        sums, mass = torch.lerp(sums, self.fake_sums, DECAY), torch.lerp(counts, self.mass, DECAY)
        self.fake_sums.copy_(sums.detach())
        self.mass.copy_(mass)
        error = _mean_and_deviation(sums, mass) - self.real_moments
        loss = (error.square().clamp(max=1e4).mean(2) * mass[:, 0]).sum()
        return loss / ((1 - DECAY) * len(descriptors))  # so that the gradient is not the batch's share of the moments

    def _sums(self, descriptors: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        """Sums of x and of x² over the batch, float [2 classes k], and the images of each class, float [classes 1]."""
        x = (descriptors - self.mean) @ self.basis
        classes = len(self.mass)
        member = F.one_hot(labels, classes).to(x) if labels is not None and classes > 1 else torch.ones_like(x[:, :1])
        return torch.stack([member.T @ x, member.T @ x.square()]), member.sum(0)[:, None]


def _mean_and_deviation(sums: Tensor, counts: Tensor) -> Tensor:
    """[2 classes k] of both; of a class without images, standard normal ones."""
    mean, square = sums / counts.clamp_min(1e-6)
    deviation = (square - mean.square()).clamp_min(1e-4).sqrt()
    return torch.stack([mean, torch.where(counts > 0, deviation, 1.0)])


class MomentMatching(nn.Module):
    """The sum of `Moments` over the feature maps in D's input.

    Attributes:
        augmentation: float32 [2], the probability of the augmentation and the noise of the reals at the last fit; NaN
            before the first.

    Args:
        unpack: inputs of D float [n …] -> feature maps float [n c h w], the image last.
        example: an input of D.
        classes: 0 to match the moments of all classes together.
    """

    augmentation: Tensor

    def __init__(self, unpack: Callable[[Tensor], list[Tensor]], example: Tensor, classes: int = 0) -> None:
        super().__init__()
        self._unpack = unpack
        self.groups = nn.ModuleList(Moments(x.shape[1], classes) for x in self.describe(example))
        self.register_buffer("augmentation", torch.full((2,), torch.nan))

    def describe(self, inputs: Tensor) -> list[Tensor]:
        """Inputs of D float [n …] -> for each map, regional means of x and of x², float [n k]."""
        maps = self._unpack(inputs)
        grids = [MAP_GRID] * (len(maps) - 1) + [IMAGE_GRID]
        both = (torch.cat([x, x.square()], dim=1) for x in maps)
        return [average_pool(x, (grid, grid)).flatten(1) for x, grid in zip(both, grids, strict=True)]

    def fit(self, batches: Iterable[tuple[Tensor, Tensor | None]], sizes: Tensor | None = None) -> None:
        """Takes the moments of the reals from inputs of D, float [n …], with their labels, int64 [n] or None.

        Args:
            sizes: see `Moments.fit`.
        """
        described = [(self.describe(inputs), labels) for inputs, labels in batches]
        labels = [part for _, part in described if part is not None]
        for i, group in enumerate(self.groups):
            assert isinstance(group, Moments)
            whole = sizes if len(group.mass) > 1 else None
            group.fit(torch.cat([maps[i] for maps, _ in described]), torch.cat(labels) if labels else None, whole)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        state_dict.setdefault(f"{prefix}augmentation", self.augmentation)  # states of earlier versions have none
        super()._load_from_state_dict(state_dict, prefix, *args)

    @property
    def running(self) -> list[Tensor]:
        """The running sums over the fakes, and the number of images in them."""
        return [group.get_buffer(name) for group in self.groups for name in ("fake_sums", "mass")]

    def forward(self, inputs: Tensor, labels: Tensor | None = None) -> Tensor:
        """Inputs of D made of fakes, float [n …] -> the loss, float []; adds them to the running moments."""
        losses = [group(x, labels) for group, x in zip(self.groups, self.describe(inputs), strict=True)]
        return torch.stack(losses).sum()
