"""The classic convolutional teaching GAN, at any image size.

At 28×28×1 with the defaults these are the classic networks: G has a dense layer to 7·7·256, transposed 4×4/2
convolutions to 128 and 64 channels, and a 7×7 layer to the image, 1,925,633 parameters; D has 4×4/2 convolutions to 64
and 128 channels and a dense layer, 138,561 parameters. For other sizes, stages are added or dropped until the longer
side of the smallest map is at most 8. Odd sides are rounded up, and the generator crops its output.
"""

import math
from types import MappingProxyType

from torch import Tensor, nn

from ganvas.config.families import CNN
from ganvas.networks import base
from ganvas.networks.base import Shape
from ganvas.networks.casting import ConvTranspose2d, Linear, narrow
from ganvas.networks.layers import (
    OneHotConcat,
    ProjectionHead,
    StridedConv2d,
    ToImage,
    activation,
    crop,
    halved_size,
    init_glorot_uniform,
    num_halvings,
    output_activation,
)

SMALLEST = 8
"""The longer side of the smallest feature map is at most this."""

MOST_CHANNELS = 512


def channels(width: int, stage: int) -> int:
    """The channels of the feature map that has been halved `stage` times."""
    return min(width * 2**stage, max(MOST_CHANNELS, width))


class Generator(base.Generator):
    """z float [n latent], labels int64 [n] or None -> images float [n c h w], by default in [-1, 1]."""

    matched_at_end = MappingProxyType({"layers": 0})

    def __init__(self, config: CNN, shape: Shape) -> None:
        super().__init__()
        self.latent, self.shape, self.output = config.latent, shape, config.output
        stages = num_halvings(shape, SMALLEST)
        self.start_shape = (channels(config.g_width, stages), *halved_size(shape, stages))
        self.one_hot_concat = OneHotConcat(shape.classes)
        self.dense = nn.Sequential(
            Linear(config.latent + shape.classes, math.prod(self.start_shape)), nn.LeakyReLU(0.2)
        )
        layers: list[nn.Module] = []
        for stage in reversed(range(stages)):
            c_in, c_out = channels(config.g_width, stage + 1), channels(config.g_width, stage)
            layers += [ConvTranspose2d(c_in, c_out, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers)
        self.to_image = ToImage(channels(config.g_width, 0), shape.channels, 7)
        init_glorot_uniform(self)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        features = self.dense(self.one_hot_concat(narrow(z, self.activation_dtype), labels)).view(-1, *self.start_shape)
        return crop(output_activation(self.to_image(self.layers(features)), self.output), self.shape[1:3])


class Discriminator(base.Discriminator):
    """images float [n c h w] in [-1, 1], labels int64 [n] or None -> logits float [n], positive for real."""

    def __init__(self, config: CNN, shape: Shape) -> None:
        super().__init__()
        self.output = config.output
        layers: list[nn.Module] = []
        c_in, stages = shape.channels, num_halvings(shape, SMALLEST)
        for stage in range(stages):
            c_out = channels(config.d_width, stage)
            layers += [StridedConv2d(c_in, c_out), *activation(config.dropout)]
            c_in = c_out
        self.layers = nn.Sequential(*layers)
        self.head = ProjectionHead(c_in * math.prod(halved_size(shape, stages)), shape.classes)
        init_glorot_uniform(self)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.output == "sigmoid":
            images = (images + 1) / 2  # pixels in [0, 1]
        return self.head(self.layers(narrow(images, self.activation_dtype)).flatten(1), labels)
