"""The embedded set: scikit-learn's 1,797 handwritten digits, 8x8 grey, no download."""

from collections.abc import Iterator
from importlib.metadata import distribution

import numpy as np

from ganvas.data.forms import Arrays, Source

_TRAIN = 1400
_SPLIT_SEED = 1797  # fixed for good: which digits are held out is part of every published number


def source(split: str) -> Source:
    """1,400 digits to train on, or the other 397."""
    return Source("digits", "scikit-learn's digits", ["digits", split], lambda: _read(split), in_memory=True)


def _read(split: str) -> Arrays:
    # what sklearn.datasets.load_digits reads, without a second for the import of scikit-learn
    path = distribution("scikit-learn").locate_file("sklearn/datasets/data/digits.csv.gz")
    table = np.loadtxt(str(path), np.uint8, delimiter=",")  # 64 pixels in 0..16, and the digit
    order = np.random.RandomState(_SPLIT_SEED).permutation(len(table))  # a generator that numpy keeps frozen
    chosen = table[order[:_TRAIN] if split == "train" else order[_TRAIN:]]
    pixels = np.rint(chosen[:, :64] * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    labels = chosen[:, 64].astype(np.int64)

    def blocks() -> Iterator[np.ndarray]:
        yield pixels

    return Arrays(len(chosen), (1, 8, 8), blocks, labels, tuple(map(str, range(10))))
