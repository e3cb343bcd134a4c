"""The runs in the folders, each as a card that is made again only when its files have changed."""

import os
import secrets
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ganvas.diagnosis.severity import SEVERITIES, Severity
from ganvas.errors import GanvasError
from ganvas.reading import is_number
from ganvas.runs.folder import Run
from ganvas.runs.lock import is_being_trained
from ganvas.runs.log import read_events, read_last
from ganvas.runs.overview import find_runs, is_run_folder, summarise
from ganvas.studio.answers import Refusal, answer
from ganvas.studio.files import file_url
from ganvas.studio.folders import Folders

if TYPE_CHECKING:
    from ganvas.studio.app import Studio

SEARCH_SECONDS = 4.0
"""Between two searches for runs in sub-folders; new ones in the folders themselves are found at once."""

LOCK_SECONDS = 4.0
"""Between two looks at the lock of a run whose files do not change."""

IDLE_SECONDS = 30.0
"""A run of which nothing was written for so long is looked at less often."""

CARD_SECONDS = 0.5
"""Least time between two cards of a run that is being written."""

_WATCHED = ("", "config.json", "stats.jsonl", "events.jsonl", "metrics.jsonl", "snapshots", "snapshots/best")

Card = dict[str, Any]
"""A run in the list: plain values; the fields are those of `make_card`."""


@dataclass
class _Known:
    """A run as it was seen last.

    Attributes:
        version: that of the list with which the card came.
        signature: of its files as they are, and `made_of` as they were when the card was made.
        made, lock_seen: when the card was made, and when its lock was looked at last.
        changes: another number whenever its files were seen to have changed.
    """

    path: Path
    card: Card = field(default_factory=dict)
    version: int = 0
    signature: tuple[Any, ...] = ()
    made_of: tuple[Any, ...] = ()
    made: float = 0.0
    lock_seen: float = 0.0
    changes: int = 0


class Runs:
    """The cards of all runs. Its methods wait for the disk: they are called in threads.

    Attributes:
        start: names this start of the server: versions of another one mean nothing.
        version: grows with every change of a card.
    """

    def __init__(self, folders: Folders) -> None:
        self.folders = folders
        self.start = secrets.token_hex(4)
        self.version = 0
        self._known: dict[str, _Known] = {}
        self._gone: dict[str, int] = {}
        self._searched, self._turn, self._changes = 0.0, 0, 0
        self._lock = threading.Lock()

    def look(self, *, thrifty: bool = False) -> int:
        """Makes the cards of runs that are new or have changed, and returns the version.

        Args:
            thrifty: look at runs that have not changed for a while only each third time.
        """
        with self._lock:
            now = time.monotonic()
            if now - self._searched > SEARCH_SECONDS or self._is_fresh():
                self._search()
                self._searched = time.monotonic()
            self._turn, clock = self._turn + 1, time.time()
            for number, (key, known) in enumerate(list(self._known.items())):
                idle = clock - known.card["changed"] > IDLE_SECONDS and known.card["state"] != "training"
                if not (thrifty and idle and (self._turn + number) % 3):
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
        if not self._is_listed(path):
            return make_card(key, path)
        with self._lock:
            if (known := self._known.get(key)) is None:
                known = self._add(key, path)
            else:
                self._look_at(key, known, now=True)
            if key not in self._known:
                raise Refusal(404, f"{path.name} cannot be read.", field="run")
            return known.card

    def peek(self, key: str) -> tuple[Card, int] | None:
        """(the card of a run as it was seen last, a number that changes with its files); None if it is gone."""
        with self._lock:
            known = self._known.get(key)
            return (known.card, known.changes) if known else None

    def find(self, key: str) -> Path:
        """The folder of a run.

        Raises:
            Refusal: there is no run with this key.
        """
        path = self.folders.find(key)
        if key not in self._known and not is_run_folder(path):
            raise Refusal(404, f"{path.name} is no run.", field="run")
        if not self.folders.holds(path):
            raise Refusal(403, f"{path.name} has files that are links to places outside the folders of the studio.")
        return path

    def _is_listed(self, path: Path) -> bool:
        return not self.folders.is_uploaded(path) and self.folders.holds(path)

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
                own = (path for path in find_runs(folder) if self._is_listed(path))
                found |= {key: path for path in own if (key := self.folders.key(path)) is not None}
        for key in self._known.keys() - found.keys():
            self._remove(key)
        for key in found.keys() - self._known.keys():
            self._add(key, found[key])

    def _add(self, key: str, path: Path) -> _Known:
        self._gone.pop(key, None)
        known = self._known[key] = _Known(path)
        self._look_at(key, known, now=True)
        return known

    def _remove(self, key: str) -> None:
        del self._known[key]
        self.version += 1
        self._gone[key] = self.version

    def _look_at(self, key: str, known: _Known, now: bool = False) -> None:
        signature, clock = _signature(known.path), time.monotonic()
        if signature[0] is None:
            self._remove(key)
            return
        if signature != known.signature:
            self._changes += 1
            known.signature, known.changes = signature, self._changes
        due = signature != known.made_of and (now or clock - known.made > CARD_SECONDS)
        if not due and clock - known.lock_seen > LOCK_SECONDS:
            known.lock_seen = clock
            due = is_being_trained(known.path) != (known.card["state"] == "training")
        if not due:
            return
        try:
            card = make_card(key, known.path)
        except OSError:  # it is being removed, or cannot be looked at
            self._remove(key)
            return
        known.made_of, known.made, known.lock_seen = signature, clock, clock
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
        "severity": severity, "finding": finding, "job": None, "minutes": _minutes(run),
    }  # fmt: skip


def _rate(run: Run, last: dict[str, Any], training: bool) -> float | None:
    """Images a second: of the newest line while it trains, else of the whole training."""
    if training and is_number(now := last.get("kimg_per_s")) and now > 0:
        return 1000 * now
    nimg, seconds = last.get("nimg"), last.get("seconds")
    return nimg / seconds if is_number(nimg) and is_number(seconds) and seconds > 0 else None


def _minutes(run: Run) -> float | None:
    """The time that it was given, by which its length in images is planned; None if it was given that length."""
    with suppress(GanvasError):
        minutes = run.metadata["config"].get("minutes")
        return minutes if is_number(minutes) else None
    return None


def _shape(run: Run) -> list[int] | None:
    """[height, width, channels] of its images; None if unreadable."""
    with suppress(GanvasError):
        shape = run.metadata["data"]["shape"]
        return [shape[side] for side in ("height", "width", "channels")]
    return None


def last_finding(run: Run) -> tuple[str | None, str]:
    """(severity, summary) of the most severe finding that is not over; "healthy" without one.

    A rollback and a correction end all. The severity is None where nothing was monitored.
    """
    try:
        events, config = read_events(run.path), run.metadata["config"]
    except GanvasError:
        return None, ""
    runtime = config.get("runtime")
    monitored = isinstance(runtime, dict) and runtime.get("watch") is True
    healthy = "healthy" if monitored and (run.path / "stats.jsonl").exists() else None
    present: dict[str, tuple[Severity, str]] = {}
    for event in events:
        name, severity = str(event.get("name")), event.get("severity")
        if event["event"] in ("rollback", "correct"):
            present, healthy = {}, "healthy"
        elif event["event"] == "diagnosis over":
            present.pop(name, None)
        elif event["event"] == "resume":  # from a state whose numbers are finite
            present.pop("not finite", None)
        elif event["event"] == "non-finite":
            present["not finite"] = ("failure", "values are no longer finite")
        elif event["event"] == "diagnosis" and severity in SEVERITIES:
            present[name] = (severity, str(event.get("summary", "")))
    return min(present.values(), key=lambda finding: SEVERITIES.index(finding[0]), default=(healthy, ""))


def routes(studio: "Studio") -> list[Route]:
    """/api/runs."""

    async def list_all(request: Request) -> Response:
        cards = [studio.with_job(card) for card in await run_in_threadpool(studio.runs.cards)]
        return answer({"runs": cards, "bytes": sum(card["bytes"] for card in cards)})

    return [Route("/api/runs", list_all)]
