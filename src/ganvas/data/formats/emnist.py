"""EMNIST stores its images transposed, as MATLAB does: they are turned upright, by the name of the file."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from ganvas.data.arrays.stored import StoredArray
from ganvas.data.labels.naming import words
from ganvas.data.source_types import ImageArrays

_SIDE = 28


def turn_upright(array: StoredArray) -> StoredArray:
    """The images [n 28 28] of a file of EMNIST, from [n 28 28] or [n 784]; any other array as it is."""
    if not _is_emnist(array.file) or array.shape[1:] not in ((_SIDE, _SIDE), (_SIDE * _SIDE,)):
        return array

    def turn(block: np.ndarray) -> np.ndarray:
        return block.reshape(-1, _SIDE, _SIDE).transpose(0, 2, 1)

    def stream() -> Iterator[np.ndarray]:
        return map(turn, array.stream())

    def locate(index: Sequence[int]) -> str:
        row, down, across = index
        return array.locate((row, across * _SIDE + down) if len(array.shape) == 2 else (row, across, down))

    shape = (*array.shape[:1], _SIDE, _SIDE)
    return replace(array, shape=shape, stream=stream, whole=lambda: turn(array.whole()), locate=locate)


def add_note(found: ImageArrays, file: str) -> ImageArrays:
    """Says so, for a file of EMNIST."""
    if not _is_emnist(file):
        return found
    note = "EMNIST stores its images transposed: they are turned upright."
    return replace(found, notes=(*found.notes, note))


def _is_emnist(file: str) -> bool:
    return "emnist" in words(file)
