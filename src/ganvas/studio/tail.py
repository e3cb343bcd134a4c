"""The complete lines of a growing log, read on from where the last reading ended."""

import json
import math
import os
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from ganvas.reading import MAX_LINE, is_count, open_regular

CHUNK = 2**20
"""Bytes that are read at a time."""

_COMPARED = 64
"""Bytes before the offset that must still be the same."""

MAX_NIMG = 2**62

NOT_FINITE = math.inf
"""In place of a quantity that was NaN, infinite or null."""

_DECODER = json.JSONDecoder(parse_constant=lambda name: NOT_FINITE)


class Tail:
    """A place in a file that others append to.

    Args:
        checksum: that of the same place before, if it is known: the file is another one where it differs.

    Attributes:
        offset: bytes up to the end of the last complete line that was read.
        replaced: whether the last reading began anew, as the file was another one or had become shorter.
    """

    def __init__(self, path: Path, offset: int = 0, checksum: int | None = None) -> None:
        self.path, self.offset, self.replaced, self._checksum = path, offset, False, checksum
        self._inode: int | None = None
        self._before: bytes | None = None

    @property
    def checksum(self) -> int:
        """Of the bytes before the offset; 0 where there are none."""
        if self._before is None:
            with suppress(OSError), open_regular(self.path) as file:
                return zlib.crc32(self._read_before(file))
        return zlib.crc32(self._before or b"")

    def behind(self) -> int:
        """Bytes from the offset to the end of the file."""
        with suppress(OSError):
            return os.stat(self.path).st_size - self.offset
        return 0

    def read(self) -> Iterator[tuple[bytes | None, int]]:
        """(line, offset after it) of each complete line that is new; None for one of more than MAX_LINE bytes.

        Raises:
            OSError: the file cannot be read; a missing one is empty.
        """
        self.replaced = False
        try:
            file = open_regular(self.path)
        except FileNotFoundError:
            self.replaced = self._inode is not None or self.offset > 0
            self.offset, self._inode, self._before, self._checksum = 0, None, None, None
            return
        with file:
            status = os.fstat(file.fileno())
            if self._is_another(file, status):
                self.replaced, self.offset = True, 0
            self._inode = status.st_ino
            file.seek(self.offset)
            held, skipping = b"", False
            try:
                while chunk := file.read(CHUNK):
                    *lines, held = (held + chunk).split(b"\n")
                    for line in lines:
                        self.offset += len(line) + 1
                        whole = not skipping and len(line) < MAX_LINE
                        skipping = False
                        yield line if whole else None, self.offset
                    if len(held) > MAX_LINE:
                        self.offset, held, skipping = self.offset + len(held), b"", True
            finally:  # also where no more lines are asked for
                self._remember(file)

    def _is_another(self, file: Any, status: os.stat_result) -> bool:
        """Whether what lies before the offset is no longer what was read."""
        if status.st_size < self.offset or self._inode not in (None, status.st_ino):
            return True
        if self._before is None:
            return self._checksum is not None and self._checksum != zlib.crc32(self._read_before(file))
        return self._before != self._read_before(file)

    def _remember(self, file: Any) -> None:
        self._before = self._read_before(file)

    def _read_before(self, file: Any) -> bytes:
        file.seek(max(0, self.offset - _COMPARED))
        return file.read(min(self.offset, _COMPARED))


def end_of_lines(path: Path) -> int:
    """Bytes of a file up to the end of its last complete line; 0 if it cannot be read."""
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            begin = max(0, size - MAX_LINE)
            file.seek(begin)
            return begin + file.read(size - begin).rfind(b"\n") + 1
    except OSError:
        return 0


def sample_lines(path: Path, count: int) -> Iterator[bytes]:
    """At most so many complete lines of a log, evenly spread over its bytes, in their order.

    Raises:
        OSError: the file cannot be read.
    """
    with open_regular(path) as file:
        end = os.fstat(file.fileno()).st_size
        for place in range(count):
            begin = end * place // count
            if begin < file.tell():
                continue  # the line before is longer than the distance
            file.seek(begin)
            if begin:
                file.readline(MAX_LINE)
            line = file.readline(MAX_LINE)
            if line.endswith(b"\n"):
                yield line[:-1]


def parse_stats(line: bytes | None) -> tuple[int, dict[str, float], dict[str, float]]:
    """(images shown, {quantity: mean}, {quantity: deviation}) of a line of stats.jsonl; NOT_FINITE for no number.

    The names are those of a diagnosis: a {num, mean, std} has one, and signals have their own.

    Raises:
        ValueError: the line is damaged.
    """
    try:
        value = _DECODER.decode((line or b"").decode())
        if not isinstance(value, dict) or not is_count(nimg := value.pop("nimg", None)) or nimg > MAX_NIMG:
            raise ValueError("no line of stats.jsonl")
        mean: dict[str, float] = {}
        deviation: dict[str, float] = {}
        _flatten(value, mean, deviation)
        return nimg, mean, deviation
    except (RecursionError, OverflowError) as error:
        raise ValueError(str(error)) from None


def _flatten(line: dict[str, Any], mean: dict[str, float], deviation: dict[str, float]) -> None:
    for name, value in line.items():
        kind = type(value)  # there are half a million values in a long log
        if kind is float:
            mean[name] = value
        elif kind is dict:
            middle, spread = value.get("mean", _flatten), value.get("std", 0.0)
            if type(middle) is type(spread) is float:
                mean[name], deviation[name] = middle, spread
            elif middle is _flatten:
                _flatten(value, mean, deviation)
            else:
                mean[name], deviation[name] = _number(middle), _number(spread)
        elif kind is int or value is None:
            mean[name] = _number(value)


def _number(value: Any) -> float:
    return float(value) if type(value) in (float, int) else NOT_FINITE
