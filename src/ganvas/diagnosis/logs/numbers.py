"""Numbers as programs print them."""

import re
from collections.abc import Iterable
from typing import Any

WRAPPER = r"(?:\w+\.)?(?:tensor|array|float\d*|int\d*)\(\s*\[?\s*([^\s,\])]+)"
"""A number as libraries print it, without its end: np.float32(0.69, tensor([0.69."""

_WRAPPED = re.compile(rf"{WRAPPER}[^)]*\)*", re.I)
_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?")


def number(value: Any) -> float | None:
    """A number in any notation: 50 % as 0.5, 1,200 as 1200, tensor(0.69, grad_fn=…); None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        return _number_of_text(value.strip())
    try:
        return float(value)
    except OverflowError:
        return float("inf")
    except (TypeError, ValueError):
        return None


def resolution(texts: Iterable[str]) -> float | None:
    """The smallest difference that printed numbers can show: 0.01 of 0.69; None of words."""
    decimals = [_decimals(text) for text in texts]
    known = [places for places in decimals if places is not None and abs(places) < 300]
    return 10.0 ** -max(known) if known else None


def _number_of_text(text: str) -> float | None:
    if text.endswith("%"):
        part = _number_of_text(text[:-1].rstrip())
        return None if part is None else part / 100
    try:
        return float(text)
    except ValueError:
        if wrapped := _WRAPPED.fullmatch(text):
            return _number_of_text(wrapped[1])
        return float(text.replace(",", "")) if _THOUSANDS.fullmatch(text) else None


def _decimals(text: str) -> int | None:
    match = re.search(r"\d+(?:\.(\d*))?(?:e([-+]?\d+))?", text.strip(), re.I)
    return len(match[1] or "") - int(match[2] or 0) + 2 * text.rstrip().endswith("%") if match else None
