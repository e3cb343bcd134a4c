"""The loss of a stylised image at one scale, and its exact gradient, for the whole image or tile by tile.

Style losses are functions of moment sums, which add up over tiles. With tiles, a first pass adds up the sums without a
graph, the gradients of the losses with respect to the sums follow, and a second pass backpropagates them through one
tile after another. The gradient is that of the whole image; the memory is that of one tile.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ganvas.features.layers import FeatureNetwork
from ganvas.style.losses import WassersteinDistance, content_distance, gram_distance, moment_sums, total_variation
from ganvas.style.tiles import Tile, split_into_tiles

Statistics = dict[str, Tensor]
"""layer -> moments [c c+1], per position."""


@dataclass(frozen=True)
class StyleTarget:
    """The style of a part of the image.

    Attributes:
        mask: float [1 1 h w] in [0, 1], or None for the whole image.
        statistics: the target statistics of the style layers.
        weight: of its loss.
    """

    mask: Tensor | None
    statistics: Statistics
    weight: float = 1.0


@dataclass(frozen=True)
class FeatureLayers:
    """A network and the layers whose features the losses use.

    Attributes:
        style: layer -> weight; the weights add up to 1.
        content: likewise.
        tile_size: side of the tiles in pixels; None: no tiles.
    """

    network: FeatureNetwork
    style: Mapping[str, float]
    content: Mapping[str, float]
    tile_size: int | None = None

    def split(self, images: Tensor) -> list[Tile]:
        """Tiles of an image, with margins such that every layer is that of the whole image."""
        names = {*self.style, *self.content}
        margin = max(self.network.receptive_radius(name) for name in names)
        return split_into_tiles(
            images.shape[2], images.shape[3], self.tile_size, margin, max(self.network.stride(name) for name in names)
        )

    def statistics(self, images: Tensor, mask: Tensor | None = None) -> Statistics:
        """Statistics of the style layers for images float [1 3 h w] in [-1, 1], weighted by `mask`; without a graph."""
        with torch.no_grad():
            (sums,), (mask_sums,) = self.sum_moments(images, self.split(images), [mask])
        return {name: sums[name] / mask_sums[name] for name in sums}

    def sum_moments(
        self, images: Tensor, tiles: Sequence[Tile], masks: Sequence[Tensor | None]
    ) -> tuple[list[Statistics], list[dict[str, Tensor]]]:
        """For each mask: the moment sums of the style layers over the tiles, and the sums of the mask."""
        sums: list[Statistics] = [{} for _ in masks]
        mask_sums: list[dict[str, Tensor]] = [{} for _ in masks]
        for tile in tiles:
            layers = self.network.features(tile.crop_input(images), self.style)
            for mask, moments, counts in zip(masks, sums, mask_sums, strict=True):
                for name, features in layers.items():
                    own, weights = self.crop_features(tile, name, features, mask)
                    count = own.new_tensor(own.shape[2] * own.shape[3]) if weights is None else weights.sum()
                    moments[name] = moments.get(name, 0) + moment_sums(own, weights)
                    counts[name] = counts.get(name, 0) + count
        return sums, mask_sums

    def crop_features(
        self, tile: Tile, name: str, features: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """The part of a layer's features that the tile owns, and the mask there, or None."""
        stride = self.network.stride(name)
        own = tile.crop_features(features, stride)
        if mask is None:
            return own, None
        weights = tile.crop_features(F.avg_pool2d(tile.crop_input(mask), stride, ceil_mode=True), stride)
        return own, _fold_border(weights, own.shape[2:])


@dataclass(frozen=True)
class LossValue:
    """The loss of an image, its weighted terms, and its gradient float [1 3 h w]."""

    loss: float
    style: float
    content: float
    tv: float
    gradient: Tensor


class StyleObjective:
    """The loss of images of one size.

    style + content_weight · content + tv_weight · total variation; style and content are relative (`losses`).

    Args:
        layers: the network, its layers and tiles.
        content: float [1 3 h w] in [-1, 1].
        targets: the styles and their masks.
        statistic: wasserstein or gram.
    """

    def __init__(
        self,
        layers: FeatureLayers,
        content: Tensor,
        targets: Sequence[StyleTarget],
        *,
        statistic: str,
        content_weight: float,
        tv_weight: float,
    ) -> None:
        self.layers, self.targets = layers, targets
        self.content_weight, self.tv_weight = content_weight, tv_weight
        self.tiles = layers.split(content)
        self.distances = [
            {name: _style_distance(statistic, moments) for name, moments in target.statistics.items()}
            for target in targets
        ]
        self.content_targets: list[dict[str, Tensor]] = []
        with torch.no_grad():
            _, self.mask_sums = layers.sum_moments(content, self.tiles, [target.mask for target in targets])
            for tile in self.tiles:
                features = layers.network.features(tile.crop_input(content), layers.content)
                own = {name: layers.crop_features(tile, name, f, None)[0].clone() for name, f in features.items()}
                self.content_targets.append(own)
        self.content_energy = {
            name: sum(float(part[name].square().sum()) for part in self.content_targets) + 1e-12
            for name in layers.content
        }

    def __call__(self, images: Tensor) -> LossValue:
        """The loss and its gradient for images float [1 3 h w]."""
        leaf = images.detach().requires_grad_()
        smoothness = self.tv_weight * total_variation(leaf)
        (gradient,) = torch.autograd.grad(smoothness, leaf)
        if len(self.tiles) == 1:
            sums, content = self._forward_tile(leaf, self.tiles[0], self.content_targets[0])
            style = self._style_loss(sums)
            (own_gradient,) = torch.autograd.grad(style + content, leaf)
            gradient += own_gradient
        else:
            style, content = self._accumulate_tiles(leaf.detach(), gradient)
        terms = [float(term.detach()) for term in (style, content, smoothness)]
        return LossValue(sum(terms), terms[0], terms[1], terms[2], gradient)

    def _accumulate_tiles(self, images: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Adds the gradient of every tile to `gradient` [1 3 h w], and returns the style and content losses."""
        with torch.no_grad():
            sums, _ = self.layers.sum_moments(images, self.tiles, [target.mask for target in self.targets])
        leaves = [{name: value.requires_grad_() for name, value in moments.items()} for moments in sums]
        style = self._style_loss(leaves)
        flat = [value for moments in leaves for value in moments.values()]
        sum_gradients = torch.autograd.grad(style, flat)
        content = images.new_zeros(())
        for tile, content_target in zip(self.tiles, self.content_targets, strict=True):
            crop = tile.crop_input(images).detach().clone().requires_grad_()
            tile_sums, tile_content = self._forward_tile(crop, tile, content_target)
            own = [tile_sums[t][name] for t, moments in enumerate(leaves) for name in moments]
            (crop_gradient,) = torch.autograd.grad(
                [*own, tile_content], crop, [*sum_gradients, torch.ones_like(tile_content)]
            )
            tile.crop_input(gradient).add_(crop_gradient)
            content = content + tile_content.detach()
        return style, content

    def _forward_tile(
        self, crop: Tensor, tile: Tile, content_target: Mapping[str, Tensor]
    ) -> tuple[list[Statistics], Tensor]:
        """The moment sums of a tile for every style target, and its content loss."""
        layers = self.layers
        features = layers.network.features(crop, {*layers.style, *layers.content})
        sums = [
            {name: moment_sums(*layers.crop_features(tile, name, features[name], t.mask)) for name in layers.style}
            for t in self.targets
        ]
        content = crop.new_zeros(())
        for name, weight in layers.content.items():
            own, _ = layers.crop_features(tile, name, features[name], None)
            content = content + weight / self.content_energy[name] * content_distance(own, content_target[name])
        return sums, self.content_weight * content

    def _style_loss(self, sums: Sequence[Statistics]) -> Tensor:
        terms = [
            target.weight * weight * distances[name](moments[name] / mask_sums[name])
            for target, moments, mask_sums, distances in zip(
                self.targets, sums, self.mask_sums, self.distances, strict=True
            )
            for name, weight in self.layers.style.items()
        ]
        return torch.stack(terms).sum()


def _fold_border(weights: Tensor, size: Sequence[int]) -> Tensor:
    """A pooled mask [1 1 h w] -> [1 1 *size]: what lies beyond the last position counts as its part.

    Pools that round down have no position for the lower and the right border. A mask there still has a weight.
    """
    for axis, count in zip((2, 3), size, strict=True):
        if weights.shape[axis] > count:
            inside, border = weights.tensor_split([count - 1], axis)
            weights = torch.cat([inside, border.mean(axis, keepdim=True)], axis)
    return weights


def _style_distance(statistic: str, target: Tensor) -> Callable[[Tensor], Tensor]:
    return WassersteinDistance(target) if statistic == "wasserstein" else lambda x: gram_distance(x, target)
