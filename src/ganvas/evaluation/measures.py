"""The table of measures: what each is called, which way is better, and from what it is computed.

Each group of measures is one function of several judged sides and the real one: the subject's pictures, held-out real
ones for the floor, and fifths of the subject's for the error. What it needs of the real side is computed once for all.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from ganvas.evaluation import metrics, modes, neighbours, pyramids, scales

SEED = 0
"""Of every random choice inside a measure: subsets, projections, pairs."""

FIFTHS = 5
LEAST_FOR_ERROR = 100
"""Pictures on the judged side below which its fifths say nothing."""

LOOKED_AT = 20
"""Subsets in which the kernel distance sees a picture, about, up to the 100 subsets in all that are usual."""

PATCHES = 32
"""Cut from each picture and level, a quarter of the paper's: there are fewer pictures, and it takes the longest."""

NEAREST = 5
"""Neighbours whose distance is a picture's radius, as in the papers of precision, recall, density and coverage."""

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

    @cached_property
    def moments(self) -> metrics.Moments:
        """Of the features."""
        return metrics.moments(self.features, "real")

    @cached_property
    def nearest(self) -> np.ndarray:
        """Distances of each picture's features to its nearest other ones of this side, float64 [n NEAREST]."""
        return neighbours.nearest(self.features, self.features, NEAREST, leave_out_self=True)[0]

    def cut(self, count: int) -> "Side":
        """At most so many pictures, spread over all, without their probabilities."""
        if count >= len(self):
            return self
        if count not in self._cuts:
            self._cuts[count] = Side(spread(self.features, count), self.pixels)
        return self._cuts[count]

    @cached_property
    def _cuts(self) -> "dict[int, Side]":
        return {}

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


Group = Callable[[Sequence[Side], Side], list[dict[str, float]]]
"""Judged sides and the real one -> the values of each judged side, in their order."""


def spread(rows: np.ndarray, count: int) -> np.ndarray:
    """At most so many of the rows, from first to last: sets are often sorted by class, or by who wrote the digits."""
    return rows if len(rows) <= count else rows[np.linspace(0, len(rows) - 1, count).round().astype(int)]


def distances(sides: Sequence[Side], real: Side) -> list[dict[str, float]]:
    """How far the clouds of features are apart."""
    there = real.moments
    sizes = [min(1000, len(judged), len(real)) for judged in sides]
    plans = [(min(100, LOOKED_AT * -(-len(judged) // size)), size) for judged, size in zip(sides, sizes, strict=True)]
    kernels = metrics.kernels([judged.features for judged in sides], real.features, SEED, plans)
    return [
        {
            "frechet": metrics.frechet(metrics.moments(judged.features, "judged"), there),
            "frechet_infinity": metrics.frechet_infinity(judged.features, there, SEED),
            "kernel": 1000 * kernel,
        }
        for judged, (kernel, _) in zip(sides, kernels, strict=True)
    ]


def manifolds(sides: Sequence[Side], real: Side) -> list[dict[str, float]]:
    """Whether pictures look real, and whether all of the real is drawn: apart."""

    def of_one(judged: Side) -> dict[str, float]:
        radii = real.nearest[:, -1], judged.nearest[:, -1]
        return asdict(neighbours.prdc(real.features, judged.features, NEAREST, radii))

    return [of_one(judged) for judged in sides]


def told_apart(sides: Sequence[Side], real: Side) -> list[dict[str, float]]:
    """How well a nearest neighbour tells the two sides apart; 0.5 is by chance."""
    cuts = {count: real.cut(count) for count in {len(judged) for judged in sides}}

    def of_one(judged: Side) -> dict[str, float]:
        known, seen = cuts[len(judged)], judged.cut(len(real))
        own = known.nearest[:, 0], seen.nearest[:, 0]
        return {"two_sample": neighbours.two_sample(known.features, seen.features, own).accuracy}

    return [of_one(judged) for judged in sides]


def textures(sides: Sequence[Side], real: Side) -> list[dict[str, float]]:
    """Pixels, not features: waves, patches at every scale, layout; and how alike two pictures of one side are."""
    pixels = [judged.pixels for judged in sides]
    details, layouts = scales.fine_details(pixels, real.pixels), scales.layouts(pixels, real.pixels)
    return [
        {
            "sliced_wasserstein": patches,
            "fine_detail": detail,
            "layout": layout,
            "ms_ssim": pyramids.ms_ssim_diversity(judged, SEED),
        }
        for judged, patches, detail, layout in zip(pixels, _patches(pixels, real.pixels), details, layouts, strict=True)
    ]


def _patches(sides: Sequence[np.ndarray], real: np.ndarray) -> list[float]:
    """The sliced Wasserstein distance of each side, over all levels; the larger side is cut to the other's count."""
    counts, found = [min(len(side), len(real)) for side in sides], {}
    for count in set(counts):  # all sides of one count meet the same real pictures
        chosen = [i for i, own in enumerate(counts) if own == count]
        cut, *others = (spread(side, count) for side in (real, *(sides[i] for i in chosen)))
        levels = pyramids.sliced_wassersteins(cut, others, SEED, patches=PATCHES)
        found |= {i: float(np.mean(list(of.values()))) for i, of in zip(chosen, levels, strict=True)}
    return [found[i] for i in range(len(sides))]


def classes(shares: np.ndarray | None) -> Group:
    """The group that counts classes; `shares` are the real ones' where the classifier's classes are the data's."""

    def of_one(judged: Side) -> dict[str, float]:
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

    return lambda sides, _: [of_one(judged) for judged in sides]


def measured(
    group: Group, judged: Side, held_out: Side, real: Side, floors: dict[str, float] | None = None
) -> dict[str, Value]:
    """A group's values, each with its floor and its error.

    Args:
        floors: those of the same group, held-out and real sides; an empty dictionary is filled with them.
    """
    floors = {} if floors is None else floors
    fifths = judged.fifths() if len(judged) >= LEAST_FOR_ERROR else []
    values, *parts = group([judged, *([] if floors else [held_out]), *fifths], real)
    if not floors:
        floors.update(parts.pop(0))
    errors = {name: _error([part[name] for part in parts]) for name in values}
    return {name: Value(value, floors.get(name), errors[name]) for name, value in values.items()}


def _error(parts: list[float]) -> float | None:
    """The standard error that the fifths tell; None without any, or where one is infinite."""
    return float(np.std(parts, ddof=1)) / FIFTHS**0.5 if parts and np.isfinite(parts).all() else None
