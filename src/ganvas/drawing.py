"""Draws uint8 images with a generator, in passes of one size; the latents of seeds, and which of them a grid has."""

import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ganvas import image_io, user_code
from ganvas.data.pixels import to_uint8
from ganvas.devices import free_bytes
from ganvas.errors import GanvasError
from ganvas.files import format_bytes
from ganvas.networks import Generator, Shape
from ganvas.pytorch_state import default_state
from ganvas.values import to_number, to_whole

MAX_TRUNCATION = 1e6

PIXELS_PER_PASS = 2**20
"""Approximate number of pixels in a forward pass: 64 images of 128×128."""


def images_per_pass(height: int, width: int) -> int:
    """The number of images in a forward pass, at most 64; depends only on their size.

    Every pass has this many (the last one is padded), so that the arithmetic, and with it the image of a seed, does
    not depend on how many images are requested.
    """
    return max(1, min(64, PIXELS_PER_PASS // (height * width)))


def generator_seed(seed: int) -> int:
    """What PyTorch's generator on the CPU is seeded with, which keeps the lower 32 bits of a seed only.

    Seeds below 2^32 are what they are; of larger ones all bits are mixed into 32 (the finaliser of SplitMix64, Steele
    et al. 2014), so that 5 and 2^32 + 5 differ. Two seeds then meet by chance, once in 2^32.
    """
    if seed < 2**32:
        return seed
    seed = (seed ^ seed >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    seed = (seed ^ seed >> 27) * 0x94D049BB133111EB % 2**64
    return (seed ^ seed >> 31) >> 32


def sample_latents(seeds: Iterable[int], size: int) -> Tensor:
    """z ~ N(0, 1) for each seed: float32 [n size], the same on every device."""
    rng = torch.Generator()
    return torch.stack([torch.randn(size, generator=rng.manual_seed(generator_seed(seed))) for seed in seeds])


def generate(
    generator: Generator,
    z: Tensor,
    labels: Tensor | None = None,
    *,
    truncation: float = 1.0,
    device: torch.device | None = None,
) -> Iterator[Tensor]:
    """Yields batches of images, uint8 [m c h w] on the CPU, m ≤ 64, from latents float32 [n z] and labels int64 [n].

    Raises:
        GanvasError: `truncation` is negative or not finite.
    """
    truncation = check_truncation(truncation)
    yield from in_passes(lambda z, labels: generator.truncated(z, labels, truncation), generator, z, labels, device)


def check_truncation(truncation: float) -> float:
    """The number; raises GanvasError if it is none, negative, or not finite."""
    return to_number(truncation, "--truncation", most=MAX_TRUNCATION)


def check_memory(n: int, shape: tuple[int, ...]) -> None:
    """Refuses more images than fit into the free memory, before any is made."""
    needed, free = n * math.prod(shape), free_bytes(torch.device("cpu"))
    if needed > free:
        raise GanvasError(
            f"{n:,} images need {format_bytes(needed)}.",
            expected=f"less than the {format_bytes(free)} that are free",
            fix="fewer seeds, or Sampler.sample_batches, which yields a few at a time.",
        )


def in_passes(
    make: Callable[[Tensor, Tensor | None], Tensor],
    generator: Generator,
    points: Tensor,
    labels: Tensor | None,
    device: torch.device | None,
    step: int | None = None,
) -> Iterator[Tensor]:
    """Images uint8 on the CPU of each row of `points` and `labels`, by passes of one size.

    Args:
        step: that size; by default `images_per_pass`. With another one the last bit of a sum may be another, and so
            a pixel by one level.
    """
    step = step or images_per_pass(*generator.shape[1:3])
    for start in range(0, len(points), step):
        with default_state(random=False), torch.no_grad(), user_code.quote_loaded():
            rows = torch.arange(start, start + step).clamp(max=len(points) - 1)
            images = make(points[rows].to(device), None if labels is None else labels[rows].to(device))
            images = to_uint8(images).cpu()[: len(points) - start]
        yield images


class GridPlan(NamedTuple):
    """The images of a grid, row by row.

    Attributes:
        seeds: one for each image.
        label: the class of all of them, of each, or None where there are no classes.
        columns: images in a row.
        row_names: of rows that are classes.
    """

    seeds: list[int]
    label: int | str | list[int] | None
    columns: int
    row_names: tuple[str, ...]

    def check(
        self, height: int, width: int, scale: int | None = None, path: Path | None = None, *, each: bool = False
    ) -> None:
        """Refuses it where no file holds the grid; see `image_io.check_grid`."""
        n, names = len(self.seeds), self.row_names
        fewer = "one class alone (--class), fewer seeds" if names else "fewer seeds"
        image_io.check_grid(n, self.columns, height, width, scale, row_names=names, path=path, fewer=fewer, each=each)


def plan_grid(
    seeds: list[int], label: int | str | None, columns: int | None, shape: Shape, class_names: tuple[str, ...]
) -> GridPlan:
    """The grid of these seeds, nearly square; of a generator with classes a row for each, unless one is chosen.

    Raises:
        GanvasError: there are no seeds, or fewer than one column.
    """
    columns = None if columns is None else to_whole(columns, "--columns", 1)
    if not seeds:
        raise GanvasError("A grid has no seeds.", expected="at least one")
    if not shape.classes or label is not None:
        return GridPlan(seeds, label, columns or math.isqrt(len(seeds) - 1) + 1, ())
    columns = min(columns or max(1, len(seeds) // shape.classes), len(seeds))
    labels = [number for number in range(shape.classes) for _ in range(columns)]
    return GridPlan(seeds[:columns] * shape.classes, labels, columns, class_names)
