"""A small convolutional G, and a D that looks through a frozen feature network (Sauer et al. 2021,
"Projected GANs Converge Faster", arXiv 2111.01007).

The input of D is what a frozen network pretrained on ImageNet makes of an augmented image, and the image itself:
feature maps of several scales, mixed across channels and scales by fixed random convolutions (section 3.2), packed into
one vector for each image. What D learns are small heads, one for each scale and one for the pixels. Each head gives the
logits of a grid of patches, and all of them count equally in the losses. Differences from the paper:

- The frozen network is that of the authors' code, EfficientNet-Lite0, at three scales instead of four, or another one
  (`features_net`); images whose shorter side is small are enlarged before it by a whole factor, not to 224 pixels.
- A head on the pixels, without which colours and fine texture go wrong (docs/log.md). As in the authors' code all heads
  have batch norm, without which G draws few kinds of images, and with classes a projection (Miyato & Koyama 2018).
- The losses are means over the heads, where the paper has sums. The recipe `fast` only translates D's input, where the
  paper has all of DiffAugment (Zhao et al. 2020).
- G is a plain stack of upsampling convolutions, for speed on a CPU, in place of FastGAN's (Liu et al. 2021).
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganvas.config.families import Projected
from ganvas.features.eye import to_rgb
from ganvas.features.frozen import NAMES, FrozenNetwork, load_frozen
from ganvas.networks import base
from ganvas.networks.base import Shape
from ganvas.networks.casting import Conv2d, Linear, cast, clamp_half, narrow, widen
from ganvas.networks.layers import (
    ClassBatchNorm2d,
    OneHotConcat,
    StridedConv2d,
    activation,
    average_pool,
    crop,
    halved_size,
    num_halvings,
    resolutions,
)

MIN_SIDE = 48
"""Images are enlarged by the smallest whole factor that gives their shorter side at least this many pixels."""

MIXED_CHANNELS = (32, 48, 64)
"""Channels of the mixed maps, finest first; of all later ones the last."""

CALIBRATION_IMAGES = 16
"""Random images on which the random convolutions are scaled."""


class UpsampleConv2d(Conv2d):
    """Nearest-neighbour upsampling by 2, then a 3×3 convolution: float [n c_in h w] -> [n c_out *size].

    Both are one transposed 4×4 convolution of stride 2, whose kernel sums the 3×3 weights that meet the same pixel: the
    same result with 2.25 times fewer operations, and without the upsampled map.
    """

    def __init__(self, c_in: int, c_out: int, size: tuple[int, int]) -> None:
        super().__init__(c_in, c_out, 3, padding=1, bias=False)
        self.size = size

    def forward(self, input: Tensor) -> Tensor:
        w = F.pad(self.weight.flip(2, 3), (1, 1, 1, 1))
        w = w[..., 1:, 1:] + w[..., :-1, 1:] + w[..., 1:, :-1] + w[..., :-1, :-1]
        w = cast(w.transpose(0, 1), input.dtype)
        return crop(clamp_half(F.conv_transpose2d(input, w, stride=2, padding=1)), self.size)


class Generator(base.Generator):
    """z float [n latent], labels int64 [n] or None -> images float [n c h w] in [-1, 1]."""

    matched_at_end = MappingProxyType({"convolutions": 0, "norms": 0})

    def __init__(self, config: Projected, shape: Shape) -> None:
        super().__init__()
        assert config.g_width is not None, "it is chosen before the networks are built"
        self.latent, self.shape = config.latent, shape
        sizes = resolutions(shape)
        widths = [min(2**stage, 16) * config.g_width for stage in reversed(range(len(sizes)))]
        self.start_shape = (widths[0], *sizes[0])
        self.one_hot_concat = OneHotConcat(shape.classes)
        self.dense = Linear(config.latent + shape.classes, math.prod(self.start_shape))
        self.convolutions = nn.ModuleList(
            UpsampleConv2d(*channels, size) for channels, size in zip(pairwise(widths), sizes[1:], strict=True)
        )
        self.norms = nn.ModuleList(ClassBatchNorm2d(width, shape.classes) for width in widths)
        self.to_image = Conv2d(widths[-1], shape.channels, 1)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        z = self.one_hot_concat(narrow(z, self.activation_dtype), labels)
        x = self.dense(z).view(-1, *self.start_shape)
        x = F.leaky_relu_(self.norms[0](x.contiguous(memory_format=torch.channels_last), labels), 0.2)
        for convolution, norm in zip(self.convolutions, self.norms[1:], strict=True):
            x = F.leaky_relu_(norm(convolution(x), labels), 0.2)
        return self.to_image(widen(x)).tanh()


class RandomMixing(nn.Module):
    """Fixed random mixing of feature maps across channels and scales (Sauer et al. 2021, section 3.2), finest first.

    A 1×1 convolution mixes the channels of each map; from the coarsest on, a 3×3 convolution of the mixed map is
    upsampled and added to the next finer one. The convolutions are buffers: they are never trained.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        last = len(MIXED_CHANNELS) - 1
        self.channels = [MIXED_CHANNELS[min(i, last)] for i in range(len(channels))]
        for i, (c_in, c_out) in enumerate(zip(channels, self.channels, strict=True)):
            self.register_buffer(f"across_channels_{i}", torch.randn(c_out, c_in, 1, 1) / math.sqrt(c_in))
        for i, (fine, coarse) in enumerate(pairwise(self.channels)):
            self.register_buffer(f"across_scales_{i}", torch.randn(fine, coarse, 3, 3) / math.sqrt(9 * coarse))

    @torch.no_grad()
    def calibrate(self, maps: Sequence[Tensor]) -> None:
        """Scales the mixed channels of each map to unit deviation over these maps."""
        for i, x in enumerate(maps):
            weight = self.get_buffer(f"across_channels_{i}")
            weight /= F.conv2d(x, weight).std().clamp_min(1e-6)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        mixed = [F.conv2d(x, cast(self.get_buffer(f"across_channels_{i}"), x.dtype)) for i, x in enumerate(maps)]
        for i in reversed(range(len(mixed) - 1)):
            weight = cast(self.get_buffer(f"across_scales_{i}"), mixed[i].dtype)
            coarse = F.conv2d(mixed[i + 1], weight, padding=1)
            coarse = F.interpolate(coarse, mixed[i].shape[2:], mode="bilinear", align_corners=False)
            mixed[i] = (mixed[i] + coarse) * math.sqrt(0.5)
        return mixed


class Head(nn.Module):
    """A map float [n c h w], labels -> logits float [n 1 h' w'] of patches; the longer side is halved to at most 4."""

    def __init__(self, channels: int, size: tuple[int, int], width: int, classes: int) -> None:
        super().__init__()
        shape = Shape(channels, *size)
        times = num_halvings(shape) if max(size) > 4 else 0
        self.size = halved_size(shape, times)
        layers: list[nn.Module] = []
        for c_in in [channels, *[width] * (times - 1)] if times else [channels]:
            layer = StridedConv2d(c_in, width) if times else Conv2d(c_in, width, 3, padding=1)
            layers += [layer, nn.BatchNorm2d(width), *activation()]
        self.layers = nn.Sequential(*layers)
        self.to_logits = Conv2d(width, 1, 3, padding=1)
        self.embedding = nn.Embedding(classes, width) if classes else None

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        x = self.layers(x)
        x = widen(x)
        logits = self.to_logits(x)
        if self.embedding is not None:
            assert labels is not None, "a conditional network needs labels"
            logits = logits + (self.embedding(labels) * x.mean((2, 3))).sum(1)[:, None, None, None]
        return logits


class Discriminator(base.Discriminator):
    """Packed feature maps float [n …] (`d_input`), labels int64 [n] or None -> logits float [n k], larger for real.

    The frozen network is no part of the state: neither a checkpoint nor an average holds it.
    """

    batch_dependent = True
    frozen_input = True
    parallel_heads = "heads"
    frozen_dtype = torch.float32

    def __init__(self, config: Projected, shape: Shape) -> None:
        super().__init__()
        images = _random_images(shape)
        self.frozen: FrozenNetwork = load_frozen(config.features_net).to(images.device)
        self.enlarge = max(1, math.ceil(MIN_SIDE / min(shape.height, shape.width)))
        maps = self.frozen(self._resize(images))
        self.mixing = RandomMixing([x.shape[1] for x in maps])
        self.mixing.calibrate(maps)
        self.map_shapes = [(c, *x.shape[2:]) for c, x in zip(self.mixing.channels, maps, strict=True)]
        self.map_shapes.append((shape.channels, shape.height, shape.width))
        widths = [config.d_width] * len(maps) + [config.pixel_width]
        heads = [
            Head(c, (h, w), width, shape.classes) for (c, h, w), width in zip(self.map_shapes, widths, strict=True)
        ]
        self.grid = min((head.size for head in heads), key=lambda size: size[0] * size[1])
        self.heads = nn.ModuleList(heads)

    def d_input(self, images: Tensor) -> Tensor:
        """Images float [n c h w], already augmented -> the mixed maps and the image, packed: float [n …]."""
        maps = self.frozen(narrow(self._resize(to_rgb(images)), self.frozen_dtype))
        mixed = self.mixing([narrow(x, self.activation_dtype) for x in maps])
        packed = [x.permute(0, 2, 3, 1).flatten(1) for x in (*mixed, images)]
        return torch.cat([widen(x) for x in packed], dim=1)

    def unpack(self, packed: Tensor) -> list[Tensor]:
        """Packed maps float [n …] -> the maps float [n c h w], finest first, and the image last."""
        parts = packed.split([math.prod(shape) for shape in self.map_shapes], dim=1)
        return [
            part.unflatten(1, (h, w, c)).permute(0, 3, 1, 2)
            for part, (c, h, w) in zip(parts, self.map_shapes, strict=True)
        ]

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        maps = self.unpack(narrow(images, self.activation_dtype))
        logits = [head(x, labels) for head, x in zip(self.heads, maps, strict=True)]
        return torch.cat([average_pool(x, self.grid).flatten(1) for x in logits], dim=1)

    def set_activation_dtype(self, dtype: torch.dtype) -> None:
        super().set_activation_dtype(dtype)
        if self.frozen.name in NAMES:  # the user's own network may not work in another dtype
            self.frozen.to(dtype)
            self.frozen_dtype = dtype

    def _resize(self, images: Tensor) -> Tensor:
        if self.enlarge > 1:
            images = F.interpolate(images, scale_factor=self.enlarge, mode="bilinear", align_corners=False)
        return images.contiguous(memory_format=torch.channels_last)


def _random_images(shape: Shape) -> Tensor:
    """RGB images float [n 3 h w] in [-1, 1] whose spectrum falls as that of photographs, with the inverse frequency."""
    noise = torch.randn(CALIBRATION_IMAGES, 3, shape.height, shape.width)
    y, x = torch.fft.fftfreq(shape.height)[:, None], torch.fft.rfftfreq(shape.width)
    spectrum = torch.fft.rfft2(noise) / (x.square() + y.square()).sqrt().clamp_min(1 / max(shape.height, shape.width))
    images = torch.fft.irfft2(spectrum, noise.shape[2:])
    return (images / images.std() / 2).clamp(-1, 1)
