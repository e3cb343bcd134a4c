"""Endpoints of pictures that were sent, for Style and Explore: whether each is one, and how it looks."""

import base64
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ganvas.errors import GanvasError
from ganvas.studio.answers import Refusal, answer, parameter, read_object
from ganvas.studio.uploads import find_single_file
from ganvas.values import to_text

if TYPE_CHECKING:
    from ganvas.studio.app import Studio

PICTURE_SECONDS = 60.0
"""Time that the look at a picture may take."""

CACHED_SECONDS = 3600
"""Time for which a browser keeps a picture: an upload does not change."""

MAX_PICTURES = 20
"""That a page asks after at a time."""


class Picture(NamedTuple):
    """A picture that was sent.

    Attributes:
        shape: its height and width.
        png: a small one of it, in Base64.
    """

    upload: str
    file: Path
    shape: list[int]
    png: str

    def to_json(self) -> dict[str, object]:
        """What a page keeps of it."""
        return {"upload": self.upload, "name": self.file.name, "shape": self.shape}


def routes(studio: "Studio") -> list[Route]:
    """The addresses of this module."""
    return [
        Route("/api/pictures", partial(_find, studio)),
        Route("/api/pictures", partial(_check, studio), methods=["POST"]),
        Route("/api/pictures/small", partial(_send, studio)),
    ]


async def check_picture(studio: "Studio", upload: str) -> Picture:
    """An upload that has to be a picture; one that is none is removed.

    Raises:
        Refusal: there is no such upload, or it has several files.
        GanvasError: it is no picture, or a damaged one.
    """
    try:
        return await _look_at(studio, upload)
    except Refusal as error:
        if error.status == 400:  # not where too much is asked for at once
            await run_in_threadpool(studio.uploads.remove_picture, upload)
        raise


async def _look_at(studio: "Studio", upload: str) -> Picture:
    file = await run_in_threadpool(lambda: find_single_file(studio.uploads.path(upload)))
    drawn = await studio.worker.call("draw_upload", PICTURE_SECONDS, path=str(file))
    return Picture(upload, file, drawn["shape"], drawn["png"])


async def _check(studio: "Studio", request: Request) -> Response:
    upload = to_text((await read_object(request)).get("upload"), "upload", "the id of an upload")
    return answer((await check_picture(studio, upload)).to_json())


async def _find(studio: "Studio", request: Request) -> Response:
    """Those of the uploads that a page remembers which are still there."""
    found = []
    for upload in request.query_params.getlist("upload")[:MAX_PICTURES]:
        with suppress(GanvasError):
            found.append((await _look_at(studio, upload)).to_json())
    return answer({"pictures": found})


async def _send(studio: "Studio", request: Request) -> Response:
    picture = await _look_at(studio, parameter(request, "upload"))
    headers = {"Cache-Control": f"private, max-age={CACHED_SECONDS}"}
    return Response(base64.b64decode(picture.png), headers=headers, media_type="image/png")
