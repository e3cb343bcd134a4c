"""The size of images that is chosen where the user names no resolution; only headers are read for it.

There are two rules. `prepare.choose_default_size` is that of every data set whose configuration names no size: it must
stay as it is, because saved runs name none and are resumed and evaluated by it. `choose_limited_size` is that of runs
whose configuration then names the size (`ganvas.training.choices`), so it may do better: it keeps the aspect ratio, and
a few small images do not decide it.
"""

import math
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ganvas.data.cached import cache
from ganvas.data.decoding import optional_formats
from ganvas.data.options import MIN_SIDE, DataOptions
from ganvas.data.prepare import choose_default_size, scan_headers, usual_shorter_side
from ganvas.data.source_types import ImageFiles, Source
from ganvas.data.sources import find_source
from ganvas.terminal import printable_name

LONGEST = 2
"""How many times as long as the shorter side the other one is at the largest area that images of one size keep."""

Size = tuple[int, int]


class LimitedSize(NamedTuple):
    """A size that was chosen, and which images are enlarged to it."""

    height: int
    width: int
    smaller: int
    """The number of images with a shorter side."""
    example: str
    """The file name of one of them, or empty."""

    def describe(self, limit: int) -> str:
        """Why it is this size, for the user, as what follows "64x64 pixels, "."""
        if min(self.height, self.width) >= limit:
            return f"at most {limit} on the shorter side"
        if self.height != self.width:
            return f"at most {LONGEST * limit**2:,} in all and {limit} on the shorter side"
        return f"the shorter side of {'nearly all' if self.smaller else 'the smallest'}, at most {limit}"

    @property
    def remark(self) -> str:
        """How many images are enlarged, and one of them; empty where none is."""
        if not self.smaller:
            return ""
        which = f" ({'' if self.smaller == 1 else 'such as '}{self.example})" if self.example else ""
        return f"; {self.smaller:,} smaller {'one is' if self.smaller == 1 else 'ones are'} enlarged{which}"


def choose_limited_size(options: DataOptions, limit: int, *, progress: bool = True) -> LimitedSize | None:
    """The size at which the shorter side of all images has at most `limit` pixels.

    Images of one size keep their aspect ratio; longer ones than 1:2 are made smaller, to the area of 1:2. Of those of
    different sizes, the largest squares are taken for which nearly none must be enlarged.

    Args:
        options: without a resolution.
        limit: in pixels.
        progress: show a progress bar on the terminal while headers are read.

    Returns:
        The size; None where `ganvas.data.open_images` chooses the same one by itself, or finds a mistake in the data.

    Raises:
        GanvasError: there is no such source, it is not what its extension says, or its disk fails.
    """
    source = find_source(options, progress=progress)

    def compute() -> np.ndarray:
        sizes, find_smaller = _read_sizes(source, progress=progress)
        size = _limited_size(sizes, limit) if sizes else None
        if size is None or size == choose_default_size(options, sizes)[0]:
            return np.array(["0", "0", "0", ""])
        side = min(size) if len(sizes) > 1 else 0
        smaller = sum(count for own, count in sizes.items() if min(own) < side)
        return np.array([*map(str, size), str(smaller), find_smaller(side) if smaller else ""])

    found = _load_or_compute(source, ["limited size of nearly all", limit], 4, compute)
    if found is None or found[0] == "0":
        return None
    height, width, smaller, example = found
    return LimitedSize(int(height), int(width), int(smaller), example)


def find_default_size(options: DataOptions, *, progress: bool = True) -> Size | None:
    """The size that `ganvas.data.open_images` chooses by itself; None where there is no image to choose it by.

    Args:
        options: without a resolution.
        progress: as for `choose_limited_size`.

    Raises:
        GanvasError: as for `choose_limited_size`.
    """
    source = find_source(options, progress=progress)

    def compute() -> np.ndarray:
        sizes, _ = _read_sizes(source, progress=progress)
        return np.array(choose_default_size(options, sizes)[0] if sizes else (0, 0))

    found = _load_or_compute(source, ["default size"], 2, compute)
    return (found[0], found[1]) if found and found[0] else None


def _load_or_compute(source: Source, what: list[Any], rows: int, compute: Callable[[], np.ndarray]) -> list[Any] | None:
    key = cache.key(*what, source.stamp, optional_formats())
    try:
        return (compute() if source.in_memory else cache.load_or_compute(key, rows, compute)).tolist()
    except OSError:
        return None


def _read_sizes(source: Source, *, progress: bool) -> tuple[Counter[Size], Callable[[int], str]]:
    """The sizes of all images, and a function that names one whose shorter side has fewer pixels than that."""
    content = source.read()
    if not isinstance(content, ImageFiles):
        return +Counter({content.shape[1:]: content.count}), lambda side: ""
    scan = scan_headers(content, progress=progress)

    def find_smaller(side: int) -> str:
        small = {kind for kind, (height, width, *_) in enumerate(scan.kinds) if min(height, width) < side}
        return next(printable_name(content.names[i]) for i, kind in enumerate(scan.kind_of) if kind in small)

    return scan.sizes, find_smaller


def _limited_size(sizes: Counter[Size], limit: int) -> Size | None:
    shorter = usual_shorter_side(sizes)
    if shorter < MIN_SIDE:
        return None
    if len(sizes) > 1:
        side = min(limit, shorter)
        return side, side
    height, width = next(iter(sizes))
    scale = min(1.0, limit / shorter, math.sqrt(LONGEST * limit**2 / (height * width)))
    return max(MIN_SIDE, round(height * scale)), max(MIN_SIDE, round(width * scale))
