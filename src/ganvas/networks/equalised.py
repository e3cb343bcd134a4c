"""The parts of ProGAN that StyleGAN and MSG-GAN share (Karras et al. 2018, "PG": arXiv 1710.10196).

Layers with an equalised learning rate, pixel norm, the minibatch standard deviation, and the channels of the stages: at
stage 0 the longer side is at most 4; each further stage doubles the sides, up to those of the image.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganvas.config.families import STDDEV_GROUP
from ganvas.networks.casting import cast, clamp_half, widen
from ganvas.networks.layers import activation

GAIN = nn.init.calculate_gain("leaky_relu", 0.2)
"""He gain for LeakyReLU 0.2, √(2 / 1.04); PG uses the gain for ReLU, √2."""

EPS = 1e-8

MEAN_DECAY = 0.995
"""The weight of the old value in each update of a `RunningMean`."""


class EqualisedLinear(nn.Linear):
    """Linear layer with equalised learning rate: weights ~ N(0, 1/lr²), used as weight · lr · gain / √fan_in.

    Under Adam every layer then learns equally fast, whatever its size, and with `lr` 0.01 a hundredth as fast (PG,
    section 4.1).
    """

    def __init__(self, c_in: int, c_out: int, *, gain: float = GAIN, lr: float = 1.0) -> None:
        super().__init__(c_in, c_out)
        self.scale, self.lr = gain * lr / math.sqrt(c_in), lr
        nn.init.normal_(self.weight, std=1 / lr)
        nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        dtype = input.dtype
        return clamp_half(F.linear(input, cast(self.weight * self.scale, dtype), cast(self.bias * self.lr, dtype)))


class EqualisedConv2d(nn.Conv2d):
    """Convolution with equalised learning rate and odd kernel size; it keeps the size of the map."""

    def __init__(self, c_in: int, c_out: int, kernel: int, *, gain: float = GAIN) -> None:
        super().__init__(c_in, c_out, kernel, padding=kernel // 2)
        self.scale = gain / math.sqrt(c_in * kernel**2)
        nn.init.normal_(self.weight)
        assert self.bias is not None
        nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        assert self.bias is not None
        weight, bias = cast(self.weight * self.scale, input.dtype), cast(self.bias, input.dtype)
        return clamp_half(self._conv_forward(input, weight, bias))


def conv_pair(c_in: int, c_mid: int, c_out: int) -> nn.Sequential:
    """Two 3×3 convolutions, [n c_in h w] -> [n c_out h w], each followed by LeakyReLU: a block of D."""
    return nn.Sequential(
        EqualisedConv2d(c_in, c_mid, 3), *activation(), EqualisedConv2d(c_mid, c_out, 3), *activation()
    )


def last_block(c_in: int, c_out: int, size: tuple[int, int]) -> nn.Sequential:
    """The last block of D, [n c_in *size] -> [n c_out]: a convolution and a dense layer."""
    return nn.Sequential(
        EqualisedConv2d(c_in, c_out, 3),
        *activation(),
        nn.Flatten(),
        EqualisedLinear(c_out * math.prod(size), c_out),
        *activation(),
    )


class EqualisedProjectionHead(nn.Module):
    """Features [n f] -> logits float32 [n]: `layers.ProjectionHead` with equalised learning rate."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.linear = EqualisedLinear(features, 1, gain=1.0)
        self.embedding = nn.Embedding(classes, features) if classes else None
        if self.embedding is not None:
            nn.init.zeros_(self.embedding.weight)  # the class has no effect at first

    def forward(self, features: Tensor, labels: Tensor | None) -> Tensor:
        features = widen(features)
        logits = self.linear(features).squeeze(1)
        if self.embedding is not None:
            assert labels is not None, "a conditional network needs labels"
            logits = logits + (self.embedding(labels) * features).sum(dim=1) * self.linear.scale
        return logits


def pixel_norm(x: Tensor) -> Tensor:
    """Divides the feature vector of each pixel, along dimension 1, by its root mean square (PG, section 4.2)."""
    return x * cast((widen(x).square().mean(dim=1, keepdim=True) + EPS).rsqrt(), x.dtype)


class LatentInput(nn.Module):
    """z [n latent], labels [n] or None -> [n width]: pixel norm of z, with classes also of a concatenated embedding.

    Attributes:
        width: the number of output features.
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


class RunningMean(nn.Module):
    """Identity on [n features] that tracks their moving average in training, for truncation; one for each class.

    Karras et al. 2019 (appendix B) keep a single average, of w. The average over all classes would belong to no class.
    """

    value: Tensor

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.register_buffer("value", torch.zeros(max(1, classes), features))

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """Returns x, and in training updates the average."""
        if self.training:
            self._update(widen(x.detach()), labels)
        return x

    def truncated(self, x: Tensor, labels: Tensor | None, truncation: float) -> Tensor:
        """x̄ + ψ (x - x̄) of x [n layers features]: exactly x for `truncation` ψ = 1, the average for 0."""
        return torch.lerp(self.value[labels if self.classes else slice(1)][:, None], x, truncation)

    @torch.no_grad()
    def _update(self, x: Tensor, labels: Tensor | None) -> None:
        one_hot = torch.ones_like(x[:, :1])
        if self.classes and labels is not None:
            one_hot = F.one_hot(labels, self.classes).to(x.dtype)
        count = one_hot.sum(dim=0)[:, None]
        self.value.lerp_(one_hot.t() @ x / count.clamp(min=1), (1 - MEAN_DECAY) * (count > 0).to(x.dtype))


def minibatch_stddev(x: Tensor) -> Tensor:
    """float [n c h w] -> [n c+1 h w]: appends the minibatch standard deviation as a channel (PG, section 3).

    It is the standard deviation over the images of a group, averaged over features and positions, and lets D recognise
    mode collapse. Groups are consecutive images: 4, or the largest smaller number that divides n. For a group of one
    image it is 0.
    """
    n, _, h, w = x.shape
    group = next(size for size in range(STDDEV_GROUP, 0, -1) if n % size == 0)
    if group == 1:
        return F.pad(x, (0, 0, 0, 0, 0, 1))
    groups = widen(x).unflatten(0, (-1, group))
    variance = (groups - groups.mean(dim=1, keepdim=True)).square().mean(dim=1)  # `Tensor.var` takes twice the time
    stddev = cast((variance + EPS).sqrt().mean(dim=(1, 2, 3)), x.dtype)
    return torch.cat([x, stddev.repeat_interleave(group)[:, None, None, None].expand(n, 1, h, w)], dim=1)
