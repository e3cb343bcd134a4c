"""stats.jsonl of a run as columns, kept and read on; curves of them, in buckets that keep each peak."""

import math
import threading
from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ganvas.runs.curves import PANELS
from ganvas.studio.answers import Refusal, answer, count, parameter
from ganvas.studio.tail import NOT_FINITE, Tail, parse_stats, sample_lines
from ganvas.studio.worker import while_connected

if TYPE_CHECKING:
    from ganvas.studio.app import Studio

POINTS = 600
"""Points of a curve, unless another number is asked for."""

MAX_POINTS = 5000
"""Most points of a curve in one answer."""

MAX_NAMES = 400
"""Most quantities of a run; others are not kept."""

MAX_KEPT = 8 * 2**20
"""Bytes of columns that are kept; those of the run that was looked at last are kept in any case."""

LONG = 2**19
"""Bytes of a log from which on a first look at its curves takes SAMPLED of its lines."""

SAMPLED = 400

BLOCK = 512
"""Lines that are turned into columns at a time."""

_MISSING = math.nan
"""In a column where a line has no such quantity; one that was no finite number is a gap in the curve."""

_KEYS = {
    "Losses": "losses", "Quality: kernel distance × 1000, lower is better": "quality",
    "D's mean output (logit)": "outputs", "Gradient norms": "gradients", 
    "Squared gradient norm of D, |∇D|²": "penalties",
    "One-centred gradient penalty of D, (|∇D| - 1)²": "centred_penalties", "Updates a tick": "updates",
    "Augmentation, growth": "augmentation", "Learning rates": "rates", "Speed (kimg/s)": "speed",
}  # fmt: skip

_MORE = {
    "D's separation of real and fake (AUC)": ("separation", {"D/auc": "training images", "D/held_auc": "held out"}),
    "Diversity of the images": ("diversity", {"diversity": "generated", "coverage": "coverage"}),
    "Skipped updates a tick": ("skipped", {"D/skipped": "D", "G/skipped": "G"}),
    "Memory (MB)": ("memory", {"memory": "memory"}),
}
"""Panels that only the studio has: title -> (key, {quantity: label})."""


class Columns:
    """The quantities of a run through time.

    Attributes:
        nimg: images shown, ascending; of lines that a resumed training wrote again the later ones count.
        mean: {quantity: a number for each line}.
        deviation: {quantity: a number for each line}, of those that have one.
        damaged: lines that could not be read.
    """

    def __init__(self, path: Path, tail: Tail | None = None) -> None:
        self.tail = tail or Tail(path)
        self.lock = threading.Lock()
        self._clear()

    def _clear(self) -> None:
        self.nimg, self.damaged = array("q"), 0
        self.mean: dict[str, array[float]] = {}
        self.deviation: dict[str, array[float]] = {}

    @property
    def size(self) -> int:
        """Bytes that it takes in memory."""
        return 4 * len(self.nimg) * (2 + len(self.mean) + len(self.deviation))

    def read_on(self, stop: threading.Event | None = None) -> None:
        """Reads the lines that are new; of another file than before, all of them. The next reading goes on from a stop.

        Raises:
            OSError: the file cannot be read.
        """
        anew = False
        block: list[tuple[dict[str, float], dict[str, float]]] = []
        for line, _ in self.tail.read():
            if self.tail.replaced and not anew:
                self._clear()
                anew = True
            self._add(line, block)
            if stop is not None and stop.is_set():
                break
        self._append(block)
        if self.tail.replaced and not anew:
            self._clear()

    @classmethod
    def sampled(cls, path: Path, count: int) -> "Columns":
        """The columns of so many of the lines, evenly spread over the log: a first look at a long one.

        Raises:
            OSError: the file cannot be read.
        """
        columns = cls(path)
        block: list[tuple[dict[str, float], dict[str, float]]] = []
        for line in sample_lines(path, count):
            columns._add(line, block)
        columns._append(block)
        return columns

    def _add(self, line: bytes | None, block: list[tuple[dict[str, float], dict[str, float]]]) -> None:
        """Adds a line to the block, and a full block to the columns."""
        try:
            nimg, mean, deviation = parse_stats(line)
        except ValueError:
            self.damaged += bool(line is None or line.strip())
            return
        if self.nimg and nimg <= self.nimg[-1]:
            self._append(block)
            self._drop_from(nimg)
        self.nimg.append(nimg)
        block.append((mean, deviation))
        if len(block) == BLOCK:
            self._append(block)

    def _append(self, block: list[tuple[dict[str, float], dict[str, float]]]) -> None:
        """Appends the quantities of the last lines, and empties the block."""
        n = len(self.nimg) - len(block)
        _extend(self.mean, [mean for mean, _ in block], n, _MISSING)
        _extend(self.deviation, [deviation for _, deviation in block], n, 0.0)
        block.clear()

    def _drop_from(self, nimg: int) -> None:
        kept = bisect_left(self.nimg, nimg)
        for values in (self.nimg, *self.mean.values(), *self.deviation.values()):
            del values[kept:]

    def curves(self, names: Sequence[str], first: int, last: int | None, points: int) -> dict[str, Any]:
        """The curves of some quantities between two numbers of images shown.

        Up to `points` lines are given as they are, with the mean less and plus the deviation. Of more, each point is a
        bucket of neighbouring lines: the mean of the means, the least low and the greatest high.
        """
        begin = bisect_left(self.nimg, first)
        end = len(self.nimg) if last is None else bisect_right(self.nimg, last)
        n = max(0, end - begin)
        edges = [begin + n * i // points for i in range(points + 1)] if n > points else list(range(begin, end + 1))
        return self._between(names, edges) | {"bucketed": n > points}

    def part(self, begin: int, end: int) -> dict[str, Any]:
        """All quantities of some lines, as `curves` gives them."""
        return self._between(list(self.mean), range(begin, end + 1))

    def _between(self, names: Sequence[str], edges: Sequence[int]) -> dict[str, Any]:
        return {
            "nimg": [self.nimg[(a + b) // 2] for a, b in pairwise(edges)],
            "series": {name: self._series(name, edges) for name in names if name in self.mean},
        }

    def _series(self, name: str, edges: Sequence[int]) -> dict[str, list[float | None]]:
        mean: list[float | None] = []
        low: list[float | None] = []
        high: list[float | None] = []
        deviations = self.deviation.get(name)
        for a, b in pairwise(edges):
            values = self.mean[name][a:b]
            known = [i for i, value in enumerate(values) if math.isfinite(value)]
            whole = known and NOT_FINITE not in values
            spread = deviations[a:b] if deviations else None
            mean.append(_round(sum(values[i] for i in known) / len(known)) if whole else None)
            low.append(_round(min(values[i] - (spread[i] if spread else 0) for i in known)) if known else None)
            high.append(_round(max(values[i] + (spread[i] if spread else 0) for i in known)) if known else None)
        return {"mean": mean, "low": low, "high": high}

    def panels(self) -> list[dict[str, Any]]:
        """The panels of which the run has a quantity: the key and the text of the title, labels, the kind of scale."""
        every = {title: (_KEYS.get(title, ""), labels) for title, labels in PANELS.items()} | _MORE
        return [
            {"title_key": key, "title": title, "names": own, "log": "|∇D|" in title}
            for title, (key, labels) in every.items()
            if (own := {name: label for name, label in labels.items() if name in self.mean})
            and (key != "skipped" or any(any(self.mean[name]) for name in own))
            and (key != "updates" or len(own) < 2 or len({tuple(self.mean[name]) for name in own}) > 1)
        ]


def _extend(columns: "dict[str, array[float]]", rows: list[dict[str, float]], n: int, missing: float) -> None:
    """Appends rows to columns of n values; neighbouring rows with the same names are turned together."""
    for names, group in groupby(rows, key=tuple):
        alike = list(group)
        for name, values in zip(names, zip(*(row.values() for row in alike), strict=True), strict=True):
            if name not in columns and len(columns) < MAX_NAMES:
                columns[name] = array("f", [missing]) * n
            if name in columns:
                columns[name].extend(values)
        for name in columns.keys() - set(names):
            columns[name].extend([missing] * len(alike))
        n += len(alike)


def _round(value: float) -> float | None:
    return float(f"{value:.7g}") if math.isfinite(value) else None


def _unreadable(run: Path, error: OSError) -> Refusal:
    return Refusal(404, f"stats.jsonl of {run.name} cannot be read: {error.strerror or error}.")


class Curves:
    """The columns of the runs that were looked at last. Its methods wait for the disk: they are called in threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Path, Columns] = OrderedDict()
        self._lock = threading.Lock()

    def look(self, run: Path, points: int) -> dict[str, Any]:
        """The panels' curves of a run: of a long log that is not read yet those of some of its lines, "sampled".

        Raises:
            Refusal: stats.jsonl cannot be read.
        """
        tail = Tail(run / "stats.jsonl")
        if run in self._kept or tail.behind() < LONG:
            return self.read(run, (), 0, None, points)
        try:
            columns = Columns.sampled(tail.path, SAMPLED)
        except OSError as error:
            raise _unreadable(run, error) from None
        return self._answer(columns, (), 0, None, points) | {"sampled": True}

    def read(
        self,
        run: Path,
        names: Sequence[str],
        first: int,
        last: int | None,
        points: int,
        gone: threading.Event | None = None,
    ) -> dict[str, Any]:
        """What /api/run/curves answers.

        Args:
            gone: is set when the page that asked has gone: the lines that are read until then are kept.

        Raises:
            Refusal: stats.jsonl cannot be read.
        """
        with self._lock:
            columns = self._kept.setdefault(run, Columns(run / "stats.jsonl"))
            self._kept.move_to_end(run)
        with columns.lock:
            try:
                columns.read_on(gone)
            except OSError as error:
                raise _unreadable(run, error) from None
            found = self._answer(columns, names, first, last, points)
        self._forget()
        return found

    @staticmethod
    def _answer(columns: Columns, names: Sequence[str], first: int, last: int | None, points: int) -> dict[str, Any]:
        panels = columns.panels()
        shown = names or [name for panel in panels for name in panel["names"]]
        found = columns.curves(shown, first, last, points)
        more = {"total_lines": len(columns.nimg), "damaged": columns.damaged, "names": sorted(columns.mean)}
        return found | more | {"panels": panels}

    def progress(self, run: Path) -> dict[str, int]:
        """The bytes of stats.jsonl that were read so far, and all of them."""
        with self._lock:
            columns = self._kept.get(run)
        tail = columns.tail if columns else Tail(run / "stats.jsonl")
        done = tail.offset
        return {"done": done, "total": done + max(0, tail.behind())}

    def _forget(self) -> None:
        with self._lock:
            while len(self._kept) > 1 and sum(one.size for one in self._kept.values()) > MAX_KEPT:
                self._kept.popitem(last=False)


def routes(studio: "Studio") -> list[Route]:
    """/api/run/curves, a first look at them, and how far the reading of a long log is."""

    async def show(request: Request) -> Response:
        key, names = parameter(request, "run"), parameter(request, "names", "")
        first, last = count(request, "from", 0) or 0, count(request, "to", None)
        points = count(request, "points", POINTS, MAX_POINTS) or POINTS
        chosen = [name for name in names.split(",") if name][:MAX_NAMES]
        gone = threading.Event()
        work = run_in_threadpool(lambda: studio.curves.read(studio.runs.find(key), chosen, first, last, points, gone))
        try:
            return answer(await while_connected(request, work))
        finally:
            gone.set()

    async def look(request: Request) -> Response:
        key, points = parameter(request, "run"), count(request, "points", POINTS, MAX_POINTS) or POINTS
        return answer(await run_in_threadpool(lambda: studio.curves.look(studio.runs.find(key), points)))

    async def follow(request: Request) -> Response:
        key = parameter(request, "run")
        return answer(await run_in_threadpool(lambda: studio.curves.progress(studio.runs.find(key))))

    return [
        Route("/api/run/curves", show),
        Route("/api/run/curves/look", look),
        Route("/api/run/curves/progress", follow),
    ]
