"""A small StyleGAN (Karras et al. 2019, arXiv 1812.04948), grown as ProGAN is (Karras et al. 2018, "PG").

As in the paper: a mapping network, a learnt constant, noise, AdaIN, style mixing, truncation of w, progressive growing,
a linear output, and a D that mirrors G, with the minibatch standard deviation. Differences from the paper:

- Any size: stages are halved with sides rounded up (`layers.resolutions`); growth starts at 4×4, as in PG.
- Upsampling is nearest-neighbour and downsampling 2×2 averaging, without the paper's [1 2 1] blur.
- The constant is initialised with noise, and a convolution precedes the first AdaIN, so that all blocks are alike.
- The mapping network has fewer, narrower layers. A class embedding is concatenated to z; D has a projection head.
- Each class has its own average w, and truncation applies to every layer, not only to the coarse ones.
"""

import math
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganvas.config.families import StyleGAN
from ganvas.networks import base
from ganvas.networks.base import Shape
from ganvas.networks.casting import cast, narrow, widen
from ganvas.networks.equalised import (
    EqualisedConv2d,
    EqualisedLinear,
    EqualisedProjectionHead,
    LatentInput,
    RunningMean,
    conv_pair,
    last_block,
    minibatch_stddev,
)
from ganvas.networks.layers import activation, avg_downsample, resolutions, stage_widths, upsample

LEVEL_DECIMALS = 4
"""The decimals to which a level is rounded, so that growth k / stages gives exactly stage k in float32 too."""


class ProgressiveNetwork(nn.Module):
    """A network with progressive growing: only the stages up to the current one are in use (PG, section 2).

    Each new stage is faded in during the first half of its share of the growth, and stable during the second. New
    networks are fully grown.

    Attributes:
        sizes: (height, width) at each stage, smallest first.
        growth: the last argument of `grow`, float []; a buffer, so that it is saved with the weights. Only `grow` and
            `load_state_dict` may change it: `forward` does not read it, since that would synchronise with a GPU.
        stage: the largest stage in use.
        alpha: the weight of this stage in the blend with the previous one, in (0, 1].
    """

    growth: Tensor

    def __init__(self, sizes: list[tuple[int, int]]) -> None:
        super().__init__()
        self.sizes, self.stage, self.alpha = sizes, len(sizes) - 1, 1.0
        self.register_buffer("growth", torch.ones(()))
        self.register_load_state_dict_post_hook(_restore_stage)

    def grow(self, growth: float) -> None:
        self.growth.fill_(growth)
        level = round(float(np.float32(growth)) * (len(self.sizes) - 1), LEVEL_DECIMALS)
        done = math.floor(level)
        fade = min(1.0, 2 * (level - done))
        self.stage, self.alpha = (done + 1, fade) if fade else (done, 1.0)


def _restore_stage(network: nn.Module, _: object) -> None:
    assert isinstance(network, ProgressiveNetwork)
    network.grow(float(network.growth))


def adain(x: Tensor, style: Tensor) -> Tensor:
    """Adaptive instance norm of x [n c h w] (eq. 1); style [n 2c] holds the standard deviations - 1, then the means."""
    scale, shift = style[:, :, None, None].chunk(2, dim=1)
    normalised = F.instance_norm(widen(x), eps=1e-8)
    return cast(normalised * (1 + scale) + shift, x.dtype)


class SynthesisLayer(nn.Module):
    """Features [n c_in h w], w [n latent] -> [n c_out h w]: convolution, noise, LeakyReLU, AdaIN.

    The noise is random in training and constant in evaluation, so that a latent always gives the same image.
    """

    noise_const: Tensor

    def __init__(self, c_in: int, c_out: int, latent: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.conv = EqualisedConv2d(c_in, c_out, 3)
        self.noise_strength = nn.Parameter(torch.zeros(c_out, 1, 1))
        self.register_buffer("noise_const", torch.randn(1, 1, *size))
        self.affine = EqualisedLinear(latent, 2 * c_out, gain=1.0)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        noise = torch.randn_like(x[:, :1], dtype=torch.float32) if self.training else self.noise_const
        return adain(F.leaky_relu(self.conv(x) + cast(self.noise_strength * noise, x.dtype), 0.2), self.affine(w))


class Generator(ProgressiveNetwork, base.Generator):
    """z float [n latent], labels int64 [n] or None -> images float [n c h w], nominally in [-1, 1]."""

    style_space = "w"

    def __init__(self, config: StyleGAN, shape: Shape) -> None:
        super().__init__(resolutions(shape))
        self.latent, self.shape, self.mixing = config.latent, shape, config.mixing_prob
        self.latent_input = LatentInput(config.latent, shape.classes)
        mapping: list[nn.Module] = []
        for c_in, c_out in pairwise([self.latent_input.width, *[config.latent] * config.mapping_layers]):
            mapping += [EqualisedLinear(c_in, c_out, lr=0.01), *activation()]
        self.mapping = nn.Sequential(*mapping)
        self.w_avg = RunningMean(config.latent, shape.classes)
        self.constant = nn.Parameter(torch.randn(1, config.width, *self.sizes[0]))
        self.layers, self.to_rgb = nn.ModuleList(), nn.ModuleList()
        c_in = config.width
        widths = stage_widths(config.width, config.full_width_stages, len(self.sizes))
        for c_out, size in zip(widths, self.sizes, strict=True):
            self.layers += [SynthesisLayer(width, c_out, config.latent, size) for width in (c_in, c_out)]
            self.to_rgb.append(EqualisedConv2d(c_out, shape.channels, 1, gain=1.0))
            c_in = c_out

    @property
    def noise(self) -> list[Tensor]:
        """The constant noise of each synthesis layer in use, coarse ones first: float [1 1 h w]."""
        return [layer.noise_const for layer in self.layers[: self._num_layers]]  # type: ignore[union-attr]

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self._to_full_size(self.d_input(z, labels))

    def d_input(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images at the size of the current stage."""
        w = self.w_avg(self.map_latent(z, labels), labels)
        return self.synthesise(
            self._mix_styles(w, labels) if self.training and self.mixing else self._broadcast_style(w)
        )

    def styles(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """w for each synthesis layer in use, coarse ones first: float [n layers latent]."""
        return self._broadcast_style(self.map_latent(z, labels)).transpose(0, 1)

    def truncate(self, styles: Tensor, labels: Tensor | None, truncation: float) -> Tensor:
        """w moved towards its average (appendix B)."""
        return self.w_avg.truncated(styles, labels, truncation)

    def draw(self, styles: Tensor, labels: Tensor | None = None) -> Tensor:
        return self._to_full_size(self.synthesise(styles.transpose(0, 1)))

    def map_latent(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The mapping network: z [n latent] -> w [n latent]."""
        return self.mapping(self.latent_input(z, labels))

    @property
    def _num_layers(self) -> int:
        """The number of synthesis layers in use."""
        return 2 * (self.stage + 1)

    def _broadcast_style(self, w: Tensor) -> Tensor:
        """w [n latent] -> [layers n latent], equal for every layer."""
        return w.expand(self._num_layers, *w.shape)

    def _mix_styles(self, w: Tensor, labels: Tensor | None) -> Tensor:
        """Style mixing (section 3.1): w [n latent] -> [layers n latent], with a second w from a random layer on."""
        other = self.map_latent(torch.randn_like(w), labels)
        first = torch.randint(1, self._num_layers, (len(w),), device=w.device)
        mixes = torch.rand(len(w), device=w.device) < self.mixing
        others = mixes & (torch.arange(self._num_layers, device=w.device)[:, None] >= first)
        return torch.where(others[:, :, None], other, w)

    def synthesise(self, w: Tensor) -> Tensor:
        """w [layers n latent] -> images at the size of the current stage."""
        x = previous = narrow(self.constant, self.activation_dtype).expand(w.shape[1], -1, -1, -1)
        for stage, size in enumerate(self.sizes[: self.stage + 1]):
            previous, x = x, upsample(x, size) if stage else x
            for layer in (2 * stage, 2 * stage + 1):
                x = self.layers[layer](x, w[layer])
        images = self.to_rgb[self.stage](widen(x))
        if self.alpha < 1:
            coarse = self.to_rgb[self.stage - 1](widen(previous))
            images = torch.lerp(upsample(coarse, self.sizes[self.stage]), images, self.alpha)
        return images

    def _to_full_size(self, images: Tensor) -> Tensor:
        for size in self.sizes[self.stage + 1 :]:
            images = upsample(images, size)
        return images


class Discriminator(ProgressiveNetwork, base.Discriminator):
    """Images at the size of the current stage, labels int64 [n] or None -> logits float [n], larger for real."""

    batch_dependent = True

    def __init__(self, config: StyleGAN, shape: Shape) -> None:
        super().__init__(resolutions(shape))
        widths = stage_widths(config.width, config.full_width_stages, len(self.sizes))
        # `final` takes the place of block 0
        self.from_rgb, self.blocks = nn.ModuleList(), nn.ModuleList([nn.Identity()])
        for width in widths:
            self.from_rgb.append(nn.Sequential(EqualisedConv2d(shape.channels, width, 1), *activation()))
        for c_out, c_in in pairwise(widths):
            self.blocks.append(conv_pair(c_in, c_in, c_out))
        self.final = last_block(widths[0] + 1, widths[0], self.sizes[0])
        self.head = EqualisedProjectionHead(widths[0], shape.classes)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        images = narrow(images, self.activation_dtype)
        x = self.from_rgb[self.stage](images)
        for stage in range(self.stage, 0, -1):
            x = avg_downsample(self.blocks[stage](x))
            if stage == self.stage and self.alpha < 1:
                x = torch.lerp(self.from_rgb[stage - 1](avg_downsample(images)), x, self.alpha)
        return self.head(self.final(minibatch_stddev(x)), labels)

    def d_input(self, images: Tensor) -> Tensor:
        """Images [n c h w] at the size of the current stage, blended during a fade-in as in G (PG, figure 2)."""
        for _ in self.sizes[self.stage + 1 :]:
            images = avg_downsample(images)
        if self.alpha < 1:
            images = torch.lerp(upsample(avg_downsample(images), self.sizes[self.stage]), images, self.alpha)
        return images
