"""Reads MATLAB's .mat files up to version 7, SVHN's among them, with those of the other splits beside them."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ganvas.data.arrays.stored import StoredArray, in_memory
from ganvas.data.arrays.table import ArrayTable, read_images
from ganvas.data.formats import emnist
from ganvas.data.formats.archive import refuse_bomb
from ganvas.data.formats.npz import find_beside
from ganvas.data.source_types import ImageArrays, Source, file_stamp
from ganvas.errors import GanvasError

_MAX_BYTES = 2**32  # of all variables of a file, which scipy reads into memory
_SVHN = (32, 32, 3)
_BYTES = {"double": 8, "single": 4, "int64": 8, "uint64": 8, "int32": 4, "uint32": 4, "int16": 2, "uint16": 2}


def is_matlab(head: bytes) -> bool:
    """Whether the first bytes of a file are those of a .mat file of version 5 to 7.3."""
    return head.startswith(b"MATLAB ")


def source(path: Path, name: str, split: str, label_column: str | None = None) -> Source:
    """The source for a .mat file; it is not read yet. `label_column` is as in `read_images`."""
    beside = find_beside(path, (".mat",))
    stamp = ["mat", split, label_column, *(file_stamp(file) for file in (path, *beside))]

    def read_beside() -> list[StoredArray]:
        return [array for file in beside for array in _read_variables(file)]

    def read() -> ImageArrays:
        fix = "leave --split out, or put the file beside it whose name has test in place of train."
        own = _read_variables(path)
        found = read_images(ArrayTable(str(path), own, read_beside, fix), split, label_column)
        return emnist.add_note(_name_digits(found, path) if _is_svhn(own) else found, path.name)

    return Source(name, "a .mat file", stamp, read)


def _is_svhn(arrays: list[StoredArray]) -> bool:
    """Whether a file has just the two variables of SVHN's cropped digits."""
    shapes = {array.name: array.shape for array in arrays}
    return shapes.keys() == {"X", "y"} and shapes["X"][:3] == _SVHN


def _name_digits(found: ImageArrays, path: Path) -> ImageArrays:
    """The classes 1 to 10 as the digits that they are: SVHN gives 0 the label 10."""
    if found.labels is None or found.class_names != tuple(map(str, range(1, 11))):
        return found
    notes = (note for note in found.notes if "begins at 1" not in note)
    note = f"{path.name}: the label 10 is the digit 0, as in SVHN."
    digits = (found.labels + 1) % 10
    return replace(found, labels=digits, class_names=tuple(map(str, range(10))), notes=(*notes, note))


def _read_variables(path: Path) -> list[StoredArray]:
    """The variables that are arrays, those inside of structures too, as `dataset_train_images`.

    Raises:
        GanvasError: it is of version 7.3, damaged, or too large for the memory.
    """
    import scipy.io

    with _report_damage(path):
        listing = scipy.io.whosmat(str(path))
        size = sum(math.prod(shape) * _BYTES.get(kind, 1) for _, shape, kind in listing)
        refuse_bomb(path, "its variables", path.stat().st_size, size)
        if size > _MAX_BYTES:
            raise GanvasError(
                f"{path} has variables of {size / 2**30:.1f} GiB, which would have to be in memory at once.",
                expected=f"at most {_MAX_BYTES / 2**30:.0f} GiB",
                fix="save the images with numpy.save: a .npy need not fit into memory.",
            )
        variables = scipy.io.loadmat(str(path), simplify_cells=True)
    arrays = [(name, values) for name, values in _flatten("", variables) if values.ndim]
    return [emnist.turn_upright(in_memory(name, path.name, f"{path}: {name}", values)) for name, values in arrays]


def _flatten(prefix: str, values: dict[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    for name, value in values.items():
        if name.startswith("__"):
            continue
        if isinstance(value, dict):
            yield from _flatten(f"{prefix}{name}_", value)
        elif isinstance(value, np.ndarray):
            yield prefix + name, value


@contextmanager
def _report_damage(path: Path) -> Iterator[None]:
    try:
        yield
    except GanvasError:
        raise
    except NotImplementedError as error:
        raise GanvasError(
            f"{path} is a .mat file of version 7.3, which is HDF5.",
            expected="a .mat file of version 5 to 7",
            fix="save it in MATLAB with save('x.mat', 'X', 'y', '-v7'), or in Python as an .npz: "
            "h5py.File('x.mat')['X'] has the array, with its axes reversed.",
        ) from error
    except Exception as error:  # a damaged file may fail in any way
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise GanvasError(
            f"{path} cannot be read: {reason}.", expected="a complete .mat file", fix="download it again."
        ) from error
