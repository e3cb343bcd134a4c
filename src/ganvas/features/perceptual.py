"""A perceptual distance: how far two pictures are in the maps of a frozen network, after Zhang et al. 2018.

As in LPIPS (arXiv 1801.03924), maps are divided by the length of their channels at each place, and squared differences
are averaged over places and added over maps. Ours takes every channel alike, without learnt weights, and adds the mean
squared difference of the pixels, without which colours are free.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ganvas.features.efficientnet import INSTALL, PACKAGE
from ganvas.features.eye import to_rgb
from ganvas.features.frozen import FrozenNetwork, load_frozen, resolve_frozen

MIN_SIDE = 64
"""Images are enlarged by the smallest whole factor that gives their shorter side this many pixels."""

EPS = 1e-8


class PerceptualDistance:
    """Distances between images float [n 1|3|4 h w] in [-1, 1] of one size.

    Attributes:
        name: lite0, or the eye where the package with lite0's weights is missing.
        note: a sentence for the user in that case, else empty.
    """

    def __init__(self, device: torch.device) -> None:
        self.name, replaced = resolve_frozen("lite0")
        self.note = replaced and (
            f"The package {PACKAGE} is not installed: pictures are compared in the maps of the eye instead of lite0, "
            f"and what is found differs. Fix: {INSTALL}"
        )
        self._network: FrozenNetwork = load_frozen(self.name).to(device)

    def describe(self, images: Tensor) -> list[Tensor]:
        """What is compared, float [n …] each: the maps of each image, and its pixels. Gradients reach the images."""
        rgb = to_rgb(images)
        factor = -(-MIN_SIDE // min(rgb.shape[2:]))
        enlarged = F.interpolate(rgb, scale_factor=factor, mode="bilinear") if factor > 1 else rgb
        maps = self._network(enlarged.contiguous(memory_format=torch.channels_last))
        return [one * (one.square().sum(1, keepdim=True) + EPS).rsqrt() for one in maps] + [images]

    def between(self, one: list[Tensor], other: list[Tensor]) -> Tensor:
        """The distance of each pair of images, float [n], ≥ 0; either may have one image for all of the other's."""
        *maps, pixels = (a - b for a, b in zip(one, other, strict=True))
        return sum((of.square().sum(1).mean((1, 2)) for of in maps), pixels.square().mean((1, 2, 3)))
