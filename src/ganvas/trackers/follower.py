"""Follows the files of a run and gives what is new in them to a tracker: numbers, grids, notes, evaluations.

The same for a run that is being trained and for a finished one: the record has what is logged, the rest is new.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

from ganvas.reading import is_number
from ganvas.runs.card import read_card
from ganvas.runs.folder import Run
from ganvas.runs.log import GrowingLog
from ganvas.runs.names import numbered
from ganvas.trackers.notes import collect_facts, describe_event, final_state, read_evaluation
from ganvas.trackers.record import Record, write_record
from ganvas.trackers.tracker import Opened, Tracker


class Follower:
    """Logs a run to one tracker.

    Args:
        record: how far it is logged already; kept up to date here and in the run's folder.
        began_at: images shown at the beginning of the session; the log may have more lines by now. By default those of
            the last line.
    """

    def __init__(self, run: Run, tracker: Tracker, record: Record, began_at: int | None = None) -> None:
        self._run, self._tracker, self.record, self._began_at = run, tracker, record, began_at
        self._stats, self._metrics = GrowingLog(run.path / "stats.jsonl"), GrowingLog(run.path / "metrics.jsonl")
        self._lines: list[dict[str, Any]] = []  # of stats.jsonl, not yet looked at
        self._nimg: list[int] = []  # of every line, and the seconds of training until then
        self._seconds: list[float] = []
        self._began = 0.0  # when training would have begun without pauses, in seconds since 1970
        self._event_log = GrowingLog(run.path / "events.jsonl")
        self._events: list[dict[str, Any]] = []
        self._rows = 0  # of metrics.jsonl
        self._drawn: dict[Path, float] = {}  # grid -> when it was written
        self._repeat_after = float("inf")  # notes from then on are logged again

    def open(self) -> Opened:
        """Begins the tracker's run, or continues it; lines that are no longer in the log are taken back or kept."""
        self._read_stats()
        record, last = self.record, self._began_at
        if last is None:
            last = self._nimg[-1] if self._nimg else -1
        if record.id and last < record.nimg and self._tracker.rewinds:
            self._repeat_after = record.nimg = last
            record.grid = min(record.grid, last)
        opened = Opened(*self._tracker.open(collect_facts(self._run), record.id or None, record.nimg))
        record.id, record.where, record.look = opened
        write_record(self._run.path, record)
        return opened

    def catch_up(self, *, last: bool = False) -> None:
        """Logs what was written since the last call.

        Args:
            last: the run writes nothing more.
        """
        before = replace(self.record)
        self._read_stats()
        items = [(line["nimg"], partial(self._log_line, line)) for line in self._lines]
        self._lines = []
        items += [(nimg, partial(self._log_grid, nimg, file)) for nimg, file in self._find_grids(last=last)]
        for _, log in sorted(items, key=itemgetter(0)):
            log()
        self._log_notes()
        self._log_evaluations()
        if self.record != before:
            self._tracker.save()
            write_record(self._run.path, self.record)

    def close(self) -> None:
        """Logs the rest, and ends the session."""
        self.catch_up(last=True)
        self._tracker.close(final_state(self._events))

    def _read_stats(self) -> None:
        new = self._stats.read()
        for line in new:
            self._nimg.append(line["nimg"])
            self._seconds.append(line["seconds"] if is_number(line.get("seconds")) else 0.0)
        if new:
            self._began = (self._run.path / "stats.jsonl").stat().st_mtime - self._seconds[-1]
        self._lines += new

    def _time(self, nimg: int) -> float:
        """When so many images had been shown, in seconds since 1970; pauses between sessions are left out."""
        at = bisect_right(self._nimg, nimg)
        return self._began + (self._seconds[at - 1] if at else 0.0)

    def _log_line(self, line: Mapping[str, Any]) -> None:
        if line["nimg"] > self.record.nimg:
            self._tracker.log_numbers(line["nimg"], dict(_numbers(line)), self._time(line["nimg"]))
            self.record.nimg = line["nimg"]

    def _find_grids(self, *, last: bool) -> Iterator[tuple[int, Path]]:
        """The grids that are new or drawn anew, with the images shown until then; -1 for that of training images."""
        reals = self._run.path / "reals.png"
        if not self.record.reals and reals.is_file():
            yield -1, reals
        for file in self._run.grids:
            written = file.stat().st_mtime
            if self._drawn.get(file) != written and (nimg := self._shown_until(file, written, last=last)) is not None:
                self._drawn[file] = written
                yield nimg, file

    def _shown_until(self, file: Path, written: float, *, last: bool) -> int | None:
        """The images shown until a grid was drawn; None if it is being drawn anew.

        The snapshot of the same name is written just before the grid. Runs of earlier versions are named by whole kimg:
        their snapshot has the images, and where it is removed, the first line of stats.jsonl in that kimg.
        """
        [(nimg, _)] = numbered([file])
        snapshot = self._run.path / "snapshots" / file.stem.removeprefix("fakes")
        if (snapshot / "card.json").exists():
            return read_card(snapshot)["nimg"] if last or (snapshot / "card.json").stat().st_mtime <= written else None
        if nimg == 0 or nimg % 1000:
            return nimg
        at = bisect_left(self._nimg, nimg)
        return self._nimg[at] if at < len(self._nimg) and self._nimg[at] // 1000 == nimg // 1000 else nimg

    def _log_grid(self, nimg: int, file: Path) -> None:
        if nimg < 0:
            self._tracker.log_image(0, "reals", file, self._time(0))
            self.record.reals = True
        elif nimg > self.record.grid:
            self._tracker.log_image(nimg, "fakes", file, self._time(nimg))
            self.record.grid = nimg

    def _log_notes(self) -> None:
        """Logs the events that are new, and those of lines that are logged again."""
        new = self._event_log.read()
        self._events += new
        if not new and self.record.events >= len(self._events):
            return
        numbered = [(i, note) for i, event in enumerate(self._events) if (note := describe_event(event))]
        fresh = [note for i, note in numbered if i >= self.record.events or note.nimg > self._repeat_after]
        if fresh:
            fresh.sort(key=lambda note: note.nimg)
            self._tracker.log_notes(fresh, [note for _, note in numbered])
        self.record.events, self._repeat_after = max(self.record.events, len(self._events)), float("inf")

    def _log_evaluations(self) -> None:
        for row in self._metrics.read():
            self._rows += 1
            if self._rows > self.record.evaluations:
                numbers, table = read_evaluation(row)
                nimg = self._evaluated_at(row)
                self._tracker.log_evaluation(nimg, numbers, table, self._time(nimg))
                self.record.evaluations = self._rows

    def _evaluated_at(self, row: Mapping[str, Any]) -> int:
        """The images shown to the generator that was evaluated, which the name of the subject has rounded."""
        found = re.search(r" at ([\d.e+]+) kimg$", str(row.get("subject", "")))
        try:
            about = round(1000 * float(found[1])) if found else max(self._nimg, default=0)
        except ValueError:
            about = 0
        return min(self._nimg, key=lambda nimg: abs(nimg - about), default=about)


def _numbers(line: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """(name, value) of the numbers of a line of stats.jsonl; of a mean and its deviation only the mean."""
    for name, value in line.items():
        if isinstance(value, Mapping) and "mean" in value:
            yield f"{prefix}{name}", value["mean"]
        elif isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{name}/")
        elif is_number(value):
            yield f"{prefix}{name}", value
