"""The logs of a run, written line by line: stats.jsonl, events.jsonl, log.txt."""

import json
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ganvas.files import atomic_file, explain_os_error

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
        GanvasError: the disk is full or the file cannot be written.
    """
    try:
        with path.open("ab") as file:
            file.write(text.encode(errors="backslashreplace"))
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
        if (value := _parse(line)) is not None:
            yield value


def _parse(line: str) -> dict[str, Any] | None:
    """The JSON object of a line; None if it is something else."""
    try:
        value = json.loads(line)
    except json.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def read_last(path: Path) -> dict[str, Any]:
    """The last JSON object of a file whose lines are at most TAIL_BYTES long; empty if there is none."""
    if not path.exists():
        return {}
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        lines = file.read().decode("utf-8", "replace").splitlines()
    return next(filter(None, map(_parse, reversed(lines))), {})


def current_nimg(run: Path) -> int:
    """Images shown to D so far, from the last complete line of stats.jsonl; 0 if there is none."""
    nimg = read_last(run / "stats.jsonl").get("nimg", 0)
    return nimg if isinstance(nimg, int) else 0


def drop_lines_after(path: Path, nimg: float = math.inf) -> None:
    """Drops the lines that a resumed run will write again (those after `nimg`) and a torn last line."""
    if path.exists():
        kept = [line for line in read_jsonl(path) if line.get("nimg", 0) <= nimg]
        with atomic_file(path) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
