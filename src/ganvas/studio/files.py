"""The files of a run that a page shows: pictures, the film, logs, a comparison's report."""

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from ganvas.reading import check_regular
from ganvas.studio.answers import Refusal, parameter

if TYPE_CHECKING:
    from ganvas.studio.app import Studio

TYPES = {
    ".png": "image/png", ".webp": "image/webp", ".gif": "image/gif", ".txt": "text/plain; charset=utf-8",
    ".json": "application/json", ".jsonl": "text/plain; charset=utf-8", ".html": "text/html; charset=utf-8",
}  # fmt: skip

NAMES = re.compile(
    r"fakes\d{1,12}\.png|(reals|losses|closest)\.png|training\.(webp|gif)|log\.txt|config\.json"
    r"|(stats|events|metrics)\.jsonl|report\.html",
    re.ASCII,
)
"""The files that are given out, by their names; report.html is that of the comparison that a run belongs to."""

REPORT_POLICY = "sandbox allow-popups; default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:"
"""A report is a page of its own, without scripts and without the rights of the studio's pages."""


def locate(run: Path, name: str) -> Path:
    """Where a file of a run lies."""
    return run.parent.parent / name if name == "report.html" else run / name


def file_url(key: str, file: Path) -> str | None:
    """The address of a file of a run, another one whenever it is written; None if it is not there."""
    try:
        status = locate(file.parent, file.name).stat()
    except OSError:
        return None
    version = f"{status.st_mtime_ns:x}-{status.st_size:x}"
    return f"/api/run/file?{urlencode({'run': key, 'name': file.name, 'v': version})}"


def routes(studio: "Studio") -> list[Route]:
    """/api/run/file."""

    async def send(request: Request) -> Response:
        key, name = parameter(request, "run"), parameter(request, "name")
        return await run_in_threadpool(lambda: _respond(studio, request, key, name))

    return [Route("/api/run/file", send)]


def _respond(studio: "Studio", request: Request, key: str, name: str) -> Response:
    if not NAMES.fullmatch(name):
        raise Refusal(404, f"{name[:200]!r} is no file of a run.", field="name")
    path = studio.folders.check_inside(locate(studio.runs.find(key), name))
    try:
        status = check_regular(path)
    except OSError:
        raise Refusal(404, f"{key[:200]} has no {name}.", field="name") from None
    version = f"{status.st_mtime_ns:x}-{status.st_size:x}"
    lasting = request.query_params.get("v") == version and name.startswith("fakes")
    headers = {
        "ETag": f'"{version}"',
        "Cache-Control": "private, max-age=31536000, immutable" if lasting else "private, no-cache",
        "Content-Disposition": f'inline; filename="{name}"',
    }
    if path.suffix == ".html":
        headers["Content-Security-Policy"] = REPORT_POLICY
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return FileResponse(path, headers=headers, media_type=TYPES[path.suffix], stat_result=status)
