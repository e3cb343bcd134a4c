"""Metrics of the pictures themselves, at several sizes; no network looks at them.

Images are uint8 [n c h w].
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ganvas.errors import GanvasError

PATCH = 7
"""Side of a patch (Karras et al. 2018, section 5)."""
COARSEST = 16
"""Side of the pyramid's coarsest level (Karras et al. 2018)."""
SMALLEST = 8
"""Side below which pictures are not compared."""
BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
"""The pyramids' low-pass filter (Burt & Adelson 1983), one axis of it."""

WINDOW, SIGMA = 11, 1.5
"""The Gaussian window of SSIM, in pixels (Wang et al. 2004)."""
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the scales, finest first (Wang et al. 2003, section 3.2)."""

PIXELS, DIRECTIONS = 2**16, 16
"""Handled at a time: pixels of a channel, about, and directions."""


def sliced_wasserstein(
    real: np.ndarray, fake: np.ndarray, seed: int, patches: int = 128, projections: int = 512
) -> dict[int, float]:
    """Distances ×10³ of 7×7 patches, by the shorter side of a level (Karras et al. 2018, section 5).

    Levels are those of a Laplacian pyramid: a fine one compares texture, the last one (not under 16, or the picture
    itself) the layout. Each side's patches are normalised by their own mean and deviation, channel by channel, so that
    a shift of brightness or contrast alone is not seen. Unlike in the paper the i-th pictures of both sides are cut at
    the same places: a set is at distance 0 from itself. Holds 200 · n · c · patches bytes a side and level; 1,000
    pictures of 3×32×32 take about 15 s on one core.

    Args:
        real: uint8 [n c h w], h and w at least 8.
        fake: as many, of the same size.
        seed: draws places and directions.
        patches: of each picture and level.
        projections: random directions, over which the one-dimensional distances are averaged.

    Raises:
        GanvasError: sides of different shapes, or pictures too small.
    """
    return sliced_wassersteins(real, [fake], seed, patches, projections)[0]


def sliced_wassersteins(
    real: np.ndarray, fakes: Sequence[np.ndarray], seed: int, patches: int = 128, projections: int = 512
) -> list[dict[int, float]]:
    """`sliced_wasserstein` of several sides, whose real pictures are projected and sorted once.

    Raises:
        GanvasError: as `sliced_wasserstein`.
    """
    sides = [real, *fakes]
    for side in sides:
        _check(side)
        if side.shape != real.shape:
            raise GanvasError(
                f"Real pictures {list(real.shape)} and fake ones {list(side.shape)}.",
                expected="equal numbers and sizes",
            )
    count, _, h, w = real.shape
    random = np.random.default_rng(seed)
    sizes = [(h, w)]
    while (min(sizes[-1]) + 1) // 2 >= COARSEST:
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    places = []
    for h, w in sizes:
        corners = [random.integers(side - PATCH + 1, size=(count, patches)) for side in (h, w)]
        places.append(torch.from_numpy(np.stack(corners)))
    levels = zip(*(_descriptors(side, places) for side in sides), strict=True)
    found: list[dict[int, float]] = [{} for _ in fakes]
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for (h, w), of_sides in zip(sizes, levels, strict=True):
            directions = random.standard_normal((projections, of_sides[0].shape[1]))
            directions = torch.from_numpy(directions / np.linalg.norm(directions, axis=1, keepdims=True)).float()
            totals = np.zeros(len(found))
            for part in directions.split(DIRECTIONS):
                on = [(part @ side.T).numpy() for side in of_sides]
                list(pool.map(np.ndarray.sort, [row for side in on for row in side]))  # NumPy sorts faster than torch
                totals += [np.abs(on[0] - other).mean(axis=1, dtype=np.float64).sum() for other in on[1:]]
            for distances, total in zip(found, totals, strict=True):
                distances[min(h, w)] = 1e3 * float(total) / projections
    return found


def ms_ssim_diversity(images: np.ndarray, seed: int, pairs: int = 1000) -> float:
    """Mean MS-SSIM of random pairs of different pictures (Odena et al. 2017, section 4.2); lower is more diverse.

    Depends on the pictures' size and on the data: compare with the value of as many real pictures.

    Args:
        images: uint8 [n c h w], h and w at least 8.
        seed: draws the pairs.
        pairs: how many.

    Raises:
        GanvasError: fewer than two pictures, or too small ones.
    """
    _check(images)
    random = np.random.default_rng(seed)
    first = random.integers(len(images), size=pairs)
    second = (first + random.integers(1, len(images), size=pairs)) % len(images)
    total = 0.0
    step = _at_a_time(images)
    for start in range(0, pairs, step):
        rows = slice(start, start + step)
        a, b = (torch.from_numpy(images[which[rows]]) for which in (first, second))
        total += ms_ssim(a, b).sum(dtype=torch.float64).item()
    return total / pairs


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """Multi-scale structural similarity of each pair, uint8 [n c h w] twice -> float32 [n], 0 to 1 (Wang et al. 2003).

    As many of the five scales as leave 11 pixels at the coarsest, the exponents rescaled to the same sum; under 11
    pixels one scale and a smaller window. The mean is over windows that lie wholly inside and over channels;
    negative similarities count as 0.
    """
    a, b = a.float(), b.float()
    side = min(a.shape[2:])
    window = min(WINDOW, side - 1 + side % 2)
    scales = max(m for m in range(1, len(WEIGHTS) + 1) if m == 1 or side >> (m - 1) >= WINDOW)
    weights = torch.tensor(WEIGHTS[:scales]) * (sum(WEIGHTS) / sum(WEIGHTS[:scales]))
    places = torch.arange(window) - window // 2
    kernel = torch.exp(-0.5 * (places / (SIGMA * window / WINDOW)).square())
    kernel /= kernel.sum()
    product = torch.ones(len(a))
    for scale, weight in enumerate(weights):
        if scale:
            a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
        mean_a, mean_b, aa, bb, ab = _blur(torch.stack([a, b, a * a, b * b, a * b]).flatten(0, 1), kernel).chunk(5)
        similar = (2 * (ab - mean_a * mean_b) + C2) / (aa - mean_a**2 + bb - mean_b**2 + C2)
        if scale == scales - 1:
            similar = similar * (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
        product *= similar.mean((1, 2, 3)).clamp(min=0) ** weight
    return product


def _check(images: np.ndarray) -> None:
    if images.dtype != np.uint8 or images.ndim != 4 or len(images) < 2 or min(images.shape[2:]) < SMALLEST:
        raise GanvasError(
            f"Pictures {images.dtype} {list(images.shape)}.",
            expected=f"uint8 [n c h w], at least two of {SMALLEST}×{SMALLEST} or larger",
        )


def _at_a_time(images: np.ndarray) -> int:
    return max(1, PIXELS // (images.shape[2] * images.shape[3]))


def _descriptors(images: np.ndarray, places: list[Tensor]) -> list[Tensor]:
    """Of each level the normalised patches, float32 [n·p c·7·7]; places int64 [2 n p]: their upper left corners."""
    parts: list[list[Tensor]] = [[] for _ in places]
    step = _at_a_time(images)
    for start in range(0, len(images), step):
        some = np.ascontiguousarray(images[start : start + step], np.float32)
        levels = laplacian(torch.from_numpy(some), len(places))
        for own, level, (top, left) in zip(parts, levels, places, strict=True):
            rows = slice(start, start + len(level))
            windows = level.unfold(2, PATCH, 1).unfold(3, PATCH, 1)
            own.append(windows[torch.arange(len(level))[:, None], :, top[rows], left[rows]].flatten(0, 1))
    levels = []
    for own in parts:
        patches = torch.cat(own)
        own.clear()
        deviation, mean = torch.std_mean(patches, (0, 2, 3), correction=0, keepdim=True)
        patches.sub_(mean).div_(deviation.where(deviation > 0, torch.ones(())))
        levels.append(patches.flatten(1))
    return levels


def laplacian(images: Tensor, levels: int) -> list[Tensor]:
    """A pyramid of float [n c h w], finest first: what each halving loses, then the rest (Burt & Adelson 1983)."""
    kernel, pyramid = torch.tensor(BINOMIAL), []
    for _ in range(levels - 1):
        smaller = _blur(F.pad(images, (2, 2, 2, 2), mode="reflect"), kernel)[:, :, ::2, ::2]
        spread = torch.zeros_like(images)
        spread[:, :, ::2, ::2] = smaller
        pyramid.append(images - 4 * _blur(F.pad(spread, (2, 2, 2, 2), mode="reflect"), kernel))
        images = smaller
    return [*pyramid, images]


def _blur(images: Tensor, kernel: Tensor) -> Tensor:
    """Filtered along both axes, where the kernel lies wholly inside: [n c h w] -> [n c h-k+1 w-k+1].

    As a sum of shifted pictures: several times faster on a CPU than a convolution of one channel.
    """
    for axis in (2, 3):
        size = images.shape[axis] - len(kernel) + 1
        summed = images.narrow(axis, 0, size) * kernel[0]
        for shift in range(1, len(kernel)):
            summed.add_(images.narrow(axis, shift, size), alpha=kernel[shift].item())
        images = summed
    return images
