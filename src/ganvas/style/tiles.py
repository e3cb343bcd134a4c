"""A picture in tiles, for those larger than memory: each tile sees beyond its own part as far as a network does.

A tile's own part begins at a multiple of the network's stride, and what it sees too, so that every layer has the same
positions as over the whole picture; at the picture's border it ends with the picture. Own parts meet without overlap.
"""

from dataclasses import dataclass
from itertools import product

from torch import Tensor


@dataclass(frozen=True)
class Span:
    """One side of a tile, in pixels: it sees [start, stop) and answers for [own, end); `end` None to the border."""

    start: int
    stop: int
    own_start: int
    own_stop: int | None

    def own_positions(self, stride: int) -> slice:
        """Its own positions of a layer, among those of what it sees."""
        return slice(
            (self.own_start - self.start) // stride,
            None if self.own_stop is None else (self.own_stop - self.start) // stride,
        )


@dataclass(frozen=True)
class Tile:
    """A rectangle of the picture."""

    rows: Span
    columns: Span

    def crop_input(self, images: Tensor) -> Tensor:
        """[n c h w] -> what the tile sees of it, a view."""
        return images[:, :, self.rows.start : self.rows.stop, self.columns.start : self.columns.stop]

    def crop_features(self, features: Tensor, stride: int) -> Tensor:
        """[n c h' w'], a layer over what the tile sees -> the part that is the tile's own, a view."""
        return features[:, :, self.rows.own_positions(stride), self.columns.own_positions(stride)]


def split_into_tiles(height: int, width: int, side: int | None, reach: int, stride: int) -> list[Tile]:
    """The tiles of a picture, row by row; None: one, the whole.

    Args:
        side: of a tile's own part in pixels, rounded up to the stride.
        reach: how far the network sees, in pixels to each side.
        stride: the network's last.
    """
    return [Tile(*spans) for spans in product(*(_spans(length, side, reach, stride) for length in (height, width)))]


def _spans(length: int, side: int | None, reach: int, stride: int) -> list[Span]:
    side, margin = (_round_up(length if side is None else side, stride), _round_up(reach, stride))
    spans = []
    for own in range(0, length, side):
        last = own + side >= length
        stop = length if last else min(length, own + side + margin)
        spans.append(Span(max(0, own - margin), stop, own, None if last else own + side))
    return spans


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
