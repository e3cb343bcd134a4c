"""`ganvas runs` and `ganvas cache`: what is on the disk, and removing it."""

import shlex
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from ganvas.cli.output import UsageError, make_console, print_json, refuse_together
from ganvas.files import Removal, format_bytes
from ganvas.terminal import printable_name


def runs(
    folder: Annotated[Positional[Path], arg(metavar="FOLDER")] = Path("runs"),
    remove: Annotated[tuple[str, ...], arg(metavar="RUN …", help_behavior_hint="")] = (),
    clean: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """List runs: how far each is, its best quality, its size; remove some, or what no command needs any more.

    A run that is being trained is never removed, nor anything that Ganvas did not write.

    Args:
        folder: A folder of runs or of comparisons, or one run.
        remove: Remove these runs with all their snapshots, or comparisons with all their runs; their folders, or
            their names in FOLDER. One that holds files of yours is refused.
        clean: Remove runs that have neither a snapshot nor a state and are not being trained, what killed processes
            left half-written, and of complete runs the states for --on-failure rollback.
        dry_run: With --remove or --clean, only list what would be removed.
        json: Print JSON.
    """
    from ganvas.runs import cleaning, overview

    refuse_together("--remove", bool(remove), ("--clean", clean))
    if remove:
        _report(cleaning.remove(remove, folder=folder, dry_run=dry_run), dry_run, json)
    elif clean:
        note = partial(print, file=sys.stderr)
        _report(cleaning.clean(folder, dry_run=dry_run, note=note), dry_run, json)
    else:
        _refuse_alone(dry_run, "--dry-run", "--remove or --clean")
        found = overview.list_runs(folder)
        if json:
            print_json({"runs": [run.to_json() for run in found], "bytes": sum(run.bytes for run in found)})
            return
        console = make_console()
        if found:
            console.print(overview.render(found, folder))
        count = "1 run" if len(found) == 1 else f"{len(found) or 'no'} runs"
        console.print(f"{count} in {folder}, {format_bytes(sum(run.bytes for run in found))}", markup=False)
        beside = folder.parent / "comparisons"
        if folder not in (beside, *beside.parents) and beside.is_dir() and any(overview.find_runs(beside)):
            console.print(f"ganvas runs {shlex.quote(str(beside))} lists those of comparisons.", markup=False)


def cache(clean: bool = False, older_than: float | None = None, dry_run: bool = False, json: bool = False) -> None:
    """List what is cached (decoded and downloaded data sets, features, weights) with its size; empty the cache.

    What is removed is made again, or downloaded again, when it is needed.

    Args:
        clean: Remove everything, or what --older-than says.
        older_than: With --clean, remove only what was not used for so many days.
        dry_run: With --clean, only list what would be removed.
        json: Print JSON.
    """
    from ganvas.data.cached import cache_contents
    from ganvas.data.cached.cache_files import root

    if clean:
        note = partial(print, file=sys.stderr)
        _report(cache_contents.clean(older_than=older_than, dry_run=dry_run, note=note), dry_run, json)
        return
    _refuse_alone(dry_run, "--dry-run", "--clean")
    _refuse_alone(older_than is not None, "--older-than", "--clean")
    entries = cache_contents.entries()
    if json:
        print_json(
            {
                "folder": str(root()),
                "entries": [entry.to_json() for entry in entries],
                "bytes": sum(entry.bytes for entry in entries),
            }
        )
        return
    from datetime import datetime

    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for title in ("kind", "name", "size", "last use"):
        table.add_column(title, justify="right" if title == "size" else "left", no_wrap=title != "name")
    named = {"data set", "download", "weights"}
    rows = [(entry.kind, entry.name, [entry]) for entry in entries if entry.kind in named]
    for kind in dict.fromkeys(entry.kind for entry in entries if entry.kind not in named):
        group = [entry for entry in entries if entry.kind == kind]
        rows.append((kind, "1 file" if len(group) == 1 else f"{len(group):,} files", group))
    for kind, name, group in rows:
        used = datetime.fromtimestamp(max(entry.used for entry in group))
        size = format_bytes(sum(entry.bytes for entry in group))
        table.add_row(kind, Text(printable_name(name)), size, f"{used:%Y-%m-%d}")
    console = make_console()
    if rows:
        console.print(table)
    console.print(f"{format_bytes(sum(entry.bytes for entry in entries))} in {root()}", markup=False)


def _refuse_alone(given: bool, flag: str, other: str) -> None:
    if given:
        raise UsageError(f"{flag} was given alone.", expected=f"{flag} with {other}")


def _report(removals: Sequence[Removal], dry_run: bool, json: bool) -> None:
    """Prints what was removed, or would be."""
    total = sum(removal.bytes for removal in removals)
    if json:
        print_json({"removed": [removal.to_json() for removal in removals], "bytes": total, "dry_run": dry_run})
        return
    for removal in removals:
        print(f"{format_bytes(removal.bytes):>8}  {removal.path}  ({removal.reason})")
    done = "would be removed; nothing was changed" if dry_run else "removed"
    print(f"{format_bytes(total)} {done}." if removals else "There is nothing to remove.")
