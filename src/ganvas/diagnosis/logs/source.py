"""A log file as lines of text, read once, in bounded memory, whatever its size and encoding."""

import codecs
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from ganvas.diagnosis.logs.packed import UNPACK_ERRORS, describe_binary, open_file, plain_name
from ganvas.errors import GanvasError
from ganvas.files import format_bytes
from ganvas.reading import near_paths

HEAD = 2**16
"""Bytes at the start of a file from which its format is found."""

MAX_LINE = 2**23
"""Most characters in a line; the rest of a longer one is dropped."""

MAX_DOCUMENT = 2**25
"""Most bytes of a JSON document, which has to be parsed as a whole."""

UNCOUNTED = 2**60
"""The size of a packed file that unpacks to more than a document may have."""

FORMS = "the log of a training: CSV, JSON, TensorBoard's events, or printed lines such as `d_loss: 0.7 g_loss: 1.2`"

TERMINAL = re.compile(r"\x1b(?:\[[\d;?]*[ -/]*[@-~]|\][^\x07]*\x07)")
"""Colours of a terminal, and what else it obeys."""

_KANA, _HAN = re.compile("[\u3041-\u30fe]"), re.compile("[\u4e00-\u9fff]")
_CHUNK = 2**20
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
        size: its size in bytes, unpacked, when it was opened: what is appended later is not read.
    """

    path: Path
    columns: Mapping[str, str] = field(default_factory=dict)
    start: bytes = b""
    size: int = 0

    @property
    def name(self) -> Path:
        """The path without the suffix of a packed file."""
        return plain_name(self.path)

    @cached_property
    def encoding(self) -> str:
        """From the byte order mark, or the zero bytes of UTF-16 without one; else UTF-8, or Latin-1 of few accents, or
        what a Japanese or Chinese Windows writes."""
        for mark, encoding in _BOMS.items():
            if self.start.startswith(mark):
                return encoding
        pairs = len(self.start) // 2
        for odd, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
            zeros = self.start[odd::2].count(0)
            if pairs > 8 and zeros > 0.8 * pairs and self.start.count(0) < 1.1 * zeros:
                return encoding
        text = codecs.getincrementaldecoder("utf-8")("replace").decode(self.start)
        wrong, right = text.count("\ufffd"), sum(char > "\x7f" and char != "\ufffd" for char in text)
        if right < wrong <= len(text) / 20:
            return "cp1252"
        return (wrong > len(text) / 20 and _east_asian(self.start)) or "utf-8"

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
        with self.open() as file:
            left = self.size
            while left > 0 and (chunk := _read(file, self.path, min(left, _CHUNK))):
                left -= len(chunk)
                yield decoder.decode(chunk).replace("\0", "")
        yield decoder.decode(b"", final=True)

    def beginning(self, size: int = HEAD) -> "Source":
        """The file as if it ended after so many bytes."""
        return replace(self, size=min(self.size, size))

    def open(self) -> BinaryIO:
        """Its bytes, unpacked."""
        return _open(self.path)


def open_source(path: Path, columns: Mapping[str, str] | None = None) -> Source:
    """A file, after a look at its first bytes.

    Raises:
        GanvasError: it is missing, unreadable, empty, damaged, or neither a regular file nor text.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    if not stat.S_ISREG(status.st_mode):
        raise GanvasError(f"{shown(path)} is no regular file.", expected=FORMS, fix="write the log to a file first.")
    with _open(path) as file:
        start = _read(file, path, HEAD)
        packed = not isinstance(file, BufferedReader)
        size = min(len(start) + _count(file, path), UNCOUNTED) if packed else status.st_size
    source = Source(path, columns or {}, start, size or len(start))  # files of /proc have the size 0
    if binary := describe_binary(start, source.name):
        raise GanvasError(f"{shown(path)} {binary[0]}.", expected=FORMS, fix=binary[1])
    if not is_event_file(source):
        _refuse_binary(source)
    return source


def is_event_file(source: Source) -> bool:
    """Whether it begins as TensorBoard's event files do: with a record that names their version."""
    return source.start[4:8] == bytes(4) and b"brain.Event:" in source.start[:64]


def refuse_too_large(source: Source) -> GanvasError:
    """The error for a document that cannot be read in parts."""
    size = f"more than {format_bytes(MAX_DOCUMENT)}" if source.size == UNCOUNTED else format_bytes(source.size)
    return GanvasError(
        f"{shown(source.path)} is one JSON document of {size}.",
        expected=f"at most {format_bytes(MAX_DOCUMENT)}, as it has to be read as a whole",
        fix="write it as lines of JSON, one object each, or as CSV: those are read in parts.",
    )


def _east_asian(start: bytes) -> str:
    """Shift-JIS of a text with kana, or else GB 18030; empty if it is text in neither, such as random bytes."""
    for encoding, marks in (("shift_jis", _KANA), ("gb18030", _HAN)):
        try:
            text = codecs.getincrementaldecoder(encoding)("strict").decode(start)
        except UnicodeDecodeError:
            continue
        foreign = [char for char in text if char > "\x7f"]
        written = all(char.isprintable() or char.isspace() for char in foreign)
        if written and 4 * len(marks.findall(text)) > len(foreign):
            return encoding
    return ""


def _refuse_binary(source: Source) -> None:
    content = source.start.rstrip(b"\0")  # what a crash leaves at the end
    text = content.decode(source.encoding, errors="replace")
    if not text.strip():
        if source.size > len(source.start):
            raise GanvasError(f"{shown(source.path)} begins with zero bytes.", expected=FORMS, fix="copy it again.")
        raise GanvasError(
            f"{shown(source.path)} is empty.", expected=FORMS, fix="wait until the training has written something."
        )
    odd = sum(text.count(char) for char in ("\0", "\ufffd", "\x01", "\x02", "\x03", "\x7f"))
    if "\0" in text[:100] or odd > max(5, len(text) / 100):
        raise GanvasError(f"{shown(source.path)} is not text.", expected=FORMS, fix="name the log of the training.")


def shown(path: Path | str) -> str:
    """A name for a message: what a terminal would obey is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(path))


def _open(path: Path) -> BinaryIO:
    try:
        return open_file(path)
    except OSError as error:
        raise _unreadable(path, error) from error


def _count(file: BinaryIO, path: Path) -> int:
    """How many bytes are left in a packed file; `UNCOUNTED` if very many."""
    count = 0
    while chunk := _read(file, path, _CHUNK):
        count += len(chunk)
        if count > MAX_DOCUMENT:
            return UNCOUNTED
    return count


def _read(file: BinaryIO, path: Path, most: int) -> bytes:
    """At most so many bytes, none at the end, also at that of a packed file that is cut off."""
    try:
        return file.read(most) or b""
    except EOFError:
        return b""
    except UNPACK_ERRORS as error:
        raise GanvasError(
            f"{shown(path)} could not be unpacked ({error}).", expected=FORMS, fix="pack it again."
        ) from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> GanvasError:
    name = shown(path)
    if isinstance(error, FileNotFoundError):
        fix = near_paths(path) or "check the name."
        return GanvasError(f"There is no {name}.", expected="a log or a folder", fix=fix)
    return GanvasError(f"{name} could not be read ({error.strerror}).", expected="a log", fix="check its permissions.")


def _split(text: str) -> list[str]:
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\b", "\n").split("\n")
