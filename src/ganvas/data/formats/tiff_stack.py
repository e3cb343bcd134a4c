"""Reads a TIFF of several pages of one size, each of which is an image; ImageJ's have one header for all pages."""

import io
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from ganvas.data.chunks import MAX_PAGES, count_imagej_pages, ignore_long_text
from ganvas.data.source_types import ImageFiles, Source, Unreadable, file_stamp, no_split
from ganvas.errors import GanvasError

_STRIP_BYTES = 279
"""A tag of a TIFF."""


def is_stack(path: Path) -> bool:
    """Whether a file is a TIFF with more than one page, as far as its headers show."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=("TIFF",)) as image:
            return bool(getattr(image, "is_animated", False)) or count_imagej_pages(image) > 1
    except Exception:  # a damaged header may fail in any way
        return False


def source(path: Path, name: str, split: str) -> Source:
    """The source for a TIFF; its pages are not read yet.

    Raises:
        GanvasError: the split is that for tests. On reading: the pages have different sizes.
    """
    if split == "test":
        raise no_split(str(path))
    return Source(name, "a TIFF of several pages", ["tiff", file_stamp(path)], lambda: _read(path))


def _read(path: Path) -> ImageFiles:
    sizes = [page.size if isinstance(page, Image.Image) else None for page in _pages(path)]
    known = {size for size in sizes if size is not None}
    if len(known) > 1:
        listed = ", ".join(f"{height}x{width}" for width, height in sorted(known, reverse=True)[:4])
        raise GanvasError(
            f"{path} has {len(sizes)} pages of different sizes: {listed}.",
            expected="pages of one size, each an image; one image in several sizes is a single image",
            fix="save the pages that are images as files in a folder.",
        )
    note = f"The {len(sizes)} pages of {path.name} are read as {len(sizes)} images."
    names = [f"page {number}" for number in range(1, len(sizes) + 1)]
    return ImageFiles(names, _never, lambda: _stream(path), notes=(note,))


def _never(index: int) -> io.BytesIO:
    raise Unreadable("pages are read in order")


def _stream(path: Path) -> Iterator[bytes | Unreadable]:
    for page in _pages(path):
        yield _encode(page) if isinstance(page, Image.Image) else page


def _encode(page: Image.Image) -> bytes | Unreadable:
    """One page as a TIFF of its own, with the same numbers."""
    try:
        content = io.BytesIO()
        page.copy().save(content, "TIFF")
        return content.getvalue()
    except Exception as error:  # a damaged page may fail in any way
        return Unreadable(f"damaged TIFF: {error or type(error).__name__}")


def _pages(path: Path) -> Iterator[Image.Image | Unreadable]:
    """Yields each page, not decoded; where one cannot be found, that is the last."""
    with warnings.catch_warnings(action="ignore"), Image.open(path, formats=("TIFF",)) as image:
        ignore_long_text(image)
        if isinstance(image, TiffImageFile) and (count := count_imagej_pages(image)) > 1:
            yield from _imagej_pages(path, image, count)
            return
        for number in range(MAX_PAGES):
            try:
                image.seek(number)
            except EOFError:
                return
            except Exception as error:
                yield Unreadable(f"damaged TIFF: {error or type(error).__name__}")
                return
            yield image


def _imagej_pages(path: Path, first: TiffImageFile, count: int) -> Iterator[Image.Image | Unreadable]:
    """Its pages, which lie one behind the other; of a file that is cut off, those that are there, and that it is."""
    page_bytes = sum(first.tag_v2[_STRIP_BYTES])
    begin = min(tile.offset for tile in first.tile)
    whole = (os.stat(path).st_size - begin) // page_bytes
    for number in range(min(count, whole)):
        with TiffImageFile(path) as page:
            page.tile = [tile._replace(offset=tile.offset + number * page_bytes) for tile in page.tile]
            yield page
    if whole < count:
        yield Unreadable(f"damaged TIFF: it ends after {whole} of its {count} pages")
