"""Distances between two sets of features, and the score of one set of probabilities.

Features are float [n f], of any extractor: only with Inception-v3's (the weights and the resizing of Heusel et al.
2017) are the Fréchet and the kernel distance FID and KID. Arithmetic is float64.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ganvas.errors import GanvasError

A_BLOCK, A_BAND = 2**20, 256
"""Numbers held at a time, 8 MB of float64; rows of a symmetric matrix, of which all but a triangle is then saved."""


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
    of_x, of_y, all_x, all_y = _double(x), _double(y), _ones(n), _ones(m)
    within = _within(of_x, all_x) / (n * (n - 1)) + _within(of_y, all_y) / (m * (m - 1))
    return float(within - 2 * _between(of_x, of_y, all_x, all_y) / (n * m))


def kernel(x: np.ndarray, y: np.ndarray, seed: int, subsets: int = 100, size: int = 1000) -> tuple[float, float]:
    """Mean and standard deviation of `kernel_once` over random subsets of both sides (Bińkowski et al. 2018, KID).

    The deviation is that from subset to subset, as torch-fidelity and torchmetrics report it. A subset has no row
    twice.

    Raises:
        GanvasError: a side has fewer rows than `size`; as `check`.
    """
    return kernels([x], y, seed, [(subsets, size)])[0]


def kernels(
    sides: Sequence[np.ndarray], y: np.ndarray, seed: int, plans: Sequence[tuple[int, int]]
) -> list[tuple[float, float]]:
    """`kernel` of each side against the same y; plans: the subsets and the size of each.

    Where subsets overlap much, the kernel of every pair of rows is computed once: with the columns of S and T saying
    which rows are in a subset, 0 or 1, its sums over the subsets are the column sums of S ∘ (K T).

    Raises:
        GanvasError: as `kernel`.
    """
    of_y, drawn = _double(y), []
    of_one_kind: dict[tuple[int, int, int], tuple[Tensor, Tensor]] = {}  # sides of one length get the same subsets
    for x, (subsets, size) in zip(sides, plans, strict=True):
        check(x=x, y=y)
        if not 2 <= size <= min(len(x), len(y)):
            raise GanvasError(
                f"Subsets of {size} rows, of {len(x)} and {len(y)}.", expected=f"from 2 to {min(len(x), len(y))} rows"
            )
        kind = len(x), subsets, size
        if kind not in of_one_kind:
            of_one_kind[kind] = _subsets(len(x), len(y), seed, subsets, size)
        drawn.append((kind, of_one_kind[kind][0], of_one_kind[kind][1]))
    all_within = _within(of_y, torch.cat([in_y for _, in_y in of_one_kind.values()], dim=1))
    parts = all_within.split([in_y.shape[1] for _, in_y in of_one_kind.values()])
    within_y = dict(zip(of_one_kind, parts, strict=True))
    found = []
    for x, (kind, in_x, in_y), (_, size) in zip(sides, drawn, plans, strict=True):
        of_x, pairs = _double(x), size * (size - 1)
        values = (_within(of_x, in_x) + within_y[kind]) / pairs - 2 * _between(of_x, of_y, in_x, in_y) / size**2
        found.append((float(values.mean()), float(values.std(correction=0))))
    return found


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


def _subsets(n: int, m: int, seed: int, subsets: int, size: int) -> tuple[Tensor, Tensor]:
    """Which rows of both sides are in a subset: float64 [n subsets] and [m subsets], 1 or 0."""
    random = np.random.default_rng(seed)
    sides = torch.zeros(n, subsets, dtype=torch.float64), torch.zeros(m, subsets, dtype=torch.float64)
    for subset in range(subsets):
        for side in sides:
            side[torch.from_numpy(random.permutation(len(side))[:size]), subset] = 1
    return sides


def _within(x: Tensor, chosen: Tensor) -> Tensor:
    """The kernel summed over all pairs of different chosen rows, float64 [subsets]; chosen float64 [n subsets]."""
    if _cheaper_apart(x, x, chosen, chosen):
        return torch.cat([_within(x[one], _ones(int(one.sum()))) for one in chosen.T.bool()])
    total, start = torch.zeros(chosen.shape[1], dtype=torch.float64), 0
    while start < len(x):  # the part above the diagonal: the matrix is symmetric
        stop = min(len(x), start + max(1, min(A_BAND, A_BLOCK // (len(x) - start))))
        values = _cubes(x[start:stop], x[start:])
        square = values[:, : stop - start]
        square.fill_diagonal_(0).div_(2)
        total += 2 * ((values @ chosen[start:]) * chosen[start:stop]).sum(0)
        start = stop
    return total


def _between(x: Tensor, y: Tensor, in_x: Tensor, in_y: Tensor) -> Tensor:
    """The kernel summed over all pairs of a chosen row of x and one of y, float64 [subsets]."""
    if _cheaper_apart(x, y, in_x, in_y):
        pairs = zip(in_x.T.bool(), in_y.T.bool(), strict=True)
        return torch.cat([_between(x[a], y[b], _ones(int(a.sum())), _ones(int(b.sum()))) for a, b in pairs])
    total, step = torch.zeros(in_x.shape[1], dtype=torch.float64), max(1, A_BLOCK // len(y))
    for start in range(0, len(x), step):
        rows = slice(start, start + step)
        total += ((_cubes(x[rows], y) @ in_y) * in_x[rows]).sum(0)
    return total


def _cheaper_apart(x: Tensor, y: Tensor, in_x: Tensor, in_y: Tensor) -> bool:
    """Whether the kernel of each subset's own pairs costs less than that of all pairs and their sums."""
    subsets, features = in_x.shape[1], x.shape[1]
    pairs = float(in_x.sum(0) @ in_y.sum(0))
    return subsets > 1 and pairs * features < len(x) * len(y) * (features + subsets)


def _cubes(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T).div_(x.shape[1]).add_(1).pow_(3)


def _double(x: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(x, np.float64))


def _ones(n: int) -> Tensor:
    return torch.ones(n, 1, dtype=torch.float64)


def _x_log_x(p: np.ndarray) -> np.ndarray:
    return p * np.log(np.where(p > 0, p, 1))
