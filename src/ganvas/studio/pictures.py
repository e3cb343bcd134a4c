"""A picture that was sent: it is decoded before anything is begun with it."""

from pathlib import Path
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool

from ganvas.errors import GanvasError
from ganvas.studio.uploads import find_single_file

if TYPE_CHECKING:
    from ganvas.studio.app import Studio

PICTURE_SECONDS = 60.0
"""Time that the look at a picture may take."""


async def check_picture(studio: "Studio", upload: str) -> Path:
    """The file of an upload that is one picture.

    Raises:
        Refusal: there is no such upload, or it has several files.
        GanvasError: it is no picture, or a damaged one; it is removed.
    """
    file = await run_in_threadpool(lambda: find_single_file(studio.uploads.path(upload)))
    try:
        await studio.worker.call("check_picture", PICTURE_SECONDS, path=str(file))
    except GanvasError:
        await run_in_threadpool(studio.uploads.remove_picture, upload)
        raise
    return file
