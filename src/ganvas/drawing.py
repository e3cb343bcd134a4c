"""Draws uint8 images with a generator, in passes of one size; the latents of seeds."""

import math
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from ganvas import user_code
from ganvas.data.pixels import to_uint8
from ganvas.errors import GanvasError
from ganvas.networks import Generator
from ganvas.pytorch_state import default_state

PIXELS_PER_PASS = 2**20
"""Approximate number of pixels in a forward pass: 64 images of 128×128."""


def images_per_pass(height: int, width: int) -> int:
    """The number of images in a forward pass, at most 64; depends only on their size.

    Every pass has this many (the last one is padded), so that the arithmetic, and with it the image of a seed, does
    not depend on how many images are requested.
    """
    return max(1, min(64, PIXELS_PER_PASS // (height * width)))


def sample_latents(seeds: Iterable[int], size: int) -> Tensor:
    """z ~ N(0, 1) for each seed: float32 [n size], the same on every device."""
    rng = torch.Generator()
    return torch.stack([torch.randn(size, generator=rng.manual_seed(seed)) for seed in seeds])


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
    check_truncation(truncation)
    yield from in_passes(lambda z, labels: generator.truncated(z, labels, truncation), generator, z, labels, device)


def check_truncation(truncation: float) -> None:
    """Raises GanvasError if it is negative or not finite."""
    if isinstance(truncation, str | None) or not 0 <= truncation < math.inf:
        raise GanvasError(f"--truncation is {truncation!r}.", expected="a number from 0 on; 1 means no truncation")


def in_passes(
    make: Callable[[Tensor, Tensor | None], Tensor],
    generator: Generator,
    points: Tensor,
    labels: Tensor | None,
    device: torch.device | None,
) -> Iterator[Tensor]:
    """Images uint8 on the CPU of each row of `points` and `labels`, by passes of one size."""
    step = images_per_pass(*generator.shape[1:3])
    for start in range(0, len(points), step):
        with default_state(random=False), torch.no_grad(), user_code.quote_loaded():
            rows = torch.arange(start, start + step).clamp(max=len(points) - 1)
            images = make(points[rows].to(device), None if labels is None else labels[rows].to(device))
            images = to_uint8(images).cpu()[: len(points) - start]
        yield images
