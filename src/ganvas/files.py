"""Atomic writing of files and folders: temporary name, fsync, rename."""

import errno
import json
import os
import re
import shutil
import stat
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganvas.errors import GanvasError, describe_value

MAX_STEM_BYTES = 200
"""Bytes of a file's name that its temporary name keeps: file systems allow 255 in all."""

LEFTOVER = r"\.(.+)\.(tmp|old)-(\d+)(?:-\d+)?"
"""The name of a temporary file or folder: the final name, the kind, the process, and a thread beside the main one."""

RECENT = 600.0
"""Seconds within which a file that is being written changes."""

MAX_SHOWN_PATH = 300
"""Most characters of a path in a message."""
MAX_NAME = 255
"""Most bytes of a file's name."""


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path, which is renamed to `path` when the block succeeds; through a link, to what it names.

    Readers see the old file or the new one, never a part. If the block fails, the temporary file is removed and
    `path` is unchanged.

    Raises:
        GanvasError: the disk is full, the folder cannot be written, or `path` is a folder or a device.
    """
    target = _find_target(path, stat.S_IFREG)
    temporary = _temporary_path(target)
    with _remove_on_error(path, temporary):
        yield temporary
        fsync(temporary)
        os.replace(temporary, target)
        fsync(target.parent)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yields a temporary folder, which is renamed to `path` when the block succeeds; an existing `path` is replaced.

    Raises:
        GanvasError: the disk is full, the parent folder cannot be written, or `path` is a file.
    """
    target = _find_target(path, stat.S_IFDIR)
    temporary = _temporary_path(target)
    with _remove_on_error(path, temporary):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        for file in temporary.iterdir():
            fsync(file)
        fsync(temporary)
        if target.exists():  # a folder cannot be renamed over a full one: move the old one aside first
            old = target.with_name(f".{target.name}.old-{os.getpid()}")
            os.rename(target, old)
            os.rename(temporary, target)
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.rename(temporary, target)
        fsync(target.parent)


def write_text(path: Path, text: str) -> None:
    r"""Writes a text file, UTF-8, atomically; bytes of a file name that are not UTF-8 as escapes, such as \udcff."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def clean_leftovers(folder: Path) -> None:
    """Removes temporary files that a killed process left in `folder`; restores a folder that it was replacing.

    Call it only while no other process writes there.
    """
    for old in folder.glob(".*.old-*"):
        path = old.with_name(old.name[1:].rpartition(".old-")[0])
        if path.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.rename(old, path)
    for leftover in folder.glob(".*.tmp-*"):
        shutil.rmtree(leftover, ignore_errors=True) if leftover.is_dir() else leftover.unlink(missing_ok=True)


@dataclass(frozen=True)
class Removal:
    """Something that is removed, or would be.

    Attributes:
        path: a file or a folder.
        bytes: its size on the disk.
        reason: why, in a few words.
    """

    path: Path
    bytes: int
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Its fields as plain values."""
        return {**vars(self), "path": str(self.path)}


def apply_removals(removals: Iterable[Removal]) -> None:
    """Removes files and folders; of a link only the link.

    Raises:
        GanvasError: something cannot be removed.
    """
    for removal in removals:
        try:
            if removal.path.is_dir() and not removal.path.is_symlink():
                remove_folder(removal.path)
            else:
                removal.path.unlink(missing_ok=True)
        except OSError as error:
            raise GanvasError(
                f"{removal.path} could not be removed ({error.strerror}).",
                expected="a folder that this user may write to",
            ) from error


def find_leftovers(folder: Path, *, locked: bool = False) -> list[Removal]:
    """The temporary files and folders that killed processes left in a folder.

    Args:
        folder: only itself is searched, not its sub-folders.
        locked: whether no training writes there. Those of processes that still run are left out; if it is, only if they
            have changed lately, as another process may have the number of a killed one.
    """
    import psutil

    found = []
    for path in sorted(folder.glob(".*")) if folder.is_dir() else []:
        match = re.fullmatch(LEFTOVER, path.name)
        if match is None or path.is_symlink():
            continue
        if psutil.pid_exists(int(match[3])) and not (locked and time.time() - disk_usage(path)[1] > RECENT):
            continue
        if match[2] == "tmp" or (folder / match[1]).exists():  # else the only copy, which is restored
            found.append(Removal(path, disk_usage(path)[0], "left half-written by a killed process"))
    return found


def disk_usage(path: Path) -> tuple[int, float]:
    """(bytes, time of the last change in seconds since 1970) of a file, or of all files in a folder; no link counts."""
    if path.is_symlink() or not path.is_dir():
        found = path.lstat()
        return found.st_size, found.st_mtime
    size, changed = 0, 0.0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                found = os.lstat(os.path.join(folder, name))
            except OSError:  # it has just been replaced
                continue
            size += found.st_size
            changed = max(changed, 0.0 if name == ".lock" else found.st_mtime)
    return size, changed or path.stat().st_mtime


def format_bytes(size: float) -> str:
    """A size for people: 12 kB, 3.4 MB, 120 MB, 1.2 GB."""
    factor, unit = (1e9, "GB") if size >= 1e9 else (1e6, "MB") if size >= 1e6 else (1e3, "kB")
    return f"{size / factor:.{int(unit != 'kB' and size < 9.95 * factor)}f} {unit}"


def remove_folder(path: Path) -> None:
    """Removes a folder; if the process is killed meanwhile, a temporary folder is left, never a part of `path`."""
    temporary = _temporary_path(path)
    os.rename(path, temporary)
    shutil.rmtree(temporary, ignore_errors=True)


def to_path(value: object, expected: str) -> Path:
    """The value as a path.

    Raises:
        GanvasError: it is something else, such as a number or an array, has a zero byte, or is too long.
    """
    given = os.fspath(value) if isinstance(value, os.PathLike) else value
    if isinstance(given, str) and "\0" not in given:
        with suppress(UnicodeError):  # a character that no file name has
            if (longest := max(map(len, os.fsencode(given).split(b"/")))) <= MAX_NAME:
                return Path(given)
            raise GanvasError(
                f"The path {given[:40]!r}… has a name of {longest} bytes, of which a disk takes {MAX_NAME}.",
                expected=expected,
            )
    raise GanvasError(f"{describe_value(value)} is not a path.", expected=expected)


def make_folder(path: Path) -> None:
    """Creates a folder and its parents, unless they exist.

    Raises:
        GanvasError: the disk is full, a file has the name, or the parent folder cannot be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise explain_os_error(error, path) from error


def explain_os_error(error: OSError, path: Path) -> GanvasError:
    """The GanvasError for an OSError raised while writing `path`."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return GanvasError(
            f"The disk is full: {path} could not be written ({error.strerror}).",
            expected="space for the file; existing files are intact",
            fix="free some space, or choose another place, then give the same command again.",
        )
    what = f"{str(path)[:MAX_SHOWN_PATH]} could not be written ({error.strerror or error})."
    if error.errno == errno.ENAMETOOLONG:
        return GanvasError(what, expected="a name of at most 255 bytes", fix="choose a shorter name.")
    if error.errno == errno.ENOENT and not path.parent.is_dir():  # a system's own folder refuses new files so too
        return GanvasError(what, expected="its folder to be there", fix="choose a folder that exists.")
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return GanvasError(what, expected="a folder", fix="a file has its name, or that of a folder above it.")
    if error.errno == errno.ELOOP:
        return GanvasError(what, expected="a link that leads to a file", fix="remove the link.")
    return GanvasError(
        what,
        expected="a folder that this user may write to",
        fix="change its permissions or choose another place.",
    )


def check_regular(path: Path) -> None:
    """Refuses to write to what exists and is no regular file; a link is followed.

    Raises:
        GanvasError: `path` is a folder, a device, a pipe or a socket.
    """
    _find_target(path, stat.S_IFREG)


def check_writable(path: Path) -> None:
    """Refuses a file that cannot be written, before the work whose result it is to have; nothing is left on the disk.

    Raises:
        GanvasError: `path` is a folder or a device, or its folder can neither be written nor made.
    """
    folder = _find_target(path, stat.S_IFREG).parent
    while not folder.exists() and not path.is_symlink():
        folder = folder.parent
    probe = _temporary_path(folder / path.name)
    with _remove_on_error(path, probe):
        probe.touch()
        probe.unlink()


def fsync(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk."""
    if os.name == "nt" and path.is_dir():  # Windows opens no folders
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _find_target(path: Path, kind: int) -> Path:
    """What a link leads to, or `path`; either is of this kind (S_IFREG or S_IFDIR), or is not there.

    Raises:
        GanvasError: it is of another kind, or cannot be looked at.
    """
    try:
        target = Path(os.path.realpath(path)) if path.is_symlink() else path
        found = stat.S_IFMT(path.stat().st_mode)
    except FileNotFoundError:
        return target
    except (OSError, ValueError) as error:  # ValueError: a zero byte
        raise explain_os_error(error if isinstance(error, OSError) else OSError(str(error)), path) from error
    if found != kind:
        wanted = "a file" if kind == stat.S_IFREG else "a folder"
        raise GanvasError(
            f"{path} is {_KINDS.get(found, 'not a file')}: it is not replaced.",
            expected=f"{wanted}, or a name that is not taken",
            fix="choose another name.",
        )
    return target


_KINDS = {
    stat.S_IFREG: "a file", stat.S_IFDIR: "a folder", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket",
}  # fmt: skip


def _temporary_path(path: Path) -> Path:
    """A hidden name beside `path`, of this thread alone, that is no longer than a file system allows."""
    name = path.name.encode()[:MAX_STEM_BYTES].decode(errors="ignore")
    thread = threading.current_thread()
    own = "" if thread is threading.main_thread() else f"-{thread.ident}"
    return path.with_name(f".{name}.tmp-{os.getpid()}{own}")


@contextmanager
def _remove_on_error(path: Path, temporary: Path) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        with suppress(OSError):  # a read-only disk, or a name that is too long: there is nothing to remove
            shutil.rmtree(temporary, ignore_errors=True) if temporary.is_dir() else temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise explain_os_error(error, path) from error
        raise
