"""What the families that descend from ProGAN share (Karras et al. 2018, "PG": arXiv 1710.10196).

Layers with an equalised learning rate, pixel norm, the minibatch standard deviation, and a ladder of sizes: stage 0 is
the smallest map, its longer side at most 4; each further stage doubles the sides, to those of the picture.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganvas.networks.layers import halved, halvings
from ganvas.networks.roles import Shape

SMALLEST = 4
"""Longer side of the smallest feature map, at most."""

GAIN = nn.init.calculate_gain("leaky_relu", 0.2)
"""He's constant for LeakyReLU 0.2, √(2 / 1.04); PG takes that of ReLU, √2."""

EPS = 1e-8

GROUP = 4
"""Images that the minibatch standard deviation compares, at most."""

DECAY = 0.995
"""What a mean keeps of itself in one pass."""


class Linear(nn.Linear):
    """Equalised: stored weights ~ N(0, 1/lr²), used as weight · lr · gain / √fan_in (PG, section 4.1).

    So every layer moves equally fast under Adam, whatever its size; one of `lr` 0.01 a hundredth as fast.
    """

    def __init__(self, before: int, after: int, *, gain: float = GAIN, lr: float = 1.0) -> None:
        super().__init__(before, after)
        self.scale, self.lr = gain * lr / math.sqrt(before), lr
        nn.init.normal_(self.weight, std=1 / lr)
        nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight * self.scale, self.bias * self.lr)


class Conv2d(nn.Conv2d):
    """The same for a convolution of odd kernel size that keeps the map's size."""

    def __init__(self, before: int, after: int, kernel: int, *, gain: float = GAIN) -> None:
        super().__init__(before, after, kernel, padding=kernel // 2)
        self.scale = gain / math.sqrt(before * kernel**2)
        nn.init.normal_(self.weight)
        assert self.bias is not None
        nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight * self.scale, self.bias)


class Head(nn.Module):
    """Features [n f] -> logits [n]: `layers.Head`, the projection discriminator's, equalised."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.linear = Linear(features, 1, gain=1.0)
        self.embedding = nn.Embedding(classes, features) if classes else None
        if self.embedding is not None:
            nn.init.zeros_(self.embedding.weight)  # the class says nothing until it has been learnt

    def forward(self, features: Tensor, labels: Tensor | None) -> Tensor:
        logits = self.linear(features).squeeze(1)
        if self.embedding is not None:
            assert labels is not None, "a conditional network needs labels"
            logits = logits + (self.embedding(labels) * features).sum(dim=1) * self.linear.scale
        return logits


def pixel_norm(x: Tensor) -> Tensor:
    """Divides each pixel's vector, along dimension 1, by its root mean square (PG, section 4.2)."""
    return x * (x.square().mean(dim=1, keepdim=True) + EPS).rsqrt()


class Latent(nn.Module):
    """z [n latent], labels [n] or None -> [n width]: z on the sphere; with classes, a learnt point on it appended.

    Attributes:
        width: numbers that come out.
    """

    def __init__(self, latent: int, classes: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes, latent) if classes else None
        self.width = 2 * latent if classes else latent

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        z = pixel_norm(z)
        if self.embedding is None:
            return z
        assert labels is not None, "a conditional network needs labels"
        return torch.cat([z, pixel_norm(self.embedding(labels))], dim=1)


class Mean(nn.Module):
    """The mean of what passes, [n features], of each class or of all; follows in training. Truncation leads there.

    After Karras et al. 2019, appendix B, who keep one, of w; the mean over all classes would be a picture of none.
    """

    value: Tensor

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.register_buffer("value", torch.zeros(max(1, classes), features))

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """x as it is, but seen."""
        if self.training:
            self._follow(x.detach(), labels)
        return x

    def truncated(self, x: Tensor, labels: Tensor | None, truncation: float) -> Tensor:
        """x̄ + ψ (x - x̄): exactly x at 1, the mean at 0."""
        return torch.lerp(self.value[labels if self.classes else 0], x, truncation)

    @torch.no_grad()
    def _follow(self, x: Tensor, labels: Tensor | None) -> None:
        member = torch.ones_like(x[:, :1])
        if self.classes and labels is not None:
            member = F.one_hot(labels, self.classes).to(x.dtype)
        count = member.sum(dim=0)[:, None]
        self.value.lerp_(member.t() @ x / count.clamp(min=1), (1 - DECAY) * (count > 0).to(x.dtype))


def with_deviation(x: Tensor) -> Tensor:
    """float [n c h w] -> [n c+1 h w]: one more channel, the minibatch standard deviation (PG, section 3).

    It says how much the images of a group differ, on average over features and places: a collapsed G shows. Groups are
    consecutive images, 4 of them or the largest smaller number that divides n; a group of one has no deviation, 0.
    """
    n, _, h, w = x.shape
    group = next(size for size in range(GROUP, 0, -1) if n % size == 0)
    if group == 1:
        return F.pad(x, (0, 0, 0, 0, 0, 1))
    groups = x.unflatten(0, (-1, group))
    variance = (groups - groups.mean(dim=1, keepdim=True)).square().mean(dim=1)  # `var` takes twice the time
    deviation = (variance + EPS).sqrt().mean(dim=(1, 2, 3))
    return torch.cat([x, deviation.repeat_interleave(group)[:, None, None, None].expand(n, 1, h, w)], dim=1)


def ladder(shape: Shape) -> list[tuple[int, int]]:
    """(height, width) at each stage, smallest first; 32×32 gives 4, 8, 16, 32."""
    return [halved(shape.height, shape.width, times) for times in range(halvings(shape, SMALLEST), -1, -1)]


def channels(width: int, stage: int) -> int:
    """`width` up to stage 2 (16×16), then halved at each stage, to 8 at least."""
    return max(width >> max(0, stage - 2), min(width, 8))
