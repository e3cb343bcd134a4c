"""The losses of style transfer: pure functions of features and of their statistics.

The style of a layer is the distribution of its features over positions: their Gram matrix and their mean, kept in one
tensor [c c+1] whose last column is the mean (`moment_sums`). The sums of parts of an image add up to those of the whole
image, and a weighted mean of the statistics of two images is that of their mixture.

Style distances are relative: 0 for equal statistics, of the order of 1 between unlike images, for any network. So one
weight fits every layer and network.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ganvas.devices import widest_float

MIN_EIGENVALUE = 1e-4
"""Relative to the mean eigenvalue: bounds the gradient of the square root for smaller eigenvalues."""


def moment_sums(features: Tensor, weights: Tensor | None = None) -> Tensor:
    """Sums of f fᵀ and of f over positions: features float [1 c h w], weights [1 1 h w] -> float [c c+1].

    Divided by the sum of the weights (or h·w), they are the Gram matrix per position (Gatys et al. 2016, eq. 3) and
    the mean.
    """
    flat = features[0].flatten(1)
    flat_weights = None if weights is None else weights[0].flatten(1)
    weighted = flat if flat_weights is None else flat * flat_weights
    return torch.cat([_Gram.apply(flat, flat_weights), weighted.sum(1, keepdim=True)], dim=1)  # type: ignore[list-item]


def gram_distance(x: Tensor, target: Tensor) -> Tensor:
    """‖G − Ĝ‖² / ‖Ĝ‖² of statistics [c c+1] (Gatys et al. 2016, eq. 4). Differs: relative to the target."""
    gram, target_gram = x[:, :-1], target[:, :-1]
    return (gram - target_gram).square().sum() / target_gram.square().sum()


class WassersteinDistance:
    """Squared Wasserstein-2 distance to a Gaussian with the mean and covariance of the target, divided by its E‖f‖².

    ‖μ − μ̂‖² + tr(C + Ĉ − 2 (Ĉ^½ C Ĉ^½)^½) (Dowson & Landau 1982); as a style loss: Crowson 2021,
    style-transfer-pytorch. Differs: exact eigenvalues instead of the Newton-Schulz iteration.

    Args:
        target: statistics float [c c+1], per position.
    """

    def __init__(self, target: Tensor) -> None:
        self.mean, self.energy = target[:, -1], target.diagonal().sum()
        covariance = _covariance(target)
        values, vectors = eigh(covariance)
        self.root = ((vectors * values.clamp(min=0).sqrt()) @ vectors.T).to(target)
        self.trace = covariance.trace()

    def __call__(self, x: Tensor) -> Tensor:
        """Statistics float [c c+1], per position -> float []."""
        covariance = _covariance(x)
        overlap = _trace_sqrt(self.root @ covariance @ self.root)
        bures = covariance.trace() + self.trace - 2 * overlap
        return ((x[:, -1] - self.mean).square().sum() + bures) / self.energy


def content_distance(features: Tensor, target: Tensor) -> Tensor:
    """Σ‖f − f̂‖² over positions, float [1 c h w] each (Gatys et al. 2016, eq. 1, without its half)."""
    return (features - target).square().sum()


def total_variation(images: Tensor) -> Tensor:
    """Mean over pixels of the squared differences to the right, down, and along both diagonals (these halved).

    Images float [1 c h w] -> float []; the border is replicated. Away from the border a checkerboard of ±1 has 8, a
    ramp that rises by r each column 2 r².
    """
    x = F.pad(images, (1, 1, 0, 1), mode="replicate")
    here = x[:, :, :-1, 1:-1]
    right, down = x[:, :, :-1, 2:] - here, x[:, :, 1:, 1:-1] - here
    falling, rising = x[:, :, 1:, 2:] - here, x[:, :, 1:, :-2] - here
    differences = right.square() + down.square() + (falling.square() + rising.square()) / 2
    return differences.mean()


def eigh(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues [c], ascending, and eigenvectors [c c] of a symmetric matrix, in float64.

    In float32 LAPACK has returned NaN for covariances of low rank. Where a GPU has no float64, it runs on the CPU.
    """
    device = matrix.device if widest_float(matrix.device) is torch.double else "cpu"
    exact = matrix.detach().to(device, torch.double)
    return torch.linalg.eigh((exact + exact.T) / 2)


def _covariance(x: Tensor) -> Tensor:
    mean = x[:, -1:]
    return x[:, :-1] - mean @ mean.T


class _Gram(torch.autograd.Function):
    """Σ w f fᵀ of features [c n] and weights [1 n] or None. Its backward pass takes one product, not autograd's two."""

    @staticmethod
    def forward(context, flat: Tensor, weights: Tensor | None) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        context.save_for_backward(flat, weights)
        return (flat if weights is None else flat * weights) @ flat.T

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        flat, weights = context.saved_tensors
        flat_gradient = (gradient + gradient.T) @ flat
        return flat_gradient if weights is None else flat_gradient * weights, None


class _TraceSqrt(torch.autograd.Function):
    """tr(M^½) of a symmetric M ⪰ 0. Its gradient, ½ M^-½, needs no derivative of an eigenvector."""

    @staticmethod
    def forward(context, matrix: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        values, vectors = eigh(matrix)
        values = values.clamp(min=0)
        least = (MIN_EIGENVALUE * values.mean()).clamp(min=1e-30)
        context.save_for_backward(((vectors / (2 * values.clamp(min=least).sqrt())) @ vectors.T).to(matrix))
        return values.sqrt().sum().to(matrix)

    @staticmethod
    def backward(context, gradient: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        (derivative,) = context.saved_tensors
        return gradient * derivative


def _trace_sqrt(matrix: Tensor) -> Tensor:
    return _TraceSqrt.apply(matrix)  # type: ignore[return-value]
