"""Removes runs, and what of them no command needs any more: `ganvas runs --remove` and `--clean`.

Never a run that is being trained, nor a folder that Ganvas did not write, nor anything behind a link.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from ganvas.errors import GanvasError
from ganvas.files import Removal, apply_removals, disk_usage, find_leftovers
from ganvas.runs.folder import Run, is_being_trained, lock_run
from ganvas.runs.overview import find_runs, is_run_folder, summarise

_FOLDERS = {"snapshots", "state"}
"""The folders in a run."""

_ROLLBACK_STATES = ("start", "good", "candidate")


def remove(runs: Sequence[Run | Path | str], *, folder: Path | str = "runs", dry_run: bool = False) -> list[Removal]:
    """Removes runs, with all their snapshots, and returns what was removed.

    Args:
        runs: runs, their folders, or names in `folder`.
        folder: where the runs are.
        dry_run: only return what would be removed.

    Raises:
        GanvasError: one of them is no run, is a link, is being trained, or holds folders of somebody else; then none
            is removed.
    """
    paths = list({os.path.abspath(path): path for path in (_locate(run, Path(folder)) for run in runs)}.values())
    for path in paths:
        _check_removable(path)
    removals = [Removal(path, disk_usage(path)[0], "a run") for path in paths]
    if not dry_run:
        for removal in removals:
            with lock_run(Run(removal.path)):
                apply_removals([removal])
    return removals


def clean(folder: Path | str = "runs", *, dry_run: bool = False) -> list[Removal]:
    """Removes what no command needs any more, and returns it.

    That is: runs without a snapshot or a state that are not being trained, what killed processes left half-written,
    and the states that `--on-failure rollback` kept of runs that are complete. Unreadable runs stay.

    Args:
        folder: of runs, or of comparisons.
        dry_run: only return what would be removed.

    Raises:
        GanvasError: there is no such folder, or something cannot be removed.
    """
    folder = Path(folder)
    removed: list[Removal] = []
    parents = {folder: None}
    for path in find_runs(folder):
        run = Run(path)
        if path.is_symlink() or is_being_trained(run):
            continue
        if path != folder:
            parents[path.parent] = None
        if removals := list(_superfluous(run)):
            if not dry_run:
                try:
                    with lock_run(run):
                        apply_removals(removals)
                except GanvasError:  # its training has just begun, or it belongs to another user
                    if is_being_trained(run):
                        continue
                    raise
            removed += removals
    for parent in parents:  # of removals that were killed
        leftovers = [leftover for leftover in find_leftovers(parent) if _holds_only_a_run(leftover.path)]
        if not dry_run:
            apply_removals(leftovers)
        removed += leftovers
    return removed


def _locate(run: Run | Path | str, folder: Path) -> Path:
    """The path of a run that is given as a path or as a name in `folder`; a link is not followed."""
    path = run.path if isinstance(run, Run) else Path(run)
    if not is_run_folder(path) and is_run_folder(folder / path):
        path = folder / path
    return path if path.name not in ("", "..") else Path(os.path.abspath(path))


def _check_removable(path: Path) -> None:
    if path.is_symlink():
        raise GanvasError(
            f"{path} is a link.", expected="the folder of a run", fix=f"name its target: {path.resolve()}"
        )
    if not is_run_folder(path):
        raise GanvasError(
            f"{path} is no run." if path.exists() else f"There is no run {path}.",
            expected="a run folder, or its name",
            fix="ganvas runs lists them.",
        )
    leftovers = {leftover.path for leftover in find_leftovers(path, locked=True)}
    if foreign := sorted(
        p.name for p in path.iterdir() if p.is_dir() and p.name not in _FOLDERS and p not in leftovers
    ):
        raise GanvasError(
            f"{path} holds a folder that no training wrote: {', '.join(foreign)}.",
            expected="only what a training writes",
            fix="move it elsewhere first.",
        )
    if is_being_trained(Run(path)):
        raise GanvasError(f"{path} is being trained right now.", fix="stop its training first.")


def _superfluous(run: Run) -> Iterator[Removal]:
    """What of a run is not needed, or the run itself."""
    summary = summarise(run.path)
    if summary.state == "unreadable":
        return
    if not summary.snapshots and not run.state_file.exists():
        try:
            _check_removable(run.path)
        except GanvasError:  # with something of the user's in it
            return
        yield Removal(run.path, summary.bytes, "a run without a snapshot")
        return
    inside = [run.path, *(run.path / name for name in sorted(_FOLDERS) if not (run.path / name).is_symlink())]
    for folder in inside:
        yield from find_leftovers(folder, locked=True)
    if summary.state == "complete" and run.path / "state" in inside:
        for file in map(run.kept_state, _ROLLBACK_STATES):
            if file.is_file() and not file.is_symlink():
                yield Removal(file, file.stat().st_size, "a state to roll back to, of a complete run")


def _holds_only_a_run(path: Path) -> bool:
    """Whether a half-removed folder has the content of a run and nothing else."""
    names = {p.name for p in path.iterdir()} if path.is_dir() else set()
    own = {*_FOLDERS, "config.json", "stats.jsonl", "events.jsonl", "metrics.jsonl", "log.txt", ".lock"}
    return bool(names & own) and all(name in own or name.endswith((".png", ".svg", ".jsonl")) for name in names)
