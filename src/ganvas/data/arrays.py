"""NumPy's .npy and .npz: pictures and labels are found by the shapes of the arrays. Nothing is unpickled."""

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

from ganvas.data.archive import is_bomb, opened
from ganvas.data.forms import Arrays, Source, no_split
from ganvas.data.listing import named_classes
from ganvas.errors import GanvasError

_BLOCK = 2**23  # bytes read at once
_MOST_LABELS = 2**27
_CHANNELS = (1, 3, 4)
_TEST_WORDS = ("test", "val")
_LABEL_WORDS = ("label", "target", "class", "y_", "_y", "y")


@dataclass(frozen=True)
class _Array:
    """One stored array, known by its header only."""

    path: Path
    member: str
    """Within the .npz; empty for a .npy."""
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool

    @property
    def where(self) -> str:
        return f"{self.path}: {self.member}" if self.member else str(self.path)

    @property
    def is_test(self) -> bool:
        return any(word in self.member.lower() for word in _TEST_WORDS)

    @property
    def channels_last(self) -> bool:
        return len(self.shape) == 4 and self.shape[3] in _CHANNELS and self.shape[1] not in _CHANNELS

    def layout(self) -> tuple[int, int, int] | None:
        """(channels, height, width) if the shape is one of pictures: [n h w], [n h w c] or [n c h w]."""
        if len(self.shape) == 3:
            return 1, self.shape[1], self.shape[2]
        if self.channels_last:
            return self.shape[3], self.shape[1], self.shape[2]
        if len(self.shape) == 4 and self.shape[1] in _CHANNELS:
            return self.shape[1], self.shape[2], self.shape[3]
        return None


def source(path: Path, name: str, split: str) -> Source:
    """A .npy or .npz file; no array is read yet."""
    facts = path.stat()
    stamp = ["npz", split, str(path.resolve()), facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns]
    return Source(name, f"a {path.suffix.lower() or '.npy'} file", stamp, lambda: _read(path, split))


def _read(path: Path, split: str) -> Arrays:
    found = _headers(path)
    tests = [array for array in found if array.is_test]
    if split == "test" and not tests:
        raise no_split(str(path), fix="leave --split out, or name the arrays x_train and x_test.")
    half = tests if split == "test" else [array for array in found if not array.is_test]
    pictures = _pictures(path, half)
    count, shape = pictures.shape[0], pictures.layout()
    assert shape is not None

    def blocks() -> Iterator[np.ndarray]:
        yield from _blocks(pictures)

    labels = _labels(half, pictures)
    if labels is None:
        real = [array for array in half if array.shape in ((count,), (count, 1)) and array.dtype.kind == "f"]
        notes = tuple(f"{array.member} holds {array.dtype}, so it is not taken as labels." for array in real)
        return Arrays(count, shape, blocks, notes=notes)
    numbers, names, notes = named_classes(_whole(labels).reshape(-1), None, labels.where)
    return Arrays(count, shape, blocks, numbers, names, notes)


def _headers(path: Path) -> list[_Array]:
    with _damage_told(str(path)), open(path, "rb") as file:
        if file.read(len(npy.MAGIC_PREFIX)) == npy.MAGIC_PREFIX:
            file.seek(0)
            return [_header(path, "", file, path.stat().st_size)]
    with opened(path) as archive:
        arrays = []
        for info in archive.infolist():
            if not info.filename.endswith(".npy"):
                continue
            if is_bomb(info.compress_size, info.file_size):
                raise GanvasError(
                    f"{path} is a decompression bomb: {info.filename} would unpack to "
                    f"{info.file_size / 2**30:.1f} GiB.",
                    expected="at most 200 times its packed size",
                    fix="do not use this file.",
                )
            with _damage_told(f"{path}: {info.filename}"), archive.open(info) as file:
                arrays.append(_header(path, info.filename, file, info.file_size))  # type: ignore[arg-type]
    if not arrays:
        raise GanvasError(f"{path} holds no arrays.", expected="an archive as numpy.savez writes it")
    return arrays


def _header(path: Path, member: str, file: BinaryIO, size: int) -> _Array:
    """Reads shape and kind, and believes them only if the file is as large as they say."""
    shape, fortran, dtype = _parse(file)
    array = _Array(path, member, shape, dtype, fortran)
    if not dtype.hasobject and file.tell() + math.prod(shape) * dtype.itemsize != size:
        raise GanvasError(
            f"{array.where} is damaged: its header declares {shape} of {dtype}, its size says otherwise.",
            expected="a file as numpy.save writes it",
            fix="write or download it again.",
        )
    return array


def _parse(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    return read(file)


def _pictures(path: Path, arrays: list[_Array]) -> _Array:
    """The one array of pictures.

    Raises:
        GanvasError: there is none, it is not uint8, or there are several.
    """
    candidates = [array for array in arrays if array.layout() is not None and array.shape[0]]
    if not candidates:
        shapes = ", ".join(f"{array.member or 'it'} {array.shape}" for array in arrays[:8]) or "nothing"
        raise GanvasError(
            f"{path} holds no array of pictures: {shapes}.",
            expected="uint8 [n, height, width], [n, height, width, channels] or [n, channels, height, width]"
            " with 1, 3 or 4 channels",
        )
    usable = [array for array in candidates if array.dtype == np.uint8]
    if not usable:
        array = candidates[0]
        raise GanvasError(
            f"{array.where} holds {'objects' if array.dtype.hasobject else array.dtype}, not uint8.",
            expected="pixels as uint8 in 0..255",
            fix="convert it: (x * 255).round().astype('uint8') for values in 0..1, ((x + 1) * 127.5).round()"
            ".astype('uint8') for values in -1..1; then numpy.save it again.",
        )
    if len(usable) > 1:
        usable = [array for array in usable if "train" in array.member.lower()] or usable
    if len(usable) > 1:
        raise GanvasError(
            f"{path} holds several arrays of pictures: {', '.join(array.member for array in usable)}.",
            expected="one, or x_train and x_test",
        )
    if usable[0].fortran and usable[0].member:
        raise GanvasError(
            f"{usable[0].where} is stored in Fortran order.",
            expected="C order",
            fix="save numpy.ascontiguousarray(x) instead.",
        )
    return usable[0]


def _labels(arrays: list[_Array], pictures: _Array) -> _Array | None:
    """The vector of whole numbers as long as the pictures, by its name if there are several."""
    count = pictures.shape[0]
    fitting = [
        array
        for array in arrays
        if array.shape in ((count,), (count, 1)) and array.dtype.kind in "iu" and array is not pictures
    ]
    if len(fitting) > 1:
        fitting = [array for array in fitting if any(word in array.member.lower() for word in _LABEL_WORDS)][:1]
    return fitting[0] if fitting and count <= _MOST_LABELS else None


def _blocks(array: _Array) -> Iterator[np.ndarray]:
    """Yields uint8 [n c h w]."""
    step = max(1, _BLOCK // max(1, math.prod(array.shape[1:])))
    if array.fortran:
        mapped = np.load(array.path, mmap_mode="r", allow_pickle=False)
        for first in range(0, len(mapped), step):
            yield _planes(array, np.array(mapped[first : first + step]))
        return
    with _damage_told(array.where), _opened(array) as file:
        _parse(file)
        for first in range(0, array.shape[0], step):
            shape = (min(step, array.shape[0] - first), *array.shape[1:])
            content = file.read(math.prod(shape))
            if len(content) != math.prod(shape):
                raise EOFError("it ends too early")
            yield _planes(array, np.frombuffer(content, np.uint8).reshape(shape))


def _planes(array: _Array, block: np.ndarray) -> np.ndarray:
    if block.ndim == 3:
        return block[:, None]
    return block.transpose(0, 3, 1, 2) if array.channels_last else block


def _whole(array: _Array) -> np.ndarray:
    with _damage_told(array.where), _opened(array) as file:
        return npy.read_array(file, allow_pickle=False)


@contextmanager
def _opened(array: _Array) -> Iterator[BinaryIO]:
    if not array.member:
        with open(array.path, "rb") as file:
            yield file
        return
    with opened(array.path) as archive, archive.open(array.member) as member:
        yield member  # type: ignore[misc]


@contextmanager
def _damage_told(where: str) -> Iterator[None]:
    try:
        yield
    except (
        ValueError,
        EOFError,
        OSError,
        zipfile.BadZipFile,
        zlib.error,
        RuntimeError,
        SyntaxError,
    ) as error:
        raise GanvasError(
            f"{where} cannot be read: {error}.",
            expected="a file as numpy.save or numpy.savez writes it",
            fix="write or download it again.",
        ) from error
