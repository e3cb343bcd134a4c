"""Which cells of a loss are its numbers: a null or a NaN may be a gap, or that of a training that has died."""

from collections.abc import Sequence

import numpy as np

from ganvas.diagnosis.logs import names
from ganvas.diagnosis.logs.rows import NULL, VALUE, Column, Table

_LEAST = 3
"""Rows at the end whose loss is null, from which on they are NaN; of a loss with fewer numbers as many as those."""


def numbers_of_loss(name: str, losses: Sequence[str], table: Table, own: np.ndarray) -> np.ndarray:
    """Where a loss is measured, bool [n]; NaN and infinity are numbers.

    Nulls, as JavaScript writes NaN, and empty cells, as pandas does, are NaN where they end a loss that had no gaps;
    not where another loss still is a number in the last row: a NaN reaches both networks, a shorter column is shorter.

    Args:
        losses: the columns of all losses.
        own: which rows have a time of their own, bool [n].
    """
    column = table.columns[name]
    present = column.present
    rows = np.flatnonzero(own & ~_apart(column, table))
    null = column.state[rows] == NULL
    first = int(null.argmax()) if null.any() else len(rows)
    died = present[rows[:first]].all() and null[first:].all() and len(null) - first >= min(_LEAST, first)
    lives = any(_finite(table.columns[other])[rows[-1:]].any() for other in losses if other != name)
    if first and died and not lives:
        present = present.copy()
        present[rows[first:]] = True
    return present


def evaluated(losses: Sequence[str], table: Table) -> np.ndarray:
    """Which rows have only a measure of quality, and NaN as each loss, bool [n]: there these NaNs are gaps.

    A measure that also stands beside numbers of a loss tells nothing of the NaNs in its row, and a single such row in
    the middle may be one of the training; so are all where no loss ever was a number.

    Args:
        losses: the columns of all losses.
    """
    lost, measured = np.ones(len(table), bool), np.zeros(len(table), bool)
    for name in losses:
        lost &= ~_finite(table.columns[name])
    for name, column in table.columns.items():
        if names.translate(name) in names.SPARSE and not (_finite(column) & ~lost).any():
            measured |= _finite(column)
    rows = lost & measured
    apart = not lost.all() and (rows.sum() > 1 or rows[-1:].any())
    return rows if apart else np.zeros(len(table), bool)


def _apart(loss: Column, table: Table) -> np.ndarray:
    """Which rows have a number that never stands beside one of this loss, as rows of an evaluation have, bool [n]."""
    measured = _finite(loss)
    others = [of for column in table.columns.values() if not ((of := _finite(column)) & measured).any()]
    return np.any([np.zeros(len(table), bool), *others], axis=0)


def _finite(column: Column) -> np.ndarray:
    return (column.state == VALUE) & np.isfinite(column.values)
