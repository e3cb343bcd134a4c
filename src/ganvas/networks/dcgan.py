"""DCGAN: strided convolutions and batch norm, without pooling or hidden dense layers (Radford et al. 2015, section 3).

At 64×64×3 with the defaults these are the paper's networks: G z 100 -> 4×4×1024 -> 8×8×512 -> 16×16×256 -> 32×32×128 ->
64×64×3, 12,658,432 parameters; D mirrors it, 11,036,160 parameters. For other sizes, sides are halved and rounded up
until the longer one is at most 4; G goes through the same sizes in reverse order and crops where necessary.

As in the authors' Torch code, and unlike figure 1, kernels are 4×4, z is normal, and convolutions followed by batch
norm have no bias. D has G's widths, which the paper leaves open, as in the authors' Theano code. Dropout is not in the
paper.
"""

import math
from types import MappingProxyType

import torch
from torch import Tensor, nn

from ganvas.config.families import DCGAN
from ganvas.networks import base
from ganvas.networks.base import Shape
from ganvas.networks.casting import ConvTranspose2d, Linear, narrow, widen
from ganvas.networks.layers import (
    OneHotConcat,
    ProjectionHead,
    StridedConv2d,
    activation,
    crop,
    halved_size,
    num_halvings,
    resolutions,
)


def channels(width: int, stage: int) -> int:
    """The channels of the feature map that has been halved `stage` ≥ 1 times: at most eight times `width`."""
    return width * min(2 ** (stage - 1), 8)


def batch_norm(kind: str, channels: int) -> list[nn.Module]:
    """The batch norm after a convolution, if `kind` is "batch"."""
    return [nn.BatchNorm2d(channels)] if kind == "batch" else []


class StridedConvTranspose2d(ConvTranspose2d):
    """A transposed 4×4 convolution of stride 2, cropped to `size`; the reverse of `StridedConv2d`."""

    def __init__(self, c_in: int, c_out: int, size: tuple[int, int], *, bias: bool) -> None:
        super().__init__(c_in, c_out, 4, stride=2, padding=1, bias=bias)
        self.size = size

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        return crop(super().forward(input, output_size), self.size)


class Generator(base.Generator):
    """z float [n latent], labels int64 [n] or None -> images float [n c h w] in [-1, 1]."""

    matched_at_end = MappingProxyType({"layers": 0})

    def __init__(self, config: DCGAN, shape: Shape) -> None:
        super().__init__()
        self.latent, self.shape = config.latent, shape
        stages, bias = num_halvings(shape), config.g_norm == "none"
        sides = resolutions(shape)[::-1]
        c_in = channels(config.g_width, stages)
        self.start_shape = (c_in, *sides[stages])
        self.one_hot_concat = OneHotConcat(shape.classes)
        self.dense = Linear(config.latent + shape.classes, math.prod(self.start_shape), bias=bias)
        layers: list[nn.Module] = [*batch_norm(config.g_norm, c_in), nn.ReLU()]
        for stage in reversed(range(1, stages)):
            c_out = channels(config.g_width, stage)
            layers += [
                StridedConvTranspose2d(c_in, c_out, sides[stage], bias=bias),
                *batch_norm(config.g_norm, c_out),
                nn.ReLU(),
            ]
            c_in = c_out
        self.layers = nn.Sequential(*layers)
        self.to_image = StridedConvTranspose2d(c_in, shape.channels, sides[0], bias=bias)
        init_weights(self)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        z = self.one_hot_concat(narrow(z, self.activation_dtype), labels)
        features = self.layers(self.dense(z).view(-1, *self.start_shape))
        return self.to_image(widen(features)).tanh()


class Discriminator(base.Discriminator):
    """images float [n c h w] in [-1, 1], labels int64 [n] or None -> logits float [n], positive for real.

    With batch norm a logit depends on its batch, so reals and fakes pass through D separately. A gradient penalty needs
    `d_norm` "none".
    """

    def __init__(self, config: DCGAN, shape: Shape) -> None:
        super().__init__()
        self.batch_dependent = config.d_norm == "batch"
        stages, bias = num_halvings(shape), config.d_norm == "none"
        c_in = channels(config.d_width, 1)
        layers: list[nn.Module] = [StridedConv2d(shape.channels, c_in, bias=bias), *activation(config.dropout)]
        for stage in range(2, stages + 1):
            c_out = channels(config.d_width, stage)
            layers += [
                StridedConv2d(c_in, c_out, bias=bias),
                *batch_norm(config.d_norm, c_out),
                *activation(config.dropout),
            ]
            c_in = c_out
        self.layers = nn.Sequential(*layers)
        self.head = ProjectionHead(c_in * math.prod(halved_size(shape, stages)), shape.classes, bias=bias)
        init_weights(self)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.head(self.layers(narrow(images, self.activation_dtype)).flatten(1), labels)


@torch.no_grad()
def init_weights(network: nn.Module) -> None:
    """Initialises weights with N(0, 0.02²) (section 4), batch-norm gains with N(1, 0.02²), biases with 0."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d):
            module.weight.normal_(1.0 if isinstance(module, nn.BatchNorm2d) else 0.0, 0.02)
            if module.bias is not None:
                module.bias.zero_()
        elif isinstance(module, nn.Embedding):
            module.weight.zero_()  # the class has no effect at first
