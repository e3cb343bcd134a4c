"""Style transfer of files: a progress bar, previews on disk, an animation, and one or several photos."""

import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ganvas import image_io
from ganvas.animation import check_animation, save_animation
from ganvas.data.listing import IMAGE_SUFFIXES
from ganvas.errors import GanvasError
from ganvas.interrupts import raise_on_signal
from ganvas.progress import ProgressBar, format_duration, format_rate
from ganvas.style.images import StyleImage
from ganvas.style.options import StyleOptions, resolve_options
from ganvas.style.plan import TransferPlan, plan_transfer
from ganvas.style.transfer import Iterate, run_plan
from ganvas.values import real_path

PREVIEW_INTERVAL = 1.0
"""Seconds between previews, at least; also at least ten times what writing one takes."""

MAX_FRAMES, MAX_FRAME_SIDE, FRAMES_PER_SECOND = 60, 512, 12
"""Of an animation: the approximate number of frames, their longer side in pixels, and their rate."""


def stylize_files(
    content: Path, styles: Sequence[Path], out: Path, masks: Sequence[Path], style_masks: Sequence[Path],
    preview: Path | None, gif: Path | None, options: StyleOptions, *, quiet: bool = False,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Stylizes a photo, or every photo of a folder, and yields the facts of each result.

    Raises:
        GanvasError: what happened, what was expected, the fix. A result that would replace an image that is read is
            refused; but --init may be the result of a single photo. So is an animation that would replace an image. A
            photo of a folder that cannot be drawn is left out; at the end they are named. A result that cannot be
            written ends the command.
        KeyboardInterrupt: interrupted by Ctrl-C or SIGTERM; the current image is in `out`, and the animation until then
            in `gif`.
    """
    options = resolve_options(options, {})
    folder = content.is_dir()
    photos = _find_photos(content) if folder else [content]
    if folder and out.suffix.lower() in IMAGE_SUFFIXES and not out.is_dir():
        raise GanvasError(f"{out} is a file's name, and {content} a folder.", fix="--out FOLDER")
    if folder and (gif or preview):
        raise GanvasError("--gif and --preview are for a single photo.", fix="leave them out, or name one photo.")
    results = [out / name for name in _result_names(photos)] if folder else [out]
    inputs = [content, *photos, *styles, *masks, *style_masks]
    if folder and options.init not in ("content", "noise"):
        inputs.append(Path(options.init))
    for flag, files in (("--out", [out, *results]), ("--preview", [preview]), ("--gif", [gif])):
        _refuse_to_replace(inputs, files, flag)
    if gif is not None and real_path(gif) in {real_path(file) for file in (out, preview) if file is not None}:
        raise GanvasError(f"{gif} is the file of an image and of the animation.", fix="choose another --gif.")
    failures: dict[str, GanvasError] = {}
    planned = False
    for photo, file in zip(photos, results, strict=True):
        transfer = None
        try:
            transfer = plan_transfer(photo, styles, masks, style_masks, options)
            planned = True
            if not quiet:
                print(f"{photo.name}: {_describe_plan(transfer)}", file=sys.stderr)
            start = time.monotonic()
            _stylize_file(transfer, file, preview or (None if folder else file), gif, photo.name, quiet=quiet)
        except GanvasError as error:
            unwritten = transfer is not None and isinstance(error.__cause__, OSError)
            in_photo = planned or str(photo) in error.what  # else it is a mistake in the command
            if not folder or unwritten or not in_photo:
                raise
            failures[photo.name] = error
            continue
        seconds = time.monotonic() - start
        if not quiet:
            print(f"{file} ({seconds:.0f} s)", file=sys.stderr)
        height, width = transfer.content.shape[2:]
        yield {"content": str(photo), "out": str(file), "height": height, "width": width, "seconds": round(seconds, 1)}
    if failures:
        rows = "".join(f"\n  {name}: {error.what}" for name, error in failures.items())
        raise GanvasError(
            f"{len(failures)} of {len(photos)} photos in {content} could not be drawn:{rows}",
            fix="repair or remove them; the others are done.",
        )


def _refuse_to_replace(inputs: Iterable[Path], files: Iterable[Path | None], flag: str) -> None:
    """Checks that no file that is written is one that is read, also by another path.

    Raises:
        GanvasError: one is.
    """
    read = {_identify(file) for file in inputs} - {None}
    for file in files:
        if file is not None and _identify(file) in read:
            raise GanvasError(f"{file} is an input itself: {flag} would replace it.", fix=f"choose another {flag}.")


def _identify(file: Path) -> tuple[int, int] | None:
    """What all paths to a file have in common; None if it cannot be found."""
    try:
        found = file.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def _find_photos(folder: Path) -> list[Path]:
    """The image files directly in a folder, by their endings; hidden ones are left out.

    Raises:
        GanvasError: there is none, or the folder cannot be read.
    """
    try:
        files = sorted(file for file in folder.iterdir() if not file.name.startswith(".") and not file.is_dir())
    except OSError as error:
        raise GanvasError(f"{folder} cannot be read: {error.strerror}.", expected="a folder of photos") from error
    photos = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    if not photos:
        raise GanvasError(f"There is no image in {folder}.", expected=f"files in {', '.join(sorted(IMAGE_SUFFIXES))}")
    return photos


def _result_names(photos: Sequence[Path]) -> list[str]:
    """a.jpg -> a.png; where two photos would have one result, a.jpg -> a.jpg.png."""
    names, shorter = [photo.stem for photo in photos], None
    while names != shorter:  # again: the name a.jpg may be the stem of a.jpg.webp
        counts, shorter = Counter(name.lower() for name in names), names
        names = [name if counts[name.lower()] == 1 else photo.name for name, photo in zip(names, photos, strict=True)]
    return [f"{name}.png" for name in names]


def _stylize_file(
    transfer: TransferPlan, out: Path, preview: Path | None, gif: Path | None, title: str, *, quiet: bool
) -> None:
    """Runs a plan to its end or to an interrupt, and writes the result.

    Args:
        preview: where each intermediate image is; None for a photo of a folder, among whose results it would be taken
            for one.
    """
    for file in (out, preview):  # they fail now, not after the optimisation, if they cannot be written
        if file is not None:
            image_io.check_image_file(file)
    if gif is not None:
        check_animation(gif, FRAMES_PER_SECOND)
    frames = [_make_frame(transfer.source, transfer)]

    def save_frames(end: StyleImage) -> None:
        if gif is not None:
            shown = [_make_frame(end, transfer)] * FRAMES_PER_SECOND
            save_animation([*frames, *shown], gif, fps=FRAMES_PER_SECOND)

    last: Iterate | None = None
    due = 0.0
    with raise_on_signal(), ProgressBar(1, shown=not quiet, transient=True) as bar:

        def on_iterate(now: Iterate) -> None:
            nonlocal last, due
            last = now
            bar.update(now.iteration, title, _describe_progress(now), now.iterations)
            if gif is not None and (now.iteration - 1) % -(-now.iterations // MAX_FRAMES) == 0:
                frames.append(_make_frame(now.image(), transfer))
            if preview is not None and time.monotonic() >= due:
                start = time.monotonic()
                now.image().save(preview)
                due = time.monotonic() + max(PREVIEW_INTERVAL, 10 * (time.monotonic() - start))

        try:
            done = run_plan(transfer, on_iterate)
        except KeyboardInterrupt:
            if last is None:
                raise
            reached = last.image()
            reached.save(out)
            save_frames(reached)
            progress = f"iteration {last.iteration} of {last.iterations}, {last.width}×{last.height}"
            raise KeyboardInterrupt(f"interrupted; the current image ({progress}) is in {out}") from None
    done.save(out)
    if preview is not None and preview != out:
        done.save(preview)
    save_frames(done)


def _describe_plan(transfer: TransferPlan) -> str:
    """One line: size, tiles, network, preset, device, estimated memory."""
    height, width = transfer.content.shape[2:]
    layers = transfer.layers
    tiles = f" in tiles of {layers.tile_size}" if layers.tile_size else ""
    device = transfer.content.device.type
    if not transfer.source.is_visible:
        return f"{width}×{height}, transparent everywhere: it is copied"
    return (
        f"{width}×{height}{tiles}, {layers.network.name}, {transfer.options.preset}, on {device}; "
        f"about {transfer.memory / 1e6:,.0f} MB of memory"
    )


def _make_frame(image: StyleImage, transfer: TransferPlan) -> np.ndarray:
    """A frame uint8 [3 h w], of the same size for every scale."""
    height, width = transfer.content.shape[2:]
    factor = min(1, MAX_FRAME_SIDE / max(height, width))
    frame = Image.fromarray(image.pixels.transpose(1, 2, 0))
    resized = frame.resize((round(width * factor), round(height * factor)), Image.Resampling.BICUBIC)
    return np.asarray(resized).transpose(2, 0, 1)


def _describe_progress(now: Iterate) -> tuple[str, ...]:
    """Iterations and the time left, size, loss, speed."""
    speed = now.iteration / max(now.seconds, 1e-9)
    done = f"{now.iteration}/{now.iterations}  left {format_duration(now.seconds_left)}"
    return done, f"{now.width}×{now.height}", f"loss {now.loss:.3f}", f"{format_rate(speed)} it/s"
