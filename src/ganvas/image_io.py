"""Images on one canvas: grids, picture files, walks."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ganvas.errors import GanvasError
from ganvas.files import atomic_file, make_folder

SMALLEST_CELL = 64
"""Pixels: smaller images are enlarged by a whole factor, each pixel staying a sharp square."""

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_PAPER = 255


def enlargement(height: int, width: int) -> int:
    """The whole factor that brings the longer side to at least SMALLEST_CELL pixels."""
    return max(1, -(-SMALLEST_CELL // max(height, width)))


def picture(image: np.ndarray, scale: int = 1) -> Image.Image:
    """uint8 [c h w] -> a Pillow image (L, RGB or RGBA), enlarged `scale` times without smoothing."""
    pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    return Image.fromarray(np.ascontiguousarray(pixels.repeat(scale, 0).repeat(scale, 1)))


def grid(images: np.ndarray, columns: int, *, row_names: Sequence[str] = (), scale: int | None = None) -> Image.Image:
    """uint8 [n c h w] -> one picture, row by row, with margins; with names, each row has its own at the left."""
    n, channels, height, width = images.shape
    scale = scale or enlargement(height, width)
    rows = -(-n // columns)
    assert not row_names or len(row_names) == rows
    cell_h, cell_w, gap = height * scale, width * scale, max(2, min(height, width) * scale // 16)
    font = ImageFont.load_default(size=max(12, min(cell_h // 4, 24)))
    left = gap + max((int(font.getlength(name)) + 2 * gap for name in row_names), default=0)
    size = (left + columns * (cell_w + gap), gap + rows * (cell_h + gap))
    paper = Image.new(_MODES[channels], size, (_PAPER,) * channels if channels > 1 else _PAPER)
    for i, image in enumerate(images):
        row, column = divmod(i, columns)
        paper.paste(picture(image, scale), (left + column * (cell_w + gap), gap + row * (cell_h + gap)))
    draw = ImageDraw.Draw(paper)
    ink = (0, 0, 0, 255)[:channels] if channels > 1 else 0
    for row, name in enumerate(row_names):
        draw.text((gap, gap + row * (cell_h + gap) + cell_h // 2), name, fill=ink, font=font, anchor="lm")
    return paper


def save(image: Image.Image, path: Path, **how: Any) -> None:
    """Writes a picture in the format of its ending, atomically; `how` goes to Pillow's encoder.

    Raises:
        GanvasError: no format has this ending, or the format cannot hold the picture.
    """
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind not in ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"):
        raise GanvasError(
            f"No picture format ends in '{path.suffix}' ({path}).", expected=".png, .jpg, .webp, .tif, .bmp or .gif"
        )
    if kind == "JPEG" and image.mode == "RGBA":
        raise GanvasError(f"{path}: JPEG has no transparency.", fix="write .png or .webp instead.")
    make_folder(path.parent)
    try:
        with atomic_file(path) as temporary:
            image.save(temporary, format=kind, **how)
    except (ValueError, KeyError) as error:
        raise GanvasError(f"{path}: {error}", fix="write .png instead.") from error


def save_walk(frames: Iterable[np.ndarray], path: Path, *, per_second: int = 25) -> int:
    """Writes images uint8 [c h w] as an endless animation (.gif, .webp or .png); returns how many.

    Raises:
        GanvasError: the ending is none of these.
    """
    kind = {".gif": "GIF", ".webp": "WEBP", ".png": "PNG"}.get(path.suffix.lower())
    if kind is None:
        raise GanvasError(f"'{path.name}' is no animation Ganvas writes.", expected="a name in .gif, .webp or .png")
    pictures = [picture(frame, enlargement(*frame.shape[1:])) for frame in frames]
    make_folder(path.parent)
    with atomic_file(path) as temporary:
        pictures[0].save(
            temporary,
            format=kind,
            save_all=True,
            append_images=pictures[1:],
            duration=round(1000 / per_second),
            loop=0,
            **({"lossless": True} if kind == "WEBP" else {}),
        )
    return len(pictures)
