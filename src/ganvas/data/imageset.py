"""ImageSet: pictures that have been decoded, and all that is known about them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class ImageSet:
    """A whole set of pictures of one size, ready to be drawn from."""

    name: str
    """Short and safe in a file name, such as `mnist` or `kaokore-faces-128`."""

    images: np.ndarray
    """uint8 [N C H W] in 0..255, C 1, 3 or 4, read-only: a memory map of the cache, or an array in memory."""

    labels: np.ndarray | None
    """int64 [N] in 0..classes-1, or None."""

    class_names: tuple[str, ...]
    """One for each class; empty without labels."""

    fingerprint: str
    """Hexadecimal digest of pixels, shape, labels and class names: equal for equal data, wherever from."""

    skipped: tuple[tuple[str, str], ...] = ()
    """(file, reason) of each file that could not be used."""

    notes: tuple[str, ...] = ()
    """What was decided for the user, a sentence each."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    """What was seen while decoding, JSON-able: `form`, `sizes`, `modes`, `ignored`, `misnamed`."""

    folder: Path | None = None
    """Where the cache keeps it, or None for a set in memory."""

    def __len__(self) -> int:
        return len(self.images)

    @property
    def resolution(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.images.shape[2], self.images.shape[3]

    @property
    def channels(self) -> int:
        """1 grey, 3 colour, 4 colour with transparency."""
        return self.images.shape[1]

    @property
    def classes(self) -> int:
        """The number of classes; 0 without labels."""
        return len(self.class_names)
