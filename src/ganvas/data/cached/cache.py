"""The image cache: every data set is decoded once, into a memory-mapped file that is complete or absent.

    <root>/<key>/images.u8    uint8 [N C H W], raw
                 labels.npy   int64 [N]
                 names.json   the file name of each image
                 meta.json    shape, digests, sizes and times of the files, and metadata of the images

An entry whose files have the recorded sizes and times is used without further checks. Where the times differ, the
digests are verified first. An entry with any other difference is rebuilt.
"""

import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from filelock import FileLock

from ganvas.data.cached.cache_files import hash_file, mark_used, root
from ganvas.data.imageset import ImageSet
from ganvas.errors import GanvasError
from ganvas.files import atomic_file, atomic_folder, write_json

VERSION = 8
"""Increased whenever decoding or the format changes; entries of older versions are then ignored."""

_PIXELS, _LABELS, _NAMES, _META = "images.u8", "labels.npy", "names.json", "meta.json"


@dataclass(frozen=True)
class Decoded:
    """The result of decoding, apart from the pixels that were written."""

    shape: tuple[int, int, int, int]
    pixel_digest: str
    """SHA-256 of all pixels, hexadecimal."""
    labels: np.ndarray | None
    class_names: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    metadata: dict[str, Any]
    names: tuple[str, ...] | None

    def fingerprint(self) -> str:
        """SHA-256 that is equal for equal images, labels and class names, whatever their file format."""
        labels = None if self.labels is None else _hash(self.labels.astype("<i8").tobytes())
        content = [list(self.shape), self.pixel_digest, labels, list(self.class_names)]
        return _hash(json.dumps(content).encode())


class PixelWriter:
    """Writes decoded pixels to a file and computes their digest."""

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
            raise _unwritable_error(error.strerror or str(error)) from error

    def restart(self) -> None:
        """Forgets everything written so far."""
        self._file.seek(0)
        self._file.truncate()
        self._digest = hashlib.sha256()

    def hexdigest(self) -> str:
        """SHA-256 of everything written so far."""
        return self._digest.hexdigest()


Build = Callable[[PixelWriter], Decoded]
"""Writes all pixels and describes them."""


def key(*parts: Any) -> str:
    """A folder name derived from JSON-able parts and the version of the cache."""
    return _hash(json.dumps([VERSION, *parts], ensure_ascii=True).encode())[:32]


def load_or_build(name: str, key: str, build: Build) -> ImageSet:
    """The data set from the cache; decoded first if it is missing or damaged. Safe for concurrent processes.

    Raises:
        GanvasError: the cache cannot be written; and whatever `build` raises.
    """
    folder = root() / key
    if (found := _load_if_valid(name, folder, verify=False)) is not None:
        return found
    lock = FileLock(root() / f"{key}.lock")
    try:
        root().mkdir(parents=True, exist_ok=True)
        held = lock.acquire()
    except OSError as error:
        raise _unwritable_error(error.strerror or str(error)) from error
    with held:
        if (found := _load_if_valid(name, folder, verify=True)) is not None:
            return found
        damaged = folder.exists()
        for leftover in root().glob(f".{key}.*"):  # of a process that was killed; no other holds the lock
            shutil.rmtree(leftover, ignore_errors=True)
        with atomic_folder(folder) as temporary:
            with open(temporary / _PIXELS, "wb") as file:
                decoded = build(PixelWriter(file))
            _write_metadata(temporary, name, decoded)
        found = _load_if_valid(name, folder, verify=True)
    if found is None:
        raise GanvasError(f"The cache in {root()} cannot be read back.", fix="set GANVAS_CACHE to another disk.")
    if damaged:
        note = "The cached copy of this data set was damaged, so it was decoded again."
        return replace(found, notes=(*found.notes, note))
    return found


def build_in_memory(name: str, build: Build) -> ImageSet:
    """The data set in memory, without the cache: for sets that decode in no time."""
    file = io.BytesIO()
    decoded = build(PixelWriter(file))
    images = np.frombuffer(file.getvalue(), np.uint8).reshape(decoded.shape)
    return ImageSet(
        name,
        images,
        decoded.labels,
        decoded.class_names,
        decoded.fingerprint(),
        decoded.skipped,
        decoded.notes,
        decoded.metadata,
    )


def read_file_names(images: ImageSet) -> list[str] | None:
    """The file name of each image, or None where the images have no names."""
    if images.folder is None:
        return None
    return json.loads((images.folder / _NAMES).read_text(encoding="utf-8"))


def check_disk_space(size: int) -> None:
    """Checks that `size` bytes fit on the disk of the cache.

    Raises:
        GanvasError: they do not.
    """
    free = shutil.disk_usage(root()).free
    if size > free:
        raise GanvasError(
            f"The decoded images need {size / 2**30:.2f} GiB; {root()} has {free / 2**30:.2f} GiB left.",
            expected="enough disk space for all decoded images",
            fix="free some space, set GANVAS_CACHE to a larger disk, or use a smaller --resolution.",
        )


def _write_metadata(folder: Path, name: str, decoded: Decoded) -> None:
    """Writes everything but the pixels; meta.json comes last, because it records the times of the other files."""
    if decoded.labels is not None:
        np.save(folder / _LABELS, decoded.labels)
    (folder / _NAMES).write_text(json.dumps(decoded.names), encoding="utf-8")
    files = [_PIXELS, _NAMES] + ([_LABELS] if decoded.labels is not None else [])
    meta = {
        "version": VERSION,
        "name": name,
        "shape": decoded.shape,
        "fingerprint": decoded.fingerprint(),
        "class_names": decoded.class_names,
        "skipped": decoded.skipped,
        "notes": decoded.notes,
        "metadata": decoded.metadata,
        "digests": {file: decoded.pixel_digest if file == _PIXELS else hash_file(folder / file) for file in files},
    }
    _write_meta(folder, meta)


def _write_meta(folder: Path, meta: dict[str, Any]) -> None:
    stamps = {file: _file_stamp(folder / file) for file in meta["digests"]}
    content = {**meta, "stamps": stamps}
    write_json(folder / _META, {"content": content, "digest": _hash(json.dumps(content).encode())})


def _load_if_valid(name: str, folder: Path, *, verify: bool) -> ImageSet | None:
    """The data set in `folder`, or None if it is missing, damaged, or its files have other times.

    With `verify`, files whose times differ (in a copied cache, say) are accepted if their digests match.
    """
    try:
        stored = json.loads((folder / _META).read_text(encoding="utf-8"))
        meta = stored["content"]
        if stored["digest"] != _hash(json.dumps(meta).encode()):
            return None
        if {file: _file_stamp(folder / file) for file in meta["digests"]} != meta["stamps"]:
            if not verify or any(hash_file(folder / file) != meta["digests"][file] for file in meta["digests"]):
                return None
            _write_meta(folder, {key: value for key, value in meta.items() if key != "stamps"})
        shape = tuple(meta["shape"])
        if os.path.getsize(folder / _PIXELS) != int(np.prod(shape)):
            return None
        images = np.memmap(folder / _PIXELS, np.uint8, "r", shape=shape) if shape[0] else np.empty(shape, np.uint8)
        mark_used(folder / _META)
        labels = np.load(folder / _LABELS, allow_pickle=False) if _LABELS in meta["digests"] else None
        return ImageSet(
            name,
            images,
            labels,
            tuple(meta["class_names"]),
            meta["fingerprint"],
            tuple((file, reason) for file, reason in meta["skipped"]),
            tuple(meta["notes"]),
            meta["metadata"],
            folder,
        )
    except (OSError, ValueError, KeyError, TypeError, GanvasError):
        return None


def _file_stamp(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def _unwritable_error(reason: str) -> GanvasError:
    return GanvasError(
        f"The cache for decoded images, {root()}, cannot be written: {reason}.",
        expected="a writable folder with enough space",
        fix="set the environment variable GANVAS_CACHE to such a folder.",
    )


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def load_or_compute(
    key: str, count: int, compute: Callable[[], np.ndarray], accept: Callable[[np.ndarray], bool] | None = None
) -> np.ndarray:
    """Loads an array of `count` rows from the cache; if it is missing, damaged or not accepted, computes and caches it.

    Args:
        accept: whether a cached array is the one wanted, where the key does not say it.
    """
    path = root() / "features" / f"{key}.npy"
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        array = None
    if array is not None and len(array) == count and (accept is None or accept(array)):
        mark_used(path)
        return array
    array = compute()
    content = io.BytesIO()
    np.save(content, array)
    write_file(path, content.getvalue())
    return array


def write_file(path: Path, content: bytes) -> None:
    """Writes a file into the cache, atomically. A failure is ignored: it only costs time later."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as temporary:
            temporary.write_bytes(content)
    except (OSError, GanvasError):
        pass
