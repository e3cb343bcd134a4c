"""Reads tables of pixels in text, as Kaggle has MNIST and its like: a row for each image, with its label or without."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ganvas.data.arrays.stored import StoredArray, in_memory
from ganvas.data.arrays.table import ArrayTable, read_images
from ganvas.data.formats import emnist, pixel_column
from ganvas.data.formats.npz import find_beside
from ganvas.data.formats.number_table import NumberTable, choose_separator, open_text, read_numbers
from ganvas.data.labels.naming import role_of
from ganvas.data.source_types import ImageArrays, Source, file_stamp
from ganvas.errors import GanvasError

_LEAST_COLUMNS = 16  # that the first bytes must show
_LEAST_ROWS = 20  # whose numbers 0, 1, 2 … are no labels
_MOST_CLASSES = 256
_INDEX = re.compile(r"|id|index|level_0|unnamed: 0(\.\d+)?", re.IGNORECASE)  # pandas' own, and an empty name
_TEST_FIX = "leave --split out, or put the table beside it whose name has test in place of train."


def is_table(head: bytes) -> bool:
    """Whether the first bytes of a file are those of a table of many numbers, or of the names of many columns."""
    text = head.removeprefix(b"\xef\xbb\xbf")
    line = text.split(b"\n")[0]
    many = line.count(choose_separator(line.decode("latin-1")).encode()) >= _LEAST_COLUMNS
    return (many and re.fullmatch(rb"[\w\"'.:()#/\t ,;+-]+\r?", line) is not None) or pixel_column.is_table(text)


def source(path: Path, name: str, split: str, label_column: str | None = None) -> Source:
    """The source for a table; it is not read yet. `label_column` is as in `read_images`."""
    beside = find_beside(path, (".csv",))
    stamp = ["table", split, label_column, *(file_stamp(file) for file in (path, *beside))]

    def read_beside() -> list[StoredArray]:
        return [array for file in beside if _starts_as_table(file) for array in _read_arrays(file)[0]]

    def read() -> ImageArrays:
        own, notes = _read_arrays(path)
        found = read_images(ArrayTable(str(path), own, read_beside, _TEST_FIX), split, label_column)
        return emnist.add_note(replace(found, notes=(*notes, *found.notes)), path.name)

    return Source(name, "a table of pixels", stamp, read)


def _starts_as_table(path: Path) -> bool:
    with open_text(path) as file:
        return is_table(file.read(512).encode())


def _read_arrays(path: Path) -> tuple[list[StoredArray], list[str]]:
    """The images [n, pixels] of a table, its labels [n] if it has some, and notes.

    Raises:
        GanvasError: the table is damaged or too large, or it is unclear which column has the labels.
    """
    with open_text(path) as file:
        in_a_column = pixel_column.is_table(file.read(512).encode())
    if in_a_column:
        return pixel_column.read_arrays(path)
    table = read_numbers(path)
    labels, indices = _find_columns(path, table)
    aside = {*labels, *indices}
    pixels = [column for column in range(table.values.shape[1]) if column not in aside]
    contiguous = pixels and pixels == list(range(pixels[0], pixels[-1] + 1))
    images = table.values[:, pixels[0] : pixels[-1] + 1] if contiguous else table.values[:, pixels]

    def locate(index: Sequence[int]) -> str:
        return table.locate(index[0], pixels[index[1]])

    stored = replace(in_memory("pixels", path.name, str(path), images), locate=locate)
    arrays = [emnist.turn_upright(stored)]
    for column in labels:
        name = table.header[column] if table.header else "label"
        arrays.append(in_memory(name, path.name, f"{path}: its column of labels", table.values[:, column]))
    names = [table.header[column] if table.header else "" for column in indices]
    return arrays, [f"The column {name or 'without a name'} numbers the rows: not used." for name in names]


def _find_columns(path: Path, table: NumberTable) -> tuple[list[int], list[int]]:
    """The columns of labels, and those of the rows' numbers."""
    values = table.values
    columns = values.shape[1]
    if table.header:
        labels = [column for column, name in enumerate(table.header) if role_of(name) == "labels"]
        named = [column for column, name in enumerate(table.header) if _INDEX.fullmatch(name)]
        return labels, [column for column in named if len(np.unique(values[:, column])) == len(values)]
    if _is_square(columns):
        return [], []
    index = [0] if (_is_square(columns - 2) or _is_square(columns - 1)) and _counts(values[:, 0]) else []
    rest = columns - len(index)
    if _is_square(rest) or not _is_square(rest - 1):
        return [], index
    likely = [column for column in (len(index), columns - 1) if _are_classes(values[:, column])]
    if len(likely) != 1:
        raise GanvasError(
            f"{path} has {columns} columns without names, and it cannot be told which has the labels.",
            expected="a first line of names, such as label,pixel0,pixel1",
            fix="write such a first line.",
        )
    return likely, index


def _counts(values: np.ndarray) -> bool:
    """Whether numbers are 0, 1, 2 … or 1, 2, 3 …"""
    steps = np.arange(len(values)) + values[:1]
    return len(values) >= _LEAST_ROWS and values[0] in (0, 1) and bool((values == steps).all())


def _is_square(count: int) -> bool:
    """Whether so many numbers can be a square image of 1, 3 or 4 channels."""
    return any(round((count / channels) ** 0.5) ** 2 * channels == count for channels in (1, 3, 4))


def _are_classes(values: np.ndarray) -> bool:
    """Whether numbers can be labels: whole, several but few different ones, and few between them left out."""
    different = np.unique(values).astype(np.float64)
    whole = bool((different == np.rint(different)).all())
    return whole and 1 < len(different) <= _MOST_CLASSES and different[-1] - different[0] < 2 * len(different)
