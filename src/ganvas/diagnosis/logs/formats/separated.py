"""Separated values with a header: CSV of any program, also of pandas and Lightning."""

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import numpy as np

from ganvas.diagnosis.logs import names
from ganvas.diagnosis.logs.numbers import number
from ganvas.diagnosis.logs.rows import GAP, LAST, VALUE, Column, Rows, Table
from ganvas.diagnosis.logs.source import Source
from ganvas.errors import GanvasError

_CHUNK = 20_000
"""Lines converted at once."""


def read_separated(source: Source) -> list[Table] | None:
    """A header of names, then lines of numbers; a cell may be empty."""
    delimiter = find_delimiter(source)
    if delimiter is None and source.path.suffix.lower() in (".csv", ".tsv") and source.head:
        delimiter = max(",\t;|", key=source.head[0].count)
    return [read_columns(source, delimiter, _header_names(source))] if delimiter else None


def find_delimiter(source: Source) -> str | None:
    """The delimiter of a text whose first two lines are a header and numbers; None for other texts.

    Not csv.Sniffer, which takes the comma of 0,5 for one.
    """
    lines = source.head[:2]
    if len(lines) < 2 or any(re.search(r"\w['\"]?\s*[:=]\s*[-+\d]", line) for line in lines):
        return None
    for delimiter in ("\t", ";", ",", "|", " "):
        header, first = (cells_of(line, delimiter) for line in lines)
        numeric = [number(cell.replace(",", ".")) is not None for cell in first]
        if len(header) == len(first) > 1 and (all(numeric) if delimiter == " " else any(numeric)):
            return delimiter
    return None


def cells_of(line: str, delimiter: str) -> list[str]:
    """The cells of a line; none of a damaged one."""
    try:
        return line.split() if delimiter == " " else next(csv.reader([line.strip("\r\n")], delimiter=delimiter), [])
    except csv.Error:
        return []


def lines_of(source: Source, delimiter: str) -> Iterator[list[str]]:
    """The cells of every line that is not blank."""
    lines = (line for line in source.lines() if line.strip())
    if delimiter == ";":
        lines = (line.replace(",", ".") for line in lines)  # where ; separates, 0,5 is a half
    if delimiter == " ":
        lines = (" ".join(line.split()) for line in lines)
    return csv.reader(lines, delimiter=delimiter, skipinitialspace=True)


def _header_names(source: Source) -> Callable[[list[str]], list[str]]:
    """The check of a header: names, each once."""

    def check(cells: list[str]) -> list[str]:
        if all(number(cell) is not None for cell in cells if cell.strip()):
            raise GanvasError(
                f"{source.path.name} has no header: its first line is {', '.join(cells[:4])}.",
                expected="a first line of names, such as step,d_loss,g_loss",
                fix="write one above the numbers.",
            )
        header: list[str] = []
        for place, cell in enumerate(cells, 1):
            plain = cell.strip().lstrip("#").strip()
            if place > 1 or plain or names.time_kind(cell):
                plain = plain or f"column {place}"
            header.append(f"{plain} ({place})" if plain and plain in header else plain)
        return header

    return check


def read_columns(source: Source, delimiter: str, name_columns: Callable[[list[str]], list[str]]) -> Table:
    """All lines; columns whose name is empty are left out, such as the index that pandas writes first.

    Raises:
        GanvasError: the header is missing, or the text is damaged.
    """
    lines, rows = lines_of(source, delimiter), Rows()
    try:
        header = name_columns(next(lines, []))
        while some := list(islice(lines, _CHUNK)):
            good = [line for line in some if len(line) == len(header)]
            rows.unread += len(some) - len(good)
            if good:
                cells = dict(zip(header, zip(*good, strict=True), strict=True))
                rows.add_block({name: _converted(column) for name, column in cells.items() if name})
                rows.texts = {name: column[-LAST:] for name, column in cells.items() if name}
    except csv.Error as error:
        raise GanvasError(
            f"{source.path.name} is damaged: {error}.", expected="separated values", fix="write it again."
        ) from error
    return rows.table()


def _converted(cells: Sequence[str]) -> Column:
    """A column; fast unless a cell is a word."""
    try:
        values = np.fromiter((float(cell or "nan") for cell in cells), float, len(cells))
        return Column(values, np.fromiter(map(bool, cells), bool, len(cells)).astype(np.uint8))
    except ValueError:
        numbers = [number(cell) for cell in cells]
        values = np.array([np.nan if value is None else value for value in numbers], float)
        return Column(values, np.array([GAP if value is None else VALUE for value in numbers], np.uint8))
