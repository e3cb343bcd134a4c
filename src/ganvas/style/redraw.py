"""At work for people: a bar on the terminal, the picture so far on disk, an animation, one photo after another."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ganvas import image_io
from ganvas.errors import GanvasError
from ganvas.interrupts import interrupting
from ganvas.style.options import StyleOptions, resolved
from ganvas.style.pictures import StyleImage
from ganvas.style.plan import Plan, plan
from ganvas.style.transfer import Iterate, followed

PREVIEW_INTERVAL = 1.0
"""Seconds from one preview to the next, at least; and at least ten times what writing one takes."""

MAX_FRAMES, MAX_FRAME_SIDE, FRAMES_PER_SECOND = 60, 512, 12
"""Of an animation: about how many, at most how large in pixels, and how fast."""

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif")


def redraw(
    content: Path, styles: Sequence[Path], out: Path, masks: Sequence[Path], style_masks: Sequence[Path],
    preview: Path | None, gif: Path | None, options: StyleOptions, *, quiet: bool = False,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Redraws a photo, or every photo of a folder, and tells of each what came of it.

    Raises:
        GanvasError: what happened, what was expected, the fix.
        KeyboardInterrupt: interrupted, by Ctrl-C or SIGTERM; the picture so far is in `out`.
    """
    options = resolved(options, {})
    folder = content.is_dir()
    photos = sorted(p for p in content.iterdir() if p.suffix.lower() in SUFFIXES) if folder else [content]
    if not photos:
        raise GanvasError(f"There is no picture in {content}.", expected=f"files in {', '.join(SUFFIXES)}")
    if folder and (gif or preview or out.suffix):
        if out.suffix:
            raise GanvasError(f"{out} is a file's name, and {content} a folder.", fix="--out FOLDER")
        raise GanvasError("--gif and --preview are for a single photo.", fix="leave them out, or name one photo.")
    for photo in photos:
        planned = plan(photo, styles, masks, style_masks, options)
        file = out / f"{photo.stem}.png" if folder else out
        if not quiet:
            print(f"{photo.name}: {_describe_plan(planned)}", file=sys.stderr)
        began = time.monotonic()
        _stylize_file(planned, file, preview or file, gif, f"{photo.name} ", quiet=quiet)
        seconds = time.monotonic() - began
        if not quiet:
            print(f"{file} ({seconds:.0f} s)", file=sys.stderr)
        height, width = planned.content.shape[2:]
        yield {"content": str(photo), "out": str(file), "height": height, "width": width, "seconds": round(seconds, 1)}


def _stylize_file(planned: Plan, out: Path, preview: Path, gif: Path | None, title: str, *, quiet: bool) -> None:
    """Follows a plan to its end, or to Ctrl-C, and writes what came of it."""
    planned.source.save(out)  # at once, so that what cannot be written is known before the work
    frames: list[np.ndarray] = [_make_frame(planned.source, planned)]
    if gif is not None:
        image_io.save_walk(frames, gif)
    last: Iterate | None = None
    due = 0.0
    with interrupting(), ExitStack() as stack:
        shown = stack.enter_context(_ProgressBar(title)) if not quiet and sys.stderr.isatty() else None

        def told(now: Iterate) -> None:
            nonlocal last, due
            last = now
            if shown is not None:
                shown.update(now)
            if gif is not None and (now.iteration - 1) % -(-now.iterations // MAX_FRAMES) == 0:
                frames.append(_make_frame(now.image(), planned))
            if time.monotonic() >= due:
                began = time.monotonic()
                now.image().save(preview)
                due = time.monotonic() + max(PREVIEW_INTERVAL, 10 * (time.monotonic() - began))

        try:
            done = followed(planned, told)
        except KeyboardInterrupt:
            if last is None:
                raise
            last.picture().save(out)
            share = f"iteration {last.number} of {last.of}, {last.width}×{last.height}"
            raise KeyboardInterrupt(f"interrupted; the picture so far ({share}) is in {out}") from None
    done.save(out)
    if preview != out:
        done.save(preview)
    if gif is not None:
        image_io.save_walk(
            [*frames, *[_make_frame(done, planned)] * FRAMES_PER_SECOND], gif, per_second=FRAMES_PER_SECOND
        )


def _describe_plan(planned: Plan) -> str:
    """What is about to be done, in a line."""
    height, width = planned.content.shape[2:]
    look = planned.layers
    tiles = f" in tiles of {look.tile_size}" if look.tile_size else ""
    return (
        f"{width}×{height}{tiles}, {look.network.name}, {planned.options.preset}, on {planned.content.device.type}; "
        f"about {planned.memory / 1e6:,.0f} MB of memory"
    )


def _make_frame(picture: StyleImage, planned: Plan) -> np.ndarray:
    """uint8 [3 h w], of the same size whatever the scale."""
    height, width = planned.content.shape[2:]
    factor = min(1, MAX_FRAME_SIDE / max(height, width))
    image = Image.fromarray(picture.pixels.transpose(1, 2, 0))
    resized = image.resize((round(width * factor), round(height * factor)), Image.Resampling.BICUBIC)
    return np.asarray(resized).transpose(2, 0, 1)


class _ProgressBar:
    """Iterations, their pace, the scale and the time left."""

    def __init__(self, title: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[told]}"),
            console=Console(stderr=True), transient=True,
        )  # fmt: skip
        self._task = self._bar.add_task(title, total=None, told="")

    def __enter__(self) -> "_ProgressBar":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def update(self, now: Iterate) -> None:
        left = f"{now.seconds_left / 60:.0f} min" if now.seconds_left > 99 else f"{now.seconds_left:.0f} s"
        pace = now.iteration / max(now.seconds, 1e-9)
        told = f"{now.width}×{now.height}  loss {now.loss:.3f}  {pace:.1f} it/s  {left} left"
        self._bar.update(self._task, completed=now.iteration, total=now.iterations, told=told)
