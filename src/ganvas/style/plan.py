"""The inputs of a style transfer (images, masks, network, layers), and from these the objective of each scale."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from ganvas import devices
from ganvas.errors import GanvasError
from ganvas.features.layers import RGB, FeatureNetwork
from ganvas.features.weights import load_network
from ganvas.networks.layers import average_pool
from ganvas.style import images
from ganvas.style.colours import luminance, match_palette, palette_statistics
from ganvas.style.images import ImageSource, StyleImage
from ganvas.style.objective import FeatureLayers, Statistics, StyleObjective, StyleTarget
from ganvas.style.optimisers import HISTORY_SIZE
from ganvas.style.options import NETWORK_DEFAULTS, StyleOptions, parse_layers

MEMORY_FRACTION = 0.8
"""Of the free memory: an estimate above it makes the transfer use tiles."""

PASS_FACTOR = 3.0
"""Memory of a pass over that of its graph: gradients and the libraries' buffers (docs/results.md)."""

FORWARD_FACTOR = 1.5
"""Likewise of a pass without a graph, for statistics: the layers, and two buffers of the size of the largest."""

StylesByMask = list[tuple[Tensor | None, list[tuple[Tensor, Tensor | None, float]]]]
"""(mask, [(style, its style mask, its weight) …]) at one scale, of the shapes in `TransferPlan`."""


@dataclass(frozen=True, eq=False)
class TransferPlan:
    """All inputs of a style transfer, at the size of the result.

    Attributes:
        source: the photo as loaded.
        content: the photo, float [1 3 h w] in [-1, 1].
        styles: the paintings, float [1 3 h' w'] each, of their own sizes.
        style_weights: one for each painting; they add up to 1.
        masks: where each style applies, float [1 1 h w] in [0, 1]; empty: every style everywhere.
        style_masks: the part of each painting whose style is used, float [1 1 h' w'] in [0, 1], or None.
        initial: the initial image if it is a file, of its own size.
        memory: estimated bytes.
    """

    source: StyleImage
    content: Tensor
    styles: Sequence[Tensor]
    style_weights: Sequence[float]
    masks: Sequence[Tensor]
    style_masks: Sequence[Tensor | None]
    initial: StyleImage | None
    layers: FeatureLayers
    options: StyleOptions
    memory: int

    def objective(self, size: tuple[int, int]) -> StyleObjective:
        """The objective at one scale."""
        assert self.options.content_weight is not None
        photo, strength = self._photo(size), self.options.strength
        targets, by_mask = [], self._styles_by_mask(size)
        for mask, styles in by_mask:
            mixed = _mix_statistics([(weight, self.layers.statistics(style, part)) for style, part, weight in styles])
            if strength < 1:
                mixed = _mix_statistics([(strength, mixed), (1 - strength, self.layers.statistics(photo, mask))])
            targets.append(StyleTarget(mask, mixed, sum(weight for *_, weight in styles)))
        return StyleObjective(
            self.layers, self._match_palettes(photo, by_mask), targets, statistic=self.options.statistic,
            content_weight=self.options.content_weight, tv_weight=self.options.tv_weight,
        )  # fmt: skip

    def initial_image(self, size: tuple[int, int]) -> Tensor:
        """The initial image, float [1 3 *size] in [-1, 1]."""
        if self.initial is not None:
            return images.resize(images.to_tensor(self.initial).to(self.content.device), size)
        if self.options.init == "content":
            return self._match_palettes(self._photo(size), self._styles_by_mask(size))
        noise = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(self.options.seed))
        return (noise * 2 - 1).to(self.content.device)

    def coverage(self, size: tuple[int, int]) -> Tensor | None:
        """The union of the masks, float [1 1 *size] in [0, 1]; None: the whole image."""
        if not self.masks:
            return None
        return average_pool(torch.stack(list(self.masks)).sum(0).clamp(max=1), size)

    def _photo(self, size: tuple[int, int]) -> Tensor:
        """The photo at one scale, float [1 3 *size]; grey if only its luminance is to change."""
        photo = images.resize(self.content, size)
        return luminance(photo).expand(-1, 3, -1, -1) if self.options.keep_colours == "luminance" else photo

    def _styles_by_mask(self, size: tuple[int, int]) -> StylesByMask:
        """The masks and the styles at one scale, these in the colours of the photo if they are kept."""
        factor = max(size) / max(self.content.shape[2:])
        opaque = images.to_opacity(self.source)
        opaque = None if opaque is None else average_pool(opaque.to(self.content.device), size)
        photo, parts = self._photo(size), []
        for style, mask, weight in zip(self.styles, self.style_masks, self.style_weights, strict=True):
            height, width = (max(images.MIN_SIDE, round(side * factor)) for side in style.shape[2:])
            small = images.resize(style, (height, width))
            part = None if mask is None else average_pool(mask, (height, width))
            if self.options.keep_colours == "luminance":
                small = luminance(small).expand(-1, 3, -1, -1)
            if self.options.keep_colours != "none":
                small = match_palette(small, palette_statistics(small, part), palette_statistics(photo, opaque))
            parts.append((small, part, weight))
        if not self.masks:
            return [(opaque, parts)]
        masks = [average_pool(mask, size) * (1 if opaque is None else opaque) for mask in self.masks]
        return [(mask, [part]) for mask, part in zip(masks, parts, strict=True)]

    def _match_palettes(self, photo: Tensor, by_mask: StylesByMask) -> Tensor:
        """The photo in the palette of the styles: the content target and the default initial image.

        Where masks overlap, their palettes are mixed: added up, they would go beyond each of them.
        """
        if not self.options.palette:
            return photo
        matched = photo
        overlap = sum(mask for mask, _ in by_mask if mask is not None)
        overlap = overlap.clamp(min=1) if isinstance(overlap, Tensor) else 1
        for mask, styles in by_mask:
            palettes = [(weight, {RGB: palette_statistics(style, part)}) for style, part, weight in styles]
            new = match_palette(photo, palette_statistics(photo, mask), _mix_statistics(palettes)[RGB])
            matched = matched + (1 if not self.masks or mask is None else mask / overlap) * (new - photo)
        return photo + self.options.strength * (matched - photo)


def plan_transfer(
    content: ImageSource,
    styles: Sequence[ImageSource],
    masks: Sequence[ImageSource],
    style_masks: Sequence[ImageSource],
    options: StyleOptions,
) -> TransferPlan:
    """Loads images, masks and network, and estimates the memory.

    Raises:
        GanvasError: a file cannot be read, the numbers of styles and masks differ, a mask covers nothing visible, or
            the memory does not suffice.
    """
    _check_counts(styles, masks, style_masks, options)
    device = devices.select_device(options.device)
    assert options.size is not None
    source = images.load_image(content, options.size)
    image = images.to_tensor(source).to(device)
    limit = round(options.size * options.style_scale)
    paintings = [_load_painting(style, limit) for style in styles]
    parts = [images.to_opacity(painting) for painting in paintings]
    if style_masks:
        parts = [
            _load_mask(mask, painting) * (1 if part is None else part)
            for mask, painting, part in zip(style_masks, paintings, parts, strict=True)
        ]
    initial = None if options.init in ("content", "noise") else images.load_image(options.init, None)
    network = load_network(options.network, options.weights).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    layers = FeatureLayers(network, *choose_layers(network, options))
    sizes = [(pixels.shape[1], pixels.shape[2]) for pixels in (source.pixels, *(p.pixels for p in paintings))]
    layers, memory = fit_tiles(layers, sizes[0], sizes[1:], options.tile, devices.free_bytes(device))
    given = options.style_weights or (1.0,) * len(styles)
    return TransferPlan(
        source, image, [images.to_tensor(p).to(device) for p in paintings], [w / sum(given) for w in given],
        [_load_mask(mask, source).to(device) for mask in masks],
        [None if part is None else part.to(device) for part in parts], initial, layers, options, memory,
    )  # fmt: skip


def _load_painting(style: ImageSource, size: int) -> StyleImage:
    painting = images.load_image(style, size, enlarge=False)
    if not painting.is_visible:
        raise GanvasError(
            f"{style if isinstance(style, str | Path) else 'The style'} is transparent everywhere.",
            expected="a painting with visible pixels",
            fix="remove its transparency, or name another style.",
        )
    return painting


def _load_mask(mask: ImageSource, image: StyleImage) -> Tensor:
    """A mask at the size of an image, float [1 1 h w] in [0, 1].

    Raises:
        GanvasError: it cannot be read, or it is black wherever the image is visible.
    """
    loaded, opacity = images.load_mask(mask, image.pixels.shape[1:]), images.to_opacity(image)
    if opacity is not None and image.is_visible and not (loaded * opacity).any():
        raise GanvasError(
            f"{images.name_mask(mask)} covers nothing visible: the image is transparent there.",
            expected="white where the image is visible",
        )
    return loaded


def choose_layers(network: FeatureNetwork, options: StyleOptions) -> tuple[dict[str, float], dict[str, float]]:
    """The style layers and the content layers with their weights, which add up to 1 each.

    Default layers that the network lacks, as its weights end early, are left out.

    Raises:
        GanvasError: the network lacks a layer that the user names.
    """
    found = []
    for knob in ("style_layers", "content_layers"):
        given = getattr(options, knob)
        weights = parse_layers(given or NETWORK_DEFAULTS[network.name][knob], f"--{knob.replace('_', '-')}")
        if given:
            network.check_layers(weights)
        usable = {name: weight for name, weight in weights.items() if name in network.layer_names}
        usable = usable or {network.layer_names[-1]: 1.0}
        found.append({name: weight / sum(usable.values()) for name, weight in usable.items()})
    return found[0], found[1]


def fit_tiles(
    layers: FeatureLayers,
    size: tuple[int, int],
    painting_sizes: Sequence[tuple[int, int]],
    tile_size: int | None,
    free: int,
) -> tuple[FeatureLayers, int]:
    """Chooses tiles where the result or a painting does not fit into `free` bytes; returns also the estimated bytes.

    The memory of a graph is linear in its pixels, so it is measured on two small images and extrapolated.

    Args:
        size: height and width of the result.
        painting_sizes: those of the paintings.

    Raises:
        GanvasError: not even the smallest tiles fit.
    """
    small, large = (_graph_bytes(layers, side) for side in (64, 96))
    per_pixel = (large - small) / (96**2 - 64**2)
    images_held = (10 + 2 * HISTORY_SIZE) * math.prod(size)  # image, photo, gradients, and the history of L-BFGS
    images_held += 2 * sum(math.prod(painting) for painting in painting_sizes)  # as loaded, and with other colours
    passes = [(PASS_FACTOR, size), *((FORWARD_FACTOR, painting) for painting in painting_sizes)]
    margin = 2 * max(layers.network.receptive_radius(name) for name in {*layers.style, *layers.content})

    def memory(side: int | None) -> int:
        most = math.inf if side is None else side + margin
        largest = max(factor * math.prod(min(most, length) for length in lengths) for factor, lengths in passes)
        return round(4 * 3 * images_held + per_pixel * largest)

    if tile_size is None and memory(None) > MEMORY_FRACTION * free:
        tile_size = next((side for side in range(4096, 32, -32) if memory(side) <= MEMORY_FRACTION * free), 32)
    if tile_size is not None and tile_size >= max(max(lengths) for _, lengths in passes):
        tile_size = None
    if memory(tile_size) > MEMORY_FRACTION * free:
        tiles = "" if tile_size is None else f" even in tiles of {tile_size}"
        raise GanvasError(
            f"This needs {memory(tile_size) / 1e9:.1f} GB of memory{tiles}, and {free / 1e9:.1f} GB are free.",
            expected=f"at most {MEMORY_FRACTION:.0%} of what is free",
            fix="a smaller --size or --tile.",
        )
    return replace(layers, tile_size=tile_size), memory(tile_size)


def _graph_bytes(layers: FeatureLayers, side: int) -> int:
    """Bytes that the graph of one forward pass of a square image holds."""
    held: dict[int, int] = {}  # bytes at each address: nothing saved is freed before the backward pass

    def hold(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        held[storage.data_ptr()] = storage.nbytes()
        return tensor

    device = next(layers.network.parameters()).device
    image = torch.zeros(1, 3, side, side, device=device).requires_grad_()
    with saved_tensors_hooks(hold, lambda tensor: tensor):
        features = layers.network.features(image, {*layers.style, *layers.content})
        total = sum(layer.square().sum() for layer in features.values())
    assert isinstance(total, Tensor)
    return sum(held.values())


def _check_counts(
    styles: Sequence[Any], masks: Sequence[Any], style_masks: Sequence[Any], options: StyleOptions
) -> None:
    if not styles:
        raise GanvasError("No style image was given.", fix="ganvas style photo.jpg starry_night.jpg")
    given = {"--masks": masks, "--style-masks": style_masks, "--style-weights": options.style_weights}
    for knob, values in given.items():
        if values and len(values) != len(styles):
            raise GanvasError(
                f"{knob} has {len(values)} values for {len(styles)} styles.", expected="one for each style, or none"
            )


def _mix_statistics(weighted: Sequence[tuple[float, Statistics]]) -> Statistics:
    """The statistics of a mixture of images with these weights."""
    total = sum(weight for weight, _ in weighted)
    return {name: sum(weight / total * part[name] for weight, part in weighted) for name in weighted[0][1]}  # type: ignore[misc]
