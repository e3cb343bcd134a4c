"""Anyone's training log as histories: the table of formats, tried in order, and the files of a folder."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ganvas.diagnosis.history import Facts, History
from ganvas.diagnosis.logs import names
from ganvas.diagnosis.logs.assemble import assemble
from ganvas.diagnosis.logs.folder import find_logs, has_losses, openable, quantities_of
from ganvas.diagnosis.logs.formats import stats
from ganvas.diagnosis.logs.formats.event_file import read_event_file
from ganvas.diagnosis.logs.formats.json_document import read_json_document
from ganvas.diagnosis.logs.formats.json_lines import read_json_lines
from ganvas.diagnosis.logs.formats.printed import read_printed
from ganvas.diagnosis.logs.formats.separated import read_separated
from ganvas.diagnosis.logs.formats.series_csv import read_long_form, read_tensorboard_csv, read_wandb
from ganvas.diagnosis.logs.formats.series_file import read_mlflow_metric, read_series_file
from ganvas.diagnosis.logs.rows import Table
from ganvas.diagnosis.logs.source import Source, is_event_file, open_source, shown
from ganvas.errors import GanvasError

Reader = Callable[[Source], Sequence[Table] | None]
"""The tables of a file; None if it is of another format."""

FORMATS: tuple[tuple[str, Reader], ...] = (
    ("TensorBoard's events", read_event_file),
    ("CSV of TensorBoard", read_tensorboard_csv),
    ("CSV of Weights & Biases", read_wandb),
    ("metrics of MLflow", read_mlflow_metric),
    ("a file a quantity", read_series_file),
    ("JSON", read_json_document),
    ("lines of JSON or Python's dicts", read_json_lines),
    ("separated values in long form", read_long_form),
    ("separated values", read_separated),
    ("printed lines", read_printed),
)
"""Each format in words, and its reader; the first that knows the content reads the file."""

_PARTS = (read_event_file, read_mlflow_metric, read_tensorboard_csv)
"""Formats of which a folder holds many files of one training."""

_LOOK = 2**22
"""Bytes of such a file in which losses are looked for before it is read whole."""


def read(path: Path) -> History:
    """The only training in a log: see `read_trainings`.

    Raises:
        GanvasError: as there; or it holds several trainings.
    """
    trainings = read_trainings([path])
    if len(trainings) > 1:
        raise GanvasError(
            f"{shown(path)} holds {len(trainings)} trainings: {', '.join(trainings)}.", expected="one training"
        )
    return next(iter(trainings.values()))


def read_trainings(paths: Sequence[Path], columns: Mapping[str, str] | None = None) -> dict[str, History]:
    """{name of the training: its quantities under the names of Ganvas}; the name of the only one is empty.

    The facts say how it was read: `source`, `format`, `columns`, `unused`, `unread`, `restarts`, `resolution`,
    `probabilities` and `critic`.

    Args:
        paths: a log, or several files of one training; a folder stands for its files.
        columns: {name in the log: name in Ganvas} where the names do not say it (`names.to_columns`).

    Raises:
        GanvasError: it is not there, no log, or not a log in which a GAN can be recognised.
    """
    roles = names.Roles(columns or {})
    tables, formats, files = [], [], 0
    for path in paths:
        for source in _sources(path, roles):
            if len(paths) == 1 and stats.is_own(source):
                return {"": stats.read_own(source)}
            format_, found = _read_one(source)
            tables += _placed(found, source, path)
            formats.append(format_)
            files += 1
    source = paths[0].name if len(paths) == 1 else f"{paths[0].name} and {len(paths) - 1} more"
    described = " and ".join(dict.fromkeys(formats)) + (f", {files} files" if files > 1 else "")
    return assemble(tables, Facts(source=shown(source or paths[0]), format=described), roles)


def _read_one(source: Source) -> tuple[str, Sequence[Table]]:
    """(the format in words, the tables)."""
    for format_, reader in FORMATS:
        if (tables := reader(source)) is not None:
            return format_, tables
    raise AssertionError("the last reader takes every text")


def _placed(tables: Sequence[Table], source: Source, root: Path) -> list[Table]:
    """With their place: a later event file in a folder goes on, and `loss` of one in a folder loss_D is loss_D/loss."""
    if not is_event_file(source):
        return [replace(table, place=str(source.path)) for table in tables]
    place = source.path.parent
    folder = "" if place == root or source.path == root else place.relative_to(root).as_posix()
    evaluated = names.is_evaluation(folder)
    placed = []
    for table in tables:
        columns = {
            f"{folder}/{name}"
            if folder and not names.time_kind(name) and (evaluated or not names.translate(name))
            else name: column
            for name, column in table.columns.items()
        }
        placed.append(replace(table, columns=columns, place=str(place)))
    return placed


def _is(source: Source, reader: Reader) -> bool:
    """Whether a file is of a format, from its first bytes."""
    return reader(source.beginning()) is not None


def _has_losses(source: Source, root: Path, roles: names.Roles) -> bool:
    """Whether a file, or already its beginning, has losses of D or G."""
    return any(
        has_losses(quantities_of(_placed(_read_one(source.beginning(size))[1], source, root), roles))
        for size in sorted({min(_LOOK, source.size), source.size})
    )


def _sources(path: Path, roles: names.Roles) -> list[Source]:
    """The file itself, or the files of the training in a folder.

    Raises:
        GanvasError: there is no log in the folder, or there are several.
    """
    if not path.is_dir():
        return [open_source(path, roles.given)]
    sources = openable(path, roles)
    parts: list[Source] = []
    for reader in _PARTS:
        found = [source for source in sources if _is(source, reader)]
        if any(_has_losses(source, path, roles) for source in found):
            return found
        parts = parts or found
    sources = [source for source in sources if source not in parts]
    beside = [source for source in sources if source.path.parent == path]
    if own := [source for source in beside if source.path.name == "stats.jsonl"]:
        return own + [source for source in beside if source.path.match("metric-*.jsonl")]
    return find_logs(path, sources, lambda source: _read_one(source)[1], roles, parts)
