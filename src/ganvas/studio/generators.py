"""Which generators a page may draw with, and where what belongs to one is kept."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganvas.errors import GanvasError
from ganvas.runs import pretrained
from ganvas.runs.card import find_damage, read_card
from ganvas.runs.folder import Run
from ganvas.studio.answers import Refusal
from ganvas.studio.places import find_run

if TYPE_CHECKING:
    from ganvas.studio.app import Studio

KEPT, HIDDEN = "explore", ".explore"
"""Folders for bookmarks and places: in a run, and in the first folder for generators that are no run's."""


@dataclass(frozen=True)
class Source:
    """A generator that a page has named.

    Attributes:
        of: the key of a run, or pretrained:NAME.
        snapshot: the name of one of its snapshots; empty of a generator without a run.
        path: what `ganvas.load` and a command take.
        kept: the folder of its bookmarks; made when something is written.
    """

    of: str
    snapshot: str
    path: str
    kept: Path


def find_source(studio: "Studio", of: str, snapshot: str = "", may_write: bool = False) -> Source:
    """The generator of a run or of the package.

    Args:
        snapshot: by default the newest one.
        may_write: whether the request has the token, which a generator with code of the user's own needs.

    Raises:
        Refusal: it was uploaded, lies elsewhere, or is not there.
        GanvasError: the run has no snapshot yet.
    """
    if of.startswith(pretrained.PREFIX):
        file = pretrained.find_local(Path(of))
        return Source(of, "", of, studio.folders.check_inside(studio.folders.paths[0] / HIDDEN / file.stem))
    run = find_run(studio, of)
    studio.runs.find(of)  # none of its files is a link that leads elsewhere
    usable = {path.name: path for path in snapshots_of(run)}
    if not usable:
        raise GanvasError(f"{run.path.name} has no snapshot yet.", fix="train it a little longer.")
    numbered = [one for one in usable if one != "best"]
    name = snapshot or (numbered or ["best"])[-1]
    if name not in usable:
        raise _no_snapshot(run, name)
    try:
        has_code = _check_files(studio, usable[name])
    except (FileNotFoundError, GanvasError):
        if find_damage(usable[name]):  # its training has just removed it
            raise _no_snapshot(run, name) from None
        raise
    if has_code and not may_write:
        raise Refusal(401, f"{run.path.name} is drawn by code of its own, for which the token is needed.", field="of")
    return Source(of, name, str(usable[name]), studio.folders.check_inside(run.path / KEPT))


def _no_snapshot(run: Run, name: str) -> Refusal:
    what = f"{run.path.name} has no snapshot {name[:100]!r}."
    fix = "its training may have removed it for a newer one: take the newest."
    return Refusal(404, what, fix=fix, field="snapshot")


def _check_files(studio: "Studio", snapshot: Path) -> bool:
    """Whether a snapshot is drawn by code of the user's own.

    Raises:
        Refusal: a file of it is a link that leads elsewhere.
        GanvasError, FileNotFoundError: it is damaged, or was removed meanwhile.
    """
    for file in (snapshot, *snapshot.iterdir()):
        studio.folders.check_inside(file)
    return bool(read_card(snapshot).get("sources"))


def snapshots_of(run: Run) -> Iterator[Path]:
    """The usable snapshots of a run, oldest first, the best one last."""
    for path in [*run.snapshots, *filter(None, [run.best_snapshot])]:
        if not find_damage(path):
            yield path


def list_sources(studio: "Studio") -> list[dict[str, Any]]:
    """Those that a page offers: runs with a snapshot, the one that changed last first, and those of the package."""
    runs = [
        {"of": card["run"], "name": card["name"], "images": card["data"], "shape": card["shape"], "run": True}
        for card in studio.runs.cards()
        if card["snapshots"]
    ]
    included = [
        {"of": f"{pretrained.PREFIX}{name}", "name": f"{pretrained.PREFIX}{name}", "images": one.images, "run": False}
        for name, one in reversed(pretrained.GENERATORS.items())
    ]
    return [*runs, *included]
