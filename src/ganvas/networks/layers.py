"""The few parts every family shares."""

import math
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.grad import conv2d_weight

from ganvas.networks.roles import Shape

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d, "ToImage")


class Labelled(nn.Module):
    """Appends the class, as a one-hot vector, to the latent: float [n z] -> float [n z+classes]."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        if not self.classes:
            return z
        assert labels is not None, "a conditional network needs labels"
        return torch.cat([z, F.one_hot(labels, self.classes).to(z.dtype)], dim=1)


class Head(nn.Module):
    """Features [n f] -> logits [n]; with classes, the projection discriminator's head (Miyato & Koyama 2018, eq. 4)."""

    def __init__(self, features: int, classes: int, *, bias: bool = True) -> None:
        super().__init__()
        self.linear = nn.Linear(features, 1, bias=bias)
        self.embedding = nn.Embedding(classes, features) if classes else None

    def forward(self, features: Tensor, labels: Tensor | None) -> Tensor:
        logits = self.linear(features).squeeze(1)
        if self.embedding is not None:
            assert labels is not None, "a conditional network needs labels"
            logits = logits + (self.embedding(labels) * features).sum(dim=1)
        return logits


def bounded(images: Tensor, output: str) -> Tensor:
    """What a generator's last layer gives as images: by tanh or sigmoid in [-1, 1], or "linear", as it is.

    A bounded G that wins nothing at first may come to rest where tanh is flat and lets next to no gradient through
    (docs/log.md, "the stable twins"). R3GAN, MSG and StyleGAN have no bound.
    """
    if output == "linear":
        return images
    return images.tanh() if output == "tanh" else 2 * images.sigmoid() - 1


def leaky(dropout: float = 0.0) -> list[nn.Module]:
    """The discriminators' activation, and the dropout behind it if there is any."""
    return [nn.LeakyReLU(0.2), nn.Dropout(dropout)] if dropout else [nn.LeakyReLU(0.2)]


def halved(height: int, width: int, times: int) -> tuple[int, int]:
    """The sides after so many halvings, each rounded up."""
    return -(-height // 2**times), -(-width // 2**times)


def halvings(shape: Shape, longest: int) -> int:
    """How often a picture is halved until its longer side is at most `longest`; at least once."""
    times = 1
    while max(halved(shape.height, shape.width, times)) > longest:
        times += 1
    return times


def crop(x: Tensor, size: tuple[int, int]) -> Tensor:
    """The upper left [n c height width] of a map that doubling has made too large by a row or a column."""
    return x[:, :, : size[0], : size[1]]


def double(x: Tensor, size: tuple[int, int]) -> Tensor:
    """[n c h w] -> [n c *size], at most twice as large: nearest neighbours, cropped where that side is odd."""
    return crop(F.interpolate(x, scale_factor=2, mode="nearest"), size)


def shrink(x: Tensor) -> Tensor:
    """[n c h w] -> half the sides, rounded up: means of 2×2, at odd edges of what is there. Undoes `double`."""
    return F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)


class Halve(nn.Conv2d):
    """The 4×4 convolution of stride 2 that halves each side; an odd side is rounded up."""

    def __init__(self, before: int, after: int, *, bias: bool = True) -> None:
        super().__init__(before, after, 4, stride=2, padding=1, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        odd = input.shape[2] % 2, input.shape[3] % 2
        return super().forward(F.pad(input, (0, odd[1], 0, odd[0])) if any(odd) else input)


class ToImage(nn.ConvTranspose2d):
    """A stride-1 transposed convolution, of odd kernel size, to the few channels of an image: size stays.

    On a CPU, PyTorch's own forward pass is an order of magnitude slower than its arithmetic when there is one output
    channel; there it is done as a matrix product and a sum of shifted copies (col2im), to the same result up to
    rounding. With more channels or larger images the copies would cost more than they save.
    """

    def __init__(self, before: int, channels: int, kernel: int) -> None:
        super().__init__(before, channels, kernel, padding=kernel // 2)

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        if input.device.type != "cpu" or self.out_channels > 1 or input.shape[2] * input.shape[3] > 64 * 64:
            return super().forward(input, output_size)
        assert self.bias is not None
        return _ProductAndFold.apply(input, self.weight) + self.bias[:, None, None]


class _ProductAndFold(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        kernel = weight.shape[-1]
        columns = torch.matmul(weight.flatten(1).t(), x.flatten(2))
        return F.fold(columns, x.shape[2:], kernel, padding=kernel // 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        (gradient,) = gradients
        padding = weight.shape[-1] // 2
        return (
            F.conv2d(gradient, weight, padding=padding),
            conv2d_weight(gradient, weight.shape, x, padding=padding),
        )


@torch.no_grad()
def started(layer: Layer, gain: float = 1.0) -> Layer:
    """The layer with weights N(0, gain² / fan-in) and biases 0; gain 1 keeps the variance, gain 0 says nothing yet."""
    fan_in = (layer.weight[:, 0] if isinstance(layer, ToImage) else layer.weight[0]).numel()
    layer.weight.normal_(0, gain / math.sqrt(fan_in))
    if layer.bias is not None:
        layer.bias.zero_()
    return layer


def glorot(network: nn.Module) -> None:
    """Glorot-uniform weights and zero biases, the start of the course networks (Glorot & Bengio 2010)."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.zeros_(module.weight)  # the class says nothing until it has been learnt


def bound_spectrally(network: nn.Module) -> None:
    """Divides every weight matrix by its largest singular value, in place (Miyato et al. 2018).

    The singular value follows by one power iteration a pass. The parameters change their names. What starts at 0 has
    none to divide by, and is drawn from N(0, 1).
    """
    for module in list(network.modules()):
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d | nn.Embedding):
            if not module.weight.any():
                nn.init.normal_(module.weight)
            nn.utils.parametrizations.spectral_norm(module)
