"""Anyone's training log as a `History`: Ganvas' own, StyleGAN's, JSON, CSV, TensorBoard, or printed lines."""

import io
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ganvas.diagnosis.history import Facts, History, numbers
from ganvas.diagnosis.logs import names, parse
from ganvas.diagnosis.logs.parse import Table
from ganvas.errors import GanvasError

Timed = tuple[np.ndarray, np.ndarray]
"""(at, value) of a quantity, float64 [n] each."""

_EVENTS = "events.out.tfevents."
_FORMS = "lines of JSON, CSV, a Keras history, TensorBoard's events, or printed lines such as `d_loss: 0.7 g_loss: 1.2`"


def read(path: Path) -> History:
    """The quantities of a log under the names of Ganvas; those that are not recognised keep their own.

    The facts say how it was read: `source`, `columns`, `unread`, `restarts`, `probabilities` and `critic`.

    Args:
        path: a log, or a folder with stats.jsonl or TensorBoard's events.

    Raises:
        GanvasError: it is not there, empty, or not a log in which a GAN can be recognised.
    """
    if not path.exists():
        raise GanvasError(f"There is no {path}.", expected="a log or a folder", fix="check the name.")
    if path.is_dir() and not (path / "stats.jsonl").is_file():
        return _from_events(path)
    if _EVENTS in path.name:
        return _from_events(path)
    return _read_text(_load_text(path / "stats.jsonl" if path.is_dir() else path), path)


def _load_text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise GanvasError(
            f"{path} could not be read ({error.strerror}).", expected="a log", fix="check its permissions."
        ) from error
    wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))  # what PowerShell's > writes
    text = content.decode("utf-16" if wide else "utf-8-sig", errors="replace")
    text = text.rstrip("\0")  # what a crash leaves at the end
    if not text.strip():
        raise GanvasError(f"{path} is empty.", expected=_FORMS, fix="wait until the training has written something.")
    if "\0" in text or text.count("\ufffd") > len(text) / 100:
        raise GanvasError(f"{path} is not text.", expected=_FORMS, fix="name the log of the training.")
    return text


def _read_text(text: str, path: Path) -> History:
    value = parse.parse_json(text)
    if table := parse.parse_json_table(value):
        return _from_table(table, path)
    if isinstance(value, dict):
        return _from_objects([value], 0, path)
    if any(isinstance(parse.parse_json(line), dict) for line in islice(io.StringIO(text), 20)):
        return _from_objects(*parse.parse_json_lines(text.split("\n")), path)
    if value is not None or path.suffix.lower() == ".json":
        raise GanvasError(
            f"{path} is {'no JSON' if value is None else 'JSON, but no log'}.",
            expected='{"d_loss": [...], "g_loss": [...]}, or [{"step": 0, "d_loss": 0.7}, ...]',
            fix="save the history of the training in one of these forms.",
        )
    delimiter = parse.find_delimiter(text)
    if path.suffix.lower() in (".csv", ".tsv"):
        delimiter = delimiter or max(",\t;|", key=text.split("\n", 1)[0].count)
    return _from_table(
        parse.parse_separated(text, delimiter, path.name) if delimiter else parse.parse_printed(text), path
    )


def _from_objects(objects: list[dict[str, Any]], unread: int, path: Path) -> History:
    own = [line for line in objects if isinstance(line.get("nimg"), int | float)]
    if own and any(isinstance(own[0].get(name), Mapping) for name in ("D/loss", "G/loss")):
        try:
            columns = {name: name for line in own for name, _ in numbers(line)}
            return History.from_stats(own, Facts(source=path.name, columns=columns))
        except (TypeError, ValueError) as error:
            raise GanvasError(
                f"{path} is damaged: {error}.", expected="the stats.jsonl of a run", fix="remove the line."
            ) from error
    return _from_table(parse.tabulate_objects(objects, unread), path)


def _from_table(table: Table, path: Path) -> History:
    unit, clock, at = _time(table)
    kept, restarts = _rows_kept(at)
    timed = {
        name: (at[present & kept], values[present & kept])
        for name, (values, present) in table.columns.items()
        if name != clock and (present & kept).any()
    }
    facts = Facts(source=path.name, columns={clock: unit} if clock else {}, unread=table.unread, restarts=restarts)
    return _history(unit, timed, path, facts)


def _from_events(path: Path) -> History:
    """From TensorBoard's scalars; several folders are one training if no scalar is in two of them."""
    timed: dict[str, Timed] = {}
    restarts = 0
    for place in _event_places(path):
        folder = place.relative_to(path).as_posix() if place.is_dir() else "."
        for tag, (at, values) in _scalars(place).items():
            kept, again = _rows_kept(at)
            restarts = max(restarts, again)
            inner = f"{folder}/{tag}"
            name = tag if folder == "." or (names.translate(tag) and not names.translate(inner)) else inner
            if name in timed:
                raise GanvasError(
                    f"{path} holds several trainings: {name} was logged in more than one of its folders.",
                    expected="one training",
                    fix=f"name one of them, such as {place}.",
                )
            timed[name] = at[kept], values[kept]
    unit = "kimg" if any(names.time_kind(name) == "kimg" for name in timed) else "step"  # StyleGAN's steps are its kimg
    return _history(unit, timed, path, Facts(source=path.name, restarts=restarts))


def _event_places(path: Path) -> list[Path]:
    """The file itself, or the folders that hold event files."""
    places = [path] if path.is_file() else sorted({file.parent for file in path.rglob(f"*{_EVENTS}*")})
    if not places:
        raise GanvasError(
            f"{path} holds no log: neither stats.jsonl nor {_EVENTS}*.", expected=_FORMS, fix="name the log itself."
        )
    return places


def _scalars(place: Path) -> dict[str, Timed]:
    """The scalars of an event file or of a folder of them, also those that TensorFlow 2 writes as tensors."""
    try:
        from tensorboard.backend.event_processing import event_accumulator  # pyright: ignore[reportMissingImports]
        from tensorboard.util import tensor_util  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise GanvasError(
            f"{place} is a TensorBoard log, and TensorBoard is not installed.",
            expected="the package tensorboard",
            fix="pip install tensorboard",
        ) from error
    everything = {event_accumulator.SCALARS: 0, event_accumulator.TENSORS: 0}
    try:
        events = event_accumulator.EventAccumulator(str(place), size_guidance=everything).Reload()
        scalars = {
            tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]
        }
        for tag in events.Tags()["tensors"]:
            if events.SummaryMetadata(tag).plugin_data.plugin_name == "scalars":
                tensors = [(event.step, tensor_util.make_ndarray(event.tensor_proto)) for event in events.Tensors(tag)]
                scalars[tag] = [(step, float(value)) for step, value in tensors]
    except Exception as error:  # a damaged file raises whatever protobuf or the file system does
        raise GanvasError(
            f"{place} is damaged: {error}.", expected="TensorBoard's events", fix="copy it again."
        ) from error
    columns = {tag: np.array(events, float).reshape(-1, 2) for tag, events in scalars.items()}
    return {tag: (events[:, 0], events[:, 1]) for tag, events in columns.items()}


def _time(table: Table) -> tuple[str, str, np.ndarray]:
    """(unit, the column of the time, the time of each row), from the most precise column there is."""
    clocks = _clocks(table)
    for kind, per_kimg in (("kimg", 1), ("nimg", 1000)):
        if kind in clocks:
            name, values = clocks[kind]
            return "kimg", name, _fill(values) / per_kimg
    epoch = _fill(clocks["epoch"][1]) if "epoch" in clocks else None
    steps = [clocks[kind] for kind in ("step", "batch") if kind in clocks]
    for name, values in sorted(steps, key=lambda step: _restarts_count(step[1], epoch)):
        return "step", name, _fill(_accumulate(values, epoch) if _restarts_count(values, epoch) else values)
    if epoch is not None:
        return "epoch", clocks["epoch"][0], epoch + _fractions(epoch)
    return "row", "", np.arange(table.length, dtype=float)


def _clocks(table: Table) -> dict[str, tuple[str, np.ndarray]]:
    """Of each kind of time the first column that changes: (its name, its values, NaN in its gaps)."""
    clocks: dict[str, tuple[str, np.ndarray]] = {}
    for name, (values, present) in table.columns.items():
        values = np.where(present & np.isfinite(values), values, np.nan)
        changes = len(np.unique(values[~np.isnan(values)])) > min(1, table.length - 1)
        if changes and (kind := names.time_kind(name)):
            clocks.setdefault(kind, (name, values))
    return clocks


def _fill(values: np.ndarray) -> np.ndarray:
    """Gaps filled with the last value, and those at the start with the first."""
    known = ~np.isnan(values)
    last = np.maximum.accumulate(np.where(known, np.arange(len(values)), known.argmax()))
    return values[last]


def _restarts_count(step: np.ndarray, epoch: np.ndarray | None) -> bool:
    """Whether a count restarts in every epoch, or, without epochs, repeatedly from the same number."""
    known = ~np.isnan(step)
    back = np.diff(step[known]) < 0
    if epoch is not None:
        return bool((np.diff(epoch[known])[back] > 0).any())
    starts = step[known][1:][back]
    return len(starts) >= 3 and len(np.unique(starts)) == 1


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


def _rows_kept(at: np.ndarray) -> tuple[np.ndarray, int]:
    """(which rows no resumed training wrote again, how often time went back)."""
    back = np.flatnonzero(np.diff(at) < 0)
    limits = np.full(len(at), np.inf)
    limits[back] = at[back + 1]
    return at < np.minimum.accumulate(limits[::-1])[::-1], len(back)


def _history(unit: str, timed: Mapping[str, Timed], path: Path, facts: Facts) -> History:
    """With the quantities renamed, and the facts that follow from the numbers themselves."""
    known = _recognised(timed, path)
    history = History(unit, replace(facts, columns={**facts.columns, **known}))
    for name, (at, values) in timed.items():
        own = known.get(name, name)
        if own.startswith("D/accuracy") and (values[np.isfinite(values)] > 1).any():
            values = values / 100
        history.columns[own] = at.tolist(), values.tolist()
    outputs = [name for name, own in known.items() if own in ("D/real", "D/fake")]
    history.update_facts(probabilities=_are_probabilities(outputs, [timed[name][1] for name in outputs]))
    losses = [history[name].value for name in ("D/loss", "D/loss_real", "D/loss_fake") if name in history]
    if any(map(names.is_critic, known)) or any(map(_clearly_negative, losses)):
        history.update_facts(critic=True)
    return history


def _recognised(timed: Mapping[str, Timed], path: Path) -> dict[str, str]:
    """{name in the log: name in Ganvas}; of several names for one quantity its own, or else that of most values."""
    if not any(len(at) for at, _ in timed.values()):
        raise GanvasError(f"{path} contains no numbers.", expected=_FORMS, fix="name the log of the training.")
    known = names.translate_all(list(timed))
    if not known:
        raise GanvasError(
            f"{path} contains no name that is recognised: {_listed(timed)}.",
            expected=f"names such as {names.EXAMPLES}",
            fix="rename the columns of D's and G's loss to d_loss and g_loss.",
        )
    best: dict[str, str] = {}
    for name in sorted(known, key=lambda name: (name == known[name], len(timed[name][0])), reverse=True):
        best.setdefault(known[name], name)
    return {name: own for name, own in known.items() if best[own] == name}


def _listed(columns: Iterable[str]) -> str:
    """At most 20 of the names."""
    some = list(columns)
    return ", ".join(some[:20]) + (f" and {len(some) - 20} more" if len(some) > 20 else "")


def _are_probabilities(columns: list[str], values: list[np.ndarray]) -> bool | None:
    """Whether D's outputs are probabilities; None where neither their names nor their range says so."""
    finite = np.concatenate([np.empty(0), *values])
    finite = finite[np.isfinite(finite)]
    if (finite < 0).any() or (finite > 1).any():
        return False
    return True if len(finite) and any(map(names.is_probability, columns)) else None


def _clearly_negative(loss: np.ndarray) -> bool:
    """Whether more than a tenth of a loss is below 0, which cross-entropy cannot be."""
    finite = loss[np.isfinite(loss)]
    return len(finite) > 0 and float((finite < -0.01).mean()) > 0.1
