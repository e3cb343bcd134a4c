"""A log file as lines of text, read once, in bounded memory, whatever its size and encoding."""

import codecs
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from ganvas.errors import GanvasError
from ganvas.files import format_bytes

HEAD = 2**16
"""Bytes at the start of a file from which its format is found."""

MAX_LINE = 2**23
"""Most characters in a line; the rest of a longer one is dropped."""

MAX_DOCUMENT = 2**25
"""Most bytes of a JSON document, which has to be parsed as a whole."""

FORMS = "the log of a training: CSV, JSON, TensorBoard's events, or printed lines such as `d_loss: 0.7 g_loss: 1.2`"

_CHUNK = 2**20
_PACKED = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"(\xb5/\xfd": "zstd"}
_BOMS = {
    codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip


@dataclass(frozen=True)
class Source:
    """A regular file; made by `open_source`.

    Attributes:
        path: the file.
        columns: {name in the log: name in Ganvas} that the user has given.
        start: its first bytes.
        size: its size in bytes when it was opened: what is appended later is not read.
    """

    path: Path
    columns: Mapping[str, str] = field(default_factory=dict)
    start: bytes = b""
    size: int = 0

    @cached_property
    def encoding(self) -> str:
        """From the byte order mark, or the zero bytes of UTF-16 without one; else UTF-8."""
        for mark, encoding in _BOMS.items():
            if self.start.startswith(mark):
                return encoding
        pairs = len(self.start) // 2
        for odd, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
            zeros = self.start[odd::2].count(0)
            if pairs > 8 and zeros > 0.8 * pairs and self.start.count(0) < 1.1 * zeros:
                return encoding
        return "utf-8"

    @cached_property
    def head(self) -> list[str]:
        """The first lines that are not blank, the last one perhaps cut."""
        text = codecs.getincrementaldecoder(self.encoding)("replace").decode(self.start)
        return [line for line in _split(text.replace("\0", "")) if line.strip()]

    def lines(self) -> Iterator[str]:
        """Every line, also those that end in a carriage return or a backspace."""
        carry = ""
        for piece in self.pieces():
            *lines, carry = _split(carry + piece)
            yield from lines
            carry = carry[:MAX_LINE]
        yield carry

    def pieces(self) -> Iterator[str]:
        """The text in pieces of a megabyte, without zero bytes."""
        decoder = codecs.getincrementaldecoder(self.encoding)("replace")
        with _open(self.path) as file:
            left = self.size
            while left > 0 and (chunk := _read(file, self.path, min(left, _CHUNK))):
                left -= len(chunk)
                yield decoder.decode(chunk).replace("\0", "")
        yield decoder.decode(b"", final=True)


def open_source(path: Path, columns: Mapping[str, str] | None = None) -> Source:
    """A file, after a look at its first bytes.

    Raises:
        GanvasError: it is missing, unreadable, empty, packed, or neither a regular file nor text.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    if not stat.S_ISREG(status.st_mode):
        raise GanvasError(f"{path} is no regular file.", expected=FORMS, fix="write the log to a file first.")
    with _open(path) as file:
        start = _read(file, path, HEAD)
    size = status.st_size or len(start)  # files of /proc have the size 0
    source = Source(path, columns or {}, start, size)
    if kind := next((kind for magic, kind in _PACKED.items() if start.startswith(magic)), None):
        raise GanvasError(f"{path} is packed ({kind}).", expected=FORMS, fix="unpack it first.")
    if not is_event_file(source):
        _refuse_binary(source)
    return source


def is_event_file(source: Source) -> bool:
    """Whether it begins as TensorBoard's event files do: with a record that names their version."""
    return source.start[4:8] == bytes(4) and b"brain.Event:" in source.start[:64]


def refuse_too_large(source: Source) -> GanvasError:
    """The error for a document that cannot be read in parts."""
    return GanvasError(
        f"{source.path} is one JSON document of {format_bytes(source.size)}.",
        expected=f"at most {format_bytes(MAX_DOCUMENT)}, as it has to be read as a whole",
        fix="write it as lines of JSON, one object each, or as CSV: those are read in parts.",
    )


def _refuse_binary(source: Source) -> None:
    content = source.start.rstrip(b"\0")  # what a crash leaves at the end
    text = content.decode(source.encoding, errors="replace")
    if not text.strip():
        if source.size > len(source.start):
            raise GanvasError(f"{source.path} begins with zero bytes.", expected=FORMS, fix="copy it again.")
        raise GanvasError(
            f"{source.path} is empty.", expected=FORMS, fix="wait until the training has written something."
        )
    odd = sum(text.count(char) for char in ("\0", "\ufffd", "\x01", "\x02", "\x03", "\x7f"))
    if "\0" in text[:100] or odd > max(5, len(text) / 100):
        raise GanvasError(f"{source.path} is not text.", expected=FORMS, fix="name the log of the training.")


def _open(path: Path) -> BinaryIO:
    try:
        return open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0)))
    except OSError as error:
        raise _unreadable(path, error) from error


def _read(file: BinaryIO, path: Path, most: int) -> bytes:
    try:
        return file.read(most) or b""
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> GanvasError:
    if isinstance(error, FileNotFoundError):
        return GanvasError(f"There is no {path}.", expected="a log or a folder", fix="check the name.")
    return GanvasError(f"{path} could not be read ({error.strerror}).", expected="a log", fix="check its permissions.")


def _split(text: str) -> list[str]:
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\b", "\n").split("\n")
