"""Reads the numbers of a table in text, whatever separates them; what is no number is refused with line and column."""

import csv
import gzip
import math
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TextIO, cast

import numpy as np

from ganvas.errors import GanvasError, describe_value

SEPARATORS = ",;\t"

_LINES = 2000  # read at a time
_MAX_LINE = 2**22
_MAX_BYTES = 2**30  # of all numbers in memory
_REWRITE = "download or write it again."
_NUMBER = re.compile(r"[\d.,eE+-]*|nan|[+-]?inf", re.IGNORECASE)


@dataclass(frozen=True)
class NumberTable:
    """The numbers of a table in text."""

    header: list[str]
    """The names of the columns; empty where the first line has none."""
    values: np.ndarray
    """[rows columns], uint8 where all fit, or float32."""
    lines: list[int]
    """The number of the line of each row, from 1 on."""

    def locate(self, row: int, column: int) -> str:
        """`line 9, column 34 (pixel33)`."""
        return f"line {self.lines[row]}, {name_column(self.header, column)}"


def name_column(header: Sequence[str], column: int) -> str:
    """`column 34 (pixel33)`, for messages."""
    name = header[column] if column < len(header) else ""
    return f"column {column + 1}" + (f" ({name[:40]})" if name else "")


def choose_separator(line: str) -> str:
    """The most frequent separator of a line; where that is the semicolon, a comma is a decimal point."""
    return max(SEPARATORS, key=line.count)


def open_text(path: Path) -> TextIO:
    """Opens a text, gzipped or not."""
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    opener = gzip.open if packed else open
    return cast(TextIO, opener(path, "rt", encoding="utf-8-sig", errors="replace", newline=""))


def read_lines(path: Path, file: TextIO) -> Iterator[tuple[int, str]]:
    """Yields (number, line) of the lines that are not blank, from 1 on.

    Raises:
        GanvasError: the text is damaged.
    """
    try:
        for number, line in enumerate(iter(lambda: file.readline(_MAX_LINE), ""), 1):
            if line.strip():
                yield number, line
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise GanvasError(f"{path} is damaged: {error}.", fix="download it again.") from error


def read_numbers(path: Path) -> NumberTable:
    """The table of a file.

    Raises:
        GanvasError: the text is damaged or too large, or a cell of it is no number.
    """
    with open_text(path) as file:
        lines = read_lines(path, file)
        first = next(lines, (1, ""))
        separator = choose_separator(first[1])
        header = split_cells(first[1], separator)
        if _counts(header):
            header = []
        elif all(_NUMBER.fullmatch(cell) for cell in header):
            header, lines = [], chain([first], lines)
        second = next(lines, None)
        columns = len(split_cells(second[1], separator)) if second else len(header)
        if columns == len(header) + 1 and header:  # the rows' numbers have no name
            header = ["", *header]
        rows = chain([second] if second else [], lines)
        return parse_numbers(path, rows, header, columns, separator)


def parse_numbers(
    path: Path, rows: Iterator[tuple[int, str]], header: list[str], columns: int, separator: str | None
) -> NumberTable:
    """The numbers of lines, each with its number in the file.

    Args:
        separator: None for spaces.

    Raises:
        GanvasError: there are too many, or a cell is no number.
    """
    blocks: list[np.ndarray] = []
    numbers: list[int] = []
    while batch := list(islice(rows, _LINES)):
        blocks.append(_parse(path, batch, header, columns, separator))
        numbers += (number for number, _ in batch)
        if sum(one.nbytes for one in blocks) > _MAX_BYTES:
            raise GanvasError(
                f"{path} has more numbers than 1 GiB of memory holds.",
                expected="a smaller table",
                fix="save the numbers with numpy.save: a .npy need not fit into memory.",
            )
    values = np.concatenate(blocks) if blocks else np.empty((0, columns), np.uint8)
    return NumberTable(header, values, numbers)


def split_cells(line: str, separator: str | None) -> list[str]:
    """The cells of a line, without quotes and spaces."""
    if separator is None:
        return line.split()
    return [cell.strip(" \"'\r\n") for cell in next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])]


def _counts(cells: Sequence[str]) -> bool:
    """Whether cells are 0, 1, 2 … after an empty one, or without: pandas' names of columns."""
    numbers = list(cells[1:] if cells[:1] == [""] else cells)
    return len(numbers) > 1 and numbers == [str(number) for number in range(len(numbers))]


def _parse(
    path: Path, batch: list[tuple[int, str]], header: list[str], columns: int, separator: str | None
) -> np.ndarray:
    """Lines of numbers -> uint8 or float32 [m, columns]."""
    lines = [line.replace(",", ".") if separator == ";" else line for _, line in batch]
    try:
        block = np.loadtxt(lines, np.float32, delimiter=separator, quotechar='"', ndmin=2, comments=None)
    except ValueError:
        block = np.full((0, 0), np.nan, np.float32)
    if block.shape != (len(lines), columns) or not np.isfinite(block).all():
        raise _find_mistake(path, batch, header, columns, separator)
    small = block.astype(np.uint8) if block.min() >= 0 and block.max() <= 255 else block
    return small if (small == block).all() else block


def _find_mistake(
    path: Path, batch: list[tuple[int, str]], header: list[str], columns: int, separator: str | None
) -> GanvasError:
    """The error for the first cell that is no number."""
    for number, line in batch:
        cells = split_cells(line.replace(",", ".") if separator == ";" else line, separator)
        if len(cells) != columns:
            return GanvasError(
                f"{path}, line {number}: {len(cells)} cells.",
                expected=f"{columns} cells, as many as the first line of numbers has",
                fix=_REWRITE,
            )
        for column, cell in enumerate(cells):
            if not _is_finite(cell):
                what = f"is {describe_value(cell)}" if cell else "is empty"
                return GanvasError(
                    f"{path}, line {number}: {name_column(header, column)} {what}.",
                    expected="a finite number in every cell",
                    fix="correct the cell, or remove the line.",
                )
    return GanvasError(f"{path}: lines {batch[0][0]} to {batch[-1][0]} are no numbers.", fix=_REWRITE)


def _is_finite(cell: str) -> bool:
    try:
        return math.isfinite(np.float32(cell))
    except ValueError:
        return False
