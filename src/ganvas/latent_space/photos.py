"""Photos for a search: what is given as one, and how it becomes pixels of a generator's size."""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ganvas.data import DataOptions, decoding, open_images
from ganvas.data.arrays.value_range import USUAL_LEVELS, Levels, levels_in
from ganvas.data.decoding import Fit
from ganvas.data.source_types import Unreadable
from ganvas.errors import GanvasError, describe_value
from ganvas.files import to_path
from ganvas.networks import Shape
from ganvas.reading import near_paths

MAX_PHOTOS = 64
"""Of one search, and pictures of each kind that it compares them with."""

Source = Path | str | np.ndarray
"""A file of any kind that Ganvas reads, or pixels uint8 [1|3|4 h w]."""

Photo = Source | Image.Image
"""Also an image of Pillow."""


def find_levels(trained: DataOptions | None, photos: Sequence[Source], fingerprint: str, quiet: bool) -> Levels:
    """The levels of the training pictures, where a photo is a grey file of 16 bits or more, or of floats.

    Args:
        fingerprint: of the training pictures: others say nothing about it.
    """
    if trained is None or not any(map(_is_deep, photos)):
        return USUAL_LEVELS
    try:
        images = open_images(trained, progress=not quiet)
    except GanvasError:
        return USUAL_LEVELS
    return levels_in(images.notes) if images.fingerprint == fingerprint else USUAL_LEVELS


def _is_deep(photo: Source) -> bool:
    """Whether it is a grey file of 16 bits or more, or of floats."""
    if isinstance(photo, np.ndarray) or not (path := to_path(photo, "a picture's file")).is_file():
        return False
    try:
        with path.open("rb") as file:
            return decoding.read_header(file, path.name).deep in ("grey", "float")
    except (Unreadable, OSError):
        return False


def load_photo(photo: Source, shape: Shape, fit: Fit, levels: Levels) -> np.ndarray:
    """A photo at a generator's size and channels, uint8 [c h w].

    Args:
        levels: of files of more than 8 bits.

    Raises:
        GanvasError: it cannot be read, or the array is something else.
    """
    size = shape.height, shape.width
    if isinstance(photo, np.ndarray):
        if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[0] not in (1, 3, 4) or not photo.size:
            raise GanvasError(f"{photo.dtype} {list(photo.shape)} is no picture.", expected="uint8 [1|3|4 h w]")
        return decoding.resize_array(photo, shape.channels, size, fit)
    path = to_path(photo, "a picture's file")
    if not path.is_file():
        what = "is no file" if path.exists() else "does not exist"
        raise GanvasError(f"{path} {what}.", expected="a picture's file", fix=near_paths(path))
    try:
        return decoding.decode(io.BytesIO(path.read_bytes()), shape.channels, size, fit, levels)
    except (Unreadable, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise GanvasError(f"{path} cannot be used: {reason}.", expected="a picture of at least 8×8 pixels") from error


def describe_cut(photo: Source, name: str, shape: Shape) -> str:
    """That most of a photo that can be read is cut off; empty if it is not."""
    if isinstance(photo, np.ndarray):
        height, width = photo.shape[1:]
    else:
        with to_path(photo, "a picture's file").open("rb") as file:
            header = decoding.read_header(file, name)
        height, width = header.height, header.width
    down, across = map(round, decoding.crop_size(height, width, (shape.height, shape.width)))
    if 2 * down * across >= height * width:
        return ""
    named = Path(name).name
    return f"{named} has {width}×{height} pixels: only the middle {across}×{down} is used, the shape of what is drawn."


def as_list(photos: Photo | Sequence[Photo]) -> list[Source]:
    """The photos that are given, one or several; images of Pillow as their pixels.

    Raises:
        GanvasError: they are something else, none, or too many.
    """
    single = isinstance(photos, str | Path | Image.Image) or (isinstance(photos, np.ndarray) and photos.ndim != 4)
    if not single and (isinstance(photos, bytes) or not isinstance(photos, Iterable) or not getattr(photos, "ndim", 1)):
        raise GanvasError(f"{describe_value(photos)} is no photo.", expected="files, or pixels uint8 [1|3|4 h w]")
    several: list[Photo] = [photos] if single else list(photos)  # type: ignore[list-item]
    if not 0 < len(several) <= MAX_PHOTOS:
        raise GanvasError(f"There are {len(several)} photos.", expected=f"1 to {MAX_PHOTOS} at a time")
    return [_to_pixels(photo) if isinstance(photo, Image.Image) else photo for photo in several]


def _to_pixels(photo: Image.Image) -> np.ndarray:
    """An image of Pillow upright, uint8 [1|3|4 h w].

    Raises:
        GanvasError: it has more than 8 bits, or cannot be read.
    """
    if photo.mode[0] in "IF":
        raise GanvasError(f"An image of mode {photo.mode} is no photo.", expected="8 bits a channel, or its file")
    mode = "RGBA" if photo.has_transparency_data else "L" if photo.mode in ("1", "L") else "RGB"
    try:
        pixels = np.asarray(ImageOps.exif_transpose(photo).convert(mode))
    except OSError as error:  # its file is cut off
        raise GanvasError(f"An image cannot be used: {error}.", expected="a whole picture") from error
    return pixels[None] if mode == "L" else pixels.transpose(2, 0, 1)
