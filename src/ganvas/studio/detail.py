"""One run in full: its configuration, grids, snapshots, events and evaluations."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ganvas.config import to_json
from ganvas.errors import GanvasError
from ganvas.runs.card import read_card
from ganvas.runs.folder import Run
from ganvas.runs.log import read_events, read_jsonl
from ganvas.runs.names import numbered
from ganvas.studio.answers import answer, parameter
from ganvas.studio.commands import command_of, differing_knobs
from ganvas.studio.files import file_url
from ganvas.studio.generators import snapshots_of
from ganvas.studio.tail import Tail, end_of_lines

if TYPE_CHECKING:
    from ganvas.studio.app import Studio

LOGS = ("stats.jsonl", "events.jsonl", "metrics.jsonl")
"""The logs that a stream follows, in the order of their places in a position."""


def position(path: Path) -> str:
    """How far a run has been written, with dashes between the numbers.

    They are the bytes of its logs, the images of its newest grid, and a checksum of the end of the first log.
    """
    newest = max((nimg for nimg, _ in numbered(Run(path).grids)), default=0)
    ends = [end_of_lines(path / name) for name in LOGS]
    return "-".join(map(str, (*ends, newest, Tail(path / LOGS[0], ends[0]).checksum)))


def describe_run(key: str, path: Path, card: dict[str, Any]) -> dict[str, Any]:
    """A run in full: its card, and what is read once when its page is opened.

    Of a run that cannot be read, the configuration is None and the lists are as far as they can be read.
    """
    run = Run(path)
    found: dict[str, Any] = {
        **card, "path": str(path), "position": position(path), "config": None, "knobs": {}, "command": "",
        "versions": {}, "metadata": None, "lineage": None,
    }  # fmt: skip
    with suppress(GanvasError):
        metadata = run.metadata
        found |= {
            "config": to_json(run.config), "knobs": differing_knobs(run), "command": command_of(run),
            "versions": metadata.get("versions", {}), "metadata": metadata["data"], "lineage": metadata.get("lineage"),
        }  # fmt: skip
    events, damage = _read(run, "events.jsonl")
    evaluations, also_damaged = _read(run, "metrics.jsonl")
    with suppress(OSError, GanvasError):
        damage += run.find_damage()
    nested = "/" in key.partition("/")[2]  # else it would lie above the folders
    report = file_url(key, path / "report.html") if nested else None
    files = {name: file_url(key, path / name) for name in ("reals.png", "losses.png", "closest.png")}
    return found | {
        "grids": [{"nimg": nimg, "url": file_url(key, grid)} for nimg, grid in numbered(run.grids)],
        "snapshots": list(_snapshots(run)), "events": events, "evaluations": evaluations,
        "reals": files["reals.png"], "curves": files["losses.png"], "nearest": files["closest.png"],
        "film": file_url(key, run.film) if run.film else None,
        "report": report, "files_damaged": damage + also_damaged,
    }  # fmt: skip


def _read(run: Run, name: str) -> tuple[list[dict[str, Any]], list[str]]:
    """(the lines of a log, what is damaged in it)."""
    path = run.path / name
    try:
        lines = read_events(run.path) if name == "events.jsonl" else read_jsonl(path)
    except GanvasError as error:
        return [], [error.what]
    return lines, [lines.describe_damage(path)] if lines.damaged else []


def _snapshots(run: Run) -> Iterator[dict[str, Any]]:
    """Its usable snapshots, oldest first, the best one last."""
    for path in snapshots_of(run):
        card = read_card(path)
        quality = card["quality"]["value"] if card["quality"] else None
        is_best = path.name == "best"
        yield {"nimg": card["nimg"], "name": path.name, "best": is_best, "quality": quality, "path": str(path)}


def routes(studio: "Studio") -> list[Route]:
    """/api/run."""

    async def show(request: Request) -> Response:
        key = parameter(request, "run")

        def read() -> dict[str, Any]:
            card = studio.with_job(studio.runs.card(key))
            return describe_run(key, studio.runs.find(key), card)

        return answer(await run_in_threadpool(read))

    return [Route("/api/run", show)]
