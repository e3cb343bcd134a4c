"""Endpoints of the diagnosis: of a run, up to any time, and of anyone's log."""

from collections import OrderedDict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ganvas.studio.answers import Refusal, answer, count, parameter, read_object
from ganvas.studio.commands import quote
from ganvas.studio.places import find_path
from ganvas.studio.worker import while_connected

if TYPE_CHECKING:
    from ganvas.studio.app import Studio

RUN_SECONDS, LOG_SECONDS = 60.0, 120.0
"""Time that a diagnosis may take."""

KEPT = 256
"""Diagnoses of runs that are kept."""

_FILES = ("config.json", "stats.jsonl", "events.jsonl")
"""The files of a run that its diagnosis reads."""


def routes(studio: "Studio") -> list[Route]:
    """The addresses of this module."""
    kept: OrderedDict[Any, Any] = OrderedDict()
    return [
        Route("/api/run/diagnosis", partial(_diagnose_run, studio, kept)),
        Route("/api/diagnose", partial(_diagnose_log, studio), methods=["POST"]),
    ]


async def _diagnose_run(studio: "Studio", kept: "OrderedDict[Any, Any]", request: Request) -> Response:
    key = parameter(request, "run")
    path = await run_in_threadpool(studio.runs.find, key)
    until = count(request, "until", None)
    state = (key, until, *map(_stamp, (path / name for name in _FILES)))
    if state not in kept:
        found = await while_connected(
            request, studio.worker.call("diagnose_run", RUN_SECONDS, path=str(path), until=until)
        )
        kept[state] = found | {"command": quote(["ganvas", "diagnose", path])}
        while len(kept) > KEPT:
            kept.popitem(last=False)
    return answer(kept[state])


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


async def _diagnose_log(studio: "Studio", request: Request) -> Response:
    body = await read_object(request)
    path = await run_in_threadpool(_find_log, studio, body)
    columns = body.get("columns") or {}
    if not isinstance(columns, dict) or not all(isinstance(name, str) for name in columns.values()):
        raise Refusal(400, "The columns of the request are no names.", expected='{"d_loss": NAME}', field="columns")
    work = studio.worker.call("diagnose_log", LOG_SECONDS, path=str(path), columns=columns)
    named = ["--columns", ",".join(f"{own}={name}" for own, name in columns.items())] if columns else []
    command = quote(["ganvas", "diagnose", path, *named])
    return answer(await while_connected(request, work) | {"path": str(path), "command": command})


def _find_log(studio: "Studio", body: dict[str, Any]) -> Path:
    """What was uploaded, or a path in the folders."""
    for name in ("upload", "path"):
        if (value := body.get(name)) is not None:
            if not isinstance(value, str):
                raise Refusal(400, f"'{name}' is no text.", field=name)
            return studio.uploads.path(value) if name == "upload" else find_path(studio, value, "path")
    raise Refusal(400, "No log is named.", expected="an upload, or a path", field="upload")
