"""Reads CIFAR-10 and CIFAR-100 as their authors publish them: the binary or the Python version, packed or unpacked."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ganvas.data.formats.safe_pickle import ArrayStub, unpickle
from ganvas.data.formats.tar_stream import read_members
from ganvas.data.listing import normalise_labels
from ganvas.data.source_types import ImageArrays, Source, file_stamp
from ganvas.errors import GanvasError

_SHAPE = (3, 32, 32)
_PIXEL_BYTES = 3 * 32 * 32
_MAX_FILE_BYTES = 2**28  # CIFAR-100's training set has 154 MB


@dataclass(frozen=True)
class _Form:
    """The names of the files of one of the two data sets."""

    title: str
    train: re.Pattern[str]
    test: re.Pattern[str]
    names: re.Pattern[str]
    """The files of the names of the classes."""
    labels: tuple[str, ...]
    """The labels of each image, in the order of the binary version."""

    def has_images(self, name: str) -> bool:
        """Whether a file of this name has images of it."""
        return bool(self.train.fullmatch(name) or self.test.fullmatch(name))

    def has(self, name: str) -> bool:
        """Whether a file of this name belongs to it."""
        return self.has_images(name) or bool(self.names.fullmatch(name))


_FORMS = (
    _Form(
        "CIFAR-10",
        re.compile(r"data_batch_\d(\.bin)?"),
        re.compile(r"test_batch(\.bin)?"),
        re.compile(r"batches\.meta(\.txt)?"),
        ("labels",),
    ),
    _Form(
        "CIFAR-100",
        re.compile(r"train(\.bin)?"),
        re.compile(r"test(\.bin)?"),
        re.compile(r"meta|(fine|coarse)_label_names\.txt"),
        ("coarse_labels", "fine_labels"),
    ),
)


def is_batch(name: str) -> bool:
    """Whether a file of this name is a batch of CIFAR-10."""
    return _FORMS[0].has_images(name)


def is_member(name: str) -> bool:
    """Whether a member of a tar is a batch of CIFAR-10, or one of CIFAR-100 in the folder of its authors."""
    folder, _, own = name.rpartition("/")
    of_100 = re.search(r"cifar-?_?100", folder, re.IGNORECASE) and _FORMS[1].has(own)
    return is_batch(own) or bool(of_100)


def is_folder(path: Path) -> bool:
    """Whether a folder has the batches of CIFAR-10 or CIFAR-100."""
    names = {file.name for file in path.iterdir() if file.is_file()}
    if any(is_batch(name) for name in names):
        return True
    if "meta" in names and names & {"train", "test"}:
        return (path / "meta").read_bytes()[:1] == b"\x80"
    row = 2 + _PIXEL_BYTES
    return any((path / name).stat().st_size % row == 0 for name in names & {"train.bin", "test.bin"})


def source(path: Path, name: str, split: str, label_column: str | None = None) -> Source:
    """The source for the unpacked folder, the tar or the tar.gz; nothing is read yet.

    Args:
        label_column: of CIFAR-100, `coarse_labels` for its 20 coarse classes instead of the 100 fine ones.
    """
    files = sorted(file for file in path.iterdir() if _is_wanted(file)) if path.is_dir() else [path]
    stamp = ["cifar", split, label_column, [file_stamp(file) for file in files]]
    return Source(name, "CIFAR's batches", stamp, lambda: _read(path, split, label_column))


def _is_wanted(file: Path) -> bool:
    return file.is_file() and any(form.has(file.name) for form in _FORMS)


def _read(path: Path, split: str, label_column: str | None) -> ImageArrays:
    contents = dict(_read_files(path))
    form = next((form for form in _FORMS if any(form.has_images(name) for name in contents)), _FORMS[0])
    wanted = form.test if split == "test" else form.train
    batches = sorted(name for name in contents if wanted.fullmatch(name))
    if not batches:
        missing = {"train": "data_batch_1 of CIFAR-10 or train of CIFAR-100", "test": "test_batch or test"}[split]
        raise GanvasError(
            f"{path} contains no {missing}.",
            expected="the files of cifar-10-binary.tar.gz, cifar-10-python.tar.gz, or of CIFAR-100",
        )
    column = _choose_column(form, label_column)
    parsed = [_parse(form, column, name, contents[name], f"{path}: {name}") for name in batches]
    pixels, numbers = zip(*parsed, strict=True)
    class_names = None
    for name in sorted(contents):
        if form.names.fullmatch(name):
            class_names = class_names or _parse_class_names(column, name, contents[name], f"{path}: {name}")
    labels, names, notes = normalise_labels(np.concatenate(numbers), class_names, str(path))
    if len(form.labels) > 1:
        other = next(one for one in form.labels if one != column)
        notes = (f"The {column} of {form.title} are used; --label-column {other} takes the others.", *notes)
    return ImageArrays(len(labels), _SHAPE, lambda: iter(pixels), labels, names, notes)


def _choose_column(form: _Form, label_column: str | None) -> str:
    if label_column is None:
        return form.labels[-1]
    for column in form.labels:
        if label_column.lower() in (column, column.removesuffix("_labels")):
            return column
    raise GanvasError(
        f"{form.title} has no labels called {label_column!r}.",
        expected=" or ".join(form.labels),
        fix=f"--label-column {form.labels[0]}" if len(form.labels) > 1 else "leave --label-column out.",
    )


def _read_files(path: Path) -> Iterator[tuple[str, bytes]]:
    """The content of the files that belong to CIFAR, from the folder or the tar."""
    if path.is_dir():
        for file in sorted(path.iterdir()):
            if _is_wanted(file):
                _check_size(file.name, file.stat().st_size, path)
                yield file.name, file.read_bytes()
        return
    for member in read_members(path):
        name = member.name.rpartition("/")[2]
        if is_member(member.name) or _FORMS[0].has(name):
            _check_size(name, member.size, path)
            yield name, member.read()


def _check_size(name: str, size: int, path: Path) -> None:
    if size > _MAX_FILE_BYTES:
        raise GanvasError(
            f"{path}: {name} is {size / 2**20:.0f} MiB.", expected="CIFAR's, at most 154 MB for each file"
        )


def _parse(form: _Form, column: str, name: str, content: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
    """The images, uint8 [n 3 32 32], and the labels of one file."""
    if not name.endswith(".bin"):
        return _parse_pickle(content, column, where)
    before = len(form.labels)
    if not content or len(content) % (before + _PIXEL_BYTES):
        raise GanvasError(
            f"{where} is damaged: {len(content)} bytes.",
            expected=f"a multiple of {before + _PIXEL_BYTES} bytes",
            fix="download it again.",
        )
    rows = np.frombuffer(content, np.uint8).reshape(-1, before + _PIXEL_BYTES)
    return rows[:, before:].reshape(-1, *_SHAPE), rows[:, form.labels.index(column)]


def _parse_pickle(content: bytes, column: str, where: str) -> tuple[np.ndarray, np.ndarray]:
    table = unpickle(content, where)
    data, labels = _get_entry(table, "data"), _get_entry(table, column)
    valid = isinstance(data, np.ndarray) and data.dtype == np.uint8 and data.ndim == 2 and data.shape[1] == _PIXEL_BYTES
    if not valid or not isinstance(labels, list) or len(labels) != len(data):
        raise GanvasError(f"{where} is not a batch of CIFAR.", expected=f"uint8 data [n, 3072] and n {column}")
    if not all(type(label) is int and 0 <= label < 256 for label in labels):
        raise GanvasError(f"{where} has labels that are not class numbers.", expected="integers from 0 to 255")
    return data.reshape(-1, *_SHAPE), np.array(labels, np.int64)


def _parse_class_names(column: str, name: str, content: bytes, where: str) -> list[str] | None:
    """The names of the classes; None if the file has those of another column."""
    key = column.removesuffix("s") + "_names" if column != "labels" else "label_names"
    if name.endswith(".txt"):
        return (
            content.decode("utf-8", "replace").split() or None if name in (f"{key}.txt", "batches.meta.txt") else None
        )
    names = _get_entry(unpickle(content, where), key)
    if not isinstance(names, list):
        return None
    return [one.decode("utf-8", "replace") if isinstance(one, bytes) else str(one) for one in names]


def _get_entry(table: Any, key: str) -> Any:
    value = table.get(key.encode(), table.get(key)) if isinstance(table, dict) else None
    return value.value if isinstance(value, ArrayStub) else value
