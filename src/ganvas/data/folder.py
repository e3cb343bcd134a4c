"""Reads a folder of image files, at any depth."""

import os
import stat
from collections import Counter
from pathlib import Path

from ganvas.data.listing import IMAGE_SUFFIXES, is_hidden, list_images, sort_by_kind
from ganvas.data.source_types import ImageFiles, Source, open_file
from ganvas.errors import GanvasError


def source(path: Path, name: str, split: str) -> Source:
    """The source for a folder: its files are listed, no image is opened yet.

    Raises:
        GanvasError: the folder cannot be read.
    """
    stats, bad, special = _scan(path)
    images, table, others = sort_by_kind(stats)
    others.update(special)
    listed = [*images, table] if table else images
    stamp = ["folder", split, [(_printable(file), *stats[file]) for file in listed], bad, sorted(others.items())]

    def read() -> ImageFiles:
        listing = list_images(images, table, lambda name: (path / name).read_bytes(), split=split, where=str(path))
        return ImageFiles(
            tuple(map(_printable, listing.names)),
            lambda index: open_file(path / listing.names[index]),
            listing.labels,
            tuple(map(_printable, listing.class_names)),
            listing.notes,
            listing.unlabelled + tuple(bad),
            others,
        )

    return Source(name, "a folder", stamp, read)


def _scan(root: Path) -> tuple[dict[str, tuple[int, int, int]], list[tuple[str, str]], Counter[str]]:
    """Relative path -> (size, mtime, ctime) of each file; the unreadable ones; the count of special files.

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
            bad.append((_printable(prefix), f"the folder cannot be read: {error.strerror}"))
            continue
        subfolders = []
        for entry in entries:
            name = prefix + entry.name
            if is_hidden([entry.name]):
                continue
            try:
                info = entry.stat()
            except OSError as error:
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
