"""Endpoints about data: the report of a data set, and small pictures of it."""

import base64
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ganvas.studio.answers import Refusal, answer, count, parameter
from ganvas.studio.commands import quote
from ganvas.studio.places import find_data, names_download
from ganvas.studio.worker import while_connected

if TYPE_CHECKING:
    from ganvas.studio.app import Studio

INSPECTION_SECONDS, PICTURE_SECONDS = 1800.0, 60.0
"""Time that an inspection may take, with a download and the decoding; and one picture."""

CACHED_SECONDS = 600
"""Time for which a browser keeps a picture: its address changes with the data."""


def routes(studio: "Studio") -> list[Route]:
    """The addresses of this module."""
    return [
        Route("/api/data", partial(_inspect, studio)),
        Route("/api/data/picture", partial(_draw, studio)),
    ]


async def _find(studio: "Studio", request: Request) -> str:
    """The data that a request names.

    Raises:
        Refusal: there is none, or it would be downloaded for someone who has no token.
    """
    data = await run_in_threadpool(find_data, studio, parameter(request, "data"))
    if names_download(data) and not request.scope["may_write"]:
        raise Refusal(401, f"{data} is downloaded, for which the token is needed.", field="data")
    return data


async def _inspect(studio: "Studio", request: Request) -> Response:
    data = await _find(studio, request)
    found = await while_connected(request, studio.inspector.call("inspect_data", INSPECTION_SECONDS, data=data))
    return answer(_with_pictures(data, found))


def _with_pictures(data: str, found: dict[str, Any]) -> dict[str, Any]:
    """The report with the addresses of its pictures."""
    sheet, drawable, copies = (found.pop(name) for name in ("sheet", "drawable", "copies"))
    version = found["fingerprint"][:12]

    def url(**which: Any) -> str:
        return f"/api/data/picture?{urlencode({'data': data, **which, 'v': version})}"

    def picture(one: dict[str, Any]) -> dict[str, Any]:
        return one | {"url": url(index=one["index"])}

    return found | {
        "data": data,
        "command": quote(["ganvas", "data", data]),
        "pictures": [picture(one) for one in sheet],
        "bad": [
            {"file": file, "reason": reason, "url": url(file=file) if file in drawable else None}
            for file, reason in found["bad_files"]
        ],
        "duplicates": [[picture(one) for one in group] for group in copies],
    }


async def _draw(studio: "Studio", request: Request) -> Response:
    data = await _find(studio, request)
    index, file = count(request, "index", None), request.query_params.get("file")
    if (index is None) == (file is None):
        raise Refusal(400, "No picture is named.", expected="its number, or the name of a file", field="index")
    which: dict[str, Any] = {"index": index} if file is None else {"file": file}
    name = "draw_picture" if file is None else "draw_file"
    drawn = await while_connected(request, studio.worker.call(name, PICTURE_SECONDS, data=data, **which))
    if drawn is None:
        raise Refusal(404, f"{data} has no such picture.", field="index")
    headers = {"Cache-Control": f"private, max-age={CACHED_SECONDS}"}
    return Response(base64.b64decode(drawn), headers=headers, media_type="image/png")
