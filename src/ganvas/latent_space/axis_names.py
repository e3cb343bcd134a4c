"""Directions as text: pca:2 is the third that pca finds, and 2 alone is too; pca:2=1.5 is as far along it."""

import math
import re
from typing import Literal

from ganvas.errors import GanvasError

Method = Literal["pca", "sefa"]
METHODS: tuple[Method, ...] = ("pca", "sefa")

NAME = rf"(?:(?:{'|'.join(METHODS)}):)?[0-9]{{1,6}}"
"""What a direction's text looks like: a regular expression without groups."""

MAX_MOVES = 64


def as_direction(text: str) -> tuple[Method, int] | None:
    """The method and the number of a direction, None if the text names none; without a method it is of pca."""
    if not re.fullmatch(NAME, text):
        return None
    method, _, number = text.rpartition(":")
    return ("sefa" if method == "sefa" else "pca"), int(number)


def parse_direction(text: str, option: str = "--direction") -> tuple[Method, int]:
    """Parses "sefa:3" as ("sefa", 3), and "2" as ("pca", 2).

    Raises:
        GanvasError: the text names no direction; the error names the option.
    """
    found = as_direction(text)
    if found is None:
        raise GanvasError(f"{option} is {text[:100]!r}.", expected="pca:0, sefa:3 …, as ganvas directions numbers them")
    return found


def parse_moves(text: str) -> list[tuple[Method, int, float]]:
    """Parses "pca:0=1.5,sefa:2=-1" as [("pca", 0, 1.5), ("sefa", 2, -1.0)].

    Raises:
        GanvasError: the text is something else, or an amount is not finite.
    """
    moves = []
    for part in text.split(","):
        name, _, amount = part.strip().partition("=")
        found = as_direction(name)
        try:
            if found is None or not math.isfinite(float(amount)):
                raise ValueError(part)
            moves.append((*found, float(amount)))
        except ValueError:
            raise GanvasError(
                f"--move has {part[:100]!r} in it.",
                expected="a direction and how far, in standard deviations, with commas between several: "
                "pca:0=1.5,sefa:2=-1",
            ) from None
    if len(moves) > MAX_MOVES:
        raise GanvasError(f"--move has {len(moves)} directions.", expected=f"at most {MAX_MOVES}")
    return moves
