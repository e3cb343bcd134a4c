"""Several trainings in one log: one after the other, or side by side with a column that names them."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from ganvas.diagnosis.logs import names
from ganvas.diagnosis.logs.rows import MAX_RUNS, Table
from ganvas.diagnosis.logs.timeline import find_time

_FIRST = 3
"""Times of a log at one of which each of its trainings begins; one that begins later continues another."""


def split_trainings(tables: Sequence[Table], roles: names.Roles) -> dict[str, list[Table]]:
    """{name: its rows} of each training; otherwise one, without a name."""
    return _side_by_side(tables, roles) or _begun_again(tables, roles)


def _side_by_side(tables: Sequence[Table], roles: names.Roles) -> dict[str, list[Table]]:
    """{"seed 0": its rows, "seed 1": …} of a log with such a column; none otherwise."""
    filled = [table for table in tables if table.columns]
    runs: dict[str, list[Table]] = {}
    for table in filled:
        column = next((name for name in table.columns if name not in roles.given and names.is_run(name)), None)
        rows = {} if column is None else _rows_of_runs(table, column, roles)
        if not rows:
            return {}
        note = f"{len(rows)} trainings are side by side in it: this is {{}}"
        for run, own in rows.items():
            part = table.part(own, run, table.unread if own[0] else 0)
            if not roles.translate_all(part.columns) and not roles.split_sides(part.columns):
                return {}
            columns = {name: values for name, values in part.columns.items() if name != column}
            part = replace(part, columns=columns, notes=(*part.notes, note.format(run)))
            runs.setdefault(run, []).append(part)
    return runs


def _rows_of_runs(table: Table, column: str, roles: names.Roles) -> dict[str, np.ndarray]:
    """{"seed 0": its rows, bool [n]} where each begins with the log, and its time rises; none otherwise."""
    values, labels = table.columns[column].values, table.labels.get(column)
    found = np.unique(values)
    if not table.columns[column].present.all() or not 1 < len(found) <= MAX_RUNS:
        return {}
    time, trained = find_time(table, roles.time_kind), rows_of_training(table, roles)
    clock = table.columns[time.clock].values if time.clock else np.arange(float(len(table)))
    known = trained & np.isfinite(clock)
    rows = {}
    for value in found:
        own = values == value
        at = clock[own & known]
        if not len(at) or (np.diff(at) < 0).any() or at[0] > np.unique(clock[known])[:_FIRST][-1]:
            return {}
        label = f"{value:.10g}" if labels is None else labels[int(value)]
        rows[f"{column} {label}"] = own
    return rows


def _begun_again(tables: Sequence[Table], roles: names.Roles) -> dict[str, list[Table]]:
    """{"run 1": its rows, "run 2": …} where the time goes back to its beginning; otherwise one, without a name."""
    filled = [table for table in tables if table.columns]
    begins = [find_time(table, roles.time_kind).beginnings(rows_of_training(table, roles)) for table in filled]
    if len({len(rows) for rows in begins}) != 1 or not begins[0]:
        return {"": list(tables)}
    runs: dict[str, list[Table]] = {}
    for table, rows in zip(filled, begins, strict=True):
        note = f"its time begins anew {len(rows)} times" if len(rows) > 1 else "its time begins anew once"
        for i, (begin, end) in enumerate(pairwise([0, *rows, len(table)]), 1):
            part = table.part(slice(begin, end), f"run {i}", 0 if begin else table.unread)
            if not roles.translate_all(part.columns) and not roles.split_sides(part.columns):
                return {"": list(tables)}
            part = replace(part, notes=(*part.notes, f"{note}: this is training {i} of {len(rows) + 1}"))
            runs.setdefault(f"run {i}", []).append(part)
    return runs


def rows_of_training(table: Table, roles: names.Roles) -> np.ndarray:
    """Which rows have more than times, measures of quality and the training's name, bool [n]; all if none has."""
    trained = np.zeros(len(table), bool)
    for name, column in table.columns.items():
        if not (roles.time_kind(name) or names.is_run(name) or names.translate(name) in names.SPARSE):
            trained |= column.present
    return trained if trained.any() else ~trained
