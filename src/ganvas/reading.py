"""Reading of files that may be damaged, endless, or no files at all: kind and size are checked before the content."""

import json
import math
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TypeGuard

from ganvas.errors import describe_value

MAX_DOCUMENT = 2**24
"""Most bytes of a JSON document of ours."""

MAX_LINE = 2**20
"""Most bytes of a line of ours; a longer one is damaged."""

MAX_DIGITS = 19
"""Most digits of a whole number: those of 2^63."""

_KINDS = {
    stat.S_ISDIR: "a folder", stat.S_ISFIFO: "a pipe", stat.S_ISSOCK: "a socket", stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
}  # fmt: skip


_MAX_NEAR = 3
_MAX_ENTRIES = 10_000  # of a folder that are compared


def near_paths(path: Path) -> str:
    """A fix for a path that does not exist: those of which the missing part is near to it by name; empty if none is."""
    if path.exists():
        return ""
    missing = path
    while not missing.parent.is_dir() and missing.parent != missing:
        missing = missing.parent
    rest = path.relative_to(missing) if path != missing else Path()
    try:
        with os.scandir(missing.parent) as entries:
            names = [entry.name for entry in islice(entries, _MAX_ENTRIES) if not entry.name.startswith(".")]
    except (OSError, ValueError):
        return ""
    near = [missing.parent / name for name in get_close_matches(missing.name, names, _MAX_NEAR, 0.6)]
    found = [str(one / rest) if (one / rest).exists() else str(one) for one in near]
    return f"did you mean {' or '.join(found)}?" if found else ""


class NoRegularFile(OSError):
    """A path names a folder, a pipe, a socket or a device; `strerror` says which."""


def check_regular(path: Path | str) -> os.stat_result:
    """The status of a regular file; nothing is opened, so that nothing waits for a pipe.

    Raises:
        OSError: it is missing, or no regular file, or its name is impossible.
    """
    try:
        status = os.stat(path)
    except ValueError as error:  # a zero byte, or a character that no file name has
        raise NoRegularFile(0, "no file can have this name", str(path)) from error
    if not stat.S_ISREG(status.st_mode):
        kind = next((words for is_kind, words in _KINDS.items() if is_kind(status.st_mode)), "something else")
        raise NoRegularFile(0, f"it is {kind}, not a regular file", str(path))
    return status


def open_regular(path: Path | str) -> BinaryIO:
    """Opens a regular file to read its bytes.

    Raises:
        OSError: as `check_regular`, or it cannot be opened.
    """
    check_regular(path)
    return open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0)))


def read_bytes(path: Path | str, most: int) -> bytes:
    """The content of a regular file.

    Raises:
        OSError: as `open_regular`.
        ValueError: it has more than `most` bytes.
    """
    with open_regular(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it has more than {most / 1e6:.3g} MB")
    return content


def read_json(path: Path | str, most: int = MAX_DOCUMENT) -> Any:
    """The value of a JSON document.

    Raises:
        OSError: as `open_regular`.
        ValueError: it is no JSON (see `parse_json`), or larger than `most` bytes.
    """
    return parse_json(read_bytes(path, most))


def read_lines(path: Path | str, most: int = MAX_LINE) -> Iterator[bytes | None]:
    """The lines of a regular file; None for one of more than `most` bytes.

    Raises:
        OSError: as `open_regular`.
    """
    with open_regular(path) as file:
        while line := file.readline(most + 1):
            whole, end = len(line) <= most, line
            while not end.endswith(b"\n") and (end := file.readline(most)):
                whole = False
            yield line if whole else None


def parse_json(text: str | bytes, *, finite: bool = True) -> Any:
    """The value of a JSON text, without what no program of ours writes.

    Args:
        text: of one value.
        finite: refuse NaN and infinite numbers too, which other programs write.

    Raises:
        ValueError: it is no JSON, nested too deeply, or has a number of very many digits in it.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8-sig")
    number = _finite if finite else float
    try:
        return json.loads(text, parse_float=number, parse_int=_whole, parse_constant=number)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON from line {error.lineno}, column {error.colno} on") from None


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is no finite number")
    return number


def _whole(text: str) -> int:
    if len(text.lstrip("-")) > MAX_DIGITS:
        raise ValueError(f"a whole number of {len(text):,} digits")
    return int(text)


Fields = Mapping[str, Callable[[Any], bool]]
"""Name -> whether a value is right."""


def check_fields(value: Any, fields: Fields, where: str = "it") -> None:
    """Checks an object that was read from JSON.

    Raises:
        ValueError: it is no object, a field is missing, or has another type; the message names the field.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{where} is {describe_value(value)}, not an object")
    for name, is_right in fields.items():
        if name not in value:
            raise ValueError(f"{where} has no '{name}'")
        if not is_right(value[name]):
            raise ValueError(f"'{name}' is {describe_value(value[name])}")


def is_text(value: Any) -> TypeGuard[str]:
    return isinstance(value, str)


def is_object(value: Any) -> bool:
    return isinstance(value, dict)


def is_number(value: Any) -> TypeGuard[float]:
    """Whether it is a number, finite, and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_count(value: Any) -> TypeGuard[int]:
    """Whether it is a whole number from 0 on."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(is_text, value))


def describe_reason(error: Exception) -> str:
    """Why a file could not be read, in a few words, for a message."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, KeyError):
        return f"it has no {error}"
    if isinstance(error, UnicodeError):
        return "it is not text in UTF-8"
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
