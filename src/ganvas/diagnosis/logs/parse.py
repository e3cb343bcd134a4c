"""Other people's logs as tables of numbers: JSON, lines of JSON, separated values, and printed lines."""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

import numpy as np

from ganvas.diagnosis.logs import names
from ganvas.errors import GanvasError

Row = Mapping[str, float | None]
"""The values of one line by their names; None is a null."""

_CHUNK = 20_000  # lines of separated values converted at once
_NUMBER = r"[-+]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|nan|inf(?:inity)?)"
_PAIR = re.compile(
    rf"(?<![\w.])([A-Za-z_][\w.()/ -]{{0,40}}?)['\"]?\s*[:=]\s*(?:tensor\()?[\[(]?({_NUMBER})(?![\w:])(%?)", re.I
)
_MARK = re.compile(
    r"(?<![\w/])(?P<name>global_step|epoch|ep|batch|iterations?|iters?|it|step|i)\b['\"]?[\s:=#\[(]*"
    r"(?P<i>\d+(?:\.\d+)?)(?!\w|\.\d)(?:\s*/\s*(?P<of>\d+))?"
    r"|(?<![\d/.:])(?P<share>\d+)/(?P<whole>\d+)(?![\d/.])"
    r"|^[\s>]*\[?(?P<first>\d+)\]?[:,|]?\s",
    re.I,
)
_TERMINAL = re.compile(r"\x1b\[[\d;?]*[A-Za-z]")
_BARE = re.compile("acc(?:uracy)?", re.I)


@dataclass(eq=False)
class Table:
    """Columns by their own names.

    Attributes:
        length: how many rows.
        columns: (values, present) of each, float64 [length] and bool [length]; where not present there is a gap.
        unread: how many lines could not be parsed.
    """

    length: int
    columns: dict[str, tuple[np.ndarray, np.ndarray]]
    unread: int = 0

    @classmethod
    def from_rows(cls, rows: Sequence[Row], unread: int = 0) -> "Table":
        """From lines that need not all have the same names."""
        seen_names = dict.fromkeys(name for row in rows for name in row)
        columns = {name: _column(name, rows) for name in seen_names}
        return cls(len(rows), {name: column for name, column in columns.items() if column[1].any()}, unread)


def number(value: Any) -> float | None:
    """A number in any notation, 50 % as 0.5; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and value.rstrip().endswith("%"):
        part = number(value.rstrip()[:-1])
        return None if part is None else part / 100
    try:
        return float(value)
    except OverflowError:
        return float("inf")
    except (TypeError, ValueError):
        return None


def parse_json_table(value: Any) -> Table | None:
    """From the History.history of Keras, {name: [numbers]}, or a list of objects; None if it is neither."""
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return tabulate_objects(value)
    if isinstance(value, dict):
        lists = {name: column for name, column in value.items() if isinstance(column, list)}
        if lists and 2 * len(lists) >= len(value):
            length = max(map(len, lists.values()))
            return Table.from_rows([_row_of_lists(lists, index) for index in range(length)])
    return None


def parse_json_lines(lines: Iterable[str]) -> tuple[list[dict[str, Any]], int]:
    """The objects of lines of JSON, and how many lines are none."""
    values = [parse_json(line) for line in lines if line.strip()]
    objects = [value for value in values if isinstance(value, dict)]
    return objects, len(values) - len(objects)


def tabulate_objects(objects: Iterable[Mapping[str, Any]], unread: int = 0) -> Table:
    """From objects of numbers; of a {num, mean, std} within them the mean, and the std as /std."""
    return Table.from_rows([dict(_flat(one)) for one in objects], unread)


def parse_json(text: str) -> Any:
    """The value of a JSON text; None if it is not valid."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def find_delimiter(text: str) -> str | None:
    """The delimiter of a text whose first two lines are a header and numbers; None for other texts.

    Not csv.Sniffer, which takes the comma of 0,5 for one.
    """
    lines = [line for line in islice(io.StringIO(text), 50) if line.strip()][:2]
    if len(lines) < 2 or any(map(_PAIR.search, lines)):
        return None
    for delimiter in ("\t", ";", ",", "|", " "):
        header, first = (_cells(line, delimiter) for line in lines)
        numeric = [number(cell.replace(",", ".")) is not None for cell in first]
        if len(header) == len(first) > 1 and (all(numeric) if delimiter == " " else any(numeric)):
            return delimiter
    return None


def parse_separated(text: str, delimiter: str, name: str) -> Table:
    """From values separated by `delimiter`, with a header.

    Raises:
        GanvasError: the header is missing, or the text is damaged.
    """
    if delimiter == ";":
        text = text.replace(",", ".")  # where ; separates, 0,5 is a half
    if delimiter == " ":
        text = re.sub(r"[ \t]+", " ", re.sub(r"(?m)^[ \t]+|[ \t]+$", "", text))
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    try:
        header = _header(next(filter(any, lines), []), name)
        chunks, length, unread = _chunks(lines, header)
    except csv.Error as error:
        raise GanvasError(f"{name} is damaged: {error}.", expected="separated values", fix="write it again.") from error
    columns = {
        column: (np.concatenate([chunk[j][0] for chunk in chunks]), np.concatenate([chunk[j][1] for chunk in chunks]))
        for j, column in enumerate(header)
        if any(chunk[j][1].any() for chunk in chunks)
    }
    return Table(length, columns, unread)


def parse_printed(text: str) -> Table:
    """From printed lines: `name: number` and `name=number`; the time holds until the next one."""
    rows: list[Row] = []
    now: dict[str, float] = {}
    for line in _TERMINAL.sub("", text.replace("\b", "\n")).splitlines():
        marks, rest = _marks(line, now)
        now = marks if "epoch" in marks else now | marks
        if pairs := _pairs(rest):
            rows.append({**now, **pairs})
    known = (index for index, row in enumerate(rows) if any(map(names.translate, row)))
    return Table.from_rows(rows[next(known, 0) :])  # the lines before are settings


def _column(name: str, rows: Sequence[Row]) -> tuple[np.ndarray, np.ndarray]:
    """A null is NaN, as JavaScript writes it, if it ends a column that had no gaps; otherwise it is a gap."""
    cells = [row.get(name) for row in rows]
    values = np.array([np.nan if cell is None else cell for cell in cells], float)
    present = np.array([cell is not None for cell in cells])
    if present.all():
        return values, present
    null = np.array([cell is None and name in row for cell, row in zip(cells, rows, strict=True)])
    first = int(null.argmax())
    died = null.any() and present[:first].all() and not present[first:].any()
    own = names.translate(name)
    return values, present | null if died and own and own not in names.SPARSE else present


def _flat(value: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, float | None]]:
    """(name, number) of all numbers in an object, inner names after the outer ones."""
    for name, inner in value.items():
        if isinstance(inner, Mapping) and "mean" in inner:
            yield before + name, number(inner["mean"])
            if "std" in inner:
                yield f"{before}{name}/std", number(inner["std"])
        elif isinstance(inner, Mapping):
            yield from _flat(inner, f"{before}{name}/")
        elif inner is None or number(inner) is not None:
            yield before + name, number(inner)


def _row_of_lists(lists: Mapping[str, list[Any]], index: int) -> Row:
    here = {name: column[index] for name, column in lists.items() if index < len(column)}
    return {name: number(cell) for name, cell in here.items() if cell is None or number(cell) is not None}


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return line.split() if delimiter == " " else next(csv.reader([line.strip("\r\n")], delimiter=delimiter), [])
    except csv.Error:
        return []


def _header(cells: list[str], name: str) -> list[str]:
    """The names, each once."""
    if all(number(cell) is not None for cell in cells if cell.strip()):
        raise GanvasError(
            f"{name} has no header: its first line is {', '.join(cells[:4])}.",
            expected="a first line of names, such as step,d_loss,g_loss",
            fix="write one above the numbers.",
        )
    header: list[str] = []
    for place, cell in enumerate(cells, 1):
        plain = cell.strip().lstrip("#").strip() or f"column {place}"
        header.append(f"{plain} ({place})" if plain in header else plain)
    return header


def _chunks(
    lines: Iterator[list[str]], header: list[str]
) -> tuple[list[list[tuple[np.ndarray, np.ndarray]]], int, int]:
    """The columns in chunks of lines, how many lines were good, and how many were not."""
    chunks, length, unread, width = [], 0, 0, len(header)
    while some := list(islice(lines, _CHUNK)):
        good = [line for line in some if len(line) == width]
        unread += sum(1 for line in some if line and len(line) != width)
        if good:
            chunks.append([_converted(cells) for cells in zip(*good, strict=True)])
            length += len(good)
    return chunks, length, unread


def _converted(cells: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(values, present) of a column; fast unless a cell is a word."""
    try:
        values = np.fromiter((float(cell or "nan") for cell in cells), float, len(cells))
        return values, np.fromiter(map(bool, cells), bool, len(cells))
    except ValueError:
        numbers = [number(cell) for cell in cells]
        present = np.array([value is not None for value in numbers])
        return np.array([np.nan if value is None else value for value in numbers], float), present


def _marks(line: str, now: Mapping[str, float]) -> tuple[dict[str, float], str]:
    """The time in a line, and the rest of the line.

    An unnamed `300/1583` is the step, but the batch where the epoch is known; of two the first is the epoch.
    """
    found = [(mark, _mark_kind(mark)) for mark in _MARK.finditer(line)]
    found = [(mark, kind) for mark, kind in found if kind == "epoch" or "." not in mark[0]]  # no "s per step: 0.3"
    unnamed = [mark for mark, kind in found if kind is None]
    marks: dict[str, float] = {}
    for mark, kind in found:
        if kind is None and len(unnamed) > 1 and not any(other == "epoch" for _, other in found):
            kind = "epoch" if mark is unnamed[0] else "batch"
        kind = kind or ("batch" if "epoch" in {**now, **marks} else "step")
        _add_mark(kind, mark, marks, {**now, **marks})
    return marks, _MARK.sub(" , ", line)


def _mark_kind(mark: re.Match[str]) -> str | None:
    return names.time_kind(mark["name"]) if mark["name"] else None


def _add_mark(kind: str, mark: re.Match[str], marks: dict[str, float], known: Mapping[str, float]) -> None:
    """Adds one mark; a batch of so many in a known epoch is a step."""
    i, of = float(mark["i"] or mark["share"] or mark["first"]), float(mark["of"] or mark["whole"] or 0)
    if kind == "batch" and of and "epoch" in known:
        marks.setdefault("step", known["epoch"] * of + i)
    else:
        marks.setdefault(kind, i)


def _pairs(line: str) -> dict[str, float]:
    """{name: number} of a line, the first of each name; a bare acc. is that of the network before it."""
    pairs: dict[str, float] = {}
    network = "D"
    for name, value, percent in _PAIR.findall(line):
        name = _recognised_end(name.strip(" -."))
        own = names.translate(name) or ""
        if _BARE.fullmatch(name):
            name = f"{network} {name}"
        elif own.startswith(("D/", "G/")):
            network = own[0]
        pairs.setdefault(name, float(value) / 100 if percent else float(value))
    return pairs


@lru_cache(4096)
def _recognised_end(name: str) -> str:
    """`D loss` of `INFO training D loss`; a name that is not recognised stays whole."""
    words = [word for word in name.split() if word != "-"]
    ends = (" ".join(words[first:]) for first in range(len(words)))
    return next(
        (end for end in ends if names.translate(end) or names.time_kind(end) in ("kimg", "nimg")), " ".join(words)
    )
