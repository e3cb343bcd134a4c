"""Computes the quality measures.

Each group of measures is one function of several samples and the real sample: the evaluated images, held-out real
images for the real-data baseline, and splits of the evaluated images for the standard error. What a group needs of the
real sample is computed once.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np

from ganvas.data.selection import subsample
from ganvas.evaluation import metrics, modes, neighbours, pyramids, scales
from ganvas.evaluation.measures import Value

SEED = 0
"""Seed of every random choice inside a measure: subsets, projections, pairs."""

SPLITS = 5
MIN_IMAGES_FOR_ERROR = 100
"""With fewer evaluated images no standard error is given."""

SUBSETS_PER_IMAGE = 20
"""Approximate number of the kernel distance's subsets that contain an image, up to the usual 100 subsets in all."""

PATCHES_PER_LEVEL = 32
"""Patches from each image and pyramid level, a quarter of the paper's number: this measure takes the longest."""

NEIGHBOURS = 5
"""An image's radius is the distance to this nearest neighbour (k in precision, recall, density and coverage)."""

MIN_CONFIDENCE = 0.5
"""A class counts as generated if an image reaches this probability of it: argmax alone counts garbage too."""


@dataclass(frozen=True, eq=False)
class ImageSample:
    """A sample of images, as the measures need it.

    Attributes:
        features: float32 [n f].
        pixels: uint8 [m c h w], m ≤ n: some of the images.
        probabilities: class probabilities float32 [n k], or [n c k] from a classifier of each channel, or None.
    """

    features: np.ndarray
    pixels: np.ndarray
    probabilities: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.features)

    @cached_property
    def moments(self) -> metrics.Moments:
        """Mean and covariance of the features."""
        return metrics.compute_moments(self.features, "real")

    @cached_property
    def neighbour_distances(self) -> np.ndarray:
        """Distances from each image's features to its nearest neighbours in this sample, float64 [n NEIGHBOURS]."""
        return neighbours.nearest_neighbours(self.features, self.features, NEIGHBOURS, leave_out_self=True)[0]

    def subsample(self, count: int) -> "ImageSample":
        """At most `count` of the images, evenly spaced, without their probabilities."""
        if count >= len(self):
            return self
        if count not in self._subsamples:
            self._subsamples[count] = ImageSample(subsample(self.features, count), self.pixels)
        return self._subsamples[count]

    @cached_property
    def _subsamples(self) -> "dict[int, ImageSample]":
        return {}

    def splits(self) -> "list[ImageSample]":
        """SPLITS disjoint parts; each takes every SPLITS-th image."""
        return [
            ImageSample(
                self.features[i::SPLITS],
                self.pixels[i::SPLITS],
                None if self.probabilities is None else self.probabilities[i::SPLITS],
            )
            for i in range(SPLITS)
        ]


MeasureGroup = Callable[[Sequence[ImageSample], ImageSample], list[dict[str, float]]]
"""(samples, real sample) -> the values of each sample, in their order."""


def measure_distances(samples: Sequence[ImageSample], real: ImageSample) -> list[dict[str, float]]:
    """Distances between the distributions of features."""
    sizes = [min(1000, len(sample), len(real)) for sample in samples]
    plans = [
        (min(100, SUBSETS_PER_IMAGE * -(-len(sample) // size)), size)
        for sample, size in zip(samples, sizes, strict=True)
    ]
    kernels = metrics.kernel_distances([sample.features for sample in samples], real.features, SEED, plans)
    return [
        {
            "frechet": metrics.frechet_distance_of(sample.features, real.moments),
            "frechet_infinity": metrics.frechet_infinity(sample.features, real.moments, SEED),
            "kernel": 1000 * kernel,
        }
        for sample, kernel in zip(samples, kernels, strict=True)
    ]


def measure_manifolds(samples: Sequence[ImageSample], real: ImageSample) -> list[dict[str, float]]:
    """Precision, recall, density and coverage: fidelity and diversity, measured separately."""

    def measure(sample: ImageSample) -> dict[str, float]:
        radii = real.neighbour_distances[:, -1], sample.neighbour_distances[:, -1]
        return asdict(neighbours.prdc(real.features, sample.features, NEIGHBOURS, radii))

    return [measure(sample) for sample in samples]


def measure_two_sample(samples: Sequence[ImageSample], real: ImageSample) -> list[dict[str, float]]:
    """The accuracy of a nearest-neighbour classifier of real and evaluated images; 0.5 is chance."""
    real_subsamples = {count: real.subsample(count) for count in {len(sample) for sample in samples}}

    def measure(sample: ImageSample) -> dict[str, float]:
        a, b = real_subsamples[len(sample)], sample.subsample(len(real))
        own = a.neighbour_distances[:, 0], b.neighbour_distances[:, 0]
        return {"two_sample": neighbours.two_sample_test(a.features, b.features, own)}

    return [measure(sample) for sample in samples]


def measure_pixels(samples: Sequence[ImageSample], real: ImageSample) -> list[dict[str, float]]:
    """Measures of pixels, not features: spectrum, patches at every scale, layout, and similarity within a sample."""
    pixels = [sample.pixels for sample in samples]
    details, layouts = scales.fine_detail_errors(pixels, real.pixels), scales.layout_distances(pixels, real.pixels)
    return [
        {
            "sliced_wasserstein": patches,
            "fine_detail": detail,
            "layout": layout,
            "ms_ssim": pyramids.ms_ssim_diversity(images, SEED),
        }
        for images, patches, detail, layout in zip(
            pixels, _patch_distances(pixels, real.pixels), details, layouts, strict=True
        )
    ]


def _patch_distances(samples: Sequence[np.ndarray], real: np.ndarray) -> list[float]:
    """The sliced Wasserstein distance of each sample, over all levels; the larger side is subsampled."""
    counts, distances = [min(len(sample), len(real)) for sample in samples], {}
    for count in set(counts):  # samples of one count are compared with the same real images
        chosen = [i for i, each in enumerate(counts) if each == count]
        real_part, *parts = (subsample(images, count) for images in (real, *(samples[i] for i in chosen)))
        levels = pyramids.sliced_wasserstein_distances(real_part, parts, SEED, patches=PATCHES_PER_LEVEL)
        distances |= {i: float(np.mean(list(each.values()))) for i, each in zip(chosen, levels, strict=True)}
    return [distances[i] for i in range(len(samples))]


def class_measures(shares: np.ndarray | None) -> MeasureGroup:
    """The group that counts classes.

    Args:
        shares: of the real images' classes, float [k]; None if the classifier's classes are not the data's.
    """

    def measure(sample: ImageSample) -> dict[str, float]:
        assert sample.probabilities is not None
        predicted, confidence = modes.predict_classes(sample.probabilities)
        *channels, classes_per_channel = sample.probabilities.shape[1:]
        count = classes_per_channel ** math.prod(channels)
        coverage = modes.mode_coverage(predicted, confidence, count, shares, MIN_CONFIDENCE)
        values = {
            "modes": float(coverage.hit),
            "rarest": float(coverage.shares.min()),
            "kl_uniform": coverage.kl_uniform,
        }
        if coverage.kl_real is not None:
            values["kl_real"] = coverage.kl_real
        if sample.probabilities.ndim == 2:  # held-out images may be sorted by class, which the splits must not be
            shuffled = np.random.default_rng(SEED).permutation(sample.probabilities)
            values["score"] = metrics.inception_score(shuffled, splits=min(10, len(sample)))
        return values

    return lambda samples, _: [measure(sample) for sample in samples]


def measure_group(
    group: MeasureGroup,
    sample: ImageSample,
    held_out: ImageSample,
    real: ImageSample,
    baselines: dict[str, float],
) -> dict[str, Value]:
    """The values of a group of measures, each with its real-data baseline and standard error.

    Args:
        group: computes them.
        sample: the evaluated images.
        held_out: real images that give the baselines.
        real: the real images that both are compared with.
        baselines: known baselines of the same group, held-out and real images; an empty dictionary is filled.
    """
    splits = sample.splits() if len(sample) >= MIN_IMAGES_FOR_ERROR else []
    values, *others = group([sample, *([] if baselines else [held_out]), *splits], real)
    if not baselines:
        baselines.update(others.pop(0))
    errors = {name: _standard_error([split[name] for split in others]) for name in values}
    return {name: Value(value, baselines.get(name), errors[name]) for name, value in values.items()}


def _standard_error(values: list[float]) -> float | None:
    """The standard error from the values of the splits; None without any, or if one is infinite."""
    return float(np.std(values, ddof=1)) / SPLITS**0.5 if values and np.isfinite(values).all() else None
