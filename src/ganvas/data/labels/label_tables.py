"""Classes from a table: `dataset.json`, a CSV or TSV, CelebA's list of attributes, `metadata.jsonl`."""

import csv
import io
import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from ganvas.data.labels.classes import read_classes
from ganvas.data.listing import IMAGE_SUFFIXES, LABELS_FILE
from ganvas.errors import GanvasError

MAX_TABLE_BYTES = 2**30
"""Larger files are not read as tables."""

_FILE_KEYS = ("file_name", "filename", "file", "image", "image_path", "image_id", "path", "name", "id", "img")
LABEL_KEYS = ("label", "labels", "class", "class_name", "classname", "class_id", "category", "target", "y")
_SAMPLED_ROWS = 300
_NO_CLASSES = re.compile(r"(^|[^a-z])(partition|landmarks?|bbox|keypoints?|captions?|sizes?)([^a-z]|$)", re.I)
_NUMBER = re.compile(r"\s*[+-]?\d{1,15}(\.0{0,9})?\s*")
_PAIRS = 'JSON such as {"labels": [["00000/img00000000.png", 3], ...]}'


@dataclass(frozen=True)
class Labels:
    """The value of each image that has one, as it was written."""

    values: dict[str, Any]
    class_names: list[str] | None = None
    note: str = ""
    column: str = ""
    """The column of a table."""


class Matcher:
    """Finds the image that a table means: by its path, its name, or its name without the ending.

    Accented letters are equal in both forms of Unicode: macOS names files with the accents apart.

    Args:
        images: those that may be found.
        others: images of other splits; a path that names one of them is not taken for an image of the same name.
    """

    def __init__(self, images: Sequence[str], others: Sequence[str] = ()) -> None:
        self._exact = {_composed(image): image for image in images}
        self._found: dict[str, str | None] = {}
        for image in images:
            for key in _ends(image):
                self._found[key] = None if key in self._found else image  # two images of one name: neither is meant
        self._others = {key for other in others for key in _ends(other) if "/" in key}.difference(self._found)

    def find(self, name: str, prefix: str = "") -> str | None:
        """The image of this name; `prefix` is the folder of the table."""
        parts = [part for part in _composed(name).strip().replace("\\", "/").split("/") if part not in ("", ".")]
        for start in range(len(parts)):
            key = "/".join(parts[start:])
            if not start and (found := self._exact.get(_composed(prefix) + key)) is not None:
                return found
            if key in self._others or (not start and _composed(prefix) + key in self._others):
                return None
            if (found := self._found.get(key)) is not None:
                return found
            if "." in key.rpartition("/")[2] and (found := self._found.get(key.rpartition(".")[0])) is not None:
                return found
        return None


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _ends(image: str) -> set[str]:
    """The path of an image without any number of leading folders, each with and without the ending."""
    path = PurePosixPath(_composed(image))
    ends = {"/".join(path.parts[start:]) for start in range(len(path.parts))}
    return ends | {end[: -len(path.suffix)] if path.suffix else end for end in ends}


def make_labels(
    images: Sequence[str], labels: Labels, where: str
) -> tuple[np.ndarray | None, tuple[str, ...], tuple[str, ...]]:
    """The labels of images that all have one -> (int64 [N] or None, names of the classes, notes).

    Raises:
        GanvasError: they are of several kinds, or no classes.
    """
    values = [labels.values[image] for image in images]
    kinds = {_kind(value) for value in values}
    if len(kinds) > 1:
        odd = next(image for image in images if _kind(labels.values[image]) != _kind(values[0]))
        raise _no_class(where, odd, labels.values[odd])
    names = labels.class_names
    if kinds == {"text"} and isinstance(names, list) and {str(value).strip() for value in values} <= set(names):
        number = {name: index for index, name in enumerate(names)}
        return np.array([number[str(value).strip()] for value in values], np.int64), tuple(names), (labels.note,)
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise GanvasError(f"{where}: the class names are not a list of strings.", expected='["cat", "dog", ...]')
    if kinds == {"text"} and all(_NUMBER.fullmatch(value) for value in values):
        values, kinds = [float(value) for value in values], {"number"}
    try:
        array = np.array(values, np.str_ if kinds == {"text"} else np.float64 if kinds == {"vector"} else None)
    except (ValueError, OverflowError, TypeError):
        array = np.empty(0, object)
    if array.dtype.kind not in "biufU":
        raise _no_class(where, images[0], values[0])
    found = read_classes(array, where, names)
    if found.labels is None and where.endswith(LABELS_FILE):
        odd = next((i for i, value in zip(images, values, strict=True) if not _is_class(value)), images[0])
        raise _no_class(where, odd, labels.values[odd])
    if found.labels is None:
        raise GanvasError(
            found.notes[0].removesuffix(": no classes.") + ".",
            expected="one integer or word for each image: classes are mutually exclusive",
            fix="choose another column with --label-column, or move the file away to train without labels.",
        )
    titles = (f"not {labels.column}", labels.column) if labels.column and found.names == ("-1", "1") else found.names
    return found.labels, titles, tuple(note for note in (labels.note, *found.notes) if note)


def _kind(value: Any) -> str:
    if isinstance(value, bool | int | float):
        return "truth" if isinstance(value, bool) else "number"
    return "text" if isinstance(value, str) else "vector" if isinstance(value, list) else "nothing"


def _is_class(value: Any) -> bool:
    """Whether a value alone could be a class."""
    if isinstance(value, list):
        return sorted(value) == [0] * (len(value) - 1) + [1]
    return not isinstance(value, float) or value.is_integer()


def _no_class(where: str, image: str, value: Any) -> GanvasError:
    kind = "a vector" if isinstance(value, list) else repr(value)[:40]
    return GanvasError(
        f"{where} gives {image} {kind} as its label.",
        expected="one integer or word for each image: classes are mutually exclusive",
        fix='write the number of the class, or set "labels" to null to train without labels.',
    )


# --- JSON --------------------------------------------------------------------------------------------------


def parse_json(content: bytes, matcher: Matcher, prefix: str, where: str) -> Labels | None:
    """The labels of a `dataset.json`; None if it says that there are none.

    Pairs [name, label] as of NVlabs, a dictionary from names to labels or from classes to names, or a list of
    dictionaries with `file_name` and `label`; each may be below folders' names.

    Raises:
        GanvasError: it cannot be read, or has labels of images that do not exist.
    """
    try:
        table = json.loads(content)
        if not isinstance(table, dict | list) or table == []:
            raise ValueError("it is neither an object nor a list of labels")
        names = table.get("class_names") if isinstance(table, dict) else None
        certain, rows = isinstance(table, list) or "labels" in table, table
        if isinstance(table, dict):
            others = {key: value for key, value in table.items() if key != "class_names"}
            rows = table["labels"] if certain else others
        if rows is None:
            return None
        if not isinstance(rows, dict | list):
            raise GanvasError(f'{where}: "labels" is not a list.', expected='[["name.png", 3], ...] or null')
        pairs = list(_pairs(rows, matcher, prefix, where))
    except (ValueError, RecursionError) as error:
        raise GanvasError(f"{where} cannot be read: {error}.", expected=_PAIRS) from error
    found: dict[str, Any] = {}
    missing = []
    for name, value in pairs:
        image = matcher.find(name, prefix)
        if image is None:
            missing.append(name)
        elif found.setdefault(image, value) != value:
            raise GanvasError(f"{where} gives {name} two labels, {found[image]} and {value}.")
    if not found and not certain:  # a dictionary about something else
        return None
    if missing:
        raise GanvasError(
            f"{where} has labels of {len(missing)} images that do not exist, such as {missing[0]}.",
            expected="an image for every label",
            fix="create the file again from the images that exist.",
        )
    return Labels({image: value for image, value in found.items() if value is not None}, names)


def _pairs(rows: Any, matcher: Matcher, prefix: str, where: str, folder: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(rows, dict):
        for key, value in rows.items():
            if isinstance(value, dict) and (label := first_value(value, LABEL_KEYS)) is not None:
                yield folder + key, label
            elif isinstance(value, dict):
                yield from _pairs(value, matcher, prefix, where, f"{folder}{key}/")
            elif isinstance(value, list) and value and all(isinstance(name, str) for name in value):
                below = matcher.find(f"{key}/{value[0]}", prefix) is not None
                yield from ((f"{key}/{name}" if below else name, key) for name in value)
            elif isinstance(value, list) and value and all(isinstance(row, list | dict) for row in value):
                yield from _pairs(value, matcher, prefix, where, folder)
            else:
                yield folder + key, value
        return
    for row in rows:
        if isinstance(row, dict):
            name, label = first_value(row, _FILE_KEYS), first_value(row, LABEL_KEYS)
        else:
            name, label = row if isinstance(row, list) and len(row) == 2 else (None, None)
        if not isinstance(name, str):
            raise GanvasError(f"{where}: {str(row)[:80]!r} is not a label.", expected='["name.png", 3]')
        yield folder + name, label


def first_value(row: dict[str, Any], keys: Sequence[str]) -> Any:
    """The value of the first of some keys, in lower case, that a dictionary has."""
    lower = {key.casefold(): value for key, value in row.items()}
    return next((lower[key] for key in keys if key in lower), None)


# --- CSV, TSV, lists ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Grid:
    header: list[str]
    rows: list[list[str]]


def parse_table(
    content: bytes, matcher: Matcher, count: int, prefix: str, where: str, column: str | None
) -> Labels | str | None:
    """The labels that a CSV, TSV, list or JSONL gives to images.

    Args:
        count: number of images; a table that names less than half of them is another's, unless a column is chosen.
        column: the name of the column, or None: the only one, or one called label, class, category …

    Returns:
        The labels; or a note on why there are none; or None if the name of the table says that it has no classes.
    """
    name = PurePosixPath(where).name
    if column is None and _NO_CLASSES.search(name):
        return None
    grid = _read_jsonl(content) if name.lower().endswith(".jsonl") else _read_grid(content, name)
    if grid is None or not grid.rows or len(grid.header) < 2:
        return f"{name} is not used: it has no column of file names beside one of classes."
    place, found = _find_file_column(grid, matcher, prefix)
    if place is None:
        return f"{name} is not used: none of its rows names an image; the first begins with {grid.rows[0][0][:40]!r}."
    if column is None and 2 * len(dict(found)) < count:
        return f"{name} is not used: it names {len(dict(found))} of {count} images."
    others = [title for index, title in enumerate(grid.header) if index != place]
    chosen = _choose_column(others, column)
    if chosen is None and column is not None:
        return f"{name} has no column {column!r}, only {_listed(others)}."
    if chosen is None:
        return f"{name} is not used: --label-column chooses one of its columns as classes: {_listed(others)}."
    index = next(i for i, title in enumerate(grid.header) if title == chosen and i != place)
    values: dict[str, str] = {}
    for image, row in found:
        value = row[index].strip() if index < len(row) else ""
        if value and values.setdefault(image, value) != value:
            return (
                f"{name} is not used: its column {chosen} gives {row[place]} two classes, {values[image]} and {value}."
            )
    if not values:
        return f"{name} is not used: its column {chosen} is empty."
    unnamed = max(0, len(grid.rows) - len(found))
    note = f"The classes come from the column {chosen} of {name}"
    note += f"; {unnamed} of its rows are about other files." if unnamed else "."
    return Labels(values, None, note, chosen)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _choose_column(others: list[str], column: str | None) -> str | None:
    if column is not None:
        return next((t for t in others if t == column), None) or next(
            (t for t in others if t.casefold() == column.casefold()), None
        )
    by_name = {title.casefold(): title for title in reversed(others)}
    named = next((by_name[key] for key in LABEL_KEYS if key in by_name), None)
    return named or (others[0] if len(others) == 1 and not _NO_CLASSES.search(others[0]) else None)


def _decode(content: bytes) -> str:
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", "replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _read_grid(content: bytes, name: str) -> _Grid | None:
    lines = [line for line in _decode(content).splitlines() if line.strip()]
    if len(lines) > 1 and lines[0].strip().isdigit():  # CelebA's lists begin with the number of rows
        lines = lines[1:]
    if not lines:
        return None
    sample = lines[1:20] or lines
    separator = next((c for c in "\t,;" if all(c in line for line in sample)), None)
    if separator is None:
        rows = [line.split() for line in lines]
    else:
        try:
            rows = list(csv.reader(io.StringIO("\n".join(lines)), delimiter=separator))
        except csv.Error:
            return None
    width = len(rows[-1])
    header = [cell.strip() for cell in rows[0]]
    if len(rows) > 1 and len(header) == width - 1:  # CelebA: the column of file names has no title
        header = ["file", *header]
    return _Grid(header, rows[1:]) if len(header) == width else None


def _read_jsonl(content: bytes) -> _Grid | None:
    rows, titles = [], dict[str, None]()
    for line in _decode(content).splitlines():
        try:
            row = json.loads(line) if line.strip() else {}
        except (ValueError, RecursionError):
            return None
        if isinstance(row, dict) and row:
            rows.append(row)
            titles.update(dict.fromkeys(map(str, row)))
    plain = [["" if row.get(t) is None else str(row[t]) for t in titles] for row in rows]
    return _Grid(list(titles), plain)


def _find_file_column(grid: _Grid, matcher: Matcher, prefix: str) -> tuple[int | None, list[tuple[str, list[str]]]]:
    """The column that names images, and (image, row) of each row about one; a first row that names one is no header."""
    step = max(1, len(grid.rows) // _SAMPLED_ROWS)
    sample = grid.rows[::step]

    def hits(place: int) -> int:
        return len({matcher.find(row[place], prefix) for row in sample if place < len(row)} - {None})

    def is_named(place: int) -> bool:
        return any(place < len(row) and PurePosixPath(row[place]).suffix.lower() in IMAGE_SUFFIXES for row in sample)

    places = [place for place, title in enumerate(grid.header) if title.casefold() not in LABEL_KEYS]
    places = [place for place in places if is_named(place)] or places
    place = max(places, key=hits, default=0)
    if not places or not hits(place):
        return None, []
    rows = grid.rows
    if matcher.find(grid.header[place], prefix) is not None:
        rows = [list(grid.header), *rows]
        grid.header[:] = ["file" if index == place else f"column {index + 1}" for index in range(len(grid.header))]
    named = ((matcher.find(row[place], prefix), row) for row in rows if place < len(row))
    return place, [(image, row) for image, row in named if image is not None]
