"""Reads IDX files, the format of MNIST: gzipped or not, images and labels in separate files, in a folder or a zip."""

import gzip
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from ganvas.data.arrays.stored import StoredArray, rows_of_block
from ganvas.data.arrays.table import ArrayTable, read_images
from ganvas.data.formats import emnist
from ganvas.data.formats.archive import is_bomb, open_zip
from ganvas.data.labels.naming import split_of, stem
from ganvas.data.listing import natural_key
from ganvas.data.source_types import ImageArrays, Source, describe_start, file_stamp
from ganvas.errors import GanvasError

_IMAGE_FILE = re.compile(r"images?[-_.](idx\d|ubyte)", re.IGNORECASE)
_LABEL_FILE = re.compile(r"labels?[-_.](idx\d|ubyte)", re.IGNORECASE)
_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_TEST_FIX = "leave --split out, or give the path of the test file."


@dataclass(frozen=True)
class _File:
    """An IDX file on the disk or in a zip."""

    name: str
    where: str
    packed_bytes: int
    stamp: tuple[str | int, ...]
    open_packed: Callable[[], BinaryIO]

    @property
    def plain_name(self) -> str:
        return self.name.removesuffix(".gz")

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Opens by content, whatever the name: browsers unpack .gz and keep the name."""
        with self.open_packed() as file:
            packed = _read_up_to(self, file, 2) == b"\x1f\x8b"
        with self.open_packed() as file:
            yield cast(BinaryIO, gzip.GzipFile(fileobj=file)) if packed else file


def is_idx(head: bytes) -> bool:
    """Whether the first bytes of a file are those of IDX."""
    return len(head) >= 4 and head[:2] == b"\0\0" and head[2] in range(0x08, 0x0F) and 1 <= head[3] <= 4


def find_in_folder(folder: Path) -> list[Path]:
    """The IDX files of images directly in `folder`, found by their usual names."""
    found = [file for file in folder.iterdir() if _IMAGE_FILE.search(file.name) and file.is_file()]
    return sorted(found, key=lambda file: natural_key(file.name))


def has_images(names: Iterable[str]) -> bool:
    """Whether any of these members of a zip is an IDX file of images, by its name."""
    return any(_IMAGE_FILE.search(name.rpartition("/")[2]) for name in names)


def folder_source(folder: Path, name: str, split: str) -> Source:
    """The source for one split of the IDX files in a folder.

    Raises:
        GanvasError: there are several data sets in the folder.
    """
    files = [_on_disk(file) for file in folder.iterdir() if file.is_file()]
    return _group_source(str(folder), name, files, split, f"give the path of the file itself, such as {folder}/")


def zip_source(path: Path, name: str, split: str, part: str = "") -> Source:
    """The source for one split of the IDX files in a zip, or of those whose names begin with `part`.

    Nothing is unpacked to the disk.

    Raises:
        GanvasError: there are several data sets in the zip.
    """
    with open_zip(path) as archive:
        members = [info for info in archive.infolist() if info.filename.rpartition("/")[2].startswith(part)]
        members = [info for info in members if not info.is_dir()]
    files = [_in_zip(path, info) for info in members]
    return _group_source(str(path), name, files, split, "unpack it, and give the path of one file, such as ")


def file_source(path: Path, name: str, split: str) -> Source:
    """The source for an IDX file of images, with the files of its labels and of its other splits beside it."""
    own = _on_disk(path)
    beside = [
        _on_disk(file)
        for file in path.parent.iterdir()
        if file.name.removesuffix(".gz") != own.plain_name and file.is_file() and stem(file.name) == stem(path.name)
    ]
    return _source(str(path), name, [own], _without_copies(beside), split)


def _on_disk(path: Path) -> _File:
    stat = path.stat()
    return _File(path.name, str(path), stat.st_size, tuple(file_stamp(path)), lambda: open(path, "rb"))


def _in_zip(path: Path, info: zipfile.ZipInfo) -> _File:
    def open_member() -> BinaryIO:
        try:
            with open_zip(path) as archive:  # an open member keeps the file open
                return cast(BinaryIO, archive.open(info))
        except (RuntimeError, NotImplementedError, zipfile.BadZipFile) as error:
            reason = str(error).rstrip(".")
            raise GanvasError(f"{path}: {info.filename} cannot be read: {reason}.", fix="unpack the zip.") from error

    stamp = (info.filename, info.file_size, info.CRC)
    return _File(info.filename.rpartition("/")[2], f"{path}: {info.filename}", info.compress_size, stamp, open_member)


def _group_source(where: str, name: str, files: list[_File], split: str, fix: str) -> Source:
    """The source for a folder or zip, which must have one data set: names that differ in split and content alone."""
    named = [file for file in files if _IMAGE_FILE.search(file.name) or _LABEL_FILE.search(file.name)]
    named = _without_copies(named)
    images = [file for file in named if _IMAGE_FILE.search(file.name)]
    sets = {(stem(file.plain_name), split_of(file.plain_name)): file for file in images}
    if len({stem(file.plain_name) for file in images}) > 1 or len(sets) < len(images):
        raise GanvasError(
            f"{where} contains several data sets: {', '.join(sorted(file.plain_name for file in images))}.",
            expected="one",
            fix=f"{fix}{images[0].name}.",
        )
    return _source(where, name, named, [], split)


def _without_copies(files: list[_File]) -> list[_File]:
    """Without gzipped files that are unpacked beside."""
    plain: dict[str, _File] = {}
    for file in sorted(files, key=lambda file: natural_key(file.name)):
        plain.setdefault(file.plain_name, file)
    return list(plain.values())


def _source(where: str, name: str, own: list[_File], beside: list[_File], split: str) -> Source:
    stamp = ["idx", split, *(file.stamp for file in (*own, *beside))]
    return Source(name, "IDX files", stamp, lambda: _read(where, own, beside, split))


def _read(where: str, own: Sequence[_File], beside: Sequence[_File], split: str) -> ImageArrays:
    arrays = [_read_array(file) for file in own]
    if all(len(array.shape) == 1 for array in arrays):
        raise GanvasError(
            f"{where} contains labels, not images.",
            expected="the file of images",
            fix="give the path of the -images- file.",
        )
    table = ArrayTable(where, arrays, lambda: [_read_array(file) for file in beside], _TEST_FIX, paired=True)
    return emnist.add_note(read_images(table, split), own[0].name)


def _read_array(file: _File) -> StoredArray:
    """Reads the header of a file. QMNIST has eight numbers for each image, of which the first is the digit."""
    with file.open() as opened:
        shape, dtype = _read_header(file, opened)
    row = math.prod(shape[1:])
    digits = len(shape) == 2 and shape[1] == 8 and dtype == np.dtype(">i4")

    def stream() -> Iterator[np.ndarray]:
        step = rows_of_block(shape, dtype)
        with file.open() as opened:
            _read_header(file, opened)
            for first in range(0, shape[0], step):
                taken = min(step, shape[0] - first)
                content = _read_exactly(file, opened, taken * row * dtype.itemsize)
                values = np.frombuffer(content, dtype).reshape(taken, *shape[1:])
                yield values[:, 0] if digits else values
            if _read_up_to(file, opened, 1):  # also makes gzip verify its checksum
                raise _damaged_error(file, "it is longer than its header declares")

    def whole() -> np.ndarray:
        blocks = list(stream())
        return np.concatenate(blocks) if blocks else np.empty(shape, dtype)

    shown, kind = shape[:1] if digits else shape, dtype.newbyteorder("=")
    return emnist.turn_upright(StoredArray(file.plain_name, file.name, file.where, shown, kind, stream, whole))


def _read_header(file: _File, opened: BinaryIO) -> tuple[tuple[int, ...], np.dtype]:
    head = _read_exactly(file, opened, 4, "its header is missing")
    if not is_idx(head):
        raise GanvasError(
            f"{file.where} is not an IDX file: {describe_start(head)}.", expected="an IDX file such as MNIST's"
        )
    if head[2] not in _TYPES:
        raise GanvasError(
            f"{file.where} has an unsupported data type (code {head[2]:#x}).",
            expected="unsigned bytes, 0x8, or another of " + ", ".join(f"{code:#x}" for code in _TYPES),
        )
    dtype = np.dtype(_TYPES[head[2]])
    shape = struct.unpack(f">{head[3]}I", _read_exactly(file, opened, 4 * head[3], "its header is missing"))
    if is_bomb(file.packed_bytes, math.prod(shape) * dtype.itemsize):
        raise GanvasError(
            f"{file.where} declares {' x '.join(map(str, shape))} values in {file.packed_bytes} bytes.",
            expected="at most 200 times the file's size",
            fix="do not use this file: it is damaged, or a decompression bomb.",
        )
    return shape, dtype


def _read_exactly(file: _File, opened: BinaryIO, count: int, missing: str = "it ends too early") -> bytes:
    content = _read_up_to(file, opened, count)
    if len(content) != count:
        raise _damaged_error(file, missing)
    return content


def _read_up_to(file: _File, opened: BinaryIO, count: int) -> bytes:
    try:
        return opened.read(count)
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile) as error:
        raise _damaged_error(file, str(error).rstrip(".")) from error


def _damaged_error(file: _File, how: str) -> GanvasError:
    return GanvasError(f"{file.where} is damaged: {how}.", expected="a complete IDX file", fix="download it again.")
