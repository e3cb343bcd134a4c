"""A small StyleGAN (Karras et al. 2019, arXiv 1812.04948), grown as ProGAN is (Karras et al. 2018, "PG").

As in the paper: a mapping network, a learnt constant, noise, AdaIN, style mixing, truncation of w, progressive growing,
an output that no tanh bounds, D the mirrored critic with the minibatch standard deviation. Where we differ:

- any size: stages halve with sides rounded up (`equalised.ladder`); growth starts at 4×4, as PG's does;
- doubling is nearest, halving averages 2×2, without the paper's [1 2 1] blur;
- the constant starts as noise and passes through a convolution before the first AdaIN, so that all blocks are alike;
- fewer mapping layers, and narrower; a class enters as an embedding beside z, and D's head is a projection;
- each class has its own mean w, towards which every layer is truncated, not the coarse ones alone.
"""

import math
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganvas.config import StyleGAN
from ganvas.networks import roles
from ganvas.networks.equalised import (
    Conv2d,
    Head,
    Latent,
    Linear,
    Mean,
    channels,
    ladder,
    with_deviation,
)
from ganvas.networks.layers import double, leaky, shrink
from ganvas.networks.roles import Shape

FINEST = 4
"""Decimals of a level: k / stages must be stage k exactly, in single precision too."""


class Growing(nn.Module):
    """A network of several stages, of which only the first may be in use (PG, section 2).

    Of each doubling the first half fades it in, the second holds it. New networks are fully grown.

    Attributes:
        sizes: (height, width) at each stage, smallest first.
        growth: what `grow` was told last, float []: a buffer, so that it is saved with the weights. Changed by anything
            but `grow` and `load_state_dict`, it has no effect: reading it in a pass would stall a GPU.
        stage: the largest stage in use.
        alpha: its share of the picture, in (0, 1]; the stage before has the rest.
    """

    growth: Tensor

    def __init__(self, sizes: list[tuple[int, int]]) -> None:
        super().__init__()
        self.sizes, self.stage, self.alpha = sizes, len(sizes) - 1, 1.0
        self.register_buffer("growth", torch.ones(()))
        self.register_load_state_dict_post_hook(_reread)

    def grow(self, growth: float) -> None:
        self.growth.fill_(growth)
        level = round(float(np.float32(growth)) * (len(self.sizes) - 1), FINEST)
        done = math.floor(level)
        fade = min(1.0, 2 * (level - done))
        self.stage, self.alpha = (done + 1, fade) if fade else (done, 1.0)


def _reread(network: nn.Module, _: object) -> None:
    assert isinstance(network, Growing)
    network.grow(float(network.growth))


def adain(x: Tensor, style: Tensor) -> Tensor:
    """Gives the channels of x [n c h w] deviations and means; style [n 2c] holds deviations - 1, then means (eq. 1)."""
    scale, shift = style[:, :, None, None].chunk(2, dim=1)
    return F.instance_norm(x, eps=1e-8) * (1 + scale) + shift


class Layer(nn.Module):
    """Features [n before h w], w [n latent] -> [n after h w]: convolution, noise, LeakyReLU, AdaIN.

    The noise is fresh in training, and always the same in evaluation: a latent is a picture.
    """

    fixed: Tensor

    def __init__(self, before: int, after: int, latent: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.conv = Conv2d(before, after, 3)
        self.strength = nn.Parameter(torch.zeros(after, 1, 1))
        self.register_buffer("fixed", torch.randn(1, 1, *size))
        self.style = Linear(latent, 2 * after, gain=1.0)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        noise = torch.randn_like(x[:, :1]) if self.training else self.fixed
        return adain(F.leaky_relu(self.conv(x) + self.strength * noise, 0.2), self.style(w))


class Generator(Growing, roles.Generator):
    """z float [n latent], labels int64 [n] or None -> images float [n c h w], nominally in [-1, 1]."""

    def __init__(self, config: StyleGAN, shape: Shape) -> None:
        super().__init__(ladder(shape))
        self.latent, self.shape, self.mixing = config.latent, shape, config.mixing
        self.at_entry = Latent(config.latent, shape.classes)
        mapping: list[nn.Module] = []
        for layer in range(config.mapping):
            mapping += [Linear(config.latent if layer else self.at_entry.width, config.latent, lr=0.01), *leaky()]
        self.mapping = nn.Sequential(*mapping)
        self.mean = Mean(config.latent, shape.classes)
        self.start = nn.Parameter(torch.randn(1, config.width, *self.sizes[0]))
        self.layers, self.to_rgb = nn.ModuleList(), nn.ModuleList()
        before = config.width
        for stage, size in enumerate(self.sizes):
            after = channels(config.width, stage)
            self.layers += [Layer(before, after, config.latent, size), Layer(after, after, config.latent, size)]
            self.to_rgb.append(Conv2d(after, shape.channels, 1, gain=1.0))
            before = after

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self._full(self.shown(z, labels))

    def shown(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images at the size of the stage they have grown to."""
        w = self.mean(self.style(z, labels), labels)
        return self.draw(self._mixed(w, labels) if self.training and self.mixing else self._alike(w))

    def truncated(self, z: Tensor, labels: Tensor | None, truncation: float) -> Tensor:
        """Images whose w is drawn towards its mean (appendix B)."""
        w = self.mean.truncated(self.style(z, labels), labels, truncation)
        return self._full(self.draw(self._alike(w)))

    def style(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The mapping network: z [n latent] -> w [n latent]."""
        return self.mapping(self.at_entry(z, labels))

    @property
    def _depth(self) -> int:
        """How many layers are in use."""
        return 2 * (self.stage + 1)

    def _alike(self, w: Tensor) -> Tensor:
        """w [n latent] -> [layers n latent], the same for every layer."""
        return w.expand(self._depth, *w.shape)

    def _mixed(self, w: Tensor, labels: Tensor | None) -> Tensor:
        """w [n latent] -> [layers n latent], for some with another latent's from a random layer on (section 3.1)."""
        other = self.style(torch.randn_like(w), labels)
        first = torch.randint(1, self._depth, (len(w),), device=w.device)
        mixes = torch.rand(len(w), device=w.device) < self.mixing
        others = mixes & (torch.arange(self._depth, device=w.device)[:, None] >= first)
        return torch.where(others[:, :, None], other, w)

    def draw(self, w: Tensor) -> Tensor:
        """w [layers n latent] -> images at the size of the current stage."""
        x = before = self.start.expand(w.shape[1], -1, -1, -1)
        for stage, size in enumerate(self.sizes[: self.stage + 1]):
            before, x = x, double(x, size) if stage else x
            for layer in (2 * stage, 2 * stage + 1):
                x = self.layers[layer](x, w[layer])
        images = self.to_rgb[self.stage](x)
        if self.alpha < 1:
            coarse = self.to_rgb[self.stage - 1](before)
            images = torch.lerp(double(coarse, self.sizes[self.stage]), images, self.alpha)
        return images

    def _full(self, images: Tensor) -> Tensor:
        for size in self.sizes[self.stage + 1 :]:
            images = double(images, size)
        return images


class Discriminator(Growing, roles.Discriminator):
    """Images at the size of the current stage, labels int64 [n] or None -> logits float [n], larger for real."""

    apart = True

    def __init__(self, config: StyleGAN, shape: Shape) -> None:
        super().__init__(ladder(shape))
        widths = [channels(config.width, stage) for stage in range(len(self.sizes))]
        self.from_rgb, self.blocks = nn.ModuleList(), nn.ModuleList([nn.Identity()])  # stage 0 has the end instead
        for width in widths:
            self.from_rgb.append(nn.Sequential(Conv2d(shape.channels, width, 1), *leaky()))
        for after, before in pairwise(widths):
            block = (Conv2d(before, before, 3), *leaky(), Conv2d(before, after, 3), *leaky())
            self.blocks.append(nn.Sequential(*block))
        flat = widths[0] * math.prod(self.sizes[0])
        self.end = nn.Sequential(
            Conv2d(widths[0] + 1, widths[0], 3), *leaky(), nn.Flatten(), Linear(flat, widths[0]), *leaky()
        )
        self.head = Head(widths[0], shape.classes)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        x = self.from_rgb[self.stage](images)
        for stage in range(self.stage, 0, -1):
            x = shrink(self.blocks[stage](x))
            if stage == self.stage and self.alpha < 1:
                x = torch.lerp(self.from_rgb[stage - 1](shrink(images)), x, self.alpha)
        return self.head(self.end(with_deviation(x)), labels)

    def view(self, images: Tensor) -> Tensor:
        """Images [n c h w] at the size of the current stage; while it fades in, blended like G's (PG, figure 2)."""
        for _ in self.sizes[self.stage + 1 :]:
            images = shrink(images)
        if self.alpha < 1:
            images = torch.lerp(double(shrink(images), self.sizes[self.stage]), images, self.alpha)
        return images
