"""Decodes one image file to a uint8 array: formats, orientation, colour modes, transparency, size."""

import re
import struct
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

from ganvas.data.arrays.value_range import USUAL_LEVELS, Levels, floats_to_uint8
from ganvas.data.chunks import count_bands, count_imagej_pages, ignore_long_text, without_text
from ganvas.data.options import MIN_SIDE
from ganvas.data.sniffing import HEAD_BYTES, IMAGE_FORMATS, detect_format
from ganvas.data.source_types import Unreadable, describe_start

Image.init()
_FORMATS = tuple(  # not those that start other programs (EPS), are containers, or never hold photographs
    format
    for format in ("JPEG", "MPO", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "PPM", "AVIF", "JPEG2000")
    if format in Image.OPEN
)
_SAME_FORMAT = {"MPO": "JPEG", "DIB": "BMP"}
_MAX_PIXELS = 178_956_970  # Pillow's own limit against decompression bombs
_LARGE_PIXELS = 32_000_000
_large_image_lock = threading.Lock()  # decoded one at a time: several at once could fill the memory

_ORIENTATION = 0x0112
_DNG_VERSION = 0xC612
_TRANSPOSES = {
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

_MISSING_READERS = {
    "HEIC": "a HEIC image: pip install 'ganvas[heif]' reads it",
    "AVIF": "an AVIF image, and this Pillow was built without AVIF: pip install --upgrade pillow",
}
"""Why an image is not read whose format needs a library that may be missing."""


@dataclass(frozen=True)
class Header:
    """Properties of an image that are known before its pixels are decoded."""

    height: int
    width: int
    mode: str
    """Pillow's colour mode: L grey, RGB, CMYK, P palette, I;16 16-bit grey, F float …"""
    grey: bool
    alpha: bool
    misnamed: str
    """"a JPEG" for a JPEG named .png; otherwise empty."""
    frames: bool
    """Whether there are more frames or pages than the first."""
    deep: Literal["grey", "colour", "float", ""]
    """Whether its numbers have 16 bits or more, of which Pillow reads the upper eight where it has colours, or are
    floats."""


def read_header(file: BinaryIO, name: str) -> Header:
    """Reads size and colour mode of an image without decoding it.

    Raises:
        Unreadable: not an image, a damaged one, or one of unsupported size.
    """
    with _unreadable_on_error(file), _open_image(file) as image:
        width, height = image.size
        if image.format != "TIFF" and _orientation(image) >= 5:  # a TIFF reports its size upright already
            width, height = height, width
        suffix = Path(name).suffix.lower()
        format, named = image.format or "", Image.registered_extensions().get(suffix, "")
        format, named = _SAME_FORMAT.get(format, format), _SAME_FORMAT.get(named, named)
        misnamed = f"a {format} named {suffix}" if named in _FORMATS and named != format else ""
        several = image.format != "MPO" and bool(getattr(image, "is_animated", False))  # a phone's photo has a second
        several = several or count_imagej_pages(image) > 1
        grey, alpha = _is_grey(image), image.has_transparency_data
        return Header(height, width, image.mode, grey, alpha, misnamed, several, _depth(image))


def optional_formats() -> list[str]:
    """The formats, among those that need a library which may be missing, that are read here."""
    _register_heif()
    return ["HEIC"] * ("HEIF" in Image.OPEN) + ["AVIF"] * ("AVIF" in _FORMATS)


def reads_now(reasons: Collection[str]) -> bool:
    """Whether one of the reasons why images could not be used is a library that has been installed since."""
    missing = {format for format, reason in _MISSING_READERS.items() if reason in reasons}
    return bool(missing) and not missing.isdisjoint(optional_formats())


def is_transparent(file: BinaryIO) -> bool:
    """Whether any pixel is not fully opaque; False for a file that cannot be decoded."""
    try:
        with _unreadable_on_error(file), _open_image(file) as image:
            return image.convert("RGBA").getextrema()[3][0] < 255  # type: ignore[index]
    except Unreadable:
        return False


def read_peak(file: BinaryIO) -> int:
    """The largest number in an image of 16 bits or more; of one with colours, the largest that it can have.

    Raises:
        Unreadable: it cannot be decoded.
    """
    with _unreadable_on_error(file), _open_image(file) as image:
        peak = int(np.asarray(image.convert("RGB") if image.mode == "RGBA" else image).max())
        return peak if image.mode.startswith("I") else peak * 256 + 255


def read_range(file: BinaryIO) -> tuple[float, float]:
    """The least and the largest number in an image of floats.

    Raises:
        Unreadable: it cannot be decoded, or some number is not finite.
    """
    with _unreadable_on_error(file), _open_image(file) as image:
        values = _finite(image)
        return float(values.min()), float(values.max())


def decode(file: BinaryIO, channels: int, size: tuple[int, int], fit: Fit, levels: Levels = USUAL_LEVELS) -> np.ndarray:
    """The image as uint8 [channels H W] in 0..255, upright, first frame only.

    Args:
        channels: 1, 3 or 4; with 1 and 3, transparent images are composited over white.
        size: (H, W) of the result.
        levels: of images of more than 8 bits.

    Raises:
        Unreadable: the image cannot be decoded; the message is the reason.
    """
    with _unreadable_on_error(file), _open_image(file) as image:
        height, width = size
        rotated = image.format != "TIFF" and _orientation(image) >= 5
        wanted = (2 * height, 2 * width) if rotated else (2 * width, 2 * height)
        image.draft(None, wanted)  # type: ignore[arg-type]  # a large JPEG decodes at 1/2, 1/4 or 1/8, cheaply
        with _large_image_lock if image.width * image.height > _LARGE_PIXELS else nullcontext():
            image.load()
            transpose = _TRANSPOSES.get(_orientation(image))
            converted = _convert_channels(image, channels, levels)
            upright = converted.transpose(transpose) if transpose is not None else converted
            return _to_chw(resize_to_fit(upright, size, fit))


def crop_size(height: int, width: int, size: tuple[int, int]) -> tuple[float, float]:
    """(height, width) of the part of an image that `crop` keeps, in the image's own pixels."""
    scale = max(size[1] / width, size[0] / height)
    return min(height, size[0] / scale), min(width, size[1] / scale)


def resize_to_fit(image: Image.Image, size: tuple[int, int], fit: Fit) -> Image.Image:
    """Resizes an image to (H, W): `crop` cuts the centre out, `pad` adds black or clear bars, `stretch` distorts."""
    height, width = size
    if image.size == (width, height):
        return image
    if fit == "stretch":
        return image.resize((width, height), Image.Resampling.LANCZOS)
    if fit == "crop":
        box_height, box_width = crop_size(image.height, image.width, size)
        left, top = (image.width - box_width) / 2, (image.height - box_height) / 2
        box = (left, top, left + box_width, top + box_height)
        return image.resize((width, height), Image.Resampling.LANCZOS, box=box)
    scale = min(width / image.width, height / image.height)
    inner = max(1, min(width, round(image.width * scale))), max(1, min(height, round(image.height * scale)))
    canvas = Image.new(image.mode, (width, height), 0)
    canvas.paste(image.resize(inner, Image.Resampling.LANCZOS), ((width - inner[0]) // 2, (height - inner[1]) // 2))
    return canvas


def resize_array(pixels: np.ndarray, channels: int, size: tuple[int, int], fit: Fit) -> np.ndarray:
    """uint8 [c h w] -> uint8 [channels H W]: the same conversion for images that come as arrays."""
    planes = np.ascontiguousarray(pixels.transpose(1, 2, 0))
    image = Image.fromarray(planes[:, :, 0] if planes.shape[2] == 1 else planes)
    return _to_chw(resize_to_fit(_convert_channels(image, channels), size, fit))


def _open_image(file: BinaryIO) -> Image.Image:
    head = file.read(HEAD_BYTES)
    file.seek(0)
    if detect_format(head) == "HEIC":
        _register_heif()
    try:
        image = Image.open(file, formats=(*_FORMATS, "HEIF") if "HEIF" in Image.OPEN else _FORMATS)
    except ValueError as error:
        if "MAX_TEXT" not in str(error) and "too large" not in str(error).lower():
            raise
        image = Image.open(without_text(file), formats=_FORMATS)  # a long text or profile is no damage
    ignore_long_text(image)
    width, height = image.size
    if image.format == "TIFF" and _DNG_VERSION in image.getexif():
        raise Unreadable("a camera's raw file, of which only a preview could be read: develop it to JPEG first")
    if width * height > _MAX_PIXELS:
        raise Unreadable(f"{width} x {height} pixels, over the limit of {_MAX_PIXELS // 10**6} megapixels")
    if min(width, height) < MIN_SIDE:
        raise Unreadable(f"{width} x {height} pixels, under the minimum of {MIN_SIDE} a side")
    return image


def _register_heif() -> None:
    """Lets Pillow read HEIC, if the library is there."""
    with suppress(ImportError):
        from pillow_heif import register_heif_opener  # type: ignore[import-not-found]

        if "HEIF" not in Image.OPEN:
            register_heif_opener(thumbnails=False)


def _convert_channels(image: Image.Image, channels: int, levels: Levels = USUAL_LEVELS) -> Image.Image:
    """Any mode -> L, RGB or RGBA."""
    if image.mode.startswith("I;16") or image.mode == "I":
        grey = np.asarray(image).astype(np.float64).clip(0, levels.white) * (255 / levels.white)
        image = Image.fromarray(np.rint(grey).astype(np.uint8))
    elif image.mode == "F":
        image = Image.fromarray(floats_to_uint8(_finite(image), levels.floats))
    if channels == 4:
        return image.convert("RGBA")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        background = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        image = Image.alpha_composite(background, rgba).convert("RGB")
    return image.convert("L" if channels == 1 else "RGB")


def _finite(image: Image.Image) -> np.ndarray:
    """The pixels of an image of floats."""
    values = np.asarray(image)
    if not np.isfinite(values).all():
        raise Unreadable("some of its values are not finite")
    return values


def _to_chw(image: Image.Image) -> np.ndarray:
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _depth(image: Image.Image) -> Literal["grey", "colour", "float", ""]:
    """What an image that is not decoded yet has: floats, or numbers of 16 bits or more, grey or with colours."""
    if image.mode == "F":
        return "float"
    if image.mode.startswith("I"):
        return "grey"
    raw_mode = "".join(str(tile.args) for tile in getattr(image, "tile", [])[:1])
    return "colour" if re.search(r";16[BLN]", raw_mode) else ""


def _is_grey(image: Image.Image) -> bool:
    if image.mode in _GREY_MODES or image.mode.startswith("I;16"):
        return True
    if image.mode not in ("P", "PA"):
        return False
    palette = np.array(image.getpalette("RGB") or [0, 0, 1]).reshape(-1, 3)
    return bool((palette[:, :1] == palette).all())


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1..8. A PNG may store it after its pixels, so call again once they are loaded."""
    if image.format == "PNG" and not image.info.keys() & {"exif", "Raw profile type exif"}:
        return 1
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # a broken EXIF block does not make the image unusable
        return 1


@contextmanager
def _unreadable_on_error(file: BinaryIO) -> Iterator[None]:
    """Turns any error of a decoder into `Unreadable` with a readable reason."""
    try:
        yield
    except Unreadable:
        raise
    except Exception as error:
        raise Unreadable(_describe_error(error, file)) from error


def _describe_error(error: Exception, file: BinaryIO) -> str:
    if isinstance(error, Image.DecompressionBombError):
        pixels = next((int(word) for word in re.findall(r"\d+", str(error))), 0)
        return f"a decompression bomb: {pixels // 10**6} megapixels, over the limit of {_MAX_PIXELS // 10**6}"
    if isinstance(error, MemoryError):
        return "too large for this machine's memory"
    try:
        file.seek(0)
        head = file.read(HEAD_BYTES)
    except Exception:  # the file itself cannot be read: keep the first reason
        head = b""
    format, message = detect_format(head), str(error)
    if isinstance(error, UnidentifiedImageError):
        if not format:
            return f"not an image: {describe_start(head)}" if head else "an empty file"
        if missing := _missing_reader(format):
            return missing
        if format == "TIFF" and (bands := count_bands(file)) > 4:
            return f"a TIFF with {bands} bands, of which at most 4 can be read: save three of them as an RGB PNG"
        if format not in IMAGE_FORMATS:
            return f"not an image that is read: {format}"
        return f"damaged {format}: its header cannot be read"
    if "truncated" in message or isinstance(error, EOFError | struct.error | IndexError):
        return f"truncated {format or 'file'}"
    return f"damaged {format or 'file'}: {message or type(error).__name__}"


def _missing_reader(format: str) -> str:
    """What to install for a format that is not read here; empty if nothing is missing."""
    return "" if format in optional_formats() else _MISSING_READERS.get(format, "")
