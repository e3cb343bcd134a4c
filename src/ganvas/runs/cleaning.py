"""Removes runs, and what of them no command needs any more: `ganvas runs --remove` and `--clean`.

Never a run that is being trained, nor one that holds anything that Ganvas did not write, nor anything behind a link.
"""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from ganvas.errors import GanvasError
from ganvas.files import Removal, apply_removals, disk_usage, find_leftovers
from ganvas.reading import near_paths, read_json
from ganvas.runs.folder import Run
from ganvas.runs.lock import is_being_trained, lock_comparison, lock_run
from ganvas.runs.names import NUMBER
from ganvas.runs.overview import find_runs, is_run_folder, summarise
from ganvas.values import real_path

_RUN = (
    rf"config\.json|(stats|events|metrics)\.jsonl|log\.txt|(losses|reals|closest|grid|fakes{NUMBER})\.png"
    r"|training\.(webp|gif)|\.lock"
    r"|trackers/([\w.-]+\.(json|lock))?|tensorboard/(events\.out\.tfevents\..+)?"
    r"|wandb/((latest-run|debug(-\w+)*\.log|(offline-)?run-[^/]+/(.*/)?[^/]*)/?)?"
    r"|state/((latest|start|good|candidate)\.safetensors)?"
    rf"|snapshots/(({NUMBER}|best)/(G\.safetensors|card\.json)?)?"
    r"|explore/((bookmarks|directions)\.json|(places|walks)/([0-9a-f]{12}\.(npz|png|gif|webp|mp4|webm))?)?"
)
"""The files and folders/ that a training, the commands on it and the studio write into a run."""

_COMPARISON = (
    rf"report\.(html|json|csv)|plan\.json|\.lock|runs/(\.marker-[0-9a-f]{{32}}|[^/]+/({_RUN})?)?"
    r"|evaluations/([0-9a-f]{16}/(evaluation\.json|(closest|interpolation|classes)\.png)?)?"
)
"""Those of a comparison."""

_TEMPORARY = re.compile(r"(^|/)\.([^/]+)\.(tmp|old)-\d+(?:-\d+)?(?=/|$)")
"""What `ganvas.files` adds to a name while it writes or removes."""

_ROLLBACK_STATES = ("start", "good", "candidate")


def remove(runs: Sequence[Run | Path | str], *, folder: Path | str = "runs", dry_run: bool = False) -> list[Removal]:
    """Removes runs, with all their snapshots, and returns what was removed.

    A run of a comparison that is removed too is a part of that.

    Args:
        runs: runs, their folders, or names in `folder`.
        folder: where the runs are.
        dry_run: only return what would be removed.

    Raises:
        GanvasError: one of them is no run, is a link, is being trained, or holds anything that Ganvas did not write;
            then none is removed.
    """
    located = [_locate(run, Path(folder)) for run in runs]
    for path in located:
        _check_removable(path)
    places = {real_path(path): path for path in located}
    paths = [path for place, path in places.items() if places.keys().isdisjoint(place.parents)]
    removals = [
        Removal(path, disk_usage(path)[0], "a run" if is_run_folder(path) else "a comparison") for path in paths
    ]
    if not dry_run:
        for removal in removals:
            with ExitStack() as locks:
                if not is_run_folder(removal.path):
                    locks.enter_context(lock_comparison(removal.path))
                for path in find_runs(removal.path):
                    locks.enter_context(lock_run(path))
                apply_removals([removal])
    return removals


def clean(
    folder: Path | str = "runs", *, dry_run: bool = False, note: Callable[[str], object] = lambda text: None
) -> list[Removal]:
    """Removes what no command needs any more, and returns it.

    That is: runs without a snapshot or a state that are not being trained, what killed processes left half-written,
    and the states that `--on-failure rollback` kept of runs that are complete. Unreadable runs stay.

    Args:
        folder: of runs, or of comparisons.
        dry_run: only return what would be removed.
        note: called with a line about each run that stays because of something that Ganvas did not write.

    Raises:
        GanvasError: there is no such folder, or something cannot be removed.
    """
    folder = Path(folder)
    removed: list[Removal] = []
    parents = {folder: None}
    for path in find_runs(folder):
        run = Run(path)
        if path.is_symlink() or is_being_trained(run.path):
            continue
        if path != folder:
            parents[path.parent] = None
        if removals := list(_superfluous(run, note)):
            if not dry_run:
                try:
                    with lock_run(run.path):
                        apply_removals(removals)
                except GanvasError:  # its training has just begun, or it belongs to another user
                    if is_being_trained(run.path):
                        continue
                    raise
            removed += removals
    for parent in parents:  # of removals that were killed
        leftovers = [leftover for leftover in find_leftovers(parent) if _is_half_removed_run(leftover.path)]
        if not dry_run:
            apply_removals(leftovers)
        removed += leftovers
    return removed


def find_foreign(path: Path) -> list[str]:
    """What Ganvas did not write in a run or a comparison: files and folders/, relative to it."""
    own = re.compile(_COMPARISON if _is_comparison(path) else _RUN)
    found = []
    for parent, folders, files in os.walk(path):
        inside = Path(parent).relative_to(path)
        for name in [*(f"{folder}/" for folder in folders), *files]:
            relative = (inside / name).as_posix() + "/" * name.endswith("/")
            if not own.fullmatch(_TEMPORARY.sub(r"\1\2", relative)):
                found.append(relative)
    return sorted(found)


def _is_comparison(path: Path) -> bool:
    try:
        plan = read_json(path / "plan.json")
        lengths = isinstance(plan, dict) and plan.keys() & {"lengths", "kimg"}  # kimg: of older versions
        return bool(lengths) and "request" in plan and not (path / "config.json").exists()
    except (OSError, ValueError):
        return False


def _locate(run: Run | Path | str, folder: Path) -> Path:
    """The path of a run that is given as a path or as a name in `folder`; a link is not followed."""
    path = run.path if isinstance(run, Run) else Path(run)
    if not _is_ours(path) and _is_ours(folder / path):
        path = folder / path
    return path if path.name not in ("", "..") else Path(os.path.abspath(path))


def _is_ours(path: Path) -> bool:
    return is_run_folder(path) or _is_comparison(path)


def _check_removable(path: Path) -> None:
    if path.is_symlink():
        raise GanvasError(
            f"{path} is a link.", expected="the folder of a run", fix=f"name its target: {real_path(path)}"
        )
    if not _is_ours(path):
        raise GanvasError(
            f"{path} is no run." if path.exists() else f"There is no run {path}.",
            expected="the folder of a run or of a comparison, or its name",
            fix=near_paths(path) or "ganvas runs lists them.",
        )
    if foreign := find_foreign(path):
        raise GanvasError(
            f"{path} holds what Ganvas did not write: {_list_first(foreign)}.",
            expected="only what a training writes",
            fix="move it elsewhere first.",
        )
    for run in map(Run, {path, *find_runs(path)}):  # a comparison is locked too
        if is_being_trained(run.path):
            raise GanvasError(f"{run} is being trained right now.", fix="stop its training first.")


def _list_first(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _superfluous(run: Run, note: Callable[[str], object]) -> Iterator[Removal]:
    """What of a run is not needed, or the run itself."""
    summary = summarise(run.path)
    if summary.state == "unreadable":
        return
    foreign = find_foreign(run.path)
    weights = any(run.path.glob("snapshots/[!.]*/G.safetensors"))  # also those whose card.json is lost
    if not weights and not run.state_file.exists():
        if foreign:
            note(f"{run} stays: it holds what Ganvas did not write: {_list_first(foreign)}.")
        else:
            yield Removal(run.path, summary.bytes, "a run without a snapshot")
        return
    inside = [run.path, *(path for name in ("snapshots", "state") if not (path := run.path / name).is_symlink())]
    for leftover in (leftover for folder in inside for leftover in find_leftovers(folder, locked=True)):
        name = leftover.path.relative_to(run.path).as_posix()
        if not any(other.rstrip("/") == name or other.startswith(f"{name}/") for other in foreign):
            yield leftover
    if summary.state == "complete" and run.path / "state" in inside:
        for file in map(run.kept_state, _ROLLBACK_STATES):
            if file.is_file() and not file.is_symlink():
                yield Removal(file, file.stat().st_size, "a state to roll back to, of a complete run")


def _is_half_removed_run(path: Path) -> bool:
    """Whether a temporary folder has the content of a run, or a part of it, and nothing else."""
    own = ("config.json", "stats.jsonl", "snapshots", "state")
    return path.is_dir() and any((path / name).exists() for name in own) and not find_foreign(path)
