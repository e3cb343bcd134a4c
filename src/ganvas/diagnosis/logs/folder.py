"""Which files in a folder are the log of a training."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ganvas.diagnosis.logs import names
from ganvas.diagnosis.logs.formats.json_document import looks_like_json
from ganvas.diagnosis.logs.formats.json_lines import parse_line
from ganvas.diagnosis.logs.packed import plain_name
from ganvas.diagnosis.logs.rows import Table
from ganvas.diagnosis.logs.source import FORMS, HEAD, MAX_DOCUMENT, Source, open_source, shown
from ganvas.errors import GanvasError

Reader = Callable[[Source], Sequence[Table]]
"""The tables of a file; GanvasError if it is no log."""

MAX_FILES, MAX_ENTRIES, MAX_DEPTH = 2000, 100_000, 5
"""Files of a log's kind in a folder that are looked at, entries among which they are searched, and how deep."""

_LONGER = 2**20
"""Bytes of a text in which a quantity is searched that its first bytes do not have."""

_SUFFIXES = {"", ".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".log", ".txt", ".out", ".dat", ".md"}


@dataclass(frozen=True)
class _Log:
    """A file with quantities of a GAN.

    Attributes:
        source: the file.
        quantities: the names of Ganvas that its first lines have, of two GANs with their sides.
        rows: how many rows its first bytes have.
    """

    source: Source
    quantities: frozenset[str]
    rows: int


def openable(path: Path, roles: names.Roles) -> list[Source]:
    """The files in a folder and those in it that are text or events, in the order of their names."""

    def may_be_log(file: Path) -> bool:
        named = "tfevents" in file.name or plain_name(file).suffix.lower() in _SUFFIXES
        return named and len(file.relative_to(path).parts) <= MAX_DEPTH and file.is_file()

    files = filter(may_be_log, islice(path.rglob("*"), MAX_ENTRIES))
    sources = []
    for file in sorted(islice(files, MAX_FILES)):
        try:
            sources.append(open_source(file, roles.given))
        except GanvasError:
            continue
    return sources


def find_logs(
    path: Path, sources: Sequence[Source], read: Reader, roles: names.Roles, otherwise: Sequence[Source] = ()
) -> list[Source]:
    """The files that are one training: those beside each other, or further inside, that have different quantities.

    Args:
        path: the folder.
        sources: the files in it, from `openable`.
        read: of any format.
        roles: what the user said of the columns.
        otherwise: the files where there is no log.

    Raises:
        GanvasError: there is no log, or there are several.
    """
    logs = [log for source in sources if (log := _look(source, read, roles))]
    beside = [log for log in logs if log.source.path.parent == path]
    if any(has_losses(log.quantities) for log in beside):
        logs = beside
    logs = _without_copies(logs)
    shared = [name for name in {name for log in logs for name in log.quantities}
              if sum(name in log.quantities for log in logs) > 1]  # fmt: skip
    inside = {log.source.path.parent for log in logs} - {path}
    if shared or len(inside) > 1:
        some = [shown(log.source.path.relative_to(path).as_posix()) for log in logs]
        listed = ", ".join(some[:9]) + (f" and {len(some) - 9} more" if len(some) > 9 else "")
        raise GanvasError(
            f"{shown(path)} holds several logs: {listed}.",
            expected="the log of one training",
            fix=f"name one, such as {shown(logs[0].source.path)}.",
        )
    if not (logs or otherwise):
        raise GanvasError(f"{shown(path)} holds no log.", expected=FORMS, fix="name the log itself.")
    return [log.source for log in logs] or list(otherwise)


def _look(source: Source, read: Reader, roles: names.Roles) -> _Log | None:
    """What is at the start of a file, or in a whole document; None if it has no quantity of a GAN."""
    document = source.size <= MAX_DOCUMENT and looks_like_json(source) and parse_line(source.head[0]) is None
    for size in (HEAD, MAX_DOCUMENT if document else _LONGER):
        try:
            tables = read(source.beginning(size))
        except GanvasError:
            tables = []
        if own := quantities_of(tables, roles):
            return _Log(source, own, max(map(len, tables), default=0))
        if source.size <= size:
            break
    return None


def quantities_of(tables: Sequence[Table], roles: names.Roles) -> frozenset[str]:
    """The names of Ganvas of the columns; of two GANs with their sides."""
    columns = list(dict.fromkeys(name for table in tables for name in table.columns))
    if sides := roles.split_sides(columns):
        return frozenset(f"{names.translate(base)} {side}" for side, bases in sides.items() for base in bases.values())
    return frozenset(roles.translate_all(columns).values())


def has_losses(quantities: Collection[str]) -> bool:
    """Whether some are of D or of G."""
    return any(name.startswith(("D/", "G/")) for name in quantities)


def _without_copies(logs: Sequence[_Log]) -> list[_Log]:
    """Without what another file beside it has too: train.log of train.log.json, and a summary of a single row."""
    kept = []
    for log in logs:
        others = [one for one in logs if one.source.path.parent == log.source.path.parent and one is not log]
        copied = any(one.source.path.name.startswith(f"{log.source.path.name}.") for one in others)
        summary = log.rows == 1 and any(one.rows > 1 and one.quantities & log.quantities for one in others)
        if not (copied or summary):
            kept.append(log)
    return kept
