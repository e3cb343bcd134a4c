"""The logs of a run, written line by line: stats.jsonl, events.jsonl, log.txt."""

import json
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ganvas.files import atomic_file, explain_os_error

_TAIL_BYTES = 1 << 16
"""Bytes read from the end of stats.jsonl, enough for a whole line."""


def append_json(path: Path, line: Mapping[str, Any]) -> None:
    """Appends one JSON line.

    Raises:
        GanvasError: the disk is full or the file cannot be written.
    """
    append_text(path, json.dumps(line, allow_nan=False) + "\n")


def append_text(path: Path, text: str) -> None:
    """Appends text in one write.

    Raises:
        GanvasError: the disk is full or the file cannot be written.
    """
    try:
        with path.open("ab") as file:
            file.write(text.encode())
    except OSError as error:
        raise explain_os_error(error, path) from error


def append_event(run: Path, kind: str, nimg: int, **evidence: Any) -> None:
    """Appends a line to events.jsonl: a resume, a stop, a decision, with its evidence."""
    append_json(run / "events.jsonl", {"time": round(time.time(), 3), "nimg": nimg, "event": kind, **evidence})


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a file, one a line; lines that are no JSON objects are skipped, a missing file is empty."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            value = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(value, dict):
            yield value


def current_nimg(run: Path) -> int:
    """Images shown to D so far, from the last complete line of stats.jsonl; 0 if there is none."""
    try:
        with (run / "stats.jsonl").open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - _TAIL_BYTES))
            lines = file.read().splitlines()
    except OSError:
        return 0
    for line in reversed(lines):
        try:
            return int(json.loads(line)["nimg"])
        except (ValueError, TypeError, KeyError):  # incomplete: the line is being written
            continue
    return 0


def drop_lines_after(path: Path, nimg: float = math.inf) -> None:
    """Drops the lines that a resumed run will write again (those after `nimg`) and a torn last line."""
    if path.exists():
        kept = [line for line in read_jsonl(path) if line.get("nimg", 0) <= nimg]
        with atomic_file(path) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
