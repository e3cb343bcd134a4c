"""Upsampling generator and critic without normalisation, plain or residual, at any size.

Plain: the pair of the courses for WGAN, and with classes for the conditional GAN on CIFAR-10. G is a dense layer, then
at each size nearest upsampling and a 3×3 convolution; D halves by strided 4×4 convolutions and ends in a dense layer.
At 32×32×3 with its defaults G has 4,897,795 parameters and D 2,636,673.

Residual: the pair of WGAN-GP (Gulrajani et al. 2017, appendix F) and SNGAN (Miyato et al. 2018, appendix B.4). At
32×32×3 with its defaults, which are WGAN-GP's, G has 1,204,483 parameters and D 1,053,825. What differs:

- Any size: G starts where halving, rounding up, has made the longer side at most 4, D stops halving where it is at
  most 8; both are squares in the papers.
- G upsamples in front of a block's first convolution, as SNGAN and the WGAN-GP authors' program; their text says the
  second.
- D averages its last map, as WGAN-GP: logits then mean the same at every size. SNGAN sums, and is 64 times as steep
  at 32×32.
- 1×1 convolutions of the shortcuts come before upsampling and after pooling, where they cost a quarter. The result
  is the same.

Batch norm in G has a scale and a shift for each class (de Vries et al. 2017), which start equal; so that the class is
heard from the start it is appended to z as well. D's classes are by projection (Miyato & Koyama 2018). D is made of
plain layers, none zero at the start, so that spectral norm can be laid over it.
"""

import math
from typing import TypeVar

import torch
from torch import Tensor, nn

from ganvas.config import ResNet
from ganvas.networks import roles
from ganvas.networks.layers import Halve, Head, Labelled, double, halved, halvings, leaky, shrink
from ganvas.networks.roles import Shape

SMALLEST = 4
"""Longer side of the smallest feature map, at most; of the residual discriminator's: twice that."""

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d, nn.Embedding)


def glorot(layer: Layer, gain: float = 1.0) -> Layer:
    """The layer, its weights Glorot-uniform times a gain, its biases zero."""
    nn.init.xavier_uniform_(layer.weight, gain)
    if not isinstance(layer, nn.Embedding) and layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def conv(before: int, after: int) -> nn.Conv2d:
    """A 3×3 convolution among ReLUs, with the start both papers' programs give it."""
    return glorot(nn.Conv2d(before, after, 3, padding=1), math.sqrt(2))


def shortcut(before: int, after: int) -> nn.Conv2d:
    return glorot(nn.Conv2d(before, after, 1))


def channels(width: int, stage: int) -> int:
    """Channels at the feature map that has been halved `stage` times."""
    return width * min(2**stage, 4)


class Normed(nn.Module):
    """ReLU of the batch norm of float [n c h w], if there is one; with classes, each has its own scale and shift."""

    def __init__(self, features: int, norm: str, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(features, affine=not classes) if norm == "batch" else nn.Identity()
        self.scale = self.shift = None
        if norm == "batch" and classes:
            self.scale = nn.Embedding.from_pretrained(torch.ones(classes, features), freeze=False)
            self.shift = nn.Embedding.from_pretrained(torch.zeros(classes, features), freeze=False)

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        x = self.norm(x)
        if self.scale is not None and self.shift is not None:
            assert labels is not None, "a conditional network needs labels"
            x = self.scale(labels)[:, :, None, None] * x + self.shift(labels)[:, :, None, None]
        return x.relu()


class Up(nn.Module):
    """float [n before h w] -> float [n after *size], twice as large but for a row or column: G's block."""

    def __init__(self, before: int, after: int, size: tuple[int, int], config: ResNet, classes: int) -> None:
        super().__init__()
        self.size, self.residual = size, config.blocks == "residual"
        self.normed, self.conv = Normed(before, config.g_norm, classes), conv(before, after)
        if self.residual:
            self.normed_again, self.conv_again = Normed(after, config.g_norm, classes), conv(after, after)
            self.shortcut = shortcut(before, after)

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        y = self.conv(double(self.normed(x, labels), self.size))
        if self.residual:
            y = self.conv_again(self.normed_again(y, labels)) + double(self.shortcut(x), self.size)
        return y


class Generator(roles.Generator):
    """z float [n latent], labels int64 [n] or None -> images float [n c h w] in [-1, 1]."""

    def __init__(self, config: ResNet, shape: Shape) -> None:
        super().__init__()
        self.latent, self.shape = config.latent, shape
        stages, constant = halvings(shape, SMALLEST), config.blocks == "residual"
        widths = [config.g_width if constant else channels(config.g_width, stage) for stage in range(stages + 1)]
        self.start = (widths[-1], *halved(shape.height, shape.width, stages))
        self.labelled = Labelled(shape.classes)
        self.dense = glorot(nn.Linear(config.latent + shape.classes, math.prod(self.start)))
        self.upward = nn.ModuleList(
            Up(widths[stage + 1], widths[stage], halved(shape.height, shape.width, stage), config, shape.classes)
            for stage in reversed(range(stages))
        )
        self.normed = Normed(widths[0], config.g_norm, shape.classes)
        self.to_image = glorot(nn.Conv2d(widths[0], shape.channels, 3, padding=1))

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        x = self.dense(self.labelled(z, labels)).view(-1, *self.start)
        for up in self.upward:
            x = up(x, labels)
        return self.to_image(self.normed(x, labels)).tanh()


class Residual(nn.Module):
    """float [n before h w] -> float [n after h w], or half as large, rounded up: D's block.

    The first of them sees the image itself and has no ReLU in front ("optimised" in the papers' programs).
    """

    def __init__(self, before: int, after: int, *, halves: bool, first: bool = False) -> None:
        super().__init__()
        self.halves, self.first = halves, first
        self.conv, self.conv_again = conv(before, after), conv(after, after)
        self.shortcut = shortcut(before, after) if halves else nn.Identity()

    def pooled(self, x: Tensor) -> Tensor:
        return shrink(x) if self.halves else x

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv_again(self.conv(x if self.first else x.relu()).relu())
        return self.pooled(y) + self.shortcut(self.pooled(x))


class Average(nn.Module):
    """float [n c h w] -> float [n c], over all places."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))


def plain(config: ResNet, shape: Shape) -> tuple[list[nn.Module], int]:
    """The plain discriminator up to its head, and how many features it ends in."""
    layers: list[nn.Module] = []
    before, stages = shape.channels, halvings(shape, SMALLEST)
    for stage in range(stages):
        after = channels(config.d_width, stage)
        layers += [glorot(Halve(before, after), math.sqrt(2)), *leaky()]
        before = after
    return [*layers, nn.Flatten()], before * math.prod(halved(shape.height, shape.width, stages))


def residual(config: ResNet, shape: Shape) -> tuple[list[nn.Module], int]:
    """The residual discriminator up to its head, and how many features it ends in."""
    width = config.d_width
    layers: list[nn.Module] = [Residual(shape.channels, width, halves=True, first=True)]
    layers += [Residual(width, width, halves=True) for _ in range(1, halvings(shape, 2 * SMALLEST))]
    layers += [Residual(width, width, halves=False) for _ in range(2)]
    return [*layers, nn.ReLU(), Average()], width


class Discriminator(roles.Discriminator):
    """images float [n c h w] in [-1, 1], labels int64 [n] or None -> logits float [n], positive for real."""

    def __init__(self, config: ResNet, shape: Shape) -> None:
        super().__init__()
        layers, features = (residual if config.blocks == "residual" else plain)(config, shape)
        self.shrink = nn.Sequential(*layers, *([nn.Dropout(config.dropout)] if config.dropout else []))
        self.head = Head(features, shape.classes)
        glorot(self.head.linear)
        if self.head.embedding is not None:
            glorot(self.head.embedding)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.head(self.shrink(images), labels)
