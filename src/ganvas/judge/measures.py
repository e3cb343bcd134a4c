"""The table of measures: what each is called, which way is better, and from what it is computed.

Each group of measures is one function of two sides: `judged` against `real`. It is called with the subject's pictures,
with held-out real ones for the floor, and with fifths of the subject's for the error.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ganvas.judge import metrics, modes, neighbours, pyramids, scales

SEED = 0
"""Of every random choice inside a measure: subsets, projections, pairs."""

FIFTHS = 5
LEAST_FOR_ERROR = 100
"""Pictures on the judged side below which its fifths say nothing."""

LOOKED_AT = 20
"""Subsets in which the kernel distance sees a picture, about, up to the 100 subsets in all that are usual."""

PATCHES = 32
"""Cut from each picture and level, a quarter of the paper's: there are fewer pictures, and it takes the longest."""

CONFIDENT = 0.5
"""A class counts as drawn when a picture reaches this probability of it: argmax alone counts garbage too."""


@dataclass(frozen=True, eq=False)
class Side:
    """Pictures as the measures see them.

    Attributes:
        features: float32 [n f].
        pixels: uint8 [m c h w], m ≤ n: of some of them.
        probabilities: float32 [n k] of a classifier, [n c k] of one that looks at each channel, or None.
    """

    features: np.ndarray
    pixels: np.ndarray
    probabilities: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.features)

    def fifths(self) -> "list[Side]":
        """Five disjoint parts, every fifth picture each."""
        return [
            Side(
                self.features[i::FIFTHS],
                self.pixels[i::FIFTHS],
                None if self.probabilities is None else self.probabilities[i::FIFTHS],
            )
            for i in range(FIFTHS)
        ]


@dataclass(frozen=True)
class Measure:
    """A row of the table.

    Attributes:
        title: for people.
        better: lower or higher; "as real" where the floor itself is best.
        source: who proposed it.
        official: what it is called in Inception features, and only there.
        by_ratio: whether value / floor says something: not where the floor is 0 but for chance.
    """

    title: str
    better: Literal["lower", "higher", "as real"]
    source: str
    official: str = ""
    by_ratio: bool = True


MEASURES = {
    "frechet": Measure("Fréchet distance", "lower", "Heusel et al. 2017", "FID"),
    "frechet_infinity": Measure("Fréchet distance, n → ∞", "lower", "Chong & Forsyth 2020", "FID∞", by_ratio=False),
    "kernel": Measure("kernel distance × 1000", "lower", "Bińkowski et al. 2018", "KID × 1000", by_ratio=False),
    "precision": Measure("precision", "higher", "Kynkäänniemi et al. 2019"),
    "recall": Measure("recall", "higher", "Kynkäänniemi et al. 2019"),
    "density": Measure("density", "higher", "Naeem et al. 2020"),
    "coverage": Measure("coverage", "higher", "Naeem et al. 2020"),
    "two_sample": Measure("1-nearest-neighbour accuracy", "lower", "Lopez-Paz & Oquab 2017"),
    "sliced_wasserstein": Measure("sliced Wasserstein × 1000", "lower", "Karras et al. 2018"),
    "fine_detail": Measure("fine detail: spectrum off by, dB", "lower", "after Durall et al. 2020", by_ratio=False),
    "layout": Measure("layout: Fréchet distance at 8×8", "lower", ""),
    "ms_ssim": Measure("MS-SSIM between pictures", "as real", "Odena et al. 2017"),
    "score": Measure("classifier score", "higher", "Salimans et al. 2016", "Inception score"),
    "modes": Measure("classes drawn", "higher", "Metz et al. 2017"),
    "rarest": Measure("rarest class, share", "higher", ""),
    "kl_uniform": Measure("classes: KL from uniform", "lower", "Srivastava et al. 2017", by_ratio=False),
    "kl_real": Measure("classes: KL from the real shares", "lower", "Srivastava et al. 2017", by_ratio=False),
}
"""In the order of the report."""


@dataclass(frozen=True)
class Value:
    """A measured number.

    Attributes:
        value: it.
        floor: what held-out real pictures get in the subject's place; None where there is none.
        error: standard error by sampling, from the spread of five fifths; None for too few pictures.
    """

    value: float
    floor: float | None = None
    error: float | None = None


Group = Callable[[Side, Side], dict[str, float]]


def spread(rows: np.ndarray, count: int) -> np.ndarray:
    """At most so many of the rows, from first to last: sets are often sorted by class, or by who wrote the digits."""
    return rows if len(rows) <= count else rows[np.linspace(0, len(rows) - 1, count).round().astype(int)]


def distances(judged: Side, real: Side) -> dict[str, float]:
    """How far the two clouds of features are apart."""
    there = metrics.moments(real.features, "real")
    size = min(1000, len(judged), len(real))
    subsets = min(100, LOOKED_AT * -(-len(judged) // size))
    return {
        "frechet": metrics.frechet(metrics.moments(judged.features, "judged"), there),
        "frechet_infinity": metrics.frechet_infinity(judged.features, there, SEED),
        "kernel": 1000 * metrics.kernel(judged.features, real.features, SEED, subsets, size)[0],
    }


def manifolds(judged: Side, real: Side) -> dict[str, float]:
    """Whether pictures look real, and whether all of the real is drawn: apart."""
    found = neighbours.prdc(real.features, judged.features)
    return {
        "precision": found.precision,
        "recall": found.recall,
        "density": found.density,
        "coverage": found.coverage,
    }


def told_apart(judged: Side, real: Side) -> dict[str, float]:
    """How well a nearest neighbour tells the two sides apart; 0.5 is by chance."""
    equal = min(len(judged), len(real))
    sides = spread(real.features, equal), spread(judged.features, equal)
    return {"two_sample": neighbours.two_sample(*sides).accuracy}


def textures(judged: Side, real: Side) -> dict[str, float]:
    """Pixels, not features: waves, patches at every scale, layout; and how alike two pictures of one side are."""
    equal = min(len(judged.pixels), len(real.pixels))
    sides = spread(real.pixels, equal), spread(judged.pixels, equal)
    levels = pyramids.sliced_wasserstein(*sides, SEED, patches=PATCHES)
    return {
        "sliced_wasserstein": float(np.mean(list(levels.values()))),
        "fine_detail": scales.fine_detail(judged.pixels, real.pixels),
        "layout": scales.layout(judged.pixels, real.pixels),
        "ms_ssim": pyramids.ms_ssim_diversity(judged.pixels, SEED),
    }


def classes(shares: np.ndarray | None) -> Group:
    """The group that counts classes; `shares` are the real ones' where the classifier's classes are the data's."""

    def group(judged: Side, real: Side) -> dict[str, float]:
        assert judged.probabilities is not None
        chosen, confidence = modes.decided(judged.probabilities)
        *channels, of_each = judged.probabilities.shape[1:]
        count = of_each ** math.prod(channels)
        frequencies = np.ones(count) if shares is None else shares
        found = modes.mode_coverage(chosen, confidence, count, frequencies, CONFIDENT)
        told = {"modes": float(found.hit), "rarest": float(found.shares.min()), "kl_uniform": found.kl_uniform}
        if shares is not None and found.kl_real is not None:
            told["kl_real"] = found.kl_real
        if judged.probabilities.ndim == 2:
            told["score"] = metrics.inception_score(judged.probabilities, splits=min(10, len(judged)))[0]
        return told

    return group


def measured(group: Group, judged: Side, held_out: Side, real: Side) -> dict[str, Value]:
    """A group's values, each with its floor and its error."""
    values, floors = group(judged, real), group(held_out, real)
    parts = [group(part, real) for part in judged.fifths()] if len(judged) >= LEAST_FOR_ERROR else []
    errors = {name: _error([part[name] for part in parts]) for name in values}
    return {name: Value(value, floors.get(name), errors[name]) for name, value in values.items()}


def _error(parts: list[float]) -> float | None:
    """The standard error that the fifths tell; None without any, or where one is infinite."""
    return float(np.std(parts, ddof=1)) / FIFTHS**0.5 if parts and np.isfinite(parts).all() else None
