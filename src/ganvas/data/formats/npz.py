"""Reads .npy and .npz files, with the files of their labels and of their other splits beside them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ganvas.data.arrays.stored import StoredArray, read_headers
from ganvas.data.arrays.table import ArrayTable, read_images
from ganvas.data.labels.naming import SUBJECTS, is_perhaps_images, role_of, split_of, stem
from ganvas.data.source_types import ImageArrays, Source, file_stamp


def source(path: Path, name: str, split: str, label_column: str | None = None) -> Source:
    """The source for a .npy or .npz file; no array is read yet. `label_column` is as in `read_images`."""
    beside = find_beside(path, (".npy", ".npz"))
    unpaired = find_unpaired(path, (".npy", ".npz"), beside)
    stamp = ["npz", split, label_column, unpaired, *(file_stamp(file) for file in (path, *beside))]

    def read_beside() -> list[StoredArray]:
        return [array for file in beside for array in read_headers(file)]

    def read() -> ImageArrays:
        found = read_images(ArrayTable(str(path), read_headers(path), read_beside), split, label_column)
        if found.labels is not None or not unpaired:
            return found
        note = f"{unpaired[0]} beside it is not used: for its labels, call it {path.stem}-labels{path.suffix}."
        return replace(found, notes=(*found.notes, note))

    return Source(name, f"a {path.suffix.lower() or '.npy'} file", stamp, read)


def find_unpaired(path: Path, suffixes: Sequence[str], beside: Sequence[Path]) -> list[str]:
    """The files of labels whose names say nothing else, and so not that they belong to this file: `labels.npy`."""
    return [
        file.name
        for file in sorted(path.parent.iterdir())
        if file not in (path, *beside)
        and file.suffix.lower() in suffixes
        and role_of(file.stem) == "labels"
        and not stem(file.stem)
        and file.is_file()
    ]


def find_beside(path: Path, suffixes: Sequence[str]) -> list[Path]:
    """The files of the same data set: their names differ only in the split, or in saying images or labels.

    `y_train.npy`, `x_test.npy` and `y_test.npy` beside `x_train.npy`; only `faces-labels.npy` beside `faces.npy`.
    """
    says = role_of(path.stem) or split_of(path.stem) or is_perhaps_images(path.stem)
    own, found = stem(path.stem), []
    for file in sorted(path.parent.iterdir()):
        if file == path or file.suffix.lower() not in suffixes or not file.is_file():
            continue
        theirs, labels = stem(file.stem), role_of(file.stem) == "labels"
        plain = labels and not theirs and SUBJECTS.issuperset(own)  # `labels.npy` beside `faces.npy`
        if plain or (theirs == own and (labels or (says and split_of(file.stem)))):
            found.append(file)
    return found
