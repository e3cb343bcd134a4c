"""ganvas.diagnose: why does this training fail? Of a run of Ganvas, or of anyone's log."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import Any

from ganvas import user_code
from ganvas.config import TrainConfig
from ganvas.config import replace as replace_knobs
from ganvas.config.custom import Custom
from ganvas.diagnosis.diagnosis import Diagnosis, apply_rules, combine
from ganvas.diagnosis.history import Facts, History, NonFinite
from ganvas.diagnosis.logs.names import to_columns
from ganvas.diagnosis.logs.reader import read_trainings
from ganvas.errors import GanvasError, describe_value
from ganvas.files import to_path
from ganvas.reading import MAX_DOCUMENT, read_bytes
from ganvas.runs import lookup, overview
from ganvas.runs.folder import Run
from ganvas.runs.log import LogLines, read_events, read_stats


def diagnose(what: Run | Path | str | Sequence[Path | str], columns: Mapping[str, str] | None = None) -> Diagnosis:
    """Why a training fails, with evidence and fixes; or that it does not.

    Args:
        what: a run of Ganvas, or a log of any program: CSV, JSON, lines of JSON, printed lines, TensorBoard's events,
            MLflow's metrics; several files of one training as a list, or as a folder. The fewer quantities it has,
            the fewer conditions can be checked: see `Diagnosis.unchecked`.
        columns: what is what in a log whose names do not say it: {"d_loss": NAME, "g_loss": NAME, "step": NAME}; where
            there are no names, the place of the column: {"d_loss": "1"}.

    Returns:
        One diagnosis; of a log with several trainings, such as CycleGAN's, each is in `Diagnosis.trainings`.

    Raises:
        GanvasError: there is no such file, or nothing in it is recognised.
    """
    if not isinstance(columns, Mapping | None) or not all(
        isinstance(text, str) for pair in (columns or {}).items() for text in pair
    ):
        raise GanvasError(f"columns is {describe_value(columns)}.", expected='names, such as {"d_loss": "errD"}')
    if isinstance(what, Run):
        return apply_rules(read_run(what))
    several = what if isinstance(what, list | tuple) else [what]
    if not several:
        raise GanvasError("No run and no log is named.", expected="a run, or a log")
    paths = [to_path(one, "a run, or a log") for one in several]
    for path in paths:
        lookup.check_no_generator(str(path), f"ganvas evaluate {path} measures it.")
    if len(paths) == 1 and not columns and is_run(paths[0]):
        return apply_rules(read_run(Run(paths[0])))
    if len(paths) == 1 and not columns and (runs := _runs_in(paths[0])):
        raise GanvasError(
            f"{paths[0]} has runs in it.", expected="one of them", fix=f"ganvas diagnose {quote(str(runs[-1]))}"
        )
    trainings = read_trainings(paths, to_columns(columns or {}))
    return combine({name: apply_rules(history) for name, history in trainings.items()})


def _runs_in(folder: Path) -> list[Path]:
    """The runs of Ganvas in a folder, the newest last."""
    try:
        return sorted(filter(overview.is_run_folder, folder.iterdir()), key=lambda run: run.stat().st_mtime)
    except OSError:
        return []


def is_run(folder: Path) -> bool:
    """Whether a folder may be a run of Ganvas, also a damaged one: other programs have a config.json too."""
    config, stats = folder / "config.json", folder / "stats.jsonl"
    try:
        return b'"format"' in read_bytes(config, MAX_DOCUMENT) or stats.exists()
    except (OSError, ValueError):
        return config.exists() or (os.path.lexists(config) and stats.exists())


def read_run(run: Run, until: int | None = None) -> History:
    """The history that a run has written, since the last rollback or correction: what came before is over.

    Args:
        until: the images shown to D after which nothing counts; by default everything does.

    Raises:
        GanvasError: it has written nothing yet, and no `until` is given.
    """
    lines, events = read_stats(run.path), read_events(run.path)
    if until is not None:
        lines, events = _between(lines, -1, until), _between(events, -1, until)
    act, bad = _in_force(events)
    if bad is not None and lines and lines[-1]["nimg"] > bad["nimg"]:
        bad = None  # the training went on
    if not lines and bad is None and act is None and until is None:
        complete = run.progress()["state"] == "complete"
        if lines.damaged:
            raise GanvasError(
                f"No line of {run.path / 'stats.jsonl'} can be read: all are damaged.",
                expected="the losses that a training writes there",
            )
        raise GanvasError(
            f"{run.path / 'stats.jsonl'} has no line{', though the run is complete' if complete else ' yet'}.",
            expected="the losses that a training writes there",
            fix="" if complete else "let it train for a tick (--tick-kimg).",
        )
    notes = [lines.describe_damage(run.path / "stats.jsonl"), events.describe_damage(run.path / "events.jsonl")]
    since = 0 if act is None else act["nimg"]
    if act is not None:
        lines = _between(lines, since, math.inf)
    try:
        data, config = run.metadata["data"], run.config
        _remember_networks(config, run.metadata)
        if act is not None and isinstance(changes := act.get("changes"), dict):
            config = replace_knobs(config, **changes)
        critic = bool(run.metadata.get("critic", config.loss.critic))
        facts = facts_of(config, data["images"], len(data["class_names"]), critic=critic)
    except GanvasError as error:  # the measurements tell a lot without it
        facts = Facts(format="stats.jsonl")
        notes.append(f"{error.what} Its statistics were read without it.")
    history = History.from_stats(lines, replace(facts, unread=lines.damaged, notes=tuple(filter(None, notes))))
    if lines or act is not None:
        history.update_facts(shown=lines[-1]["nimg"] - since if lines else 0)
    if bad is not None:
        history.update_facts(non_finite=NonFinite(bad["nimg"] / 1000, tuple(bad["quantities"])))
    return history


def _in_force(events: LogLines) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The events of the last rollback or correction, and of numbers that are not finite, as far as they still count.

    A training that is resumed continues from finite numbers, and without what was done after its saved state. The
    changes of a rollback or a correction are all since the beginning.
    """
    acts, bad = list[dict[str, Any]](), None
    for event in events:
        kind = event["event"]
        if kind in ("rollback", "correct"):
            acts, bad = [*acts, event], None
        elif kind == "resume":
            acts, bad = [act for act in acts if act["nimg"] <= event["nimg"]], None
        elif kind == "non-finite":
            bad = event
    return acts[-1] if acts else None, bad


def _remember_networks(config: TrainConfig, metadata: Mapping[str, Any]) -> None:
    """Notes whether a D of the user's own has batch norm, which only the process knew that built it."""
    if isinstance(config.network, Custom) and metadata.get("d_norm") in ("batch", "none"):
        user_code.remember(config.network.d, metadata["d_norm"])


def _between(lines: LogLines, after: float, until: float) -> LogLines:
    """Those of the time after so many images shown until so many; how many of all are damaged stays known."""
    kept = LogLines(line for line in lines if after < line["nimg"] <= until)
    kept.damaged = lines.damaged
    return kept


def facts_of(config: TrainConfig, images: int, classes: int, *, critic: bool) -> Facts:
    """What is known of a run before it starts; whether D is a critic, the objective knows."""
    return Facts(config=config, critic=critic, images=images, classes=classes)
