"""A modern transformer GAN that scales: attention where pictures are small, convolutions where they are large.

G, after Lee et al. 2022 (ViTGAN): z is mapped to a style w; a learnt grid of tokens, the same for every picture, passes
pre-norm transformer blocks whose layer norms w modulates; a convolutional decoder doubles the map to full size. The
grid's longer side is at most 8 for pictures up to 32 pixels and at most 16 beyond: every doubling that the decoder is
spared is detail that attention has arranged, and 256 tokens are still cheap, at any size of picture.

D is convolutional, residual and without normalisation, so that R1 and R2 can differentiate it twice: with the usual
penalties a transformer is unstable in that place (Lee et al. 2022).

Differences from the paper: the decoder is convolutional instead of an implicit function of each patch, attention has a
learnt bias for each relative position (Liu et al. 2021, eq. 4), and w modulates the last norm too.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganvas.config import ViT
from ganvas.networks import roles
from ganvas.networks.layers import Head, ToImage, crop, halved, halvings, shrink, started
from ganvas.networks.roles import Shape

SMALL, FEW_TOKENS, MANY_TOKENS = 32, 8, 16
"""Up to `SMALL` pixels the longer side of the grid has `FEW_TOKENS` at most, beyond `MANY_TOKENS`."""

LEAST_CHANNELS = 32
"""Of G's decoder, however often it has doubled."""

SMALLEST = 4
"""Longer side of D's smallest feature map, at most."""

HE = math.sqrt(2)
"""Gain of the convolutions: it makes up for the half that the LeakyReLU in front of them silences (He et al. 2015)."""

CLASS = 0.3
"""Size of a class at the start, next to a z of size 1: a louder class drowns z, and G draws one picture a class."""


def doublings(shape: Shape) -> int:
    """How often the decoder doubles the grid of tokens."""
    return halvings(shape, FEW_TOKENS if max(shape.height, shape.width) <= SMALL else MANY_TOKENS)


class Style(nn.Module):
    """z float [n latent], labels int64 [n] or None -> style w float [n width]; a class is an embedding beside z."""

    def __init__(self, latent: int, width: int, classes: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes, latent) if classes else None
        if self.embedding is not None:
            nn.init.normal_(self.embedding.weight, std=CLASS)
        first = started(nn.Linear(2 * latent if classes else latent, width), HE)
        self.mapping = nn.Sequential(first, nn.LeakyReLU(0.2), started(nn.Linear(width, width), HE), nn.LeakyReLU(0.2))

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        if self.embedding is not None:
            assert labels is not None, "a conditional network needs labels"
            z = torch.cat([z, self.embedding(labels)], dim=1)
        return self.mapping(z)


class Modulated(nn.Module):
    """Layer norm whose scale and shift follow the style: tokens [n t width], w [n width] -> [n t width].

    Lee et al. 2022, self-modulated layer norm. Scales start around 1 and shifts around 0, but not at them: a G that
    cannot hear z at first draws one picture, and is slow to draw more.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.style = started(nn.Linear(width, 2 * width))

    def forward(self, tokens: Tensor, w: Tensor) -> Tensor:
        scale, shift = self.style(w)[:, None].chunk(2, dim=2)
        return (1 + scale) * self.norm(tokens) + shift


class Attention(nn.Module):
    """Tokens [n t width] -> [n t width] on a grid: each head adds to its logits what it learnt of the way between."""

    way: Tensor

    def __init__(self, width: int, heads: int, grid: tuple[int, int], gain: float) -> None:
        super().__init__()
        self.heads = heads
        self.ask = started(nn.Linear(width, 3 * width))
        self.out = started(nn.Linear(width, width), gain)
        self.ways = nn.Parameter(torch.zeros(heads, (2 * grid[0] - 1) * (2 * grid[1] - 1)))
        self.register_buffer("way", way_between(grid), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        q, k, v = self.ask(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # [n heads t width/heads]
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=self.ways[:, self.way])
        return self.out(seen.transpose(1, 2).flatten(2))


def way_between(grid: tuple[int, int]) -> Tensor:
    """int64 [t t]: the number of the step from each token of the grid to each other, the same for equal steps."""
    rows, columns = torch.cartesian_prod(torch.arange(grid[0]), torch.arange(grid[1])).T
    down, right = rows - rows[:, None] + grid[0] - 1, columns - columns[:, None] + grid[1] - 1
    return down * (2 * grid[1] - 1) + right


class Block(nn.Module):
    """Pre-norm transformer block, modulated by the style: tokens [n t width], w [n width] -> [n t width]."""

    def __init__(self, width: int, heads: int, grid: tuple[int, int], gain: float) -> None:
        super().__init__()
        self.before_attention, self.before_dense = Modulated(width), Modulated(width)
        self.attention = Attention(width, heads, grid, gain)
        wide, back = started(nn.Linear(width, 4 * width), HE), started(nn.Linear(4 * width, width), gain)
        self.dense = nn.Sequential(wide, nn.GELU(), back)

    def forward(self, tokens: Tensor, w: Tensor) -> Tensor:
        tokens = tokens + self.attention(self.before_attention(tokens, w))
        return tokens + self.dense(self.before_dense(tokens, w))


class Generator(roles.Generator):
    """z float [n latent], labels int64 [n] or None -> images float [n c h w] in [-1, 1]."""

    def __init__(self, config: ViT, shape: Shape) -> None:
        super().__init__()
        self.latent, self.shape = config.latent, shape
        width, stages = config.tokens_width, doublings(shape)
        self.grid = halved(shape.height, shape.width, stages)
        self.style = Style(config.latent, width, shape.classes)
        self.tokens = nn.Parameter(torch.randn(math.prod(self.grid), width))
        gain = 1 / math.sqrt(2 * config.depth)  # all branches together weigh as much as the tokens they are added to
        self.blocks = nn.ModuleList(Block(width, config.heads, self.grid, gain) for _ in range(config.depth))
        self.last_norm = Modulated(width)
        upward: list[nn.Module] = []
        before = width
        for stage in range(1, stages + 1):
            after = max(width // 2**stage, min(LEAST_CHANNELS, width))
            conv = started(nn.Conv2d(before, after, 3, padding=1), HE)
            upward += [nn.Upsample(scale_factor=2), conv, nn.LeakyReLU(0.2)]
            before = after
        self.upward = nn.Sequential(*upward)
        self.to_image = started(ToImage(before, shape.channels, 3))

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        w = self.style(z, labels)
        tokens = self.tokens.repeat(len(z), 1, 1)  # not expand: torch's FLOP counter fails on a view of a parameter
        for block in self.blocks:
            tokens = block(tokens, w)
        seed = self.last_norm(tokens, w).transpose(1, 2).unflatten(2, self.grid)
        return crop(self.to_image(self.upward(seed)).tanh(), self.shape[1:3])


class Residual(nn.Module):
    """A residual branch of two 3×3 convolutions, then half the size, odd sides rounded up.

    [n before h w] -> [n after h/2 w/2]. The branch starts at 0 (Zhang et al. 2019, Fixup).
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.LeakyReLU(0.2),
            started(nn.Conv2d(before, before, 3, padding=1), HE),
            nn.LeakyReLU(0.2),
            started(nn.Conv2d(before, before, 3, padding=1), 0),
        )
        self.widen = started(nn.Conv2d(before, after, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.branch(x)
        return self.widen(shrink(x))


class Discriminator(roles.Discriminator):
    """images float [n c h w] in [-1, 1], labels int64 [n] or None -> logits float [n], larger for real."""

    def __init__(self, config: ViT, shape: Shape) -> None:
        super().__init__()
        stages, widest = halvings(shape, SMALLEST), 4 * config.d_width
        widths = [min(config.d_width * 2**stage, widest) for stage in range(stages + 1)]
        self.from_image = started(nn.Conv2d(shape.channels, widths[0], 3, padding=1))
        self.shrink = nn.Sequential(*[Residual(widths[s], widths[s + 1]) for s in range(stages)], nn.LeakyReLU(0.2))
        features = widths[-1] * math.prod(halved(shape.height, shape.width, stages))
        self.dense = nn.Sequential(started(nn.Linear(features, widest), HE), nn.LeakyReLU(0.2))
        self.head = Head(widest, shape.classes)
        started(self.head.linear)
        if self.head.embedding is not None:
            nn.init.zeros_(self.head.embedding.weight)  # the class says nothing until it has been learnt

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.head(self.dense(self.shrink(self.from_image(images)).flatten(1)), labels)
