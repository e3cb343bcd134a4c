"""The losses of style transfer: pure functions of features and of their statistics.

A style is what the features of a layer are like, wherever they are: their mean and their Gram matrix, kept side by side
in one tensor [c c+1] (`statistics`), the last column being the mean. Statistics of parts of a picture add up to those
of the whole, and a weighted mean of two pictures' statistics is that of their mixture.

Style distances are relative: 0 where the statistics are equal, of the order of 1 between unlike pictures, whatever the
network. So one weight does for every layer and network.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

MIN_EIGENVALUE = 1e-4
"""Of a covariance's mean eigenvalue: directions with less spread than this pull no harder."""


def moment_sums(features: Tensor, weights: Tensor | None = None) -> Tensor:
    """Sums over positions of f fᵀ and of f: features float [1 c h w], weights [1 1 h w] -> float [c c+1].

    Divided by the sum of the weights (or h·w) it is the Gram matrix (Gatys et al. 2016, eq. 3, per position) beside
    the mean.
    """
    flat = features[0].flatten(1)
    spread = None if weights is None else weights[0].flatten(1)
    mean = flat if spread is None else flat * spread
    return torch.cat([_Gram.apply(flat, spread), mean.sum(1, keepdim=True)], dim=1)  # type: ignore[list-item]


def gram_distance(x: Tensor, target: Tensor) -> Tensor:
    """‖G − Ĝ‖² / ‖Ĝ‖² of statistics [c c+1] (Gatys et al. 2016, eq. 4). Differs: relative to the target."""
    gram, wanted = x[:, :-1], target[:, :-1]
    return (gram - wanted).square().sum() / wanted.square().sum()


class WassersteinDistance:
    """The squared Wasserstein-2 distance to a Gaussian of the target's mean and covariance, relative to E‖f‖² there.

    ‖μ − μ̂‖² + tr(C + Ĉ − 2 (Ĉ^½ C Ĉ^½)^½) (Dowson & Landau 1982); as a style loss: Crowson 2021,
    style-transfer-pytorch. Differs: exact eigenvalues in place of Newton and Schulz's iteration.

    Args:
        target: statistics float [c c+1], per position.
    """

    def __init__(self, target: Tensor) -> None:
        self.mean, self.energy = target[:, -1], target.diagonal().sum()
        wanted = _covariance(target)
        values, vectors = eigh(wanted)
        self.root = ((vectors * values.clamp(min=0).sqrt()) @ vectors.T).to(target)
        self.trace = wanted.trace()

    def __call__(self, x: Tensor) -> Tensor:
        """Statistics float [c c+1], per position -> float []."""
        covariance = _covariance(x)
        overlap = _trace_sqrt(self.root @ covariance @ self.root)
        spread = covariance.trace() + self.trace - 2 * overlap
        return ((x[:, -1] - self.mean).square().sum() + spread) / self.energy


def content_distance(features: Tensor, wanted: Tensor, weights: Tensor | None = None) -> Tensor:
    """Σ‖f − f̂‖² over positions, float [1 c h w] each (Gatys et al. 2016, eq. 1, without its half)."""
    error = (features - wanted).square()
    return (error if weights is None else error * weights).sum()


def total_variation(images: Tensor) -> Tensor:
    """The mean over pixels of the squared steps to the right, down, and along both diagonals (these halved).

    Images float [1 c h w] -> float []; beyond the border the picture goes on as it ended. A checkerboard of ±1 has
    8, a ramp that rises by r each column 2 r²; both but for the border.
    """
    x = F.pad(images, (1, 1, 0, 1), mode="replicate")
    here = x[:, :, :-1, 1:-1]
    right, down = x[:, :, :-1, 2:] - here, x[:, :, 1:, 1:-1] - here
    falling, rising = x[:, :, 1:, 2:] - here, x[:, :, 1:, :-2] - here
    steps = right.square() + down.square() + (falling.square() + rising.square()) / 2
    return steps.mean()


def eigh(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues [c], ascending, and eigenvectors [c c] of a symmetric matrix, in float64.

    LAPACK's float32 has given NaN for covariances of few directions; Apple's GPU has no float64.
    """
    place = "cpu" if matrix.device.type == "mps" else matrix.device
    exact = matrix.detach().to(place, torch.double)
    return torch.linalg.eigh((exact + exact.T) / 2)


def _covariance(x: Tensor) -> Tensor:
    mean = x[:, -1:]
    return x[:, :-1] - mean @ mean.T


class _Gram(torch.autograd.Function):
    """Σ w f fᵀ of features [c n] and weights [1 n] or None. One product on the way back, not autograd's two."""

    @staticmethod
    def forward(context, flat: Tensor, weights: Tensor | None) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        context.save_for_backward(flat, weights)
        return (flat if weights is None else flat * weights) @ flat.T

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        flat, weights = context.saved_tensors
        slope = (gradient + gradient.T) @ flat
        return slope if weights is None else slope * weights, None


class _TraceSqrt(torch.autograd.Function):
    """tr(M^½) of a symmetric M ⪰ 0. Its gradient, ½ M^-½, needs no derivative of an eigenvector."""

    @staticmethod
    def forward(context, matrix: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        values, vectors = eigh(matrix)
        values = values.clamp(min=0)
        floor = (MIN_EIGENVALUE * values.mean()).clamp(min=1e-30)
        context.save_for_backward(((vectors / (2 * values.clamp(min=floor).sqrt())) @ vectors.T).to(matrix))
        return values.sqrt().sum().to(matrix)

    @staticmethod
    def backward(context, gradient: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        (slope,) = context.saved_tensors
        return gradient * slope


def _trace_sqrt(matrix: Tensor) -> Tensor:
    return _TraceSqrt.apply(matrix)  # type: ignore[return-value]
