"""Distances between two sets of features, and the score of one set of probabilities.

Features are float [n f], of any extractor: only with Inception-v3's (the weights and the resizing of Heusel et al.
2017) are the Fréchet and the kernel distance FID and KID. Arithmetic is float64.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ganvas.errors import GanvasError

A_BLOCK = 2**20
"""Numbers held at a time: 8 MB of float64."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Of a set of features.

    Attributes:
        count: rows.
        mean: float64 [f].
        covariance: float64 [f f], divided by count - 1.
    """

    count: int
    mean: np.ndarray
    covariance: np.ndarray

    @cached_property
    def root(self) -> np.ndarray:
        """R with R Rᵀ = Σ, float64 [f f]."""
        values, vectors = np.linalg.eigh(self.covariance)
        return vectors * np.sqrt(values.clip(min=0))


def check(**sides: np.ndarray) -> None:
    """Refuses features that cannot be compared; the keywords name the sides.

    Raises:
        GanvasError: a side is not [n f] with n ≥ 2 or has numbers that are not finite, or f differs.
    """
    for side, features in sides.items():
        if features.ndim != 2 or len(features) < 2:
            raise GanvasError(f"The {side} features are {list(features.shape)}.", expected="[n f], at least two rows")
        bad = len(features) - int(np.isfinite(features).all(axis=1).sum())
        if bad:
            raise GanvasError(f"{bad} of the {len(features)} {side} rows hold numbers that are not finite.")
    if len({features.shape[1] for features in sides.values()}) > 1:
        widths = ", ".join(f"{side} {features.shape[1]}" for side, features in sides.items())
        raise GanvasError(f"The rows differ in length: {widths}.", expected="features of one extractor")


def check_probabilities(probabilities: np.ndarray) -> None:
    """Refuses what are no probabilities over the last axis (logits, for instance).

    Raises:
        GanvasError: a row is not finite, has a negative number or does not add up to 1 ± 0.001.
    """
    if probabilities.ndim < 2 or not len(probabilities):
        raise GanvasError(f"Probabilities of shape {list(probabilities.shape)}.", expected="[n k], at least one row")
    good = (probabilities >= 0).all(axis=-1) & (np.abs(probabilities.sum(axis=-1) - 1) < 1e-3)
    if not good.all():
        raise GanvasError(
            f"{good.size - int(good.sum())} of {good.size} rows are no probabilities.",
            expected="numbers from 0 that add up to 1: a softmax, not logits",
        )


def moments(features: np.ndarray, side: str = "given") -> Moments:
    """Mean and covariance, in two passes.

    Raises:
        GanvasError: as `check`; `side` names the features there.
    """
    check(**{side: features})
    n, f = features.shape
    mean = features.mean(axis=0, dtype=np.float64)
    products = np.zeros((f, f))
    step = max(1, A_BLOCK // f)
    for start in range(0, n, step):
        centred = features[start : start + step] - mean
        products += centred.T @ centred
    return Moments(n, mean, products / (n - 1))


def frechet(a: Moments, b: Moments) -> float:
    """|μ₁ - μ₂|² + tr(Σ₁ + Σ₂ - 2(Σ₂^½ Σ₁ Σ₂^½)^½) (Dowson & Landau 1982; Heusel et al. 2017, eq. 6), from 0.

    Biased upwards by about 1/count, and more so where count < f: compare equal counts only. The trace of the root is
    the sum of the roots of the eigenvalues of Rᵀ Σ₁ R, with R Rᵀ = Σ₂; eigenvalues that rounding made negative are 0.

    Raises:
        GanvasError: features of different lengths.
    """
    if len(a.mean) != len(b.mean):
        raise GanvasError(
            f"The rows differ in length: {len(a.mean)} and {len(b.mean)}.", expected="features of one extractor"
        )
    product = b.root.T @ a.covariance @ b.root
    shared = np.sqrt(np.linalg.eigvalsh((product + product.T) / 2).clip(min=0)).sum()
    traces = np.trace(a.covariance) + np.trace(b.covariance)
    return max(0.0, float(np.square(a.mean - b.mean).sum() + traces - 2 * shared))


def frechet_infinity(x: np.ndarray, reference: Moments, seed: int, sizes: int = 15, least: int | None = None) -> float:
    """The Fréchet distance that x would have with infinitely many rows (Chong & Forsyth 2020, section 4).

    Random subsets of x, their sizes N evenly spaced in 1/N, are measured; the intercept of the straight line in 1/N is
    given back. May fall below 0 by chance. The bias of the reference's own size stays.

    Args:
        x: float [n f].
        reference: the other side, as large as can be.
        seed: draws the subsets.
        sizes: how many.
        least: rows of the smallest; by default a tenth of x, the paper's 5,000 of 50,000, but not under twice the
            features (nor over half of x), where the bias no longer falls as 1/N.

    Raises:
        GanvasError: x has fewer than four rows, or `least` is not from 2 to n - 1; as `check`.
    """
    check(x=x)
    n, f = x.shape
    smallest = max(n // 10, min(2 * f, n // 2)) if least is None else least
    if not 2 <= smallest < n:
        raise GanvasError(f"Subsets from {smallest} rows on, of {n}.", expected=f"from 2 to {n - 1}")
    random = np.random.default_rng(seed)
    counts = np.rint(1 / np.linspace(1 / smallest, 1 / n, sizes)).astype(int)
    distances = [frechet(moments(x[random.permutation(n)[:count]]), reference) for count in counts]
    return float(np.polynomial.polynomial.polyfit(1 / counts, distances, 1)[0])


def kernel_once(x: np.ndarray, y: np.ndarray) -> float:
    """Unbiased MMD² with the kernel (x·y/f + 1)³, over all rows (Bińkowski et al. 2018, eq. 4 and section 3).

    Expected to be 0 for two draws of one distribution, so it is negative as often as not.

    Raises:
        GanvasError: as `check`.
    """
    check(x=x, y=y)
    n, m = len(x), len(y)
    within = _total(x, x, own=False) / (n * (n - 1)) + _total(y, y, own=False) / (m * (m - 1))
    return within - 2 * _total(x, y) / (n * m)


def kernel(x: np.ndarray, y: np.ndarray, seed: int, subsets: int = 100, size: int = 1000) -> tuple[float, float]:
    """Mean and standard deviation of `kernel_once` over random subsets of both sides (Bińkowski et al. 2018, KID).

    The deviation is that from subset to subset, as torch-fidelity and torchmetrics report it. A subset has no row
    twice.

    Raises:
        GanvasError: a side has fewer rows than `size`; as `check`.
    """
    check(x=x, y=y)
    if not 2 <= size <= min(len(x), len(y)):
        raise GanvasError(
            f"Subsets of {size} rows, of {len(x)} and {len(y)}.", expected=f"from 2 to {min(len(x), len(y))} rows"
        )
    random = np.random.default_rng(seed)
    values = [
        kernel_once(x[random.permutation(len(x))[:size]], y[random.permutation(len(y))[:size]]) for _ in range(subsets)
    ]
    return float(np.mean(values)), float(np.std(values))


def inception_score(probabilities: np.ndarray, splits: int = 10) -> tuple[float, float]:
    """exp E KL(p(y|x) ‖ p(y)) (Salimans et al. 2016, section 4): mean and standard deviation over the splits.

    From 1 to the number of classes; higher is better. It is the Inception score only with Inception-v3's 1,008
    classes; with another classifier's probabilities it is its kin, and comparable with nothing published.

    Args:
        probabilities: float [n k], rows in random order: they are split as they lie.
        splits: into how many nearly equal parts.

    Raises:
        GanvasError: fewer rows than splits, or as `check_probabilities`.
    """
    check_probabilities(probabilities)
    if not 1 <= splits <= len(probabilities):
        raise GanvasError(f"{splits} splits of {len(probabilities)} rows.", expected="at least one row a split")
    scores = []
    for part in np.array_split(probabilities.astype(np.float64), splits):
        entropies = _x_log_x(part).sum(axis=1).mean(), _x_log_x(part.mean(axis=0)).sum()
        scores.append(np.exp(entropies[0] - entropies[1]))
    return float(np.mean(scores)), float(np.std(scores))


def _total(x: np.ndarray, y: np.ndarray, own: bool = True) -> float:
    """The kernel summed over all pairs, or over those of different row numbers."""
    f = x.shape[1]
    y = y.astype(np.float64)
    total, step = 0.0, max(1, A_BLOCK // len(y))
    for start in range(0, len(x), step):
        part = x[start : start + step].astype(np.float64)
        total += ((part @ y.T / f + 1) ** 3).sum()
        if not own:
            total -= ((np.square(part).sum(axis=1) / f + 1) ** 3).sum()
    return float(total)


def _x_log_x(p: np.ndarray) -> np.ndarray:
    return p * np.log(np.where(p > 0, p, 1))
