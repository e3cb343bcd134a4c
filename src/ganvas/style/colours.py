"""Colour statistics: the mean and covariance of the colours of an image, and their transfer to another image."""

import torch
from torch import Tensor

from ganvas.style.losses import eigh, moment_sums

LUMA_WEIGHTS = (0.299, 0.587, 0.114)
"""Rec. 601: weights of red, green and blue in the luminance."""

MAX_GAIN = 3.0
"""Upper bound of the scaling along any colour direction, so that the noise of a grey photo is not amplified."""

MIN_VARIANCE = 1e-4
"""Lower bound of a colour variance, for values in [-1, 1]: about one grey level."""


def palette_statistics(images: Tensor, weights: Tensor | None = None) -> Tensor:
    """Moments of the colours, float [1 3 h w] -> [3 4] per pixel (`losses.moment_sums`)."""
    total = images.shape[2] * images.shape[3] if weights is None else weights.sum()
    return moment_sums(images, weights) / total


def match_palette(images: Tensor, own: Tensor, target: Tensor) -> Tensor:
    """Maps images float [1 3 h w] in [-1, 1] with the palette `own` to the palette `target`, clipped to [-1, 1].

    The linear Monge-Kantorovich map between Gaussians, which changes colours the least (Pitié & Kokaram 2007) and keeps
    light lighter than dark. Differs: the scaling along any direction is at most MAX_GAIN.
    """
    (mean, covariance), (target_mean, target_covariance) = _mean_and_covariance(own), _mean_and_covariance(target)
    root = _matrix_power(covariance, 0.5)
    inverse = _matrix_power(covariance, -0.5)
    overlap = _matrix_power(root @ target_covariance @ root, 0.5, MIN_VARIANCE**2 / 10)
    values, vectors = eigh(inverse @ overlap @ inverse)
    matrix = ((vectors * values.clamp(max=MAX_GAIN)) @ vectors.T).to(images)
    flat = matrix @ (images[0].flatten(1) - mean.to(images)) + target_mean.to(images)
    return flat.clamp(-1, 1).view_as(images)


def luminance(images: Tensor) -> Tensor:
    """Images float [1 3 h w] -> luminance [1 1 h w] in the same range."""
    return (images * images.new_tensor(LUMA_WEIGHTS).view(1, 3, 1, 1)).sum(1, keepdim=True)


def replace_luminance(images: Tensor, target: Tensor) -> Tensor:
    """Replaces the luminance of images float [1 3 h w] in [-1, 1] by `target` [1 1 h w]; chrominance (YIQ) is kept.

    Gatys et al. 2016, "Preserving color in neural artistic style transfer", §3.2. Clipped to [-1, 1].
    """
    return (images + target - luminance(images)).clamp(-1, 1)


def _mean_and_covariance(statistics: Tensor) -> tuple[Tensor, Tensor]:
    statistics = statistics.cpu().double()
    mean = statistics[:, -1:]
    return mean, statistics[:, :-1] - mean @ mean.T + MIN_VARIANCE * torch.eye(3, dtype=torch.double)


def _matrix_power(matrix: Tensor, exponent: float, least: float = MIN_VARIANCE / 10) -> Tensor:
    """A power of a symmetric matrix whose eigenvalues are at least `least`, but for rounding."""
    values, vectors = eigh(matrix)
    return (vectors * values.clamp(min=least) ** exponent) @ vectors.T
