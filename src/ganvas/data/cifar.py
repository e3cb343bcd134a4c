"""Reads CIFAR-10 as its authors publish it: the binary or the Python version, as a tar.gz or unpacked."""

import io
import pickle
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ganvas.data.listing import normalise_labels
from ganvas.data.source_types import ImageArrays, Source, file_stamp
from ganvas.errors import GanvasError

_SHAPE = (3, 32, 32)
_PIXEL_BYTES = 3 * 32 * 32
_MAX_FILE_BYTES = 2**26  # a batch file has 31 MB
_TRAIN = re.compile(r"data_batch_\d(\.bin)?")
_TEST = re.compile(r"test_batch(\.bin)?")
_NAMES = ("batches.meta.txt", "batches.meta")


def is_batch(name: str) -> bool:
    """Whether a file of this name is a batch of CIFAR-10."""
    return bool(_TRAIN.fullmatch(name) or _TEST.fullmatch(name))


def source(path: Path, name: str, split: str) -> Source:
    """The source for the unpacked folder, the tar or the tar.gz; nothing is read yet."""
    files = sorted(file for file in path.iterdir() if _is_wanted(file.name)) if path.is_dir() else [path]
    stamp = ["cifar", split, [file_stamp(file) for file in files]]
    return Source(name, "CIFAR-10's batches", stamp, lambda: _read(path, split))


def _is_wanted(name: str) -> bool:
    return is_batch(name) or name in _NAMES


def _read(path: Path, split: str) -> ImageArrays:
    wanted = _TEST if split == "test" else _TRAIN
    batches: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    class_names = None
    for name, content in _read_folder(path) if path.is_dir() else _read_archive(path):
        where = f"{path}: {name}"
        if wanted.fullmatch(name):
            batches[name] = _parse_binary(content, where) if name.endswith(".bin") else _parse_pickle(content, where)
        elif name in _NAMES:
            class_names = _parse_class_names(name, content, where)
    if not batches:
        raise GanvasError(
            f"{path} contains no {'test_batch' if split == 'test' else 'data_batch_1'} of CIFAR-10.",
            expected="the files of cifar-10-binary.tar.gz or cifar-10-python.tar.gz",
        )
    pixels, numbers = zip(*(batches[name] for name in sorted(batches)), strict=True)
    labels, names, notes = normalise_labels(np.concatenate(numbers), class_names, str(path))
    return ImageArrays(len(labels), _SHAPE, lambda: iter(pixels), labels, names, notes)


def _read_folder(path: Path) -> Iterator[tuple[str, bytes]]:
    for file in sorted(path.iterdir()):
        if _is_wanted(file.name) and file.is_file():
            _check_size(file.name, file.stat().st_size, path)
            yield file.name, file.read_bytes()


def _read_archive(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yields the wanted members one after the other; nothing is written to disk."""
    try:
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                name = member.name.rpartition("/")[2]
                if not (member.isfile() and _is_wanted(name)):
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
    if size > _MAX_FILE_BYTES:
        raise GanvasError(f"{path}: {name} is {size / 2**20:.0f} MiB.", expected="CIFAR-10's 31 MB for each batch")


def _parse_binary(content: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
    if not content or len(content) % (1 + _PIXEL_BYTES):
        raise GanvasError(
            f"{where} is damaged: {len(content)} bytes.",
            expected=f"a multiple of {1 + _PIXEL_BYTES} bytes",
            fix="download it again.",
        )
    rows = np.frombuffer(content, np.uint8).reshape(-1, 1 + _PIXEL_BYTES)
    return rows[:, 1:].reshape(-1, *_SHAPE), rows[:, 0]


def _parse_pickle(content: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
    table = unpickle(content, where)
    data, labels = _get_entry(table, "data"), _get_entry(table, "labels")
    valid = isinstance(data, np.ndarray) and data.dtype == np.uint8 and data.ndim == 2 and data.shape[1] == _PIXEL_BYTES
    if not valid or not isinstance(labels, list) or len(labels) != len(data):
        raise GanvasError(f"{where} is not a batch of CIFAR-10.", expected="uint8 data [n, 3072] and n labels")
    if not all(type(label) is int and 0 <= label < 256 for label in labels):
        raise GanvasError(f"{where} has labels that are not class numbers.", expected="integers from 0 to 255")
    return data.reshape(-1, *_SHAPE), np.array(labels, np.int64)


def _parse_class_names(name: str, content: bytes, where: str) -> list[str] | None:
    if name.endswith(".txt"):
        return content.decode("utf-8", "replace").split() or None
    names = _get_entry(unpickle(content, where), "label_names")
    if not isinstance(names, list):
        return None
    return [one.decode("utf-8", "replace") if isinstance(one, bytes) else str(one) for one in names]


def _get_entry(table: Any, key: str) -> Any:
    value = table.get(key.encode(), table.get(key)) if isinstance(table, dict) else None
    return value.value if isinstance(value, _ArrayStub) else value


def unpickle(content: bytes, where: str) -> Any:
    """Unpickles plain values and numeric arrays; anything else is refused before it is constructed.

    Raises:
        GanvasError: the pickle refers to anything but numpy's array, or is damaged.
    """
    try:
        return _ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
    except GanvasError:
        raise
    except Exception as error:  # a damaged pickle may fail in any way
        raise GanvasError(f"{where} cannot be read: {error}.", fix="download it again.") from error


class _ArrayUnpickler(pickle.Unpickler):
    """Resolves the few names that pickled numeric arrays refer to, each to a stub of our own.

    Every stub is a new object and never a class, so that nothing a pickle does to it persists.
    """

    def find_class(self, module: str, name: str) -> Any:
        match module.replace("numpy._core", "numpy.core"), name:
            case "numpy.core.multiarray", "_reconstruct":
                return lambda *_: _ArrayStub()
            case "numpy.core.numeric", "_frombuffer":
                return lambda content, dtype, shape, order: _ArrayStub().fill(shape, dtype, order == "F", content)
            case "numpy", "ndarray":
                return "ndarray"
            case "numpy", "dtype":
                return lambda code, *_: _DtypeStub(code)
        raise GanvasError(
            f"A pickle refers to {module}.{name}, which could run a program.",
            expected="numeric arrays only",
            fix="do not use this file; download CIFAR-10 from its authors.",
        )

    def persistent_load(self, pid: Any) -> Any:
        raise GanvasError("A pickle refers to something outside itself.", expected="numeric arrays only")


class _DtypeStub:
    """Stub of a numpy.dtype, which must be boolean, integer or floating point."""

    def __init__(self, code: Any) -> None:
        text = code.decode("ascii") if isinstance(code, bytes) else code
        if not (isinstance(text, str) and re.fullmatch(r"[biuf][1248]", text)):
            raise ValueError(f"an array of {text!r}")
        self.dtype = np.dtype(text)

    def __setstate__(self, state: Any) -> None:
        order = state[1].decode("ascii") if isinstance(state[1], bytes) else state[1]
        self.dtype = self.dtype.newbyteorder(">" if order == ">" else "<")


class _ArrayStub:
    """Stub of a numpy.ndarray."""

    value: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        _version, shape, dtype, fortran, content = state
        self.fill(shape, dtype, fortran, content)

    def fill(self, shape: Any, dtype: Any, fortran: Any, content: Any) -> "_ArrayStub":
        if not isinstance(dtype, _DtypeStub) or not isinstance(content, bytes | bytearray):
            raise ValueError("an array of objects")
        self.value = np.frombuffer(content, dtype.dtype).reshape(shape, order="F" if fortran else "C")
        return self
