"""The real images' features and baselines, which an evaluation compares with.

None of it depends on what is evaluated: a comparison computes it once for all its runs.
"""

import os
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from torch import nn

from ganvas.data import DataOptions
from ganvas.data.selection import subsample
from ganvas.data.stacked import NAME as STACKED
from ganvas.evaluation.counting import counting_classifier, reference_classifier
from ganvas.evaluation.measure_groups import ImageSample
from ganvas.evaluation.memorisation import TrainingFeatures
from ganvas.evaluation.near_copies import TrainingPixels
from ganvas.evaluation.reference import Reference, open_reference
from ganvas.features import extractors
from ganvas.features.extraction import Extractor, extract_set_features
from ganvas.values import expand_user, real_path

MAX_PIXEL_IMAGES = 2000
"""Images of each sample whose pixels are compared, and not only their features."""

T = TypeVar("T")


class Memo:
    """Values in memory by their keys, each computed at its first use."""

    def __init__(self) -> None:
        self._values: dict[Hashable, Any] = {}

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of a key, computed by `make` the first time."""
        if key not in self._values:
            self._values[key] = make()
        return self._values[key]


@dataclass(frozen=True, eq=False)
class ReferenceFeatures:
    """What evaluated images are compared with.

    Attributes:
        extractor: gives the features.
        classifier: counts the classes; None without classes.
        train: training images.
        held_out: held-out images, which give the baselines.
        training_features: all training images, for the memorisation test; None without it.
        training_pixels: likewise; None also if fewer than three training images differ.
        baselines: of each group of measures, by its index; filled by the first evaluation.
    """

    extractor: Extractor
    classifier: Extractor | None
    train: ImageSample
    held_out: ImageSample
    training_features: TrainingFeatures | None
    training_pixels: TrainingPixels | None
    baselines: dict[int, dict[str, float]] = field(default_factory=dict)

    def prepare(self) -> None:
        """Computes most of what the first evaluation would compute."""
        _ = self.train.moments, self.train.neighbour_distances, self.held_out.neighbour_distances
        if self.training_features is not None:
            _ = self.training_features.held_out_distances, self.training_features.cells


def open_reference_once(options: DataOptions, count: int, memo: Memo, held_out: str | None = None) -> Reference:
    """`open_reference`, opened once."""
    key = "reference", identify(options), count, held_out
    return memo.get(key, lambda: open_reference(options, count, held_out=held_out))


def identify(options: DataOptions) -> tuple[DataOptions, str]:
    """Equal for options that open the same set: by a relative path or an absolute one."""
    path, same = expand_user(options.source), options
    if not options.source.startswith(("hf:", f"{STACKED}:")) and os.path.exists(path):
        same = replace(options, source=str(real_path(path)))
    return same, path.name  # a set has the name of its file, also where that is a link


def counting_classifier_once(real: Reference, memo: Memo, progress: bool = False) -> Extractor | None:
    """`counting_classifier`, trained or loaded once."""
    return memo.get(("counter", id(real)), lambda: counting_classifier(real, progress=progress))


def extract_reference(
    real: Reference,
    n: int,
    extractor: str | nn.Module | Extractor,
    weights: Path | str | None,
    device: str,
    memo: Memo,
    *,
    quick: bool = False,
    progress: bool = False,
) -> ReferenceFeatures:
    """Features for n evaluated images; `real` must come from the same memo. The rest as in `ganvas.evaluate`."""
    named = extractor if isinstance(extractor, str) else id(extractor)
    file = None if weights is None else Path(weights)  # of a setting it is text

    def make() -> ReferenceFeatures:
        seen = _choose_extractor(extractor, file, real, device, progress)
        stacked = real.train.metadata.get("format") == STACKED  # its digits are counted one by one
        counts = seen.name == "classifier" and not seen.spec and not stacked
        counting = seen if counts else counting_classifier_once(real, memo, progress)
        held = subsample(real.held_out_rows, n)
        rival = make_sample(
            lambda by: extract_set_features(real.held_out, held, by, progress=progress),
            real.held_out.images[subsample(held, MAX_PIXEL_IMAGES)],
            seen,
            counting,
        )
        rows = real.train_rows if quick else np.arange(len(real.train))  # the memorisation test needs every one
        matrix = extract_set_features(real.train, rows, seen, progress=progress)
        known = ImageSample(
            matrix if quick else matrix[real.train_rows],
            real.train.images[subsample(real.train_rows, min(n, MAX_PIXEL_IMAGES))],
        )
        if quick:
            return ReferenceFeatures(seen, counting, known, rival, None, None)
        features = TrainingFeatures(matrix, None if real.held_out is real.train else rival.features)
        pixels = TrainingPixels.from_images(real.train.images)
        return ReferenceFeatures(seen, counting, known, rival, features, pixels)

    return memo.get(("side", id(real), n, named, file, device, quick), make)


def make_sample(
    matrix: Callable[[Extractor], np.ndarray], pixels: np.ndarray, seen: Extractor, counting: Extractor | None
) -> ImageSample:
    """A sample with features and class probabilities; `matrix` computes an extractor's features, float32 [n f]."""
    found = matrix(seen)
    if counting is None or counting.predict_probabilities is None:
        return ImageSample(found, pixels)
    return ImageSample(found, pixels, counting.predict_probabilities(found if counting is seen else matrix(counting)))


def _choose_extractor(
    extractor: str | nn.Module | Extractor, weights: Path | None, real: Reference, device: str, progress: bool
) -> Extractor:
    if isinstance(extractor, Extractor):
        return extractor
    if isinstance(extractor, nn.Module):
        return extractors.module_extractor(extractor, device=device)
    if extractor == "classifier" and weights is None:
        return reference_classifier(real, progress=progress)
    return extractors.load_extractor(extractor, weights=weights, device=device)
