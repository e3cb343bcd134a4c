"""The convolutional GAN of the courses, at any size.

At 28×28×1 with its defaults this is the classic pair: G dense 7·7·256, transposed 4×4/2 to 128 and to 64, 7×7 to
the image, 1,925,633 parameters; D 4×4/2 to 64 and to 128, dense, 138,561. Other sizes add or drop halvings until
the smallest map's longer side is at most 8; sides that do not halve evenly are rounded up, and cropped at the end of
the generator.
"""

import math

from torch import Tensor, nn

from ganvas.config import CNN
from ganvas.networks import roles
from ganvas.networks.layers import Halve, Head, Labelled, ToImage, bounded, crop, glorot, halved, halvings, leaky
from ganvas.networks.roles import Shape

SMALLEST = 8
"""Longer side of the smallest feature map, at most."""

MOST_CHANNELS = 512


def channels(width: int, stage: int) -> int:
    """Channels at the feature map that has been halved `stage` times."""
    return min(width * 2**stage, max(MOST_CHANNELS, width))


class Generator(roles.Generator):
    """z float [n latent], labels int64 [n] or None -> images float [n c h w], by default in [-1, 1]."""

    def __init__(self, config: CNN, shape: Shape) -> None:
        super().__init__()
        self.latent, self.shape, self.output = config.latent, shape, config.output
        stages = halvings(shape, SMALLEST)
        self.start = (channels(config.g_width, stages), *halved(shape.height, shape.width, stages))
        self.labelled = Labelled(shape.classes)
        self.dense = nn.Sequential(nn.Linear(config.latent + shape.classes, math.prod(self.start)), nn.LeakyReLU(0.2))
        upward: list[nn.Module] = []
        for stage in reversed(range(stages)):
            before, after = channels(config.g_width, stage + 1), channels(config.g_width, stage)
            upward += [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        self.upward = nn.Sequential(*upward)
        self.to_image = ToImage(channels(config.g_width, 0), shape.channels, 7)
        glorot(self)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        seed = self.dense(self.labelled(z, labels)).view(-1, *self.start)
        return crop(bounded(self.to_image(self.upward(seed)), self.output), self.shape[1:3])


class Discriminator(roles.Discriminator):
    """images float [n c h w] in [-1, 1], labels int64 [n] or None -> logits float [n], positive for real."""

    def __init__(self, config: CNN, shape: Shape) -> None:
        super().__init__()
        self.output = config.output
        shrink: list[nn.Module] = []
        before, stages = shape.channels, halvings(shape, SMALLEST)
        for stage in range(stages):
            after = channels(config.d_width, stage)
            shrink += [Halve(before, after), *leaky(config.dropout)]
            before = after
        self.shrink = nn.Sequential(*shrink)
        self.head = Head(before * math.prod(halved(shape.height, shape.width, stages)), shape.classes)
        glorot(self)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.output == "sigmoid":
            images = (images + 1) / 2  # the same pixels, as numbers in [0, 1]
        return self.head(self.shrink(images).flatten(1), labels)
