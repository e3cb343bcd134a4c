"""CSV whose columns are no plain quantities: Weights & Biases, TensorBoard, long form."""

import re
from itertools import islice

import numpy as np

from ganvas.diagnosis.logs import names
from ganvas.diagnosis.logs.formats import decimal_comma
from ganvas.diagnosis.logs.formats.objects import tag_of
from ganvas.diagnosis.logs.formats.separated import (
    Layout,
    cells_of,
    find_layout,
    lines_of,
    read_columns,
    writes_commas,
)
from ganvas.diagnosis.logs.numbers import number
from ganvas.diagnosis.logs.rows import Column, Rows, Table
from ganvas.diagnosis.logs.source import Source

_WANDB_BOUNDS = ("__MIN", "__MAX")
_WANDB_COLUMN = re.compile(r"(?P<run>.+) - (?P<metric>.+)")
_NAME_COLUMNS = {"name", "metric", "tag", "key", "variable", "metricname", "series", "scalar"}
_VALUE_COLUMNS = {"value", "metricvalue", "val", "scalarvalue"}


def read_tensorboard_csv(source: Source) -> list[Table] | None:
    """A scalar downloaded from TensorBoard: `Wall time,Step,Value`; the file's name ends in its tag."""
    header = cells_of(source.head[0], ",") if source.head else []
    if list(map(names.normalise_name, header)) != ["walltime", "step", "value"]:
        return None
    return [read_columns(source, Layout(","), lambda header: ["", header[1], tag_of(source.name.stem)])]


def read_wandb(source: Source) -> list[Table] | None:
    """A chart of Weights & Biases as CSV: `Step,run - metric,run - metric__MIN,run - metric__MAX`, for each run."""
    header = cells_of(source.head[0], ",") if source.head else []
    found = [_WANDB_COLUMN.fullmatch(cell) for cell in header[1:] if not cell.endswith(_WANDB_BOUNDS)]
    if len(header) < 2 or not found or not all(found):
        return None
    second = cells_of(source.head[1], ",") if len(source.head) > 1 else []
    if any(cell and number(cell) is None for cell in second[1:]) or len(second) not in (0, len(header)):
        return None  # prose with a comma and a dash
    table = read_columns(
        source, Layout(","), lambda header: ["" if cell.endswith(_WANDB_BOUNDS) else cell for cell in header]
    )
    runs = dict.fromkeys(match["run"] for match in found if match and match["metric"] != "_step")
    tables = []
    for run in runs:
        own = {name.removeprefix(f"{run} - "): column for name, column in table.columns.items()
               if name.startswith(f"{run} - ") or name == header[0]}  # fmt: skip
        texts = {name.removeprefix(f"{run} - "): texts for name, texts in table.texts.items()}
        if not own.keys() - {header[0]}:
            continue
        filled = np.any([column.present for name, column in own.items() if name != header[0]], axis=0)
        columns = {name: Column(column.values[filled], column.state[filled]) for name, column in own.items()}
        tables.append(Table(table.rows[filled], columns, table.unread, texts, run if len(runs) > 1 else ""))
    return tables


def read_long_form(source: Source) -> list[Table] | None:
    """One number a line, with the name of its quantity: `name,step,value`."""
    layout = find_layout(source)
    if layout is None or layout.header != 0:
        return None
    first, second = (cells_of(line, layout.delimiter) for line in source.head[:2])
    header = list(map(names.normalise_name, first))
    which = [i for i, cell in enumerate(header) if cell in _NAME_COLUMNS]
    value = [i for i, cell in enumerate(header) if cell in _VALUE_COLUMNS]
    if not (which and value) or number(second[which[0]]) is not None:
        return None
    clocks = [(i, cell.strip()) for i, cell in enumerate(first) if names.time_kind(cell)]
    commas = layout.delimiter == ";" or writes_commas(source, layout)

    def number_of(cell: str, counts: bool = False) -> float | None:
        return number(decimal_comma.with_point(cell.strip(), counts) if commas else cell)

    series: dict[str, Rows] = {}
    unread = 0
    for cells in islice(lines_of(source, layout), 1, None):
        if len(cells) != len(header) or (read := number_of(cells[value[0]])) is None:
            unread += bool(cells)
            continue
        name = cells[which[0]].strip()
        rows = series.setdefault(name, Rows())
        rows.add(
            {name: read}
            | {clock: number_of(cells[i], names.time_kind(clock) in names.WHOLE_TIMES) for i, clock in clocks}
        )
        rows.note_text(name, cells[value[0]])
    tables = [rows.table() for rows in series.values()]
    if tables:
        tables[0].unread = unread
    return tables
