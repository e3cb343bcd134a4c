"""Parts of a set of images: batches for a forward pass, subsamples, the shares of its classes, its test split."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ganvas.data.imageset import ImageSet
from ganvas.data.options import DataOptions
from ganvas.data.source_types import NoSplit
from ganvas.data.sources import open_images

PIXELS_PER_PASS, MIN_IMAGES_PER_PASS = 2**15, 8
"""Approximate pixels and least images in a forward pass. With 32 images of 32×32 the eye fits into a CPU's cache."""

_GOLDEN = (5**0.5 - 1) / 2


def iterate_batches(images: np.ndarray, rows: np.ndarray, most: int | None = None) -> Iterator[Tensor]:
    """Yields rows of uint8 [n c h w] in batches for a forward pass, of at most `most` images if given."""
    step = max(MIN_IMAGES_PER_PASS, PIXELS_PER_PASS // (images.shape[2] * images.shape[3]))
    step = min(step, most or step)
    for start in range(0, len(rows), step):
        yield torch.from_numpy(images[rows[start : start + step]])


def subsample(rows: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of the rows, evenly spaced: sets are often sorted by class, or by the writer of the digits."""
    return rows if len(rows) <= count else rows[np.linspace(0, len(rows) - 1, count).round().astype(int)]


def class_shares(images: ImageSet) -> np.ndarray | None:
    """The share of each class among the images, float [classes]; None without labels."""
    if images.labels is None:
        return None
    return np.bincount(images.labels, minlength=images.classes) / len(images)


def assign_classes(seeds: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Assigns a class to each seed, int64 [n], so that any range of seeds has nearly these shares, [classes]."""
    places = (seeds + 0.5) * _GOLDEN % 1.0  # evenly spread over [0, 1): multiples of the golden ratio are
    return np.searchsorted(shares.cumsum(), places).clip(max=len(shares) - 1)


def number_as(images: ImageSet, others: ImageSet) -> np.ndarray:
    """The labels of images as another set numbers its classes, int64 [n]; -1 where it has no class of that name.

    Without labels, all are -1.
    """
    if images.labels is None:
        return np.full(len(images), -1)
    number = {name: i for i, name in enumerate(others.class_names)}
    return np.array([number.get(name, -1) for name in images.class_names], np.int64)[images.labels]


def open_test_split(options: DataOptions, train: ImageSet) -> ImageSet | None:
    """Opens the source's test split, resized to the training set's size; None if it has no other images.

    Raises:
        GanvasError: it cannot be read.
    """
    try:
        test = open_images(
            replace(options, split="test", resolution=size_of(train), channels=train.channels)  # type: ignore[arg-type]
        )
    except NoSplit:
        return None
    return test if test.fingerprint != train.fingerprint else None


def size_of(images: ImageSet) -> str:
    """The resolution as text, HEIGHTxWIDTH."""
    return "x".join(map(str, images.resolution))
