"""Reads tables with all pixels of an image in one cell, as FER2013's: emotion,pixels,Usage."""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ganvas.data.arrays.stored import StoredArray, in_memory
from ganvas.data.formats.number_table import choose_separator, open_text, parse_numbers, read_lines
from ganvas.data.labels.naming import role_of, split_of
from ganvas.errors import GanvasError

_EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
_FER_PIXELS = 48 * 48
_PIXELS = re.compile(rb"(\d+(\.\d+)? +){16}")


def is_table(head: bytes) -> bool:
    """Whether a file begins with a line of names and then one with many numbers between spaces."""
    first, _, second = head.partition(b"\n")
    names = first.decode("utf-8", "replace")
    separated = 0 < names.count(choose_separator(names)) < 16 and not _PIXELS.search(first)
    return separated and _PIXELS.search(second.split(b"\n")[0]) is not None


def read_arrays(path: Path) -> tuple[list[StoredArray], list[str]]:
    """The images of a table and its other columns, by split where a column names splits, and notes.

    Raises:
        GanvasError: the table is damaged or too large, or its images have different sizes.
    """
    with open_text(path) as file:
        lines = read_lines(path, file)
        _, first = next(lines)
        separator = choose_separator(first)
        header = [name.strip() for name in next(csv.reader([first], delimiter=separator))]
        rows = _split(path, lines, len(header), separator)
        number, cells = next(rows)
        column = max(range(len(header)), key=lambda one: len(cells[one]))
        others: list[list[str]] = []

        def pixels() -> Iterator[tuple[int, str]]:
            others.append(cells)
            yield number, cells[column]
            for each, row in rows:
                others.append([cell if one != column else "" for one, cell in enumerate(row)])
                yield each, row[column]

        count = len(cells[column].split())
        table = parse_numbers(path, pixels(), [], count, None)
    columns = {
        name: np.array([row[one].strip() for row in others])
        for one, name in enumerate(header)
        if one != column and name
    }
    usage = next((name for name, values in columns.items() if all(map(split_of, np.unique(values)))), None)
    splits = np.array(["", *map(split_of, columns.pop(usage))])[1:] if usage else np.full(len(others), "")
    arrays = []
    for split in np.unique(splits):
        chosen = np.flatnonzero(splits == split)

        def locate(index: Sequence[int], chosen: np.ndarray = chosen) -> str:
            return f"line {table.lines[chosen[index[0]]]}, number {index[1] + 1} of {header[column]}"

        name = f"{header[column]}_{split}" if role_of(header[column]) == "images" else f"pixels_{split}"
        arrays.append(replace(in_memory(name.rstrip("_"), "", str(path), table.values[chosen]), locate=locate))
        for name, values in columns.items():
            title = f"{name}_{split}" if split else name
            arrays.append(in_memory(title, "", f"{path}: {name}", _to_numbers(values)[chosen]))
    if _is_fer(columns, count):
        arrays.append(in_memory("class_names", "", str(path), np.array(_EMOTIONS)))
    note = f"The column {usage} says which images are held out: {_count(splits)}."
    return arrays, [note] if usage else []


def _split(
    path: Path, lines: Iterator[tuple[int, str]], columns: int, separator: str
) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(2**22)
    for number, line in lines:
        cells = next(csv.reader([line], delimiter=separator, skipinitialspace=True))
        if len(cells) != columns:
            raise GanvasError(
                f"{path}, line {number}: {len(cells)} cells.",
                expected=f"{columns} cells, as many as the first line has",
                fix="download or write it again.",
            )
        yield number, cells


def _to_numbers(words: np.ndarray) -> np.ndarray:
    """int64 where all words are whole numbers."""
    try:
        return words.astype(np.int64)
    except (ValueError, OverflowError):
        return words


def _is_fer(columns: dict[str, np.ndarray], count: int) -> bool:
    """Whether the only labels are FER2013's seven emotions."""
    return (
        [name.casefold() for name in columns] == ["emotion"]
        and count == _FER_PIXELS
        and set(next(iter(columns.values()))) <= set("0123456")
    )


def _count(splits: np.ndarray) -> str:
    names, counts = np.unique(splits, return_counts=True)
    return ", ".join(f"{count} {name}" for name, count in zip(names, counts, strict=True))
