"""The scales of a style transfer, and how much work each is. Imports no PyTorch."""

import math
from collections.abc import Sequence

from ganvas.style.options import StyleOptions

OVERHEAD = 8000
"""Pixels whose time an iteration takes beside that of its own, by the times of its scales on two CPU cores."""


def fit_longer_side(height: int, width: int, side: int) -> tuple[int, int]:
    """(height, width) of an image whose longer side is made so long."""
    return round(height * side / max(height, width)), round(width * side / max(height, width))


def scale_sizes(size: Sequence[int], min_scale: int) -> list[tuple[int, int]]:
    """(height, width) of each scale from the coarsest to `size`, each larger than the last by √2.

    The longer side is at least `min_scale`, and the shorter side at least 32, unless `size` itself is smaller.
    """
    found, factor = [(size[0], size[1])], 2**-0.5
    while max(size) * factor >= min_scale - 0.5 and min(size) * factor >= 32:
        found.append((round(size[0] * factor), round(size[1] * factor)))
        factor *= 2**-0.5
    return found[::-1]


def list_scales(size: Sequence[int], options: StyleOptions) -> list[tuple[tuple[int, int], int]]:
    """((height, width), iterations) of each scale of a result of this size, with options that are resolved."""
    assert options.iterations is not None
    sizes = scale_sizes(size, options.min_scale)
    return [(size, options.iterations * (2 if i == 0 else 1)) for i, size in enumerate(sizes)]


def count_work(scales: Sequence[tuple[tuple[int, int], int]], done: float = math.inf) -> int:
    """The work of the first `done` iterations, in pixels, to which their time is taken to be proportional."""
    work = 0
    for (height, width), iterations in scales:
        some = min(iterations, done)
        work, done = work + round(some * (height * width + OVERHEAD)), done - some
    return work
