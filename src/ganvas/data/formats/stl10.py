"""Reads STL-10 as its authors publish it: binary files with images stored by columns, unpacked or in a tar.gz."""

import re
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np

from ganvas.data.arrays.stored import BLOCK_BYTES
from ganvas.data.formats.tar_stream import read_members
from ganvas.data.listing import normalise_labels
from ganvas.data.source_types import ImageArrays, Source, file_stamp, no_split
from ganvas.errors import GanvasError

_SIDE = 96
_IMAGE_BYTES = 3 * _SIDE * _SIDE
_IMAGES = re.compile(r"(train|test|unlabeled)_X\.bin")
_NAMES = "class_names.txt"
_MAX_LABEL_BYTES = 2**20


def is_file(name: str) -> bool:
    """Whether a file of this name has images of STL-10."""
    return bool(_IMAGES.fullmatch(name.rpartition("/")[2]))


def source(path: Path, name: str, split: str) -> Source:
    """The source for the folder, the tar, or one of the files `train_X.bin`, `test_X.bin`, `unlabeled_X.bin`.

    Raises:
        GanvasError: there is no such split.
    """
    wanted = "test_X.bin" if split == "test" else path.name if path.is_file() and is_file(path.name) else "train_X.bin"
    packed = path.is_file() and not is_file(path.name)
    folder = path if path.is_dir() else path.parent
    if not packed and not (folder / wanted).is_file():
        raise no_split(str(path), fix="leave --split out.") if split == "test" else _missing_error(path, wanted)
    files = (
        [path]
        if packed
        else [file for file in sorted(folder.iterdir()) if file.is_file() and _is_wanted(file.name, wanted)]
    )
    stamp = ["stl10", wanted, [file_stamp(file) for file in files]]
    return Source(name, "STL-10's files", stamp, lambda: _read(path if packed else folder, wanted))


def _is_wanted(name: str, wanted: str) -> bool:
    return name in (wanted, wanted.replace("_X", "_y"), _NAMES)


def _files(path: Path, wanted: str) -> Generator[tuple[str, int, Callable[[int], bytes]], None, None]:
    """Yields the name and size of the wanted files, and what reads their next bytes."""
    if path.is_dir():
        for file in sorted(path.iterdir()):
            if file.is_file() and _is_wanted(file.name, wanted):
                with open(file, "rb") as opened:
                    yield file.name, file.stat().st_size, opened.read
        return
    for member in read_members(path):
        name = member.name.rpartition("/")[2]
        if _is_wanted(name, wanted):
            yield name, member.size, member.read


def _read(path: Path, wanted: str) -> ImageArrays:
    small: dict[str, bytes] = {}
    total = None
    with closing(_files(path, wanted)) as files:
        for name, size, read in files:
            if name == wanted:
                total = size
            else:
                small[name] = read(_MAX_LABEL_BYTES)
            if total is not None and len(small) == 2:
                break
    if total is None:
        raise _missing_error(path, wanted)
    if total % _IMAGE_BYTES:
        raise GanvasError(
            f"{path}: {wanted} has {total} bytes.",
            expected=f"a multiple of {_IMAGE_BYTES}, the bytes of an image of 96 x 96 pixels",
            fix="download it again.",
        )
    count = total // _IMAGE_BYTES
    shape = (3, _SIDE, _SIDE)
    notes = ["STL-10 stores its images by columns: they are turned upright."]
    if wanted == "train_X.bin":
        notes.append("unlabeled_X.bin is not used; unpacked, its own path trains on those 100,000 images.")

    def blocks() -> Iterator[np.ndarray]:
        step = max(1, BLOCK_BYTES // _IMAGE_BYTES)
        for name, _, read in _files(path, wanted):
            if name != wanted:
                continue
            for first in range(0, count, step):
                taken = min(step, count - first)
                content = read(taken * _IMAGE_BYTES)
                if len(content) != taken * _IMAGE_BYTES:
                    raise GanvasError(f"{path}: {wanted} ends too early.", fix="download it again.")
                yield np.frombuffer(content, np.uint8).reshape(taken, *shape).transpose(0, 1, 3, 2)

    numbers = small.get(wanted.replace("_X", "_y"))
    if numbers is None or wanted == "unlabeled_X.bin":
        if wanted != "unlabeled_X.bin":
            notes.append(f"There is no {wanted.replace('_X', '_y')}, so there are no classes.")
        return ImageArrays(count, shape, blocks, notes=tuple(notes))
    if len(numbers) != count:
        raise GanvasError(
            f"{path}: {wanted} has {count} images, but its file of labels has {len(numbers)}.",
            expected="one label for each image",
            fix="download both files again.",
        )
    names = small.get(_NAMES, b"").decode("utf-8", "replace").split() or [str(number) for number in range(1, 11)]
    where = f"{path}: {wanted.replace('_X', '_y')}"
    from_0 = np.frombuffer(numbers, np.uint8).astype(np.int64) - 1
    labels, class_names, more = normalise_labels(from_0, names, where)
    return ImageArrays(count, shape, blocks, labels, class_names, (*notes, *more))


def _missing_error(path: Path, wanted: str) -> GanvasError:
    return GanvasError(f"{path} contains no {wanted}.", expected="the files of stl10_binary.tar.gz")
