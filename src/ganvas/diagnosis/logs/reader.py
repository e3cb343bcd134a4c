"""Anyone's training log as a `History`: Ganvas' own, StyleGAN's, JSON, CSV, TensorBoard, or what was printed."""

import io
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ganvas.diagnosis.history import History, numbers
from ganvas.diagnosis.logs import names, parse
from ganvas.diagnosis.logs.parse import Table
from ganvas.errors import GanvasError

Timed = tuple[np.ndarray, np.ndarray]
"""(at, value) of a quantity, float64 [n] each."""

_EVENTS = "events.out.tfevents."
_FORMS = "lines of JSON, CSV, a Keras history, TensorBoard's events, or printed lines such as `d_loss: 0.7 g_loss: 1.2`"


def read(path: Path) -> History:
    """What a log tells, under our names; what has none of ours keeps its own.

    The facts say how it was read: `source`, `columns` {their name: ours}, and where so `unread` lines, `restarts`,
    `probabilities` (whether D's outputs are), `critic`.

    Args:
        path: a log, or a folder with stats.jsonl or TensorBoard's events.

    Raises:
        GanvasError: it is not there, empty, or not a log in which a GAN can be recognised.
    """
    if not path.exists():
        raise GanvasError(f"There is no {path}.", expected="a log or a folder", fix="check the name.")
    if path.is_dir() and not (path / "stats.jsonl").is_file():
        return _of_events(path)
    if _EVENTS in path.name:
        return _of_events(path)
    return _of_text(_text(path / "stats.jsonl" if path.is_dir() else path), path)


def _text(path: Path) -> str:
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


def _of_text(text: str, path: Path) -> History:
    value = parse.parsed(text)
    if table := parse.of_json(value):
        return _of_table(table, path)
    if isinstance(value, dict):
        return _of_objects([value], 0, path)
    if any(isinstance(parse.parsed(line), dict) for line in islice(io.StringIO(text), 20)):
        return _of_objects(*parse.of_objects(text.split("\n")), path)
    if value is not None or path.suffix.lower() == ".json":
        raise GanvasError(
            f"{path} is {'no JSON' if value is None else 'JSON, but no log'}.",
            expected='{"d_loss": [...], "g_loss": [...]}, or [{"step": 0, "d_loss": 0.7}, ...]',
            fix="save the history of the training in one of these forms.",
        )
    delimiter = parse.delimiter_of(text)
    if path.suffix.lower() in (".csv", ".tsv"):
        delimiter = delimiter or max(",\t;|", key=text.split("\n", 1)[0].count)
    return _of_table(parse.of_separated(text, delimiter, path.name) if delimiter else parse.of_print(text), path)


def _of_objects(objects: list[dict[str, Any]], unread: int, path: Path) -> History:
    own = [line for line in objects if isinstance(line.get("nimg"), int | float)]
    if own and any(isinstance(own[0].get(name), Mapping) for name in ("D/loss", "G/loss")):
        try:
            history = History.of_stats(own, {})
        except (TypeError, ValueError) as error:
            raise GanvasError(
                f"{path} is damaged: {error}.", expected="the stats.jsonl of a run", fix="remove the line."
            ) from error
        history.facts |= {"source": path.name, "columns": {name: name for line in own for name, _ in numbers(line)}}
        return history
    return _of_table(parse.of_lines_of_json(objects, unread), path)


def _of_table(table: Table, path: Path) -> History:
    unit, clock, at = _time(table)
    kept, restarts = _standing(at)
    timed = {
        name: (at[seen & kept], values[seen & kept])
        for name, (values, seen) in table.columns.items()
        if name != clock and (seen & kept).any()
    }
    facts = {"unread": table.unread, "restarts": restarts}
    return _history(unit, timed, path, facts, {clock: unit} if clock else {})


def _of_events(path: Path) -> History:
    """From TensorBoard's scalars; those of several folders are one training's if none was told twice."""
    timed: dict[str, Timed] = {}
    restarts = 0
    for place in _event_places(path):
        folder = place.relative_to(path).as_posix() if place.is_dir() else "."
        for tag, (at, values) in _scalars(place).items():
            kept, again = _standing(at)
            restarts = max(restarts, again)
            inner = f"{folder}/{tag}"
            name = tag if folder == "." or (names.ours(tag) and not names.ours(inner)) else inner
            if name in timed:
                raise GanvasError(
                    f"{path} holds several trainings: {name} was logged in more than one of its folders.",
                    expected="one training",
                    fix=f"name one of them, such as {place}.",
                )
            timed[name] = at[kept], values[kept]
    unit = "kimg" if any(names.time(name) == "kimg" for name in timed) else "step"  # StyleGAN's steps are its kimg
    return _history(unit, timed, path, {"restarts": restarts}, {})


def _event_places(path: Path) -> list[Path]:
    """The file itself, or the folders that hold event files."""
    places = [path] if path.is_file() else sorted({file.parent for file in path.rglob(f"*{_EVENTS}*")})
    if not places:
        raise GanvasError(
            f"{path} holds no log: neither stats.jsonl nor {_EVENTS}*.",
            expected=_FORMS,
            fix="name the log itself.",
        )
    return places


def _scalars(place: Path) -> dict[str, Timed]:
    """The scalars of an event file or of a folder of them, also those that TensorFlow 2 writes as tensors."""
    try:
        from tensorboard.backend.event_processing import (  # pyright: ignore[reportMissingImports]
            event_accumulator,
        )
        from tensorboard.util import tensor_util  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise GanvasError(
            f"{place} is TensorBoard's, which is not installed.",
            expected="the package tensorboard",
            fix="pip install tensorboard",
        ) from error
    everything = {event_accumulator.SCALARS: 0, event_accumulator.TENSORS: 0}
    try:
        events = event_accumulator.EventAccumulator(str(place), size_guidance=everything).Reload()
        told = {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
        for tag in events.Tags()["tensors"]:
            if events.SummaryMetadata(tag).plugin_data.plugin_name == "scalars":
                tensors = [(event.step, tensor_util.make_ndarray(event.tensor_proto)) for event in events.Tensors(tag)]
                told[tag] = [(step, float(value)) for step, value in tensors]
    except Exception as error:  # a damaged file raises whatever protobuf or the file system does
        raise GanvasError(
            f"{place} is damaged: {error}.", expected="TensorBoard's events", fix="copy it again."
        ) from error
    columns = {tag: np.array(events, float).reshape(-1, 2) for tag, events in told.items()}
    return {tag: (events[:, 0], events[:, 1]) for tag, events in columns.items()}


def _time(table: Table) -> tuple[str, str, np.ndarray]:
    """(unit, the column that tells it, when each row was), from the surest column there is."""
    told = _clocks(table)
    for kind, per_kimg in (("kimg", 1), ("nimg", 1000)):
        if kind in told:
            name, values = told[kind]
            return "kimg", name, _filled(values) / per_kimg
    epoch = _filled(told["epoch"][1]) if "epoch" in told else None
    steps = [told[kind] for kind in ("step", "batch") if kind in told]
    for name, values in sorted(steps, key=lambda step: _begins_anew(step[1], epoch)):
        return "step", name, _filled(_counted_on(values, epoch) if _begins_anew(values, epoch) else values)
    if epoch is not None:
        return "epoch", told["epoch"][0], epoch + _fractions(epoch)
    return "row", "", np.arange(table.length, dtype=float)


def _clocks(table: Table) -> dict[str, tuple[str, np.ndarray]]:
    """Of each kind of time the first column that moves: (its name, its values, NaN where it is silent)."""
    told: dict[str, tuple[str, np.ndarray]] = {}
    for name, (values, seen) in table.columns.items():
        values = np.where(seen & np.isfinite(values), values, np.nan)
        moves = len(np.unique(values[~np.isnan(values)])) > min(1, table.length - 1)
        if moves and (kind := names.time(name)):
            told.setdefault(kind, (name, values))
    return told


def _filled(values: np.ndarray) -> np.ndarray:
    """With the last value told where there is none, and the first before it."""
    known = ~np.isnan(values)
    last = np.maximum.accumulate(np.where(known, np.arange(len(values)), known.argmax()))
    return values[last]


def _begins_anew(step: np.ndarray, epoch: np.ndarray | None) -> bool:
    """Whether a count begins anew in every epoch, or, where no epoch is told, time and again from the same number."""
    known = ~np.isnan(step)
    back = np.diff(step[known]) < 0
    if epoch is not None:
        return bool((np.diff(epoch[known])[back] > 0).any())
    starts = step[known][1:][back]
    return len(starts) >= 3 and len(np.unique(starts)) == 1


def _counted_on(step: np.ndarray, epoch: np.ndarray | None) -> np.ndarray:
    """The same count through all epochs."""
    if epoch is None:
        filled = _filled(step)
        epoch = np.cumsum(np.diff(filled, prepend=filled[0]) < 0)
    return epoch * (np.nanmax(step) + 1) + step


def _fractions(epoch: np.ndarray) -> np.ndarray:
    """How far in its epoch each of several rows is, 0 where there is one row an epoch."""
    starts = np.flatnonzero(np.diff(epoch, prepend=np.nan) != 0)
    lengths = np.diff(starts, append=len(epoch))
    return (np.arange(len(epoch)) - np.repeat(starts, lengths)) / lengths.max()


def _standing(at: np.ndarray) -> tuple[np.ndarray, int]:
    """(which rows no later sitting wrote again, how often time went back)."""
    back = np.flatnonzero(np.diff(at) < 0)
    limits = np.full(len(at), np.inf)
    limits[back] = at[back + 1]
    return at < np.minimum.accumulate(limits[::-1])[::-1], len(back)


def _history(
    unit: str, timed: Mapping[str, Timed], path: Path, facts: Mapping[str, int], clock: Mapping[str, str]
) -> History:
    """Renamed, with the facts that the numbers themselves tell."""
    known = _ours(timed, path)
    history = History(unit, {"source": path.name, "columns": {**clock, **known}})
    history.facts |= {name: count for name, count in facts.items() if count}
    for name, (at, values) in timed.items():
        own = known.get(name, name)
        if own.startswith("D/accuracy") and (values[np.isfinite(values)] > 1).any():
            values = values / 100
        history.columns[own] = at.tolist(), values.tolist()
    outputs = [name for name, own in known.items() if own in ("D/real", "D/fake")]
    history.facts |= _range_of_output(outputs, [timed[name][1] for name in outputs])
    losses = [history[name].value for name in ("D/loss", "D/loss_real", "D/loss_fake") if name in history]
    if any(map(names.is_critic, known)) or any(map(_clearly_negative, losses)):
        history.facts["critic"] = True
    return history


def _ours(timed: Mapping[str, Timed], path: Path) -> dict[str, str]:
    """{their name: ours}; of several names for one quantity its own, or else that of the most values."""
    if not any(len(at) for at, _ in timed.values()):
        raise GanvasError(f"{path} tells no numbers.", expected=_FORMS, fix="name the log of the training.")
    known = names.ours_among(list(timed))
    if not known:
        raise GanvasError(
            f"{path} tells only what is not understood: {_listed(timed)}.",
            expected=f"names such as {names.UNDERSTOOD}",
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


def _range_of_output(theirs: list[str], values: list[np.ndarray]) -> dict[str, bool]:
    """Whether D's outputs are probabilities, where their names or their range can tell."""
    finite = np.concatenate([np.empty(0), *values])
    finite = finite[np.isfinite(finite)]
    if (finite < 0).any() or (finite > 1).any():
        return {"probabilities": False}
    return {"probabilities": True} if len(finite) and any(map(names.is_probability, theirs)) else {}


def _clearly_negative(loss: np.ndarray) -> bool:
    """Whether more than a tenth of a loss is below 0, which cross-entropy cannot be."""
    finite = loss[np.isfinite(loss)]
    return len(finite) > 0 and float((finite < -0.01).mean()) > 0.1
