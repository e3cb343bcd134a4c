"""The embedded set: scikit-learn's 1,797 handwritten digits, 8x8 grey, no download."""

from collections.abc import Iterator

import numpy as np

from ganvas.data.forms import Arrays, Source

_TRAIN = 1400
_SPLIT_SEED = 1797  # fixed for good: which digits are held out is part of every published number


def source(split: str) -> Source:
    """1,400 digits to train on, or the other 397."""
    return Source("digits", "scikit-learn's digits", ["digits", split], lambda: _read(split), in_memory=True)


def _read(split: str) -> Arrays:
    from sklearn.datasets import load_digits

    values, targets = load_digits(return_X_y=True)
    order = np.random.RandomState(_SPLIT_SEED).permutation(len(targets))  # a generator that numpy keeps frozen
    chosen = order[:_TRAIN] if split == "train" else order[_TRAIN:]
    pixels = np.rint(np.asarray(values)[chosen] * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    labels = np.asarray(targets)[chosen].astype(np.int64)

    def blocks() -> Iterator[np.ndarray]:
        yield pixels

    return Arrays(len(chosen), (1, 8, 8), blocks, labels, tuple(map(str, range(10))))
