"""Reads a folder of image files, at any depth."""

import os
import stat
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from ganvas.data.image_files import Contents, list_images
from ganvas.data.labels.label_tables import MAX_TABLE_BYTES
from ganvas.data.labels.parts import holds_parts
from ganvas.data.listing import HIDDEN, IMAGE_SUFFIXES, is_beside, is_hidden, sort_by_kind
from ganvas.data.sniffing import HEAD_BYTES
from ganvas.data.source_types import ImageFiles, Source, file_stamp, open_file, refuse_failing_disk
from ganvas.errors import GanvasError


def source(path: Path, name: str, split: str, label_column: str | None = None) -> Source:
    """The source for a folder: its files are listed, no image is opened yet.

    Raises:
        GanvasError: the folder cannot be read.
    """
    stats, bad, special = _scan(path)
    kinds = sort_by_kind({file: size for file, (size, _, _) in stats.items()})
    beside = find_tables_beside(path)
    others = sorted((kinds.ignored + special - Counter({HIDDEN: kinds.ignored[HIDDEN] + special[HIDDEN]})).items())
    stamp = ["folder", split, [(_printable(file), *stats[file]) for file in kinds.read], bad, others]
    of_parts = holds_parts(path.resolve().name)
    stamp += [label_column, of_parts, [file_stamp(table) for table in beside]]
    contents = Contents(
        str(path),
        lambda file: _read_table(path / file),
        lambda file: _read_head(path / file),
        [(table.name, table_reader(table)) for table in beside],
        of_parts=of_parts,
    )

    def read() -> ImageFiles:
        listing = list_images(kinds, contents, split=split, label_column=label_column)
        return ImageFiles(
            tuple(map(_printable, listing.names)),
            lambda index: open_file(path / listing.names[index]),
            None,
            listing.labels,
            tuple(map(_printable, listing.class_names)),
            tuple(map(_printable, listing.notes)),
            listing.unlabelled + tuple(bad),
            listing.ignored + special,
        )

    return Source(name, "a folder", stamp, read)


def find_tables_beside(path: Path) -> list[Path]:
    """The tables beside a folder or an archive whose names say that they have labels."""
    try:
        parent = path.resolve().parent
        found = [file for file in parent.iterdir() if is_beside(file.name, path.name)]
        return sorted(file for file in found if file.is_file())
    except OSError as error:
        refuse_failing_disk(str(path), error)
        return []


def table_reader(path: Path) -> Callable[[], bytes]:
    """Reads a table beside a folder or an archive; of one above MAX_TABLE_BYTES only so much that its length shows it.

    The reader raises OSError where the file cannot be read: it may be none of the data set's.
    """
    return lambda: _read_start(path, MAX_TABLE_BYTES + 1)


def _read_table(path: Path) -> bytes:
    try:
        return _read_start(path, MAX_TABLE_BYTES + 1)
    except OSError as error:
        refuse_failing_disk(str(path), error)
        raise GanvasError(f"{path} cannot be read: {error.strerror}.") from error


def _read_head(path: Path) -> bytes:
    try:
        return _read_start(path, HEAD_BYTES)
    except OSError as error:
        refuse_failing_disk(str(path), error)
        return b""


def _read_start(path: Path, size: int) -> bytes:
    with open(path, "rb") as file:
        return file.read(size)


def _scan(root: Path) -> tuple[dict[str, tuple[int, int, int]], list[tuple[str, str]], Counter[str]]:
    """Relative path -> (size, mtime, ctime) of each file; the unreadable ones; the count of hidden and special files.

    Each folder is visited once, however many links lead to it, so cyclic links do no harm.
    """
    stats: dict[str, tuple[int, int, int]] = {}
    bad: list[tuple[str, str]] = []
    special: Counter[str] = Counter()
    visited: set[tuple[int, int]] = set()
    waiting = [(root, "")]
    while waiting:
        folder, prefix = waiting.pop()
        try:
            own = os.stat(folder)
            if (own.st_dev, own.st_ino) in visited:
                continue
            visited.add((own.st_dev, own.st_ino))
            with os.scandir(folder) as scanned:
                entries = sorted(scanned, key=lambda entry: entry.name)
        except OSError as error:
            if not prefix:
                raise GanvasError(f"The folder {root} cannot be read: {error.strerror}.") from error
            refuse_failing_disk(str(folder), error)
            bad.append((_printable(prefix), f"the folder cannot be read: {error.strerror}"))
            continue
        subfolders = []
        for entry in entries:
            name = prefix + entry.name
            if is_hidden([entry.name]):
                special[HIDDEN] += 1
                continue
            try:
                info = entry.stat()
            except OSError as error:
                refuse_failing_disk(entry.path, error)
                if Path(name).suffix.lower() in IMAGE_SUFFIXES:
                    bad.append((_printable(name), f"cannot be opened: {error.strerror}"))
                continue
            if stat.S_ISDIR(info.st_mode):
                subfolders.append((entry.is_symlink(), Path(entry.path), name + "/"))
            elif stat.S_ISREG(info.st_mode):
                stats[name] = info.st_size, info.st_mtime_ns, info.st_ctime_ns
            else:
                special["(not a regular file)"] += 1
        subfolders.sort(key=lambda each: (each[0], each[2]), reverse=True)  # popped from the end: links come last
        waiting += [(folder, name) for _, folder, name in subfolders]
    return stats, sorted(bad), special


def _printable(name: str) -> str:
    """A file name that can be printed and written as JSON: bytes that are not UTF-8 are replaced."""
    return os.fsencode(name).decode("utf-8", "replace")
