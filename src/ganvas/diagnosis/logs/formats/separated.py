"""Separated values with a header: CSV of any program, also of pandas and Lightning."""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice, pairwise
from typing import NamedTuple

import numpy as np

from ganvas.diagnosis.logs import names
from ganvas.diagnosis.logs.formats import decimal_comma
from ganvas.diagnosis.logs.numbers import number
from ganvas.diagnosis.logs.rows import GAP, LAST, MAX_RUNS, NULL, VALUE, Column, Rows, Table
from ganvas.diagnosis.logs.source import TERMINAL, Source, shown
from ganvas.errors import GanvasError

_CHUNK = 20_000
"""Lines converted at once."""

_MISSING = frozenset({"", "-", "none", "null", "nan", "na", "n/a"})
"""What stands in a cell where nothing was measured."""

_SEARCHED = 100
"""Lines among which the header is searched."""

_RULE = re.compile(r"[|:+=\s-]+")
_TIME = re.compile(
    r"(?:(?<![\w.:])(?:\d{4}([-/.])\d\d\1\d\d[T ])?|(?<=\dT))"
    r"\d+:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?(?![\w.:])"
)
"""A time of day, also with its date and its zone."""
_BOX = str.maketrans({**dict.fromkeys("│┃║┆┇┊┋", "|"), **{chr(code): "+" for code in range(0x2500, 0x2580)
                      if chr(code) not in "│┃║┆┇┊┋"}})  # fmt: skip
"""The characters from which tables are drawn."""


class Layout(NamedTuple):
    """How a text is separated.

    Attributes:
        delimiter: one character.
        header: which of the lines that are not blank is the header; None where the first one has numbers already.
    """

    delimiter: str
    header: int | None = 0


_MANY = 1000
"""Columns in a line that is not even read to its end."""


def read_separated(source: Source) -> list[Table] | None:
    """A header of names, then lines of numbers; a cell may be empty. Other lines may stand above the header.

    Without a header the columns are called 1, 2, … if the user names them so.

    Raises:
        GanvasError: it has thousands of columns: its first line alone is longer than `source.HEAD`.
    """
    first = source.head[0] if len(source.head) == 1 else ""
    columns = max(map(first.count, ",\t;|"), default=0)
    if source.size > len(source.start) and columns >= _MANY and "=" not in first:
        raise GanvasError(
            f"{shown(source.path)} begins with a line of more than {columns:,} columns.",
            expected="a log of some thousand columns at most",
            fix="keep those of the losses and the step.",
        )
    layout = find_layout(source)
    if layout is None and source.name.suffix.lower() in (".csv", ".tsv") and source.head:
        delimiter = max(",\t;|", key=source.head[0].count)
        numbers = [_is_number(cell) for cell in cells_of(source.head[0], delimiter) if cell.strip()]
        layout = Layout(delimiter, None if numbers and all(numbers) else 0)
    return [read_columns(source, layout, _header_names(source))] if layout else None


def find_layout(source: Source) -> Layout | None:
    """From the first two lines that are a header and numbers, or both numbers; None for other texts.

    Not csv.Sniffer, which takes the comma of 0,5 for one.
    """
    lines = [line for line in map(_plain, source.head[:_SEARCHED]) if line.strip()]
    for header, pair in enumerate(pairwise(lines)):
        two = [_TIME.sub("0", line) for line in pair]
        if any(re.search(r"\w['\"]?\s*[:=]\s*[-+\d]", line) for line in two):
            continue
        for delimiter in ("\t", ";", ",", "|", " "):
            titles, first = (cells_of(line, delimiter) for line in two)
            if not len(titles) == len(first) > (delimiter == " " and header > 0):
                continue
            numeric = [_is_number(cell) for cell in first]
            gaps = [cell.strip().lower() in _MISSING for cell in first]
            complete = any(numeric) and all(map(max, numeric, gaps))
            enough = complete if delimiter == " " or header else any(numeric)
            known = header == 0 or any(names.is_quantity(cell) or names.time_kind(cell) for cell in titles)
            named = not any(map(_is_number, titles))
            if len(titles) > 1 and enough and known and named:
                return Layout(delimiter, header)
            if header == 0 and all(numeric) and all(map(_is_number, titles)) and (len(titles) > 1 or delimiter == " "):
                return Layout(delimiter, None)
    return None


def _is_number(cell: str) -> bool:
    return number(decimal_comma.with_point(cell.strip(), counts=True)) is not None


def _plain(line: str) -> str:
    """Without the colours of a terminal, the brackets of a tuple, the bars of a table, and its rules, then blank."""
    line = TERMINAL.sub("", line) if "\x1b" in line else line
    if not line.isascii():
        line = line.translate(_BOX)
    if line.lstrip()[:1] in ("|", "+"):
        line = "" if _RULE.fullmatch(line.strip()) else line.strip().strip("|")
    if line[:1] in "([" and line.rstrip()[-1:] in (")", "]") and line.count(line[0]) == 1:
        line = line.strip()[1:-1]
    return line[2:] if line.startswith("# ") else line


def cells_of(line: str, delimiter: str) -> list[str]:
    """The cells of a line; none of a damaged one."""
    try:
        return line.split() if delimiter == " " else next(csv.reader([line.strip("\r\n")], delimiter=delimiter), [])
    except csv.Error:
        return []


def lines_of(source: Source, layout: Layout) -> Iterator[list[str]]:
    """The cells of every line that is not blank, from the header on."""
    delimiter = layout.delimiter
    lines = islice((line for line in map(_plain, source.lines()) if line.strip()), layout.header or 0, None)
    if delimiter == " ":
        lines = (" ".join(line.split()) for line in lines)
    return csv.reader(lines, delimiter=delimiter, skipinitialspace=True)


def _header_names(source: Source) -> Callable[[list[str]], list[str]]:
    """The check of a header: names, each once; places instead of numbers, if the user calls the columns by them."""

    def check(cells: list[str]) -> list[str]:
        if all(_is_number(cell) for cell in cells if cell.strip()):
            places = [str(place) for place in range(1, len(cells) + 1)]
            if source.columns and source.columns.keys() <= set(places):
                return places
            raise GanvasError(
                f"{shown(source.path.name)} has no header: its first line is {', '.join(cells[:4])}.",
                expected="a first line of names, such as step,d_loss,g_loss",
                fix=f"write one above the numbers, or name the columns by their places: --columns {_places(cells)}.",
            )
        header: list[str] = []
        for place, cell in enumerate(cells, 1):
            plain = cell.strip().lstrip("#").strip()
            if place > 1 or plain or names.time_kind(cell):
                plain = plain or f"column {place}"
            header.append(f"{plain} ({place})" if plain and plain in header else plain)
        return header

    return check


def _places(cells: Sequence[str]) -> str:
    """d_loss=1,g_loss=2 for two columns; the first of more is the step."""
    roles = ("d_loss", "g_loss") if len(cells) < 3 else ("step", "d_loss", "g_loss")
    return ",".join(f"{role}={place}" for place, role in zip(range(1, len(cells) + 1), roles, strict=False))


def read_columns(source: Source, layout: Layout, name_columns: Callable[[list[str]], list[str]]) -> Table:
    """All lines; columns whose name is empty are left out, such as the index that pandas writes first.

    Raises:
        GanvasError: the header is missing, or the text is damaged.
    """
    lines, rows, runs = lines_of(source, layout), Rows(), dict[str, dict[str, int]]()
    commas = writes_commas(source, layout)
    try:
        first = next(lines, [])
        named = name_columns(first)
        if layout.header is None:
            lines = chain([first], lines)
        for header, some in _blocks(lines, first, named, name_columns):
            good = [line for line in some if len(line) == len(header)]
            rows.unread += len(some) - len(good)
            if good:
                cells = dict(zip(header, zip(*good, strict=True), strict=True))
                if commas or layout.delimiter == ";":
                    cells = {name: _with_points(name, column) for name, column in cells.items()}
                if any(cells):
                    rows.add_block({
                        name: _numbered(column, runs.setdefault(name, {}))
                        if names.is_run(name) and name not in source.columns else _converted(column)
                        for name, column in cells.items() if name
                    })  # fmt: skip
                rows.texts |= {name: column[-LAST:] for name, column in cells.items() if name}
    except csv.Error as error:
        raise GanvasError(
            f"{shown(source.path.name)} is damaged: {error}.", expected="separated values", fix="write it again."
        ) from error
    empty = not (rows.count or rows.unread)
    labels = {name: list(numbers) for name, numbers in runs.items()}
    return replace(rows.table(), labels=labels, empty=empty, notes=(decimal_comma.NOTE,) if commas else ())


def _blocks(
    lines: Iterable[list[str]], titles: list[str], header: list[str], name_columns: Callable[[list[str]], list[str]]
) -> Iterator[tuple[list[str], list[list[str]]]]:
    """(the names, at most `_CHUNK` lines below them): a training that is resumed may write another header.

    So may an evaluation in between: lines as wide as an earlier header are its own again.

    Args:
        titles: the header as it is written.
        header: the same as names.
    """
    some: list[list[str]] = []
    earlier = {len(titles): (titles, header)}
    for line in lines:
        if line and (len(line) != len(titles) or line[-1][:1].isalpha()) and _is_header(line):
            if line != titles:
                yield header, some
                titles, header, some = line, name_columns(line), []
                earlier[len(titles)] = titles, header
            continue
        if len(line) != len(titles) and len(line) in earlier:
            yield header, some
            (titles, header), some = earlier[len(line)], []
        some.append(line)
        if len(some) == _CHUNK:
            yield header, some
            some = []
    yield header, some


def _is_header(cells: Sequence[str]) -> bool:
    if any(map(_is_number, cells)):  # which is much faster than the names
        return False
    return sum(names.is_quantity(cell) or names.time_kind(cell) is not None for cell in cells) > 1


def writes_commas(source: Source, layout: Layout) -> bool:
    """Whether the decimals of a table stand behind a comma."""
    return decimal_comma.writes_commas(" ".join(cells_of(_plain(line), layout.delimiter)) for line in source.head)


def _with_points(name: str, cells: Sequence[str]) -> tuple[str, ...]:
    counts = names.time_kind(name) in names.WHOLE_TIMES
    return tuple(decimal_comma.with_point(cell, counts) for cell in cells)


def _converted(cells: Sequence[str]) -> Column:
    """A column; fast unless a cell is a word. Where nothing was measured, or pandas wrote a NaN, it is null."""
    try:
        values = np.fromiter((float(cell or "nan") for cell in cells), float, len(cells))
        state = [VALUE if cell else NULL for cell in cells]
    except ValueError:
        numbers = [number(cell) for cell in cells]
        values = np.array([np.nan if value is None else value for value in numbers], float)
        state = [VALUE if value is not None else NULL if cell.strip().lower() in _MISSING else GAP
                 for cell, value in zip(cells, numbers, strict=True)]  # fmt: skip
    return Column(values, np.array(state, np.uint8))


def _numbered(cells: Sequence[str], numbers: dict[str, int]) -> Column:
    """A column of names, each as its number, which is added where it is new; there is none for further ones."""
    for cell in dict.fromkeys(map(str.strip, cells)):
        if cell and len(numbers) <= MAX_RUNS:
            numbers.setdefault(cell, len(numbers))
    values = np.array([numbers.get(cell.strip(), np.nan) for cell in cells], float)
    return Column(values, np.where(np.isnan(values), GAP, VALUE).astype(np.uint8))
