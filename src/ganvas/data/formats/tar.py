"""Reads image files inside of tars, WebDataset's shards among them; nothing is unpacked to disk.

A plain tar is indexed once, and then every image is read from its place. A compressed one can only be read from its
beginning to its end: its images keep their order, and at most the few that are being decoded are in memory.
"""

import bz2
import contextlib
import gzip
import io
import json
import lzma
import os
import tarfile
import zlib
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np

from ganvas.data.formats.archive import refuse_bomb
from ganvas.data.formats.folder import find_tables_beside, table_reader
from ganvas.data.image_files import Contents, list_images
from ganvas.data.labels.label_tables import LABEL_KEYS, MAX_TABLE_BYTES, Labels, first_value
from ganvas.data.labels.parts import holds_parts
from ganvas.data.listing import IMAGE_SUFFIXES, LABELS_FILE, is_hidden, is_table, sort_by_kind
from ganvas.data.sniffing import HEAD_BYTES, looks_like_image
from ganvas.data.source_types import ImageFiles, Source, Unreadable, file_stamp, refuse_failing_disk
from ganvas.errors import GanvasError

_MAX_LABEL_BYTES = 2**16  # of a sample's .cls or .json
_MAX_IN_MEMORY = 2**27  # of all tables in a compressed tar
_PEEKED = 2000  # members that are looked at to see whether a tar holds images
_OPENERS = {"": open, "gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}
_DAMAGE = (tarfile.TarError, EOFError, OSError, ValueError, zlib.error, lzma.LZMAError)


@dataclass
class _Index:
    """Where each file is, and what had to be read on the way."""

    places: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    """Name -> (number of the tar, where its content begins or its number among the members, size)."""
    heads: dict[str, bytes] = field(default_factory=dict)
    tables: dict[str, bytes] = field(default_factory=dict)
    labels: dict[str, Any] = field(default_factory=dict)
    """The label of each sample of a WebDataset, by the number of the tar and the sample's name."""
    keys: dict[str, str] = field(default_factory=dict)
    special: Counter[str] = field(default_factory=Counter)
    """The number of members of each kind that are no regular files."""
    replaced: list[str] = field(default_factory=list)
    """Names that a later member has too."""


def is_tar_name(name: str) -> bool:
    """Whether a file of this name is a tar, compressed or not."""
    return name.lower().endswith((".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz"))


def is_tar(path: Path) -> bool:
    """Whether a file named so is a tar whose first header is without the usual mark."""
    try:
        return is_tar_name(path.name) and tarfile.is_tarfile(path)
    except _DAMAGE:
        return False


def holds_images(path: Path) -> bool:
    """Whether one of the first members of a tar is an image."""
    try:
        with contextlib.closing(_members(path)) as members:
            for number, (archive, member) in enumerate(members):
                name = PurePosixPath(member.name)
                if number == _PEEKED:
                    return False
                if not member.isfile() or is_hidden(name.parts):
                    continue
                if name.suffix.lower() in IMAGE_SUFFIXES:
                    return True
                if not name.suffix and looks_like_image(_head(archive, member)):
                    return True
    except GanvasError as error:
        refuse_failing_disk(str(path), error)
        return False
    return False


def source(paths: Sequence[Path], name: str, split: str, label_column: str | None, notes: Sequence[str] = ()) -> Source:
    """The source for one tar or the shards of one data set; they are indexed when it is read.

    Args:
        notes: on how the tars were chosen.

    Raises:
        GanvasError: on reading: a tar is damaged, a bomb, or has names that point outside.
    """
    beside = find_tables_beside(paths[0])
    stamp = ["tar", split, [file_stamp(path) for path in paths], label_column, [file_stamp(table) for table in beside]]
    return Source(name, "a tar", stamp, lambda: _read(paths, beside, split, label_column, tuple(notes)))


def _read(
    paths: Sequence[Path], beside: Sequence[Path], split: str, column: str | None, notes: tuple[str, ...]
) -> ImageFiles:
    index = _Index()
    packed = any(_compression(path) for path in paths)
    for number, path in enumerate(paths):
        _add(path, number, index, column, keep=packed)
    where = str(paths[0]) if len(paths) == 1 else f"{paths[0].parent}"
    kinds = sort_by_kind({name: size for name, (_, _, size) in index.places.items()})
    kinds.ignored.update(+index.special)

    def read_table(name: str) -> bytes:
        if packed:
            return index.tables[name]
        try:
            return _open(paths, index.places[name]).read()
        except Unreadable as error:
            raise GanvasError(f"{where}: {name}: {error}.") from error

    def read_head(name: str) -> bytes:
        if packed:
            return index.heads.get(name, b"")
        try:
            return _open(paths, index.places[name]).read(HEAD_BYTES)
        except Unreadable as error:
            refuse_failing_disk(name, error)
            return b""

    tables = [(table.name, table_reader(table)) for table in beside]
    of_parts = holds_parts(Path(where).name.partition(".")[0])
    contents = Contents(where, read_table, read_head, tables, _attach(index, column), of_parts)
    listing = list_images(kinds, contents, split=split, label_column=column)
    places = [index.places[name] for name in listing.names]
    names, labels = [_printable(name) for name in listing.names], listing.labels
    if index.replaced:
        found = f"{len(index.replaced)}, such as {index.replaced[0]}"
        notes = (*notes, f"Members of the tar that a later one of the same name replaces: {_printable(found)}.")
    notes = (*notes, *map(_printable, listing.notes))
    stream = None
    if packed:
        order = sorted(range(len(places)), key=places.__getitem__)
        names, places = [names[row] for row in order], [places[row] for row in order]
        labels = None if labels is None else labels[np.array(order, np.int64)]
        stream = lambda: _stream(paths, places)  # noqa: E731
    return ImageFiles(
        names,
        lambda row: _open(paths, places[row]),
        stream,
        labels,
        tuple(map(_printable, listing.class_names)),
        notes,
        tuple((_printable(name), reason) for name, reason in listing.unlabelled),
        listing.ignored,
    )


def _add(path: Path, number: int, index: _Index, column: str | None, *, keep: bool) -> None:
    """Adds the members of a tar to the index; with `keep`, also the content that will be needed out of order."""
    total, size, kept = 0, os.path.getsize(path), 0
    with contextlib.closing(_members(path)) as members:
        for place, (archive, member) in enumerate(members):
            name = member.name.removeprefix("./")
            if name.startswith("/") or ".." in name.split("/"):
                raise GanvasError(
                    f"{path} has a member named {_printable(member.name)!r}, which points outside the archive.",
                    expected="names relative to the archive",
                    fix="do not use this file; if you trust its source, create the tar again from a folder.",
                )
            total += member.size
            refuse_bomb(path, "the archive", size, total)
            if not member.isfile() or member.issparse():
                index.special[_kind_of(member)] += not member.isdir()
                continue
            key = f"{number}:{_sample_of(name)}"
            content = b""
            if _is_label(name) and member.size <= _MAX_LABEL_BYTES:
                content = _content(archive, member)  # once: a compressed tar cannot go back
                value = _parse_label(name, content, column)
                if value is not None:
                    index.labels[key] = value
            folder, slash, base = name.rpartition("/")
            prefix = path.name.partition(".")[0]
            while name in index.places and index.places[name][0] != number:  # that of another shard
                name, prefix = f"{folder}{slash}{prefix}-{base}", f"{prefix}-{number}"
            if name in index.places:
                index.replaced.append(name)
            suffix = PurePosixPath(name).suffix.lower()
            if keep and is_table(PurePosixPath(name).name) and member.size <= MAX_TABLE_BYTES:
                kept += member.size
                index.tables[name] = _content(archive, member) if kept <= _MAX_IN_MEMORY else b""
            elif keep and suffix not in IMAGE_SUFFIXES:
                index.heads[name] = content[:HEAD_BYTES] or _head(archive, member)
            if suffix in IMAGE_SUFFIXES or not suffix:
                index.keys[name] = key
            index.places[name] = number, place if keep else member.offset_data, member.size


def _kind_of(member: tarfile.TarInfo) -> str:
    """What a member is that is not read."""
    if member.issym() or member.islnk():
        return "(link)"
    return "(device)" if member.ischr() or member.isblk() else "(pipe)" if member.isfifo() else "(special file)"


def _attach(index: _Index, column: str | None) -> Labels | None:
    """The labels that each sample of a WebDataset has in a file of its own."""
    if not index.labels:
        return None
    values = {name: index.labels[key] for name, key in index.keys.items() if key in index.labels}
    kind = f"the {column} of its .json" if column else "its .cls or .json"
    return Labels(values, None, f"The class of each image comes from {kind}.")


def _sample_of(name: str) -> str:
    """`a/0001` of `a/0001.seg.png`: WebDataset's key of a sample."""
    folder, slash, base = name.rpartition("/")
    return f"{folder}{slash}{base.partition('.')[0]}"


def _is_label(name: str) -> bool:
    base = PurePosixPath(name).name
    return base != LABELS_FILE and base.partition(".")[2].lower() in ("cls", "cls.txt", "json", "label", "class")


def _parse_label(name: str, content: bytes, column: str | None) -> Any:
    text = content.decode("utf-8", "replace").strip()
    if not name.endswith(".json"):
        return None if column else int(text) if text.lstrip("+-").isdecimal() and len(text) < 16 else text or None
    try:
        table = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(table, dict):
        return first_value(table, (column.casefold(),) if column else LABEL_KEYS)
    return table if isinstance(table, int | str) and not column else None


# --- reading -----------------------------------------------------------------------------------------------


def _compression(path: Path) -> str:
    with open(path, "rb") as file:
        head = file.read(6)
    for magic, name in ((b"\x1f\x8b", "gzip"), (b"BZh", "bzip2"), (b"\xfd7zXZ\0", "xz")):
        if head.startswith(magic):
            return name
    return ""


def _members(path: Path) -> Generator[tuple[tarfile.TarFile, tarfile.TarInfo], None, None]:
    """Yields the members in order.

    Raises:
        GanvasError: the tar is damaged; a compressed one also where its checksum does not match, at its end.
    """
    packed = _compression(path)
    try:
        with contextlib.ExitStack() as stack:
            file: Any = stack.enter_context(_OPENERS[packed](path, "rb"))
            mode = "r|" if packed else "r:"
            archive = stack.enter_context(tarfile.open(fileobj=file, mode=mode, errors="surrogateescape"))  # type: ignore[call-overload]
            for member in archive:
                yield archive, member
                archive.members.clear()  # type: ignore[attr-defined]  # it would keep all of them
            while packed and file.read(2**20):
                pass  # the checksum is at the end
            if not packed:
                file.seek(archive.offset)  # type: ignore[attr-defined]  # where a block of zeros ends the archive
                if file.read(512) != bytes(512):
                    raise EOFError("it ends too early, or a header in it is damaged")
    except _DAMAGE as error:
        raise _damaged(path, error) from error


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo, limit: int = -1) -> bytes:
    try:
        file = archive.extractfile(member)
        return b"" if file is None else file.read() if limit < 0 else file.read(limit)
    except _DAMAGE as error:
        raise _damaged(archive.name, error) from error


def _damaged(path: Any, error: Exception) -> GanvasError:
    refuse_failing_disk(str(path), error)
    reason = str(error) or type(error).__name__
    return GanvasError(f"{path} is damaged: {reason}.", expected="a complete tar", fix="download it again.")


def _head(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    return _content(archive, member, HEAD_BYTES)


def _open(paths: Sequence[Path], place: tuple[int, int, int]) -> BinaryIO:
    number, offset, size = place
    try:
        with open(paths[number], "rb") as file:
            file.seek(offset)
            content = file.read(size)
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror}") from error
    if len(content) < size:
        raise Unreadable("the tar ends too early")
    return io.BytesIO(content)


def _stream(paths: Sequence[Path], places: Sequence[tuple[int, int, int]]) -> Iterator[bytes | Unreadable]:
    """Yields the content of members, given in the order of the tars."""
    wanted: dict[int, list[int]] = {}
    for number, place, _ in places:
        wanted.setdefault(number, []).append(place)
    for number, rows in wanted.items():
        waiting = iter(rows)
        following = next(waiting)
        with contextlib.closing(_members(paths[number])) as members:
            for place, (archive, member) in enumerate(members):
                if place == following:
                    yield _content(archive, member)
                    following = next(waiting, -1)
                    if following < 0:
                        break


def _printable(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "replace")
