"""A folder of picture files, at any depth."""

import os
import stat
from collections import Counter
from pathlib import Path
from typing import Any, BinaryIO

from ganvas.data.forms import Pictures, Source, Unreadable
from ganvas.data.listing import PICTURES, hidden, labelled, sort_out
from ganvas.errors import GanvasError


def source(path: Path, name: str, split: str) -> Source:
    """Lists the folder; no picture is opened yet.

    Raises:
        GanvasError: the folder cannot be read.
    """
    stats, bad, special = _walk(path)
    pictures, table, others = sort_out(stats)
    others.update(special)
    listed = [*pictures, table] if table else pictures
    stamp = ["folder", split, [(_text(file), *stats[file]) for file in listed], bad, sorted(others.items())]
    return Source(name, "a folder", stamp, lambda: _read(path, pictures, table, others, bad, split))


def _read(
    path: Path,
    pictures: list[str],
    table: str | None,
    others: Counter[str],
    bad: list[tuple[str, str]],
    split: str,
) -> Pictures:
    listing = labelled(pictures, table, lambda name: (path / name).read_bytes(), split=split, where=str(path))

    def open_picture(index: int) -> BinaryIO:
        try:
            return open(path / listing.names[index], "rb")
        except OSError as error:
            raise Unreadable(f"cannot be opened: {error.strerror}") from error

    return Pictures(
        tuple(map(_text, listing.names)) if any(map(_strange, listing.names)) else listing.names,
        open_picture,
        listing.labels,
        tuple(map(_text, listing.class_names)),
        listing.notes,
        listing.bad + tuple(bad),
        others,
    )


def _walk(root: Path) -> tuple[dict[str, tuple[int, int, int]], list[tuple[str, str]], Counter[str]]:
    """Relative path -> (size, mtime, ctime) of each file; the unreadable ones; the count of special files.

    Each folder is visited once, however many links lead to it: so a loop of links ends.
    """
    stats: dict[str, tuple[int, int, int]] = {}
    bad: list[tuple[str, str]] = []
    special: Counter[str] = Counter()
    visited: set[tuple[int, int]] = set()
    waiting = [(root, "")]
    while waiting:
        folder, prefix = waiting.pop()
        try:
            here = os.stat(folder)
            if (here.st_dev, here.st_ino) in visited:
                continue
            visited.add((here.st_dev, here.st_ino))
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            if not prefix:
                raise GanvasError(f"The folder {root} cannot be read: {error.strerror}.") from error
            bad.append((_text(prefix), f"the folder cannot be read: {error.strerror}"))
            continue
        deeper = []
        for entry in entries:
            name = prefix + entry.name
            if hidden([entry.name]):
                continue
            try:
                facts = entry.stat()
            except OSError as error:
                if Path(name).suffix.lower() in PICTURES:
                    bad.append((_text(name), f"cannot be opened: {error.strerror}"))
                continue
            if stat.S_ISDIR(facts.st_mode):
                deeper.append((entry.is_symlink(), Path(entry.path), name + "/"))
            elif stat.S_ISREG(facts.st_mode):
                stats[name] = facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns
            else:
                special["(no ordinary file)"] += 1
        deeper.sort(key=lambda item: (item[0], item[2]), reverse=True)  # popped from the end: true folders first
        waiting += [(folder, name) for _, folder, name in deeper]
    return stats, sorted(bad), special


def _text(name: Any) -> str:
    """A file name that can be printed and written as JSON, whatever bytes it has."""
    return os.fsencode(name).decode("utf-8", "replace")


def _strange(name: str) -> bool:
    return not name.isascii() and _text(name) != name
