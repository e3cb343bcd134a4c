"""Pictures of any kind -> one stream of uint8 [C H W] of one size: a look at all of them, then the decoding.

Memory stays bounded whatever the size of the set: a few chunks are in flight, only counts are collected.
"""

import os
import warnings
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from ganvas.data.decode import Header, decode, header, is_transparent, refit
from ganvas.data.forms import Arrays, Pictures, Unreadable
from ganvas.data.options import LEAST_SIDE, PictureOptions
from ganvas.data.progress import bar
from ganvas.errors import GanvasError

_CHUNK = 32  # pictures per task: enough to hide the cost of handing them over
_LOOKED_AT = 64  # pictures with an alpha channel that are looked at for true transparency
_KEPT_ROWS = 1000  # of a histogram
_OWN_SIZE = range(LEAST_SIDE, 257)  # a common size within this is kept
_GUESSED_SIDE = 64

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass
class Survey:
    """What a look at every header has shown."""

    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    grey: int = 0
    alpha: list[int] = field(default_factory=list)
    bad: dict[int, str] = field(default_factory=dict)
    misnamed: list[tuple[str, str]] = field(default_factory=list)

    @property
    def good(self) -> int:
        return sum(self.sizes.values())

    def facts(self) -> dict[str, Any]:
        """JSON-able histograms, the most frequent rows first."""
        return {
            "sizes": {f"{height}x{width}": n for (height, width), n in self.sizes.most_common(_KEPT_ROWS)},
            "distinct_sizes": len(self.sizes),
            "modes": dict(self.modes.most_common()),
            "misnamed": self.misnamed,
        }


@dataclass(frozen=True)
class Plan:
    """What every picture will be brought to, and the sentences that tell the user why."""

    channels: int
    size: tuple[int, int]
    notes: tuple[str, ...]


@contextmanager
def quiet() -> Iterator[None]:
    """Pillow's warnings about single files would drown the terminal: each bad file is named by us instead."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def survey(pictures: Pictures, *, progress: bool) -> Survey:
    """Reads the header of every picture; none is decoded."""
    seen = Survey()

    def look(indices: range) -> list[Header | str]:
        return [_attempt(lambda file, at=index: header(file, pictures.names[at]), pictures, index) for index in indices]

    with quiet(), bar("looking at the pictures", len(pictures.names), shown=progress) as advance:
        for indices, found in in_order(look, _chunks(len(pictures.names))):
            for index, one in zip(indices, found, strict=True):
                if isinstance(one, str):
                    seen.bad[index] = one
                    continue
                seen.sizes[one.height, one.width] += 1
                seen.modes[one.mode] += 1
                seen.grey += one.grey
                if one.alpha:
                    seen.alpha.append(index)
                if one.misnamed and len(seen.misnamed) < _KEPT_ROWS:
                    seen.misnamed.append((pictures.names[index], one.misnamed))
            advance(len(indices))
    return seen


def plan_pictures(options: PictureOptions, pictures: Pictures, seen: Survey) -> Plan:
    """Decides channels and size for picture files (of which at least one is good)."""
    notes = []
    if options.channels is not None:
        channels: int = options.channels
    elif seen.grey == seen.good:
        channels = 1
    elif len(seen.alpha) == seen.good and _any_transparent(pictures, seen.alpha):
        channels = 4
        notes.append("Every picture has transparency: 4 channels (--channels 3 lays them over white).")
    else:
        channels = 3
        if seen.grey:
            notes.append(f"Grey among colour: {seen.grey} of {seen.good} pictures; all became colour.")
    size, more = _size(options, seen.sizes)
    return Plan(channels, size, (*notes, *more))


def plan_arrays(options: PictureOptions, arrays: Arrays) -> Plan:
    """Decides channels and size for pictures that are numbers already.

    Raises:
        GanvasError: they are smaller than 8 pixels a side.
    """
    channels, height, width = arrays.shape
    if min(height, width) < LEAST_SIDE:
        raise GanvasError(
            f"{options.source}: the pictures are {height} x {width} pixels.",
            expected=f"at least {LEAST_SIDE} pixels a side",
            fix="enlarge them first.",
        )
    size, notes = _size(options, Counter({(height, width): arrays.count}))
    if options.channels is not None:
        return Plan(options.channels, size, notes)
    if channels == 4 and not _opaque(arrays):
        return Plan(4, size, notes)
    return Plan(min(channels, 3), size, notes)


def decoded(
    pictures: Pictures, seen: Survey, plan: Plan, options: PictureOptions, *, progress: bool
) -> Generator[tuple[np.ndarray, list[int]], None, None]:
    """Yields (uint8 [n C H W], the n picture numbers) in order; what fails is added to `seen.bad`."""
    good = [index for index in range(len(pictures.names)) if index not in seen.bad]

    def work(indices: list[int]) -> list[np.ndarray | str]:
        def one(file: Any) -> np.ndarray:
            return decode(file, plan.channels, plan.size, options.fit)

        return [_attempt(one, pictures, index) for index in indices]

    tasks = [good[first : first + _CHUNK] for first in range(0, len(good), _CHUNK)]
    with quiet(), bar("decoding the pictures", len(good), shown=progress) as advance:
        for indices, results in in_order(work, tasks):
            kept = []
            for index, result in zip(indices, results, strict=True):
                if isinstance(result, str):
                    seen.bad[index] = result
                else:
                    kept.append((index, result))
            if kept:
                yield np.stack([pixels for _, pixels in kept]), [index for index, _ in kept]
            advance(len(indices))


def fitted_blocks(
    arrays: Arrays, plan: Plan, options: PictureOptions, *, progress: bool
) -> Generator[np.ndarray, None, None]:
    """Yields uint8 [n C H W]; pictures that have the right shape already pass through in whole blocks."""
    same = (plan.channels, *plan.size) == arrays.shape

    def work(block: np.ndarray) -> np.ndarray:
        return block if same else np.stack([refit(one, plan.channels, plan.size, options.fit) for one in block])

    with bar("reading the pictures", arrays.count, shown=progress) as advance:
        stream = ((block, block) for block in arrays.blocks()) if same else in_order(work, arrays.blocks())
        for block, result in stream:
            yield result
            advance(len(block))


def in_order(work: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[tuple[Task, Result]]:
    """Runs `work` on a few threads, at most a few tasks ahead of the reader; yields (task, result) in order.

    When the reader stops early, Ctrl-C included, what has not begun is dropped and the threads are joined.
    """
    workers = min(16, os.cpu_count() or 1)
    waiting: deque[tuple[Task, Future[Result]]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="ganvas-decode")
    try:
        for task in tasks:
            waiting.append((task, pool.submit(work, task)))
            if len(waiting) > 2 * workers:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _attempt(work: Callable[[Any], Result], pictures: Pictures, index: int) -> Result | str:
    """The result, or the reason why picture `index` has none."""
    try:
        with pictures.open(index) as file:
            return work(file)
    except Unreadable as reason:
        return str(reason)
    except Exception as error:  # one odd file, or the medium it lies on, must not end the reading of a whole set
        return f"cannot be read: {error}"


def _chunks(count: int) -> list[range]:
    return [range(first, min(first + _CHUNK, count)) for first in range(0, count, _CHUNK)]


def _any_transparent(pictures: Pictures, indices: list[int]) -> bool:
    step = max(1, len(indices) // _LOOKED_AT)
    with quiet():
        return any(_attempt(is_transparent, pictures, index) is True for index in indices[::step])


def _opaque(arrays: Arrays) -> bool:
    blocks = arrays.blocks()
    first = next(blocks, None)
    return first is None or bool((first[:, 3] == 255).all())


def _size(options: PictureOptions, sizes: Counter[tuple[int, int]]) -> tuple[tuple[int, int], tuple[str, ...]]:
    """The (H, W) to train at, with a sentence if the user has not asked for it and something is lost."""
    asked = options.size()
    if asked is not None:
        return asked, ()
    common = next(iter(sizes))
    if len(sizes) == 1 and all(side in _OWN_SIZE for side in common):
        return common, ()
    smallest = min(min(size) for size in sizes)
    side = LEAST_SIDE
    while side * 2 <= min(smallest, _GUESSED_SIDE):
        side *= 2
    why = f"{common[0]}x{common[1]} pixels" if len(sizes) == 1 else f"{len(sizes)} different sizes"
    how = {"crop": "cropped", "pad": "padded", "stretch": "stretched"}[options.fit]
    return (side, side), (f"{why}: {how} to {side}x{side}; --resolution changes it.",)
