"""Distances between two sets of features, and the Inception score of a set of class probabilities.

Features are float [n f] from any extractor: the Fréchet and kernel distances are FID and KID only with the features of
Inception-v3 (the weights and the resizing of Heusel et al. 2017). Arithmetic is float64.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ganvas.errors import GanvasError

NUMBERS_PER_BLOCK, ROWS_PER_BAND = 2**20, 256
"""Numbers in memory at a time, 8 MB of float64; rows in a band of a symmetric matrix (one triangle is computed)."""

EXTRAPOLATION_SUBSETS = 15
"""Subsets that the line through the Fréchet distances is fitted to."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean and covariance of a set of features.

    Attributes:
        count: rows.
        mean: float64 [f].
        covariance: float64 [f f], divided by count - 1.
    """

    count: int
    mean: np.ndarray
    covariance: np.ndarray

    @cached_property
    def covariance_root(self) -> np.ndarray:
        """R with R Rᵀ = Σ, float64 [f f]."""
        values, vectors = np.linalg.eigh(self.covariance)
        return vectors * np.sqrt(values.clip(min=0))


def check_features(**named_features: np.ndarray) -> None:
    """Checks that features can be compared; the keywords name them in messages.

    Raises:
        GanvasError: some are not [n f] with n ≥ 2, some are not finite, or f differs.
    """
    for name, features in named_features.items():
        if features.ndim != 2 or len(features) < 2:
            raise GanvasError(f"The {name} features are {list(features.shape)}.", expected="[n f], at least two rows")
        bad = len(features) - int(np.isfinite(features).all(axis=1).sum())
        if bad:
            raise GanvasError(f"{bad} of the {len(features)} {name} rows hold numbers that are not finite.")
    if len({features.shape[1] for features in named_features.values()}) > 1:
        widths = ", ".join(f"{name} {features.shape[1]}" for name, features in named_features.items())
        raise GanvasError(f"The rows differ in length: {widths}.", expected="features of one extractor")


def check_probabilities(probabilities: np.ndarray) -> None:
    """Checks that the last axis holds probabilities (and not logits, for instance).

    Raises:
        GanvasError: a row is not finite, has a negative number or does not sum to 1 ± 0.001.
    """
    if probabilities.ndim < 2 or not len(probabilities):
        raise GanvasError(f"Probabilities of shape {list(probabilities.shape)}.", expected="[n k], at least one row")
    good = (probabilities >= 0).all(axis=-1) & (np.abs(probabilities.sum(axis=-1) - 1) < 1e-3)
    if not good.all():
        raise GanvasError(
            f"{good.size - int(good.sum())} of {good.size} rows are not probabilities.",
            expected="numbers from 0 that sum to 1: a softmax, not logits",
        )


def compute_moments(features: np.ndarray, name: str = "given") -> Moments:
    """Mean and covariance, in two passes.

    Raises:
        GanvasError: as `check_features`; `name` names the features in the message.
    """
    check_features(**{name: features})
    n, f = features.shape
    mean = features.mean(axis=0, dtype=np.float64)
    products = np.zeros((f, f))
    step = max(1, NUMBERS_PER_BLOCK // f)
    for start in range(0, n, step):
        centred = features[start : start + step] - mean
        products += centred.T @ centred
    return Moments(n, mean, products / (n - 1))


def frechet_distance(a: Moments, b: Moments) -> float:
    """|μ₁ - μ₂|² + tr(Σ₁ + Σ₂ - 2(Σ₂^½ Σ₁ Σ₂^½)^½) (Dowson & Landau 1982; Heusel et al. 2017, eq. 6), from 0.

    Biased upwards by about 1/count, and more if count < f: compare equal counts only. The trace of the square root is
    the sum of the square roots of the eigenvalues of Rᵀ Σ₁ R, with R Rᵀ = Σ₂; eigenvalues made negative by rounding
    count as 0.

    Raises:
        GanvasError: features of different lengths.
    """
    if len(a.mean) != len(b.mean):
        raise GanvasError(
            f"The rows differ in length: {len(a.mean)} and {len(b.mean)}.", expected="features of one extractor"
        )
    product = b.covariance_root.T @ a.covariance @ b.covariance_root
    shared = np.sqrt(np.linalg.eigvalsh((product + product.T) / 2).clip(min=0)).sum()
    traces = np.trace(a.covariance) + np.trace(b.covariance)
    return max(0.0, float(np.square(a.mean - b.mean).sum() + traces - 2 * shared))


def frechet_distance_of(x: np.ndarray, reference: Moments) -> float:
    """`frechet_distance` of rows float [n f], which costs n³ for f³ where there are fewer rows than features.

    The eigenvalues of Rᵀ Σ₁ R beside 0 are those of the n × n products of the centred rows times R.

    Raises:
        GanvasError: as `compute_moments` and `frechet_distance`.
    """
    if x.ndim != 2 or len(x) >= x.shape[1] or x.shape[1] != len(reference.mean):
        return frechet_distance(compute_moments(x, "evaluated"), reference)
    check_features(evaluated=x)
    n = len(x)
    mean = x.mean(axis=0, dtype=np.float64)
    centred = x - mean
    rows = centred @ reference.covariance_root
    shared = np.sqrt(np.linalg.eigvalsh(rows @ rows.T / (n - 1)).clip(min=0)).sum()
    traces = np.square(centred).sum() / (n - 1) + np.trace(reference.covariance)
    return max(0.0, float(np.square(mean - reference.mean).sum() + traces - 2 * shared))


def frechet_infinity(x: np.ndarray, reference: Moments, seed: int) -> float:
    """The Fréchet distance extrapolated to infinitely many rows of x (Chong & Forsyth 2020, section 4).

    The intercept of a straight line in 1/N, fitted to 15 random subsets of x whose sizes N are evenly spaced in 1/N,
    from a tenth of x on, the paper's 5,000 of 50,000, but from at least twice the number of features (and at most half
    of x): below that the bias no longer falls as 1/N. It may be below 0 by chance. The bias from the reference's own
    size remains.

    Args:
        x: float [n f].
        reference: the other set, as large as possible.
        seed: of the subsets.

    Raises:
        GanvasError: x has fewer than four rows; as `check_features`.
    """
    check_features(x=x)
    n, f = x.shape
    if n < 4:
        raise GanvasError(f"{n} rows.", expected="at least four, to extrapolate from subsets")
    random = np.random.default_rng(seed)
    smallest = max(n // 10, min(2 * f, n // 2))
    counts = np.rint(1 / np.linspace(1 / smallest, 1 / n, EXTRAPOLATION_SUBSETS)).astype(int)
    distances = [frechet_distance_of(x[random.permutation(n)[:count]], reference) for count in counts]
    return float(np.polynomial.polynomial.polyfit(1 / counts, distances, 1)[0])


def unbiased_mmd(x: np.ndarray, y: np.ndarray) -> float:
    """Unbiased MMD² with the kernel (x·y/f + 1)³, over all rows (Bińkowski et al. 2018, eq. 4 and section 3).

    Its expectation is 0 for two samples of one distribution, so it is often negative.

    Raises:
        GanvasError: as `check_features`.
    """
    check_features(x=x, y=y)
    n, m = len(x), len(y)
    x64, y64, all_x, all_y = _to_double(x), _to_double(y), _ones(n), _ones(m)
    within = _within(x64, all_x) / (n * (n - 1)) + _within(y64, all_y) / (m * (m - 1))
    return float(within - 2 * _between(x64, y64, all_x, all_y) / (n * m))


def kernel_distances(
    samples: Sequence[np.ndarray], y: np.ndarray, seed: int, plans: Sequence[tuple[int, int]]
) -> list[float]:
    """Of several sets x from the same y: the mean of `unbiased_mmd` over random subsets of both.

    That is KID (Bińkowski et al. 2018). Subsets are drawn without replacement. If they overlap much, the kernel of
    every pair of rows is computed once: with columns of S and T that are 1 for the rows in a subset and 0 elsewhere,
    its sums over the subsets are the column sums of S ∘ (K T).

    Args:
        samples: each x, float [n f].
        y: float [m f].
        seed: of the subsets.
        plans: (number of subsets, rows in each) for each x.

    Raises:
        GanvasError: a set has fewer rows than its subsets; as `check_features`.
    """
    y64, keys = _to_double(y), []
    subsets_by_key: dict[tuple[int, int, int], tuple[Tensor, Tensor]] = {}  # sets of one length get the same subsets
    for x, (subsets, size) in zip(samples, plans, strict=True):
        check_features(x=x, y=y)
        if not 2 <= size <= min(len(x), len(y)):
            raise GanvasError(
                f"Subsets of {size} rows, of {len(x)} and {len(y)}.", expected=f"from 2 to {min(len(x), len(y))} rows"
            )
        key = len(x), subsets, size
        if key not in subsets_by_key:
            subsets_by_key[key] = _subsets(len(x), len(y), seed, subsets, size)
        keys.append(key)
    all_within = _within(y64, torch.cat([in_y for _, in_y in subsets_by_key.values()], dim=1))
    parts = all_within.split([in_y.shape[1] for _, in_y in subsets_by_key.values()])
    reference_terms = dict(zip(subsets_by_key, parts, strict=True))
    distances = []
    for x, key, (_, size) in zip(samples, keys, plans, strict=True):
        in_x, in_y = subsets_by_key[key]
        x64, pairs = _to_double(x), size * (size - 1)
        values = (_within(x64, in_x) + reference_terms[key]) / pairs - 2 * _between(x64, y64, in_x, in_y) / size**2
        distances.append(float(values.mean()))
    return distances


def inception_score(probabilities: np.ndarray, splits: int = 10) -> float:
    """exp E KL(p(y|x) ‖ p(y)) (Salimans et al. 2016, section 4): the mean over the splits.

    From 1 to the number of classes; higher is better. It is the published Inception score only with Inception-v3's
    1,008 classes; with another classifier's probabilities it is not comparable with published numbers.

    Args:
        probabilities: float [n k], rows in random order; consecutive rows make a split.
        splits: the number of nearly equal parts.

    Raises:
        GanvasError: fewer rows than splits, or as `check_probabilities`.
    """
    check_probabilities(probabilities)
    if not 1 <= splits <= len(probabilities):
        raise GanvasError(f"{splits} splits of {len(probabilities)} rows.", expected="at least one row per split")
    scores = []
    for part in np.array_split(probabilities.astype(np.float64), splits):
        entropies = _x_log_x(part).sum(axis=1).mean(), _x_log_x(part.mean(axis=0)).sum()
        scores.append(np.exp(entropies[0] - entropies[1]))
    return float(np.mean(scores))


def _subsets(n: int, m: int, seed: int, subsets: int, size: int) -> tuple[Tensor, Tensor]:
    """Which rows of both sets are in each subset: float64 [n subsets] and [m subsets], 1 or 0."""
    random = np.random.default_rng(seed)
    members = torch.zeros(n, subsets, dtype=torch.float64), torch.zeros(m, subsets, dtype=torch.float64)
    for subset in range(subsets):
        for column in members:
            column[torch.from_numpy(random.permutation(len(column))[:size]), subset] = 1
    return members


def _within(x: Tensor, chosen: Tensor) -> Tensor:
    """The kernel summed over all pairs of different chosen rows, float64 [subsets]; chosen float64 [n subsets]."""
    if _cheaper_per_subset(x, x, chosen, chosen):
        return torch.cat([_within(x[rows], _ones(int(rows.sum()))) for rows in chosen.T.bool()])
    total, start = torch.zeros(chosen.shape[1], dtype=torch.float64), 0
    while start < len(x):  # the part above the diagonal: the matrix is symmetric
        stop = min(len(x), start + max(1, min(ROWS_PER_BAND, NUMBERS_PER_BLOCK // (len(x) - start))))
        values = _cubic_kernel(x[start:stop], x[start:])
        square = values[:, : stop - start]
        square.fill_diagonal_(0).div_(2)
        total += 2 * ((values @ chosen[start:]) * chosen[start:stop]).sum(0)
        start = stop
    return total


def _between(x: Tensor, y: Tensor, in_x: Tensor, in_y: Tensor) -> Tensor:
    """The kernel summed over all pairs of a chosen row of x and one of y, float64 [subsets]."""
    if _cheaper_per_subset(x, y, in_x, in_y):
        pairs = zip(in_x.T.bool(), in_y.T.bool(), strict=True)
        return torch.cat([_between(x[a], y[b], _ones(int(a.sum())), _ones(int(b.sum()))) for a, b in pairs])
    total, step = torch.zeros(in_x.shape[1], dtype=torch.float64), max(1, NUMBERS_PER_BLOCK // len(y))
    for start in range(0, len(x), step):
        rows = slice(start, start + step)
        total += ((_cubic_kernel(x[rows], y) @ in_y) * in_x[rows]).sum(0)
    return total


def _cheaper_per_subset(x: Tensor, y: Tensor, in_x: Tensor, in_y: Tensor) -> bool:
    """Whether the kernel of each subset's own pairs costs less than that of all pairs and their sums."""
    subsets, features = in_x.shape[1], x.shape[1]
    pairs = float(in_x.sum(0) @ in_y.sum(0))
    return subsets > 1 and pairs * features < len(x) * len(y) * (features + subsets)


def _cubic_kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T).div_(x.shape[1]).add_(1).pow_(3)


def _to_double(x: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(x, np.float64))


def _ones(n: int) -> Tensor:
    return torch.ones(n, 1, dtype=torch.float64)


def _x_log_x(p: np.ndarray) -> np.ndarray:
    return p * np.log(np.where(p > 0, p, 1))
