"""Numbers of any type as uint8 pixels: what they mean is decided from the range of all of them, or refused."""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ganvas.errors import GanvasError

_DARK = 63
"""Of 255: the least maximum of all pixels of a usual data set. Below it, the numbers probably have another range."""
_TOLERANCE = 0.5 / 255
_FEW_NUMBERS, _FEW_IMAGES = 0.01, 0.1  # the shares, of the positive ones and of all, up to which outliers are mistakes
_BIT_DEPTHS = (8, 10, 12, 14, 16)  # of cameras and scanners, whose numbers are stored in 16 bits


class Levels(NamedTuple):
    """What is white, and black, in image files of more than 8 bits: the same in all of a set."""

    white: int = 65535
    """The number that becomes 255 in grey images of 16 bits or more."""
    floats: tuple[float, float] | None = None
    """The least and the largest number of all images of float numbers; None where each is read by its own."""


USUAL_LEVELS = Levels()


@dataclass(frozen=True)
class Scale:
    """How numbers become pixels: (x + shift) * factor, rounded."""

    shift: float = 0.0
    factor: float = 1.0
    note: str = ""

    def to_uint8(self, values: np.ndarray) -> np.ndarray:
        """Numbers of any type and shape -> uint8 in 0..255."""
        if values.dtype == np.uint8 and self.factor == 1:
            return values
        precise = np.float64 if values.dtype.itemsize > 4 or values.dtype.kind in "iu" else np.float32
        pixels = (values.astype(precise) + precise(self.shift)) * precise(self.factor)
        return np.rint(pixels).clip(0, 255).astype(np.uint8)


@dataclass
class _Range:
    low: float = math.inf
    high: float = -math.inf
    whole: bool = True
    finite: bool = True


Numbers = tuple[Callable[[], Iterable[np.ndarray]], Callable[[Sequence[int]], str]]
"""An array in blocks along its first axis, and where the number of an index is, in words."""


def choose_scale(arrays: Sequence[Numbers], dtype: np.dtype, where: str) -> Scale:
    """Decides from all numbers what they mean: 0..255, 0..1, -1..1, -0.5..0.5, or 10 to 16 bits.

    Args:
        arrays: of all splits, so that all are converted alike.
        dtype: of all of them.
        where: the file and the array, for messages.

    Raises:
        GanvasError: they are no numbers, some are not finite, a few are beyond 0..255, or their range is none of
            these; the fix has the formula.
    """
    if dtype.kind == "b":
        return Scale(0, 255, f"{where}: true and false become 255 and 0.")
    if dtype.kind not in "iuf":
        objects = dtype.hasobject
        raise GanvasError(
            f"{where} contains {'objects, which only unpickling could read' if objects else dtype}, not pixels.",
            expected="numbers, best uint8 in 0..255",
            fix="save numpy.stack(list(x)) instead; objects are never unpickled." if objects else "save numbers.",
        )
    ranges = [_find_range(stream(), dtype) for stream, _ in arrays]
    found = _Range(
        min(one.low for one in ranges),
        max(one.high for one in ranges),
        all(one.whole for one in ranges),
        all(one.finite for one in ranges),
    )
    for one in ranges:
        if 0 < one.high <= 1 + _TOLERANCE < _DARK < found.high:
            raise GanvasError(
                f"{where} and its other split have different ranges: at most {one.high:g} and {found.high:g}.",
                expected="the same range in all splits",
                fix="save them all as uint8 in 0..255.",
            )
    if not found.finite:
        raise _refuse(where, "values that are not finite", "numpy.nan_to_num(x)", found)
    if found.high > 255.5 or (found.low < -0.5 and found.high > _DARK):
        for one in arrays:
            _refuse_outliers(one, where)
    return _scale_whole(found, dtype, where) if found.whole else _scale_fractions(found, where)


def _find_range(blocks: Iterable[np.ndarray], dtype: np.dtype) -> _Range:
    """The range of all values. Of uint8 the rest is not read once a value proves that they are in 0..255."""
    found = _Range()
    for block in blocks:
        if not block.size:
            continue
        low, high = float(block.min()), float(block.max())
        found.low, found.high = min(found.low, low), max(found.high, high)
        found.finite &= math.isfinite(low) and math.isfinite(high)
        if not found.finite or (dtype == np.uint8 and high > _DARK):
            break
        if dtype.kind == "f" and found.whole:
            found.whole = bool((block == np.rint(block)).all())
    return found


def _refuse_outliers(numbers: Numbers, where: str) -> None:
    """Raises GanvasError if a few numbers in a few images are beyond 0..255: one would darken all images.

    Of images of more than 8 bits many are, and of most images some.
    """
    stream, locate = numbers
    beyond = images = positive = count = 0
    first: tuple[list[int], float] | None = None
    for block in stream():
        outside = (block > 255.5) | (block < -0.5)
        if first is None and outside.any():
            index = np.argwhere(outside)[0]
            first = [count + int(index[0]), *map(int, index[1:])], float(block[tuple(index)])
        beyond += int(np.count_nonzero(outside))
        images += int(np.count_nonzero(outside.reshape(len(block), -1).any(axis=1)))
        positive += int(np.count_nonzero(block > 0))
        count += len(block)
    if first is None or beyond > _FEW_NUMBERS * positive or images > max(2, _FEW_IMAGES * count):
        return
    index, value = first
    others = f", as are {beyond - 1} others" if beyond > 1 else ""
    raise GanvasError(
        f"{where}: {locate(index)} is {value:g}, beyond 0..255{others}, unlike all other numbers.",
        expected="numbers in 0..255; or of 10 to 16 bits, if many are above 255",
        fix="correct it, or clip all numbers: x.clip(0, 255).",
    )


def _scale_whole(found: _Range, dtype: np.dtype, where: str) -> Scale:
    """The scale of whole numbers."""
    low, high = found.low, found.high
    kind = "" if dtype == np.uint8 else f"{dtype.name}, "
    if low == -1 and high <= 1:
        return Scale(1, 127.5, f"{where}: {kind}-1 and 1, become 0 and 255.")
    if low < 0:
        if dtype == np.int8:
            formula = "(x.astype('int16') + 128).astype('uint8')"
            raise _refuse(where, "values below zero", formula, found, ", or x.view('uint8') if they overflowed")
        raise _refuse(where, "values below zero", _stretch(found), found)
    if high <= 0:
        return Scale()
    if high <= 1:
        return Scale(0, 255, f"{where}: {kind}only 0 and 1, become 0 and 255.")
    if high <= _DARK:
        if dtype == np.uint8:
            note = f"{where}: no value is above {high:g} of 255, so the images are dark."
            return Scale(note=f"{note} If {high:g} means white, save (x * (255 / {high:g})).round().astype('uint8').")
        other = ", or x.astype('uint8') if they are dark pixels of 0..255"
        raise _refuse(where, "values that may be dark pixels or a range of their own", _stretch(found), found, other)
    if high <= 255:
        return Scale(note=f"{where}: {dtype.name} in 0..255." if kind else "")
    if high > 65535:
        raise _refuse(where, "values above 65535", _stretch(found), found)
    white = white_of(int(high))
    return Scale(0, 255 / white, depth_note(f"{where}: {dtype.name}", int(high), white))


def _scale_fractions(found: _Range, where: str) -> Scale:
    """The scale of numbers that are not all whole."""
    low, high = found.low, found.high
    if low >= -_TOLERANCE and high <= 1 + _TOLERANCE:
        if high * 255 <= _DARK:
            raise _refuse(where, "values that are nearly black in 0..1", _stretch(found), found)
        return Scale(0, 255, f"{where}: 0..1 becomes 0..255.")
    if -1 - 2 * _TOLERANCE <= low <= -0.75 and 0.5 < high <= 1 + 2 * _TOLERANCE:
        return Scale(1, 127.5, f"{where}: -1..1 becomes 0..255.")
    if -0.5 - _TOLERANCE <= low <= -0.375 and 0.25 < high <= 0.5 + _TOLERANCE:
        return Scale(0.5, 255, f"{where}: -0.5..0.5 becomes 0..255.")
    if low >= -0.5 and _DARK < high <= 255.5:
        return Scale(note=f"{where}: 0..255, rounded.")
    for bottom, top, formula in (
        (0, 1, "(x.clip(0, 1) * 255).round().astype('uint8')"),
        (-1, 1, "((x.clip(-1, 1) + 1) * 127.5).round().astype('uint8')"),
        (0, 255, "x.clip(0, 255).round().astype('uint8')"),
    ):
        slack = 0.1 * (top - bottom)
        if bottom - slack <= low <= bottom + slack and top - slack <= high <= top + slack:
            raise _refuse(where, f"values a little outside {bottom}..{top}", formula, found)
    other = ", or undo the normalisation: x * std + mean" if low < 0 else ""
    raise _refuse(where, "values of no usual range", _stretch(found), found, other)


def white_of(high: int) -> int:
    """The largest number of the bit depth that holds `high`: 4095, of 12 bits, for 3000."""
    return next((2**bits - 1 for bits in _BIT_DEPTHS if high < 2**bits), 2 ** high.bit_length() - 1)


def depth_note(where: str, high: int, white: int) -> str:
    """The note on images of more than 8 bits that are all divided by the same number."""
    factor = "" if white == 255 else f", all multiplied by 255/{white}"
    return f"{where}, at most {high}: read as {white.bit_length()} bits{factor}."


def float_note(count: int, low: float, high: float) -> str:
    """The note on image files of float numbers, as `floats_to_uint8` reads them."""
    white = _float_white(low, high)
    read = "this range becomes 0..255" if white is None else f"read as 0..{white:g}"
    return f"Images of float numbers: {count}, from {low:.9g} to {high:.9g}: {read}."


def levels_in(notes: Sequence[str]) -> Levels:
    """The levels by the notes of `depth_note` and `float_note` among those of a set."""
    bits = next((found[1] for note in notes if (found := re.search(r": read as ([0-9]+) bits", note))), "16")
    span = next((found for note in notes if (found := re.search(r"of float.*: \d+, from (\S+) to (\S+):", note))), None)
    return Levels(2 ** int(bits) - 1, (float(span[1]), float(span[2])) if span else None)


def floats_to_uint8(values: np.ndarray, floats: tuple[float, float] | None) -> np.ndarray:
    """Finite floats as uint8. They have no defined range: 0..1 and 0..255 are recognised, any other is stretched.

    Args:
        floats: the least and the largest number of all images; by default of this one.
    """
    low, high = floats or (float(values.min()), float(values.max()))
    white = _float_white(low, high)
    if white is None:
        values = (values.astype(np.float64) - low) * (255 / max(high - low, 1e-30))
    elif white == 1:
        values = values * 255
    return np.rint(values).clip(0, 255).astype(np.uint8)


def _float_white(low: float, high: float) -> float | None:
    """The number that becomes 255 where all floats are from `low` to `high`, and 0 is black; None in other ranges."""
    if low < 0 or high > 255 or 1 + _TOLERANCE < high <= _DARK:
        return None
    return 1.0 if high <= 1 + _TOLERANCE else 255.0


def _stretch(found: _Range) -> str:
    """A formula that maps the range to 0..255."""
    low, high = min(found.low, 0.0) if found.low > 0 else found.low, found.high
    moved = "x" if low == 0 else f"(x - {low:.7g})" if low > 0 else f"(x + {-low:.7g})"
    return f"({moved} * {255 / max(high - low, 1e-30):.7g}).round().astype('uint8')"


def _refuse(where: str, what: str, formula: str, found: _Range, other: str = "") -> GanvasError:
    span = f" ({found.low:.5g} to {found.high:.5g})" if found.finite else ""
    return GanvasError(
        f"{where} contains {what}{span}.",
        expected="pixels as uint8 in 0..255, or numbers that span 0..255, 0..1 or -1..1",
        fix=f"save {formula}{other}.",
    )
