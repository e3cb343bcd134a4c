"""One picture file -> one uint8 array. Every peculiarity of picture files is met here and nowhere else."""

import re
import struct
import threading
from contextlib import nullcontext
from dataclasses import dataclass
from typing import BinaryIO, Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

from ganvas.data.forms import Unreadable, quoted
from ganvas.data.options import LEAST_SIDE

Image.init()
_FORMATS = tuple(  # without those that start other programs (EPS), are containers, or are never photographs
    known
    for known in ("JPEG", "MPO", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "PPM", "AVIF", "JPEG2000")
    if known in Image.OPEN
)
_SUFFIXES = {
    "JPEG": ("jpg", "jpeg", "jpe", "jfif"),
    "PNG": ("png", "apng"),
    "WEBP": ("webp",),
    "GIF": ("gif",),
    "TIFF": ("tif", "tiff"),
    "BMP": ("bmp", "dib"),
    "AVIF": ("avif",),
}
_MOST_PIXELS = 178_956_970  # Pillow's own limit for an image bomb
_GIANT = 32_000_000
_one_giant = threading.Lock()  # several decoded at once could fill the memory

_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_GREY_MODES = {"1", "L", "LA", "La", "I", "F"}

Fit = Literal["crop", "pad", "stretch"]


@dataclass(frozen=True)
class Header:
    """What a picture says of itself before its pixels are decoded."""

    height: int
    width: int
    mode: str
    """Pillow's name: L grey, RGB, CMYK, P palette, I;16 16-bit grey, F float …"""
    grey: bool
    alpha: bool
    misnamed: str
    """"a JPEG" for a JPEG named .png; otherwise empty."""


def header(file: BinaryIO, name: str) -> Header:
    """Reads size and kind of a picture without decoding it.

    Raises:
        Unreadable: no picture, a damaged one, or one of impossible size.
    """
    with _explained(file), _open(file) as image:
        width, height = image.size
        if image.format != "TIFF" and _orientation(image) >= 5:  # a TIFF reports its size upright already
            width, height = height, width
        suffix = name.rpartition(".")[2].lower()
        known = {ending for endings in _SUFFIXES.values() for ending in endings}
        kind = "JPEG" if image.format == "MPO" else image.format or ""
        honest = suffix in _SUFFIXES.get(kind, ()) or suffix not in known
        misnamed = "" if honest else f"a {kind} named .{suffix}"
        return Header(height, width, image.mode, _is_grey(image), image.has_transparency_data, misnamed)


def is_transparent(file: BinaryIO) -> bool:
    """Whether any pixel is not fully opaque; False for a file that cannot be decoded."""
    try:
        with _explained(file), _open(file) as image:
            return image.convert("RGBA").getextrema()[3][0] < 255  # type: ignore[index]
    except Unreadable:
        return False


def decode(file: BinaryIO, channels: int, size: tuple[int, int], fit: Fit) -> np.ndarray:
    """The picture as uint8 [channels H W] in 0..255, upright, first frame only.

    Args:
        channels: 1, 3, or 4; transparency is laid over white unless 4.
        size: the wanted (H, W).

    Raises:
        Unreadable: with the reason, in a person's words.
    """
    with _explained(file), _open(file) as image:
        height, width = size
        turned = image.format != "TIFF" and _orientation(image) >= 5
        wanted = (2 * height, 2 * width) if turned else (2 * width, 2 * height)
        image.draft(None, wanted)  # type: ignore[arg-type]  # a large JPEG decodes at 1/2, 1/4 or 1/8, cheaply
        with _one_giant if image.width * image.height > _GIANT else nullcontext():
            image.load()
            turn = _TURNS.get(_orientation(image))
            whole = _in_channels(image, channels)
            upright = whole.transpose(turn) if turn is not None else whole
            return _planes(fitted(upright, size, fit))


def fitted(image: Image.Image, size: tuple[int, int], fit: Fit) -> Image.Image:
    """Brings a picture to (H, W): `crop` covers it, `pad` adds black (or clear) bars, `stretch` distorts."""
    height, width = size
    if image.size == (width, height):
        return image
    if fit == "stretch":
        return image.resize((width, height), Image.Resampling.LANCZOS)
    across, down = width / image.width, height / image.height
    if fit == "crop":
        scale = max(across, down)
        box_width, box_height = min(image.width, width / scale), min(image.height, height / scale)
        left, top = (image.width - box_width) / 2, (image.height - box_height) / 2
        box = (left, top, left + box_width, top + box_height)
        return image.resize((width, height), Image.Resampling.LANCZOS, box=box)
    scale = min(across, down)
    inner = max(1, min(width, round(image.width * scale))), max(1, min(height, round(image.height * scale)))
    canvas = Image.new(image.mode, (width, height), 0)
    canvas.paste(image.resize(inner, Image.Resampling.LANCZOS), ((width - inner[0]) // 2, (height - inner[1]) // 2))
    return canvas


def refit(pixels: np.ndarray, channels: int, size: tuple[int, int], fit: Fit) -> np.ndarray:
    """uint8 [c h w] -> uint8 [channels H W]: the same treatment for pictures that were never files."""
    planes = np.ascontiguousarray(pixels.transpose(1, 2, 0))
    image = Image.fromarray(planes[:, :, 0] if planes.shape[2] == 1 else planes)
    return _planes(fitted(_in_channels(image, channels), size, fit))


def _open(file: BinaryIO) -> Image.Image:
    image = Image.open(file, formats=_FORMATS)
    width, height = image.size
    if width * height > _MOST_PIXELS:
        raise Unreadable(f"{width} x {height} pixels, over the limit of {_MOST_PIXELS // 10**6} megapixels")
    if min(width, height) < LEAST_SIDE:
        raise Unreadable(f"{width} x {height} pixels, under the least of {LEAST_SIDE} a side")
    return image


def _in_channels(image: Image.Image, channels: int) -> Image.Image:
    """Any mode -> L, RGB or RGBA."""
    if image.mode.startswith("I;16") or image.mode == "I":
        grey = np.asarray(image).astype(np.float64).clip(0, 65535) / 257
        image = Image.fromarray(np.rint(grey).astype(np.uint8))
    elif image.mode == "F":
        image = Image.fromarray(_from_floats(np.asarray(image)))
    if channels == 4:
        return image.convert("RGBA")
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        white = Image.new("RGBA", clear.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, clear).convert("RGB")
    return image.convert("L" if channels == 1 else "RGB")


def _from_floats(values: np.ndarray) -> np.ndarray:
    """Float pixels carry no range: 0..1 and 0..255 are recognised, anything else is stretched to 0..255."""
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise Unreadable("holds values that are not numbers")
    if low >= 0 and high <= 1:
        values = values * 255
    elif low < 0 or high > 255:
        values = (values.astype(np.float64) - low) * (255 / max(high - low, 1e-30))
    return np.rint(values).astype(np.uint8)


def _planes(image: Image.Image) -> np.ndarray:
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _is_grey(image: Image.Image) -> bool:
    if image.mode in _GREY_MODES or image.mode.startswith("I;16"):
        return True
    if image.mode not in ("P", "PA"):
        return False
    palette = np.array(image.getpalette("RGB") or [0, 0, 1]).reshape(-1, 3)
    return bool((palette[:, :1] == palette).all())


def _orientation(image: Image.Image) -> int:
    """1..8; a PNG may carry it behind its pixels, so it is asked for again once they are loaded."""
    if image.format == "PNG" and not image.info.keys() & {"exif", "Raw profile type exif"}:
        return 1
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # a broken EXIF block says nothing, and the picture is whole without it
        return 1


class _explained:
    """Turns whatever a decoder raises into `Unreadable` with a reason that a person understands."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is None or isinstance(error, Unreadable) or not isinstance(error, Exception):
            return
        raise Unreadable(self._reason(error)) from error

    def _reason(self, error: Exception) -> str:
        if isinstance(error, Image.DecompressionBombError):
            pixels = next((int(word) for word in re.findall(r"\d+", str(error))), 0)
            return f"an image bomb: {pixels // 10**6} megapixels, over the limit of {_MOST_PIXELS // 10**6}"
        if isinstance(error, MemoryError):
            return "too large for this machine's memory"
        head = self._head()
        kind = _kind(head)
        told = str(error)
        if isinstance(error, UnidentifiedImageError):
            if not kind:
                return "an empty file" if not head else f"not a picture: {quoted(head)}"
            if kind.startswith("HEIC"):
                return "a HEIC picture, which is not supported: convert it to JPEG"
            return f"damaged {kind}: its header cannot be read"
        if "truncated" in told or isinstance(error, EOFError | struct.error | IndexError):
            return f"truncated {kind or 'file'}"
        return f"damaged {kind or 'file'}: {told or type(error).__name__}"

    def _head(self) -> bytes:
        try:
            self._file.seek(0)
            return self._file.read(16)
        except Exception:  # the file itself is unreadable: the first reason stands
            return b""


def _kind(head: bytes) -> str:
    for magic, kind in (
        (b"\xff\xd8\xff", "JPEG"),
        (b"\x89PNG", "PNG"),
        (b"GIF8", "GIF"),
        (b"BM", "BMP"),
        (b"II*\0", "TIFF"),
        (b"MM\0*", "TIFF"),
    ):
        if head.startswith(magic):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[4:8] == b"ftyp":
        return "AVIF" if head[8:12] in (b"avif", b"avis") else "HEIC" if head[8:10] in (b"he", b"mi") else ""
    return ""
