"""CIFAR-10 as its authors publish it: the binary and the python version, as a tar.gz or unpacked."""

import io
import pickle
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ganvas.data.forms import Arrays, Source
from ganvas.data.listing import named_classes
from ganvas.errors import GanvasError

_SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32
_MOST = 2**26  # a batch has 31 MB
_TRAIN = re.compile(r"data_batch_\d(\.bin)?")
_TEST = re.compile(r"test_batch(\.bin)?")
_NAMES = ("batches.meta.txt", "batches.meta")


def is_batch(name: str) -> bool:
    """Whether a file of this name is one of CIFAR-10's."""
    return bool(_TRAIN.fullmatch(name) or _TEST.fullmatch(name))


def source(path: Path, name: str, split: str) -> Source:
    """The unpacked folder, or the tar or tar.gz; nothing is read yet."""
    files = sorted(file for file in path.iterdir() if _wanted(file.name)) if path.is_dir() else [path]
    stats = [(file, file.stat()) for file in files]
    stamp = [[str(file.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns] for file, stat in stats]
    return Source(name, "CIFAR-10's batches", ["cifar", split, stamp], lambda: _read(path, split))


def _wanted(name: str) -> bool:
    return is_batch(name) or name in _NAMES


def _read(path: Path, split: str) -> Arrays:
    wanted = _TEST if split == "test" else _TRAIN
    batches: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    class_names = None
    for name, content in _folder(path) if path.is_dir() else _archive(path):
        where = f"{path}: {name}"
        if wanted.fullmatch(name):
            batches[name] = _binary(content, where) if name.endswith(".bin") else _python(content, where)
        elif name in _NAMES:
            class_names = _class_names(name, content, where)
    if not batches:
        raise GanvasError(
            f"{path} holds no {'test_batch' if split == 'test' else 'data_batch_1'} of CIFAR-10.",
            expected="the files of cifar-10-binary.tar.gz or cifar-10-python.tar.gz",
        )
    ordered = [batches[name] for name in sorted(batches)]
    labels, names, notes = named_classes(np.concatenate([row[1] for row in ordered]), class_names, str(path))

    def blocks() -> Iterator[np.ndarray]:
        for pixels, _ in ordered:
            yield pixels

    return Arrays(len(labels), _SHAPE, blocks, labels, names, notes)


def _folder(path: Path) -> Iterator[tuple[str, bytes]]:
    for file in sorted(path.iterdir()):
        if _wanted(file.name) and file.is_file():
            _check_size(file.name, file.stat().st_size, path)
            yield file.name, file.read_bytes()


def _archive(path: Path) -> Iterator[tuple[str, bytes]]:
    """Reads the wanted members one after the other; nothing is written to disk."""
    try:
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                name = member.name.rpartition("/")[2]
                if not (member.isfile() and _wanted(name)):
                    continue
                _check_size(name, member.size, path)
                file = archive.extractfile(member)
                if file is not None:
                    yield name, file.read()
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise GanvasError(
            f"{path} is damaged: {error}.", expected="CIFAR-10's tar.gz", fix="download it again."
        ) from error


def _check_size(name: str, size: int, path: Path) -> None:
    if size > _MOST:
        raise GanvasError(f"{path}: {name} is {size / 2**20:.0f} MiB.", expected="CIFAR-10's 31 MB for each batch")


def _binary(content: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
    if not content or len(content) % (1 + _PIXELS):
        raise GanvasError(
            f"{where} is damaged: {len(content)} bytes.",
            expected=f"{1 + _PIXELS} for each picture",
            fix="download it again.",
        )
    rows = np.frombuffer(content, np.uint8).reshape(-1, 1 + _PIXELS)
    return rows[:, 1:].reshape(-1, *_SHAPE), rows[:, 0]


def _python(content: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
    table = unpickled(content, where)
    data, labels = _entry(table, "data"), _entry(table, "labels")
    whole = isinstance(data, np.ndarray) and data.dtype == np.uint8 and data.ndim == 2 and data.shape[1] == _PIXELS
    if not whole or not isinstance(labels, list) or len(labels) != len(data):
        raise GanvasError(f"{where} is no batch of CIFAR-10.", expected="uint8 data [n, 3072] and n labels")
    if not all(type(label) is int and 0 <= label < 256 for label in labels):
        raise GanvasError(f"{where} holds labels that are no class numbers.")
    return data.reshape(-1, *_SHAPE), np.array(labels, np.int64)


def _class_names(name: str, content: bytes, where: str) -> list[str] | None:
    if name.endswith(".txt"):
        return content.decode("utf-8", "replace").split() or None
    names = _entry(unpickled(content, where), "label_names")
    if not isinstance(names, list):
        return None
    return [one.decode("utf-8", "replace") if isinstance(one, bytes) else str(one) for one in names]


def _entry(table: Any, key: str) -> Any:
    value = table.get(key.encode(), table.get(key)) if isinstance(table, dict) else None
    return value.value if isinstance(value, _Numbers) else value


def unpickled(content: bytes, where: str) -> Any:
    """Plain values and arrays of numbers out of a pickle; anything else in it is refused before it is built.

    Raises:
        GanvasError: the pickle names anything but numpy's array, or is damaged.
    """
    try:
        return _ArraysOnly(io.BytesIO(content), encoding="bytes").load()
    except GanvasError:
        raise
    except Exception as error:  # a damaged pickle may fail in any way
        raise GanvasError(f"{where} cannot be read: {error}.", fix="download it again.") from error


class _ArraysOnly(pickle.Unpickler):
    """Knows the few names that an array of numbers is made of, and gives something of our own for each.

    What it gives is made anew each time and never a class, so that nothing a pickle does to it can last.
    """

    def find_class(self, module: str, name: str) -> Any:
        match module.replace("numpy._core", "numpy.core"), name:
            case "numpy.core.multiarray", "_reconstruct":
                return lambda *_: _Numbers()
            case "numpy.core.numeric", "_frombuffer":
                return lambda content, kind, shape, order: _Numbers().fill(shape, kind, order == "F", content)
            case "numpy", "ndarray":
                return "ndarray"
            case "numpy", "dtype":
                return lambda code, *_: _Kind(code)
        raise GanvasError(
            f"A pickle asks for {module}.{name}, which could run a program.",
            expected="arrays of numbers only",
            fix="do not use this file; download CIFAR-10 from its authors.",
        )

    def persistent_load(self, pid: Any) -> Any:
        raise GanvasError("A pickle refers to something outside itself.", expected="arrays of numbers only")


class _Kind:
    """Stands for a numpy.dtype, which must be one of whole or real numbers."""

    def __init__(self, code: Any) -> None:
        text = code.decode("ascii") if isinstance(code, bytes) else code
        if not (isinstance(text, str) and re.fullmatch(r"[biuf][1248]", text)):
            raise ValueError(f"an array of {text!r}")
        self.dtype = np.dtype(text)

    def __setstate__(self, state: Any) -> None:
        order = state[1].decode("ascii") if isinstance(state[1], bytes) else state[1]
        self.dtype = self.dtype.newbyteorder(">" if order == ">" else "<")


class _Numbers:
    """Stands for a numpy.ndarray."""

    value: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        _version, shape, kind, fortran, content = state
        self.fill(shape, kind, fortran, content)

    def fill(self, shape: Any, kind: Any, fortran: Any, content: Any) -> "_Numbers":
        if not isinstance(kind, _Kind) or not isinstance(content, bytes | bytearray):
            raise ValueError("an array of objects")
        self.value = np.frombuffer(content, kind.dtype).reshape(shape, order="F" if fortran else "C")
        return self
