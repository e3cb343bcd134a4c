"""The real images of an evaluation: training images to compare with, and held-out images for the baseline."""

from dataclasses import dataclass, replace
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
        train: the training set.
        train_rows: the rows of it to compare with, int64 ascending.
        held_out: the set with the held-out images: the test split, or the training set itself.
        held_out_rows: the held-out rows, int64 ascending; disjoint from `train_rows` in the same set.
        held_out_source: where the held-out images are from, in words.
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
    train = open_images(replace(options, split="train"))
    if held_out is None:
        test = open_test_split(options, train)
    else:
        test = open_images(DataOptions(held_out, "train", size_of(train), train.channels, options.fit))  # type: ignore[arg-type]
    draw = np.random.default_rng(0)
    if test is not None:
        candidates = [np.arange(len(train)), np.arange(len(test))]
        held_out_source = f"{test.name}, {'given' if held_out else 'the test split'}"
    elif len(train) >= 4:
        candidates = np.split(draw.permutation(len(train)), [len(train) // 2])
        held_out_source = "the other half of the training set"
    else:
        raise GanvasError(
            f"{train.name} has {len(train)} images.", expected="at least four to compare with, better thousands"
        )
    rows, held_out_rows = (np.sort(draw.permutation(each)[:count]) for each in candidates)
    return Reference(options.source, train, rows, train if test is None else test, held_out_rows, held_out_source)
