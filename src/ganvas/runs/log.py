"""What happened, measured on the device and written once a tick: stats.jsonl, events.jsonl, log.txt."""

import json
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganvas.files import atomic_file, explain


class Stats:
    """Count, sum and sum of squares of every quantity since the last `take`, kept on the device.

    Nothing here waits for the device except `take` and `first_non_finite`.
    """

    def __init__(self, device: torch.device) -> None:
        self._dtype = torch.float32 if device.type == "mps" else torch.float64
        self._moments: dict[tuple[str, ...], Tensor] = {}  # names -> [names, 3]: n, sum, sum of squares
        self._first_bad: dict[tuple[str, ...], Tensor] = {}  # names -> nimg of the first non-finite value, or inf

    def add(self, values: Mapping[str, Tensor], nimg: int) -> None:
        """Adds quantities, float [n] or [] each, seen in the round that began at `nimg`."""
        alike: dict[int, dict[str, Tensor]] = {}
        for name, value in values.items():
            alike.setdefault(value.numel(), {})[name] = value
        for group in alike.values():
            self._add(group, nimg)

    def _add(self, values: Mapping[str, Tensor], nimg: int) -> None:
        """Quantities of equal length, in one pass."""
        names = tuple(values)
        x = torch.stack([value.reshape(-1) for value in values.values()]).to(self._dtype)
        moments = torch.stack([torch.ones_like(x).sum(1), x.sum(1), x.square().sum(1)], dim=1)
        if names in self._moments:
            self._moments[names] += moments
        else:
            self._moments[names] = moments
        seen = self._first_bad.get(names)
        if seen is None:
            seen = self._first_bad[names] = torch.full_like(moments[:, 1], math.inf)
        seen.masked_fill_(~torch.isfinite(moments[:, 1]) & torch.isinf(seen), nimg)

    def first_non_finite(self) -> tuple[int, list[str]] | None:
        """(nimg of the round, the quantities) where something first was NaN or infinite; None if nothing was."""
        bad = {
            name: nimg
            for names, first in self._first_bad.items()
            for name, nimg in zip(names, first.tolist(), strict=True)
            if math.isfinite(nimg)
        }
        if not bad:
            return None
        earliest = min(bad.values())
        return int(earliest), [name for name, nimg in bad.items() if nimg == earliest]

    def tensors(self) -> list[Tensor]:
        """The sums, to be added over the processes before `take`."""
        return list(self._moments.values())

    def take(self) -> dict[str, dict[str, float]]:
        """{name: {num, mean, std}} since the last call, and a fresh start."""
        sums: dict[str, Tensor] = {}
        for names, moments in self._moments.items():
            for name, own in zip(names, moments.cpu(), strict=True):
                sums[name] = sums[name] + own if name in sums else own
        self._moments.clear()
        taken = {}
        for name, own in sums.items():
            count, total, squares = own.tolist()
            mean = total / count
            variance = max(squares / count - mean * mean, 0.0)
            taken[name] = {"num": int(count), "mean": mean, "std": math.sqrt(variance)}
        return taken


def append(path: Path, line: Mapping[str, Any]) -> None:
    """Appends one JSON line.

    Raises:
        GanvasError: the disk is full or the file cannot be written.
    """
    write_text(path, json.dumps(line, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Appends text in one write.

    Raises:
        GanvasError: the disk is full or the file cannot be written.
    """
    try:
        with path.open("ab") as file:
            file.write(text.encode())
    except OSError as error:
        raise explain(error, path) from error


def event(run: Path, kind: str, nimg: int, **evidence: Any) -> None:
    """One line of events.jsonl: a resume, a stop, a decision, with its evidence."""
    append(run / "events.jsonl", {"time": round(time.time(), 3), "nimg": nimg, "event": kind, **evidence})


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON lines of a file; a last line torn by a killed process is passed over, a missing file is empty."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            value = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(value, dict):
            yield value


def rewind(path: Path, nimg: float = math.inf) -> None:
    """Drops the lines that a resumed run will write again (those after `nimg`) and a torn last line."""
    if path.exists():
        kept = [line for line in read_lines(path) if line.get("nimg", 0) <= nimg]
        with atomic_file(path) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
