"""Numbers whose decimals stand behind a comma, as programs write them in a German or French locale."""

import re
from collections.abc import Iterable

NUMBER = re.compile(
    r"(?<![A-Za-z0-9_.])([-+]?(?:[1-9]\d{0,2}(?:\.\d{3})+(?:,\d+)?(?![\d.])|\d+,\d+(?:e[-+]?\d+)?"
    r"|\d+\.?\d*(?:e[-+]?\d+)?|nan\b|inf(?:inity)?\b))",
    re.I,
)
"""A number of such a log."""

NOTE = "its decimals stand behind a comma: 0,5 is a half"
"""For the user."""

_COMMA = re.compile(r"(?<![\w.,])[-+]?\d+,\d+(?:e[-+]?\d+)?(?![\w.]|,\d)", re.I)
_POINT = re.compile(r"(?<![\w.])[-+]?[\d,]*\.\d+(?:e[-+]?\d+)?(?![\w.])", re.I)
_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(?:[.,]\d{3})+")
_BOTH = re.compile(r"\d\.\d{3},\d")
_LOSS = re.compile(r"(?:loss|err)\w*['\"]?\s*[:=]?\s*$", re.I)
_FEW = 3
"""Lines that have to agree."""


def writes_commas(lines: Iterable[str]) -> bool:
    """Whether most lines with decimals have them behind a comma.

    1,200 alone may be a thousand: it has decimals if no line has a point, and it follows the name of a loss.
    """
    commas = points = unsure = 0
    for line in lines:
        found = list(_COMMA.finditer(line))
        certain = _BOTH.search(line) or any(not _THOUSANDS.fullmatch(match[0]) for match in found)
        decimals = [match for match in _POINT.finditer(line) if not (certain and _THOUSANDS.fullmatch(match[0]))]
        if decimals:
            points += 1
        elif certain:
            commas += 1
        else:
            unsure += any(_LOSS.search(line[: match.start()]) for match in found)
    return commas > points or (not points and unsure >= _FEW)


def with_point(text: str, counts: bool) -> str:
    """A number with a decimal point, which stands behind its thousands: 1.234,5 as 1234.5, but 1,234.5 as it is.

    Args:
        counts: whether it counts steps: then it has no decimals, so its commas and points divide thousands.
    """
    if counts and _THOUSANDS.fullmatch(text):
        return re.sub("[.,]", "", text)
    return text.replace(".", "").replace(",", ".") if text.rfind(",") > text.rfind(".") else text
