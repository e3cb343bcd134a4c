"""The files of a run that a page shows: pictures, the film, logs, a comparison's report."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from ganvas.reading import open_regular
from ganvas.runs.names import NUMBER
from ganvas.studio.answers import Refusal, parameter

if TYPE_CHECKING:
    from ganvas.studio.app import Studio

TYPES = {
    ".png": "image/png", ".webp": "image/webp", ".gif": "image/gif", ".txt": "text/plain; charset=utf-8",
    ".json": "application/json", ".jsonl": "text/plain; charset=utf-8", ".html": "text/html; charset=utf-8",
}  # fmt: skip

NAMES = re.compile(
    rf"fakes{NUMBER}\.png|(reals|losses|closest)\.png|training\.(webp|gif)|log\.txt|config\.json"
    r"|(stats|events|metrics)\.jsonl|report\.html",
    re.ASCII,
)
"""The files that are given out, by their names; report.html is that of the comparison that a run belongs to."""

REPORT_POLICY = "sandbox allow-popups; default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:"
"""A report is a page of its own, without scripts and without the rights of the studio's pages."""


CHUNK = 2**18
"""Bytes of a file that are sent at a time."""

TRIES = 3
"""How often a file is opened that is being replaced."""


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
    path = locate(studio.runs.find(key), name)
    try:
        file, status = open_inside(studio, path)
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
        file.close()
        return Response(status_code=304, headers=headers)
    return _Content(file, status.st_size, headers, TYPES[path.suffix])


def open_inside(studio: "Studio", path: Path) -> tuple[BinaryIO, os.stat_result]:
    """A file that lies in the folders, opened: no link that is put in its place meanwhile leads elsewhere.

    Raises:
        OSError: it cannot be read.
        Refusal: it lies elsewhere.
    """
    for _ in range(TRIES):
        file = open_regular(path)
        try:
            real = os.path.realpath(studio.folders.check_inside(path))
            status = os.fstat(file.fileno())
            if os.path.samestat(status, os.lstat(real)):
                return file, status
        except BaseException:
            file.close()
            raise
        file.close()
    raise FileNotFoundError(path)


class _Content(Response):
    """The first `size` bytes of an open file, which may be written on meanwhile."""

    def __init__(self, file: BinaryIO, size: int, headers: dict[str, str], media_type: str) -> None:
        super().__init__(None, headers=headers | {"Content-Length": str(size)}, media_type=media_type)
        self.file, self.size = file, size

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self.file:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            left = 0 if scope["method"] == "HEAD" else self.size
            while left:
                content = await run_in_threadpool(self.file.read, min(left, CHUNK))
                if not content:  # it has become shorter: an answer that is cut off is seen as such
                    return
                left -= len(content)
                await send({"type": "http.response.body", "body": content, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
