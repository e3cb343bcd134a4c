"""Files that are packed, which are unpacked while they are read, and files that are no text, by what they are."""

import bz2
import gzip
import lzma
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

UNPACK_ERRORS = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)
"""What the libraries raise on a packed file that is cut off or damaged."""

_UNPACKERS: dict[bytes, Callable[[Path], object]] = {
    b"\x1f\x8b": gzip.GzipFile, b"BZh": bz2.BZ2File, b"\xfd7zXZ": lzma.LZMAFile,
}  # fmt: skip
"""First bytes of a packed file -> what unpacks it."""

PACKED_SUFFIXES = (".gz", ".bz2", ".xz")

_AS_CSV = "write its numbers as CSV, with a first line such as step,d_loss,g_loss."
_NO_WEIGHTS = "name the log of the training."
_BINARY = (
    (b"\x93NUMPY", "is a NumPy array (.npy)", _AS_CSV),
    (b"\x89HDF", "is an HDF5 file", _NO_WEIGHTS),
    (b"\x89PNG", "is not text but an image", _NO_WEIGHTS),
    (b"\xff\xd8\xff", "is not text but an image", _NO_WEIGHTS),
    (b"(\xb5/\xfd", "is packed (zstd)", "unpack it first."),
    (b"PAR1", "is a Parquet file", _AS_CSV),
    (b":W&B", "is the binary record of Weights & Biases", "name output.log beside it, or export the run as CSV."),
)
_MARKUP = (b"<?xml", b"<!doctype", b"<html")


def open_file(path: Path) -> BinaryIO:
    """The bytes of a file, unpacked if it is packed; never waits for a pipe.

    Raises:
        OSError: it cannot be opened.
    """
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0)))  # noqa: SIM115
    unpack = next((unpack for magic, unpack in _UNPACKERS.items() if file.peek(8).startswith(magic)), None)
    if unpack is None:
        return file
    file.close()
    return cast(BinaryIO, unpack(path))


def plain_name(path: Path) -> Path:
    """train.log of train.log.gz; any other path as it is."""
    return path.with_suffix("") if path.suffix.lower() in PACKED_SUFFIXES else path


def describe_binary(start: bytes, path: Path) -> tuple[str, str] | None:
    """(what a file is, what to do) if its first bytes say that it is no log; None otherwise."""
    if start.startswith(b"PK\x03\x04"):
        if b"data.pkl" in start or path.suffix in (".pt", ".pth", ".ckpt"):
            return "is a checkpoint of PyTorch", "name the log of the training, not its weights."
        if b".npy" in start or path.suffix == ".npz":
            return "is a NumPy archive (.npz)", _AS_CSV
        return "is packed (zip)", "unpack it first."
    if start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "is not text but a pickle of Python, which could run code", _AS_CSV
    if start.lstrip(b"\xef\xbb\xbf \r\n\t")[:9].lower().startswith(_MARKUP):
        return "is XML or HTML, which is not read", _AS_CSV
    return next(((what, fix) for magic, what, fix in _BINARY if start.startswith(magic)), None)
