"""Rows of numbers in bounded memory: what the readers of all formats fill."""

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from ganvas.diagnosis.logs import names

MAX_ROWS = 2**16
"""Most rows that are kept of a log; of longer ones every second is dropped, as often as necessary."""

MAX_CELLS = 2**21
"""Most cells that are kept: a log of very many columns keeps fewer rows."""

RARE = 1024
"""Rows of a kind (with the same columns) that is rarer are all kept: those of an evaluation now and then."""

LAST = 20
"""Numbers at the end of a column whose printed decimals count."""

MAX_RUNS = 20
"""Trainings that a column names; one with more values is something else."""

_BUFFER = 4096

GAP, VALUE, NULL = 0, 1, 2
"""What a cell is: not there, a number (NaN and infinity too), or a null of JSON and an empty cell of a table."""


class Column(NamedTuple):
    """One column.

    Attributes:
        values: float64 [n], NaN in gaps and nulls.
        state: uint8 [n]: GAP, VALUE or NULL.
    """

    values: np.ndarray
    state: np.ndarray

    @property
    def present(self) -> np.ndarray:
        """Where it has numbers, bool [n]."""
        return self.state == VALUE


@dataclass(eq=False)
class Table:
    """Rows that share their time.

    Attributes:
        rows: the number of each row in the file, int64 [n], ascending.
        columns: by the names of the log.
        unread: how many lines could not be parsed.
        texts: the last numbers of each column as they were printed, where they were.
        training: which of several trainings in one log this is.
        place: the file, or the folder of event files, whose columns go on in a later file.
        dropped: names of numbers that stood on lines without a known quantity, which were left out.
        notes: what was done to the numbers, in words for the user.
        labels: {column: its words, each in the place of its number} of a column that names trainings.
        empty: whether there is a header, and no row below it yet.
    """

    rows: np.ndarray
    columns: dict[str, Column]
    unread: int = 0
    texts: Mapping[str, Collection[str]] = field(default_factory=dict)
    training: str = ""
    place: str = ""
    dropped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    empty: bool = False

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, rows: slice | np.ndarray, training: str, unread: int) -> "Table":
        """Some of the rows, a slice or bool [n], as a training of their own."""
        columns = {name: Column(column.values[rows], column.state[rows]) for name, column in self.columns.items()}
        filled = {name: column for name, column in columns.items() if column.present.any()}
        return replace(self, rows=self.rows[rows], columns=filled, unread=unread, training=training)


class Rows:
    """Collects rows, and thins them when there are too many.

    The first row, the last one, the smallest and the largest number of each column, the first that are not finite, and
    all rows of a rare kind stay.
    """

    def __init__(self, max_rows: int = MAX_ROWS) -> None:
        self.max_rows = max_rows
        self.count = self.unread = 0
        self.texts: dict[str, Collection[str]] = {}
        self._buffer: list[Mapping[str, float | None]] = []
        self._blocks: list[tuple[np.ndarray, dict[str, Column]]] = []
        self._kept = 0

    def add(self, row: Mapping[str, float | None]) -> None:
        """One row; a None is a null."""
        self._buffer.append(row)
        if len(self._buffer) >= _BUFFER:
            self._flush()

    def note_text(self, name: str, text: str) -> None:
        """A number as it is printed; the last `LAST` of a column are kept."""
        texts = self.texts.setdefault(name, deque(maxlen=LAST))
        if isinstance(texts, deque):
            texts.append(text)

    def add_block(self, columns: dict[str, Column]) -> None:
        """Many rows at once."""
        self._flush()
        self._append(columns, len(next(iter(columns.values())).values))

    def table(self, training: str = "") -> Table:
        """All that was kept; columns without a number are left out."""
        self._flush()
        rows, columns = _joined(self._blocks)
        filled = {name: column for name, column in columns.items() if column.present.any()}
        return Table(rows, filled, self.unread, self.texts, training)

    def _flush(self) -> None:
        if not self._buffer:
            return
        rows, self._buffer = self._buffer, []
        columns: dict[str, Column] = {}
        for name in dict.fromkeys(name for row in rows for name in row):
            cells = [row.get(name) for row in rows]
            values = np.array([np.nan if cell is None else cell for cell in cells], float)
            state = np.array([VALUE if cell is not None else NULL if name in row else GAP
                              for cell, row in zip(cells, rows, strict=True)], np.uint8)  # fmt: skip
            columns[name] = Column(values, state)
        self._append(columns, len(rows))

    def _append(self, columns: dict[str, Column], length: int) -> None:
        self._blocks.append((np.arange(self.count, self.count + length), columns))
        self.count += length
        self._kept += length
        width = len({name for _, block in self._blocks for name in block}) if self._kept > RARE else 1
        limit = min(self.max_rows, max(2 * RARE, MAX_CELLS // max(width, 1)))
        if self._kept > 2 * limit:
            rows, block = _joined(self._blocks)
            keep = _thinned(block, len(rows))
            self._blocks = [(rows[keep], {name: Column(*(part[keep] for part in column))
                                          for name, column in block.items()})]  # fmt: skip
            self._kept = len(self._blocks[0][0])


def _joined(blocks: list[tuple[np.ndarray, dict[str, Column]]]) -> tuple[np.ndarray, dict[str, Column]]:
    """All blocks as one, with gaps where a block has no such column."""
    if not blocks:
        return np.empty(0, np.int64), {}
    names = dict.fromkeys(name for _, block in blocks for name in block)
    empty = [Column(np.full(len(rows), np.nan), np.zeros(len(rows), np.uint8)) for rows, _ in blocks]
    columns = {}
    for name in names:
        parts = [block.get(name, gap) for (_, block), gap in zip(blocks, empty, strict=True)]
        columns[name] = Column(
            np.concatenate([part.values for part in parts]), np.concatenate([part.state for part in parts])
        )
    return np.concatenate([rows for rows, _ in blocks]), columns


def _thinned(columns: dict[str, Column], length: int) -> np.ndarray:
    """Which rows stay, bool [n]: of each kind every second one, so that alternating rows are thinned alike."""
    kind = np.zeros(length, np.int64)
    weights = np.random.default_rng(0).integers(1, 2**50, len(columns))
    for weight, (name, column) in zip(weights, columns.items(), strict=True):
        kind += weight * column.present
        if names.is_run(name):
            kind += weight // 2 * np.unique(column.values, return_inverse=True)[1]
    order = np.argsort(kind, kind="stable")
    starts = np.flatnonzero(np.diff(kind[order], prepend=kind[order[0]] - 1))
    sizes = np.diff(starts, append=length)
    place = np.empty(length, np.int64)
    place[order] = np.arange(length) - np.repeat(starts, sizes)  # the how many-th of its kind each row is
    size = np.empty(length, np.int64)
    size[order] = np.repeat(sizes, sizes)
    keep = (place % 2 == 0) | (size < RARE)
    if keep.sum() > 0.75 * length:  # very many kinds
        keep = np.arange(length) % 2 == 0
    keep[[0, -1]] = True
    for values, state in columns.values():
        finite = (state == VALUE) & np.isfinite(values)
        if finite.any():
            keep[[np.where(finite, values, np.inf).argmin(), np.where(finite, values, -np.inf).argmax()]] = True
        keep[np.flatnonzero((state != GAP) & ~finite)[:16]] = True
    return keep
