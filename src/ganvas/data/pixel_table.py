"""Reads tables of pixels in text, as Kaggle has MNIST and its like: a row for each image, with its label or without."""

import gzip
import re
import zlib
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import TextIO, cast

import numpy as np

from ganvas.data import emnist
from ganvas.data.arrays import find_beside
from ganvas.data.naming import role_of
from ganvas.data.source_types import ImageArrays, Source, file_stamp
from ganvas.data.stored import StoredArray, in_memory
from ganvas.data.table import ArrayTable, read_images
from ganvas.errors import GanvasError

_LEAST_COLUMNS = 16  # that the first bytes must show
_LINES = 2000  # read at a time
_MAX_LINE = 2**22
_MAX_BYTES = 2**30  # of all numbers in memory
_MOST_CLASSES = 256
_INDEX = ("", "id", "index", "unnamed: 0")
_TEST_FIX = "leave --split out, or put the table beside it whose name has test in place of train."


def is_table(head: bytes) -> bool:
    """Whether the first bytes of a file are those of a table of many numbers, or of the names of many columns."""
    line = head.removeprefix(b"\xef\xbb\xbf").split(b"\n")[0]
    return re.fullmatch(rb"[\w\"'. ,+-]+\r?", line) is not None and line.count(b",") >= _LEAST_COLUMNS


def source(path: Path, name: str, split: str) -> Source:
    """The source for a table; it is not read yet."""
    beside = find_beside(path, (".csv",))
    stamp = ["table", split, *(file_stamp(file) for file in (path, *beside))]

    def read_beside() -> list[StoredArray]:
        return [array for file in beside if _starts_as_table(file) for array in _read_arrays(file)]

    def read() -> ImageArrays:
        found = read_images(ArrayTable(str(path), _read_arrays(path), read_beside, _TEST_FIX), split)
        return emnist.add_note(found, path.name)

    return Source(name, "a table of pixels", stamp, read)


def _starts_as_table(path: Path) -> bool:
    with _open_text(path) as file:
        return is_table(file.read(512).encode())


def _read_arrays(path: Path) -> list[StoredArray]:
    """The images [n, pixels] of a table, and its labels [n] if it has some.

    Raises:
        GanvasError: the table is damaged or too large, or it is unclear which column has the labels.
    """
    header, values = _read_numbers(path)
    label, index = _find_columns(path, header, values)
    pixels = [column for column in range(values.shape[1]) if column not in (label, index)]
    contiguous = pixels and pixels == list(range(pixels[0], pixels[-1] + 1))
    images = values[:, pixels[0] : pixels[-1] + 1] if contiguous else values[:, pixels]
    arrays = [emnist.turn_upright(in_memory("pixels", path.name, str(path), images))]
    if label is not None:
        arrays.append(in_memory("label", path.name, f"{path}: its column of labels", values[:, label]))
    return arrays


def _find_columns(path: Path, header: list[str], values: np.ndarray) -> tuple[int | None, int | None]:
    """The columns of the labels and of the rows' numbers; None where there is none."""
    columns = values.shape[1]
    if header:
        labels = [column for column, name in enumerate(header) if role_of(name) == "labels"]
        indices = [column for column, name in enumerate(header) if name.lower() in _INDEX]
        return next(iter(labels), None), next(iter(indices), None)
    if _is_square(columns) or not _is_square(columns - 1):
        return None, None
    likely = [column for column in (0, columns - 1) if _are_classes(values[:, column])]
    if len(likely) != 1:
        raise GanvasError(
            f"{path} has {columns} columns without names, and it cannot be told which has the labels.",
            expected="a first line of names, such as label,pixel0,pixel1",
            fix="write such a first line.",
        )
    return likely[0], None


def _is_square(count: int) -> bool:
    """Whether so many numbers can be a square image of 1, 3 or 4 channels."""
    return any(round((count / channels) ** 0.5) ** 2 * channels == count for channels in (1, 3, 4))


def _are_classes(values: np.ndarray) -> bool:
    """Whether numbers can be labels: whole, several but few different ones, and few between them left out."""
    different = np.unique(values).astype(np.float64)
    whole = bool((different == np.rint(different)).all())
    return whole and 1 < len(different) <= _MOST_CLASSES and different[-1] - different[0] < 2 * len(different)


def _read_numbers(path: Path) -> tuple[list[str], np.ndarray]:
    """The names of the columns, if the first line has names, and the numbers: uint8 where they all fit, or float32."""
    blocks: list[np.ndarray] = []
    with _open_text(path) as file:
        lines = iter(lambda: file.readline(_MAX_LINE), "")
        first = next(lines, "")
        fields = [field.strip(" \"'\r\n") for field in first.split(",")]
        header = fields if not all(re.fullmatch(r"[\d.eE+-]*", field) for field in fields) else []
        rows = lines if header else chain([first], lines)
        for number, batch in enumerate(_batches(path, rows)):
            start = number * _LINES + 1 + bool(header)
            block = _parse(path, batch, len(fields), f"lines {start} to {start + len(batch) - 1}")
            blocks.append(block)
            if sum(one.nbytes for one in blocks) > _MAX_BYTES:
                raise GanvasError(
                    f"{path} has more numbers than 1 GiB of memory holds.",
                    expected="a smaller table",
                    fix="save the numbers with numpy.save: a .npy need not fit into memory.",
                )
    return header, np.concatenate(blocks) if blocks else np.empty((0, len(fields)), np.uint8)


def _open_text(path: Path) -> TextIO:
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    opener = gzip.open if packed else open
    return cast(TextIO, opener(path, "rt", encoding="utf-8-sig", errors="replace"))


def _batches(path: Path, lines: Iterator[str]) -> Iterator[list[str]]:
    try:
        while batch := list(islice(lines, _LINES)):
            yield batch
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise GanvasError(f"{path} is damaged: {error}.", fix="download it again.") from error


def _parse(path: Path, lines: list[str], columns: int, where: str) -> np.ndarray:
    """Lines of numbers -> uint8 or float32 [m, columns]."""
    filled = [line for line in lines if line.strip()]
    if not filled:
        return np.empty((0, columns), np.uint8)
    reason, block = "", np.empty((0, 0), np.float32)
    try:
        block = np.loadtxt(filled, np.float32, delimiter=",", quotechar='"', ndmin=2)
    except ValueError as error:
        reason = re.sub(r" at row \d+|;.*", "", str(error)).rstrip(".")
    if reason or block.shape[1] != columns:
        raise GanvasError(
            f"{path}, {where}: {reason or f'{block.shape[1]} numbers in a line'}.",
            expected=f"{columns} numbers in every line, as many as the first has",
            fix="download or write it again.",
        )
    small = block.astype(np.uint8) if block.min() >= 0 and block.max() <= 255 else block
    return small if (small == block).all() else block
