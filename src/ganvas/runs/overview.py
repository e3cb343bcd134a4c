"""Which runs there are, and how far: `ganvas runs`. Reads a few small files of each run; imports no PyTorch."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from ganvas.errors import GanvasError
from ganvas.files import disk_usage, format_bytes, to_path
from ganvas.reading import near_paths, read_json
from ganvas.runs.card import find_damage
from ganvas.runs.folder import Run
from ganvas.runs.state_metadata import saved_kimg
from ganvas.terminal import printable, printable_name

MAX_DEPTH = 4
"""Levels of folders that are searched: runs/RUN, comparisons/COMPARISON/runs/RUN."""

State = Literal["complete", "unfinished", "failed", "training", "unreadable"]

_OWN_FILES = ("stats.jsonl", "events.jsonl", "state/*.safetensors", "snapshots/*/card.json")
"""What a run folder has beside its config.json."""


@dataclass(frozen=True)
class RunSummary:
    """A run in one line.

    Attributes:
        path: its folder.
        state: that of `Run.progress`, or unreadable.
        recipe, data: their names; empty where unreadable.
        kimg: thousands of images shown to D so far; `total_kimg`: the length of the run.
        quality: the best quality (a kernel distance, lower is better) measured during training; None if there is none.
        snapshots: how many generators it holds.
        bytes: its size on the disk.
        changed: when its files were last written, in seconds since 1970.
        problem: why it is unreadable, or what else in it is damaged, in one line.
        origin: the run or snapshot it started from; else empty.
    """

    path: Path
    state: State
    recipe: str
    data: str
    kimg: float
    total_kimg: float
    quality: float | None
    snapshots: int
    bytes: int
    changed: float
    problem: str = ""
    origin: str = ""

    def to_json(self) -> dict[str, Any]:
        """Its fields as plain values."""
        return {**vars(self), "path": str(self.path)}


def list_runs(folder: Path | str = "runs") -> list[RunSummary]:
    """The runs in a folder and its sub-folders, such as those of comparisons; or the folder itself if it is a run.

    Raises:
        GanvasError: there is no such folder.
    """
    return [summarise(path) for path in find_runs(to_path(folder, "a folder of runs"))]


def find_runs(folder: Path) -> Iterator[Path]:
    """The folders of runs, readable or not, in order of their names; links are followed only to a run itself.

    Raises:
        GanvasError: there is no such folder.
    """
    if not folder.is_dir():
        raise GanvasError(
            f"{folder} is no folder." if folder.exists() else f"There is no folder {folder} here.",
            expected="a folder with runs in it",
            fix=near_paths(folder)
            or "ganvas train trains a first run; ganvas runs FOLDER lists those of another folder.",
        )
    yield from [folder] if is_run_folder(folder) else _search(folder, MAX_DEPTH)


def _search(folder: Path, depth: int) -> Iterator[Path]:
    try:
        with os.scandir(folder) as entries:  # of many plain files, as in a set of images, none is looked at
            found = [entry for entry in entries if entry.is_symlink() or entry.is_dir(follow_symlinks=False)]
    except OSError:  # not ours to read
        return
    for entry in sorted(found, key=lambda entry: entry.name):
        path, is_link = folder / entry.name, entry.is_symlink()
        if entry.name.startswith(".") or (is_link and not os.path.isdir(path)):  # false for a link to itself
            continue
        if is_run_folder(path):
            yield path
        elif depth > 1 and not is_link:
            yield from _search(path, depth - 1)


def is_run_folder(path: Path) -> bool:
    """Whether Ganvas wrote this folder as a run, readable or not: other programs have a config.json too."""
    try:
        metadata = read_json(path / "config.json")
        if isinstance(metadata, dict) and {"format", "recipe", "config", "data"} <= metadata.keys():
            return True
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):  # damaged
        pass
    return any(next(path.glob(pattern), None) for pattern in _OWN_FILES)


def summarise(path: Path) -> RunSummary:
    """One run's line; an unreadable run has one too."""
    run = Run(path)
    size, changed = disk_usage(path)
    try:
        progress, best, damage = run.progress(), run.best_quality, run.find_damage()
    except GanvasError as error:
        problem = " ".join([error.what, *_what_works(run)])
        return RunSummary(path, "unreadable", "", "", 0.0, 0.0, None, 0, size, changed, problem)
    return RunSummary(
        path, progress["state"], run.metadata["recipe"], run.metadata["data"]["name"], progress["nimg"] / 1000,
        progress["total"] / 1000, best[0] if best else None, len(run.snapshots) + bool(run.best_snapshot),
        size, changed, " ".join(damage), run.origin,
    )  # fmt: skip


def _what_works(run: Run) -> list[str]:
    """What can still be done with a run whose newest snapshot is damaged, a sentence each."""
    snapshots = run.snapshots
    if not snapshots or not find_damage(snapshots[-1]):
        return []
    found = [path for path in (*reversed(snapshots), run.best_snapshot) if path is not None and not find_damage(path)]
    works = [f"{found[0]} can be used."] if found else []
    try:
        run.config  # noqa: B018 - raises if it cannot be read
    except GanvasError:
        return works
    kimg = saved_kimg(run.path)
    return works if kimg is None else [*works, f"ganvas train {run} goes on from its state of {kimg:g} kimg."]


def _named_after(run: RunSummary) -> bool:
    """Whether the folder has the name that `ganvas train` gives it: number, recipe, data."""
    return re.sub(r"^\d{5}-", "", run.path.name) == re.sub(r"[^A-Za-z0-9._-]+", "-", f"{run.recipe}-{run.data}")


def _format_kimg(kimg: float) -> str:
    return f"{kimg:,.0f}" if kimg >= 1000 else f"{kimg:.4g}"


def _format_day(day: datetime) -> str:
    return f"{day.day} {day:%b}" if datetime.now() - day < timedelta(days=300) else f"{day:%b %Y}"


def render(runs: Sequence[RunSummary], folder: Path) -> Any:
    """A rich table of runs, with paths relative to `folder`, and what is wrong with those that are unreadable.

    Recipe and data have columns of their own only if a run's name does not say them, quality only if one was measured.
    A folder that all runs share is left out of their names.
    """
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    names = [one.path.relative_to(folder) if one.path != folder else folder for one in runs]
    shared = Path(os.path.commonpath([name.parent for name in names])) if len(names) > 1 else Path()
    longest = max((len(str(name.relative_to(shared))) for name in names), default=0)
    table.add_column("run", overflow="fold", min_width=min(longest, 32))  # others are broken before a name
    transferred = any(one.origin for one in runs)
    measured = any(one.quality is not None for one in runs)
    plain = all(_named_after(one) for one in runs if one.state != "unreadable")
    for title in () if plain else ("recipe", "data"):
        table.add_column(title, overflow="fold")
    if transferred:
        table.add_column("from", overflow="fold")
    for title in ("kimg", *(("quality ↓",) if measured else ()), "size"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("changed", no_wrap=True)
    table.add_column("state", no_wrap=True)
    colours = {"complete": "green", "training": "cyan", "unfinished": "yellow"}
    for one, name in zip(runs, names, strict=True):
        readable = one.state != "unreadable"
        title, data, origin = (
            escape(printable_name(text)) for text in (str(name.relative_to(shared)), one.data, one.origin)
        )
        table.add_row(
            f"[bold]{title}[/]", *(() if plain else (one.recipe, data)),
            *((origin,) if transferred else ()),
            f"{_format_kimg(one.kimg)}/{_format_kimg(one.total_kimg)}" if readable else "",
            *(["" if one.quality is None else f"{one.quality:.3g}"] if measured else ()),
            format_bytes(one.bytes),
            _format_day(datetime.fromtimestamp(one.changed)),
            f"[{colours.get(one.state, 'red')}]{one.state}[/]",
        )  # fmt: skip
    heading = [] if shared == Path() else [Text(printable(f"In {folder / shared}:"))]
    return Group(*heading, table, *(Text(printable(f"! {one.problem}"), style="yellow") for one in runs if one.problem))
