"""The film of a training: the same images at every snapshot, cut out of the grids that lie in the run folder.

Grids are never removed, so the film of a run that was interrupted, or whose snapshots are pruned, is whole.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, features

from ganvas import image_io
from ganvas.animation import whole_durations
from ganvas.reading import open_regular
from ganvas.runs.folder import Run
from ganvas.runs.names import format_kimg, numbered

GRID_COLUMNS = 8
"""Images in a row of a grid (fakes*.png)."""

GRID_MAX_ROWS = 20
"""Rows of a grid with one class a row, at most; later classes are left out."""

IMAGES = 16
"""Images in a frame: those of the seeds 0 to 15; where training is conditional, as many classes as possible."""

MAX_FRAMES = 60
MAX_SIDE = 128
"""Pixels to which the longer side of larger images is reduced."""

SECONDS = 8.0
"""Length of a film of many frames; a frame of a short one is shown for MAX_FRAME_SECONDS."""
MAX_FRAME_SECONDS = 0.5
LAST_FRAME_SECONDS = 2.0


def save(run: Run, out: Path | None = None) -> Path | None:
    """Writes the film up to the newest snapshot: an endless WebP, of at most MAX_FRAMES frames with their kimg.

    Args:
        run: a run, also one of an earlier version.
        out: the file, .webp or .gif; by default training.webp in the run's folder (.gif where Pillow writes no WebP).

    Returns:
        The file; None if fewer than two grids can be read, which make no film.

    Raises:
        GanvasError: this is no run, or the file cannot be written.
    """
    out = out or run.path / ("training.webp" if features.check("webp") else "training.gif")
    last = max((nimg for nimg, _ in numbered(run.snapshots)), default=-1)
    grids = [(nimg, file) for nimg, file in numbered(run.grids) if nimg <= last]
    frames = list(_draw_frames(_thin(grids), run.metadata["data"]["shape"]))
    if len(frames) < 2:
        return None
    seconds = [min(MAX_FRAME_SECONDS, SECONDS / len(frames))] * (len(frames) - 1) + [LAST_FRAME_SECONDS]
    image_io.save_image(
        frames[0], out, save_all=True, append_images=frames[1:], loop=0,
        duration=whole_durations(seconds, out.suffix),
        **({"quality": 80, "method": 2} if out.suffix == ".webp" else {}),
    )  # fmt: skip
    return out


def read_images(grid: Path, shape: Mapping[str, int], n: int) -> list[Image.Image]:
    """The first n images of a grid of generated images, RGB or L, at their own size; class by class if it has classes.

    Args:
        grid: a file fakes*.png.
        shape: channels, height, width and classes, as in config.json.
        n: at most 16.

    Returns:
        The images; none if the file cannot be read, or is another image.
    """
    rows = min(shape["classes"], GRID_MAX_ROWS)
    cells = [(i % rows, i // rows) if rows else divmod(i, GRID_COLUMNS) for i in range(n)]
    try:
        with (
            warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning),
            open_regular(grid) as file,
            Image.open(file) as opened,
        ):
            size = rows or GRID_COLUMNS, GRID_COLUMNS
            images = image_io.cut_grid(opened, cells, size, shape["height"], shape["width"])
            return [_without_transparency(image) for image in images]
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # SyntaxError: a damaged PNG
        return []


def _thin(grids: Sequence[tuple[int, Path]]) -> Iterator[tuple[int, Path]]:
    """At most MAX_FRAMES of the grids, evenly, the first and the last among them."""
    n = min(len(grids), MAX_FRAMES)
    return (grids[round(i * (len(grids) - 1) / max(1, n - 1))] for i in range(n))


def _draw_frames(grids: Iterator[tuple[int, Path]], shape: Mapping[str, int]) -> Iterator[Image.Image]:
    """A frame of each grid that can be read."""
    height, width = shape["height"], shape["width"]
    scale = image_io.choose_scale(height, width)
    if (longer := max(height, width)) > MAX_SIDE:
        scale = MAX_SIDE / longer
    size = max(1, round(width * scale)), max(1, round(height * scale))
    smoothing = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX
    for nimg, file in grids:
        if images := read_images(file, shape, IMAGES):
            yield _draw_frame([image.resize(size, smoothing) for image in images], f"{format_kimg(nimg)} kimg")


def _draw_frame(images: Sequence[Image.Image], caption: str, columns: int = 4) -> Image.Image:
    """Images of one size in rows, and a caption under them."""
    (width, height), gap, font = images[0].size, 4, ImageFont.load_default(size=14)
    rows = -(-len(images) // columns)
    size = max(columns * (width + gap) + gap, 100), rows * (height + gap) + gap + 20
    frame = Image.new(images[0].mode, size, "white")
    for i, image in enumerate(images):
        row, column = divmod(i, columns)
        frame.paste(image, (gap + column * (width + gap), gap + row * (height + gap)))
    ImageDraw.Draw(frame).text((gap, frame.height - gap - 8), caption, fill="black", font=font, anchor="lm")
    return frame


def _without_transparency(image: Image.Image) -> Image.Image:
    """On white, if it is transparent anywhere."""
    if image.mode != "RGBA":
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
