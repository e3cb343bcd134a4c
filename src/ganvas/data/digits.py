"""The built-in data sets of handwritten digits: 1,797 of 8x8 pixels and 12,000 of 28x28; grey, no download."""

import io
import lzma
from functools import cache
from importlib import resources
from importlib.metadata import distribution

import numpy as np

from ganvas.data.options import Split
from ganvas.data.source_types import ImageArrays, Source

_TRAIN_COUNT = 1400
_HELD_OUT_SEED = 1797  # never change it: every published value depends on which digits are held out

DIGITS28 = resources.files("ganvas.data").joinpath("digits28.npz.xz")
"""Digits of MNIST (DIGITS28.md), by tools/make_digits28.py."""

DIGITS28_PER_CLASS: dict[Split, int] = {"train": 1000, "test": 200}


def source(name: str, split: str) -> Source:
    """The source of one split of the built-in set with this name, of `NAMES`."""
    title, read = _SETS[name]
    return Source(name, title, [name, split], lambda: read(split), in_memory=True)


def _read_8x8(split: str) -> ImageArrays:
    table = _table_8x8()
    order = np.random.RandomState(_HELD_OUT_SEED).permutation(len(table))  # a generator whose stream numpy guarantees
    chosen = table[order[:_TRAIN_COUNT] if split == "train" else order[_TRAIN_COUNT:]]
    return _digits(np.rint(chosen[:, :64] * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8), chosen[:, 64])


def _read_28x28(split: str) -> ImageArrays:
    with np.load(io.BytesIO(_npz_28x28())) as arrays:
        return _digits(arrays[f"{split}_images"], arrays[f"{split}_labels"])


@cache
def _table_8x8() -> np.ndarray:
    """uint8 [1797 65]: 64 pixels in 0..16, and the digit; read once, for both splits."""
    # the file that sklearn.datasets.load_digits reads; importing scikit-learn would take a second
    path = distribution("scikit-learn").locate_file("sklearn/datasets/data/digits.csv.gz")
    return np.loadtxt(str(path), np.uint8, delimiter=",")


@cache
def _npz_28x28() -> bytes:
    """9 MB, which take a tenth of a second to decompress: once, for both splits."""
    return lzma.decompress(DIGITS28.read_bytes())


def _digits(images: np.ndarray, labels: np.ndarray) -> ImageArrays:
    """Images uint8 [n 1 h w] and their digits as a source's content."""
    _, *shape = images.shape
    names = tuple(map(str, range(10)))
    return ImageArrays(len(images), (1, *shape[1:]), lambda: iter([images]), labels.astype(np.int64), names)


_SETS = {
    "digits": ("scikit-learn's digits", _read_8x8),
    "digits28": ("12,000 of MNIST's digits", _read_28x28),
}
NAMES = tuple(_SETS)
"""The built-in sets: of each, digits has 1,400 training images and 397 others, digits28 has 10,000 and 2,000."""
