"""Printed lists: `d_losses = [0.69, 0.65, …]`, all values of a quantity on one line."""

import re
from collections.abc import Mapping
from itertools import zip_longest

import numpy as np

from ganvas.diagnosis.logs import names
from ganvas.diagnosis.logs.numbers import number
from ganvas.diagnosis.logs.rows import MAX_CELLS, Rows, Table

_LIST = re.compile(r"(?P<name>[A-Za-z_][\w ()./-]{0,60}?)['\"]?\s*[:=]\s*(?:\w+\()?\[(?P<items>[^\[\]]*)\]")
_COMMA = re.compile(r",\s*(?![^()]*\))")
_LEAST = 5
"""Numbers in a list of all values; a shorter one is a pair, a shape, or a few settings."""


def printed_lists(line: str, given: frozenset[str]) -> dict[str, list[float]]:
    """{name: numbers} of the lists with a known name in a line."""
    lists = {}
    for match in _LIST.finditer(line):
        name = match["name"].strip()
        numbers = [number(item) for item in _COMMA.split(match["items"].strip(" ,"))]
        if len(numbers) >= _LEAST and (name in given or names.translate(name) or names.time_kind(name)):
            lists[name] = [value for value in numbers if value is not None]
    return lists


def go_on(earlier: list[float], numbers: list[float]) -> list[float]:
    """A list that is printed again: one that has grown since, or the next values of the quantity."""
    grown = len(earlier) <= len(numbers) and np.array_equal(earlier, numbers[: len(earlier)], equal_nan=True)
    return numbers if grown else earlier + numbers[: max(0, MAX_CELLS - len(earlier))]


def table_of_lists(lists: Mapping[str, list[float]]) -> Table:
    """The lists side by side, one row each of their values."""
    rows = Rows()
    for values in zip_longest(*lists.values()):
        rows.add({name: value for name, value in zip(lists, values, strict=True) if value is not None})
    return rows.table()
