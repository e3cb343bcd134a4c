"""The classic self-attention teaching GAN: one attention layer between dense layers.

At 28×28×1 with the defaults these are the classic networks: G has a dense layer to 49 tokens of width 128, attention,
and two transposed 4×4/2 convolutions, 1,052,737 parameters; D has a dense layer to 49 tokens, attention, and two dense
layers, 5,996,929 parameters. The grid of tokens is the image size halved twice; for images beyond 32 pixels more often,
until its longer side is at most 8. Sides are rounded up, and G crops its output.

Feature maps are float32 in any precision: without a skip connection tokens are so much alike at first (a standard
deviation of 0.001 between them) that bfloat16 cannot tell them apart, and some trainings do not begin.

The first dense layer of D has pixels × tokens × token width weights: 5 million at 28×28×1, 101 million at 64×64×3. For
larger images use the `vit` family.
"""

import math

import torch
from torch import Tensor, nn

from ganvas.config.families import Transformer
from ganvas.networks import base
from ganvas.networks.base import Shape
from ganvas.networks.layers import (
    OneHotConcat,
    ProjectionHead,
    crop,
    halved_size,
    init_glorot_uniform,
    num_halvings,
    output_activation,
)

EPS = 1e-3
"""The epsilon of layer norm in Keras."""

MIN_HALVINGS, MAX_GRID = 2, 8
"""The image is halved at least `MIN_HALVINGS` times, and until the longer side of the grid is at most `MAX_GRID`."""

CHANNELS = 64
"""The channels of G between the tokens and the image."""


class TokenEmbedding(nn.Module):
    """[n features] -> tokens [n t width]: a dense layer with ReLU, plus learnt positional embeddings."""

    def __init__(self, features: int, tokens: int, width: int, positions: float) -> None:
        super().__init__()
        self.dense = nn.Sequential(nn.Linear(features, tokens * width), nn.ReLU())
        self.pos_embed = nn.Parameter(torch.empty(tokens, width).uniform_(-positions, positions))

    def forward(self, features: Tensor) -> Tensor:
        return self.dense(features).view(-1, *self.pos_embed.shape) + self.pos_embed


class Attention(nn.Module):
    """Multi-head self-attention, [n t width] -> [n t width] (Vaswani et al. 2017, section 3.2).

    Written out, since PyTorch's fused attention has no second derivative, which gradient penalties need.
    """

    def __init__(self, width: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.heads = heads
        self.queries, self.keys, self.values = (nn.Linear(width, heads * head_width) for _ in range(3))
        self.out = nn.Linear(heads * head_width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        q, k, v = (
            project(tokens).unflatten(2, (self.heads, -1)).transpose(1, 2)  # [n heads t head_width]
            for project in (self.queries, self.keys, self.values)
        )
        weights = (q @ k.transpose(2, 3) / math.sqrt(q.shape[3])).softmax(dim=3)
        return self.out((weights @ v).transpose(1, 2).flatten(2))


def token_layers(config: Transformer, features: int, tokens: int) -> nn.Sequential:
    """The layers that G and D have in common: [n features] -> tokens [n t width], after attention and layer norm.

    As in the classic networks, there is no skip connection around the attention.
    """
    width = config.token_width
    attention = Attention(width, config.heads, config.head_width)
    return nn.Sequential(
        TokenEmbedding(features, tokens, width, config.position_init), attention, nn.LayerNorm(width, eps=EPS)
    )


class Generator(base.Generator):
    """z float [n latent], labels int64 [n] or None -> images float [n c h w], by default in [-1, 1]."""

    mixed_precision = False

    def __init__(self, config: Transformer, shape: Shape) -> None:
        super().__init__()
        self.latent, self.shape, self.output = config.latent, shape, config.output
        width, stages = config.token_width, max(MIN_HALVINGS, num_halvings(shape, MAX_GRID))
        self.grid = halved_size(shape, stages)
        self.one_hot_concat = OneHotConcat(shape.classes)
        self.token_layers = token_layers(config, config.latent + shape.classes, math.prod(self.grid))
        self.dense = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.LayerNorm(width, eps=EPS))
        layers: list[nn.Module] = []
        for c_in in (width, *[CHANNELS] * (stages - 2)):
            layers += [nn.ConvTranspose2d(c_in, CHANNELS, 4, stride=2, padding=1), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.to_image = nn.ConvTranspose2d(CHANNELS, shape.channels, 4, stride=2, padding=1)
        init_glorot_uniform(self)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        tokens = self.dense(self.token_layers(self.one_hot_concat(z, labels)))
        features = tokens.transpose(1, 2).unflatten(2, self.grid)
        return crop(output_activation(self.to_image(self.layers(features)), self.output), self.shape[1:3])


class Discriminator(base.Discriminator):
    """images float [n c h w] in [-1, 1], labels int64 [n] or None -> logits float [n], positive for real."""

    mixed_precision = False

    def __init__(self, config: Transformer, shape: Shape) -> None:
        super().__init__()
        width, stages = config.token_width, max(MIN_HALVINGS, num_halvings(shape, MAX_GRID))
        tokens = math.prod(halved_size(shape, stages))
        self.token_layers = token_layers(config, shape.channels * shape.height * shape.width, tokens)
        dropout = [nn.Dropout(config.dropout)] if config.dropout else []
        self.dense = nn.Sequential(*dropout, nn.Linear(tokens * width, width), nn.ReLU(), *dropout)
        self.head = ProjectionHead(width, shape.classes)
        init_glorot_uniform(self)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.head(self.dense(self.token_layers(images.flatten(1)).flatten(1)), labels)
