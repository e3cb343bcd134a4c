"""MSG-GAN: one D looks at every scale at once, so that gradients reach every depth of G (Karnewar & Wang 2020,
arXiv 1903.06048); its ProGAN variant.

D is shown a pyramid, from 4×4 to the full size, packed into one vector an image, so that batches, noise and gradient
penalties treat it like a picture. As in the paper: equalised layers, pixel norm in G, images at every scale without a
tanh, D's blocks fed the features concatenated with the picture of their size (φ_simple), each behind a minibatch
standard deviation. Where we differ:

- any size: scales halve with sides rounded up (`equalised.ladder`);
- G starts with a dense layer, D ends with one: PG's 4×4 convolutions at sizes that need not be 4×4;
- a class enters as an embedding beside z, and D's head is a projection;
- truncation, which the paper has not, draws the first layer's features towards their mean; to scale z would change
  next to nothing, since pixel norm undoes it.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from ganvas.config import MSG
from ganvas.networks import roles
from ganvas.networks.equalised import (
    Conv2d,
    Head,
    Latent,
    Linear,
    Mean,
    channels,
    ladder,
    pixel_norm,
    with_deviation,
)
from ganvas.networks.layers import double, leaky, shrink
from ganvas.networks.roles import Shape


def pack(pyramid: Sequence[Tensor]) -> Tensor:
    """Pictures of several sizes, float [n c h w] each, smallest first -> float [n, numbers in all of them]."""
    return torch.cat([images.flatten(1) for images in pyramid], dim=1)


def unpack(packed: Tensor, channels: int, sizes: Sequence[tuple[int, int]]) -> list[Tensor]:
    """The pictures again, as views of the packed ones."""
    parts = packed.split([channels * h * w for h, w in sizes], dim=1)
    return [part.unflatten(1, (channels, *size)) for part, size in zip(parts, sizes, strict=True)]


class Normed(nn.Sequential):
    """Features [n before h w] -> [n after h w]: convolution, LeakyReLU, pixel norm."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__(Conv2d(before, after, 3), *leaky())

    def forward(self, input: Tensor) -> Tensor:
        return pixel_norm(super().forward(input))


class Generator(roles.Generator):
    """z float [n latent], labels int64 [n] or None -> images float [n c h w], nominally in [-1, 1]."""

    def __init__(self, config: MSG, shape: Shape) -> None:
        super().__init__()
        self.latent, self.shape, self.sizes = config.latent, shape, ladder(shape)
        widths = [channels(config.width, stage) for stage in range(len(self.sizes))]
        self.start = (widths[0], *self.sizes[0])
        self.at_entry = Latent(config.latent, shape.classes)
        self.dense = nn.Sequential(Linear(self.at_entry.width, math.prod(self.start)), *leaky())
        self.mean = Mean(math.prod(self.start), shape.classes)
        self.blocks = nn.ModuleList([Normed(widths[0], widths[0])])
        for before, after in pairwise(widths):
            self.blocks.append(nn.Sequential(Normed(before, after), Normed(after, after)))
        self.to_rgb = nn.ModuleList([Conv2d(width, shape.channels, 1, gain=1.0) for width in widths])

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self._finest(self.features(z, labels))

    def shown(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The pictures of every scale, packed: float [n, numbers in all of them]."""
        pyramid = self._grown(self.features(z, labels))
        return pack([to_rgb(x) for to_rgb, x in zip(self.to_rgb, pyramid, strict=True)])

    def truncated(self, z: Tensor, labels: Tensor | None, truncation: float) -> Tensor:
        """Images whose first features are drawn towards their mean."""
        return self._finest(self.mean.truncated(self.features(z, labels), labels, truncation))

    def features(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The first layer's, [n channels·h·w of the smallest scale]: all that a picture depends on."""
        return self.mean(self.dense(self.at_entry(z, labels)), labels)

    def _grown(self, features: Tensor) -> Iterator[Tensor]:
        """What comes out of each block, smallest first."""
        x = pixel_norm(features.unflatten(1, self.start))
        for stage, (block, size) in enumerate(zip(self.blocks, self.sizes, strict=True)):
            x = block(double(x, size) if stage else x)
            yield x

    def _finest(self, features: Tensor) -> Tensor:
        *_, x = self._grown(features)
        return self.to_rgb[-1](x)


class Discriminator(roles.Discriminator):
    """Packed pyramids float [n …], labels int64 [n] or None -> logits float [n], larger for real."""

    apart = True

    def __init__(self, config: MSG, shape: Shape) -> None:
        super().__init__()
        self.channels, self.sizes = shape.channels, ladder(shape)
        widths = [channels(config.width, stage) for stage in range(len(self.sizes))]
        self.from_rgb = nn.Sequential(Conv2d(shape.channels, widths[-1], 1), *leaky())
        self.blocks = nn.ModuleList()
        extra = 1  # the deviation; behind the first block the picture too
        for before, after in pairwise(reversed(widths)):
            block = (Conv2d(before + extra, before, 3), *leaky(), Conv2d(before, after, 3), *leaky())
            self.blocks.append(nn.Sequential(*block))
            extra = 1 + shape.channels
        flat = widths[0] * math.prod(self.sizes[0])
        self.end = nn.Sequential(
            Conv2d(widths[0] + extra, widths[0], 3), *leaky(), nn.Flatten(), Linear(flat, widths[0]), *leaky()
        )
        self.head = Head(widths[0], shape.classes)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        *coarser, finest = unpack(images, self.channels, self.sizes)
        x = self.from_rgb(finest)
        for block, picture in zip(self.blocks, reversed(coarser), strict=True):
            x = torch.cat([shrink(block(with_deviation(x))), picture], dim=1)
        return self.head(self.end(with_deviation(x)), labels)

    def view(self, images: Tensor) -> Tensor:
        """Images float [n c h w] -> their packed pyramids, each scale the mean of the next."""
        pyramid = [images]
        while len(pyramid) < len(self.sizes):
            pyramid.insert(0, shrink(pyramid[0]))
        return pack(pyramid)
