"""The size of images whose sides are limited where the user names no resolution; only headers are read for it."""

from collections import Counter

import numpy as np

from ganvas.data.cached import cache
from ganvas.data.options import MIN_SIDE, DataOptions
from ganvas.data.prepare import choose_default_size, scan_headers
from ganvas.data.source_types import ImageFiles
from ganvas.data.sources import find_source


def choose_limited_size(options: DataOptions, limit: int, *, progress: bool = True) -> tuple[int, int] | None:
    """The (height, width) at which the shorter side of all images has at most `limit` pixels.

    Images of one size keep their aspect ratio. Of those of different sizes, the largest squares are taken that no image
    must be enlarged for.

    Args:
        options: without a resolution.
        limit: in pixels.
        progress: show a progress bar on the terminal while headers are read.

    Returns:
        The size; None where `ganvas.data.open_images` chooses the same one by itself, or finds a mistake in the data.

    Raises:
        GanvasError: there is no such source, or it is not what its extension says.
    """
    source = find_source(options, progress=progress)

    def read_sizes() -> Counter[tuple[int, int]]:
        content = source.read()
        if isinstance(content, ImageFiles):
            return scan_headers(content, progress=progress).sizes
        return Counter({content.shape[1:]: content.count})

    def compute() -> np.ndarray:
        sizes = read_sizes()
        size = _limited_size(sizes, limit) if sizes else None
        return np.array((0, 0) if size is None or size == choose_default_size(options, sizes)[0] else size)

    key = cache.key("limited size", limit, source.stamp)
    try:
        height, width = (compute() if source.in_memory else cache.load_or_compute(key, 2, compute)).tolist()
    except OSError:
        return None
    return (height, width) if height else None


def _limited_size(sizes: Counter[tuple[int, int]], limit: int) -> tuple[int, int] | None:
    shortest = min(min(size) for size in sizes)
    if shortest < MIN_SIDE:
        return None
    if len(sizes) > 1:
        side = min(limit, shortest)
        return side, side
    (height, width), scale = next(iter(sizes)), min(1.0, limit / shortest)
    return round(height * scale), round(width * scale)
