"""Palettes: the mean and covariance of a picture's colours, and how one picture takes another's."""

import torch
from torch import Tensor

from ganvas.style.losses import eigh, moment_sums

LUMA = (0.299, 0.587, 0.114)
"""Rec. 601: what red, green and blue give to the luminance."""

MAX_GAIN = 3.0
"""Colours are spread at the most this many times: a grey photograph's noise is no palette."""

MIN_VARIANCE = 1e-4
"""Of a variance, in [-1, 1]²: about a grey level."""


def palette_statistics(images: Tensor, weights: Tensor | None = None) -> Tensor:
    """Statistics of the colours, float [1 3 h w] -> [3 4] per pixel (`losses.statistics`)."""
    total = images.shape[2] * images.shape[3] if weights is None else weights.sum()
    return moment_sums(images, weights) / total


def match_palette(images: Tensor, own: Tensor, wanted: Tensor) -> Tensor:
    """float [1 3 h w] in [-1, 1] of the palette `own` -> the same with the palette `wanted`, clipped.

    The linear map between Gaussians that moves colours the least (Monge and Kantorovich; Pitié & Kokaram 2007), which
    keeps light lighter than dark. Differs: it spreads no direction more than GAIN times.
    """
    (mean, before), (aim, after) = _mean_and_covariance(own), _mean_and_covariance(wanted)
    root = _matrix_power(before, 0.5)
    inverse = _matrix_power(before, -0.5)
    values, vectors = eigh(inverse @ _matrix_power(root @ after @ root, 0.5) @ inverse)
    matrix = ((vectors * values.clamp(max=MAX_GAIN)) @ vectors.T).to(images)
    flat = matrix @ (images[0].flatten(1) - mean.to(images)) + aim.to(images)
    return flat.clamp(-1, 1).view_as(images)


def luminance(images: Tensor) -> Tensor:
    """float [1 3 h w] -> [1 1 h w], in the same range."""
    return (images * images.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)


def replace_luminance(images: Tensor, light: Tensor) -> Tensor:
    """Pictures float [1 3 h w] in [-1, 1] with another luminance [1 1 h w] and their own colour differences (YIQ).

    Gatys et al. 2016, "Preserving color in neural artistic style transfer", §3.2. Clipped to [-1, 1].
    """
    return (images + light - luminance(images)).clamp(-1, 1)


def _mean_and_covariance(told: Tensor) -> tuple[Tensor, Tensor]:
    told = told.cpu().double()
    mean = told[:, -1:]
    return mean, told[:, :-1] - mean @ mean.T + MIN_VARIANCE * torch.eye(3, dtype=torch.double)


def _matrix_power(matrix: Tensor, exponent: float) -> Tensor:
    values, vectors = eigh(matrix)
    return (vectors * values.clamp(min=MIN_VARIANCE / 10) ** exponent) @ vectors.T
