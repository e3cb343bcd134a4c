"""IDX files, the form of MNIST and its kin; gzipped or not, pixels and labels in separate files."""

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
from ganvas.data.forms import Arrays, Source, no_split, quoted
from ganvas.data.listing import named_classes, natural
from ganvas.errors import GanvasError

_UINT8 = 0x08
_BLOCK = 2**23  # bytes read at once
_IMAGES = re.compile(r"images?[-_.](idx\d|ubyte)", re.IGNORECASE)
_HALVES = {"train": re.compile(r"train", re.IGNORECASE), "test": re.compile(r"t10k|test", re.IGNORECASE)}


def in_folder(folder: Path) -> list[Path]:
    """The IDX files of pictures that lie directly in `folder`, by their usual names."""
    found = [file for file in folder.iterdir() if _IMAGES.search(file.name) and file.is_file()]
    return sorted(found, key=lambda file: natural(file.name))


def is_idx(head: bytes) -> bool:
    """Whether a file that begins so is IDX."""
    return len(head) >= 4 and head[:2] == b"\0\0" and head[2] in range(0x08, 0x0F) and 1 <= head[3] <= 4


def folder_source(folder: Path, name: str, split: str) -> Source:
    """The half of the set that `split` names.

    Raises:
        GanvasError: no such half, or several sets in one folder.
    """
    files = in_folder(folder)
    chosen = [file for file in files if _HALVES[split].search(file.name)]
    if not chosen and split == "train" and len(files) == 1:
        chosen = files
    if not chosen:
        raise (
            no_split(str(folder)) if split == "test" else GanvasError(f"{folder} has no IDX file of the train split.")
        )
    plain = {file.name.removesuffix(".gz") for file in chosen}
    if len(plain) > 1:
        raise GanvasError(
            f"{folder} holds several sets: {', '.join(sorted(plain))}.",
            expected="one",
            fix=f"name the file itself, such as {chosen[0]}.",
        )
    return _source(chosen[0], name)


def file_source(path: Path, name: str, split: str) -> Source:
    """A single IDX file of pictures; `split="test"` looks for its sibling.

    Raises:
        GanvasError: it has no such sibling.
    """
    if split == "test" and not _HALVES["test"].search(path.name):
        found = _beside(path, *(path.name.replace("train", half) for half in ("t10k", "test")))
        if found is None:
            raise no_split(str(path), fix="leave --split out, or name the test file itself.")
        path = found
    return _source(path, name)


def _source(path: Path, name: str) -> Source:
    labels = _labels_of(path)
    stamp = [_stamp(file) for file in (path, labels) if file]
    return Source(name, "IDX files", ["idx", stamp], lambda: _read(path, labels))


def _stamp(path: Path) -> list[str | int]:
    facts = path.stat()
    return [str(path.resolve()), facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns]


def _labels_of(path: Path) -> Path | None:
    """train-images-idx3-ubyte.gz -> train-labels-idx1-ubyte(.gz), whichever is there."""
    stem = re.sub(r"images?", lambda found: found[0].lower().replace("image", "label"), path.name.removesuffix(".gz"))
    stem = re.sub(r"idx\d", "idx1", stem)
    return _beside(path, stem)


def _beside(path: Path, *names: str) -> Path | None:
    """The first other file of these names that lies beside `path`, gzipped or not."""
    plain = [name.removesuffix(".gz") for name in names]
    both = (path.with_name(name + end) for name in plain for end in ("", ".gz") if name not in path.name)
    return next((file for file in both if file.is_file()), None)


def _read(path: Path, labels: Path | None) -> Arrays:
    with _opened(path) as file:
        shape = _header(path, file)
    if len(shape) == 1:
        raise GanvasError(
            f"{path} holds labels, not pictures.",
            expected="the file of images",
            fix="name the -images- file.",
        )
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in (1, 3, 4)):
        raise GanvasError(f"{path} holds an array of {shape}.", expected="[n, height, width] or [n, height, width, 3]")
    count, height, width = shape[:3]
    channels = shape[3] if len(shape) == 4 else 1

    def blocks() -> Iterator[np.ndarray]:
        step = max(1, _BLOCK // max(1, height * width * channels))
        with _opened(path) as file:
            _header(path, file)
            for first in range(0, count, step):
                taken = min(step, count - first)
                pixels = _exactly(path, file, taken * height * width * channels)
                yield (np.frombuffer(pixels, np.uint8).reshape(taken, height, width, channels).transpose(0, 3, 1, 2))
            _nothing_more(path, file)

    if labels is None:
        return Arrays(count, (channels, height, width), blocks)
    numbers = _read_labels(labels)
    if len(numbers) != count:
        raise GanvasError(
            f"{path} holds {count} pictures, but {labels.name} {len(numbers)} labels.",
            expected="one label for each picture",
            fix="download both files again, or move the labels away to train without.",
        )
    numbers, names, notes = named_classes(numbers, None, str(labels))
    return Arrays(count, (channels, height, width), blocks, numbers, names, notes)


def _read_labels(path: Path) -> np.ndarray:
    with _opened(path) as file:
        shape = _header(path, file)
        if len(shape) != 1:
            raise GanvasError(f"{path} holds an array of {shape}.", expected="one row of labels")
        content = _exactly(path, file, shape[0])
        _nothing_more(path, file)
    return np.frombuffer(content, np.uint8)


def _opened(path: Path) -> BinaryIO:
    """By content, whatever the name: browsers unpack .gz and keep the name."""
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if packed else open(path, "rb")  # type: ignore[return-value]


def _header(path: Path, file: BinaryIO) -> tuple[int, ...]:
    head = _exactly(path, file, 4, "its header is missing")
    if not is_idx(head):
        raise GanvasError(f"{path} is no IDX file: it {quoted(head)}.", expected="an IDX file such as MNIST's")
    if head[2] != _UINT8:
        raise GanvasError(f"{path} holds numbers of another kind (code {head[2]:#x}).", expected="unsigned bytes")
    shape = struct.unpack(f">{head[3]}I", _exactly(path, file, 4 * head[3], "its header is missing"))
    packed, unpacked = path.stat().st_size, math.prod(shape)
    if is_bomb(packed, unpacked):
        raise GanvasError(
            f"{path} declares {' x '.join(map(str, shape))} numbers in {packed} bytes.",
            expected="at most 200 times the file's size",
            fix="do not use this file: it is damaged, or a decompression bomb.",
        )
    return shape


def _exactly(path: Path, file: BinaryIO, count: int, lack: str = "it ends too early") -> bytes:
    try:
        content = file.read(count)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged(path, str(error).rstrip(".")) from error
    if len(content) != count:
        raise _damaged(path, lack)
    return content


def _nothing_more(path: Path, file: BinaryIO) -> None:
    try:
        surplus = file.read(1)  # also makes gzip compare its check sum
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged(path, str(error).rstrip(".")) from error
    if surplus:
        raise _damaged(path, "it holds more than its header declares")


def _damaged(path: Path, how: str) -> GanvasError:
    return GanvasError(f"{path} is damaged: {how}.", expected="a whole IDX file", fix="download it again.")
