"""DCGAN: strided convolutions and batch norm, without pooling or hidden dense layers (Radford et al. 2015, section 3).

At 64×64×3 with its defaults this is the paper's pair: G z 100 -> 4×4×1024 -> 8×8×512 -> 16×16×256 -> 32×32×128 ->
64×64×3, 12,658,432 parameters; D is its mirror, 11,036,160. Other sizes halve until the longer side is at most 4; sides
are rounded up on the way down, and in G cut back to the same sides on the way up.

As in the authors' Torch code, and unlike figure 1: kernels are 4×4, z is normal, and convolutions have no bias where
there is batch norm; D, which the paper leaves open, has G's widths. Dropout is not in the paper.
"""

import math

import torch
from torch import Tensor, nn

from ganvas.config import DCGAN
from ganvas.networks import roles
from ganvas.networks.layers import Halve, Head, Labelled, crop, halved, halvings, leaky
from ganvas.networks.roles import Shape

SMALLEST = 4
"""Longer side of the smallest feature map, at most."""


def channels(width: int, stage: int) -> int:
    """Channels at the feature map that has been halved `stage` times, at least once; at most eight widths."""
    return width * min(2 ** (stage - 1), 8)


def norm(kind: str, channels: int) -> list[nn.Module]:
    """The batch norm behind a convolution, if there is any."""
    return [nn.BatchNorm2d(channels)] if kind == "batch" else []


class Double(nn.ConvTranspose2d):
    """The transposed 4×4 convolution of stride 2, to `size`: twice the sides, less what `Halve` had rounded up."""

    def __init__(self, before: int, after: int, size: tuple[int, int], *, bias: bool) -> None:
        super().__init__(before, after, 4, stride=2, padding=1, bias=bias)
        self.size = size

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        return crop(super().forward(input, output_size), self.size)


class Generator(roles.Generator):
    """z float [n latent], labels int64 [n] or None -> images float [n c h w] in [-1, 1]."""

    def __init__(self, config: DCGAN, shape: Shape) -> None:
        super().__init__()
        self.latent, self.shape = config.latent, shape
        stages, bias = halvings(shape, SMALLEST), config.g_norm == "none"
        sides = [halved(shape.height, shape.width, stage) for stage in range(stages + 1)]
        before = channels(config.g_width, stages)
        self.start = (before, *sides[stages])
        self.labelled = Labelled(shape.classes)
        self.dense = nn.Linear(config.latent + shape.classes, math.prod(self.start), bias=bias)
        upward: list[nn.Module] = [*norm(config.g_norm, before), nn.ReLU()]
        for stage in reversed(range(1, stages)):
            after = channels(config.g_width, stage)
            upward += [Double(before, after, sides[stage], bias=bias), *norm(config.g_norm, after), nn.ReLU()]
            before = after
        self.upward = nn.Sequential(*upward)
        self.to_image = Double(before, shape.channels, sides[0], bias=bias)
        start(self)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        seed = self.dense(self.labelled(z, labels)).view(-1, *self.start)
        return self.to_image(self.upward(seed)).tanh()


class Discriminator(roles.Discriminator):
    """images float [n c h w] in [-1, 1], labels int64 [n] or None -> logits float [n], positive for real.

    With batch norm a logit depends on its batch, so reals and fakes are judged apart, each by its own statistics; a
    gradient penalty needs `d_norm` "none".
    """

    def __init__(self, config: DCGAN, shape: Shape) -> None:
        super().__init__()
        self.apart = config.d_norm == "batch"
        stages, bias = halvings(shape, SMALLEST), config.d_norm == "none"
        before = channels(config.d_width, 1)
        shrink: list[nn.Module] = [Halve(shape.channels, before, bias=bias), *leaky(config.dropout)]
        for stage in range(2, stages + 1):
            after = channels(config.d_width, stage)
            shrink += [Halve(before, after, bias=bias), *norm(config.d_norm, after), *leaky(config.dropout)]
            before = after
        self.shrink = nn.Sequential(*shrink)
        self.head = Head(before * math.prod(halved(shape.height, shape.width, stages)), shape.classes, bias=bias)
        start(self)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.head(self.shrink(images).flatten(1), labels)


@torch.no_grad()
def start(network: nn.Module) -> None:
    """Weights N(0, 0.02) (section 4), batch norm's gains N(1, 0.02), biases 0."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d):
            module.weight.normal_(1.0 if isinstance(module, nn.BatchNorm2d) else 0.0, 0.02)
            if module.bias is not None:
                module.bias.zero_()
        elif isinstance(module, nn.Embedding):
            module.weight.zero_()  # the class says nothing until it has been learnt
