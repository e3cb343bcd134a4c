"""Files from the web: resumed after an interruption, from the first address that gives the published content."""

import hashlib
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ganvas.data.cached import cache_files
from ganvas.errors import GanvasError
from ganvas.files import atomic_file, explain_os_error, format_bytes, fsync, make_folder
from ganvas.progress import Advance, progress_bar
from ganvas.version import __version__

TIMEOUT = 30.0
"""Seconds without a byte after which the next address is tried."""

ATTEMPTS = 5
"""Most connections to one address for one file; another one only if the last has given a part of it."""

_BLOCK_BYTES = 2**18


@dataclass(frozen=True)
class RemoteFile:
    """A file on the web, and what it must be."""

    urls: tuple[str, ...]
    """Addresses, http or https, in the order in which they are tried."""

    size: int
    """Bytes."""

    sha256: str

    @property
    def name(self) -> str:
        """The last part of the first address."""
        return self.urls[0].rpartition("/")[2]


class _Failure(Exception):
    """An address does not give the file; the message says why."""


class _Refused(_Failure):
    """A server answers with an error of HTTP."""

    def __init__(self, error: urllib.error.HTTPError) -> None:
        super().__init__(f"HTTP {error.code} {error.reason}")
        self.code = error.code


class _Lost(_Failure):
    """A connection ended early; what it gave is kept."""


def fetch(remote: RemoteFile, path: Path, *, what: str, fix: str, progress: bool = True) -> None:
    """Downloads a file to `path`, unless it is there already; its size and SHA-256 are checked.

    What arrived before an interruption is kept beside it as `.NAME.part`. `path` is complete or absent. Proxies are
    those of HTTP_PROXY, HTTPS_PROXY and NO_PROXY. Only one process may do it at a time.

    Args:
        what: what the file is, for an error: "MNIST's train-images-idx3-ubyte.gz".
        fix: what to do where the file cannot be had, for an error.

    Raises:
        GanvasError: no address gives the file, or it cannot be written.
    """
    if is_complete(remote, path):
        return
    make_folder(path.parent)
    part = path.with_name(f".{path.name}.part")
    _check_disk_space(remote, part)
    failures = []
    with progress_bar(f"Downloading {path.name}", remote.size, shown=progress) as advance:
        advance(_size(part))
        for url in remote.urls:
            try:
                _fetch_from(url, remote, part, advance)
                break
            except _Failure as failure:
                failures.append(f"{urlsplit(url).netloc}: {failure}")
        else:
            raise GanvasError(
                f"{what} could not be downloaded ({'; '.join(dict.fromkeys(failures))}).",
                expected=f"{remote.urls[0]} ({format_bytes(remote.size)}); a proxy is taken from HTTPS_PROXY",
                fix=fix,
            )
    with _writing(part):
        fsync(part)
        os.replace(part, path)


def read_small(url: str, most: int) -> bytes:
    """What an address gives, at most so many bytes; nothing is kept on the disk.

    Raises:
        ValueError: it cannot be had; the message says why: "HTTP 404 Not Found".
    """
    try:
        with _answer(url) as answer:
            content = answer.read(most + 1)
    except _Failure as failure:
        raise ValueError(str(failure)) from failure
    if len(content) > most:
        raise ValueError(f"it gives more than {most:,} bytes")
    return content


def fetch_by_digest(url: str, sha256: str, path: Path, *, most: int) -> None:
    """Downloads a file of unknown size to `path`, if its SHA-256 is the expected one; otherwise nothing is left.

    Raises:
        GanvasError: the address does not give the file, it has more than `most` bytes, or it cannot be written.
    """
    what = urlsplit(url)._replace(query="").geturl()
    try:
        with _answer(url) as answer, atomic_file(path) as part:
            digest = _write_blocks(answer, part, f"Downloading {what.rpartition('/')[2]}", most)
            if digest != sha256:
                raise _Failure(f"its SHA-256 is {digest}, not {sha256}")
    except _Failure as failure:
        raise GanvasError(
            f"{what} could not be downloaded ({failure}).",
            expected=f"a connection, and a file of SHA-256 {sha256[:16]}… there; a proxy is taken from HTTPS_PROXY",
            fix="check the connection and the address, or download the file elsewhere and name it.",
        ) from failure


def _write_blocks(answer: Any, path: Path, title: str, most: int) -> str:
    """Writes the content of an answer to a file; its SHA-256.

    Raises:
        _Failure: it has more than `most` bytes, or ends early.
    """
    announced = answer.headers.get("Content-Length", "")
    size = int(announced) if announced.isdigit() and len(announced) < 19 else None
    if size is not None and size > most:
        raise _Failure(f"it has {size:,} bytes, more than {most:,}")
    digest, done = hashlib.sha256(), 0
    with progress_bar(title, size or most, shown=size is not None) as advance, open(path, "wb") as file:
        while block := _read_block(answer):
            done += len(block)
            if done > most:
                raise _Failure(f"it gives more than {most:,} bytes")
            digest.update(block)
            file.write(block)
            advance(len(block))
    if size is not None and done != size:
        raise _Failure(f"it ended {size - done:,} bytes early")
    return digest.hexdigest()


def is_complete(remote: RemoteFile, path: Path) -> bool:
    """Whether `path` is the file, by its SHA-256."""
    try:
        return path.stat().st_size == remote.size and cache_files.hash_file(path) == remote.sha256
    except OSError:
        return False


def _fetch_from(url: str, remote: RemoteFile, part: Path, advance: Advance) -> None:
    """Completes `part` from one address.

    Raises:
        _Failure: it cannot be had there.
    """
    for attempt in range(ATTEMPTS):
        before = _size(part)
        if before < remote.size:
            try:
                _append(url, remote, part, before, advance)
            except _Lost:
                if _size(part) <= before or attempt == ATTEMPTS - 1:
                    raise
                continue
        if is_complete(remote, part):
            return
        advance(-_size(part))
        part.unlink(missing_ok=True)
        if not before:  # else the first bytes may be of another address
            raise _Failure(f"its content has another SHA-256 than {remote.sha256[:16]}…")
    raise _Failure("it gave another content each time")


def _append(url: str, remote: RemoteFile, part: Path, start: int, advance: Advance) -> None:
    """Appends what one connection gives, from byte `start` on; begins again at 0 where the server does."""
    try:
        with _answer(url, {"Range": f"bytes={start}-"} if start else {}) as answer:
            first = _find_start(answer, start, remote.size)
            advance(first - start)
            with _writing(part), open(part, "r+b" if first else "wb") as file:
                file.seek(first)
                for block in _read_blocks(answer, remote.size - first):
                    file.write(block)
                    advance(len(block))
    except _Refused as refused:
        if refused.code != 416 or not start:  # else the part is not of the file that is there: `_fetch_from` removes it
            raise


@contextmanager
def _answer(url: str, headers: Mapping[str, str] | None = None) -> Iterator[Any]:
    """What a server answers.

    Raises:
        _Failure: it does not, or not with the file; or reading it, or writing what it gives, fails in the block.
    """
    request = urllib.request.Request(url, headers={"User-Agent": f"ganvas/{__version__}", **(headers or {})})
    try:
        with closing(urllib.request.build_opener(_WebRedirects).open(request, timeout=TIMEOUT)) as answer:
            yield answer
    except urllib.error.HTTPError as error:
        error.close()
        raise _Refused(error) from error
    except urllib.error.URLError as error:
        raise _Failure(_in_words(error.reason)) from error
    except (OSError, HTTPException, ValueError) as error:  # before the answer, or an answer that is not HTTP
        raise _Failure(_in_words(error)) from error


def _read_blocks(answer: Any, size: int) -> Iterator[bytes]:
    """The content of an answer, `size` bytes in all.

    Raises:
        _Failure: it has more or fewer.
    """
    while block := _read_block(answer):
        size -= len(block)
        if size < 0:
            raise _Failure("it gives more bytes than the file has")
        yield block
    if size:
        raise _Lost(f"it ended {size:,} bytes early")


def _read_block(answer: Any) -> bytes:
    """The next bytes of an answer; none at its end.

    Raises:
        _Lost: the connection ended.
    """
    try:
        return answer.read1(_BLOCK_BYTES)
    except (OSError, HTTPException, ValueError) as error:
        raise _Lost(_in_words(error)) from error


def _find_start(answer: Any, start: int, size: int) -> int:
    """The byte at which an answer begins: `start`, or 0 of a server that ignores it.

    Raises:
        _Failure: it is another part, or of a file of another size.
    """
    if answer.status != 206:
        start = 0
    elif not str(answer.headers.get("Content-Range", "")).startswith(f"bytes {start}-"):
        raise _Failure("it gave another part than it was asked for")
    length = answer.headers.get("Content-Length", "")
    if length.isdigit() and start + int(length) != size:
        raise _Failure(f"it has {start + int(length):,} bytes there instead of {size:,}")
    return start


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _check_disk_space(remote: RemoteFile, part: Path) -> None:
    free, needed = shutil.disk_usage(part.parent).free, remote.size - _size(part)
    if needed > free:
        raise GanvasError(
            f"The download needs {format_bytes(needed)}; {part.parent} has {format_bytes(free)} left.",
            expected="space for the file",
            fix="free some space, or set the environment variable GANVAS_CACHE to a larger disk.",
        )


@contextmanager
def _writing(part: Path) -> Iterator[None]:
    """An OSError in the block is one of the disk: the part is removed, so that it does not fill the disk."""
    try:
        yield
    except OSError as error:
        part.unlink(missing_ok=True)
        raise explain_os_error(error, part.parent) from error


def _in_words(reason: object) -> str:
    if isinstance(reason, TimeoutError):
        return f"no answer within {TIMEOUT:g} seconds"
    return (getattr(reason, "strerror", None) or str(reason) or type(reason).__name__).rstrip(".")


class _WebRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https only."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if urlsplit(newurl).scheme not in ("http", "https"):
            raise urllib.error.HTTPError(req.full_url, code, f"refers to {newurl}", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)
