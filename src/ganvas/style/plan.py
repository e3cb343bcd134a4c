"""What there is before the first step: pictures, masks, network and layers; and from these, each scale's goal."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional as F

from ganvas import devices
from ganvas.errors import GanvasError
from ganvas.style import pictures, weights
from ganvas.style.colours import luminance, palette_statistics, match_palette
from ganvas.style.networks import RGB, Network
from ganvas.style.objective import StyleObjective, Look, StyleTarget, Statistics
from ganvas.style.optimisers import HISTORY_SIZE
from ganvas.style.options import NETWORK_DEFAULTS, StyleOptions, parse_layers
from ganvas.style.pictures import StyleImage, ImageSource

MEMORY_FRACTION = 0.8
"""The part of the free memory that may be filled before the picture is cut into tiles."""

PASS_FACTOR = 3.0
"""Times what a graph holds is what a pass takes: gradients, and what the libraries set aside (docs/results.md)."""


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything that a transfer needs, at the result's size.

    Attributes:
        source: the content as it was opened.
        content: float [1 3 h w] in [-1, 1].
        styles: float [1 3 h' w'] each, of their own sizes.
        shares: the styles' weights; they add up to 1.
        masks: where each style shall be, float [1 1 h w], or none.
        style_masks: what is learnt from, float [1 1 h' w'], or None.
        memory: bytes that it will take, about.
    """

    source: StyleImage
    content: Tensor
    styles: Sequence[Tensor]
    style_weights: Sequence[float]
    masks: Sequence[Tensor]
    style_masks: Sequence[Tensor | None]
    layers: Look
    options: StyleOptions
    memory: int

    def goal(self, size: tuple[int, int]) -> StyleObjective:
        """What the picture shall become at one scale."""
        assert self.options.content_weight is not None
        photo, strength = pictures.resize(self.content, size), self.options.strength
        regions = []
        for where, styles in self._styles_by_mask(size):
            told = _mix_statistics([(share, self.layers.statistics(style, part)) for style, part, share in styles])
            if strength < 1:
                told = _mix_statistics([(strength, told), (1 - strength, self.layers.statistics(photo, where))])
            regions.append(StyleTarget(where, told, sum(share for *_, share in styles)))
        return StyleObjective(
            self.layers, self._palette_matched_photo(size), regions, statistic=self.options.statistic,
            content_weight=self.options.content_weight, tv=self.options.tv_weight,
        )  # fmt: skip

    def first(self, size: tuple[int, int]) -> Tensor:
        """Where to begin: float [1 3 *size] in [-1, 1]."""
        if self.options.init == "content":
            return self._palette_matched_photo(size)
        if self.options.init == "noise":
            drawn = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(self.options.seed))
            return (drawn * 2 - 1).to(self.content.device)
        begun = pictures.unit(pictures.opened(self.options.init, None)).to(self.content.device)
        return pictures.resize(begun, size)

    def coverage(self, size: tuple[int, int]) -> Tensor | None:
        """How much of the picture is redrawn, float [1 1 *size] in [0, 1]; None: all of it."""
        if not self.masks:
            return None
        return _resize_mask(torch.stack(list(self.masks)).sum(0).clamp(max=1), size)

    def _styles_by_mask(
        self, size: tuple[int, int]
    ) -> list[tuple[Tensor | None, list[tuple[Tensor, Tensor | None, float]]]]:
        """(where, [(style, its mask, share) …]) at one scale."""
        factor = max(size) / max(self.content.shape[2:])
        opaque = None
        if self.source.opacity is not None:
            opaque = _resize_mask(torch.from_numpy(self.source.opacity)[None, None].to(self.content) / 255, size)
        parts = []
        for style, mask, share in zip(self.styles, self.style_masks, self.style_weights, strict=True):
            fitted = tuple(max(pictures.MIN_SIDE, round(side * factor)) for side in style.shape[2:])
            small = pictures.resize(style, fitted)  # type: ignore[arg-type]
            if self.options.keep_colours != "none":
                small = self._match_photo_colours(small, pictures.resize(self.content, size), opaque)
            parts.append((small, None if mask is None else _resize_mask(mask, fitted), share))
        if not self.masks:
            return [(opaque, parts)]
        where = [_resize_mask(mask, size) * (1 if opaque is None else opaque) for mask in self.masks]
        return [(here, [part]) for here, part in zip(where, parts, strict=True)]

    def _match_photo_colours(self, style: Tensor, photo: Tensor, opaque: Tensor | None) -> Tensor:
        if self.options.keep_colours == "luminance":
            style, photo = (luminance(picture).expand(-1, 3, -1, -1) for picture in (style, photo))
        return match_palette(style, palette_statistics(style), palette_statistics(photo, opaque))

    def _palette_matched_photo(self, size: tuple[int, int]) -> Tensor:
        """The photo in the styles' palette: what is kept of it, and where drawing begins."""
        photo = pictures.resize(self.content, size)
        if self.options.keep_colours == "luminance":
            photo = luminance(photo).expand(-1, 3, -1, -1)
        if not self.options.palette:
            return photo
        painted, covered = photo, 0
        for where, styles in self._styles_by_mask(size):
            told = [(share, {RGB: palette_statistics(style, part)}) for style, part, share in styles]
            new = match_palette(photo, palette_statistics(photo, where), _mix_statistics(told)[RGB])
            here = 1 if not self.masks or where is None else where
            painted, covered = painted + here * (new - photo), covered + here
        return photo + self.options.strength * (painted - photo)


def plan(
    content: ImageSource,
    styles: Sequence[ImageSource],
    masks: Sequence[ImageSource],
    style_masks: Sequence[ImageSource],
    options: StyleOptions,
) -> Plan:
    """Opens everything, and finds out what it will cost.

    Raises:
        GanvasError: something cannot be opened, the counts do not fit, or it needs more memory than there is.
    """
    _check_counts(styles, masks, style_masks, options)
    device = devices.choose(options.device)
    assert options.size is not None
    source = pictures.opened(content, options.size)
    image = pictures.unit(source).to(device)
    limit = round(options.size * options.style_scale)
    paintings = [pictures.opened(style, limit, enlarge=False) for style in styles]
    size = (image.shape[2], image.shape[3])
    learnt = [
        pictures.load_mask(style_masks[i], p.pixels.shape[1:]).to(device) if style_masks else _opacity_mask(p, device)
        for i, p in enumerate(paintings)
    ]
    if options.init not in ("content", "noise"):
        pictures.opened(options.init, None)
    network = weights.load_network(options.network, options.weights).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    look = Look(network, *choose_layers(network, options))
    look, memory = fit_tiles(look, size, options.tile, devices.free_bytes(device))
    given = options.style_weights or (1.0,) * len(styles)
    return Plan(
        source, image, [pictures.unit(p).to(device) for p in paintings], [w / sum(given) for w in given],
        [pictures.load_mask(mask, size).to(device) for mask in masks], learnt, look, options, memory,
    )  # fmt: skip


def scale_sizes(size: Sequence[int], smallest: int) -> list[tuple[int, int]]:
    """(height, width) from the coarsest to `size`, larger by √2 each; no shorter side falls below 32 on the way.

    The first one's longer side is at least `smallest`.
    """
    found, factor = [(size[0], size[1])], 2**-0.5
    while max(size) * factor >= smallest - 0.5 and min(size) * factor >= 32:
        found.append((round(size[0] * factor), round(size[1] * factor)))
        factor *= 2**-0.5
    return found[::-1]


def choose_layers(network: Network, options: StyleOptions) -> tuple[dict[str, float], dict[str, float]]:
    """The layers of style and content with their weights, which add up to 1 each.

    A network's own choice is cut where its weights end; of what the user names, nothing may be missing.
    """
    found = []
    for knob in ("style_layers", "content_layers"):
        asked = getattr(options, knob)
        named = parse_layers(asked or NETWORK_DEFAULTS[network.name][knob], f"--{knob.replace('_', '-')}")
        if asked:
            network.check_layers(named)
        usable = {name: weight for name, weight in named.items() if name in network.layer_names} or {
            network.layer_names[-1]: 1.0
        }
        found.append({name: weight / sum(usable.values()) for name, weight in usable.items()})
    return found[0], found[1]


def fit_tiles(look: Look, size: tuple[int, int], tile: int | None, free: int) -> tuple[Look, int]:
    """The look with tiles that fit into memory, where the whole picture would not, and the bytes that it takes, about.

    What a graph holds is linear in its pixels, so two small pictures tell it for any.

    Raises:
        GanvasError: not even the smallest tiles fit.
    """
    few, more = (_graph_bytes(look, side) for side in (64, 96))
    a_pixel = PASS_FACTOR * (more - few) / (96**2 - 64**2)
    kept = 4 * 3 * (10 + 2 * HISTORY_SIZE) * size[0] * size[1]  # the picture, the photo …, and what L-BFGS remembers
    margin = 2 * max(look.network.receptive_radius(name) for name in {*look.style, *look.content})

    def memory(side: int | None) -> int:
        height, width = size if side is None else (min(side + margin, length) for length in size)
        return round(kept + a_pixel * height * width)

    if tile is None and memory(None) > MEMORY_FRACTION * free:
        tile = next((side for side in range(4096, 32, -32) if memory(side) <= MEMORY_FRACTION * free), 32)
    if tile is not None and tile >= max(size):
        tile = None
    if memory(tile) > MEMORY_FRACTION * free:
        whole = "" if tile is None else f" even in tiles of {tile}"
        raise GanvasError(
            f"This needs {memory(tile) / 1e9:.1f} GB of memory{whole}, and {free / 1e9:.1f} GB are free.",
            expected=f"at most {MEMORY_FRACTION:.0%} of what is free",
            fix="a smaller --size or --tile.",
        )
    return replace(look, tile=tile), memory(tile)


def _graph_bytes(look: Look, side: int) -> int:
    """Bytes that the graph of one look at a square picture holds."""
    held: dict[int, int] = {}  # bytes at each address: nothing saved is freed before the backward pass

    def hold(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        held[storage.data_ptr()] = storage.nbytes()
        return tensor

    device = next(look.network.parameters()).device
    image = torch.zeros(1, 3, side, side, device=device).requires_grad_()
    with saved_tensors_hooks(hold, lambda tensor: tensor):
        told = look.network.layers(image, {*look.style, *look.content})
        total = sum(layer.square().sum() for layer in told.values())
    assert isinstance(total, Tensor)
    return sum(held.values())


def _check_counts(
    styles: Sequence[Any], masks: Sequence[Any], style_masks: Sequence[Any], options: StyleOptions
) -> None:
    if not styles:
        raise GanvasError("No style was named.", fix="ganvas style photo.jpg starry_night.jpg")
    given = {"--masks": masks, "--style-masks": style_masks, "--style-weights": options.style_weights}
    for knob, values in given.items():
        if values and len(values) != len(styles):
            raise GanvasError(
                f"{knob} has {len(values)} values for {len(styles)} styles.", expected="one for each style, or none"
            )


def _mix_statistics(told: Sequence[tuple[float, Statistics]]) -> Statistics:
    """The statistics of a mixture of pictures, by their shares."""
    whole = sum(share for share, _ in told)
    return {name: sum(share / whole * part[name] for share, part in told) for name in told[0][1]}  # type: ignore[misc]


def _resize_mask(weights: Tensor, size: tuple[int, ...]) -> Tensor:
    return F.interpolate(weights, size, mode="area")


def _opacity_mask(picture: StyleImage, device: torch.device) -> Tensor | None:
    if picture.opacity is None:
        return None
    return torch.from_numpy(picture.opacity)[None, None].to(device).float() / 255
