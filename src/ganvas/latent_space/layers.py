"""Layers as text: how many of the first ones, or which ones."""

import re

from ganvas.errors import GanvasError
from ganvas.seeds import parse_spans

_LIST = re.compile(r"[0-9]{1,4}(-[0-9]{1,4})?(,[0-9]{1,4}(-[0-9]{1,4})?)*")


def is_list(text: str) -> bool:
    """Whether a text is a list of numbers and ascending ranges, such as 0-2,5."""
    try:
        return bool(_LIST.fullmatch(text) and parse_spans(text))
    except ValueError:
        return False


def parse_list(text: str) -> list[int]:
    """The numbers of a list, ascending."""
    return sorted({number for span in parse_spans(text) for number in span})


def parse_layers(text: str | None) -> int | list[int] | None:
    """Parses "4" as the first four layers, "0-2,5" as these, numbered from 0; one layer alone is "5-5".

    Raises:
        GanvasError: the text is something else.
    """
    if text is None or re.fullmatch(r"[0-9]{1,4}", text):
        return None if text is None else int(text)
    if not is_list(text):
        raise GanvasError(
            f"--layers is {text[:100]!r}.", expected="how many of the first layers, as 4; or which ones, as 0-2,5"
        )
    return parse_list(text)
