"""What the explorer's child process does: it keeps loaded generators, and draws pictures with them. Imports PyTorch."""

import base64
import io
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ganvas import image_io, sampling
from ganvas.data import open_images
from ganvas.drawing import images_per_pass
from ganvas.errors import GanvasError
from ganvas.evaluation.near_copies import MAX_RATIO, TrainingPixels
from ganvas.latent_space.axes import Directions, directions
from ganvas.latent_space.axis_names import METHODS, parse_direction
from ganvas.latent_space.noise import change_noise
from ganvas.latent_space.pictures import Request
from ganvas.latents import Latents
from ganvas.runs import lookup
from ganvas.runs.card import weights_file
from ganvas.runs.training_data import find_data
from ganvas.sampling import Sampler
from ganvas.seeds import check_seeds

MAX_LOADED, MAX_NOISES = 3, 4
"""Generators that are kept in memory, and copies of one with other noise."""

DIRECTIONS = 64
"""Directions that are found of each method."""

REACH = 3.0
"""Of the map: standard deviations along each direction."""

SIDES = (7, 5, 3)
"""Pictures along a side of the map: as many as one pass draws."""

MAX_SEEDS, SHEET_COLUMNS = 64, 8
"""Of a sheet of seeds."""

NEIGHBOURS, SIDE = 6, 256
"""Training pictures that are shown beside one, and pixels of each at most."""

_kept: OrderedDict[tuple[Any, ...], "Loaded"] = OrderedDict()


class Loaded:
    """A generator in memory, with what was found of it."""

    def __init__(self, path: str) -> None:
        self.sampler = sampling.load(path)
        self._directions: dict[str, Directions] = {}
        self._noises: OrderedDict[str, Sampler] = OrderedDict()

    def directions(self, drawn: Sampler, method: str, number: int) -> Directions:
        """Its directions of a method."""
        if method not in self._directions:
            self._directions[method] = directions(self.sampler, method=method, n=DIRECTIONS)  # type: ignore[arg-type]
        return self._directions[method]

    def with_noise(self, noise: str | None) -> Sampler:
        """It with other noise."""
        if noise is None:
            return self.sampler
        if noise not in self._noises:
            self._noises[noise] = change_noise(self.sampler, noise)
        self._noises.move_to_end(noise)
        while len(self._noises) > MAX_NOISES:
            self._noises.popitem(last=False)
        return self._noises[noise]

    def request(self, view: Mapping[str, Any]) -> tuple[Sampler, Request]:
        """With what a view is drawn, and what it asks for."""
        given = {name: value for name, value in view.items() if name != "noise"}
        given["latents"] = given["latents"] and Path(given["latents"])
        return self.with_noise(view["noise"]), Request(**given, find=self.directions)

    @cached_property
    def training(self) -> tuple[np.ndarray, TrainingPixels]:
        """Its training pictures, uint8 [n c h w], and these as they are compared."""
        options = find_data(self.sampler.path, self.sampler.card.data, self.sampler.card.shape[:3])
        if options is None:
            raise GanvasError(f"{self.sampler.name} does not say where its training pictures are.")
        images = open_images(options, progress=False).images
        pixels = TrainingPixels.from_images(images)
        if pixels is None:
            raise GanvasError("There are fewer than three different training pictures.")
        return images, pixels


def load(path: str) -> Loaded:
    """A generator, from memory if it was used recently and its files are the same.

    Raises:
        GanvasError: it was removed, or cannot be loaded.
    """
    file = weights_file(lookup.find_local(Path(path)))
    try:
        status = os.stat(file)
    except FileNotFoundError:
        raise GanvasError(f"{path} is not here any more.", fix="take the newest snapshot.") from None
    key = path, status.st_mtime_ns, status.st_size
    if key not in _kept:
        for old in [one for one in _kept if one[0] == path]:
            del _kept[old]
        while len(_kept) >= MAX_LOADED:
            _kept.popitem(last=False)
        _kept[key] = Loaded(path)
    _kept.move_to_end(key)
    return _kept[key]


def describe(path: str) -> dict[str, Any]:
    """What a page has to know of a generator; `mixing` and `noise`: why it has none, or empty."""
    sampler = load(path).sampler
    card, generator = sampler.card, sampler.generator
    return {
        "name": sampler.name, "family": card.network.family, "space": generator.style_space, "recipe": card.recipe,
        "shape": card.shape._asdict(), "classes": list(card.class_names), "nimg": card.nimg,
        "data": str(card.data.get("name", "")), "layers": sampler.latents([0]).styles.shape[1],
        "noises": len(generator.noise), "methods": list(METHODS), "reach": REACH,
        "mixing": _reason(lambda: sampler.mix_latents([0], [1], layers=None, label=None, truncation=1.0)),
        "noise": _reason(lambda: change_noise(sampler, "none")),
    }  # fmt: skip


def _reason(work: Callable[[], object]) -> str:
    """Why something is refused; empty if it is not."""
    try:
        work()
    except GanvasError as error:
        return error.what
    return ""


def find_directions(path: str, method: str) -> dict[str, Any]:
    """How many directions there are, and the share of each."""
    loaded = load(path)
    found = loaded.directions(loaded.sampler, method, 0)
    return {"method": method, "n": len(found), "shares": [float(share) for share in found.shares[: len(found)]]}


def draw_sheet(path: str, seeds: str) -> str:
    """The images of seeds, such as "0-31", as one sheet: PNG in Base64."""
    chosen = check_seeds(seeds)
    if len(chosen) > MAX_SEEDS:
        raise GanvasError(f"{len(chosen):,} seeds are too many for a page.", expected=f"at most {MAX_SEEDS}")
    return _encode(load(path).sampler.sample(chosen).grid(columns=SHEET_COLUMNS))


def draw(path: str, view: Mapping[str, Any], quick: bool = False) -> str:
    """The picture of a view at its own size, PNG in Base64; a quick one may differ by one level of a pixel."""
    if not quick:
        return to_png(_draw(path, view))
    sampler, request = load(path).request(view)
    return to_png(next(iter(sampler.draw_batches(request.latents_of(sampler)[:1], 1)))[0].numpy())


def _draw(path: str, view: Mapping[str, Any]) -> np.ndarray:
    sampler, request = load(path).request(view)
    return next(iter(request.batches(sampler)))[0].numpy()


def draw_map(path: str, view: Mapping[str, Any], x: str, y: str) -> str:
    """Pictures along two directions around a view, from -REACH to REACH, y upwards, no margins: PNG in Base64."""
    loaded = load(path)
    sampler, request = loaded.request(view)
    channels, height, width = sampler.card.shape[:3]
    side = next((side for side in SIDES if side**2 <= images_per_pass(height, width)), SIDES[-1])
    points, amounts = request.latents_of(sampler)[:1], np.linspace(-REACH, REACH, side).tolist()
    for name in (x, y):
        method, number = parse_direction(name)
        points = loaded.directions(sampler, method, number).move(points, number, amounts)
    images = np.asarray(sampler.draw(points)).reshape(side, side, channels, height, width)
    rows = images.transpose(1, 0, 2, 3, 4)[::-1]  # [y x c h w]
    sheet = rows.transpose(2, 0, 3, 1, 4).reshape(channels, side * height, side * width)
    return to_png(sheet)


def find_nearest(path: str, view: Mapping[str, Any]) -> dict[str, Any]:
    """The training pictures nearest to that of a view, and whether it is a near-copy of the first.

    Raises:
        GanvasError: the training pictures are not here.
    """
    images, pixels = load(path).training
    rows, distances, ratio = pixels.nearest(_draw(path, view), NEIGHBOURS)
    pictures = [
        {"index": int(row), "distance": float(distance), "png": to_png(np.asarray(images[row]), SIDE)}
        for row, distance in zip(rows, distances, strict=True)
    ]
    return {"pictures": pictures, "ratio": ratio, "most": MAX_RATIO, "copy": ratio <= MAX_RATIO, "n": len(images)}


def points_of(path: str, views: list[Mapping[str, Any]]) -> tuple[Sampler, Latents]:
    """The generator of views, with the noise of the first, and where their pictures lie.

    Raises:
        GanvasError: a view is of another generator.
    """
    loaded, found = load(path), []
    for view in views:
        sampler, request = loaded.request(view)
        found.append(request.latents_of(sampler)[:1])
    return loaded.with_noise(views[0]["noise"]), Latents.concatenate(found)


def to_png(pixels: np.ndarray, most: int | None = None) -> str:
    """uint8 [c h w] as a PNG in Base64, of at most so many pixels a side."""
    image: Image.Image = image_io.to_pil(pixels)
    if most is not None:
        image.thumbnail((most, most), Image.Resampling.LANCZOS)
    return _encode(image)


def _encode(image: Image.Image) -> str:
    content = io.BytesIO()
    image.save(content, "PNG", compress_level=1)
    return base64.b64encode(content.getvalue()).decode()
