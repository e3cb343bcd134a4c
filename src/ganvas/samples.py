"""Samples: an array of images that is shown as a grid."""

import functools
import io
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image

from ganvas import image_io
from ganvas.display import IMAGE_WIDTH, Displayed, InlineImage, Paragraph, Part
from ganvas.errors import GanvasError, describe_value
from ganvas.values import to_whole

MAX_SHOWN = 64
"""Images that a notebook shows, at most; fewer where they are large."""

MAX_SHOWN_PIXELS = 2**21
MAX_CLASS_ROWS = 20


class Samples(Displayed, np.ndarray):
    """Images uint8 [n c h w] with a grid. Selecting images gives Samples; every other result is a plain array.

    Attributes:
        labels: the class of each image, int64 [n]; None if the generator is unconditional.
        class_names: a name for each class; a class without one goes by its number.
    """

    labels: np.ndarray | None
    class_names: tuple[str, ...]

    def __new__(
        cls,
        images: np.ndarray,
        labels: np.ndarray | Sequence[int] | None = None,
        class_names: Sequence[str] = (),
    ) -> "Samples":
        if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 4:
            raise GanvasError(f"{describe_value(images)} holds no images.", expected="an array uint8 [n c h w]")
        names = list(class_names) if isinstance(class_names, list | tuple) else [None]
        if not all(isinstance(name, str) for name in names):
            raise GanvasError(f"class_names is {describe_value(class_names)}.", expected="a list of texts")
        samples = images.view(cls)
        samples.labels, samples.class_names = _check_labels(labels, len(images)), tuple(class_names)
        return samples

    def __array_finalize__(self, source: Any) -> None:
        copied = isinstance(source, Samples) and source.shape == self.shape
        self.labels, self.class_names = (source.labels, source.class_names) if copied else (None, ())

    def __array_wrap__(self, array: np.ndarray, context: Any = None, return_scalar: bool = False) -> Any:
        return array[()] if return_scalar else array.view(np.ndarray)

    @property
    def T(self) -> np.ndarray:
        """As a plain array."""
        return self.view(np.ndarray).T

    def __getitem__(self, key: Any) -> Any:
        found = self.view(np.ndarray)[key]
        if not isinstance(found, np.ndarray) or found.ndim != 4 or found.shape[1:] != self.shape[1:]:
            return found
        images = key[0] if isinstance(key, tuple) and key else key
        return Samples(found, None if self.labels is None else self.labels[images], self.class_names)

    def grid(self, columns: int | None = None, scale: int | None = None) -> Image.Image:
        """The images in a grid, row by row; of several classes, one class a row with its name, unless `columns` is set.

        Args:
            columns: by default about as many as rows.
            scale: enlarges each pixel by this whole factor; by default small images are enlarged.

        Raises:
            GanvasError: there are no images, or `columns` or `scale` is below 1.
        """
        if not _is_images(self) or not len(self):
            raise GanvasError(
                f"An array {self.dtype} {list(self.shape)} has no grid.", expected="uint8 [n 1|3|4 h w], n ≥ 1"
            )
        for name, value in (("columns", columns), ("scale", scale)):
            if value is not None:
                to_whole(value, name, 1)
        images, classes = np.asarray(self), [] if self.labels is None else sorted(set(self.labels.tolist()))
        if columns is not None or not 1 < len(classes) <= MAX_CLASS_ROWS:
            return image_io.make_grid(images, columns or math.isqrt(len(images) - 1) + 1, scale=scale)
        rows = [images[self.labels == c] for c in classes]
        columns = max(map(len, rows))
        blank = np.full((1, *images.shape[1:]), 255, np.uint8)
        filled = np.concatenate([part for row in rows for part in (row, blank.repeat(columns - len(row), 0))])
        names = [self.class_names[c] if 0 <= c < len(self.class_names) else str(c) for c in classes]
        return image_io.make_grid(filled, columns, row_names=names, scale=scale)

    def _line(self) -> str:
        if not _is_images(self):  # such as .view(np.int8)
            return np.array_repr(np.asarray(self))
        n, channels, height, width = self.shape
        count = 0 if self.labels is None else len(np.unique(self.labels))
        of = f" of {len(self.class_names)} classes" if self.class_names else " class" if count == 1 else " classes"
        classes = "" if self.labels is None else f", {count}{of}"
        return f"Samples({n:,} images, {height}×{width}×{channels}{classes}: uint8 {list(self.shape)})"

    __str__ = Displayed.__repr__

    def _parts(self) -> Iterator[Part]:
        yield Paragraph(self._line())
        if _is_images(self) and len(self):
            shown = self._first()
            yield InlineImage(shown.grid(), "" if len(shown) == len(self) else f"the first {len(shown)}")

    def _repr_png_(self) -> bytes | None:
        """For notebooks that are exported to paper; None for what is no images."""
        if not _is_images(self) or not len(self):
            return None
        grid, file = self._first().grid(), io.BytesIO()
        grid.thumbnail((IMAGE_WIDTH, 4 * IMAGE_WIDTH))
        (grid if grid.mode == "L" else grid.quantize(256)).save(file, "PNG")
        return file.getvalue()

    def _first(self) -> "Samples":
        """As many as a notebook shows."""
        return self[: max(1, min(MAX_SHOWN, MAX_SHOWN_PIXELS // (self.shape[2] * self.shape[3])))]


def _check_labels(labels: Any, n: int) -> np.ndarray | None:
    """The classes of n images, int64 [n].

    Raises:
        GanvasError: they are something else.
    """
    if labels is None:
        return None
    try:
        found = np.asarray(labels)
    except (TypeError, ValueError):  # lists of several lengths, or a tensor of a GPU
        found = np.empty(())
    if found.shape != (n,) or (n and found.dtype.kind not in "iu"):
        raise GanvasError(f"labels is {describe_value(labels)}.", expected=f"{n} whole numbers, or None")
    return found.astype(np.int64, copy=False)


def _is_images(array: np.ndarray) -> bool:
    return array.dtype == np.uint8 and array.ndim == 4 and array.shape[1] in (1, 3, 4)


def _of_plain_array(name: str) -> Callable[..., Any]:
    """The method of that name, which returns a plain array."""
    method = getattr(np.ndarray, name)

    @functools.wraps(method)
    def call(self: Samples, *arguments: Any, **options: Any) -> Any:
        return method(self.view(np.ndarray), *arguments, **options)

    return call


for _name in ("astype", "flatten", "ravel", "repeat", "reshape", "squeeze", "swapaxes", "take", "transpose"):
    setattr(Samples, _name, _of_plain_array(_name))
