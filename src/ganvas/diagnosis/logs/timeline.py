"""The time of each row of a log: which column tells it, what fills its gaps, and where a training was resumed."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ganvas.diagnosis.logs.rows import Table

TimeKind = Callable[[str], str | None]
"""Name of a column -> which kind of time it is: kimg, nimg, step, batch or epoch; None for a quantity."""

_LEAST = 8
"""Times of a training; one that ended with fewer was a first try, which the next one overwrites."""


@dataclass(frozen=True, eq=False)
class Timeline:
    """The time of each row.

    Attributes:
        unit: kimg, step, epoch or row.
        clock: the column of the time; empty for the number of the row.
        at: the times, float64 [n].
        own: whether a row has a time of its own, bool [n]; the others have that of the row before, or of their epoch.
        note: what was assumed, in words for the user.
    """

    unit: str
    clock: str
    at: np.ndarray
    own: np.ndarray
    note: str = ""

    def rows_kept(self, trained: np.ndarray) -> tuple[np.ndarray, int]:
        """(which rows no resumed training wrote again, how often time went back).

        Args:
            trained: rows of the training itself, bool [n]: an evaluation of an earlier state is no return to it.
        """
        own = np.flatnonzero(self.own & trained)
        back = np.flatnonzero(np.diff(self.at[own]) < 0)
        limits = np.full(len(self.at), np.inf)
        limits[own[back + 1] - 1] = self.at[own[back + 1]]
        return self.at < np.minimum.accumulate(limits[::-1])[::-1], len(back)

    def beginnings(self, trained: np.ndarray) -> list[int]:
        """The rows from which a training begins anew: its time goes back to one of its first three times.

        Args:
            trained: as for `rows_kept`.
        """
        own = np.flatnonzero(self.own & trained)
        at, begin, found = self.at[own], 0, []
        for i in np.flatnonzero(np.diff(at) < 0) + 1:
            earlier = np.unique(at[begin:i])
            if len(earlier) >= _LEAST and at[i] <= earlier[2]:
                found.append(int(own[i]))
                begin = i
        return found


def find_time(table: Table, kind_of: TimeKind) -> Timeline:
    """From the most precise column of a time that there is."""
    clocks = _clocks(table, kind_of)
    epoch = clocks["epoch"][1] if "epoch" in clocks else None
    for kind, per_kimg in (("kimg", 1), ("nimg", 1000)):
        if kind in clocks:
            name, values = clocks[kind]
            return Timeline("kimg", name, _fill(values, epoch) / per_kimg, ~np.isnan(values))
    epochs = None if epoch is None else _fill(epoch)
    counts = []
    for kind in ("step", "batch"):
        if kind in clocks:
            name, values = clocks[kind]
            batches = kind == "batch" and name.strip().lower() != "i"  # which may count anything
            counts.append((_epochs_counted(values, epochs, table.rows, batches), name, values))
    for counted, name, values in sorted(counts, key=lambda count: count[0] > 1):
        at = _accumulate(values, epochs) if counted > 1 else values
        assumed = counted > 1 and epochs is None
        note = f"its {name} begins anew {counted - 1}x: read as the epochs of one training" if assumed else ""
        return Timeline("step", name, _fill(at, epoch), ~np.isnan(values), note)
    if epoch is not None and epochs is not None:
        return Timeline("epoch", clocks["epoch"][0], epochs + _fractions(epochs), ~np.isnan(epoch))
    return Timeline("row", "", table.rows.astype(float), np.ones(len(table), bool))


def _clocks(table: Table, kind_of: TimeKind) -> dict[str, tuple[str, np.ndarray]]:
    """Of each kind of time the first column that changes: (its name, its values, NaN in its gaps)."""
    clocks: dict[str, tuple[str, np.ndarray]] = {}
    for name, column in table.columns.items():
        if kind := kind_of(name):
            values = np.where(column.present & np.isfinite(column.values), column.values, np.nan)
            changes = len(np.unique(values[~np.isnan(values)])) > min(1, len(table) - 1)
            if changes:
                clocks.setdefault(kind, (name, values))
    return clocks


def _fill(values: np.ndarray, epoch: np.ndarray | None = None) -> np.ndarray:
    """Gaps filled with the last value, and those at the start with the first.

    Where a row in a gap has an epoch of its own, as lines of an evaluation have, it gets the end of that epoch.
    """
    known = ~np.isnan(values)
    last = np.maximum.accumulate(np.where(known, np.arange(len(values)), known.argmax()))
    filled = values[last]
    both = known if epoch is None else known & ~np.isnan(epoch)
    if epoch is not None and both.any() and (np.diff(epoch[both]) >= 0).all() and (np.diff(values[both]) >= 0).all():
        gaps = np.flatnonzero(~known & ~np.isnan(epoch))
        ends = np.searchsorted(epoch[both], epoch[gaps], side="right") - 1
        filled[gaps] = values[both][np.maximum(ends, 0)]
    return filled


def _epochs_counted(step: np.ndarray, epoch: np.ndarray | None, rows: np.ndarray, batches: bool) -> int:
    """In how many epochs a count restarts; 1 where it is counted on, or where its restarts are those of trainings.

    Without a column of the epochs it restarts from the same number each time: a count of batches at least once, one of
    steps at least three times; each time after equally many, which several trainings in one file hardly are.

    Args:
        rows: the number of each row in the file, int64 [n]: where some were dropped, so were first and last batches.
        batches: whether the count is called one of batches.
    """
    known = ~np.isnan(step)
    change = np.diff(step[known])
    back = change < 0
    if epoch is not None:
        return 1 + int(back.sum() if (np.diff(epoch[known])[back] > 0).any() else 0)
    slack = change.max() if (np.diff(rows) > 1).any() else 0.0
    starts, ends = step[known][1:][back], step[known][:-1][back]
    if not len(starts) or (len(starts) < 3 and (not batches or starts.min() > step[known][0] + slack)):
        return 1
    same = np.ptp(starts) <= slack and np.ptp(ends) <= slack and step[known][-1] <= ends.max() + slack
    return 1 + len(starts) if same else 1


def _accumulate(step: np.ndarray, epoch: np.ndarray | None) -> np.ndarray:
    """The count continued through all epochs."""
    if epoch is None:
        filled = _fill(step)
        epoch = np.cumsum(np.diff(filled, prepend=filled[0]) < 0)
    return epoch * (np.nanmax(step) + 1) + step


def _fractions(epoch: np.ndarray) -> np.ndarray:
    """How far in its epoch each of several rows is, 0 where there is one row an epoch."""
    starts = np.flatnonzero(np.diff(epoch, prepend=np.nan) != 0)
    lengths = np.diff(starts, append=len(epoch))
    return (np.arange(len(epoch)) - np.repeat(starts, lengths)) / lengths.max()
