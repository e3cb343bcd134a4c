"""What every reader returns: a Source, which reads as ImageArrays (decoded pixels) or as ImageFiles (encoded files)."""

import errno
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ganvas.errors import GanvasError
from ganvas.terminal import printable_name


class Unreadable(Exception):
    """An image cannot be used; the message is the reason, for users."""


_LASTING = {
    None, errno.ENOENT, errno.EACCES, errno.EPERM, errno.EINVAL, errno.EISDIR, errno.ENOTDIR, errno.ELOOP,
    errno.ENAMETOOLONG,
}  # fmt: skip
"""The errors of a file that stay until it or its permissions change; those of damaged files have no number."""


def find_disk_error(error: BaseException | None) -> OSError | None:
    """The failure of a disk, or of the connection to it, among an error and its causes; None if there is none.

    What it withholds may be readable at another time, and a data set without it would be another one.
    """
    while error is not None and not (isinstance(error, OSError) and error.errno not in _LASTING):
        error = error.__cause__
    return error


def disk_failure(failed: Mapping[str, OSError]) -> GanvasError:
    """The error to raise where a disk failed at files of these names."""
    names = [f"{printable_name(name)} ({error.strerror or error})" for name, error in failed.items()]
    rest = f" and {len(names) - MAX_FAILED} more" if len(names) > MAX_FAILED else ""
    return GanvasError(
        f"The disk fails at {', '.join(names[:MAX_FAILED])}{rest}.",
        expected="files that can be read",
        fix="check the disk, or the connection to it, and start again; if the same files fail each time, use a copy "
        "without them.",
    )


def refuse_failing_disk(name: str, error: Exception) -> None:
    """Raises `disk_failure` if an error of the file of this name is, or was caused by, one."""
    if (failed := find_disk_error(error)) is not None:
        raise disk_failure({name: failed}) from error


MAX_FAILED = 10
"""Files at which a disk fails that are looked for and named."""


@dataclass(frozen=True)
class ImageArrays:
    """Decoded images of one size."""

    count: int
    shape: tuple[int, int, int]
    """(channels, height, width)."""

    blocks: Callable[[], Iterator[np.ndarray]]
    """Yields uint8 [n c h w], `count` images in all; raises GanvasError where the file is damaged."""

    labels: np.ndarray | None = None
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """JSON-able; added to `ImageSet.metadata`, where it replaces entries derived from the shape."""


@dataclass(frozen=True)
class ImageFiles:
    """Encoded image files, in their final order."""

    names: Sequence[str]
    open: Callable[[int], BinaryIO]
    """Opens file i for reading, seekable, from any thread; raises `Unreadable` if that fails."""

    stream: Callable[[], Iterator[bytes | Unreadable]] | None = None
    """Yields the content of all files in order, where opening one in the middle would read all before it, as in a
    compressed tar; or why a file cannot be read. Used instead of `open`; at most a few files are kept in memory."""

    labels: np.ndarray | None = None
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unreadable: tuple[tuple[str, str], ...] = ()
    """(file, reason) of files that are unusable for reasons known before opening; these are not in `names`."""

    ignored: Mapping[str, int] = field(default_factory=dict)
    """Number of files of each extension that were ignored because they are not images."""


def without_controls(content: ImageArrays | ImageFiles) -> ImageArrays | ImageFiles:
    r"""The same content, whose names and notes have escapes in place of control characters: `a\nb`."""
    shown: dict[str, Any] = {"class_names": tuple(map(printable_name, content.class_names))}
    shown["notes"] = tuple(map(printable_name, content.notes))
    if isinstance(content, ImageFiles):
        if not all(map(str.isprintable, content.names)):
            shown["names"] = [printable_name(name) for name in content.names]
        shown["unreadable"] = tuple((printable_name(name), reason) for name, reason in content.unreadable)
        shown["ignored"] = {printable_name(kind): count for kind, count in content.ignored.items()}
    return replace(content, **shown)


@dataclass(frozen=True)
class Source:
    """A data source whose format is recognised and which has not been read yet."""

    name: str
    format: str
    """For messages: "a folder", "a zip", "IDX files"."""

    stamp: Any
    """JSON-able; changes whenever the content may have changed. Part of the key of the cache."""

    read: Callable[[], ImageArrays | ImageFiles]
    in_memory: bool = False
    """Whether the source is so small that the cache is not used."""


class NoSplit(GanvasError):
    """The source does not have the requested split."""


def no_split(what: str, *, fix: str = "leave --split out.") -> NoSplit:
    """The error for `--split test` where a source has a single split."""
    return NoSplit(f"{what} has no test split.", expected="a data set with a train and a test split", fix=fix)


def file_stamp(path: Path) -> list[str | int]:
    """Path, size and times of a file, for the `stamp` of a source."""
    stat = path.stat()
    return [str(path.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def open_file(path: Path | str) -> BinaryIO:
    """Opens an image file; raises `Unreadable` if that fails."""
    try:
        return open(path, "rb")
    except OSError as error:
        raise Unreadable(f"cannot be opened: {error.strerror}") from error


def describe_start(head: bytes) -> str:
    """The first bytes of a file as a clause for a message: `it is empty` or `it begins with '<html>'`."""
    return f"it begins with {head[:16].decode('latin-1')!r}" if head else "it is empty"
