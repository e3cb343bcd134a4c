"""What the cache holds, and emptying it: `ganvas cache`."""

import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ganvas.data import named
from ganvas.data.cached import cache_files
from ganvas.errors import GanvasError
from ganvas.files import Removal, apply_removals, disk_usage, find_leftovers
from ganvas.reading import read_json
from ganvas.values import to_number

MAX_DAYS = 1e5

_SET_FILES = {"images.u8", "labels.npy", "names.json", "meta.json"}
"""The files of a data set (`ganvas.data.cached.cache`)."""

_KEY = "[0-9a-f]{32}"

_GENERATOR = r"[\w.-]+--[0-9a-f]{40}"
_GENERATOR_FILES = {"config.json", "model.safetensors", ".model.safetensors.part", "revision.json"}
"""The files of a generator of the hub (`ganvas.runs.hub`)."""

_FILES = (
    ("features", "features", rf"{_KEY}\.npy"),
    ("classifiers", "classifier", rf"{_KEY}\.safetensors"),
    (cache_files.GENERATORS, "generator", r"[0-9a-f]{64}\.safetensors"),
    ("weights", "weights", r"[\w.-]+-[0-9a-f]{8}\.pth"),
)
"""(folder, kind, pattern of its files' names) of what else is cached."""

_SET_NAME = "|".join(named.SETS)


def _places() -> list[tuple[Path, str]]:
    """Each folder of the cache, and the pattern of the names in it."""
    root = cache_files.root()
    files = [(root / folder, pattern) for folder, _, pattern in _FILES]
    return [(root, _KEY), (root / named.FOLDER, _SET_NAME), (root / cache_files.GENERATORS, _GENERATOR), *files]


@dataclass(frozen=True)
class Entry:
    """Something in the cache.

    Attributes:
        path: its file or folder.
        kind: data set, download, generator of the hub or the web, features, classifier, weights, or leftover: what a
            killed process left half-written.
        name: of a data set, its name and shape; of a download, the set's name; of a generator owner--name--commit; of
            weights, the file's.
        bytes: its size on the disk.
        used: when it was last used, in seconds since 1970.
    """

    path: Path
    kind: str
    name: str
    bytes: int
    used: float

    def to_json(self) -> dict[str, Any]:
        """Its fields as plain values."""
        return {**vars(self), "path": str(self.path)}


def entries() -> list[Entry]:
    """What the cache holds, data sets first; files that are not of Ganvas are not listed.

    A link to a file or to a data set is left out. One of the folders may be a link, as to a larger disk.

    Raises:
        GanvasError: the cache is not a folder.
    """
    root = cache_files.root()
    if root.exists() and not root.is_dir():
        raise GanvasError(f"The cache {root} is a file.", expected="a folder", fix="choose another GANVAS_CACHE.")
    found = [_describe_set(path) for path in _list(root, _KEY) if path.is_dir() and _is_data_set(path)]
    for path in _list(root / named.FOLDER, _SET_NAME):
        if path.is_dir() and _is_download(path):
            found.append(Entry(path, "download", path.name, *disk_usage(path)))
    for path in _list(root / cache_files.GENERATORS, _GENERATOR):
        if path.is_dir() and {p.name for p in path.iterdir()} <= _GENERATOR_FILES:
            found.append(Entry(path, "generator", path.name, *disk_usage(path)))
    for folder, kind, pattern in _FILES:
        for path in _list(root / folder, pattern):
            if path.is_file():
                found.append(Entry(path, kind, path.name, *_size_and_last_use(path)))
    for folder, pattern in _places():
        own = set(_list(folder, rf"\.({pattern})\.(tmp|old)-\d+(-\d+)?"))
        for leftover in find_leftovers(folder):
            if leftover.path in own:
                used = leftover.path.stat().st_mtime
                found.append(Entry(leftover.path, "leftover", leftover.path.name, leftover.bytes, used))
    return found


def _list(folder: Path, pattern: str) -> list[Path]:
    """The paths in a folder whose names match; no links, and nothing if the folder is not there."""
    return [p for p in sorted(folder.glob("*")) if re.fullmatch(pattern, p.name) and not p.is_symlink()]


def clean(
    *, older_than: float | None = None, dry_run: bool = False, note: Callable[[str], object] = lambda text: None
) -> list[Removal]:
    """Empties the cache, and returns what was removed. All of it is made again, or downloaded again, when needed.

    A program that uses a data set now keeps its memory map; what is being written is left alone.

    Args:
        older_than: remove only what was not used for so many days.
        note: called with a line about each folder that stays because it is a link.
        dry_run: only return what would be removed.

    Raises:
        GanvasError: a number of days below 0, or something cannot be removed.
    """
    if older_than is not None:
        older_than = to_number(older_than, "--older-than", most=MAX_DAYS)
    latest = time.time() - 86400 * (older_than or 0)
    for linked in dict.fromkeys(path for path, _ in _places()[1:] if path.is_symlink()):
        note(f"{linked} is a link; what is in {linked.resolve()} stays.")
    chosen = [e for e in entries() if not e.path.parent.is_symlink() or e.path.parent == cache_files.root()]
    chosen = [e for e in chosen if (older_than is None or e.used <= latest) and not _is_locked(e.path)]
    removals = [Removal(e.path, e.bytes, e.kind) for e in chosen]
    if not dry_run:
        apply_removals(removals)
        _remove_locks()
    return removals


def _remove_locks() -> None:
    """Removes the locks of what is not there any more, unless a process holds them."""
    for folder, pattern in _places():
        for lock in _list(folder, rf"({pattern})\.lock"):
            if not lock.with_suffix("").exists():
                with suppress(Timeout, OSError), FileLock(lock).acquire(timeout=0):
                    lock.unlink()


def _is_locked(path: Path) -> bool:
    """Whether a process is downloading it now."""
    lock = path.with_name(f"{path.name}.lock")
    if path.parent.name != named.FOLDER or not lock.exists():
        return False
    try:
        with FileLock(lock).acquire(timeout=0):
            return False
    except Timeout:
        return True
    except OSError:
        return False


def _is_download(path: Path) -> bool:
    names = {remote.name for remote in named.SETS[path.name].remote_files()}
    return {p.name for p in path.iterdir()} <= names | {f".{name}.part" for name in names}


def _is_data_set(path: Path) -> bool:
    return {p.name for p in path.iterdir()} <= _SET_FILES


def _describe_set(folder: Path) -> Entry:
    try:
        content = read_json(folder / "meta.json")["content"]
        n, c, h, w = content["shape"]
        name = f"{content.get('name', 'unnamed')}: {n:,} images, {h}×{w}×{c}"
    except (OSError, ValueError, KeyError, TypeError):
        name = "unreadable"
    size, used = disk_usage(folder)  # the last change, because `mark_used` changes meta.json
    return Entry(folder, "data set", name, size, used)


def _size_and_last_use(path: Path) -> tuple[int, float]:
    """The last use is that of `mark_used`, or the last read where the file system records it."""
    stat = path.stat()
    return stat.st_size, max(stat.st_atime, stat.st_mtime)
