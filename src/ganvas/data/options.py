"""What the user may ask of their pictures. Imports nothing heavy: the command line reads this file."""

import re
from dataclasses import dataclass
from typing import Literal

from ganvas.errors import GanvasError

LEAST_SIDE = 8
"""The smallest height or width, in pixels, that a network can be built for."""

LARGEST_SIDE = 8192


@dataclass(frozen=True)
class PictureOptions:
    """Where the pictures come from, and how they are brought to one size and one number of channels.

    Raises:
        GanvasError: a resolution that cannot be read or is under 8, or a `max_bad` outside 0..1.
    """

    source: str
    """A folder, a zip, IDX or CIFAR-10 files, .npz/.npy, `digits`, `mnist`, `fashion-mnist`, `cifar10`,
    `celeba`, `hf:owner/name[:config]`, or StackedMNIST: `stacked-mnist`, of the hub's digits, or
    `stacked-mnist:PATH`, of any grey digits in ten classes. An existing path wins over a name."""

    split: Literal["train", "test"] = "train"
    """Which part of a set that has two."""

    resolution: str | None = None
    """`64`, or height x width such as `48x64`. Left out: the pictures' own size if they share one of 8..256
    pixels a side, otherwise a square power of two, at most 64."""

    channels: Literal[1, 3, 4] | None = None
    """1 grey, 3 colour, 4 colour with transparency. Left out: decided from the data."""

    fit: Literal["crop", "pad", "stretch"] = "crop"
    """How a picture of another shape fills the resolution: cut the middle out, add bars, or distort."""

    max_bad: float = 0.05
    """The fraction of unreadable files above which the set is refused."""

    def __post_init__(self) -> None:
        self.size()
        if not 0 <= self.max_bad <= 1:
            raise GanvasError(
                f"--max-bad is {self.max_bad}.",
                expected="a fraction of the files, from 0 to 1",
                fix="0.05 accepts 5 % of unreadable files.",
            )
        for knob, value, allowed in (
            ("--split", self.split, ("train", "test")),
            ("--channels", self.channels, (None, 1, 3, 4)),
            ("--fit", self.fit, ("crop", "pad", "stretch")),
        ):
            if value not in allowed:
                names = ", ".join(str(choice) for choice in allowed if choice is not None)
                raise GanvasError(f"{knob} is {value!r}.", expected=f"one of {names}")

    def size(self) -> tuple[int, int] | None:
        """The asked (height, width), or None when it is left to the data."""
        if self.resolution is None:
            return None
        match = re.fullmatch(r"\s*(\d{1,6})(?:\s*[xX×]\s*(\d{1,6}))?\s*", str(self.resolution))
        if match is None:
            raise GanvasError(
                f"--resolution {self.resolution!r} is not a size.",
                expected="one number for a square, or height x width",
                fix="write it as 64 or 48x64.",
            )
        height = int(match[1])
        width = int(match[2] or height)
        if min(height, width) < LEAST_SIDE or max(height, width) > LARGEST_SIDE:
            raise GanvasError(
                f"--resolution {self.resolution} cannot be trained.",
                expected=f"a height and a width from {LEAST_SIDE} to {LARGEST_SIDE} pixels",
            )
        return height, width
