"""Looks into PNG and TIFF files for what Pillow refuses or does not see: long texts, and a TIFF's bands and pages."""

import io
import re
import struct
from collections.abc import Callable
from typing import BinaryIO

from PIL import Image

_PNG = b"\x89PNG\r\n\x1a\n"
_TEXTS = {b"zTXt", b"iTXt", b"tEXt", b"iCCP"}
_MAX_BYTES = 2**30
_DESCRIPTION, _SAMPLES_PER_PIXEL = 270, 277
MAX_PAGES = 1_000_000


def without_text(file: BinaryIO) -> BinaryIO:
    """A copy of a PNG without its texts and its colour profile, none of which changes its pixels here.

    Pillow takes a text of more than a megabyte for an attack. Nothing is decompressed here.
    """
    file.seek(0)
    if file.read(len(_PNG)) != _PNG:
        raise ValueError("its text is too long")
    copy = io.BytesIO(_PNG)
    copy.seek(0, io.SEEK_END)
    while len(header := file.read(8)) == 8 and copy.tell() < _MAX_BYTES:
        length, kind = struct.unpack(">I4s", header)
        if kind in _TEXTS:
            file.seek(length + 4, io.SEEK_CUR)
            continue
        copy.write(header)
        copy.write(file.read(min(length, _MAX_BYTES) + 4))
    copy.seek(0)
    return copy


def ignore_long_text(image: Image.Image) -> None:
    """Lets the texts that follow the pixels of an opened PNG be as long as they like; only short ones are kept."""
    stream = getattr(image, "png", None)
    for kind in _TEXTS if stream is not None else ():
        name = f"chunk_{kind.decode()}"
        setattr(stream, name, _tolerant(getattr(stream, name)))


def _tolerant(read: Callable[[int, int], bytes]) -> Callable[[int, int], bytes]:
    def read_or_skip(position: int, length: int) -> bytes:
        try:
            return read(position, length)
        except ValueError:  # it has been read, and is too long to keep
            return b""

    return read_or_skip


def count_bands(file: BinaryIO) -> int:
    """The number of values of a pixel that the first page of a TIFF has; 0 if it cannot be read."""
    try:
        file.seek(0)
        order = "<" if file.read(2) == b"II" else ">"
        if struct.unpack(f"{order}H", file.read(2))[0] != 42:
            return 0
        file.seek(struct.unpack(f"{order}I", file.read(4))[0])
        (entries,) = struct.unpack(f"{order}H", file.read(2))
        for _ in range(entries):
            tag, _kind, _count = struct.unpack(f"{order}HHI", file.read(8))
            value = file.read(4)
            if tag == _SAMPLES_PER_PIXEL:
                return struct.unpack(f"{order}H", value[:2])[0]
    except (OSError, struct.error, ValueError):
        pass
    return 0


def _is_compressed(image: Image.Image) -> bool:
    return any(tile.codec_name != "raw" for tile in getattr(image, "tile", ()))


def count_imagej_pages(image: Image.Image) -> int:
    """The pages of an opened TIFF that ImageJ wrote with the header of the first alone, uncompressed; of any other, 0.

    Of more than 4 GB ImageJ always writes it so; its description has a line "images=60".
    """
    text = str(getattr(image, "tag_v2", {}).get(_DESCRIPTION, ""))
    found = re.search(r"^images=(\d{1,9})\s*$", text, re.MULTILINE) if text.startswith("ImageJ=") else None
    if found is None or getattr(image, "is_animated", False) or _is_compressed(image):
        return 0
    return min(int(found[1]), MAX_PAGES)
