"""Arrays as they are stored in .npy and .npz files: headers at once, values in blocks. Nothing is unpickled."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

from ganvas.data.formats.archive import open_zip, refuse_bomb
from ganvas.data.labels.naming import Role, role_of, split_of
from ganvas.errors import GanvasError

BLOCK_BYTES = 2**23
"""Bytes read at a time."""

_MAX_WHOLE = 2**30  # bytes of an array that must be in memory as a whole


@dataclass(frozen=True)
class StoredArray:
    """An array of numbers or words in a file, not read yet."""

    name: str
    """Its own name, such as `x_train`; of an array alone in its file, the file's."""
    file: str
    """The name of its file, whose words count where its own say nothing."""
    where: str
    """File and name, for messages."""
    shape: tuple[int, ...]
    dtype: np.dtype
    stream: Callable[[], Iterator[np.ndarray]]
    """Yields blocks [m, ...] along the first axis, in order; raises GanvasError where the file is damaged."""
    whole: Callable[[], np.ndarray]
    """The array, memory-mapped where it can be; raises GanvasError if it is damaged or takes over 1 GiB of memory."""
    locate: Callable[[Sequence[int]], str] = lambda index: f"the number at {list(index)}"
    """Where the number of an index is, for messages."""

    @property
    def split(self) -> str:
        """train, test, val, or an empty string."""
        return split_of(self.name, self.file)

    @property
    def role(self) -> Role:
        """What the names say about its content."""
        return role_of(self.name) or role_of(self.file)

    def __str__(self) -> str:
        return f"{self.name} {list(self.shape)} of {'objects' if self.dtype.hasobject else self.dtype}"


def in_memory(name: str, file: str, where: str, values: np.ndarray) -> StoredArray:
    """An array that is in memory already."""

    def stream() -> Iterator[np.ndarray]:
        step = rows_of_block(values.shape, values.dtype)
        return (values[first : first + step] for first in range(0, len(values), step))

    return StoredArray(name, file, where, values.shape, values.dtype, stream, lambda: values)


def rows_of_block(shape: tuple[int, ...], dtype: np.dtype) -> int:
    """How many rows are read at a time."""
    return max(1, BLOCK_BYTES // max(1, math.prod(shape[1:]) * dtype.itemsize))


def read_headers(path: Path) -> list[StoredArray]:
    """The arrays of a .npy or .npz file.

    Raises:
        GanvasError: the file is damaged or contains no arrays.
    """
    with report_damage(str(path)), open(path, "rb") as file:
        if file.read(len(npy.MAGIC_PREFIX)) == npy.MAGIC_PREFIX:
            file.seek(0)
            return [_read_header(path, "", file, path.stat().st_size)]
    with open_zip(path) as archive:
        arrays = []
        for info in archive.infolist():
            if not info.filename.endswith(".npy"):
                continue
            refuse_bomb(path, info.filename, info.compress_size, info.file_size)
            with report_damage(f"{path}: {info.filename}"), archive.open(info) as file:
                arrays.append(_read_header(path, info.filename, file, info.file_size))  # type: ignore[arg-type]
    if not arrays:
        raise GanvasError(f"{path} contains no arrays.", expected="an archive as numpy.savez writes it")
    return arrays


def _read_header(path: Path, member: str, file: BinaryIO, size: int) -> StoredArray:
    """Reads shape and dtype, and checks them against the size of the file."""
    shape, fortran, dtype = parse_header(file)
    total = math.prod(shape) * dtype.itemsize
    where = f"{path}: {member}" if member else str(path)
    matches = min(shape, default=0) >= 0 and file.tell() + total == size
    if not dtype.hasobject and not matches:
        raise GanvasError(
            f"{where} is damaged: its header declares {shape} of {dtype}, which does not match its size.",
            expected="a file as numpy.save writes it",
            fix="write or download it again.",
        )

    def whole() -> np.ndarray:
        if not member and total and not dtype.hasobject:
            with report_damage(where):
                return np.load(path, mmap_mode="r", allow_pickle=False)
        if total > _MAX_WHOLE:
            raise GanvasError(
                f"{where} is not stored image by image, and {total / 2**30:.1f} GiB large.",
                expected="at most 1 GiB of such an array, or C order with the images along the first axis",
                fix="save it alone with numpy.save: a .npy need not fit into memory.",
            )
        with report_damage(where), _open_array(path, member) as opened:
            return npy.read_array(opened, allow_pickle=False)

    def stream() -> Iterator[np.ndarray]:
        step, count = rows_of_block(shape, dtype), next(iter(shape), 0)
        if fortran and len(shape) > 1:
            values = whole()
            for first in range(0, len(values), step):
                yield np.array(values[first : first + step])
            return
        with report_damage(where), _open_array(path, member) as opened:
            parse_header(opened)
            for first in range(0, count, step):
                taken = (min(step, count - first), *shape[1:])
                content = opened.read(math.prod(taken) * dtype.itemsize)
                if len(content) != math.prod(taken) * dtype.itemsize:
                    raise EOFError("it ends too early")
                yield np.frombuffer(content, dtype).reshape(taken)

    return StoredArray(member.removesuffix(".npy") or path.stem, path.name, where, shape, dtype, stream, whole)


def parse_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether the order is Fortran's, and type of an array, from the start of a .npy; raises any Exception."""
    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    return read(file)


@contextmanager
def _open_array(path: Path, member: str) -> Iterator[BinaryIO]:
    if not member:
        with open(path, "rb") as file:
            yield file
        return
    with open_zip(path) as archive, archive.open(member) as file:
        yield file  # type: ignore[misc]


@contextmanager
def report_damage(where: str) -> Iterator[None]:
    """Turns any error of reading an array into GanvasError."""
    try:
        yield
    except GanvasError:
        raise
    except Exception as error:  # a damaged header may fail in any way
        raise GanvasError(
            f"{where} cannot be read: {str(error).splitlines()[0] if str(error) else type(error).__name__}.",
            expected="a file as numpy.save or numpy.savez writes it",
            fix="write or download it again.",
        ) from error
