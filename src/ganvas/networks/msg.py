"""MSG-GAN: D receives every scale at once, so that gradients reach every layer of G (Karnewar & Wang 2020,
arXiv 1903.06048), in its ProGAN variant.

The input of D is an image pyramid from 4×4 to the full size, packed into one vector for each image, so that batches,
noise and gradient penalties handle it like an image. As in the paper, layers are equalised, G has pixel norm, images at
every scale have no tanh, and D's blocks receive the features concatenated with the image of their size (φ_simple), each
after a minibatch standard deviation. Differences from the paper:

- Any size: scales are halved with sides rounded up (`layers.resolutions`).
- G starts and D ends with a dense layer, since the smallest map need not be 4×4 for PG's 4×4 convolutions.
- A class embedding is concatenated to z, and D has a projection head.
- Truncation, which the paper does not have, moves the features of the first layer towards their average. Scaling z
  would change almost nothing, since pixel norm undoes it.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from types import MappingProxyType

import torch
from torch import Tensor, nn

from ganvas.config.families import MSG
from ganvas.networks import base
from ganvas.networks.base import Shape
from ganvas.networks.casting import narrow, widen
from ganvas.networks.equalised import (
    EqualisedConv2d,
    EqualisedLinear,
    EqualisedProjectionHead,
    LatentInput,
    RunningMean,
    conv_pair,
    last_block,
    minibatch_stddev,
    pixel_norm,
)
from ganvas.networks.layers import activation, avg_downsample, resolutions, stage_widths, upsample


def pack(pyramid: Sequence[Tensor]) -> Tensor:
    """Images of several sizes, float [n c h w] each, smallest first -> float [n, sum of c·h·w]."""
    return torch.cat([images.flatten(1) for images in pyramid], dim=1)


def unpack(packed: Tensor, channels: int, sizes: Sequence[tuple[int, int]]) -> list[Tensor]:
    """The inverse of `pack`; the images are views of `packed`."""
    parts = packed.split([channels * h * w for h, w in sizes], dim=1)
    return [part.unflatten(1, (channels, *size)) for part, size in zip(parts, sizes, strict=True)]


class ConvPixelNorm(nn.Sequential):
    """Features [n c_in h w] -> [n c_out h w]: convolution, LeakyReLU, pixel norm."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__(EqualisedConv2d(c_in, c_out, 3), *activation())

    def forward(self, input: Tensor) -> Tensor:
        return pixel_norm(super().forward(input))


class Generator(base.Generator):
    """z float [n latent], labels int64 [n] or None -> images float [n c h w], nominally in [-1, 1]."""

    style_space = "features"

    def __init__(self, config: MSG, shape: Shape) -> None:
        super().__init__()
        self.latent, self.shape, self.sizes = config.latent, shape, resolutions(shape)
        widths = stage_widths(config.width, config.full_width_stages, len(self.sizes))
        self.start_shape = (widths[0], *self.sizes[0])
        self.latent_input = LatentInput(config.latent, shape.classes)
        self.dense = nn.Sequential(EqualisedLinear(self.latent_input.width, math.prod(self.start_shape)), *activation())
        self.feature_avg = RunningMean(math.prod(self.start_shape), shape.classes)
        self.blocks = nn.ModuleList([ConvPixelNorm(widths[0], widths[0])])
        for c_in, c_out in pairwise(widths):
            self.blocks.append(nn.Sequential(ConvPixelNorm(c_in, c_out), ConvPixelNorm(c_out, c_out)))
        self.to_rgb = nn.ModuleList([EqualisedConv2d(width, shape.channels, 1, gain=1.0) for width in widths])

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self._full_image(self.features(z, labels))

    def d_input(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The images of every scale, packed: float [n, sum of c·h·w]."""
        pyramid = self._feature_maps(self.features(z, labels))
        return pack([to_rgb(widen(x)) for to_rgb, x in zip(self.to_rgb, pyramid, strict=True)])

    def styles(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The features of the first layer, float [n 1 k]."""
        return self.features(z, labels)[:, None]

    def truncate(self, styles: Tensor, labels: Tensor | None, truncation: float) -> Tensor:
        """The first features moved towards their average."""
        return self.feature_avg.truncated(styles, labels, truncation)

    def draw(self, styles: Tensor, labels: Tensor | None = None) -> Tensor:
        return self._full_image(styles[:, 0])

    def features(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The output of the first layer, float [n, channels·h·w of the smallest map]; it determines the image."""
        return self.feature_avg(self.dense(self.latent_input(z, labels)), labels)

    def _feature_maps(self, features: Tensor) -> Iterator[Tensor]:
        """The output of each block, smallest first."""
        x = narrow(pixel_norm(features.unflatten(1, self.start_shape)), self.activation_dtype)
        for stage, (block, size) in enumerate(zip(self.blocks, self.sizes, strict=True)):
            x = block(upsample(x, size) if stage else x)
            yield x

    def _full_image(self, features: Tensor) -> Tensor:
        *_, x = self._feature_maps(features)
        return self.to_rgb[-1](widen(x))


class Discriminator(base.Discriminator):
    """Packed pyramids float [n …], labels int64 [n] or None -> logits float [n], larger for real."""

    batch_dependent = True
    matched_at_end = MappingProxyType({"blocks": 0})

    def __init__(self, config: MSG, shape: Shape) -> None:
        super().__init__()
        self.channels, self.sizes = shape.channels, resolutions(shape)
        widths = stage_widths(config.width, config.full_width_stages, len(self.sizes))
        self.from_rgb = nn.Sequential(EqualisedConv2d(shape.channels, widths[-1], 1), *activation())
        self.blocks = nn.ModuleList()
        extra = 1  # the minibatch standard deviation; after the first block the image too
        for c_in, c_out in pairwise(reversed(widths)):
            self.blocks.append(conv_pair(c_in + extra, c_in, c_out))
            extra = 1 + shape.channels
        self.final = last_block(widths[0] + extra, widths[0], self.sizes[0])
        self.head = EqualisedProjectionHead(widths[0], shape.classes)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        *coarser, finest = unpack(narrow(images, self.activation_dtype), self.channels, self.sizes)
        x = self.from_rgb(finest)
        for block, image in zip(self.blocks, reversed(coarser), strict=True):
            x = torch.cat([avg_downsample(block(minibatch_stddev(x))), image], dim=1)
        return self.head(self.final(minibatch_stddev(x)), labels)

    def d_input(self, images: Tensor) -> Tensor:
        """Images float [n c h w] -> their packed pyramids; each scale averages the next larger one."""
        pyramid = [images]
        while len(pyramid) < len(self.sizes):
            pyramid.insert(0, avg_downsample(pyramid[0]))
        return pack(pyramid)
