"""A transformer GAN for any image size: attention on a small grid of tokens, convolutions at the larger sizes.

G, after Lee et al. 2022 (ViTGAN): a mapping network turns z into a style w. A learnt grid of tokens, the same for every
image, passes through pre-norm transformer blocks with self-modulated layer norm, and a convolutional decoder upsamples
the map to full size. The longer side of the grid is at most 8 for images up to 32 pixels and at most 16 beyond. A finer
grid leaves more of the structure to attention, and 256 tokens are cheap at any image size.

D is convolutional and residual, without normalisation, and has the second derivatives that R1 and R2 need. With the
usual penalties a transformer is unstable as D (Lee et al. 2022).

Differences from the paper: the decoder is convolutional instead of an implicit function of each patch, attention has a
learnt relative position bias (Liu et al. 2021, eq. 4), and w also modulates the last norm.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganvas.config.families import ViT
from ganvas.networks import base
from ganvas.networks.base import Shape
from ganvas.networks.casting import Conv2d, LayerNorm, Linear, cast, narrow
from ganvas.networks.layers import ProjectionHead, ToImage, avg_downsample, crop, halved_size, he_normal_, num_halvings

SMALL_SIDE, SMALL_GRID, LARGE_GRID = 32, 8, 16
"""The longer side of the grid is at most `SMALL_GRID` for images up to `SMALL_SIDE` pixels, else `LARGE_GRID`."""

MIN_CHANNELS = 32
"""The minimum number of channels in the decoder of G."""

HE_GAIN = math.sqrt(2)
"""The gain for ReLU-like activations (He et al. 2015)."""

CLASS_STD = 0.3
"""The initial standard deviation of class embeddings; with larger ones G ignores z, and draws one image a class."""


def num_upsamplings(shape: Shape) -> int:
    """The number of times the decoder upsamples the grid of tokens by 2."""
    return num_halvings(shape, SMALL_GRID if max(shape.height, shape.width) <= SMALL_SIDE else LARGE_GRID)


class MappingNetwork(nn.Module):
    """z float [n latent], labels int64 [n] or None -> w float [n width]; a class embedding is concatenated to z."""

    def __init__(self, latent: int, width: int, classes: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes, latent) if classes else None
        if self.embedding is not None:
            nn.init.normal_(self.embedding.weight, std=CLASS_STD)
        first = he_normal_(Linear(2 * latent if classes else latent, width), HE_GAIN)
        self.layers = nn.Sequential(
            first, nn.LeakyReLU(0.2), he_normal_(Linear(width, width), HE_GAIN), nn.LeakyReLU(0.2)
        )

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        if self.embedding is not None:
            assert labels is not None, "a conditional network needs labels"
            z = torch.cat([z, self.embedding(labels)], dim=1)
        return self.layers(z)


class ModulatedLayerNorm(nn.Module):
    """Self-modulated layer norm (Lee et al. 2022): tokens [n t width], w [n width] -> [n t width].

    Scale and shift are affine functions of w, initialised around 1 and 0 but not equal to them. If z has no effect at
    first, G starts with a single image and is slow to produce others.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = LayerNorm(width, elementwise_affine=False)
        self.affine = he_normal_(Linear(width, 2 * width))

    def forward(self, tokens: Tensor, w: Tensor) -> Tensor:
        scale, shift = cast(self.affine(w), tokens.dtype)[:, None].chunk(2, dim=2)
        return (1 + scale) * self.norm(tokens) + shift


class Attention(nn.Module):
    """Multi-head self-attention on a grid, [n t width] -> [n t width], with a learnt relative position bias."""

    relative_index: Tensor

    def __init__(self, width: int, heads: int, grid: tuple[int, int], gain: float) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = he_normal_(Linear(width, 3 * width))
        self.out = he_normal_(Linear(width, width), gain)
        self.relative_bias = nn.Parameter(torch.zeros(heads, (2 * grid[0] - 1) * (2 * grid[1] - 1)))
        self.register_buffer("relative_index", relative_position_index(grid), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        q, k, v = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # [n heads t width/heads]
        bias = cast(self.relative_bias[:, self.relative_index], q.dtype)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.out(attended.transpose(1, 2).flatten(2))


def relative_position_index(grid: tuple[int, int]) -> Tensor:
    """int64 [t t]: the index of the offset between two tokens of the grid; equal offsets have equal indices."""
    rows, columns = torch.cartesian_prod(torch.arange(grid[0]), torch.arange(grid[1])).T
    down, right = rows - rows[:, None] + grid[0] - 1, columns - columns[:, None] + grid[1] - 1
    return down * (2 * grid[1] - 1) + right


class TransformerBlock(nn.Module):
    """Pre-norm transformer block with modulation: tokens [n t width], w [n width] -> [n t width]."""

    def __init__(self, width: int, heads: int, grid: tuple[int, int], gain: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = ModulatedLayerNorm(width), ModulatedLayerNorm(width)
        self.attention = Attention(width, heads, grid, gain)
        expand = he_normal_(Linear(width, 4 * width), HE_GAIN)
        self.mlp = nn.Sequential(expand, nn.GELU(), he_normal_(Linear(4 * width, width), gain))

    def forward(self, tokens: Tensor, w: Tensor) -> Tensor:
        tokens = tokens + self.attention(self.norm1(tokens, w))
        return tokens + self.mlp(self.norm2(tokens, w))


class Generator(base.Generator):
    """z float [n latent], labels int64 [n] or None -> images float [n c h w] in [-1, 1]."""

    style_space = "w"

    def __init__(self, config: ViT, shape: Shape) -> None:
        super().__init__()
        self.latent, self.shape = config.latent, shape
        width, stages = config.token_width, num_upsamplings(shape)
        self.grid = halved_size(shape, stages)
        self.mapping = MappingNetwork(config.latent, width, shape.classes)
        self.tokens = nn.Parameter(torch.randn(math.prod(self.grid), width))
        gain = 1 / math.sqrt(2 * config.depth)  # the branches together have the same variance as the tokens
        self.blocks = nn.ModuleList(TransformerBlock(width, config.heads, self.grid, gain) for _ in range(config.depth))
        self.last_norm = ModulatedLayerNorm(width)
        layers: list[nn.Module] = []
        c_in = width
        for stage in range(1, stages + 1):
            c_out = max(width // 2**stage, min(MIN_CHANNELS, width))
            conv = he_normal_(Conv2d(c_in, c_out, 3, padding=1), HE_GAIN)
            layers += [nn.Upsample(scale_factor=2), conv, nn.LeakyReLU(0.2)]
            c_in = c_out
        self.layers = nn.Sequential(*layers)
        self.to_image = he_normal_(ToImage(c_in, shape.channels, 3))

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self._synthesise([self.mapping(z, labels)] * (len(self.blocks) + 1))

    def styles(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """w for each block and for the last norm: float [n layers width]."""
        return self.mapping(z, labels)[:, None].expand(-1, len(self.blocks) + 1, -1)

    def truncate(self, styles: Tensor, labels: Tensor | None, truncation: float) -> Tensor:
        """w moved towards that of z = 0."""
        centre = self.mapping(styles.new_zeros(1 if labels is None else labels.shape[0], self.latent), labels)
        return torch.lerp(centre[:, None], styles, truncation)

    def draw(self, styles: Tensor, labels: Tensor | None = None) -> Tensor:
        return self._synthesise(styles.unbind(1))

    def _synthesise(self, styles: Sequence[Tensor]) -> Tensor:
        """Images from w [n width] of each block and of the last norm."""
        tokens = narrow(self.tokens, self.activation_dtype)
        tokens = tokens.repeat(styles[0].shape[0], 1, 1)  # not `expand`: PyTorch's FLOP counter fails on its view
        for block, w in zip(self.blocks, styles, strict=False):
            tokens = block(tokens, w)
        features = self.last_norm(tokens, styles[-1]).transpose(1, 2).unflatten(2, self.grid)
        return crop(self.to_image(self.layers(features)).tanh(), self.shape[1:3])


class ResidualDownBlock(nn.Module):
    """[n c_in h w] -> [n c_out h/2 w/2], rounded up: a residual branch of two 3×3 convolutions, then downsampling.

    The last convolution of the branch starts at 0 (Fixup: Zhang et al. 2019).
    """

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.LeakyReLU(0.2),
            he_normal_(Conv2d(c_in, c_in, 3, padding=1), HE_GAIN),
            nn.LeakyReLU(0.2),
            he_normal_(Conv2d(c_in, c_in, 3, padding=1), 0),
        )
        self.conv1x1 = he_normal_(Conv2d(c_in, c_out, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.branch(x)
        return self.conv1x1(avg_downsample(x))


class Discriminator(base.Discriminator):
    """images float [n c h w] in [-1, 1], labels int64 [n] or None -> logits float [n], larger for real."""

    def __init__(self, config: ViT, shape: Shape) -> None:
        super().__init__()
        stages, max_width = num_halvings(shape), 4 * config.d_width
        widths = [min(config.d_width * 2**stage, max_width) for stage in range(stages + 1)]
        self.from_image = he_normal_(Conv2d(shape.channels, widths[0], 3, padding=1))
        self.blocks = nn.Sequential(
            *[ResidualDownBlock(widths[s], widths[s + 1]) for s in range(stages)], nn.LeakyReLU(0.2)
        )
        features = widths[-1] * math.prod(halved_size(shape, stages))
        self.dense = nn.Sequential(he_normal_(Linear(features, max_width), HE_GAIN), nn.LeakyReLU(0.2))
        self.head = ProjectionHead(max_width, shape.classes)
        he_normal_(self.head.linear)
        if self.head.embedding is not None:
            nn.init.zeros_(self.head.embedding.weight)  # the class has no effect at first

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        maps = self.blocks(self.from_image(narrow(images, self.activation_dtype)))
        return self.head(self.dense(maps.flatten(1)), labels)
