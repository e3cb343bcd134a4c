"""The convolutional GAN of the courses, at any size.

At 28×28×1 with its defaults this is the classic pair: G dense 7·7·256, transposed 4×4/2 to 128 and to 64, 7×7 to
the image, 1,925,633 parameters; D 4×4/2 to 64 and to 128, dense, 138,561. Other sizes add or drop halvings until
the smallest map's longer side is at most 8 (or its shorter 1); sides that do not halve evenly are cropped at the end of
the generator.
"""

import math

from torch import Tensor, nn

from ganvas.config import CNN
from ganvas.networks.layers import Head, Labelled, Shape, ToImage, glorot

MOST_CHANNELS = 512


def halvings(shape: Shape) -> int:
    """How often the picture is halved until its longer side is at most 8; at least once, and never to nothing."""
    longer, shorter = max(shape.height, shape.width), min(shape.height, shape.width)
    return max(1, min(math.ceil(math.log2(longer / 8)), math.floor(math.log2(shorter))))


def channels(width: int, stage: int) -> int:
    """Channels at the feature map that has been halved `stage` times."""
    return min(width * 2**stage, max(MOST_CHANNELS, width))


class Generator(nn.Module):
    """z float [n latent], labels int64 [n] or None -> images float [n c h w] in [-1, 1]."""

    def __init__(self, config: CNN, shape: Shape) -> None:
        super().__init__()
        self.latent, self.shape = config.latent, shape
        stages = halvings(shape)
        self.start = (
            channels(config.g_width, stages),
            math.ceil(shape.height / 2**stages),
            math.ceil(shape.width / 2**stages),
        )
        self.labelled = Labelled(shape.classes)
        self.dense = nn.Sequential(nn.Linear(config.latent + shape.classes, math.prod(self.start)), nn.LeakyReLU(0.2))
        grow: list[nn.Module] = []
        for stage in reversed(range(stages)):
            before, after = channels(config.g_width, stage + 1), channels(config.g_width, stage)
            grow += [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        self.grow = nn.Sequential(*grow)
        self.to_image = ToImage(channels(config.g_width, 0), shape.channels, 7)
        glorot(self)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        seed = self.dense(self.labelled(z, labels)).view(-1, *self.start)
        images = self.to_image(self.grow(seed)).tanh()
        return images[:, :, : self.shape.height, : self.shape.width]


class Discriminator(nn.Module):
    """images float [n c h w] in [-1, 1], labels int64 [n] or None -> logits float [n], positive for real."""

    def __init__(self, config: CNN, shape: Shape) -> None:
        super().__init__()
        shrink: list[nn.Module] = []
        before, height, width = shape.channels, shape.height, shape.width
        for stage in range(halvings(shape)):
            after = channels(config.d_width, stage)
            shrink += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
            before, height, width = after, height // 2, width // 2
        self.shrink = nn.Sequential(*shrink)
        self.head = Head(before * height * width, shape.classes)
        glorot(self)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.head(self.shrink(images).flatten(1), labels)
