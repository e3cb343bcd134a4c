"""The classifier that counts generated classes: trained on the data, or for StackedMNIST on the single digits."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ganvas.data import DataOptions, open_images
from ganvas.data.selection import open_test_split, size_of
from ganvas.data.stacked import NAME as STACKED
from ganvas.evaluation.reference import Reference
from ganvas.features.classifier import classifier_extractor
from ganvas.features.extraction import Extractor


def counting_classifier(real: Reference, *, progress: bool = False) -> Extractor | None:
    """An extractor with probabilities of the data's classes, or [n 3 10] of StackedMNIST's digits; None if unlabelled.

    Raises:
        GanvasError: the stacked digits are no longer available.
    """
    if real.train.classes < 2:
        return None
    if real.train.metadata.get("format") == STACKED:
        return _per_channel(_digit_classifier(real, progress))
    return reference_classifier(real, progress=progress)


def reference_classifier(real: Reference, *, progress: bool = False) -> Extractor:
    """The classifier of the training set, with its accuracy on the held-out images.

    Raises:
        GanvasError: the set has no classes.
    """
    return classifier_extractor(real.train, None if real.held_out is real.train else real.held_out, progress=progress)


def _digit_classifier(real: Reference, progress: bool) -> Extractor:
    source = real.source.removeprefix(STACKED).removeprefix(":") or "mnist"
    options = DataOptions(source, "train", size_of(real.train), 1)
    train = open_images(options)
    return classifier_extractor(train, open_test_split(options, train), progress=progress)


def _per_channel(one: Extractor) -> Extractor:
    """Applies an extractor to each of three channels: features [n 3f], probabilities [n 3 k]."""

    def extract(images: Tensor) -> Tensor:
        return torch.cat([one.extract(channel) for channel in images.split(1, dim=1)], dim=1)

    def probabilities(features: np.ndarray) -> np.ndarray:
        assert one.predict_probabilities is not None
        return np.stack([one.predict_probabilities(part) for part in np.split(features, 3, axis=1)], axis=1)

    return replace(one, name="classifier of each channel", extract=extract, predict_probabilities=probabilities)
