"""A zip of picture files, read where it lies: nothing is ever unpacked to disk."""

import io
import os
import re
import stat
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

from ganvas.data.forms import Pictures, Source, Unreadable, quoted
from ganvas.data.listing import LABELS, labelled, sort_out
from ganvas.errors import GanvasError

_ENCRYPTED = 0x1
_HELD = 2**20  # members up to this size are held in memory while they are decoded
_TABLE = 2**30  # the largest dataset.json


def is_bomb(packed: int, unpacked: int) -> bool:
    """Whether so much data from so few bytes is a trap: pictures shrink tenfold, blank ones 200-fold."""
    return unpacked > 2**28 and unpacked > 200 * max(1, packed)


def source(path: Path, name: str, split: str) -> Source:
    """Reads the zip's directory; no picture is opened yet.

    Raises:
        GanvasError: no zip, a member that would escape from its folder, or a decompression bomb.
    """
    archive = opened(path)
    try:
        members = _checked(path, archive)
    except GanvasError:
        archive.close()
        raise
    pictures, table, others = sort_out(members)
    listed = [*pictures, table] if table else pictures
    stamp = ["zip", split, [(file, members[file].CRC, members[file].file_size) for file in listed]]

    def read() -> Pictures:
        listing = labelled(
            pictures, table, lambda file: _whole(archive, members[file], path), split=split, where=str(path)
        )
        chosen = [members[file] for file in listing.names]
        return Pictures(
            listing.names,
            lambda index: _open(archive, chosen[index]),
            listing.labels,
            listing.class_names,
            listing.notes,
            listing.bad,
            others,
        )

    return Source(name, "a zip", [*stamp, sorted(others.items())], read)


def opened(path: Path) -> zipfile.ZipFile:
    """Opens a zip, or says why it is none."""
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, ValueError, EOFError, NotImplementedError) as error:
        with open(path, "rb") as file:
            head = file.read(16)
        told = "its end is missing or damaged" if head.startswith(b"PK") else f"it {quoted(head)}"
        raise GanvasError(
            f"{path} is not a whole zip: {told}.", expected="a zip archive", fix="download or make it again."
        ) from error


def _checked(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The members by name, after refusing those that no honest zip has."""
    size = os.path.getsize(path)
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = info.filename.replace("\\", "/")
        if name.startswith("/") or re.match(r"[A-Za-z]:", name) or ".." in name.split("/"):
            raise GanvasError(
                f"{path} holds a member named {info.filename!r}, which points outside the archive.",
                expected="names relative to the archive",
                fix="do not use this file; if you trust its maker, make the zip anew from a folder.",
            )
        if is_bomb(info.compress_size, info.file_size):
            raise _bomb(path, f"its member {info.filename!r}", info.file_size)
        if info.is_dir() or stat.S_ISLNK(info.external_attr >> 16):
            continue
        if name in members:
            raise GanvasError(f"{path} holds two members named {name!r}.", expected="each name once")
        members[name] = info
    if is_bomb(size, sum(info.file_size for info in members.values())):
        raise _bomb(path, "the archive", sum(info.file_size for info in members.values()))
    if sum(info.compress_size for info in members.values()) > size:
        raise GanvasError(f"{path} is a decompression bomb: its members overlap.", fix="do not use this file.")
    return members


def _bomb(path: Path, what: str, size: int) -> GanvasError:
    return GanvasError(
        f"{path} is a decompression bomb: {what} would unpack to {size / 2**30:.1f} GiB.",
        expected="at most 200 times its packed size",
        fix="do not use this file; if you trust it, unpack it yourself and name the folder.",
    )


def _open(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> BinaryIO:
    if info.flag_bits & _ENCRYPTED:
        raise Unreadable("encrypted: unpack it with its password first")
    try:
        member = archive.open(info)
        if info.file_size > _HELD:
            return member  # type: ignore[return-value]
        with member:
            return io.BytesIO(member.read())
    except NotImplementedError as error:
        raise Unreadable("packed by a method that Python cannot read") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
        reason = "its check sum does not match" if "CRC" in str(error) else str(error) or "it ends too early"
        raise Unreadable(f"damaged in the zip: {reason}") from error


def _whole(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> bytes:
    """The labels' table, read at once."""
    if info.file_size > _TABLE:
        raise GanvasError(f"{path}: {LABELS} is {info.file_size / 2**30:.1f} GiB.", expected="at most 1 GiB")
    try:
        return _open(archive, info).read()
    except (Unreadable, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise GanvasError(f"{path}: {info.filename} cannot be read: {error}.") from error
