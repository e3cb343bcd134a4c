"""The types of numeric knobs: each is a Python type with the bound of its values."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias, get_args, get_origin

from ganvas.config.forms import knob_fields
from ganvas.errors import GanvasError, describe_value
from ganvas.schedule import Schedule, ScheduleSpec


@dataclass(frozen=True)
class Bound:
    """What a value must satisfy; of a schedule, both its start and its end.

    Attributes:
        check: whether a value is within the bound.
        expected: the bound in words.
    """

    check: Callable[[Any], bool]
    expected: str


NON_NEGATIVE = Bound(lambda value: 0 <= value < math.inf, "0 or more, and finite")
FRACTION = Bound(lambda value: 0 <= value <= 1, "a fraction from 0 to 1")
BELOW_ONE = Bound(lambda value: 0 <= value < 1, "0 or more and below 1")

MAX_COUNT, MAX_LAYERS = 10**9, 1000
"""What no network, batch or interval comes near: memory is checked later, with the sizes of a network at hand."""

Count: TypeAlias = Annotated[int, Bound(lambda n: 1 <= n <= MAX_COUNT, f"a whole number from 1 to {MAX_COUNT:,}")]
Natural: TypeAlias = Annotated[int, Bound(lambda n: 0 <= n <= MAX_COUNT, f"a whole number from 0 to {MAX_COUNT:,}")]
Counts: TypeAlias = Annotated[
    tuple[int, ...],
    Bound(
        lambda n: len(n) <= MAX_LAYERS and all(1 <= i <= MAX_COUNT for i in n),
        f"whole numbers above 0, at most {MAX_LAYERS:,}",
    ),
]
Layers: TypeAlias = Annotated[int, Bound(lambda n: 1 <= n <= MAX_LAYERS, f"a whole number from 1 to {MAX_LAYERS:,}")]
Threads: TypeAlias = Annotated[int, Bound(lambda n: 1 <= n <= 1024, "a number from 1 to 1,024")]
Seed: TypeAlias = Annotated[int, Bound(lambda seed: 0 <= seed < 2**63, "a whole number from 0 to 2^63 - 1")]

Finite: TypeAlias = Annotated[float, Bound(math.isfinite, "a finite number")]
NonNegative: TypeAlias = Annotated[float, NON_NEGATIVE]
Fraction: TypeAlias = Annotated[float, FRACTION]
BelowOne: TypeAlias = Annotated[float, BELOW_ONE]
Kimg: TypeAlias = Annotated[
    float, Bound(lambda kimg: 0.001 <= kimg < 1e12, "at least one image (0.001) and a finite number")
]
Minutes: TypeAlias = Annotated[float, Bound(lambda minutes: 0 < minutes < 1e7, "minutes above 0 and below 10 million")]
KimgOrNever: TypeAlias = Annotated[float, Bound(lambda kimg: 0 <= kimg < 1e12, "0 or more, and a finite number")]

ScheduledNonNegative: TypeAlias = Annotated[ScheduleSpec, NON_NEGATIVE]
ScheduledFraction: TypeAlias = Annotated[ScheduleSpec, FRACTION]
ScheduledBelowOne: TypeAlias = Annotated[ScheduleSpec, BELOW_ONE]


def find_bound(kind: Any) -> Bound | None:
    """The bound of a field's type, also where the field may be None."""
    if get_origin(kind) is Annotated:
        return next((item for item in kind.__metadata__ if isinstance(item, Bound)), None)
    return next(filter(None, map(find_bound, get_args(kind))), None)


def is_scheduled(kind: Any) -> bool:
    """Whether a field of this type can have a schedule."""
    return ScheduleSpec in (kind, *get_args(kind))


def check_bounds(config: Any) -> None:
    """Checks the value of each knob; of a schedule, its start and its end.

    Raises:
        GanvasError: a value is out of bounds.
    """
    for knob, value in knob_fields(config):
        flag, bound = f"--{knob.name.replace('_', '-')}", find_bound(knob.type)
        try:
            values = Schedule.parse(value).ends if is_scheduled(knob.type) else (value,)
        except GanvasError as error:
            raise GanvasError(f"{flag}: {error.what}", expected=error.expected, fix=error.fix) from error
        if bound and value is not None and not all(_is_within(bound, one) for one in values):
            raise GanvasError(f"{flag} is {describe_value(value)}.", expected=bound.expected)


def _is_within(bound: Bound, value: Any) -> bool:
    try:
        return bool(bound.check(value))
    except (TypeError, ValueError, OverflowError, RuntimeError):  # no number at all
        return False
