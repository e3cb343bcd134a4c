"""The images of the last few rounds: few at full size, more of them reduced; and the means of small batches."""

from collections.abc import Callable, Iterable
from typing import Literal

import torch
from torch import Tensor

from ganvas.diagnosis.signals.samples import downsample

MAX_IMAGES = 256
"""Images of each kind in a probe, at most: those of the last few steps."""

MAX_BYTES = 2**25
"""Bytes of the images that are kept at full size, unless one batch has more."""

PIECE = 64
"""Images that are reduced at once."""

MIN_PAIRS = 32
"""Pairs of a real and a fake of which D's order says something."""

MIN_TRAINING = 128
"""Training images with which D's outputs on held-out ones are compared, at least: fewer are a sample of their own."""


class RecentBatches:
    """The reals and fakes of the last rounds.

    Args:
        pixels: images as the loop has them -> images as they are compared.

    Attributes:
        full: the (real, fake) batches of the last rounds, without their graphs.
        reduced: those before them as they are compared, float32 [n f] each; none of data that this does not shrink.
        max_bytes: of all that are kept at full size, unless one batch has more.
    """

    def __init__(self, pixels: Callable[[Tensor], Tensor]) -> None:
        self._pixels, self.max_bytes = pixels, MAX_BYTES
        self.full: list[tuple[Tensor, Tensor]] = []
        self.reduced: list[tuple[Tensor, Tensor]] = []

    def add(self, real: Tensor, fake: Tensor) -> None:
        """Adds a batch; those before it are reduced where they take too many bytes, and forgotten later."""
        most = max(1, -(-MAX_IMAGES // len(real)))
        self.full = [*self.full, (real.detach(), fake.detach())][-most:]
        while len(self.full) > 1 and sum(images.nbytes for batch in self.full for images in batch) > self.max_bytes:
            of_real, of_fake = self.full.pop(0)
            reduced = downsample(self._pixels(of_real)), downsample(self._pixels(of_fake))
            if reduced[0].nbytes < of_real.nbytes:
                self.reduced.append(reduced)
        self.reduced = self.reduced[len(self.full) + len(self.reduced) - most :] if len(self) > most else self.reduced

    def __len__(self) -> int:
        return len(self.full) + len(self.reduced)

    def clear(self) -> None:
        """Forgets all of them."""
        self.full, self.reduced = [], []

    def images(self) -> tuple[Tensor, Tensor]:
        """The last reals and fakes at full size, float [n …] each, n at most 256."""
        real, fake = (torch.cat(part)[-MAX_IMAGES:] for part in zip(*self.full, strict=True))
        if real.dim() == 1:
            real, fake = real[:, None], fake[:, None]
        return self._pixels(real), self._pixels(fake)

    def compared(self, kind: Literal["real", "fake"]) -> Tensor:
        """The last 256 reals or fakes, reduced, float32 [n f]."""
        i = ("real", "fake").index(kind)
        full = (downsample(self._pixels(batch[i])) for batch in self.full)
        return torch.cat([*(batch[i] for batch in self.reduced), *full])[-MAX_IMAGES:]


def reduce(images: Tensor, pixels: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    """Some of the images as they are compared, float32 [len(rows) f]: a few at a time, where they lie."""
    return torch.cat([downsample(pixels(images[part])) for part in rows.to(images.device).split(PIECE)])


def pieces(images: Tensor, n: int) -> Iterable[Tensor]:
    """The images in batches of n, float [n …] each; fewer at the end only where there is no other."""
    parts = images.split(n)
    return [part for part in parts if len(part) == n] or parts


class PooledMean:
    """A quantity that few images say little about: the mean over as many probes as have enough.

    Args:
        least: images, or pairs of them, that are enough.
    """

    def __init__(self, least: int) -> None:
        self._least, self._sum, self._n = least, 0.0, 0

    def add(self, value: float, n: int) -> float | None:
        """The mean over all images since the last one, of which these are n; None while there are too few."""
        self._sum, self._n = self._sum + value * n, self._n + n
        if self._n < self._least:
            return None
        mean = self._sum / self._n
        self._sum, self._n = 0.0, 0
        return mean
