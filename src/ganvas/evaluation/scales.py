"""Errors at the finest and at the coarsest scale: the power spectrum and the layout. Images are uint8 [n c h w].

One number for whole images hides whether strokes or shapes are wrong; `pyramids` measures the scales between.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ganvas.evaluation.metrics import compute_moments, frechet_distance

LAYOUT_SIDE = 8
"""The side to which an image is downsampled, so that only its layout is left."""

BLOCK = 2**22
"""Numbers that are converted at a time: all of 2,000 images of 3×256×256 at once take 12 GB in the transform."""


def power_spectrum(images: np.ndarray) -> np.ndarray:
    """The mean power of all channels at each integer radial frequency, in decibels: float64 [min(h, w) // 2 + 1].

    The mean of each image is subtracted; frequencies are in cycles along the shorter side.
    """
    h, w = images.shape[2:]
    power = np.zeros((h, w))
    for pixels in _blocks(images, torch.float64):
        transformed = torch.fft.fft2(pixels - pixels.mean((2, 3), keepdim=True))
        power += transformed.abs().square().mean(1).sum(0).numpy()
    power /= len(images) * h * w
    shorter = min(h, w)
    radius = np.hypot(np.fft.fftfreq(h)[:, None] * shorter, np.fft.fftfreq(w)[None] * shorter).round().astype(int)
    count = shorter // 2 + 1
    inside = radius < count
    total = np.bincount(radius[inside], power[inside], count)
    return 10 * np.log10(total / np.bincount(radius[inside], minlength=count) + 1e-3)


def fine_detail_errors(samples: Sequence[np.ndarray], real: np.ndarray) -> list[float]:
    """Root mean square error of each sample's upper half of the power spectrum, in dB (after Durall et al. 2020)."""
    real_power, *powers = (power_spectrum(images)[min(images.shape[2:]) // 4 :] for images in (real, *samples))
    return [float(np.sqrt(np.mean((power - real_power) ** 2))) for power in powers]


def layout_distances(samples: Sequence[np.ndarray], real: np.ndarray) -> list[float]:
    """Fréchet distance of each sample downsampled to 8×8, pixels in [0, 1]: positions and co-occurrence of objects."""
    real_moments, *others = (compute_moments(_shrink(images)) for images in (real, *samples))
    return [frechet_distance(each, real_moments) for each in others]


def _shrink(images: np.ndarray) -> np.ndarray:
    size = LAYOUT_SIDE, LAYOUT_SIDE
    parts = [F.interpolate(pixels / 255, size, mode="area").flatten(1) for pixels in _blocks(images, torch.float32)]
    return torch.cat(parts).numpy()


def _blocks(images: np.ndarray, dtype: torch.dtype) -> Iterator[Tensor]:
    """The images converted, [n c h w], at most BLOCK numbers or one image at a time."""
    step = max(1, BLOCK // math.prod(images.shape[1:]))
    for start in range(0, len(images), step):
        yield torch.tensor(images[start : start + step], dtype=dtype)
