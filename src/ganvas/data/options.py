"""The options of data loading. Imports nothing heavy, because the command line reads this file."""

import re
from dataclasses import dataclass
from typing import Literal

from ganvas.errors import GanvasError, describe_value
from ganvas.values import as_number, to_text

MIN_SIDE = 8
"""The smallest height or width, in pixels, that a network can be built for."""

MAX_SIDE = 8192


Split = Literal["train", "test"]
Channels = Literal[1, 3, 4]
Fit = Literal["crop", "pad", "stretch"]


@dataclass(frozen=True)
class DataOptions:
    """Which images to load, and how to convert them to one size and number of channels.

    Raises:
        GanvasError: an option is out of range.
    """

    source: str
    """A folder, a zip or tar, IDX or CIFAR files, .npz/.npy, Parquet, a video, `digits`, a set that is downloaded
    (`mnist`, `fashion-mnist`, `kmnist`, `qmnist`, `emnist`, `emnist-letters`, `cifar10`, `cifar100`, `svhn` …),
    `hf:owner/name[:config]`, or StackedMNIST: `stacked-mnist`, made of MNIST's digits, or `stacked-mnist:PATH`, made of
    any grey digits in ten classes. An existing path takes precedence over a name."""

    split: Split = "train"
    """Which part of a data set that has two."""

    resolution: str | None = None
    """`64`, or height x width such as `48x64`. By default the size of the images if they all have the same, of 8..256
    pixels a side; otherwise a square whose side is a power of two, at most 64."""

    channels: Channels | None = None
    """1 grey, 3 RGB, 4 RGBA. By default decided from the data."""

    fit: Fit = "crop"
    """How an image of another aspect ratio is resized: cut the centre out, add bars, or distort."""

    max_bad: float = 0.05
    """The fraction of bad files above which the data set is refused."""

    label_column: str | None = None
    """The column of a table beside the images or of a Parquet file, or the array in an .npz or .mat, whose values are
    the classes; of CIFAR-100, `coarse_labels`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", to_text(self.source, "data", "the name or the path of a data set"))
        self.size()
        if (max_bad := as_number(self.max_bad)) is None or not 0 <= max_bad <= 1:
            raise GanvasError(
                f"--max-bad is {describe_value(self.max_bad)}.",
                expected="a fraction of the files, from 0 to 1",
                fix="0.05, for example, accepts 5 % of bad files.",
            )
        for flag, value, allowed in (
            ("--split", self.split, ("train", "test")),
            ("--channels", self.channels, (None, 1, 3, 4)),
            ("--fit", self.fit, ("crop", "pad", "stretch")),
        ):
            if not any(value is choice or (type(value) is type(choice) and value == choice) for choice in allowed):
                names = ", ".join(str(choice) for choice in allowed if choice is not None)
                raise GanvasError(f"{flag} is {describe_value(value)}.", expected=f"one of {names}")

    def size(self) -> tuple[int, int] | None:
        """`resolution` as (height, width); None if it is decided from the data."""
        if self.resolution is None:
            return None
        match = re.fullmatch(r"\s*([0-9]{1,6})(?:\s*[xX×]\s*([0-9]{1,6}))?\s*", str(self.resolution))
        if match is None:
            raise GanvasError(
                f"--resolution {describe_value(self.resolution)} is not a size.",
                expected="one number for a square, or height x width",
                fix="write it as 64 or 48x64.",
            )
        height = int(match[1])
        width = int(match[2] or height)
        if min(height, width) < MIN_SIDE or max(height, width) > MAX_SIDE:
            raise GanvasError(
                f"--resolution {self.resolution} is out of range.",
                expected=f"a height and a width from {MIN_SIDE} to {MAX_SIDE} pixels",
            )
        return height, width
