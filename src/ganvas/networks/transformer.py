"""The self-attention GAN of the courses: one attention layer between dense ones.

At 28×28×1 with its defaults this is the classic pair: G dense to 49 tokens of 128, attention, two transposed 4×4/2
convolutions, 1,052,737 parameters; D dense to 49 tokens, attention, two dense layers, 5,996,929. Two halvings lead from
the picture to its grid of tokens; beyond 32 pixels more of them, so that the grid's longer side is at most 8. The
doublings round up, and the picture is cropped at the end.

D's first dense layer has pixels × tokens × `tokens_width` weights: 5 million at 28×28×1, 101 million at 64×64×3. Take
the `vit` family for larger pictures.
"""

import math

import torch
from torch import Tensor, nn

from ganvas.config import Transformer
from ganvas.networks import roles
from ganvas.networks.layers import Head, Labelled, bounded, crop, glorot, halved, halvings
from ganvas.networks.roles import Shape

EPS = 1e-3
"""Keras' layer norm adds this to the variance."""

HALVINGS, LONGEST = 2, 8
"""From the picture to its tokens at least this many halvings, and until the grid's longer side is at most this."""

CHANNELS = 64
"""Of G's maps between the tokens and the image."""


class Tokens(nn.Module):
    """Numbers [n features] -> tokens [n t width]: a dense layer with ReLU, and to each token its learnt position."""

    def __init__(self, features: int, tokens: int, width: int, positions: float) -> None:
        super().__init__()
        self.dense = nn.Sequential(nn.Linear(features, tokens * width), nn.ReLU())
        self.positions = nn.Parameter(torch.empty(tokens, width).uniform_(-positions, positions))

    def forward(self, features: Tensor) -> Tensor:
        return self.dense(features).view(-1, *self.positions.shape) + self.positions


class Attention(nn.Module):
    """Tokens [n t width] -> [n t width], head by head softmax(q·k / √head_width)·v (Vaswani et al. 2017, section 3.2).

    Written out, since PyTorch's fused attention cannot be differentiated twice, as gradient penalties do.
    """

    def __init__(self, width: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.heads = heads
        self.queries, self.keys, self.values = (nn.Linear(width, heads * head_width) for _ in range(3))
        self.out = nn.Linear(heads * head_width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        q, k, v = (
            ask(tokens).unflatten(2, (self.heads, -1)).transpose(1, 2)  # [n heads t head_width]
            for ask in (self.queries, self.keys, self.values)
        )
        weights = (q @ k.transpose(2, 3) / math.sqrt(q.shape[3])).softmax(dim=3)
        return self.out((weights @ v).transpose(1, 2).flatten(2))


def attended(config: Transformer, features: int, tokens: int) -> nn.Sequential:
    """What the two players share: numbers [n features] -> tokens [n t width] that have seen one another.

    As in the courses nothing bypasses the attention: a token's own content is lost but for what it attends to.
    """
    width = config.tokens_width
    attention = Attention(width, config.heads, config.head_width)
    return nn.Sequential(Tokens(features, tokens, width, config.positions), attention, nn.LayerNorm(width, eps=EPS))


class Generator(roles.Generator):
    """z float [n latent], labels int64 [n] or None -> images float [n c h w], by default in [-1, 1]."""

    def __init__(self, config: Transformer, shape: Shape) -> None:
        super().__init__()
        self.latent, self.shape, self.output = config.latent, shape, config.output
        width, stages = config.tokens_width, max(HALVINGS, halvings(shape, LONGEST))
        self.grid = halved(shape.height, shape.width, stages)
        self.labelled = Labelled(shape.classes)
        self.attended = attended(config, config.latent + shape.classes, math.prod(self.grid))
        self.dense = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.LayerNorm(width, eps=EPS))
        upward: list[nn.Module] = []
        for before in (width, *[CHANNELS] * (stages - 2)):
            upward += [nn.ConvTranspose2d(before, CHANNELS, 4, stride=2, padding=1), nn.ReLU()]
        self.upward = nn.Sequential(*upward)
        self.to_image = nn.ConvTranspose2d(CHANNELS, shape.channels, 4, stride=2, padding=1)
        glorot(self)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        tokens = self.dense(self.attended(self.labelled(z, labels)))
        seed = tokens.transpose(1, 2).unflatten(2, self.grid)
        return crop(bounded(self.to_image(self.upward(seed)), self.output), self.shape[1:3])


class Discriminator(roles.Discriminator):
    """images float [n c h w] in [-1, 1], labels int64 [n] or None -> logits float [n], positive for real."""

    def __init__(self, config: Transformer, shape: Shape) -> None:
        super().__init__()
        width, stages = config.tokens_width, max(HALVINGS, halvings(shape, LONGEST))
        tokens = math.prod(halved(shape.height, shape.width, stages))
        self.attended = attended(config, shape.channels * shape.height * shape.width, tokens)
        silenced = [nn.Dropout(config.dropout)] if config.dropout else []
        self.dense = nn.Sequential(*silenced, nn.Linear(tokens * width, width), nn.ReLU(), *silenced)
        self.head = Head(width, shape.classes)
        glorot(self)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.head(self.dense(self.attended(images.flatten(1)).flatten(1)), labels)
