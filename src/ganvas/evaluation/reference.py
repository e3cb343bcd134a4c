"""The real images of an evaluation: training images to compare with, and held-out images for the baseline."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ganvas.data import DataOptions, ImageSet, open_images
from ganvas.data.selection import class_shares, open_test_split, size_of
from ganvas.errors import GanvasError


@dataclass(frozen=True)
class Reference:
    """Real training images and held-out images.

    Attributes:
        source: the training set as the user named it.
        images: the training set.
        rows: the rows of it to compare with, int64 ascending.
        held: the set with the held-out images: the test split, or the training set itself.
        held_rows: the held-out rows, int64 ascending; disjoint from `train_rows` in the same set.
        split: where the held-out images are from, in words.
    """

    source: str
    train: ImageSet
    train_rows: np.ndarray
    held_out: ImageSet
    held_out_rows: np.ndarray
    held_out_source: str

    @property
    def class_shares(self) -> np.ndarray | None:
        """The share of each class among the training images, float [classes]; None without labels."""
        return class_shares(self.train)

    def describe(self) -> dict[str, Any]:
        """Its entries in a protocol."""
        return {
            "data": self.train.name,
            "fingerprint": self.train.fingerprint,
            "count": len(self.train_rows),
            "held_out": self.held_out_source,
            "held_out_count": len(self.held_out_rows),
        }


def open_reference(options: DataOptions, count: int, *, held_out: str | None = None) -> Reference:
    """Opens real images, at most `count` of each kind, chosen with a fixed seed.

    The held-out images, resized to the training set's size, are those of `held_out` or of the source's test split. If
    there is none, the training set is split into two halves, and the generator may have trained on both.

    Raises:
        GanvasError: nothing usable at the source, or fewer than four images.
    """
    train = open_images(DataOptions(options.source, "train", options.resolution, options.channels, options.fit))
    test = _open_held_out(options, held_out, train)
    draw = np.random.default_rng(0)
    if test is not None:
        rows, held = _choose_rows(draw, np.arange(len(train)), count), _choose_rows(draw, np.arange(len(test)), count)
        return Reference(
            options.source, train, rows, test, held, f"{test.name}, {'given' if held_out else 'the test split'}"
        )
    if len(train) < 4:
        raise GanvasError(
            f"{train.name} has {len(train)} images.", expected="at least four to compare with, better thousands"
        )
    order = draw.permutation(len(train))
    first, second = order[: len(train) // 2], order[len(train) // 2 :]
    return Reference(
        options.source,
        train,
        _choose_rows(draw, first, count),
        train,
        _choose_rows(draw, second, count),
        "the other half of the training set",
    )


def _open_held_out(options: DataOptions, held_out: str | None, train: ImageSet) -> ImageSet | None:
    if held_out is None:
        return open_test_split(options, train)
    return open_images(DataOptions(held_out, "train", size_of(train), train.channels, options.fit))  # type: ignore[arg-type]


def _choose_rows(draw: np.random.Generator, rows: np.ndarray, count: int) -> np.ndarray:
    return np.sort(draw.permutation(rows)[:count])
