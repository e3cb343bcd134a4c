"""What the picture shall become at one size: the loss, and its exact gradient, whole or tile by tile.

Style losses are functions of statistics, and statistics of tiles add up. So a first pass adds them up without a graph,
the losses' slopes in the statistics follow, and a second pass carries these through one tile after another: the
gradient is that of the whole picture, in the memory of a tile.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ganvas.style.losses import WassersteinDistance, content_distance, gram_distance, moment_sums, total_variation
from ganvas.style.networks import Network
from ganvas.style.tiles import Tile, split_into_tiles

Statistics = dict[str, Tensor]
"""layer -> [c c+1], per position."""


@dataclass(frozen=True)
class StyleTarget:
    """A part of the picture and the style that it shall have.

    Attributes:
        where: float [1 1 h w] in [0, 1], or None for everywhere.
        style: what its features shall be like.
        weight: of its loss.
    """

    mask: Tensor | None
    statistics: Statistics
    weight: float = 1.0


@dataclass(frozen=True)
class Look:
    """What a network looks at.

    Attributes:
        style: layer -> its weight; they add up to 1.
        content: likewise.
        tile: side of the tiles in pixels; None: no tiles.
    """

    network: Network
    style: Mapping[str, float]
    content: Mapping[str, float]
    tile_size: int | None = None

    def split(self, images: Tensor) -> list[Tile]:
        """Of a picture, such that every layer is that of the whole."""
        names = {*self.style, *self.content}
        reach = max(self.network.receptive_radius(name) for name in names)
        return split_into_tiles(
            images.shape[2], images.shape[3], self.tile_size, reach, max(self.network.stride(name) for name in names)
        )

    def statistics(self, images: Tensor, where: Tensor | None = None) -> Statistics:
        """Of a picture float [1 3 h w] in [-1, 1], weighted by `where`; without a graph."""
        with torch.no_grad():
            (sums,), (totals,) = self.sum_moments(images, self.split(images), [where])
        return {name: sums[name] / totals[name] for name in sums}

    def sum_moments(
        self, images: Tensor, tiles: Sequence[Tile], regions: Sequence[Tensor | None]
    ) -> tuple[list[Statistics], list[dict[str, Tensor]]]:
        """For each region: the sums of its statistics over the tiles, and the sums of its weights."""
        sums: list[Statistics] = [{} for _ in regions]
        totals: list[dict[str, Tensor]] = [{} for _ in regions]
        for tile in tiles:
            told = self.network.layers(tile.crop_input(images), self.style)
            for where, added, weighed in zip(regions, sums, totals, strict=True):
                for name, features in told.items():
                    own, weights = self.crop_features(tile, name, features, where)
                    count = own.new_tensor(own.shape[2] * own.shape[3]) if weights is None else weights.sum()
                    added[name] = added.get(name, 0) + moment_sums(own, weights)
                    weighed[name] = weighed.get(name, 0) + count
        return sums, totals

    def crop_features(
        self, tile: Tile, name: str, features: Tensor, where: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """The tile's own part of a layer's features, and of the weights there."""
        stride = self.network.stride(name)
        own = tile.crop_features(features, stride)
        if where is None:
            return own, None
        weights = F.avg_pool2d(tile.crop_input(where), stride, ceil_mode=True)
        return own, tile.crop_features(weights, stride)[:, :, : own.shape[2], : own.shape[3]]


@dataclass(frozen=True)
class LossValue:
    """The loss of a picture, its parts as they enter it, and its gradient float [1 3 h w]."""

    loss: float
    style: float
    content: float
    tv: float
    gradient: Tensor


class StyleObjective:
    """The loss over pictures of one size.

    style + content_weight · content + tv · total variation; style and content are relative (`losses`).

    Args:
        look: the network, its layers and tiles.
        content: float [1 3 h w] in [-1, 1].
        regions: where which style shall be.
        statistic: wasserstein or gram.
    """

    def __init__(
        self,
        layers: Look,
        content: Tensor,
        targets: Sequence[StyleTarget],
        *,
        statistic: str,
        content_weight: float,
        tv: float,
    ) -> None:
        self.look, self.targets = layers, targets
        self.content_weight, self.tv = content_weight, tv
        self.tiles = layers.split(content)
        self.distances = [
            {name: _style_distance(statistic, target) for name, target in region.statistics.items()}
            for region in targets
        ]
        self.content_targets: list[dict[str, Tensor]] = []
        with torch.no_grad():
            _, self.mask_sums = layers.sum_moments(content, self.tiles, [region.mask for region in targets])
            for tile in self.tiles:
                told = layers.network.layers(tile.crop_input(content), layers.content)
                self.content_targets.append(
                    {name: layers.crop_features(tile, name, f, None)[0].clone() for name, f in told.items()}
                )
        self.content_energy = {
            name: sum(float(part[name].square().sum()) for part in self.content_targets) + 1e-12
            for name in layers.content
        }

    def __call__(self, images: Tensor) -> LossValue:
        """The loss and its gradient at a picture float [1 3 h w]."""
        images = images.detach()
        smooth, gradient = _value_and_gradient(lambda x: self.tv * total_variation(x), images)
        if len(self.tiles) == 1:
            (tile,) = self.tiles
            whole = images.requires_grad_()
            sums, content = self._forward_tile(whole, tile, self.content_targets[0])
            style = self._style_loss(sums)
            (slope,) = torch.autograd.grad(style + content, whole)
            gradient += slope
        else:
            style, content = self._accumulate_tiles(images, gradient)
        parts = [float(part.detach()) for part in (style, content, smooth)]
        return LossValue(sum(parts), parts[0], parts[1], parts[2], gradient)

    def _accumulate_tiles(self, images: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Adds to the gradient [1 3 h w], and returns the style and content losses."""
        with torch.no_grad():
            sums, _ = self.look.sum_moments(images, self.tiles, [region.mask for region in self.targets])
        leaves = [{name: value.requires_grad_() for name, value in region.items()} for region in sums]
        style = self._style_loss(leaves)
        flat = [value for region in leaves for value in region.values()]
        slopes = torch.autograd.grad(style, flat)
        content = images.new_zeros(())
        for tile, wanted in zip(self.tiles, self.content_targets, strict=True):
            piece = tile.crop_input(images).detach().clone().requires_grad_()
            parts, own_content = self._forward_tile(piece, tile, wanted)
            own = [parts[r][name] for r, region in enumerate(leaves) for name in region]
            (slope,) = torch.autograd.grad([*own, own_content], piece, [*slopes, torch.ones_like(own_content)])
            tile.crop_input(gradient).add_(slope)
            content = content + own_content.detach()
        return style, content

    def _forward_tile(self, piece: Tensor, tile: Tile, wanted: Mapping[str, Tensor]) -> tuple[list[Statistics], Tensor]:
        """What a tile adds to every region's sums, and its content loss."""
        layers = self.look
        told = layers.network.layers(piece, {*layers.style, *layers.content})
        sums = [
            {name: moment_sums(*layers.crop_features(tile, name, told[name], region.mask)) for name in layers.style}
            for region in self.targets
        ]
        content = piece.new_zeros(())
        for name, weight in layers.content.items():
            own, _ = layers.crop_features(tile, name, told[name], None)
            content = content + weight / self.content_energy[name] * content_distance(own, wanted[name])
        return sums, self.content_weight * content

    def _style_loss(self, sums: Sequence[Statistics]) -> Tensor:
        terms = [
            region.weight * weight * distances[name](own[name] / totals[name])
            for region, own, totals, distances in zip(self.targets, sums, self.mask_sums, self.distances, strict=True)
            for name, weight in self.look.style.items()
        ]
        return torch.stack(terms).sum()


def _style_distance(statistic: str, target: Tensor) -> Callable[[Tensor], Tensor]:
    return WassersteinDistance(target) if statistic == "wasserstein" else lambda x: gram_distance(x, target)


def _value_and_gradient(function: Callable[[Tensor], Tensor], images: Tensor) -> tuple[Tensor, Any]:
    leaf = images.clone().requires_grad_()
    value = function(leaf)
    return value, torch.autograd.grad(value, leaf)[0]
