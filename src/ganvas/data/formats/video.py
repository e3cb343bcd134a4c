"""Reads a video as a set of images: every n-th frame, n so large that one differs from the next."""

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ganvas.data.sniffing import HEAD_BYTES, VIDEO_FORMATS, detect_format
from ganvas.data.source_types import ImageArrays, Source, file_stamp, no_split
from ganvas.errors import GanvasError

_THUMBNAIL = 16  # pixels a side of the grey miniatures that are compared
_DIFFERENT = 2.0  # mean difference of two miniatures, of 255, above which frames differ: more than noise of coding
_MIN_FRAMES = 100  # fewer are not left over for the sake of difference
_MAX_FRAMES = 2_000_000  # a day at 24 a second: 512 MB of miniatures
_MAX_PIXELS = 2**26


def is_video(head: bytes) -> bool:
    """Whether a file that begins so is a video."""
    return detect_format(head) in VIDEO_FORMATS


def source(path: Path, name: str, split: str) -> Source:
    """The source for a video; it is decoded twice when it is read: to compare its frames, and to take some.

    Raises:
        GanvasError: PyAV is missing. On reading: there is no video in the file, or it is damaged from the start.
    """
    _import_av(path)
    if split == "test":
        raise no_split(str(path))
    return Source(name, "a video", ["video", split, file_stamp(path)], lambda: _read(path))


def _import_av(path: Path) -> Any:
    try:
        import av  # type: ignore[import-not-found]
    except ImportError as error:
        raise GanvasError(
            f"{path} is a video, which the package PyAV reads, and it is not installed.",
            expected="the packages of the extra `video`",
            fix="pip install 'ganvas[video]', or save its frames as images: ffmpeg -i IN -vf fps=2 frames/%05d.png.",
        ) from error
    return av


class _DamagedVideo(Exception):
    """The rest of the video cannot be decoded."""


def _read(path: Path) -> ImageArrays:
    miniatures, shape, notes = [], None, []
    try:
        for frame, ratio in _frames(path):
            shape = shape or _upright_shape(frame, ratio)
            small = frame.reformat(width=_THUMBNAIL, height=_THUMBNAIL, format="gray").to_ndarray()
            miniatures.append(small.reshape(-1))
            if len(miniatures) == _MAX_FRAMES:
                break
    except _DamagedVideo as error:
        notes.append(f"The video is damaged after {len(miniatures)} frames, which are used: {error}.")
    if not miniatures or shape is None:
        raise GanvasError(
            f"{path} has no frame that can be decoded.",
            expected="a video",
            fix="play it to see whether it is complete; ffmpeg -i IN OUT.mp4 converts it.",
        )
    total, size = len(miniatures), shape
    every = choose_step(np.stack(miniatures))
    count = -(-total // every)
    which = "Every frame" if every == 1 else f"Every {_ordinal(every)} of {total:,} frames"
    notes.insert(0, f"{which} is used: {count:,} images.")
    return ImageArrays(count, (3, *size), lambda: _blocks(path, every, total, size), notes=tuple(notes))


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number:,}{ending}"


def choose_step(miniatures: np.ndarray) -> int:
    """The smallest n for which half of the frames differ from the one n later; uint8 [frames, pixels] -> n ≥ 1.

    At least 100 frames are left over, if there are as many.
    """
    largest = max(1, len(miniatures) // _MIN_FRAMES)
    for step in range(1, largest):
        pairs = range(0, len(miniatures) - step, max(step, len(miniatures) // 2000))
        first = miniatures[pairs].astype(np.float32)
        later = miniatures[[index + step for index in pairs]]
        if np.median(np.abs(first - later).mean(axis=1)) > _DIFFERENT:
            return step
    return largest


def _upright_shape(frame: Any, ratio: Fraction) -> tuple[int, int]:
    """(height, width) of square pixels, after rotation."""
    width = max(1, round(frame.width * ratio))
    return (width, frame.height) if round(frame.rotation / 90) % 2 else (frame.height, width)


def _blocks(path: Path, every: int, total: int, shape: tuple[int, int]) -> Iterator[np.ndarray]:
    """Yields uint8 [1 3 h w]: one frame at a time is in memory."""
    written = 0
    with contextlib.suppress(_DamagedVideo):
        for index, (frame, _) in enumerate(_frames(path)):
            if index >= total:
                break
            if index % every == 0:
                turns = round(frame.rotation / 90) % 4
                height, width = shape[::-1] if turns % 2 else shape
                pixels = frame.reformat(width=width, height=height, format="rgb24").to_ndarray()
                yield np.ascontiguousarray(np.rot90(pixels, turns).transpose(2, 0, 1))[None]
                written += 1
    if written < -(-total // every):
        raise GanvasError(f"{path} changed while it was read.", fix="run the command again.")


def _frames(path: Path) -> Iterator[tuple[Any, Fraction]]:
    """Yields each frame with the width of its pixels relative to their height.

    The format is given to FFmpeg, so that no file can pass for a playlist, which would open others.
    """
    av = _import_av(path)
    with open(path, "rb") as file:
        format = VIDEO_FORMATS[detect_format(file.read(HEAD_BYTES))]
        file.seek(0)
        try:
            with contextlib.closing(av.open(file, format=format, metadata_errors="ignore")) as container:
                if not container.streams.video:
                    return
                stream = container.streams.video[0]
                width, height = stream.width or 0, stream.height or 0
                if width * height > _MAX_PIXELS:
                    raise GanvasError(
                        f"{path} has frames of {width} x {height} pixels.", expected="at most 67 megapixels"
                    )
                stream.thread_type = "AUTO"
                ratio = Fraction(stream.sample_aspect_ratio or 1)
                for frame in container.decode(stream):
                    yield frame, ratio if Fraction(1, 20) < ratio < 20 else Fraction(1)
        except (av.error.FFmpegError, ValueError, OSError) as error:
            raise _DamagedVideo(str(error) or type(error).__name__) from error
