"""The logs of a run, written line by line: stats.jsonl, events.jsonl, log.txt."""

import json
import math
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ganvas import files
from ganvas.errors import GanvasError
from ganvas.files import atomic_file, explain_os_error
from ganvas.reading import (
    Fields,
    check_fields,
    describe_reason,
    is_count,
    is_number,
    is_text,
    is_texts,
    open_regular,
    parse_json,
    read_lines,
)

TAIL_BYTES = 2**18
"""Bytes at the end of a file, in which the last line is found without reading all of it."""


def append_json(path: Path, line: Mapping[str, Any]) -> None:
    """Appends one JSON line.

    Raises:
        GanvasError: the disk is full or the file cannot be written.
    """
    append_text(path, json.dumps(line, allow_nan=False) + "\n")


def append_text(path: Path, text: str) -> None:
    """Appends text in one write.

    Raises:
        GanvasError: the disk is full, the file cannot be written, or is not a regular one.
    """
    files.check_regular(path)  # a pipe would wait for its reader
    try:
        with path.open("ab") as file:
            file.write(text.encode(errors="backslashreplace"))
    except OSError as error:
        raise explain_os_error(error, path) from error


def append_event(run: Path, kind: str, nimg: int, **evidence: Any) -> None:
    """Appends a line to events.jsonl: a resume, a stop, a decision, with its evidence."""
    append_json(run / "events.jsonl", {"time": round(time.time(), 3), "nimg": nimg, "event": kind, **evidence})


class LogLines(list[dict[str, Any]]):
    """The readable lines of a log.

    Attributes:
        damaged: how many others there are, apart from a last line that was cut off.
    """

    damaged = 0

    def describe_damage(self, path: Path) -> str:
        """How many lines were skipped, for the user; empty where none was."""
        count = f"{self.damaged:,} damaged {'line' if self.damaged == 1 else 'lines'}"
        return f"{count} of {path} {'is' if self.damaged == 1 else 'are'} skipped." if self.damaged else ""


def read_jsonl(path: Path) -> LogLines:
    """The JSON objects of a file, one a line; lines that are none are skipped and counted, a missing file is empty.

    Raises:
        GanvasError: the file cannot be read.
    """
    return _read_log(path, {})


def read_stats(run: Path) -> LogLines:
    """The lines of stats.jsonl: each has a number `nimg`, and quantities that are numbers or {num, mean, std}.

    Raises:
        GanvasError: the file cannot be read.
    """
    return _read_log(run / "stats.jsonl", *_FORMS["stats.jsonl"])


def read_events(run: Path) -> LogLines:
    """The lines of events.jsonl: each has `nimg` and `event`, and one of numbers that are not finite their names.

    Raises:
        GanvasError: the file cannot be read.
    """
    return _read_log(run / "events.jsonl", *_FORMS["events.jsonl"])


class GrowingLog:
    """Reads stats.jsonl, events.jsonl or metrics.jsonl of a run while it is written."""

    def __init__(self, path: Path) -> None:
        self._path, self._at = path, 0

    def read(self) -> list[dict[str, Any]]:
        """The readable lines that were completed since the last call; at first all of them.

        Raises:
            OSError: the file is there and cannot be read.
        """
        if not os.path.lexists(self._path):
            return []
        found = []
        with open_regular(self._path) as file:
            if os.fstat(file.fileno()).st_size < self._at:  # somebody has shortened it
                self._at = 0
            file.seek(self._at)
            while (line := file.readline()).endswith(b"\n"):
                self._at += len(line)
                with suppress(ValueError):
                    found.append(_parse(line, *_FORMS.get(self._path.name, ({}, lambda value: None))))
        return found


READERS = {"stats.jsonl": read_stats, "events.jsonl": read_events}
"""The logs of a run, and what reads each, given the run's folder."""


def _read_log(path: Path, fields: Fields, check: Callable[[dict[str, Any]], object] = lambda line: None) -> LogLines:
    found = LogLines()
    if not os.path.lexists(path):
        return found
    try:
        for line in read_lines(path):
            torn = line is not None and not line.endswith(b"\n")
            if line is None or line.strip():
                try:
                    found.append(_parse(line, fields, check))
                except ValueError:
                    found.damaged += not torn
    except OSError as error:
        raise GanvasError(
            f"{path} cannot be read ({describe_reason(error)}).",
            expected="a log as ganvas train writes it",
            fix="remove it; the snapshots of the run can be used without it.",
        ) from error
    return found


def _parse(line: bytes | None, fields: Fields, check: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """The object of a line; ValueError if it is damaged."""
    value = parse_json(line or b"")
    check_fields(value, fields)
    check(value)
    return value


def _check_quantities(line: Mapping[str, Any]) -> None:
    for name, value in line.items():
        if isinstance(value, dict) and _MOMENTS.keys() & value.keys():
            check_fields(value, _MOMENTS)
        elif isinstance(value, dict):
            _check_quantities(value)
        elif value is not None and not isinstance(value, int | float):
            raise ValueError(f"{name} is no number")


def _check_event(line: Mapping[str, Any]) -> None:
    if line["event"] == "non-finite":
        check_fields(line, {"quantities": is_texts})


_MOMENTS: Fields = {"num": is_number, "mean": is_number, "std": is_number}

_FORMS: dict[str, tuple[Fields, Callable[[dict[str, Any]], object]]] = {
    "stats.jsonl": ({"nimg": is_count}, _check_quantities),
    "events.jsonl": ({"nimg": is_number, "event": is_text}, _check_event),
}
"""What a line of each log has."""


def read_last(path: Path) -> dict[str, Any]:
    """The last JSON object of a file whose lines are at most TAIL_BYTES long; empty if there is none.

    Raises:
        OSError: the file cannot be read.
    """
    if not os.path.lexists(path):
        return {}
    with open_regular(path) as file:
        size = path.stat().st_size
        for tail in (TAIL_BYTES // 16, TAIL_BYTES):  # most lines are short
            begin = max(0, size - tail)
            file.seek(begin)
            lines = file.read(tail).splitlines()
            for line in reversed(lines[1:] if begin else lines):
                with suppress(ValueError):
                    return _parse(line, {}, lambda line: None)
    return {}


def current_nimg(run: Path) -> int:
    """Images shown to D so far, from the last complete line of stats.jsonl; 0 if there is none."""
    try:
        nimg = read_last(run / "stats.jsonl").get("nimg", 0)
    except OSError:
        return 0
    return nimg if is_count(nimg) else 0


def drop_lines_after(path: Path, nimg: float = math.inf) -> str:
    """Drops the lines that a resumed run will write again (those after `nimg`), damaged ones, and a torn last line.

    Args:
        path: stats.jsonl or events.jsonl of a run.
        nimg: images shown so far.

    Returns:
        How many were damaged, in words; empty where none was.

    Raises:
        GanvasError: the file cannot be read or written.
    """
    lines = READERS[path.name](path.parent)
    if path.exists():
        with atomic_file(path) as temporary:
            kept = (json.dumps(line) + "\n" for line in lines if line["nimg"] <= nimg)
            temporary.write_text("".join(kept), encoding="utf-8")
    return lines.describe_damage(path)
