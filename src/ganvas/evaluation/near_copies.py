"""Near-copies of training images, found in their pixels: independent of every network, and without held-out images.

Images are downsampled to 8×8, their mean subtracted and their contrast divided out, so that blur and noise hide no
copy. A near-copy is at most half as far from one training image as from every other (after Yoon et al. 2023, who take
a third, at full size). Mirrored copies count too: training images are often mirrored.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch.nn import functional as F

from ganvas.data.selection import subsample
from ganvas.evaluation.neighbours import nearest_neighbours

SIDE = 8
"""The largest side of the downsampled images, in pixels."""

MAX_RATIO = 0.5
"""A near-copy's distance to the nearest training image, over that to the second nearest, is at most this."""

MAX_IMAGES = 1000
"""Images that are searched for near-copies, at most."""

COPYING = 0.05
"""From this share of near-copies on, above twice the share among real images, training images are being copied."""


@dataclass(frozen=True, eq=False)
class NearCopies:
    """The near-copies among some images.

    Attributes:
        share: of the images, 0 to 1.
        expected: the share of the training images that would be called a near-copy of another one, unmirrored: a set
            that holds each image mirrored too must not hide that they are copied.
        pairs: int64 [p 2], rows (image, training image), the closest first, also of images that are no near-copies.
    """

    share: float
    expected: float
    pairs: np.ndarray

    @property
    def copying(self) -> bool:
        """Whether training images are being copied."""
        return self.share >= COPYING + 2 * self.expected


@dataclass(frozen=True, eq=False)
class TrainingPixels:
    """The different images of a training set, at least three, downsampled.

    Attributes:
        pixels: float32 [m f].
        rows: the row of each in the set, int64 [m].
    """

    pixels: np.ndarray
    rows: np.ndarray

    @classmethod
    def from_images(cls, images: np.ndarray) -> "TrainingPixels | None":
        """Of uint8 [n c h w]; None if fewer than three differ."""
        pixels, rows = np.unique(_downsample(images), axis=0, return_index=True)
        return cls(pixels, rows) if len(rows) >= 3 else None

    def find(self, images: np.ndarray, n_pairs: int) -> NearCopies:
        """The near-copies among images, uint8 [n c h w], at most MAX_IMAGES of them."""
        images = images[:MAX_IMAGES]
        ratios, nearest = np.full(len(images), np.inf), np.zeros(len(images), np.int64)
        for oriented in (images, images[..., ::-1]):
            distances, indices = nearest_neighbours(_downsample(oriented), self.pixels, 2)
            found = distances[:, 0] / distances[:, 1]
            nearest = np.where(found < ratios, self.rows[indices[:, 0]], nearest)
            ratios = np.minimum(ratios, found)
        closest = np.argsort(ratios, kind="stable")[:n_pairs]
        pairs = np.stack([closest, nearest[closest]], axis=1)
        return NearCopies(float((ratios <= MAX_RATIO).mean()), self._expected, pairs)

    def nearest(self, image: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray, float]:
        """(rows int64 [m], distances float64 [m]) of the m ≤ n different training images nearest to one; the ratio.

        It is a near-copy of the first if the ratio is at most MAX_RATIO: the distance to the nearest over that to the
        second nearest, of the image as it is or mirrored, whichever ratio is smaller, as in `find`.

        Args:
            image: uint8 [c h w]; each distance is that of it or of its mirror image, whichever is nearer.
            n: at least 1.
        """
        both = np.stack([image, image[..., ::-1]])
        distances, indices = nearest_neighbours(_downsample(both), self.pixels, min(max(n, 2), len(self.pixels)))
        ratio = float((distances[:, 0] / distances[:, 1]).min())
        least: dict[int, float] = {}
        for index, distance in zip(indices.flatten().tolist(), distances.flatten().tolist(), strict=True):
            least[index] = min(distance, least.get(index, distance))
        chosen = sorted(least, key=lambda index: (least[index], index))[:n]
        return self.rows[chosen], np.array([least[index] for index in chosen]), ratio

    @cached_property
    def _expected(self) -> float:
        """The share of near-copies among the training images, each compared with the others."""
        distances = nearest_neighbours(subsample(self.pixels, MAX_IMAGES), self.pixels, 3)[0]  # the first is itself
        return float((distances[:, 1] / distances[:, 2] <= MAX_RATIO).mean())


def _downsample(images: np.ndarray) -> np.ndarray:
    """uint8 [n c h w] -> float32 [n c·h'·w'], each with mean 0 and length 1 (0 for an even image)."""
    size, parts = [min(side, SIDE) for side in images.shape[2:]], []
    for start in range(0, len(images), 1024):
        part = torch.tensor(np.ascontiguousarray(images[start : start + 1024]), dtype=torch.float32)
        flat = F.interpolate(part, size, mode="area").flatten(1)
        parts.append(F.normalize(flat - flat.mean(1, keepdim=True)))
    return torch.cat(parts).numpy()
