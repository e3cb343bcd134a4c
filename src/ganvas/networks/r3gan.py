"""R3GAN at any image size (Huang et al. 2024, "The GAN is dead; long live the GAN!", section 3).

G and D mirror each other: residual blocks without normalisation at each size from 4×4 up, [1, 2, 1] resampling between
the sizes, and a learnt 4×4 map at the start of G and at the end of D. At 32×32×3 with the defaults G has 20,781,952
parameters and D 21,280,512 with ten classes, 20,732,160 and 20,683,776 without. Written from the paper; differences:

- Sides are halved, rounding up, until the longer one is at most 4, and the learnt maps have that size. In the paper
  they are 4×4, and all sides are powers of two.
- There are at least 8 channels (96 in the paper's networks, at 256×256). If the channels of a 3×3 convolution do not
  split into groups of the configured size, the groups are the next larger ones that fit.
- In mixed precision (`--precision`) all maps are bfloat16; the paper keeps the largest ones so.
"""

import math
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganvas.config.families import R3GAN
from ganvas.networks import base
from ganvas.networks.base import Shape
from ganvas.networks.casting import Conv2d, Linear, narrow, widen
from ganvas.networks.layers import crop, he_normal_, resolutions, stage_widths


def groups(channels: int, size: int) -> int:
    """The largest number of equal groups of at least `size` channels; 1 if there are fewer channels than that."""
    return next(n for n in range(max(channels // size, 1), 0, -1) if channels % n == 0)


def class_embedding(classes: int, features: int, gain: float = 1.0) -> nn.Embedding:
    """A linear layer on the one-hot class: N(0, gain² / fan-in), where the fan-in is the number of classes."""
    embedding = nn.Embedding(classes, features)
    nn.init.normal_(embedding.weight, std=gain / math.sqrt(classes))
    return embedding


def conv1x1(c_in: int, c_out: int) -> nn.Conv2d:
    return he_normal_(Conv2d(c_in, c_out, 1, bias=False))


class ResidualBlock(nn.Sequential):
    """x + f(x) on float [n c h w], where f is an inverted bottleneck with a grouped convolution (section 3.3).

    The last weight of f starts at 0. The other two are scaled by L^(-1/4), where L, `depth`, is the number of blocks of
    the network, so that an optimiser step changes the output equally at any depth (Fixup: Zhang et al. 2019, for three
    layers in a block).
    """

    def __init__(self, channels: int, group: int, depth: int) -> None:
        wide, gain = 2 * channels, math.sqrt(2 / (1 + 0.2**2)) * depth**-0.25
        super().__init__(
            he_normal_(Conv2d(channels, wide, 1), gain),
            nn.LeakyReLU(0.2),
            he_normal_(Conv2d(wide, wide, 3, padding=1, groups=groups(wide, group)), gain),
            nn.LeakyReLU(0.2),
            he_normal_(Conv2d(wide, channels, 1, bias=False), 0),
        )

    def forward(self, input: Tensor) -> Tensor:
        return input + super().forward(input)


# The filter [1, 2, 1] is [1, 1] applied twice. A depthwise convolution is faster forwards, but for the second
# derivatives of penalties PyTorch computes each group separately: 3× slower overall on a CPU (64 images, 64×32×32).


class Downsample(nn.Module):
    """Filters by [1, 2, 1]/4 in both directions with zero padding, and takes every second pixel, rounding up."""

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(F.avg_pool2d(x, 2, stride=1, padding=1), 2)


class Upsample(nn.Module):
    """Four times the transpose of `Downsample`, cropped to `size`: doubles the sides, interpolating bilinearly."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        doubled = F.interpolate(x, scale_factor=2, mode="nearest")
        return crop(F.avg_pool2d(doubled, 2, stride=1, padding=1)[:, :, 1:, 1:], self.size)


class Generator(base.Generator):
    """z float [n latent], labels int64 [n] or None -> images float [n c h w], unbounded; reals are in [-1, 1]."""

    def __init__(self, config: R3GAN, shape: Shape) -> None:
        super().__init__()
        self.latent, self.shape = config.latent, shape
        sizes = resolutions(shape)
        widths = stage_widths(max(config.width, 8), config.full_width_stages, len(sizes))
        self.embedding = class_embedding(shape.classes, config.latent) if shape.classes else None
        self.basis = nn.Parameter(torch.randn(1, widths[0], *sizes[0]))
        self.dense = he_normal_(Linear(config.latent * (2 if shape.classes else 1), widths[0], bias=False))
        layers: list[nn.Module] = []
        for stage, size in enumerate(sizes):
            if stage:
                if widths[stage] != widths[stage - 1]:
                    layers.append(conv1x1(widths[stage - 1], widths[stage]))
                layers.append(Upsample(size))
            layers += [
                ResidualBlock(widths[stage], config.group_size, config.blocks * len(sizes))
                for _ in range(config.blocks)
            ]
        self.layers = nn.Sequential(*layers)
        self.to_image = conv1x1(widths[-1], shape.channels)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.embedding is not None:
            assert labels is not None, "a conditional network needs labels"
            z = torch.cat([z, self.embedding(labels)], dim=1)
        features = narrow(self.basis * self.dense(z)[:, :, None, None], self.activation_dtype)
        return self.to_image(widen(self.layers(features)))


class R3GANHead(nn.Module):
    """Features [n f] -> logits [n]; with classes, their dot product with the class embedding (Miyato & Koyama 2018).

    Unlike `layers.ProjectionHead`, it has no bias, and no unconditional term where there are classes.
    """

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.linear = he_normal_(Linear(features, features if classes else 1, bias=False))
        self.embedding = class_embedding(classes, features, features**-0.5) if classes else None

    def forward(self, features: Tensor, labels: Tensor | None) -> Tensor:
        features = self.linear(features)
        if self.embedding is None:
            return features.squeeze(1)
        assert labels is not None, "a conditional network needs labels"
        return (self.embedding(labels) * features).sum(dim=1)


class Discriminator(base.Discriminator):
    """images float [n c h w], nominally in [-1, 1], labels int64 [n] or None -> logits float [n], positive for real."""

    matched_at_end = MappingProxyType({"layers": 0})

    def __init__(self, config: R3GAN, shape: Shape) -> None:
        super().__init__()
        sizes = resolutions(shape)
        widths = stage_widths(max(config.width, 8), config.full_width_stages, len(sizes))
        self.from_image = conv1x1(shape.channels, widths[-1])
        layers: list[nn.Module] = []
        for stage in reversed(range(len(sizes))):
            layers += [
                ResidualBlock(widths[stage], config.group_size, config.blocks * len(sizes))
                for _ in range(config.blocks)
            ]
            if stage:
                layers.append(Downsample())
                if widths[stage] != widths[stage - 1]:
                    layers.append(conv1x1(widths[stage], widths[stage - 1]))
        self.layers = nn.Sequential(*layers)
        # a depthwise convolution over the whole smallest map, computed as a product and a sum
        self.pooling = nn.Parameter(torch.randn(1, widths[0], *sizes[0]) / math.sqrt(math.prod(sizes[0])))
        self.head = R3GANHead(widths[0], shape.classes)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        maps = widen(self.layers(self.from_image(narrow(images, self.activation_dtype))))
        features = (maps * self.pooling).sum(dim=(2, 3))
        return self.head(features, labels)
