"""How an array holds images: which axis counts them, where the channels are, and whether each image is one long row."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ganvas.data.arrays.stored import StoredArray, rows_of_block
from ganvas.data.options import MIN_SIDE
from ganvas.errors import GanvasError

_CHANNELS = (1, 3, 4)
_SAMPLES = 256  # images that are compared to find the order of their channels
_CLEARLY = 0.8  # the ratio of roughness below which one order of channels is certain
_ROWS, _COLUMNS = 2048, 2**15  # of a table that are compared to find whether it has images
_CORRELATED = 0.15  # how much more correlated neighbouring pixels are than any two
_SAME_IMAGE = 0.55  # lines of one photograph: 0.1 to 0.5; images in a row: 0.6, sorted by class, to 1


@dataclass(frozen=True)
class Layout:
    """How an array becomes images [n c h w]."""

    count: int
    shape: tuple[int, int, int]
    """(channels, height, width)."""
    rows: tuple[int, ...]
    """The order of the array's axes, the images' first."""
    inner: tuple[int, ...]
    """The shape of one image after that."""
    axes: tuple[int, ...]
    """The order of the axes of [n, *inner] that gives [n c h w]; [n h w] gets its one channel before."""
    notes: tuple[str, ...] = ()

    def blocks(self, array: StoredArray) -> Iterator[np.ndarray]:
        """Yields [m c h w] of the array's own type."""
        if self.rows[0] == 0:
            for block in array.stream():
                yield self._to_nchw(block.transpose(self.rows))
            return
        values = array.whole().transpose(self.rows)
        step = rows_of_block(values.shape, values.dtype)
        for first in range(0, self.count, step):
            yield self._to_nchw(np.ascontiguousarray(values[first : first + step]))

    def _to_nchw(self, block: np.ndarray) -> np.ndarray:
        return block.reshape(len(block), *self.inner).transpose(self.axes)


def find_layout(array: StoredArray, label_counts: set[int]) -> Layout | None:
    """How an array holds images; None if it cannot.

    Args:
        label_counts: the lengths of the arrays of labels that belong to it; one of them decides where shapes do not.

    Raises:
        GanvasError: it is a single image, or the order of its channels cannot be found.
    """
    if array.dtype.kind not in "biufO" or not math.prod(array.shape):
        return None
    if len(array.shape) == 4:
        return _find_of_4(array.shape)
    if len(array.shape) == 3:
        return _find_of_3(array, label_counts)
    return _find_of_rows(array, label_counts) if len(array.shape) == 2 and array.dtype.kind != "O" else None


def _find_of_4(shape: tuple[int, ...]) -> Layout | None:
    """[n c h w], [n h w c] or MATLAB's [h w c n]: sides have at least 8 pixels, so only one can fit."""
    for rows, channels in (((0, 1, 2, 3), 1), ((0, 3, 1, 2), 3), ((3, 2, 0, 1), 2)):
        inner = tuple(shape[axis] for axis in rows[1:])
        if shape[channels] in _CHANNELS and min(inner[1:]) >= MIN_SIDE:
            note = f"An array of {list(shape)} is read as [{', '.join('nchw'[rows.index(axis)] for axis in range(4))}]."
            return Layout(shape[rows[0]], inner, rows, inner, (0, 1, 2, 3), () if rows[0] == 0 else (note,))  # type: ignore[arg-type]
    rows = (0, 3, 1, 2) if shape[3] in _CHANNELS and shape[1] not in _CHANNELS else (0, 1, 2, 3)
    inner = tuple(shape[axis] for axis in rows[1:])
    return Layout(shape[0], inner, rows, inner, (0, 1, 2, 3)) if inner[0] in _CHANNELS else None  # type: ignore[arg-type]


def _find_of_3(array: StoredArray, label_counts: set[int]) -> Layout:
    """[n h w], or MATLAB's [h w n]."""
    first, middle, last = array.shape
    if min(first, middle) >= MIN_SIDE and last in _CHANNELS and first not in label_counts:
        raise _unclear_error(array, "x[None] if it is a data set of one image")
    reversed_axes = last in label_counts if label_counts & {first, last} else first == middle and last >= 4 * middle
    if reversed_axes and first not in label_counts and min(first, middle) >= MIN_SIDE:
        note = f"An array of {list(array.shape)} is read as [h, w, n]: {last} images of {first} x {middle} pixels."
        return Layout(last, (1, first, middle), (2, 0, 1), (1, first, middle), (0, 1, 2, 3), (note,))
    return Layout(first, (1, middle, last), (0, 1, 2), (1, middle, last), (0, 1, 2, 3))


def _find_of_rows(array: StoredArray, label_counts: set[int]) -> Layout | None:
    """[n, 784] and its like: each row is an image, square, of 1, 3 or 4 channels. MATLAB's [784, n] likewise."""
    fitting = [axis for axis in (1, 0) if _square_of(array.shape[axis])]
    if label_counts & set(array.shape):
        fitting = [axis for axis in fitting if array.shape[1 - axis] in label_counts]
    if not fitting:
        return None
    good = [axis for axis in fitting if _are_images(array, axis, labelled=bool(label_counts & set(array.shape)))]
    if not good:
        if fitting == [0] and not label_counts:
            return None
        raise _unclear_error(array, *(_reshaping(array.shape[axis], axis) for axis in fitting))
    axis = good[0]
    count, length = array.shape[1 - axis], array.shape[axis]
    channels, side = _square_of(length) or (1, 1)
    rows = (1 - axis, axis)
    note = f"Each row of {length} numbers is read as {side} x {side} pixels, line by line"
    if channels == 1:
        note += f". If they lie on their side, save x.reshape(-1, {side}, {side}).transpose(0, 2, 1)."
        return Layout(count, (1, side, side), rows, (1, side, side), (0, 1, 2, 3), (note,))
    planes = Layout(count, (channels, side, side), rows, (channels, side, side), (0, 1, 2, 3))
    pixels = Layout(count, (channels, side, side), rows, (side, side, channels), (0, 3, 1, 2))
    rough = [_roughness(layout, array) for layout in (planes, pixels)]
    if min(rough) >= _CLEARLY * max(rough):
        raise GanvasError(
            f"{array.where} has rows of {length} numbers, and it cannot be told where the {channels} channels are.",
            expected=f"[n, {channels}, {side}, {side}] or [n, {side}, {side}, {channels}]",
            fix=f"save x.reshape(-1, {channels}, {side}, {side}) if a row has all of red first, as CIFAR's, or "
            f"x.reshape(-1, {side}, {side}, {channels}) if it has pixel after pixel.",
        )
    chosen, order = (planes, "all of red first, as CIFAR's") if rough[0] < rough[1] else (pixels, "pixel after pixel")
    why = f"{note}, {order}: in this order neighbouring pixels are alike."
    return Layout(chosen.count, chosen.shape, rows, chosen.inner, chosen.axes, (why,))


def _square_of(length: int) -> tuple[int, int] | None:
    """The (channels, side) of square images of so many numbers, of at least 8 pixels a side."""
    for channels in _CHANNELS:
        side = math.isqrt(length // channels)
        if channels * side * side == length and side >= MIN_SIDE:
            return channels, side
    return None


def _are_images(array: StoredArray, axis: int, *, labelled: bool) -> bool:
    """Whether an axis of a table has the pixels of images: neighbours are correlated, and more than any two numbers.

    Of natural images the correlations differ by 0.3 to 0.8, of tables by under 0.15. Without labels, the table must not
    be a single image either, whose neighbouring lines are alike.
    """
    values = np.moveaxis(next(iter(array.stream())), axis, 1)[:_ROWS, :_COLUMNS].astype(np.float64)
    if min(values.shape) < 2:
        return False
    random = np.random.default_rng(0)
    shuffled = values[random.permutation(len(values))]
    alike = np.abs(np.diff(values, axis=0)).mean() < _SAME_IMAGE * np.abs(values - shuffled).mean()
    centred = values - values.mean(axis=0)
    centred /= np.sqrt((centred**2).sum(axis=0)) + 1e-9
    near = max((centred[:, lag:] * centred[:, :-lag]).sum(axis=0).mean() for lag in (1, 3, 4))
    far = (centred * centred[:, random.permutation(values.shape[1])]).sum(axis=0).mean()
    return bool(near > far + _CORRELATED and (labelled or not alike))


def _roughness(layout: Layout, array: StoredArray) -> float:
    """The mean difference of neighbouring pixels, of the first images."""
    images = next(layout.blocks(array))[:_SAMPLES].astype(np.float64)
    return float(np.abs(np.diff(images, axis=2)).mean() + np.abs(np.diff(images, axis=3)).mean())


def _reshaping(length: int, axis: int) -> str:
    """The formula that makes images of the rows, or the columns, of a table."""
    channels, side = _square_of(length) or (1, 1)
    inner = f"{side}, {side}" if channels == 1 else f"{channels}, {side}, {side}"
    values, line = ("x", "row") if axis else ("x.T", "column")
    return f"{values}.reshape(-1, {inner}) if each {line} is an image of {side} x {side} pixels"


def _unclear_error(array: StoredArray, *formulas: str) -> GanvasError:
    return GanvasError(
        f"{array.where} of {list(array.shape)} is perhaps a single image, or not of images.",
        expected="many images: [n, height, width], [n, height, width, channels] or [n, channels, height, width]",
        fix=f"save {', or '.join(formulas)}.",
    )
