"""Upsampling generator, and discriminator without normalisation, plain or residual, at any size.

Plain: the classic teaching networks for WGAN and, with classes, for the conditional GAN on CIFAR-10. G has a dense
layer, then at each size nearest-neighbour upsampling and a 3×3 convolution. D has strided 4×4 convolutions and a dense
layer. At 32×32×3 with the defaults G has 4,897,795 parameters and D 2,636,673.

Residual: the networks of WGAN-GP (Gulrajani et al. 2017, appendix F) and SNGAN (Miyato et al. 2018, appendix B.4). At
32×32×3 with the defaults, those of WGAN-GP, G has 1,204,483 parameters and D 1,053,825. Differences:

- Any size: sides are halved, rounding up, until the longer one is at most 4 in G and at most 8 in D; the papers' images
  are square.
- G upsamples before the first convolution of a block, as in SNGAN and in the code of the WGAN-GP authors; their text
  says the second.
- G of SNGAN's code has 256 channels (`g_width`), and its D no bias in the last layer.
- D averages its last map, as in WGAN-GP, so that the scale of the logits does not depend on the size. SNGAN sums, which
  makes the logits 64 times as large at 32×32.
- The 1×1 convolutions of the shortcuts come before upsampling and after pooling, where they cost a quarter, with the
  same result.

Batch norm in G has a scale and a shift for each class (de Vries et al. 2017), equal at first; the one-hot class is
also concatenated to z, so that it has an effect from the start. D has a projection head (Miyato & Koyama 2018). D
consists of plain layers with nonzero weights, so that spectral norm can be applied.
"""

import math
from typing import TypeVar

from torch import Tensor, nn

from ganvas.config.families import ResNet
from ganvas.networks import base
from ganvas.networks.base import Shape
from ganvas.networks.casting import Conv2d, Linear, narrow, widen
from ganvas.networks.layers import (
    SMALLEST,
    ClassBatchNorm2d,
    OneHotConcat,
    ProjectionHead,
    StridedConv2d,
    activation,
    avg_downsample,
    halved_size,
    num_halvings,
    upsample,
)

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d, nn.Embedding)


def glorot_uniform_(layer: Layer, gain: float = 1.0) -> Layer:
    """Initialises the weights Glorot-uniformly, times `gain`, and the bias with 0, in place."""
    nn.init.xavier_uniform_(layer.weight, gain)
    if not isinstance(layer, nn.Embedding) and layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def conv3x3(c_in: int, c_out: int) -> nn.Conv2d:
    """A 3×3 convolution, initialised as in the code of both papers (Glorot-uniform with gain √2)."""
    return glorot_uniform_(Conv2d(c_in, c_out, 3, padding=1), math.sqrt(2))


def conv1x1(c_in: int, c_out: int) -> nn.Conv2d:
    return glorot_uniform_(Conv2d(c_in, c_out, 1))


def channels(width: int, stage: int) -> int:
    """The channels of the feature map that has been halved `stage` times."""
    return width * min(2**stage, 4)


class NormReLU(ClassBatchNorm2d):
    """Batch norm of float [n c h w], unless `norm` is "none", then ReLU; class-conditional where there are classes."""

    def __init__(self, features: int, norm: str, classes: int) -> None:
        super().__init__(features, classes if norm == "batch" else 0)
        if norm == "none":
            self.norm = nn.Identity()

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        return super().forward(x, labels).relu()


class GeneratorBlock(nn.Module):
    """A block of G: float [n c_in h w] -> float [n c_out *size], upsampled by 2 and cropped to `size`."""

    def __init__(self, c_in: int, c_out: int, size: tuple[int, int], config: ResNet, classes: int) -> None:
        super().__init__()
        self.size, self.residual = size, config.blocks == "residual"
        self.norm1, self.conv1 = NormReLU(c_in, config.g_norm, classes), conv3x3(c_in, c_out)
        if self.residual:
            self.norm2, self.conv2 = NormReLU(c_out, config.g_norm, classes), conv3x3(c_out, c_out)
            self.shortcut = conv1x1(c_in, c_out)

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        y = self.conv1(upsample(self.norm1(x, labels), self.size))
        if self.residual:
            y = self.conv2(self.norm2(y, labels)) + upsample(self.shortcut(x), self.size)
        return y


class Generator(base.Generator):
    """z float [n latent], labels int64 [n] or None -> images float [n c h w] in [-1, 1]."""

    def __init__(self, config: ResNet, shape: Shape) -> None:
        super().__init__()
        self.latent, self.shape = config.latent, shape
        stages, constant = num_halvings(shape), config.blocks == "residual"
        self.matched_at_end = {} if constant else {"blocks": 0}
        widths = [config.g_width if constant else channels(config.g_width, stage) for stage in range(stages + 1)]
        self.start_shape = (widths[-1], *halved_size(shape, stages))
        self.one_hot_concat = OneHotConcat(shape.classes)
        self.dense = glorot_uniform_(Linear(config.latent + shape.classes, math.prod(self.start_shape)))
        self.blocks = nn.ModuleList(
            GeneratorBlock(widths[stage + 1], widths[stage], halved_size(shape, stage), config, shape.classes)
            for stage in reversed(range(stages))
        )
        self.norm = NormReLU(widths[0], config.g_norm, shape.classes)
        self.to_image = glorot_uniform_(Conv2d(widths[0], shape.channels, 3, padding=1))

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        x = self.dense(self.one_hot_concat(narrow(z, self.activation_dtype), labels)).view(-1, *self.start_shape)
        for block in self.blocks:
            x = block(x, labels)
        return self.to_image(widen(self.norm(x, labels))).tanh()


class DiscriminatorBlock(nn.Module):
    """A block of D: float [n c_in h w] -> float [n c_out h w], or half the sides, rounded up.

    The first block receives the image and has no ReLU at its input ("optimised" in the authors' code).
    """

    def __init__(self, c_in: int, c_out: int, *, downsample: bool, first: bool = False) -> None:
        super().__init__()
        self.downsample, self.first = downsample, first
        self.conv1, self.conv2 = conv3x3(c_in, c_out), conv3x3(c_out, c_out)
        self.shortcut = conv1x1(c_in, c_out) if downsample else nn.Identity()

    def _pool(self, x: Tensor) -> Tensor:
        return avg_downsample(x) if self.downsample else x

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(self.conv1(x if self.first else x.relu()).relu())
        return self._pool(y) + self.shortcut(self._pool(x))


def plain_layers(config: ResNet, shape: Shape) -> tuple[list[nn.Module], int]:
    """The layers of the plain discriminator before its head, and the number of their output features."""
    layers: list[nn.Module] = []
    c_in, stages = shape.channels, num_halvings(shape)
    for stage in range(stages):
        c_out = channels(config.d_width, stage)
        layers += [glorot_uniform_(StridedConv2d(c_in, c_out), math.sqrt(2)), *activation()]
        c_in = c_out
    return [*layers, nn.Flatten()], c_in * math.prod(halved_size(shape, stages))


def residual_layers(config: ResNet, shape: Shape) -> tuple[list[nn.Module], int]:
    """The layers of the residual discriminator before its head, and the number of their output features."""
    width = config.d_width
    layers: list[nn.Module] = [DiscriminatorBlock(shape.channels, width, downsample=True, first=True)]
    layers += [DiscriminatorBlock(width, width, downsample=True) for _ in range(1, num_halvings(shape, 2 * SMALLEST))]
    layers += [DiscriminatorBlock(width, width, downsample=False) for _ in range(2)]
    return [*layers, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()], width


class Discriminator(base.Discriminator):
    """images float [n c h w] in [-1, 1], labels int64 [n] or None -> logits float [n], positive for real."""

    def __init__(self, config: ResNet, shape: Shape) -> None:
        super().__init__()
        residual = config.blocks == "residual"
        self.matched_at_end = {"layers": 1} if residual else {}
        layers, features = (residual_layers if residual else plain_layers)(config, shape)
        self.layers = nn.Sequential(*layers, *([nn.Dropout(config.dropout)] if config.dropout else []))
        self.head = ProjectionHead(features, shape.classes)
        glorot_uniform_(self.head.linear)
        if self.head.embedding is not None:
            glorot_uniform_(self.head.embedding)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.head(self.layers(narrow(images, self.activation_dtype)), labels)
