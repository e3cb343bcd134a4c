"""Seeds of images, as integers or as text such as "0-7,12"."""

from collections.abc import Iterable
from itertools import islice
from typing import Any

from ganvas.errors import GanvasError, describe_value
from ganvas.values import as_whole

MAX_SEEDS = 10_000_000
"""Most seeds that one text names."""


def parse_spans(text: str) -> list[range]:
    """Parses "0-7,12" as the ranges 0 … 7 and 12.

    Raises:
        ValueError: the text is no list of numbers and ranges, or a range ends before it begins.
    """
    spans = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        span = range(int(first), int(last if dash else first) + 1)
        if span.stop <= span.start:
            raise ValueError(f"{part} ends before it begins")
        spans.append(span)
    return spans


def parse_seeds(text: str) -> list[int]:
    """Parses "0-7,12" as 0 … 7 and 12.

    Raises:
        GanvasError: the text is not a list of seeds.
    """
    try:
        spans = parse_spans(text)
    except ValueError:
        raise GanvasError(
            f"'{text}' is not a list of seeds.", expected="numbers and ascending ranges, such as 0-7,12"
        ) from None
    if sum(span.stop - span.start for span in spans) > MAX_SEEDS:
        raise GanvasError(f"'{text}' are too many seeds.", expected=f"at most {MAX_SEEDS:,}", fix="several commands.")
    return [seed for span in spans for seed in span]


def check_seeds(seeds: Iterable[int] | str) -> list[int]:
    """The seeds as integers in the range that PyTorch accepts."""
    if isinstance(seeds, str):
        chosen: Iterable[Any] = parse_seeds(seeds)
    elif isinstance(seeds, Iterable) and not isinstance(seeds, bytes) and getattr(seeds, "ndim", 1):
        chosen = seeds
    else:
        raise GanvasError(
            f"{describe_value(seeds)} is not a list of seeds.",
            expected='integers such as range(64) or [0, 7], or text such as "0-7,12"',
        )
    checked = [to_int(seed, "seed") for seed in islice(chosen, MAX_SEEDS + 1)]
    if len(checked) > MAX_SEEDS:
        raise GanvasError("These are too many seeds.", expected=f"at most {MAX_SEEDS:,}", fix="several calls.")
    for seed in checked:
        if not 0 <= seed < 2**63:
            raise GanvasError(f"{seed} is not a seed.", expected="an integer from 0 to 2^63 - 1")
    return checked


def to_int(value: object, what: str) -> int:
    number = as_whole(value)
    if number is None:
        raise GanvasError(f"{describe_value(value)} is not a {what}.", expected="an integer")
    return number
