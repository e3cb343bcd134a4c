"""Layers as text: how many of the first ones, or which ones; and which generators have some."""

import re
from collections.abc import Sequence

from torch import Tensor

from ganvas.errors import GanvasError
from ganvas.latents import mark_layers
from ganvas.sampling import Sampler
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


def choose_layers(drawn: Sampler, layers: int | Sequence[int]) -> Tensor:
    """Which of the layers of a generator's latents are meant, bool [layers 1].

    Args:
        layers: how many of the first ones, or which ones, numbered from 0.

    Raises:
        GanvasError: its layers have no styles of their own, there are not so many, or none is named.
    """
    count = drawn.latents([0]).styles.shape[1]
    if count == 1:
        raise GanvasError(
            f"{drawn.name} is of the family {drawn.card.network.family}, whose images come from one "
            f"{drawn.generator.style_space} as a whole: it has no layers to move apart.",
            fix="leave --layers out, or train stylegan or transformer-modern.",
        )
    return mark_layers(layers, count, count, "moved")
