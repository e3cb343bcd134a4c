"""Reads IDX files, the format of MNIST: gzipped or not, images and labels in separate files."""

import gzip
import math
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ganvas.data.archive import is_bomb
from ganvas.data.listing import natural_key, normalise_labels
from ganvas.data.source_types import ImageArrays, Source, describe_start, file_stamp, no_split
from ganvas.errors import GanvasError

_UINT8 = 0x08
_BLOCK_BYTES = 2**23  # bytes read at a time
_IMAGE_FILE = re.compile(r"images?[-_.](idx\d|ubyte)", re.IGNORECASE)
_SPLITS = {"train": re.compile(r"train", re.IGNORECASE), "test": re.compile(r"t10k|test", re.IGNORECASE)}


def find_in_folder(folder: Path) -> list[Path]:
    """The IDX files of images directly in `folder`, found by their usual names."""
    found = [file for file in folder.iterdir() if _IMAGE_FILE.search(file.name) and file.is_file()]
    return sorted(found, key=lambda file: natural_key(file.name))


def is_idx(head: bytes) -> bool:
    """Whether the first bytes of a file are those of IDX."""
    return len(head) >= 4 and head[:2] == b"\0\0" and head[2] in range(0x08, 0x0F) and 1 <= head[3] <= 4


def folder_source(folder: Path, name: str, split: str) -> Source:
    """The source for one split of the IDX files in a folder.

    Raises:
        GanvasError: there is no such split, or several data sets in the folder.
    """
    files = find_in_folder(folder)
    chosen = [file for file in files if _SPLITS[split].search(file.name)]
    if not chosen and split == "train" and len(files) == 1:
        chosen = files
    if not chosen:
        raise (
            no_split(str(folder)) if split == "test" else GanvasError(f"{folder} has no IDX file of the train split.")
        )
    plain = {file.name.removesuffix(".gz") for file in chosen}
    if len(plain) > 1:
        raise GanvasError(
            f"{folder} contains several data sets: {', '.join(sorted(plain))}.",
            expected="one",
            fix=f"give the path of the file itself, such as {chosen[0]}.",
        )
    return _source(chosen[0], name)


def file_source(path: Path, name: str, split: str) -> Source:
    """The source for an IDX file of images; with `split="test"`, for the test file beside it.

    Raises:
        GanvasError: there is no test file beside it.
    """
    if split == "test" and not _SPLITS["test"].search(path.name):
        found = _find_beside(path, *(path.name.replace("train", test) for test in ("t10k", "test")))
        if found is None:
            raise no_split(str(path), fix="leave --split out, or give the path of the test file.")
        path = found
    return _source(path, name)


def _source(path: Path, name: str) -> Source:
    labels = _find_labels(path)
    stamp = [file_stamp(file) for file in (path, labels) if file]
    return Source(name, "IDX files", ["idx", stamp], lambda: _read(path, labels))


def _find_labels(path: Path) -> Path | None:
    """train-images-idx3-ubyte.gz -> train-labels-idx1-ubyte(.gz), whichever exists; otherwise None."""
    stem = re.sub(r"images?", lambda found: found[0].lower().replace("image", "label"), path.name.removesuffix(".gz"))
    stem = re.sub(r"idx\d", "idx1", stem)
    return _find_beside(path, stem)


def _find_beside(path: Path, *names: str) -> Path | None:
    """The first other file of these names in the folder of `path`, gzipped or not."""
    plain = [name.removesuffix(".gz") for name in names]
    both = (path.with_name(name + end) for name in plain for end in ("", ".gz") if name not in path.name)
    return next((file for file in both if file.is_file()), None)


def _read(path: Path, labels: Path | None) -> ImageArrays:
    with _open_maybe_gzipped(path) as file:
        shape = _read_header(path, file)
    if len(shape) == 1:
        raise GanvasError(
            f"{path} contains labels, not images.",
            expected="the file of images",
            fix="give the path of the -images- file.",
        )
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in (1, 3, 4)):
        raise GanvasError(
            f"{path} contains an array of {shape}.", expected="[n, height, width] or [n, height, width, 3]"
        )
    count, height, width = shape[:3]
    channels = shape[3] if len(shape) == 4 else 1

    def blocks() -> Iterator[np.ndarray]:
        step = max(1, _BLOCK_BYTES // max(1, height * width * channels))
        with _open_maybe_gzipped(path) as file:
            _read_header(path, file)
            for first in range(0, count, step):
                taken = min(step, count - first)
                pixels = _read_exactly(path, file, taken * height * width * channels)
                yield np.frombuffer(pixels, np.uint8).reshape(taken, height, width, channels).transpose(0, 3, 1, 2)
            _check_end(path, file)

    if labels is None:
        return ImageArrays(count, (channels, height, width), blocks)
    numbers = _read_labels(labels)
    if len(numbers) != count:
        raise GanvasError(
            f"{path} contains {count} images, but {labels.name} contains {len(numbers)} labels.",
            expected="one label for each image",
            fix="download both files again, or move the labels away to train without them.",
        )
    numbers, names, notes = normalise_labels(numbers, None, str(labels))
    return ImageArrays(count, (channels, height, width), blocks, numbers, names, notes)


def _read_labels(path: Path) -> np.ndarray:
    with _open_maybe_gzipped(path) as file:
        shape = _read_header(path, file)
        if len(shape) != 1:
            raise GanvasError(f"{path} contains an array of {shape}.", expected="a vector of labels")
        content = _read_exactly(path, file, shape[0])
        _check_end(path, file)
    return np.frombuffer(content, np.uint8)


def _open_maybe_gzipped(path: Path) -> BinaryIO:
    """Opens by content, whatever the name: browsers unpack .gz and keep the name."""
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if packed else open(path, "rb")  # type: ignore[return-value]


def _read_header(path: Path, file: BinaryIO) -> tuple[int, ...]:
    head = _read_exactly(path, file, 4, "its header is missing")
    if not is_idx(head):
        raise GanvasError(f"{path} is not an IDX file: {describe_start(head)}.", expected="an IDX file such as MNIST's")
    if head[2] != _UINT8:
        raise GanvasError(f"{path} has an unsupported data type (code {head[2]:#x}).", expected="unsigned bytes, 0x8")
    shape = struct.unpack(f">{head[3]}I", _read_exactly(path, file, 4 * head[3], "its header is missing"))
    packed, unpacked = path.stat().st_size, math.prod(shape)
    if is_bomb(packed, unpacked):
        raise GanvasError(
            f"{path} declares {' x '.join(map(str, shape))} values in {packed} bytes.",
            expected="at most 200 times the file's size",
            fix="do not use this file: it is damaged, or a decompression bomb.",
        )
    return shape


def _read_exactly(path: Path, file: BinaryIO, count: int, missing: str = "it ends too early") -> bytes:
    content = _read_up_to(path, file, count)
    if len(content) != count:
        raise _damaged_error(path, missing)
    return content


def _check_end(path: Path, file: BinaryIO) -> None:
    if _read_up_to(path, file, 1):  # also makes gzip verify its checksum
        raise _damaged_error(path, "it is longer than its header declares")


def _read_up_to(path: Path, file: BinaryIO, count: int) -> bytes:
    try:
        return file.read(count)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged_error(path, str(error).rstrip(".")) from error


def _damaged_error(path: Path, how: str) -> GanvasError:
    return GanvasError(f"{path} is damaged: {how}.", expected="a complete IDX file", fix="download it again.")
