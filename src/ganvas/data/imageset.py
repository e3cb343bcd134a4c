"""ImageSet: decoded images with their labels and metadata."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ganvas.data.options import Fit


@dataclass(frozen=True, eq=False, repr=False)
class ImageSet:
    """A data set of decoded images of one size."""

    name: str
    """Short, and safe in a file name, such as `mnist` or `kaokore-faces-128`."""

    images: np.ndarray
    """uint8 [N C H W] in 0..255, C 1, 3 or 4, read-only: a memory map of the cache, or an array in memory."""

    labels: np.ndarray | None
    """int64 [N] in 0..classes-1, or None."""

    class_names: tuple[str, ...]
    """One for each class; empty without labels."""

    fingerprint: str
    """SHA-256 of pixels, shape, labels and class names, hexadecimal: equal for equal data of any source."""

    skipped: tuple[tuple[str, str], ...] = ()
    """(file, reason) of each file that could not be used."""

    notes: tuple[str, ...] = ()
    """What was decided automatically, a sentence each."""

    metadata: Mapping[str, Any] = field(default_factory=dict)
    """JSON-able properties of the source: `format`, `sizes`, `colour_modes`, `ignored`, `misnamed`."""

    folder: Path | None = None
    """The folder in the cache, or None for a data set in memory."""

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        size = "×".join(map(str, (*self.resolution, self.channels)))
        classes = f", {self.classes} classes" if self.classes else ""
        return f"ImageSet({self.name}: {len(self):,} images, {size}{classes})"

    @property
    def resolution(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.images.shape[2], self.images.shape[3]

    @property
    def channels(self) -> int:
        """1 grey, 3 RGB, 4 RGBA."""
        return self.images.shape[1]

    @property
    def classes(self) -> int:
        """The number of classes; 0 without labels."""
        return len(self.class_names)


def count_smaller(sizes: Mapping[str, int], resolution: tuple[int, int], fit: Fit = "crop") -> int:
    """How many of the images with these sizes, {"HxW": count}, are enlarged to a resolution (H, W).

    Bars (`pad`) fill a side that is too short where the other one is long enough.
    """
    sides = [(*map(int, size.split("x")), count) for size, count in sizes.items()]
    is_enlarged = all if fit == "pad" else any
    return sum(n for height, width, n in sides if is_enlarged((height < resolution[0], width < resolution[1])))
