"""Batches: the endless, seeded draw of real pictures.

Which picture comes at position t is a pure function of (seed, t), where t counts the pictures drawn by all
ranks together. So a resumed run continues exactly, and any number of ranks draws what one process would draw.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from ganvas.data.imageset import ImageSet
from ganvas.errors import GanvasError

_ORDER, _MIRROR = 0, 1  # what a stream of random numbers is for

_SHARE_OF_DEVICE = 0.5
"""The set moves to the GPU when it takes less than this share of the free memory."""


class Batches(Iterator[tuple[Tensor, Tensor | None]]):
    """Endless batches, shuffled anew on every pass, without replacement within a pass.

    Args:
        images: the set to draw from.
        batch: pictures per batch, over all ranks together; may exceed the size of the set.
        seed: which of the endless orders.
        start: how many pictures have been drawn already, over all ranks; the next batch is exactly the one an
            uninterrupted iterator would give.
        rank, world: this process and the number of processes; each takes its contiguous share of the batch.
        mirror: flip every second picture left to right, at random.
        balanced: draw every class equally often; a pass is then as long as classes x the largest class.
        device: where the batches are wanted.

    Yields:
        (uint8 [batch/world C H W] in 0..255, int64 [batch/world] or None), on `device`.

    Raises:
        GanvasError: `batch` cannot be divided by `world`, or `balanced` without labels.
    """

    def __init__(
        self,
        images: ImageSet,
        *,
        batch: int,
        seed: int,
        start: int = 0,
        rank: int = 0,
        world: int = 1,
        mirror: bool = False,
        balanced: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        if batch < 1:
            raise GanvasError(f"The batch is {batch}.", expected="at least one picture")
        if batch % world:
            raise GanvasError(
                f"A batch of {batch} cannot be shared equally by {world} processes.",
                expected=f"a multiple of {world}",
                fix=f"--batch {max(world, batch - batch % world)} would do.",
            )
        if not 0 <= rank < world:
            raise ValueError(f"rank {rank} of {world}")
        if start < 0:
            raise ValueError(f"start {start}")
        if balanced and images.labels is None:
            raise GanvasError(
                f"{images.name} has no labels, so its classes cannot be balanced.",
                expected="a set with classes",
                fix="leave the balancing out, or sort the pictures into one folder per class.",
            )
        self.nimg = start
        """Position of the next batch: pictures drawn so far, over all ranks."""
        self._batch, self._share, self._offset = batch, batch // world, rank * (batch // world)
        self._mirror = mirror
        self._order = _Order(images, seed, balanced)
        self._pixels = _pixels(images, torch.device(device))

    def __iter__(self) -> "Batches":
        return self

    def __next__(self) -> tuple[Tensor, Tensor | None]:
        where = self._order.draw(self.nimg + self._offset, self._share, self._mirror)
        self.nimg += self._batch
        after = self.nimg + self._offset
        return self._pixels.gather(where, lambda: self._order.draw(after, self._share, self._mirror))


class _Order:
    """Position -> (index into the set, mirrored or not), for all positions from 0 without end."""

    def __init__(self, images: ImageSet, seed: int, balanced: bool) -> None:
        self._seed = seed % 2**64
        self._count = len(images)
        self._members: list[np.ndarray] = []
        if balanced and images.labels is not None:
            by_class = np.argsort(images.labels, kind="stable")
            edges = np.searchsorted(images.labels[by_class], np.arange(images.classes + 1))
            groups = [by_class[low:high] for low, high in pairwise(edges)]
            self._members = [group for group in groups if len(group)]
        largest = max((len(group) for group in self._members), default=0)
        self._length = len(self._members) * largest or self._count
        self._passes: dict[int, tuple[np.ndarray, np.ndarray | None]] = {}

    def draw(self, start: int, count: int, mirror: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """From position `start` on: int64 [count] picture numbers; bool [count] mirrored or not, or None."""
        indices, coins = [], []
        while count:
            number, offset = divmod(start, self._length)
            order, flips = self._pass(number, mirror)
            taken = min(count, self._length - offset)
            indices.append(order[offset : offset + taken])
            if flips is not None:
                coins.append(flips[offset : offset + taken])
            start, count = start + taken, count - taken
        return _joined(indices), _joined(coins) if mirror else None

    def _pass(self, number: int, mirror: bool) -> tuple[np.ndarray, np.ndarray | None]:
        if number not in self._passes:
            self._passes = {known: self._passes[known] for known in sorted(self._passes)[-1:]}  # old ones are done
            random = self._random(number, _ORDER)
            order = self._balanced(random) if self._members else random.permutation(self._count)
            flips = self._random(number, _MIRROR).random(self._length) < 0.5 if mirror else None
            self._passes[number] = order, flips
        return self._passes[number]

    def _balanced(self, random: np.random.Generator) -> np.ndarray:
        """Rounds in which each class comes once, in random order; a class that is used up starts over."""
        rounds = self._length // len(self._members)
        columns = []
        for group in self._members:
            repeats = -(-rounds // len(group))
            columns.append(np.concatenate([random.permutation(group) for _ in range(repeats)])[:rounds])
        return random.permuted(np.stack(columns, axis=1), axis=1).reshape(-1)

    def _random(self, number: int, purpose: int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence([self._seed, number, purpose])))


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


_Where = tuple[np.ndarray, np.ndarray | None]


def _pixels(images: ImageSet, device: torch.device) -> "_OnDevice | _InMemory | _Streamed":
    """The cheapest way of bringing pictures to `device`."""
    if device.type != "cuda":
        return _InMemory(images, device)
    free, _ = torch.cuda.mem_get_info(device)
    fits = images.images.nbytes < _SHARE_OF_DEVICE * free
    return _OnDevice(images, device) if fits else _Streamed(images, device)


class _InMemory:
    """Gathers from the memory map when asked: on a CPU that is as fast as any other memory."""

    def __init__(self, images: ImageSet, device: torch.device) -> None:
        self._flat = np.asarray(images.images).reshape(len(images), -1)
        self._shape = images.images.shape[1:]
        self._labels, self._device = images.labels, device

    def gather(self, where: _Where, _following: object) -> tuple[Tensor, Tensor | None]:
        pixels, labels = self.host(where)
        return pixels.to(self._device), None if labels is None else labels.to(self._device)

    def host(self, where: _Where) -> tuple[Tensor, Tensor | None]:
        """The batch in ordinary memory."""
        indices, coins = where
        chosen = self._flat[indices].reshape(-1, *self._shape)
        if coins is not None:
            chosen[coins] = chosen[coins, :, :, ::-1]
        labels = None if self._labels is None else torch.from_numpy(self._labels[indices])
        return torch.from_numpy(chosen), labels


class _Streamed:
    """One thread gathers the next batch into pinned memory while the GPU works on this one."""

    def __init__(self, images: ImageSet, device: torch.device) -> None:
        self._host = _InMemory(images, torch.device("cpu"))
        self._device = device
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ganvas-batches")
        self._ahead: Future[tuple[Tensor, Tensor | None]] | None = None

    def gather(self, where: _Where, following: Callable[[], _Where]) -> tuple[Tensor, Tensor | None]:
        pixels, labels = self._ahead.result() if self._ahead else self._pinned(where)
        self._ahead = self._thread.submit(self._pinned, following())
        moved = pixels.to(self._device, non_blocking=True)
        return moved, None if labels is None else labels.to(self._device, non_blocking=True)

    def _pinned(self, where: _Where) -> tuple[Tensor, Tensor | None]:
        pixels, labels = self._host.host(where)
        return pixels.pin_memory(), None if labels is None else labels.pin_memory()


class _OnDevice:
    """The whole set lies on the device; only the picture numbers travel."""

    def __init__(self, images: ImageSet, device: torch.device) -> None:
        self._images = torch.empty(images.images.shape, dtype=torch.uint8, device=device)
        step = max(1, 2**26 // max(1, images.images[0].nbytes))
        for first in range(0, len(images), step):
            block = np.array(images.images[first : first + step])
            self._images[first : first + len(block)].copy_(torch.from_numpy(block))
        self._labels = None if images.labels is None else torch.from_numpy(images.labels.copy()).to(device)
        self._device = device

    def gather(self, where: _Where, _following: object) -> tuple[Tensor, Tensor | None]:
        indices = torch.from_numpy(where[0]).to(self._device, non_blocking=True)
        pixels = self._images[indices]
        if where[1] is not None:
            coins = torch.from_numpy(where[1]).to(self._device, non_blocking=True)
            pixels = torch.where(coins[:, None, None, None], pixels.flip(3), pixels)
        return pixels, None if self._labels is None else self._labels[indices]
