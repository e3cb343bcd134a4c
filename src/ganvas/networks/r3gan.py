"""R3GAN, the modern baseline, at any size (Huang et al. 2024, "The GAN is dead; long live the GAN!", section 3).

G and D mirror each other: residual blocks without any normalisation at each size from 4×4 up, [1, 2, 1] resampling
between the sizes, one learnt map at either end. At 32×32×3 with its defaults G has 20,781,952 parameters and D
21,280,512 with ten classes, 20,732,160 and 20,683,776 without. Written from the paper; what differs:

- Sides are halved, rounding up, until the longer one is at most 4, and the learnt maps take that size; they are 4×4
  in the paper, and sides powers of two.
- Channels are never fewer than 8 (24 in the paper's networks), and 3×3 convolutions whose channels do not split into
  groups of `group` get the next larger groups.
- One precision throughout, that of the weights; the paper keeps the largest maps in bfloat16.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganvas.config import R3GAN
from ganvas.networks import roles
from ganvas.networks.layers import crop, halved, halvings, started
from ganvas.networks.roles import Shape

SMALLEST = 4
"""Longer side of the smallest feature map, at most."""

WIDEST = 4
"""How many sizes, from the smallest up, have `width` channels: 4, 8, 16 and 32."""


def sizes(shape: Shape) -> list[tuple[int, int]]:
    """The sizes of the feature maps, from the smallest up."""
    return [halved(shape.height, shape.width, times) for times in reversed(range(halvings(shape, SMALLEST) + 1))]


def channels(width: int, level: int) -> int:
    """Channels at the size so many doublings above the smallest."""
    return max(width // 2 ** max(level + 1 - WIDEST, 0), 8)


def groups(channels: int, size: int) -> int:
    """Into how many equal groups of at least `size` channels they split, at most; one if they are too few."""
    return max(n for n in range(1, max(channels // size, 1) + 1) if channels % n == 0)


def classwise(classes: int, features: int, gain: float = 1.0) -> nn.Embedding:
    """A linear layer over the one-hot class, drawn as `started` draws it: its fan-in is the number of classes."""
    embedding = nn.Embedding(classes, features)
    nn.init.normal_(embedding.weight, std=gain / math.sqrt(classes))
    return embedding


def pointwise(before: int, after: int) -> nn.Conv2d:
    return started(nn.Conv2d(before, after, 1, bias=False))


class Residual(nn.Sequential):
    """x + f(x) on float [n c h w]: an inverted bottleneck around a grouped convolution (paper, section 3.3).

    At the start f is zero. Its other two weights are smaller by L^(-1/4), L being the `depth` of the whole network in
    blocks, for the paper's reason: so that a step of the optimiser changes the network's output by as much at any
    depth (Fixup: Zhang et al. 2019, with three layers a block).
    """

    def __init__(self, channels: int, group: int, depth: int) -> None:
        wide, gain = 2 * channels, math.sqrt(2 / (1 + 0.2**2)) * depth**-0.25
        super().__init__(
            started(nn.Conv2d(channels, wide, 1), gain),
            nn.LeakyReLU(0.2),
            started(nn.Conv2d(wide, wide, 3, padding=1, groups=groups(wide, group)), gain),
            nn.LeakyReLU(0.2),
            started(nn.Conv2d(wide, channels, 1, bias=False), 0),
        )

    def forward(self, input: Tensor) -> Tensor:
        return input + super().forward(input)


# [1, 2, 1] is [1, 1] twice. As a depthwise convolution it would be faster forwards, but penalties differentiate twice,
# and there PyTorch takes a convolution's groups one by one: on a CPU 3× slower in all (64 images, 64×32×32).


class Down(nn.Module):
    """Every second pixel under the filter [1, 2, 1]/4 in both directions, zeros around: sides halve, rounding up."""

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(F.avg_pool2d(x, 2, stride=1, padding=1), 2)


class Up(nn.Module):
    """The transpose of `Down`, four times: sides double, new pixels are the means of their neighbours; then cropped."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        doubled = F.interpolate(x, scale_factor=2, mode="nearest")
        return crop(F.avg_pool2d(doubled, 2, stride=1, padding=1)[:, :, 1:, 1:], self.size)


class Generator(roles.Generator):
    """z float [n latent], labels int64 [n] or None -> images float [n c h w], unbounded; reals are in [-1, 1]."""

    def __init__(self, config: R3GAN, shape: Shape) -> None:
        super().__init__()
        self.latent, self.shape = config.latent, shape
        maps = sizes(shape)
        widths = [channels(config.width, level) for level in range(len(maps))]
        self.embedding = classwise(shape.classes, config.latent) if shape.classes else None
        self.start = nn.Parameter(torch.randn(1, widths[0], *maps[0]))
        self.dense = started(nn.Linear(config.latent * (2 if shape.classes else 1), widths[0], bias=False))
        upward: list[nn.Module] = []
        for level, size in enumerate(maps):
            if level:
                if widths[level] != widths[level - 1]:
                    upward.append(pointwise(widths[level - 1], widths[level]))
                upward.append(Up(size))
            upward += [Residual(widths[level], config.group, config.blocks * len(maps)) for _ in range(config.blocks)]
        self.upward = nn.Sequential(*upward)
        self.to_image = pointwise(widths[-1], shape.channels)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.embedding is not None:
            assert labels is not None, "a conditional network needs labels"
            z = torch.cat([z, self.embedding(labels)], dim=1)
        return self.to_image(self.upward(self.start * self.dense(z)[:, :, None, None]))


class Head(nn.Module):
    """Features [n f] -> logits [n]; with classes, their product with the class's own vector (Miyato & Koyama 2018).

    Unlike `ganvas.networks.layers.Head` either the one or the other, and no bias.
    """

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.linear = started(nn.Linear(features, features if classes else 1, bias=False))
        self.embedding = classwise(classes, features, features**-0.5) if classes else None

    def forward(self, features: Tensor, labels: Tensor | None) -> Tensor:
        features = self.linear(features)
        if self.embedding is None:
            return features.squeeze(1)
        assert labels is not None, "a conditional network needs labels"
        return (self.embedding(labels) * features).sum(dim=1)


class Discriminator(roles.Discriminator):
    """images float [n c h w], nominally in [-1, 1], labels int64 [n] or None -> logits float [n], positive for real."""

    def __init__(self, config: R3GAN, shape: Shape) -> None:
        super().__init__()
        maps = sizes(shape)
        widths = [channels(config.width, level) for level in range(len(maps))]
        self.from_image = pointwise(shape.channels, widths[-1])
        downward: list[nn.Module] = []
        for level in reversed(range(len(maps))):
            downward += [Residual(widths[level], config.group, config.blocks * len(maps)) for _ in range(config.blocks)]
            if level:
                downward.append(Down())
                if widths[level] != widths[level - 1]:
                    downward.append(pointwise(widths[level], widths[level - 1]))
        self.downward = nn.Sequential(*downward)
        # the depthwise convolution over the whole smallest map is a product and a sum
        self.end = nn.Parameter(torch.randn(1, widths[0], *maps[0]) / math.sqrt(math.prod(maps[0])))
        self.head = Head(widths[0], shape.classes)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        features = (self.downward(self.from_image(images)) * self.end).sum(dim=(2, 3))
        return self.head(features, labels)
