"""Converts arrays to Pillow images, arranges them in grids, and writes image files."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ganvas.errors import GanvasError
from ganvas.files import atomic_file, check_writable, make_folder

MIN_CELL_SIZE = 64
"""Smaller images, in pixels, are enlarged by a whole factor without smoothing."""

MAX_SCALE = 256

MAX_GRID_SIDE = 65_500
MAX_GRID_PIXELS = 2**28
"""The largest grid: JPEG stores no longer side, and this many RGB pixels need 800 MB of memory."""

MAX_SIDES = {"JPEG": 65_500, "WEBP": 16_383}
"""The longest side that a format stores, in pixels; the others store that of every grid."""

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def choose_scale(height: int, width: int) -> int:
    """The smallest whole factor that enlarges the longer side to at least MIN_CELL_SIZE pixels."""
    return max(1, -(-MIN_CELL_SIZE // max(height, width)))


def to_pil(image: np.ndarray, scale: int = 1) -> Image.Image:
    """uint8 [c h w] -> a Pillow image (L, RGB or RGBA), enlarged `scale` times without smoothing."""
    pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    return Image.fromarray(np.ascontiguousarray(pixels.repeat(scale, 0).repeat(scale, 1)))


def check_grid(
    n: int,
    columns: int,
    height: int,
    width: int,
    scale: int | None = None,
    *,
    row_names: Sequence[str] = (),
    path: Path | None = None,
    fewer: str = "fewer images",
    each: bool = False,
) -> None:
    """Refuses a grid of `make_grid` that is larger than a file of images can be.

    Args:
        path: the file, whose format may store less than others.
        fewer: what makes the grid smaller, in words.
        each: whether the command also writes a file for each image, with --each.

    Raises:
        GanvasError: it is too large.
    """
    scale = scale or choose_scale(height, width)
    cell_h, cell_w, _ = _measure_cell(height, width, scale)
    _, size = _measure_grid(n, columns, height, width, scale, row_names)
    most = MAX_GRID_SIDE if path is None else MAX_SIDES.get(_find_format(path), MAX_GRID_SIDE)
    if max(size) > most or -(-n // columns) * cell_h * columns * cell_w > MAX_GRID_PIXELS:
        others = {
            "a smaller --scale": scale > 1,
            "a .png file": most < MAX_GRID_SIDE,
            "a file for each image: --each FOLDER": each,
        }
        ways = [fewer, *(way for way, helps in others.items() if helps)]
        raise GanvasError(
            f"A grid of {n:,} images would have {size[0]:,}×{size[1]:,} pixels.",
            expected=f"at most {MAX_GRID_PIXELS / 1e6:.0f} million, and {most:,} on a side",
            fix=f"{', or '.join(ways)}.",
        )


def make_grid(
    images: np.ndarray, columns: int, *, row_names: Sequence[str] = (), scale: int | None = None
) -> Image.Image:
    """Arranges uint8 [n c h w] row by row in one image, with margins; `row_names` are written at the left."""
    n, channels, height, width = images.shape
    check_grid(n, columns, height, width, scale, row_names=row_names)
    scale = scale or choose_scale(height, width)
    assert not row_names or len(row_names) == -(-n // columns)
    cell_h, cell_w, gap = _measure_cell(height, width, scale)
    left, size = _measure_grid(n, columns, height, width, scale, row_names)
    canvas = Image.new(_MODES[channels], size, "white")
    for i, image in enumerate(images):
        row, column = divmod(i, columns)
        canvas.paste(to_pil(image, scale), (left + column * (cell_w + gap), gap + row * (cell_h + gap)))
    draw, font = ImageDraw.Draw(canvas), _font(cell_h)
    for row, name in enumerate(row_names):
        draw.text((gap, gap + row * (cell_h + gap) + cell_h // 2), name, fill="black", font=font, anchor="lm")
    return canvas


def cut_grid(
    grid: Image.Image,
    cells: Iterable[tuple[int, int]],
    size: tuple[int, int],
    height: int,
    width: int,
    *,
    scale: int | None = None,
) -> list[Image.Image]:
    """The images in some cells of a grid of `make_grid`, at their own size.

    Args:
        grid: with names or without.
        cells: (row, column) of each image.
        size: rows and columns of the grid.
        height, width: of an image.
        scale: as `make_grid` was given it.

    Raises:
        ValueError: it has another size than such a grid.
    """
    cell_h, cell_w, gap = _measure_cell(height, width, scale or choose_scale(height, width))
    left = grid.width - size[1] * (cell_w + gap)  # names are at the left
    if left < gap or grid.height != gap + size[0] * (cell_h + gap):
        raise ValueError(f"{grid.width}×{grid.height} pixels are no grid of {size[0]}×{size[1]} images")
    corners = [(left + column * (cell_w + gap), gap + row * (cell_h + gap)) for row, column in cells]
    crops = [grid.crop((x, y, x + cell_w, y + cell_h)) for x, y in corners]
    return [crop.resize((width, height), Image.Resampling.NEAREST) for crop in crops]


def _measure_cell(height: int, width: int, scale: int) -> tuple[int, int, int]:
    """(height, width, gap) of an image in a grid, in pixels."""
    return height * scale, width * scale, max(2, min(height, width) * scale // 16)


def _measure_grid(
    n: int, columns: int, height: int, width: int, scale: int, row_names: Sequence[str]
) -> tuple[int, tuple[int, int]]:
    """Where the first image of each row begins, and (width, height) of a grid, in pixels."""
    cell_h, cell_w, gap = _measure_cell(height, width, scale)
    left = gap
    if row_names:
        font = _font(cell_h)
        left += max(int(font.getlength(name)) + 2 * gap for name in row_names)
    return left, (left + columns * (cell_w + gap), gap + -(-n // columns) * (cell_h + gap))


def _font(cell_h: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """That of the row names beside images of a height."""
    return ImageFont.load_default(size=max(12, min(cell_h // 4, 24)))


def check_image_file(path: Path, channels: int = 3) -> None:
    """Refuses a file that `save_image` cannot write, before an image of 1, 3 or 4 channels is made.

    Raises:
        GanvasError: the extension is unknown, the format cannot store the image, or the place cannot be written.
    """
    _check_mode(path, _MODES[channels])
    check_writable(path)


def _find_format(path: Path) -> str:
    file_format = Image.registered_extensions().get(path.suffix.lower())
    if file_format not in ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"):
        raise GanvasError(
            f"No image format has the extension '{path.suffix}' ({path}).",
            expected=".png, .jpg, .webp, .tif, .bmp or .gif",
        )
    return file_format


def _check_mode(path: Path, mode: str) -> str:
    """The format of a file, which can store a mode of Pillow's."""
    file_format = _find_format(path)
    if file_format == "JPEG" and mode == "RGBA":
        raise GanvasError(f"{path}: JPEG has no transparency.", fix="write .png or .webp instead.")
    return file_format


def save_image(image: Image.Image, path: Path, **options: Any) -> None:
    """Writes an image atomically in the format of the file extension; `options` go to Pillow's encoder.

    Raises:
        GanvasError: the extension is unknown, or the format cannot store the image.
    """
    file_format = _check_mode(path, image.mode)
    if max(image.size) > (most := MAX_SIDES.get(file_format, max(image.size))):
        raise GanvasError(
            f"{path} would have {image.width:,}×{image.height:,} pixels.",
            expected=f"at most {most:,} on a side in {file_format}",
            fix="write .png instead.",
        )
    make_folder(path.parent)
    try:
        with atomic_file(path) as temporary:
            image.save(temporary, format=file_format, **options)
    except (ValueError, KeyError) as error:
        raise GanvasError(f"{path}: {error}", fix="write .png instead.") from error
