"""The runs in the folders, each as a card that is made again only when its files have changed; one run's detail."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ganvas.config import TrainConfig, differences, to_json
from ganvas.errors import GanvasError
from ganvas.reading import is_number
from ganvas.recipes import RECIPES
from ganvas.runs.card import find_damage, read_card
from ganvas.runs.folder import Run
from ganvas.runs.lock import is_being_trained
from ganvas.runs.log import read_events, read_jsonl, read_last
from ganvas.runs.overview import find_runs, is_run_folder, summarise
from ganvas.studio.answers import Refusal, answer, parameter
from ganvas.studio.files import file_url
from ganvas.studio.folders import Folders

if TYPE_CHECKING:
    from ganvas.studio.app import Studio

SEARCH_SECONDS = 2.0
"""Between two searches for runs in sub-folders; new ones in the folders themselves are found at once."""

LOCK_SECONDS = 2.0
"""Between two looks at the lock of a run whose files do not change."""

CARD_SECONDS = 0.5
"""Least time between two cards of a run that is being written."""

_WATCHED = ("", "config.json", "stats.jsonl", "events.jsonl", "metrics.jsonl", "snapshots", "snapshots/best")
_RANK = {"note": 1, "warning": 2, "failure": 3}

Card = dict[str, Any]
"""A run in the list: plain values; the fields are those of `make_card`."""


@dataclass
class _Known:
    """A run as it was seen last: its card, the change it came with, and when its files and its lock were looked at."""

    path: Path
    signature: tuple[Any, ...]
    card: Card
    version: int
    made: float
    lock_seen: float


class Runs:
    """The cards of all runs. Its methods wait for the disk: they are called in threads.

    Attributes:
        version: grows with every change of a card.
    """

    def __init__(self, folders: Folders) -> None:
        self.folders = folders
        self.version = 0
        self._known: dict[str, _Known] = {}
        self._gone: dict[str, int] = {}
        self._searched = 0.0
        self._lock = threading.Lock()

    def look(self) -> int:
        """Makes the cards of runs that are new or have changed, and returns the version."""
        with self._lock:
            now = time.monotonic()
            if now - self._searched > SEARCH_SECONDS or self._is_fresh():
                self._search()
                self._searched = time.monotonic()
            for key, known in list(self._known.items()):
                self._look_at(key, known)
            return self.version

    def cards(self) -> list[Card]:
        """The cards of all runs as they are now, the one that changed last first."""
        self.look()
        with self._lock:
            cards = [known.card for known in self._known.values()]
        return sorted(cards, key=lambda card: card["changed"], reverse=True)

    def since(self, version: int) -> tuple[list[Card], list[str], int]:
        """(cards that changed after a version, keys of runs that went after it, the present version)."""
        with self._lock:
            changed = [known.card for known in self._known.values() if known.version > version]
            return changed, [key for key, when in self._gone.items() if when > version], self.version

    def card(self, key: str) -> Card:
        """The card of one run as it is now.

        Raises:
            Refusal: there is no such run.
        """
        path = self.find(key)
        with self._lock:
            known = self._known.get(key)
            if known is None:
                known = self._add(key, path)
            else:
                self._look_at(key, known, now=True)
            return known.card

    def find(self, key: str) -> Path:
        """The folder of a run.

        Raises:
            Refusal: there is no run with this key.
        """
        path = self.folders.find(key)
        if key not in self._known and not is_run_folder(path):
            raise Refusal(404, f"{path.name} is no run.", field="run")
        return path

    def _is_fresh(self) -> bool:
        """Whether something was made in a folder just now: the folder of a run is there before its files."""
        for folder in self.folders.paths:
            with suppress(OSError):
                if folder.stat().st_mtime > time.time() - SEARCH_SECONDS:
                    return True
        return False

    def _search(self) -> None:
        found = {}
        for folder in self.folders.paths:
            with suppress(GanvasError):  # a folder that is not there yet has no runs
                found |= {key: path for path in find_runs(folder) if (key := self.folders.key(path)) is not None}
        for key in self._known.keys() - found.keys():
            self._remove(key)
        for key in found.keys() - self._known.keys():
            self._add(key, found[key])

    def _add(self, key: str, path: Path) -> _Known:
        self._gone.pop(key, None)
        known = _Known(path, (), {}, 0, 0.0, 0.0)
        self._known[key] = known
        self._make(key, known, _signature(path))
        return known

    def _remove(self, key: str) -> None:
        del self._known[key]
        self.version += 1
        self._gone[key] = self.version

    def _look_at(self, key: str, known: _Known, now: bool = False) -> None:
        signature, clock = _signature(known.path), time.monotonic()
        if not signature[0]:
            self._remove(key)
            return
        changed = signature != known.signature and (now or clock - known.made > CARD_SECONDS)
        if not changed and clock - known.lock_seen > LOCK_SECONDS:
            known.lock_seen = clock
            changed = is_being_trained(known.path) != (known.card["state"] == "training")
        if changed:
            self._make(key, known, signature)

    def _make(self, key: str, known: _Known, signature: tuple[Any, ...]) -> None:
        card = make_card(key, known.path)
        known.signature, known.made = signature, time.monotonic()
        known.lock_seen = known.made
        if card != known.card:
            self.version += 1
            known.card, known.version = card, self.version


def _signature(path: Path) -> tuple[Any, ...]:
    """What changes when one of the files of a run is written."""
    found: list[Any] = []
    for name in _WATCHED:
        try:
            status = os.stat(path / name)
            found.append((status.st_ino, status.st_size, status.st_mtime_ns))
        except OSError:
            found.append(None)
    return tuple(found)


def make_card(key: str, path: Path) -> Card:
    """What the list shows of a run; an unreadable run has a card too."""
    summary, run = summarise(path), Run(path)
    last: dict[str, Any] = {}
    with suppress(OSError):
        last = read_last(path / "stats.jsonl")
    grids = run.grids
    nimg, total = round(1000 * summary.kimg), round(1000 * summary.total_kimg)
    training = summary.state == "training"
    rate = _rate(run, last, training)
    severity, finding = last_finding(run)
    return {
        "run": key, "name": path.name, "folder": str(path.parent), "state": summary.state, "recipe": summary.recipe,
        "data": summary.data, "nimg": nimg, "total": total, "images_per_s": rate,
        "seconds_left": (total - nimg) / rate if training and rate and total > nimg else None,
        "quality": summary.quality, "snapshots": summary.snapshots, "bytes": summary.bytes,
        "changed": summary.changed, "problem": summary.problem, "origin": summary.origin,
        "grid": file_url(key, grids[-1]) if grids else None, "shape": _shape(run),
        "severity": severity, "finding": finding, "job": None,
    }  # fmt: skip


def _rate(run: Run, last: dict[str, Any], training: bool) -> float | None:
    """Images a second: of the newest line while it trains, else of the whole training."""
    if training and is_number(now := last.get("kimg_per_s")) and now > 0:
        return 1000 * now
    nimg, seconds = last.get("nimg"), last.get("seconds")
    return nimg / seconds if is_number(nimg) and is_number(seconds) and seconds > 0 else None


def _shape(run: Run) -> list[int] | None:
    """[height, width, channels] of its images; None if unreadable."""
    with suppress(GanvasError):
        shape = run.metadata["data"]["shape"]
        return [shape[side] for side in ("height", "width", "channels")]
    return None


def last_finding(run: Run) -> tuple[str | None, str]:
    """(severity, summary) of the most severe finding since the last correction; "healthy" without one.

    The severity is None where nothing was monitored.
    """
    try:
        events, monitored = read_events(run.path), run.config.runtime.watch
    except GanvasError:
        return None, ""
    worst: tuple[str | None, str] = ("healthy" if monitored and (run.path / "stats.jsonl").exists() else None, "")
    for event in events:
        if event["event"] in ("rollback", "correct", "resume"):
            worst = ("healthy", "")
        elif event["event"] == "non-finite":
            worst = ("failure", "values are no longer finite")
        elif event["event"] == "diagnosis" and _RANK.get(event.get("severity", ""), 0) >= _RANK.get(worst[0] or "", 0):
            worst = (event["severity"], str(event.get("summary", "")))
    return worst


def describe_run(key: str, path: Path, card: Card) -> dict[str, Any]:
    """A run in full: its card, and what is read once when its page is opened.

    Of a run that cannot be read, the configuration is None and the lists are as far as they can be read.
    """
    run = Run(path)
    found: dict[str, Any] = {
        **card, "path": str(path), "config": None, "knobs": {}, "versions": {}, "metadata": None, "lineage": None,
    }  # fmt: skip
    with suppress(GanvasError):
        config, metadata = run.config, run.metadata
        recipe = RECIPES.get(metadata["recipe"])
        usual = recipe.config if recipe else TrainConfig()
        changed = {name: new for name, _, new in differences(usual, config)}
        data, lineage = metadata["data"], metadata.get("lineage")
        found |= {
            "config": to_json(config), "knobs": changed, "versions": metadata["versions"], "metadata": data,
            "lineage": lineage,
        }  # fmt: skip
    events, damage = _read(run, "events.jsonl")
    evaluations, also_damaged = _read(run, "metrics.jsonl")
    with suppress(OSError, GanvasError):
        damage += run.find_damage()
    files = {name: file_url(key, path / name) for name in ("reals.png", "losses.png", "closest.png")}
    return found | {
        "grids": [{"nimg": nimg, "url": file_url(key, grid)} for nimg, grid in numbered_grids(run)],
        "snapshots": list(_snapshots(run)), "events": events, "evaluations": evaluations,
        "reals": files["reals.png"], "curves": files["losses.png"], "nearest": files["closest.png"],
        "film": file_url(key, run.film) if run.film else None,
        "report": file_url(key, path / "report.html"), "files_damaged": damage + also_damaged,
    }  # fmt: skip


def _read(run: Run, name: str) -> tuple[list[dict[str, Any]], list[str]]:
    """(the lines of a log, what is damaged in it)."""
    path = run.path / name
    try:
        lines = read_events(run.path) if name == "events.jsonl" else read_jsonl(path)
    except GanvasError as error:
        return [], [error.what]
    return lines, [lines.describe_damage(path)] if lines.damaged else []


def numbered_grids(run: Run) -> Iterator[tuple[int, Path]]:
    """(images shown, file) of each grid, oldest first."""
    for grid in run.grids:
        yield 1000 * int(grid.stem.removeprefix("fakes")), grid


def _snapshots(run: Run) -> Iterator[dict[str, Any]]:
    """Its usable snapshots, oldest first, the best one last."""
    best = run.best_snapshot
    for path in [*run.snapshots, *([best] if best else [])]:
        if not find_damage(path):
            card = read_card(path)
            quality = card["quality"]["value"] if card["quality"] else None
            is_best = path == best
            yield {"nimg": card["nimg"], "name": path.name, "best": is_best, "quality": quality, "path": str(path)}


def routes(studio: "Studio") -> list[Route]:
    """/api/runs and /api/run."""

    async def list_all(request: Request) -> Response:
        cards = await run_in_threadpool(studio.runs.cards)
        return answer({"runs": cards, "bytes": sum(card["bytes"] for card in cards)})

    async def show(request: Request) -> Response:
        key = parameter(request, "run")

        def read() -> dict[str, Any]:
            card = studio.runs.card(key)
            return describe_run(key, studio.runs.find(key), card)

        return answer(await run_in_threadpool(read))

    return [Route("/api/runs", list_all), Route("/api/run", show)]
