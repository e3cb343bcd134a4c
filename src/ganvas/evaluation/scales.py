"""The two ends of the scale: the finest waves of pictures, and their layout. Images are uint8 [n c h w].

One number for whole pictures hides whether strokes or shapes are wrong; `pyramids` has what lies between.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional as F

from ganvas.evaluation.metrics import frechet, moments

LAYOUT = 8
"""Side to which a picture is shrunk until nothing but its layout is left."""


def spectrum(images: np.ndarray) -> np.ndarray:
    """The mean power of all channels at each whole radial frequency, in decibels: float64 [min(h, w) // 2 + 1].

    Each picture without its mean; frequencies in waves along the shorter side.
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


def fine_detail(images: np.ndarray, real: np.ndarray) -> float:
    """How far the upper half of the frequencies is off, root mean square, in decibels (after Durall et al. 2020)."""
    return fine_details([images], real)[0]


def fine_details(sides: Sequence[np.ndarray], real: np.ndarray) -> list[float]:
    """`fine_detail` of each side beside the same real pictures."""
    theirs, *ours = (spectrum(side)[min(side.shape[2:]) // 4 :] for side in (real, *sides))
    return [float(np.sqrt(np.mean((one - theirs) ** 2))) for one in ours]


def layout(images: np.ndarray, real: np.ndarray) -> float:
    """Fréchet distance of the pictures shrunk to 8×8, pixels in [0, 1]: where things are, and what goes with what."""
    return layouts([images], real)[0]


def layouts(sides: Sequence[np.ndarray], real: np.ndarray) -> list[float]:
    """`layout` of each side beside the same real pictures."""
    theirs, *ours = (moments(_shrunk(side)) for side in (real, *sides))
    return [frechet(one, theirs) for one in ours]


def _shrunk(images: np.ndarray) -> np.ndarray:
    pixels = torch.tensor(images, dtype=torch.float32) / 255
    return F.interpolate(pixels, (LAYOUT, LAYOUT), mode="area").flatten(1).numpy()
