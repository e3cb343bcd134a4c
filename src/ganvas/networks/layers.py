"""Layers, resampling and initialisation that several families share."""

import math
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.grad import conv2d_weight

from ganvas.networks.base import Shape
from ganvas.networks.casting import Conv2d, ConvTranspose2d, Linear, cast, widen

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d, "ToImage")

SMALLEST = 4
"""The longer side of the smallest feature map is at most this, where a family does not say otherwise."""


class OneHotConcat(nn.Module):
    """Concatenates the class, as a one-hot vector, to the latent: float [n z] -> float [n z+classes]."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        if not self.classes:
            return z
        assert labels is not None, "a conditional network needs labels"
        return torch.cat([z, F.one_hot(labels, self.classes).to(z.dtype)], dim=1)


class ProjectionHead(nn.Module):
    """Features [n f] -> logits float32 [n]; with classes, a projection head (Miyato & Koyama 2018, eq. 4)."""

    def __init__(self, features: int, classes: int, *, bias: bool = True) -> None:
        super().__init__()
        self.linear = Linear(features, 1, bias=bias)
        self.embedding = nn.Embedding(classes, features) if classes else None

    def forward(self, features: Tensor, labels: Tensor | None) -> Tensor:
        features = widen(features)
        logits = self.linear(features).squeeze(1)
        if self.embedding is not None:
            assert labels is not None, "a conditional network needs labels"
            logits = logits + (self.embedding(labels) * features).sum(dim=1)
        return logits


class ClassBatchNorm2d(nn.Module):
    """Batch norm of float [n c h w]; scale and shift depend on the class, if there are classes (de Vries et al. 2017).

    Those of all classes are equal at first.
    """

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.norm: nn.Module = nn.BatchNorm2d(features, affine=not classes)
        self.scale = self.shift = None
        if classes:
            self.scale = nn.Embedding.from_pretrained(torch.ones(classes, features), freeze=False)
            self.shift = nn.Embedding.from_pretrained(torch.zeros(classes, features), freeze=False)

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        x = self.norm(x)
        if self.scale is not None and self.shift is not None:
            assert labels is not None, "a conditional network needs labels"
            scale, shift = (cast(layer(labels), x.dtype)[:, :, None, None] for layer in (self.scale, self.shift))
            x = scale * x + shift
        return x


def output_activation(images: Tensor, output: str) -> Tensor:
    """Applies the output activation of a generator: tanh or sigmoid to [-1, 1], or "linear", the identity.

    A G with tanh may saturate early in training, where tanh passes almost no gradient (docs/log.md). R3GAN, MSG and
    StyleGAN have a linear output.
    """
    if output == "linear":
        return images
    return images.tanh() if output == "tanh" else 2 * images.sigmoid() - 1


def activation(dropout: float = 0.0) -> list[nn.Module]:
    """LeakyReLU 0.2, followed by dropout if it is above 0."""
    return [nn.LeakyReLU(0.2), nn.Dropout(dropout)] if dropout else [nn.LeakyReLU(0.2)]


def halved_size(shape: Shape, times: int) -> tuple[int, int]:
    """(height, width) of an image after this many halvings, each rounded up."""
    return -(-shape.height // 2**times), -(-shape.width // 2**times)


def num_halvings(shape: Shape, longest: int = SMALLEST) -> int:
    """The number of halvings until the longer side of an image is at most `longest`; at least 1."""
    times = 1
    while max(halved_size(shape, times)) > longest:
        times += 1
    return times


def resolutions(shape: Shape) -> list[tuple[int, int]]:
    """(height, width) at each stage, smallest first; for 32×32 these are 4, 8, 16 and 32."""
    return [halved_size(shape, times) for times in range(num_halvings(shape), -1, -1)]


def stage_widths(width: int, full: int, stages: int) -> list[int]:
    """The channels at each stage of `resolutions`: `width` at the first `full`, then halved at each, but at least 8."""
    return [max(width >> max(0, stage + 1 - full), min(width, 8)) for stage in range(stages)]


def crop(x: Tensor, size: tuple[int, int]) -> Tensor:
    """The upper left [n c *size] of a map, after upsampling to an odd size."""
    return x[:, :, : size[0], : size[1]]


def upsample(x: Tensor, size: tuple[int, int]) -> Tensor:
    """[n c h w] -> [n c *size]: nearest-neighbour upsampling by 2, cropped where a side of `size` is odd."""
    return crop(F.interpolate(x, scale_factor=2, mode="nearest"), size)


def avg_downsample(x: Tensor) -> Tensor:
    """[n c h w] -> half the sides, rounded up: 2×2 average pooling without padding. Inverts `upsample`."""
    return F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)


class StridedConv2d(Conv2d):
    """A 4×4 convolution of stride 2 that halves each side; odd sides are rounded up."""

    def __init__(self, c_in: int, c_out: int, *, bias: bool = True) -> None:
        super().__init__(c_in, c_out, 4, stride=2, padding=1, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        odd = input.shape[2] % 2, input.shape[3] % 2
        return super().forward(F.pad(input, (0, odd[1], 0, odd[0])) if any(odd) else input)


MIRRORED_BELOW = 32
"""Input channels of `ToImage` below which a convolution is faster than a matrix product and its copies."""


class ToImage(ConvTranspose2d):
    """A transposed convolution of stride 1 and odd kernel size to the channels of an image, in float32; it keeps the
    size.

    On a CPU with one output channel, PyTorch's own forward pass is an order of magnitude slower than its arithmetic
    requires. There this layer computes a matrix product and a sum of shifted copies (col2im), or, for few input
    channels, a convolution with the mirrored kernel; the result is the same up to rounding. With more channels or
    larger images the copies would cost more than they save. An exported program has the plain layer, which other
    programs compute fast.
    """

    def __init__(self, c_in: int, channels: int, kernel: int) -> None:
        super().__init__(c_in, channels, kernel, padding=kernel // 2)

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        input = widen(input)
        large = self.out_channels > 1 or input.shape[2] * input.shape[3] > 64 * 64
        if input.device.type != "cpu" or large or torch.compiler.is_exporting():
            return super().forward(input, output_size)
        assert self.bias is not None
        if self.in_channels < MIRRORED_BELOW:
            mirrored = self.weight.transpose(0, 1).flip(2, 3)
            return F.conv2d(input, mirrored, self.bias, padding=self.kernel_size[0] // 2)
        return _MatmulAndFold.apply(input, self.weight) + self.bias[:, None, None]


class _MatmulAndFold(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        kernel = weight.shape[-1]
        columns = torch.matmul(weight.flatten(1).t(), x.flatten(2))
        return F.fold(columns, x.shape[2:], kernel, padding=kernel // 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        (gradient,) = gradients
        padding = weight.shape[-1] // 2
        return F.conv2d(gradient, weight, padding=padding), conv2d_weight(gradient, weight.shape, x, padding=padding)


@torch.no_grad()
def he_normal_(layer: Layer, gain: float = 1.0) -> Layer:
    """Initialises the weights with N(0, gain² / fan-in) and the bias with 0, in place; gain 1 keeps the variance."""
    fan_in = (layer.weight[:, 0] if isinstance(layer, ToImage) else layer.weight[0]).numel()
    layer.weight.normal_(0, gain / math.sqrt(fan_in))
    if layer.bias is not None:
        layer.bias.zero_()
    return layer


def init_glorot_uniform(network: nn.Module) -> None:
    """Glorot-uniform weights and zero biases (Glorot & Bengio 2010), as Keras initialises the classic networks."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.zeros_(module.weight)  # the class has no effect at first


def average_pool(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Means over the regions of a grid, float [n c h w] -> float [n c *size], as `F.adaptive_avg_pool2d`.

    MPS has that only where the sides divide (PyTorch issue 96056); elsewhere two matrices give the same means.
    """
    if x.device.type != "mps" or not any(h % to for h, to in zip(x.shape[2:], size, strict=True)):
        return F.adaptive_avg_pool2d(x, size)
    return pool_by_matrices(x, size)


def pool_by_matrices(x: Tensor, size: tuple[int, int]) -> Tensor:
    """`average_pool` by a product with a matrix for each side."""
    rows, columns = (_averaging_matrix(h, to).to(x) for h, to in zip(x.shape[2:], size, strict=True))
    return rows @ x @ columns.T


def _averaging_matrix(h: int, to: int) -> Tensor:
    """float [to h]: each row has the mean of one region."""
    matrix = torch.zeros(to, h)
    for i in range(to):
        first, end = i * h // to, -(-(i + 1) * h // to)
        matrix[i, first:end] = 1 / (end - first)
    return matrix


def apply_spectral_norm(network: nn.Module) -> None:
    """Divides every weight matrix by its largest singular value (Miyato et al. 2018); changes the network in place.

    Each forward pass in training does one power iteration. The parameters change their names. Weights that are all 0
    cannot be divided by their norm, and are drawn from N(0, 1) instead.
    """
    for module in list(network.modules()):
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d | nn.Embedding):
            if not module.weight.any():
                nn.init.normal_(module.weight)
            nn.utils.parametrizations.spectral_norm(module)
