"""Mode coverage: which classes a generator's images fall into, and how evenly.

StackedMNIST: three digits, one in each channel, make 1,000 classes (Metz et al. 2017; Lin et al. 2018). The protocol
counts the classes among 26,000 images and reports the reverse KL divergence from the uniform distribution (VEEGAN,
Srivastava et al. 2017; PacGAN, Lin et al. 2018).
"""

from dataclasses import dataclass, field

import numpy as np

from ganvas.errors import GanvasError
from ganvas.evaluation.metrics import check_probabilities

PERFECT_SAMPLER_KL = {26_000: (0.0236, 0.0011), 100_000: (0.0093, 0.0004)}
"""Number of images -> KL from uniform, mean and standard deviation, of a perfect sampler under a perfect classifier.

From a simulation (tests/test_modes.py) with the class frequencies of MNIST's 60,000 training digits in independent
channels: chance contributes about 999/2n, the digits' imbalance 0.0043.
"""


@dataclass(frozen=True, eq=False)
class ModeCoverage:
    """The classes that are generated, and how evenly.

    Attributes:
        hit: classes with at least one image of enough confidence.
        kl_uniform: KL(p̂ ‖ uniform) in nats, from 0; p̂ are the shares of all images, whatever their confidence.
        kl_real: KL(p̂ ‖ real frequencies), infinite if a class without real images is hit; None if these are unknown.
        shares: p̂, float64 [classes].
    """

    hit: int
    kl_uniform: float
    kl_real: float | None
    shares: np.ndarray = field(repr=False)


def predict_classes(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The most probable class of each image and its probability: int64 [n] and float64 [n].

    Args:
        probabilities: float [n k]; or [n c k] for c independent channels, whose joint class is a number of c digits in
            base k, the first channel's digit first (100 r + 10 g + b), and whose confidence is the product.

    Raises:
        GanvasError: as `check_probabilities`.
    """
    check_probabilities(probabilities)
    classes, confidence = probabilities.argmax(axis=-1), probabilities.max(axis=-1).astype(np.float64)
    if probabilities.ndim == 2:
        return classes, confidence
    channels, k = probabilities.shape[1:]
    return classes @ k ** np.arange(channels)[::-1], confidence.prod(axis=1)


def mode_coverage(
    classes: np.ndarray,
    confidences: np.ndarray,
    count: int,
    frequencies: np.ndarray | None = None,
    confidence: float = 0.0,
) -> ModeCoverage:
    """How many of `count` classes are hit, and how far the shares are from uniform and from the real shares.

    Args:
        classes: int64 [n], 0 to count - 1, from `predict_classes`.
        confidences: float [n], 0 to 1.
        count: the number of classes.
        frequencies: of the real images' classes, [count] from 0, with any sum.
        confidence: the least with which an image hits its class. At 0, the protocol's value, garbage hits too.

    Raises:
        GanvasError: no images, a class that does not exist, or frequencies of another number of classes.
    """
    if not len(classes) or len(classes) != len(confidences):
        raise GanvasError(
            f"{len(classes)} classes and {len(confidences)} confidences.",
            expected="one of each per image, and at least one image",
        )
    if classes.min() < 0 or classes.max() >= count:
        raise GanvasError(f"Classes {classes.min()} to {classes.max()}.", expected=f"0 to {count - 1}")
    shares = np.bincount(classes, minlength=count) / len(classes)
    return ModeCoverage(
        hit=len(np.unique(classes[confidences >= confidence])),
        kl_uniform=_kl_divergence(shares, np.full(count, 1 / count)),
        kl_real=None if frequencies is None else _kl_divergence(shares, _normalise(frequencies, count)),
        shares=shares,
    )


def _normalise(frequencies: np.ndarray, count: int) -> np.ndarray:
    frequencies = np.asarray(frequencies, np.float64)
    if frequencies.shape != (count,) or not (frequencies >= 0).all() or not 0 < frequencies.sum() < np.inf:
        raise GanvasError(
            f"Frequencies of shape {list(frequencies.shape)}.", expected=f"{count} numbers from 0, not all 0"
        )
    return frequencies / frequencies.sum()


def _kl_divergence(p: np.ndarray, q: np.ndarray) -> float:
    """Σ p log(p/q), empty bins of p skipped."""
    with np.errstate(divide="ignore"):
        ratio = np.log(np.where(p > 0, p, 1)) - np.where(p > 0, np.log(q), 0)  # no 0 · ∞
    return float((p * ratio).sum())
