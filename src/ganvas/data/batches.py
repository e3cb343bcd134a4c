"""An endless, seeded stream of batches of real images.

The image at position t is a pure function of (seed, t), where t counts the images drawn by all ranks together. So a
resumed run continues exactly, and any number of ranks draws what one process would draw.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from ganvas.data.imageset import ImageSet
from ganvas.errors import GanvasError

_ORDER_STREAM, _MIRROR_STREAM = 0, 1  # part of the seed: order of the images, horizontal flips

_MAX_DEVICE_FRACTION = 0.5
"""The data set is copied to the GPU when it takes less than this fraction of the free memory."""


class Batches(Iterator[tuple[Tensor, Tensor | None]]):
    """Endless batches, reshuffled in every epoch, without replacement within an epoch.

    Args:
        images: the data set.
        batch: images per batch, over all ranks together; may exceed the size of the data set.
        seed: seed of the order and of the flips.
        start: images drawn so far, over all ranks; the next batch is the one an uninterrupted iterator would give.
        rank, world: rank of this process and number of processes; each takes a contiguous part of the batch.
        mirror: flip each image left to right with probability 0.5.
        balanced: draw every class equally often; an epoch then has classes x (size of the largest class) images.
        device: the device of the batches.
        needed_bytes: memory that the networks will take on a GPU at their peak; the images lie there only beside it.

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
        needed_bytes: int = 0,
    ) -> None:
        if batch < 1:
            raise GanvasError(f"The batch is {batch}.", expected="at least one image")
        if batch % world:
            raise GanvasError(
                f"A batch of {batch} cannot be shared equally by {world} processes.",
                expected=f"a multiple of {world}",
                fix=f"use --batch {max(world, batch - batch % world)}.",
            )
        if not 0 <= rank < world:
            raise ValueError(f"rank {rank} of {world}")
        if start < 0:
            raise ValueError(f"start {start}")
        if balanced and images.labels is None:
            raise GanvasError(
                f"{images.name} has no labels, so its classes cannot be balanced.",
                expected="a data set with classes",
                fix="leave --balanced out, or sort the images into one folder per class.",
            )
        self.nimg = start
        """Images drawn so far, over all ranks: the position of the next batch."""
        self._batch, self._local_batch, self._offset = batch, batch // world, rank * (batch // world)
        self._mirror = mirror
        self._sampler = _Sampler(images, seed, balanced)
        self._loader = _choose_loader(images, torch.device(device), needed_bytes)

    def __next__(self) -> tuple[Tensor, Tensor | None]:
        selection = self._sampler.draw(self.nimg + self._offset, self._local_batch, self._mirror)
        self.nimg += self._batch
        following = self.nimg + self._offset
        return self._loader.gather(selection, lambda: self._sampler.draw(following, self._local_batch, self._mirror))


class _Sampler:
    """Maps every position from 0 on to (index into the data set, flipped or not)."""

    def __init__(self, images: ImageSet, seed: int, balanced: bool) -> None:
        self._seed = seed % 2**64
        self._count = len(images)
        self._class_members: list[np.ndarray] = []
        if balanced and images.labels is not None:
            by_class = np.argsort(images.labels, kind="stable")
            edges = np.searchsorted(images.labels[by_class], np.arange(images.classes + 1))
            groups = [by_class[low:high] for low, high in pairwise(edges)]
            self._class_members = [group for group in groups if len(group)]
        largest = max((len(group) for group in self._class_members), default=0)
        self._epoch_length = len(self._class_members) * largest or self._count
        self._epochs: dict[int, tuple[np.ndarray, np.ndarray | None]] = {}

    def draw(self, start: int, count: int, mirror: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """From position `start` on: int64 [count] indices, and bool [count] whether to flip; None without `mirror`."""
        indices, flipped = [], []
        while count:
            epoch, offset = divmod(start, self._epoch_length)
            order, flips = self._epoch(epoch, mirror)
            taken = min(count, self._epoch_length - offset)
            indices.append(order[offset : offset + taken])
            if flips is not None:
                flipped.append(flips[offset : offset + taken])
            start, count = start + taken, count - taken
        return np.concatenate(indices), np.concatenate(flipped) if mirror else None

    def _epoch(self, number: int, mirror: bool) -> tuple[np.ndarray, np.ndarray | None]:
        if number not in self._epochs:
            self._epochs = {known: self._epochs[known] for known in sorted(self._epochs)[-1:]}  # older epochs are over
            random = self._generator(number, _ORDER_STREAM)
            order = self._balanced_order(random) if self._class_members else random.permutation(self._count)
            flips = self._generator(number, _MIRROR_STREAM).random(self._epoch_length) < 0.5 if mirror else None
            self._epochs[number] = order, flips
        return self._epochs[number]

    def _balanced_order(self, random: np.random.Generator) -> np.ndarray:
        """Groups with one image of each class, in random order; a class that is used up is reshuffled."""
        groups = self._epoch_length // len(self._class_members)
        columns = []
        for members in self._class_members:
            repeats = -(-groups // len(members))
            columns.append(np.concatenate([random.permutation(members) for _ in range(repeats)])[:groups])
        return random.permuted(np.stack(columns, axis=1), axis=1).reshape(-1)

    def _generator(self, number: int, purpose: int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence([self._seed, number, purpose])))


_Selection = tuple[np.ndarray, np.ndarray | None]


def _choose_loader(
    images: ImageSet, device: torch.device, needed_bytes: int
) -> "_DeviceLoader | _HostLoader | _StreamingLoader":
    """The fastest loader for `device` that fits into its memory.

    What PyTorch has reserved already is part of what the networks need: in a new run its trial has taken nearly all of
    it, in a resumed one nothing has.
    """
    if device.type != "cuda":
        return _HostLoader(images, device)
    free, _ = torch.cuda.mem_get_info(device)
    left = free - max(0, needed_bytes - torch.cuda.memory_reserved(device))
    fits = images.images.nbytes < _MAX_DEVICE_FRACTION * left
    return _DeviceLoader(images, device) if fits else _StreamingLoader(images, device)


class _HostLoader:
    """Gathers each batch from the memory map."""

    def __init__(self, images: ImageSet, device: torch.device) -> None:
        self._flat = np.asarray(images.images).reshape(len(images), -1)
        self._shape = images.images.shape[1:]
        self._labels, self._device = images.labels, device

    def gather(self, selection: _Selection, _following: object = None) -> tuple[Tensor, Tensor | None]:
        indices, flipped = selection
        chosen = self._flat[indices].reshape(-1, *self._shape)
        if flipped is not None:
            chosen[flipped] = chosen[flipped, :, :, ::-1]
        labels = None if self._labels is None else torch.from_numpy(self._labels[indices]).to(self._device)
        return torch.from_numpy(chosen).to(self._device), labels


class _StreamingLoader:
    """A thread gathers the next batch into pinned memory while the GPU works on the current one."""

    def __init__(self, images: ImageSet, device: torch.device) -> None:
        self._host = _HostLoader(images, torch.device("cpu"))
        self._device = device
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ganvas-batches")
        self._next_batch: Future[tuple[Tensor, Tensor | None]] | None = None

    def gather(self, selection: _Selection, following: Callable[[], _Selection]) -> tuple[Tensor, Tensor | None]:
        pixels, labels = self._next_batch.result() if self._next_batch else self._gather_pinned(selection)
        self._next_batch = self._thread.submit(self._gather_pinned, following())
        on_device = pixels.to(self._device, non_blocking=True)
        return on_device, None if labels is None else labels.to(self._device, non_blocking=True)

    def _gather_pinned(self, selection: _Selection) -> tuple[Tensor, Tensor | None]:
        pixels, labels = self._host.gather(selection)
        return pixels.pin_memory(), None if labels is None else labels.pin_memory()


class _DeviceLoader:
    """Keeps the whole data set on the device; only the indices are copied."""

    def __init__(self, images: ImageSet, device: torch.device) -> None:
        self._images = torch.empty(images.images.shape, dtype=torch.uint8, device=device)
        step = max(1, 2**26 // max(1, images.images[0].nbytes))
        for first in range(0, len(images), step):
            block = np.array(images.images[first : first + step])
            self._images[first : first + len(block)].copy_(torch.from_numpy(block))
        self._labels = None if images.labels is None else torch.from_numpy(images.labels.copy()).to(device)
        self._device = device

    def gather(self, selection: _Selection, _following: object) -> tuple[Tensor, Tensor | None]:
        indices = torch.from_numpy(selection[0]).to(self._device, non_blocking=True)
        pixels = self._images[indices]
        if selection[1] is not None:
            flipped = torch.from_numpy(selection[1]).to(self._device, non_blocking=True)
            pixels = torch.where(flipped[:, None, None, None], pixels.flip(3), pixels)
        return pixels, None if self._labels is None else self._labels[indices]
