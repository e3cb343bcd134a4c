"""Writes films: GIF, WebP and animated PNG by Pillow, MP4 and WebM by PyAV (extra `video`)."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ganvas.errors import GanvasError
from ganvas.files import atomic_file, check_writable, make_folder
from ganvas.image_io import MAX_SCALE, choose_scale, to_pil
from ganvas.values import to_whole

PILLOW_FORMATS = {".gif": "GIF", ".webp": "WEBP", ".png": "PNG"}
CODECS = {".mp4": ("libx264", "mp4", {"crf": "16"}), ".webm": ("libvpx-vp9", "webm", {"crf": "20", "b": "0"})}
"""Codec, container and quality; both play in browsers."""

MAX_PIXELS = 2**28
"""Of all frames of a GIF, WebP or PNG, which Pillow holds in memory."""

MAX_SIDE = 16_383
"""Of a frame: WebP stores no longer one."""

MAX_FPS, MAX_GIF_FPS = 120, 50
"""A GIF has hundredths of a second, and browsers show a frame that is to last fewer than two at ten a second."""


def save_animation(frames: Iterable[np.ndarray], path: Path, *, fps: int = 25, scale: int | None = None) -> int:
    """Writes images uint8 [c h w] of one size as a film, by the file's extension; returns the number of frames.

    .mp4 and .webm take any number of frames in bounded memory; .gif, .webp and .png, which play for ever, are held in
    memory until they are written, and have at most 2^28 pixels in all.

    Args:
        fps: frames a second, 1 to 120; a GIF has at most 50.
        scale: each pixel is enlarged by this factor; by default small images are.

    Raises:
        GanvasError: another extension, rate or factor; a place that cannot be written; frames that are too large, or
            too many for a .gif, .webp or .png; no PyAV for .mp4 or .webm.
    """
    check_animation(path, fps, scale)
    suffix = path.suffix.lower()
    counted = _Counted(_to_frame(frame, scale or choose_scale(*frame.shape[1:])) for frame in frames)
    make_folder(path.parent)
    with atomic_file(path) as temporary:
        if suffix in CODECS:
            _write_video(_import_av(path), counted, temporary, suffix, fps)
        else:
            _write_by_pillow(counted, temporary, suffix, fps)
    return counted.count


def check_animation(path: Path, fps: int, scale: int | None = None) -> None:
    """Refuses what `save_animation` cannot write, before any frame is made; its arguments and errors."""
    suffix = path.suffix.lower()
    if suffix not in PILLOW_FORMATS and suffix not in CODECS:
        raise GanvasError(
            f"Ganvas cannot write an animation to '{path.name}'.",
            expected="a name ending in .gif, .webp, .png, .mp4 or .webm",
        )
    to_whole(fps, "--fps", 1, MAX_FPS)
    if suffix == ".gif" and fps > MAX_GIF_FPS:
        raise GanvasError(
            f"--fps is {fps}.",
            expected=f"at most {MAX_GIF_FPS} of a GIF, of which browsers show no frame for less than 20 ms",
            fix="write .webp, .png, .mp4 or .webm.",
        )
    if scale is not None:
        to_whole(scale, "--scale", 1, MAX_SCALE)
    if suffix in CODECS:
        _import_av(path)
    check_writable(path)


def check_frames(path: Path, count: int, height: int, width: int, scale: int | None = None) -> None:
    """Refuses as many frames of this size as `save_animation` cannot write, before any is made.

    Raises:
        GanvasError: frames that are too large, or too many for a .gif, .webp or .png.
    """
    height, width = (side * (scale or choose_scale(height, width)) for side in (height, width))
    _check_side(height, width)
    if path.suffix.lower() in PILLOW_FORMATS and count * height * width > MAX_PIXELS:
        raise _too_many(f"{count:,} frames of {width}×{height} pixels")


def _check_side(height: int, width: int) -> None:
    if max(height, width) > MAX_SIDE:
        raise GanvasError(
            f"Frames of {width:,}×{height:,} pixels are too large.", expected=f"at most {MAX_SIDE:,} on a side"
        )


def _too_many(frames: str) -> GanvasError:
    return GanvasError(
        f"A .gif, .webp or .png of {frames} would take too much memory.",
        fix="write .mp4 or .webm, or fewer --frames, or a smaller --scale.",
    )


def _to_frame(image: np.ndarray, scale: int) -> Image.Image:
    _check_side(*(side * scale for side in image.shape[1:]))
    return to_pil(image, scale)


class _Counted:
    """An iterator that counts."""

    def __init__(self, images: Iterable[Image.Image]) -> None:
        self._images, self.count = iter(images), 0

    def __iter__(self) -> Iterator[Image.Image]:
        return self

    def __next__(self) -> Image.Image:
        image = next(self._images)
        self.count += 1
        return image


def whole_durations(seconds: Sequence[float], suffix: str) -> list[int]:
    """How long each frame is shown, in ms: whole ones, of a GIF (.gif) whole hundredths of a second.

    What is rounded off one frame is added to the next, so that the film takes its time.
    """
    unit = 10 if suffix.lower() == ".gif" else 1
    ends = [round(1000 * end / unit) for end in itertools.accumulate(seconds)]
    return [unit * (end - start) for start, end in itertools.pairwise([0, *ends])]


def _write_by_pillow(images: _Counted, file: Path, suffix: str, fps: int) -> None:
    first = next(images)
    rest = list(_bounded(images, first))
    durations = whole_durations([1 / fps] * images.count, suffix)
    options = {"duration": durations, "loop": 0, "lossless": True}  # the last is for WebP
    if suffix == ".gif" and first.mode == "RGBA":
        options["disposal"] = 2  # each frame is cleared: else it shows through what is transparent in the next
    first.save(file, PILLOW_FORMATS[suffix], save_all=True, append_images=rest, **options)


def _bounded(images: _Counted, first: Image.Image) -> Iterator[Image.Image]:
    for image in images:
        if images.count * first.width * first.height > MAX_PIXELS:
            raise _too_many(f"{images.count:,} frames of {first.width}×{first.height} pixels and more")
        yield image


def _import_av(path: Path) -> Any:
    try:
        return import_module("av")
    except ImportError as error:
        raise GanvasError(
            f"{path.name} needs PyAV, which is not installed.",
            fix="pip install 'ganvas[video]', or write .gif, .webp or .png.",
        ) from error


def _write_video(av: Any, images: _Counted, file: Path, suffix: str, fps: int) -> None:
    codec, container, options = CODECS[suffix]
    first = next(images)
    with av.open(str(file), "w", format=container) as output:
        try:
            stream = output.add_stream(codec, rate=fps, options=options)
        except (av.FFmpegError, ValueError) as error:
            raise GanvasError(f"This PyAV cannot write {suffix}: {error}", fix="write .webp instead.") from error
        stream.width, stream.height = first.width + first.width % 2, first.height + first.height % 2
        stream.pix_fmt, stream.time_base = "yuv420p", Fraction(1, fps)
        for image in itertools.chain([first], images):
            output.mux(stream.encode(av.VideoFrame.from_image(_even(image))))
        output.mux(stream.encode(None))


def _even(image: Image.Image) -> Image.Image:
    """RGB with even sides, as both codecs want; transparency on white, a missing column repeated."""
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    pixels = np.asarray(image.convert("RGB"))
    return Image.fromarray(np.pad(pixels, ((0, image.height % 2), (0, image.width % 2), (0, 0)), mode="edge"))
