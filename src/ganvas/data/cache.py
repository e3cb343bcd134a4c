"""The cache: every set is decoded once, into a memory-mapped file that is whole or absent.

    <root>/<key>/images.u8    uint8 [N C H W], the pixels and nothing else
                 labels.npy   int64 [N]
                 names.json   the file of each picture
                 meta.json    shape, digests, the files' time stamps, and what was seen while decoding

A set is trusted at once when size and times of its files are those of the day it was written, after a full
check of the digests when they are not, and never when anything differs.
"""

import hashlib
import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from filelock import FileLock

from ganvas.data.imageset import ImageSet
from ganvas.errors import GanvasError
from ganvas.files import atomic_folder, write_json

VERSION = 1
"""Counted up whenever decoding or the format changes: older sets are then decoded anew."""

_PIXELS, _LABELS, _NAMES, _META = "images.u8", "labels.npy", "names.json", "meta.json"


@dataclass(frozen=True)
class Decoded:
    """What decoding leaves behind, besides the pixels it has written."""

    shape: tuple[int, int, int, int]
    pixels: str
    """Digest of all pixels."""
    labels: np.ndarray | None
    class_names: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    facts: dict[str, Any]
    names: tuple[str, ...] | None

    def fingerprint(self) -> str:
        """The same for equal data, whatever form they came in."""
        labels = None if self.labels is None else _hash(self.labels.astype("<i8").tobytes())
        told = [list(self.shape), self.pixels, labels, list(self.class_names)]
        return _hash(json.dumps(told).encode())


class Sink:
    """Where decoded pixels go: straight to the file, digested on the way."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()

    def write(self, pixels: np.ndarray) -> None:
        """Appends uint8 [n C H W].

        Raises:
            GanvasError: the disk is full.
        """
        content = np.ascontiguousarray(pixels).data
        self._digest.update(content)
        try:
            self._file.write(content)
        except OSError as error:
            raise _unwritable(error.strerror or str(error)) from error

    def digest(self) -> str:
        """Of everything written so far, hexadecimal."""
        return self._digest.hexdigest()


Build = Callable[[Sink], Decoded]
"""Writes all pixels and says what they are."""


def root() -> Path:
    """Where decoded sets are kept: $GANVAS_CACHE, or the place this platform has for such things."""
    if chosen := os.environ.get("GANVAS_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "ganvas"


def key(*parts: Any) -> str:
    """A folder name for what is asked of which content."""
    return _hash(json.dumps([VERSION, *parts], ensure_ascii=True).encode())[:32]


def cached(name: str, key: str, build: Build) -> ImageSet:
    """The set from the cache, decoded first if it is not there; any number of processes may ask at once.

    Raises:
        GanvasError: the cache cannot be written, or what `build` raises.
    """
    folder = root() / key
    if found := _trusted(name, folder, thorough=False):
        return found
    lock = FileLock(root() / f"{key}.lock")
    try:
        root().mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise _unwritable(error.strerror or str(error)) from error
    try:
        if found := _trusted(name, folder, thorough=True):
            return found
        damaged = folder.exists()
        for leftover in root().glob(f".{key}.*"):  # of a process that was killed: the lock says none is at work
            shutil.rmtree(leftover, ignore_errors=True)
        with atomic_folder(folder) as temporary:
            with open(temporary / _PIXELS, "wb") as file:
                decoded = build(Sink(file))
            _describe(temporary, decoded)
        found = _trusted(name, folder, thorough=True)
    finally:
        lock.release()
    if found is None:
        raise GanvasError(f"The cache in {root()} cannot be read back.", fix="set GANVAS_CACHE to another disk.")
    if damaged:
        note = "What the cache held of this set was damaged, so it was decoded anew."
        return replace(found, notes=(*found.notes, note))
    return found


def in_memory(name: str, build: Build) -> ImageSet:
    """The set in ordinary memory: for those that are quicker to make than to find."""
    file = io.BytesIO()
    decoded = build(Sink(file))
    images = np.frombuffer(file.getvalue(), np.uint8).reshape(decoded.shape)
    return ImageSet(
        name,
        images,
        decoded.labels,
        decoded.class_names,
        decoded.fingerprint(),
        decoded.skipped,
        decoded.notes,
        decoded.facts,
    )


def file_names(images: ImageSet) -> list[str] | None:
    """The file each picture came from, or None where pictures have no names."""
    if images.folder is None:
        return None
    return json.loads((images.folder / _NAMES).read_text(encoding="utf-8"))


def check_room(size: int) -> None:
    """Refuses to begin what the disk has no room for.

    Raises:
        GanvasError: naming both sizes.
    """
    free = shutil.disk_usage(root()).free
    if size > free:
        raise GanvasError(
            f"The decoded pictures need {size / 2**30:.2f} GiB; {root()} has {free / 2**30:.2f} GiB left.",
            expected="room for all pictures, decoded",
            fix="free some space, set GANVAS_CACHE to a larger disk, or ask for a smaller --resolution.",
        )


def _describe(folder: Path, decoded: Decoded) -> None:
    """Writes everything but the pixels; the time stamps are taken when the other files are finished."""
    if decoded.labels is not None:
        np.save(folder / _LABELS, decoded.labels)
    (folder / _NAMES).write_text(json.dumps(decoded.names), encoding="utf-8")
    files = [_PIXELS, _NAMES] + ([_LABELS] if decoded.labels is not None else [])
    meta = {
        "version": VERSION,
        "shape": decoded.shape,
        "fingerprint": decoded.fingerprint(),
        "class_names": decoded.class_names,
        "skipped": decoded.skipped,
        "notes": decoded.notes,
        "facts": decoded.facts,
        "digests": {file: decoded.pixels if file == _PIXELS else _hash_file(folder / file) for file in files},
    }
    _write_meta(folder, meta)


def _write_meta(folder: Path, meta: dict[str, Any]) -> None:
    stamps = {file: _stamp(folder / file) for file in meta["digests"]}
    content = {**meta, "stamps": stamps}
    write_json(folder / _META, {"content": content, "digest": _hash(json.dumps(content).encode())})


def _trusted(name: str, folder: Path, *, thorough: bool) -> ImageSet | None:
    """The set in `folder`, or None if it is not there or anything about it is wrong.

    With `thorough`, files whose time stamps have changed (a copied cache, say) are read through and compared.
    """
    try:
        told = json.loads((folder / _META).read_text(encoding="utf-8"))
        meta = told["content"]
        if told["digest"] != _hash(json.dumps(meta).encode()):
            return None
        if {file: _stamp(folder / file) for file in meta["digests"]} != meta["stamps"]:
            if not thorough or any(_hash_file(folder / file) != meta["digests"][file] for file in meta["digests"]):
                return None
            _write_meta(folder, {part: meta[part] for part in meta if part != "stamps"})
        shape = tuple(meta["shape"])
        if os.path.getsize(folder / _PIXELS) != int(np.prod(shape)):
            return None
        images = np.memmap(folder / _PIXELS, np.uint8, "r", shape=shape) if shape[0] else np.empty(shape, np.uint8)
        labels = np.load(folder / _LABELS, allow_pickle=False) if _LABELS in meta["digests"] else None
        return ImageSet(
            name,
            images,
            labels,
            tuple(meta["class_names"]),
            meta["fingerprint"],
            tuple((file, reason) for file, reason in meta["skipped"]),
            tuple(meta["notes"]),
            meta["facts"],
            folder,
        )
    except (OSError, ValueError, KeyError, TypeError, GanvasError):
        return None


def _stamp(path: Path) -> list[int]:
    facts = path.stat()
    return [facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns]


def _unwritable(reason: str) -> GanvasError:
    return GanvasError(
        f"The cache for decoded pictures, {root()}, cannot be written: {reason}.",
        expected="a folder with room that this user may write to",
        fix="set the environment variable GANVAS_CACHE to one.",
    )


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _hash_file(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
