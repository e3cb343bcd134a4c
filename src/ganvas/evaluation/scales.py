"""Errors at the finest and at the coarsest scale: the power spectrum and the layout. Images are uint8 [n c h w].

One number for whole images hides whether strokes or shapes are wrong; `pyramids` measures the scales between.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional as F

from ganvas.evaluation.metrics import compute_moments, frechet_distance

LAYOUT_SIDE = 8
"""The side to which an image is downsampled, so that only its layout is left."""


def power_spectrum(images: np.ndarray) -> np.ndarray:
    """The mean power of all channels at each integer radial frequency, in decibels: float64 [min(h, w) // 2 + 1].

    The mean of each image is subtracted; frequencies are in cycles along the shorter side.
    """
    h, w = images.shape[2:]
    pixels = torch.tensor(images, dtype=torch.float64)
    power = torch.fft.fft2(pixels - pixels.mean((2, 3), keepdim=True)).abs().square().mean((0, 1)).numpy() / (h * w)
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
    pixels = torch.tensor(images, dtype=torch.float32) / 255
    return F.interpolate(pixels, (LAYOUT_SIDE, LAYOUT_SIDE), mode="area").flatten(1).numpy()
