"""A value that changes during training: constant, linear or cosine in the images shown to D.

Written as a number (`0.001`), or as `START..END:SHAPE@FROM-TO`, where the shape is `linear` (default) or
`cosine`, and FROM and TO are fractions of the run (`0.5`) or thousands of images (`200k`). Before FROM the
value is START, after TO it is END. `2e-4..5e-5:cosine@0-0.2` falls along a cosine in the first fifth of the run.
"""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ganvas.errors import GanvasError, describe_value

ScheduleSpec: TypeAlias = float | str
"""What a user writes for a scheduled value; `Schedule.parse` reads it."""

_SHAPES: dict[str, Literal["linear", "cosine"]] = {"": "linear", "linear": "linear", "cosine": "cosine"}


@dataclass(frozen=True)
class Schedule:
    """A value as a function of the images shown to D.

    Attributes:
        start, end: values before `begin` and after `finish`.
        shape: of the curve between them.
        begin, finish: fractions of the run in [0, 1], or kimg if `absolute`.
    """

    start: float
    end: float
    shape: Literal["constant", "linear", "cosine"] = "constant"
    begin: float = 0.0
    finish: float = 1.0
    absolute: bool = False

    @classmethod
    def parse(cls, knob: ScheduleSpec) -> "Schedule":
        """Reads a number or the written form above.

        Raises:
            GanvasError: the text is neither.
        """
        text = str(knob).replace(" ", "")
        try:
            values, _, window = text.partition("@")
            values, _, shape = values.partition(":")
            start, moving, end = values.partition("..")
            if not moving:
                if shape or window:
                    raise ValueError
                return cls(_finite(start), _finite(start))
            begin, _, finish = (window or "0-1").partition("-")
            absolute = finish.endswith("k")
            if absolute and not begin.endswith("k") and 0 < _finite(begin) < 1:
                raise ValueError  # a fraction of the run with kimg; 100-500k can only mean kimg
            schedule = cls(
                start=_finite(start),
                end=_finite(end),
                shape=_SHAPES[shape],
                begin=_finite(begin.removesuffix("k") if absolute else begin),
                finish=_finite(finish.removesuffix("k")),
                absolute=absolute,
            )
            if not 0 <= schedule.begin < schedule.finish or (not absolute and schedule.finish > 1):
                raise ValueError
        except (ValueError, KeyError):
            raise GanvasError(
                f"{describe_value(knob)} is not a schedule.",
                expected="a number, or START..END:SHAPE@FROM-TO with SHAPE linear or cosine and FROM before TO, "
                "both fractions of the run or both in kimg",
                fix="write for instance 0.001, 2e-4..5e-5:cosine@0-0.2, or 1e-3..0:linear@500k-1000k.",
            ) from None
        return schedule

    @property
    def ends(self) -> tuple[float, float]:
        """The values before and after, between which all others are."""
        return self.start, self.end

    @property
    def relative(self) -> bool:
        """Whether its values depend on how long the whole run is."""
        return self.shape != "constant" and not self.absolute

    def at(self, nimg: int, fraction: float) -> float:
        """The value after `nimg` images, which are this fraction of the run."""
        if self.shape == "constant":
            return self.start
        time = nimg / 1000 if self.absolute else fraction
        t = min(max((time - self.begin) / (self.finish - self.begin), 0.0), 1.0)
        if self.shape == "cosine":
            t = (1.0 - math.cos(math.pi * t)) / 2.0
        return self.start + (self.end - self.start) * t if t < 1.0 else self.end  # END exactly, not nearly


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return value
