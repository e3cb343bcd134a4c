"""Reads image files inside a zip; nothing is unpacked to disk."""

import io
import os
import re
import stat
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from ganvas.data.formats.folder import find_tables_beside, table_reader
from ganvas.data.image_files import Contents, list_images
from ganvas.data.labels.label_tables import MAX_TABLE_BYTES
from ganvas.data.labels.parts import holds_parts
from ganvas.data.listing import sort_by_kind
from ganvas.data.sniffing import HEAD_BYTES
from ganvas.data.source_types import ImageFiles, Source, Unreadable, describe_start, file_stamp, refuse_failing_disk
from ganvas.errors import GanvasError

_ENCRYPTED = 0x1
_UTF8 = 0x800
_IN_MEMORY_BYTES = 2**20  # members up to this size are read into memory before they are decoded


def is_bomb(packed: int, unpacked: int) -> bool:
    """Whether the sizes are those of a decompression bomb: over 256 MiB, and over 200 times the packed size.

    Images compress about tenfold, blank ones up to 200-fold.
    """
    return unpacked > 2**28 and unpacked > 200 * max(1, packed)


def refuse_bomb(path: Path, what: str, packed: int, unpacked: int) -> None:
    """Raises GanvasError if `what`, a part of the file or all of it, has the sizes of a decompression bomb."""
    if is_bomb(packed, unpacked):
        raise GanvasError(
            f"{path} is a decompression bomb: {what} would unpack to {unpacked / 2**30:.1f} GiB.",
            expected="at most 200 times its packed size",
            fix="do not use this file; if you trust it, unpack it yourself and give the path of its content.",
        )


def source(path: Path, name: str, split: str, label_column: str | None = None) -> Source:
    """Reads the central directory of the zip; no image is opened yet.

    Raises:
        GanvasError: not a zip, a member name that points outside the archive, or a decompression bomb.
    """
    archive = open_zip(path)
    try:
        members = _check_members(path, archive)
    except GanvasError:
        archive.close()
        raise
    kinds = sort_by_kind({file: info.file_size for file, info in members.items()})
    beside = find_tables_beside(path)
    stamp = ["zip", split, [(file, members[file].CRC, members[file].file_size) for file in kinds.read]]
    of_parts = holds_parts(path.stem)
    stamp += [sorted(kinds.ignored.items()), label_column, of_parts, [file_stamp(table) for table in beside]]
    contents = Contents(
        str(path),
        lambda file: _read_table(archive, members[file], path),
        lambda file: _read_head(archive, members[file]),
        [(table.name, table_reader(table)) for table in beside],
        of_parts=of_parts,
    )

    def read() -> ImageFiles:
        listing = list_images(kinds, contents, split=split, label_column=label_column)
        chosen = [members[file] for file in listing.names]
        return ImageFiles(
            listing.names,
            lambda index: _open_member(archive, chosen[index]),
            None,
            listing.labels,
            listing.class_names,
            listing.notes,
            listing.unlabelled,
            listing.ignored,
        )

    return Source(name, "a zip", stamp, read)


def open_zip(path: Path) -> zipfile.ZipFile:
    """Opens a zip.

    Raises:
        GanvasError: the file is not a complete zip.
    """
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, ValueError, EOFError, NotImplementedError) as error:
        with open(path, "rb") as file:
            head = file.read(16)
        reason = "its end is missing or damaged" if head.startswith(b"PK") else describe_start(head)
        raise GanvasError(
            f"{path} is not a complete zip: {reason}.", expected="a zip archive", fix="download or create it again."
        ) from error


def member_names(path: Path) -> list[str]:
    """The names of all members of a zip, unchecked.

    Raises:
        GanvasError: the file is not a complete zip.
    """
    with open_zip(path) as archive:
        return archive.namelist()


def _check_members(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The members by name.

    Raises:
        GanvasError: unsafe names, duplicate names, overlapping members or a decompression bomb.
    """
    size = os.path.getsize(path)
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = _name_of(info).replace("\\", "/")
        if name.startswith("/") or re.match(r"[A-Za-z]:", name) or ".." in name.split("/"):
            raise GanvasError(
                f"{path} has a member named {info.filename!r}, which points outside the archive.",
                expected="names relative to the archive",
                fix="do not use this file; if you trust its source, create the zip again from a folder.",
            )
        refuse_bomb(path, f"its member {info.filename!r}", info.compress_size, info.file_size)
        if info.is_dir() or stat.S_ISLNK(info.external_attr >> 16):
            continue
        if name in members:
            raise GanvasError(f"{path} has two members named {name!r}.", expected="unique member names")
        members[name] = info
    refuse_bomb(path, "the archive", size, sum(info.file_size for info in members.values()))
    if sum(info.compress_size for info in members.values()) > size:
        raise GanvasError(f"{path} is a decompression bomb: its members overlap.", fix="do not use this file.")
    return members


def _name_of(info: zipfile.ZipInfo) -> str:
    """The name of a member; UTF-8 that is not marked as such, as macOS's Finder writes it, is read as UTF-8."""
    if not info.flag_bits & _UTF8:
        with suppress(UnicodeError):
            return info.filename.encode("cp437").decode()
    return info.filename


def _open_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> BinaryIO:
    if info.flag_bits & _ENCRYPTED:
        raise Unreadable("encrypted: unpack it with its password first")
    try:
        member = archive.open(info)
        if info.file_size > _IN_MEMORY_BYTES:
            return member  # type: ignore[return-value]
        with member:
            return io.BytesIO(member.read())
    except NotImplementedError as error:
        raise Unreadable("compressed by a method that Python cannot read") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
        reason = "its checksum does not match" if "CRC" in str(error) else str(error) or "it ends too early"
        raise Unreadable(f"damaged in the zip: {reason}") from error


def _read_table(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> bytes:
    """The content of dataset.json or another table."""
    if info.file_size > MAX_TABLE_BYTES:
        raise GanvasError(f"{path}: {info.filename} is {info.file_size / 2**30:.1f} GiB.", expected="at most 1 GiB")
    try:
        return _open_member(archive, info).read()
    except (Unreadable, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise GanvasError(f"{path}: {info.filename} cannot be read: {error}.") from error


def _read_head(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    try:
        with archive.open(info) as member:
            return member.read(HEAD_BYTES)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError, NotImplementedError) as error:
        refuse_failing_disk(info.filename, error)
        return b""
