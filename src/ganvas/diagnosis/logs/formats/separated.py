"""Separated values with a header: CSV of any program, also of pandas and Lightning."""

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, pairwise
from typing import NamedTuple

import numpy as np

from ganvas.diagnosis.logs import names
from ganvas.diagnosis.logs.numbers import number
from ganvas.diagnosis.logs.rows import GAP, LAST, VALUE, Column, Rows, Table
from ganvas.diagnosis.logs.source import Source
from ganvas.errors import GanvasError

_CHUNK = 20_000
"""Lines converted at once."""

_SEARCHED = 100
"""Lines among which the header is searched."""

_TERMINAL = re.compile(r"\x1b\[[\d;?]*[A-Za-z]")
_RULE = re.compile(r"[|:+\s-]+")


class Layout(NamedTuple):
    """How a text is separated.

    Attributes:
        delimiter: one character.
        header: which of the lines that are not blank is the header.
    """

    delimiter: str
    header: int = 0


def read_separated(source: Source) -> list[Table] | None:
    """A header of names, then lines of numbers; a cell may be empty. Other lines may stand above the header."""
    layout = find_layout(source)
    if layout is None and source.path.suffix.lower() in (".csv", ".tsv") and source.head:
        layout = Layout(max(",\t;|", key=source.head[0].count))
    return [read_columns(source, layout, _header_names(source))] if layout else None


def find_layout(source: Source) -> Layout | None:
    """From the first two lines that are a header and numbers; None for other texts.

    Not csv.Sniffer, which takes the comma of 0,5 for one.
    """
    lines = [line for line in map(_plain, source.head[:_SEARCHED]) if line.strip()]
    for header, two in enumerate(pairwise(lines)):
        if any(re.search(r"\w['\"]?\s*[:=]\s*[-+\d]", line) for line in two):
            continue
        for delimiter in ("\t", ";", ",", "|", " "):
            titles, first = (cells_of(line, delimiter) for line in two)
            numeric = [number(cell.replace(",", ".")) is not None for cell in first]
            enough = all(numeric) if delimiter == " " or header else any(numeric)
            known = header == 0 or any(names.translate(cell) or names.time_kind(cell) for cell in titles)
            if len(titles) == len(first) > 1 and enough and known:
                return Layout(delimiter, header)
    return None


def _plain(line: str) -> str:
    """Without the colours of a terminal, the outer bars of a Markdown table, and its rule, which becomes blank."""
    line = _TERMINAL.sub("", line) if "\x1b" in line else line
    if line.startswith("|"):
        line = "" if _RULE.fullmatch(line.strip()) else line.strip().strip("|")
    return line


def cells_of(line: str, delimiter: str) -> list[str]:
    """The cells of a line; none of a damaged one."""
    try:
        return line.split() if delimiter == " " else next(csv.reader([line.strip("\r\n")], delimiter=delimiter), [])
    except csv.Error:
        return []


def lines_of(source: Source, layout: Layout) -> Iterator[list[str]]:
    """The cells of every line that is not blank, from the header on."""
    delimiter = layout.delimiter
    lines = islice((line for line in map(_plain, source.lines()) if line.strip()), layout.header, None)
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


def read_columns(source: Source, layout: Layout, name_columns: Callable[[list[str]], list[str]]) -> Table:
    """All lines; columns whose name is empty are left out, such as the index that pandas writes first.

    Raises:
        GanvasError: the header is missing, or the text is damaged.
    """
    lines, rows = lines_of(source, layout), Rows()
    try:
        header = name_columns(next(lines, []))
        while some := list(islice(lines, _CHUNK)):
            good = [line for line in some if len(line) == len(header)]
            rows.unread += len(some) - len(good)
            if good:
                cells = dict(zip(header, zip(*good, strict=True), strict=True))
                if any(cells):
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
