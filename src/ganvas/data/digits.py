"""The built-in data set: scikit-learn's 1,797 handwritten digits, 8x8 grey, no download."""

from importlib.metadata import distribution

import numpy as np

from ganvas.data.source_types import ImageArrays, Source

_TRAIN_COUNT = 1400
_HELD_OUT_SEED = 1797  # never change it: every published value depends on which digits are held out


def source(split: str) -> Source:
    """The source of 1,400 training digits, or of the other 397 for the test split."""
    return Source("digits", "scikit-learn's digits", ["digits", split], lambda: _read(split), in_memory=True)


def _read(split: str) -> ImageArrays:
    # the file that sklearn.datasets.load_digits reads; importing scikit-learn would take a second
    path = distribution("scikit-learn").locate_file("sklearn/datasets/data/digits.csv.gz")
    table = np.loadtxt(str(path), np.uint8, delimiter=",")  # 64 pixels in 0..16, and the digit
    order = np.random.RandomState(_HELD_OUT_SEED).permutation(len(table))  # a generator whose stream numpy guarantees
    chosen = table[order[:_TRAIN_COUNT] if split == "train" else order[_TRAIN_COUNT:]]
    pixels = np.rint(chosen[:, :64] * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    labels = chosen[:, 64].astype(np.int64)
    return ImageArrays(len(chosen), (1, 8, 8), lambda: iter([pixels]), labels, tuple(map(str, range(10))))
