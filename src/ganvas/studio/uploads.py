"""Files that a page sends: streamed to the disk in a folder beside the runs, bounded in size, number and time."""

import asyncio
import os
import secrets
import shutil
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from ganvas.errors import GanvasError
from ganvas.files import RECENT, disk_usage, explain_os_error, find_leftovers, format_bytes, make_folder
from ganvas.studio.answers import Refusal, answer, parameter, read_object
from ganvas.studio.upload_names import IMAGES, choose_name, clean, is_log

if TYPE_CHECKING:
    from ganvas.studio.app import Studio

MAX_BYTES, MAX_FILES = 20 * 10**9, 500_000
"""Of one upload."""

MAX_OPEN = 4
"""Uploads at a time."""

KEPT_FREE = 10**9
"""Bytes of the disk that an upload leaves free."""

ABANDONED_SECONDS, LOOK_SECONDS = 120.0, 1.0
"""Time without a byte after which an upload is removed, and the shortest time between two looks."""

MAX_NUMBER = 99
"""Of files with the same name; more have numbers at random: there may be half a million."""

BUFFER = 2**20
"""Bytes that are written at a time."""


@dataclass(eq=False)
class Upload:
    """Files that are being sent.

    Attributes:
        final: where they will lie; `staging` beside it is where they lie until all are there.
        announced: their bytes, as the page says; `bytes` those that came.
        files: how many are complete; `first` of them, and the folders that they are in: "" for none, at most two.
        logs: whether each looks like a log.
        writing: how many are being written.
        touched: when the last byte came, as `time.monotonic`.
    """

    id: str
    final: Path
    staging: Path
    announced: int
    bytes: int = 0
    files: int = 0
    first: PurePosixPath | None = None
    tops: set[str] = field(default_factory=set)
    logs: bool = True
    writing: int = 0
    touched: float = field(default_factory=time.monotonic)
    ended: bool = False

    def add(self, file: PurePosixPath) -> None:
        """Counts a file that is complete."""
        self.first = self.first or file
        self.files += 1
        self.logs &= is_log(file)
        if len(self.tops) < 2:
            self.tops.add(file.parts[0] if len(file.parts) > 1 else "")


class Uploads:
    """The uploads of this studio.

    Args:
        folder: where they lie; made with the first one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: dict[str, Upload] = {}
        self._closed: dict[str, Path] = {}
        self._lock = threading.Lock()

    def begin(self, names: Sequence[str], files: int, size: int) -> Upload:
        """A place for files that will be sent.

        Raises:
            Refusal: they are too many or too large, or too many uploads are open.
            GanvasError: the folder cannot be written.
        """
        if len(self._open) >= MAX_OPEN:
            raise _too_many()
        if not 1 <= files <= MAX_FILES:
            raise Refusal(413, f"{files:,} files are too many.", expected=f"at most {MAX_FILES:,}", fix="send a zip.")
        if size > MAX_BYTES:
            raise _too_large(size)
        make_folder(self.folder)
        for leftover in find_leftovers(self.folder):  # of killed studios, or of one on another machine
            if time.time() - disk_usage(leftover.path)[1] > RECENT:
                shutil.rmtree(leftover.path, ignore_errors=True)
                _remove_empty(self.folder / leftover.path.name[1:].rpartition(".tmp-")[0])
        self._check_space(size)
        with self._lock:
            if len(self._open) >= MAX_OPEN:
                raise _too_many()
            upload = self._reserve(choose_name(names), size)
            self._open[upload.id] = upload
        return upload

    def find(self, name: str) -> Upload:
        """The open upload of that id.

        Raises:
            Refusal: there is none: it was closed, removed, or not used for too long.
        """
        if name not in self._open:
            raise Refusal(404, "There is no such upload any more.", fix="send the files again.")
        return self._open[name]

    def is_closed(self, name: str) -> bool:
        """Whether all files of an upload have been sent."""
        return name in self._closed

    def path(self, name: str) -> Path:
        """Where the files of a closed upload lie.

        Raises:
            Refusal: there is none of this id.
        """
        if name not in self._closed:
            raise Refusal(404, "There is no such upload any more.", fix="send the files again.", field="upload")
        return self._closed[name]

    async def write(self, upload: Upload, name: str, request: Request) -> int:
        """Streams the body of a request to a file, and returns its bytes; what is not complete is removed.

        Raises:
            Refusal: more bytes than announced or allowed, too many files, too slowly, or a full disk.
        """
        path, sent = upload.staging / clean(name), 0
        if upload.files + upload.writing >= MAX_FILES:
            raise Refusal(413, f"More than {MAX_FILES:,} files were sent.", fix="send a zip.")
        upload.writing += 1
        try:
            path = await run_in_threadpool(_create, path)
            try:
                async for chunk in _gather(request):
                    sent += len(chunk)
                    upload.bytes += len(chunk)
                    upload.touched = time.monotonic()
                    self._check(upload, len(chunk))
                    await run_in_threadpool(_append, path, chunk)
            except BaseException:
                upload.bytes -= sent
                path.unlink(missing_ok=True)
                raise
        except OSError as error:
            await run_in_threadpool(self.remove, upload)
            full = explain_os_error(error, upload.final)
            raise Refusal(507, full.what, expected=full.expected, fix=full.fix) from error
        finally:
            upload.writing -= 1
            upload.touched = time.monotonic()
        upload.add(PurePosixPath(path.relative_to(upload.staging).as_posix()))
        return sent

    def _check(self, upload: Upload, size: int) -> None:
        """Refuses what is more than announced or allowed, or does not fit on the disk."""
        if upload.ended:
            raise Refusal(404, "The upload was removed meanwhile.", fix="send the files again.")
        if upload.bytes > min(upload.announced, MAX_BYTES):
            raise _too_large(upload.bytes, upload.announced)
        self._check_space(size)

    def close_upload(self, upload: Upload) -> tuple[Path, Literal["data", "log"]]:
        """Puts the files in their place: a single file that is no image, or a folder; and what they seem to be.

        Raises:
            Refusal: no file was sent, or one is still being sent.
            GanvasError: they cannot be moved.
        """
        if not upload.files or upload.writing:
            what = "A file is still being sent." if upload.writing else "No file was sent."
            raise Refusal(409, what, expected="all files, then the end")
        shared = upload.staging.joinpath(*upload.tops) if len(upload.tops) == 1 else upload.staging
        try:
            upload.final.rmdir()
            shared.rename(upload.final)
        except OSError as error:
            raise explain_os_error(error, upload.final) from error
        shutil.rmtree(upload.staging, ignore_errors=True)
        self._forget(upload)
        first = upload.first if upload.files == 1 and upload.tops == {""} else None
        alone = first is not None and first.suffix.lower() not in IMAGES
        path = self._closed[upload.id] = upload.final / first if first is not None and alone else upload.final
        return path, "log" if upload.logs or (path / "stats.jsonl").is_file() else "data"

    def remove(self, upload: Upload) -> None:
        """Forgets an upload and removes its files."""
        self._forget(upload)
        shutil.rmtree(upload.staging, ignore_errors=True)
        _remove_empty(upload.final)

    def remove_picture(self, name: str) -> None:
        """Removes the only file of a closed upload; several files may be the data of a training, and stay.

        Raises:
            Refusal: there is no such upload, or it has several files.
        """
        file = find_single_file(self.path(name))
        del self._closed[name]
        with suppress(FileNotFoundError):
            file.unlink()
        _remove_empty(file.parent)

    def close(self) -> None:
        """Removes what is not complete."""
        for upload in list(self._open.values()):
            self.remove(upload)

    def _forget(self, upload: Upload) -> None:
        upload.ended = True
        self._open.pop(upload.id, None)

    def _reserve(self, name: str, size: int) -> Upload:
        number = 1
        while True:
            final = self.folder / (name if number == 1 else f"{name}-{number}")
            try:
                final.mkdir()
                break
            except FileExistsError:
                number += 1
            except OSError as error:
                raise explain_os_error(error, final) from error
        staging = self.folder / f".{final.name}.tmp-{os.getpid()}"
        shutil.rmtree(staging, ignore_errors=True)
        try:
            staging.mkdir()
        except OSError as error:
            _remove_empty(final)
            raise explain_os_error(error, final) from error
        return Upload(secrets.token_hex(8), final, staging, size)

    def _check_space(self, size: int) -> None:
        free = shutil.disk_usage(self.folder).free - KEPT_FREE
        if size > free:
            raise Refusal(
                507, f"{format_bytes(size)} do not fit on the disk, which has {format_bytes(max(0, free))} to spare.",
                expected="space for the files, and 1 GB to spare",
                fix="free some space, or start the studio with a folder on another disk.",
            )  # fmt: skip

    def watch(self, upload: Upload) -> None:
        """Removes the upload once nothing has happened for too long; called in the event loop."""
        if upload.ended:
            return
        left, loop = upload.touched + ABANDONED_SECONDS - time.monotonic(), asyncio.get_running_loop()
        if left <= 0 and not upload.writing:
            loop.run_in_executor(None, self.remove, upload)  # it may be many files
            return
        loop.call_later(max(left, LOOK_SECONDS), self.watch, upload)


def routes(studio: "Studio") -> list[Route]:
    """The addresses of this module."""
    one = "/api/uploads/{upload}"
    return [
        Route("/api/uploads", partial(_begin, studio.uploads), methods=["POST"]),
        Route(f"{one}/file", partial(_put, studio.uploads), methods=["PUT"]),
        Route(f"{one}/close", partial(_close, studio.uploads), methods=["POST"]),
        Route(one, partial(_delete, studio.uploads), methods=["DELETE"]),
    ]


async def _begin(uploads: Uploads, request: Request) -> Response:
    body = await read_object(request)
    names, size = body.get("names"), body.get("bytes")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise Refusal(400, "The upload names no files.", expected="a list of names", field="names")
    files = body.get("files", len(names))
    if not all(isinstance(number, int) and not isinstance(number, bool) and number >= 0 for number in (files, size)):
        raise Refusal(400, "The upload says no size.", expected="the number of files and of bytes", field="bytes")
    upload = await run_in_threadpool(uploads.begin, names, files, size)  # type: ignore[arg-type]
    uploads.watch(upload)
    return answer({"upload": upload.id, "path": str(upload.final)}, 201)


async def _put(uploads: Uploads, request: Request) -> Response:
    upload = uploads.find(request.path_params["upload"])
    length = request.headers.get("content-length", "")
    if length.isdigit() and upload.bytes + int(length) > min(upload.announced, MAX_BYTES):
        raise _too_large(upload.bytes + int(length), upload.announced)
    try:
        return answer({"bytes": await uploads.write(upload, parameter(request, "name"), request)}, 201)
    except ClientDisconnect:
        return Response(status_code=400)  # nobody reads it


async def _close(uploads: Uploads, request: Request) -> Response:
    path, what = await run_in_threadpool(uploads.close_upload, uploads.find(request.path_params["upload"]))
    return answer({"path": str(path), "what": what})


async def _delete(uploads: Uploads, request: Request) -> Response:
    name = request.path_params["upload"]
    if uploads.is_closed(name):
        await run_in_threadpool(uploads.remove_picture, name)
    else:
        await run_in_threadpool(uploads.remove, uploads.find(name))
    return answer({"removed": True})


async def _gather(request: Request) -> AsyncIterator[bytes]:
    """The body of a request in pieces that are worth a write.

    Raises:
        Refusal: it comes too slowly (`ganvas.studio.security`).
        ClientDisconnect: the page has gone.
    """
    buffer = bytearray()
    async for chunk in request.stream():
        buffer += chunk
        if len(buffer) >= BUFFER:
            yield bytes(buffer)
            buffer.clear()
    if buffer:
        yield bytes(buffer)


def _create(path: Path) -> Path:
    """Makes an empty file, with its folders; where the name is taken, as after cleaning, another one with a number.

    Raises:
        Refusal: another file has the name of a folder.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise Refusal(409, f"{path.name}: its folder has the name of another file.", field="name") from None
    number = 1
    while True:
        free = path if number == 1 else path.with_stem(f"{path.stem}-{number}")
        try:
            free.open("xb").close()
            return free
        except FileExistsError:
            number = number + 1 if number < MAX_NUMBER else secrets.randbelow(10**9)


def _append(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)


def find_single_file(path: Path) -> Path:
    """The only file of a closed upload.

    Raises:
        Refusal: there are several, or none.
    """
    files = find_files(path)
    if len(files) != 1:
        raise Refusal(400, f"{len(files)} files were sent.", expected="one picture", field="upload")
    return files[0]


def find_files(path: Path) -> list[Path]:
    """The files of a closed upload, by their names."""
    return [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def _too_many() -> GanvasError:
    return Refusal(429, f"{MAX_OPEN} uploads are open.", expected="fewer at a time", fix="wait for one of them.")


def _too_large(size: int, announced: int = MAX_BYTES) -> GanvasError:
    if announced < MAX_BYTES and size <= MAX_BYTES:
        return Refusal(413, f"More bytes were sent than the {announced:,} that were announced.", fix="send them again.")
    return Refusal(
        413, f"The files are too large: {format_bytes(size)}.", expected=f"at most {format_bytes(MAX_BYTES)}",
        fix="start it as ganvas studio --data FOLDER, and name their path.",
    )  # fmt: skip
