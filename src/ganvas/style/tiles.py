"""Tiles of an image that is too large for the memory. A tile reads a margin as wide as the network's receptive field.

A tile and its margin begin at a multiple of the network's stride, so that every layer has the same positions as over
the whole image. At the image border the margin ends. The tiles without their margins cover the image without overlap.
"""

from dataclasses import dataclass
from itertools import product

from torch import Tensor


@dataclass(frozen=True)
class Span:
    """One axis of a tile, in pixels: it reads [start, stop) and owns [own_start, own_stop); None: to the border."""

    start: int
    stop: int
    own_start: int
    own_stop: int | None

    def own_positions(self, stride: int) -> slice:
        """The positions of a layer that the tile owns, among those that it reads."""
        return slice(
            (self.own_start - self.start) // stride,
            None if self.own_stop is None else (self.own_stop - self.start) // stride,
        )


@dataclass(frozen=True)
class Tile:
    """A rectangle of the image."""

    rows: Span
    columns: Span

    def crop_input(self, images: Tensor) -> Tensor:
        """Images [n c h w] -> the part that the tile reads, a view."""
        return images[:, :, self.rows.start : self.rows.stop, self.columns.start : self.columns.stop]

    def crop_features(self, features: Tensor, stride: int) -> Tensor:
        """A layer [n c h' w'] over the part that the tile reads -> the part that it owns, a view."""
        return features[:, :, self.rows.own_positions(stride), self.columns.own_positions(stride)]


def split_into_tiles(height: int, width: int, side: int | None, margin: int, stride: int) -> list[Tile]:
    """The tiles of an image, row by row.

    Args:
        side: of the part that a tile owns, in pixels, rounded up to the stride; None: one tile, the whole image. The
            last tile of a row or a column owns up to a stride more, as a layer may have no position in so little.
        margin: pixels that a tile reads beyond its own part on each side, rounded up to the stride.
        stride: of the deepest layer.
    """
    return [Tile(*spans) for spans in product(*(_spans(length, side, margin, stride) for length in (height, width)))]


def _spans(length: int, side: int | None, margin: int, stride: int) -> list[Span]:
    side, margin = (_round_up(length if side is None else side, stride), _round_up(margin, stride))
    starts = range(0, max(1, length - stride), side)
    spans = []
    for own in starts:
        last = own == starts[-1]
        stop = length if last else min(length, own + side + margin)
        spans.append(Span(max(0, own - margin), stop, own, None if last else own + side))
    return spans


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
