"""Reads NumPy's .npy and .npz: images and labels are found by the shapes of the arrays. Nothing is unpickled."""

import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy

from ganvas.data.archive import open_zip, refuse_bomb
from ganvas.data.listing import normalise_labels
from ganvas.data.source_types import ImageArrays, Source, file_stamp, no_split
from ganvas.errors import GanvasError

_BLOCK_BYTES = 2**23  # bytes read at a time
_MAX_LABELS = 2**27
_CHANNELS = (1, 3, 4)
_TEST_WORDS = ("test", "val")
_LABEL_WORDS = ("label", "target", "class", "y_", "_y", "y")


@dataclass(frozen=True)
class _StoredArray:
    """The header of one stored array."""

    path: Path
    member: str
    """Name within the .npz; empty for a .npy."""
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool

    @property
    def location(self) -> str:
        return f"{self.path}: {self.member}" if self.member else str(self.path)

    @property
    def is_test(self) -> bool:
        return any(word in self.member.lower() for word in _TEST_WORDS)

    @property
    def channels_last(self) -> bool:
        return len(self.shape) == 4 and self.shape[3] in _CHANNELS and self.shape[1] not in _CHANNELS

    def layout(self) -> tuple[int, int, int] | None:
        """(channels, height, width) if the array can hold images, [n h w], [n h w c] or [n c h w]; otherwise None."""
        if len(self.shape) == 3:
            return 1, self.shape[1], self.shape[2]
        if self.channels_last:
            return self.shape[3], self.shape[1], self.shape[2]
        if len(self.shape) == 4 and self.shape[1] in _CHANNELS:
            return self.shape[1], self.shape[2], self.shape[3]
        return None


def source(path: Path, name: str, split: str) -> Source:
    """The source for a .npy or .npz file; no array is read yet."""
    stamp = ["npz", split, *file_stamp(path)]
    return Source(name, f"a {path.suffix.lower() or '.npy'} file", stamp, lambda: _read(path, split))


def _read(path: Path, split: str) -> ImageArrays:
    headers = _read_headers(path)
    test = [array for array in headers if array.is_test]
    if split == "test" and not test:
        raise no_split(str(path), fix="leave --split out, or name the arrays x_train and x_test.")
    chosen = test if split == "test" else [array for array in headers if not array.is_test]
    images = _find_images(path, chosen)
    count, shape = images.shape[0], images.layout()
    assert shape is not None
    labels = _find_labels(chosen, images)
    if labels is None:
        floats = [array for array in chosen if array.shape in ((count,), (count, 1)) and array.dtype.kind == "f"]
        notes = tuple(f"{array.member} is {array.dtype}, so it is not used as labels." for array in floats)
        return ImageArrays(count, shape, lambda: _read_blocks(images), notes=notes)
    numbers, names, notes = normalise_labels(_read_array(labels).reshape(-1), None, labels.location)
    return ImageArrays(count, shape, lambda: _read_blocks(images), numbers, names, notes)


def _read_headers(path: Path) -> list[_StoredArray]:
    with _report_damage(str(path)), open(path, "rb") as file:
        if file.read(len(npy.MAGIC_PREFIX)) == npy.MAGIC_PREFIX:
            file.seek(0)
            return [_read_header(path, "", file, path.stat().st_size)]
    with open_zip(path) as archive:
        arrays = []
        for info in archive.infolist():
            if not info.filename.endswith(".npy"):
                continue
            refuse_bomb(path, info.filename, info.compress_size, info.file_size)
            with _report_damage(f"{path}: {info.filename}"), archive.open(info) as file:
                arrays.append(_read_header(path, info.filename, file, info.file_size))  # type: ignore[arg-type]
    if not arrays:
        raise GanvasError(f"{path} contains no arrays.", expected="an archive as numpy.savez writes it")
    return arrays


def _read_header(path: Path, member: str, file: BinaryIO, size: int) -> _StoredArray:
    """Reads shape and dtype, and checks them against the size of the file."""
    shape, fortran, dtype = _parse_header(file)
    array = _StoredArray(path, member, shape, dtype, fortran)
    if not dtype.hasobject and file.tell() + math.prod(shape) * dtype.itemsize != size:
        raise GanvasError(
            f"{array.location} is damaged: its header declares {shape} of {dtype}, which does not match its size.",
            expected="a file as numpy.save writes it",
            fix="write or download it again.",
        )
    return array


def _parse_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    return read(file)


def _find_images(path: Path, arrays: list[_StoredArray]) -> _StoredArray:
    """The only array of images.

    Raises:
        GanvasError: there is none, it is not uint8, or there are several.
    """
    candidates = [array for array in arrays if array.layout() is not None and array.shape[0]]
    if not candidates:
        shapes = ", ".join(f"{array.member or 'an array of'} {array.shape}" for array in arrays[:8]) or "nothing"
        raise GanvasError(
            f"{path} contains no array of images, only {shapes}.",
            expected="uint8 [n, height, width], [n, height, width, channels] or [n, channels, height, width]"
            " with 1, 3 or 4 channels",
        )
    usable = [array for array in candidates if array.dtype == np.uint8]
    if not usable:
        array = candidates[0]
        raise GanvasError(
            f"{array.location} contains {'objects' if array.dtype.hasobject else array.dtype}, not uint8.",
            expected="pixels as uint8 in 0..255",
            fix="convert it: (x * 255).round().astype('uint8') for values in 0..1, ((x + 1) * 127.5).round()"
            ".astype('uint8') for values in -1..1; then numpy.save it again.",
        )
    if len(usable) > 1:
        usable = [array for array in usable if "train" in array.member.lower()] or usable
    if len(usable) > 1:
        raise GanvasError(
            f"{path} contains several arrays of images: {', '.join(array.member for array in usable)}.",
            expected="one, or x_train and x_test",
            fix="save them to separate files, or name them x_train and x_test.",
        )
    if usable[0].fortran and usable[0].member:
        raise GanvasError(
            f"{usable[0].location} is stored in Fortran order.",
            expected="C order",
            fix="save numpy.ascontiguousarray(x) instead.",
        )
    return usable[0]


def _find_labels(arrays: list[_StoredArray], images: _StoredArray) -> _StoredArray | None:
    """The integer vector with one entry per image; if there are several, the first with a name that suggests labels."""
    count = images.shape[0]
    fitting = [
        array
        for array in arrays
        if array.shape in ((count,), (count, 1)) and array.dtype.kind in "iu" and array is not images
    ]
    if len(fitting) > 1:
        fitting = [array for array in fitting if any(word in array.member.lower() for word in _LABEL_WORDS)][:1]
    return fitting[0] if fitting and count <= _MAX_LABELS else None


def _read_blocks(array: _StoredArray) -> Iterator[np.ndarray]:
    """Yields uint8 [n c h w]."""
    step = max(1, _BLOCK_BYTES // max(1, math.prod(array.shape[1:])))
    if array.fortran:
        mapped = np.load(array.path, mmap_mode="r", allow_pickle=False)
        for first in range(0, len(mapped), step):
            yield _to_nchw(array, np.array(mapped[first : first + step]))
        return
    with _report_damage(array.location), _open_array(array) as file:
        _parse_header(file)
        for first in range(0, array.shape[0], step):
            shape = (min(step, array.shape[0] - first), *array.shape[1:])
            content = file.read(math.prod(shape))
            if len(content) != math.prod(shape):
                raise EOFError("it ends too early")
            yield _to_nchw(array, np.frombuffer(content, np.uint8).reshape(shape))


def _to_nchw(array: _StoredArray, block: np.ndarray) -> np.ndarray:
    if block.ndim == 3:
        return block[:, None]
    return block.transpose(0, 3, 1, 2) if array.channels_last else block


def _read_array(array: _StoredArray) -> np.ndarray:
    with _report_damage(array.location), _open_array(array) as file:
        return npy.read_array(file, allow_pickle=False)


@contextmanager
def _open_array(array: _StoredArray) -> Iterator[BinaryIO]:
    if not array.member:
        with open(array.path, "rb") as file:
            yield file
        return
    with open_zip(array.path) as archive, archive.open(array.member) as member:
        yield member  # type: ignore[misc]


@contextmanager
def _report_damage(where: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error, RuntimeError, SyntaxError) as error:
        raise GanvasError(
            f"{where} cannot be read: {error}.",
            expected="a file as numpy.save or numpy.savez writes it",
            fix="write or download it again.",
        ) from error
