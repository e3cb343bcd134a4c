"""Values that Python users pass, checked where they enter: whole numbers, numbers, names of a few, paths."""

import math
import operator
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ganvas.errors import GanvasError, describe_value, did_you_mean


def to_whole(value: Any, name: str, least: int = 0, most: int = 2**63 - 1) -> int:
    """A whole number, also NumPy's or in a tensor without dimensions.

    Args:
        value: what was passed.
        name: of the argument, for an error: --count, or seed.
        least, most: its bounds.

    Raises:
        GanvasError: it is no whole number (True is none), or out of bounds.
    """
    number = as_whole(value)
    if number is None or not least <= number <= most:
        raise GanvasError(
            f"{name} is {describe_value(value)}.", expected=_describe_bounds("a whole number", least, most)
        )
    return number


def as_whole(value: Any) -> int | None:
    """The whole number that a value is, None if it is none."""
    if isinstance(value, bool) or getattr(value, "ndim", 0) or str(getattr(value, "dtype", "")).endswith("bool"):
        return None
    try:
        return operator.index(value)
    except (TypeError, ValueError, RuntimeError):  # a tensor of fractions, or on the meta device
        return None


def to_number(value: Any, name: str, least: float = 0.0, most: float = math.inf, *, above: bool = False) -> float:
    """A finite number, also NumPy's or in a tensor without dimensions.

    Args:
        value, name: as for `to_whole`.
        least, most: its bounds.
        above: whether it is more than `least`.

    Raises:
        GanvasError: it is no number, not finite, or out of bounds.
    """
    number = as_number(value)
    if number is None or not math.isfinite(number) or not least <= number <= most or (above and number == least):
        raise GanvasError(
            f"{name} is {describe_value(value)}.",
            expected=f"a finite number above {least:g}" if above else _describe_bounds("a finite number", least, most),
        )
    return number


def as_number(value: Any) -> float | None:
    """The number that a value is, None if it is none; text is none."""
    if isinstance(value, bool | str | bytes) or getattr(value, "ndim", 0):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return None


def to_flag(value: Any, name: str) -> bool:
    """True or False, also NumPy's.

    Raises:
        GanvasError: it is something else.
    """
    if isinstance(value, bool) or type(value).__name__ in ("bool", "bool_"):  # NumPy's
        return bool(value)
    raise GanvasError(f"{name} is {describe_value(value)}.", expected="True or False")


def to_choice(value: Any, name: str, choices: Iterable[str]) -> str:
    """One of a few names.

    Raises:
        GanvasError: it is none of them.
    """
    choices = tuple(choices)
    if isinstance(value, str) and value in choices:
        return value
    fix = did_you_mean(value, choices) if isinstance(value, str) else ""
    raise GanvasError(f"{name} is {describe_value(value)}.", expected=f"one of {', '.join(choices)}", fix=fix)


def to_text(value: Any, name: str, expected: str) -> str:
    """A text, also a path.

    Raises:
        GanvasError: it is something else, or has a zero byte.
    """
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, str) and "\0" not in value:
        return value
    raise GanvasError(f"{name} is {describe_value(value)}.", expected=expected)


def expand_user(path: str | Path) -> Path:
    """The path with the home folder in place of ~; as it is where there is no such user."""
    return Path(os.path.expanduser(path))


def real_path(path: str | Path) -> Path:
    """The absolute path without links, with the home folder in place of ~; of a link to itself its own."""
    try:
        return Path(os.path.realpath(expand_user(path)))
    except ValueError:  # a zero byte
        return Path(path)


def _describe_bounds(kind: str, least: float, most: float) -> str:
    if most in (math.inf, 2**63 - 1):
        return f"{kind} from {least:g} on"
    return f"{kind} from {least:,g} to {most:,g}" if most < 1e6 else f"{kind} from {least:,g} to {most:,.0f}"
