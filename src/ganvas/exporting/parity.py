"""How far images drawn by an exported file are from our own, for the same seeds."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganvas import user_code
from ganvas.drawing import images_per_pass, sample_latents
from ganvas.errors import GanvasError
from ganvas.pytorch_state import default_state
from ganvas.sampling import Sampler

SEEDS = range(64)
TRUNCATION = 0.7
"""The second half of the seeds is drawn with it, the first half without."""

LIMIT = 0.25
"""Most pixel values by which any pixel may differ, of 255, where the weights are those of the run."""

HALF_LIMIT = 2.0
"""Most pixel values by which pixels may differ on average where the weights are rounded to half precision."""

Draw = Callable[[Tensor, Tensor | None, float], tuple[np.ndarray, np.ndarray]]
"""z float [n latent], labels int64 [n] or None, truncation -> images uint8, values float32 [n c h w]."""


@dataclass(frozen=True)
class Parity:
    """Images of an exported file beside our own.

    Attributes:
        what: the file, or which part of it.
        images: how many were compared.
        largest: the largest difference of a pixel before rounding, in pixel values from 0 to 255.
        mean: the mean difference of the pixels before rounding.
        share: of the pixels that differ after rounding to uint8, from 0 to 1.
    """

    what: str
    images: int
    largest: float
    mean: float
    share: float

    def to_json(self) -> dict[str, Any]:
        """Its fields as plain values."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.what}: {self.images} images, largest difference {self.largest:.2g} of 255, "
            f"{100 * self.share:.3g} % of the pixels differ after rounding"
        )


def compare_with_own(what: str, sampler: Sampler, draw: Draw) -> Parity:
    """Compares what an exported file draws from `SEEDS` with what `Sampler` draws: one alone, the others in batches."""
    comparison = _Comparison(what)
    for seeds, truncation in _batches(sampler):
        with default_state(random=False), torch.no_grad(), user_code.quote_loaded():
            z, labels = sample_latents(seeds, sampler.generator.latent), labels_of(sampler, seeds)
            values = sampler.generator.truncated(z, labels, truncation).float().numpy()
        images = np.asarray(sampler.sample(seeds, truncation=truncation))
        comparison.add(images, values, draw(z, labels, truncation))
    return comparison.result()


class _Comparison:
    def __init__(self, what: str) -> None:
        self._what, self._images, self._pixels, self._largest, self._sum, self._differ = what, 0, 0, 0.0, 0.0, 0

    def add(self, images: np.ndarray, values: np.ndarray, theirs: tuple[np.ndarray, np.ndarray]) -> None:
        if theirs[0].shape != images.shape or theirs[1].shape != values.shape or theirs[0].dtype != np.uint8:
            self._largest = float("nan")
            return
        there = np.abs(np.clip(values, -1, 1) - np.clip(theirs[1], -1, 1), dtype=np.float64) * 127.5
        self._images, self._pixels = self._images + len(images), self._pixels + images.size
        self._largest = float(np.maximum(self._largest, there.max()))  # NaN stays NaN
        self._sum += float(there.sum())
        self._differ += int((images != theirs[0]).sum())

    def result(self) -> Parity:
        n = max(1, self._pixels)
        return Parity(self._what, self._images, self._largest, self._sum / n, self._differ / n)


def _batches(sampler: Sampler) -> Iterator[tuple[list[int], float]]:
    """Seeds and their truncation: one image, then as many as fit into a pass."""
    step = min(images_per_pass(*sampler.card.shape[1:3]), len(SEEDS) // 2)
    yield [SEEDS[0]], 1.0
    for start in range(1, len(SEEDS), step):
        yield list(SEEDS[start : start + step]), 1.0 if start < len(SEEDS) // 2 else TRUNCATION


def labels_of(sampler: Sampler, seeds: list[int]) -> Tensor | None:
    """The classes that `Sampler` draws for these seeds."""
    classes = sampler.card.shape.classes
    return torch.tensor([seed % classes for seed in seeds]) if classes else None


def check(parity: Parity, *, half: bool = False) -> None:
    """Refuses a file whose images are others than ours.

    Raises:
        GanvasError: they are.
    """
    found, limit, which = (parity.mean, HALF_LIMIT, "on average") if half else (parity.largest, LIMIT, "at most")
    if not found <= limit:  # NaN too
        raise GanvasError(
            f"The exported {parity.what} draws other images than the run: {which} {found:.3g} of 255 apart.",
            expected=f"at most {limit:g}; no file was written",
            fix="leave --half out." if half else "ganvas info tells the versions, for a bug report.",
        )
