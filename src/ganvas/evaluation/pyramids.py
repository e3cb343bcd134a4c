"""Metrics of the pixels at several scales, without a network: sliced Wasserstein distance and MS-SSIM.

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
COARSEST_SIDE = 16
"""Side of the pyramid's coarsest level (Karras et al. 2018)."""
MIN_SIDE = 8
"""The smallest side of images that can be compared."""
BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
"""The pyramids' low-pass filter along one axis (Burt & Adelson 1983)."""

WINDOW, SIGMA = 11, 1.5
"""Size and standard deviation of SSIM's Gaussian window, in pixels (Wang et al. 2004)."""
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the scales, finest first (Wang et al. 2003, section 3.2)."""

PIXELS_PER_PASS, DIRECTIONS_PER_PASS = 2**16, 16
"""Processed at a time: approximate number of pixels per channel, and directions."""


def sliced_wasserstein_distances(
    real: np.ndarray, fakes: Sequence[np.ndarray], seed: int, patches: int = 128, projections: int = 512
) -> list[dict[int, float]]:
    """Sliced Wasserstein distance ×10³ of 7×7 patches, by the shorter side of a level (Karras et al. 2018, section 5).

    The levels are those of a Laplacian pyramid: a fine level compares texture, the last level (at least 16 pixels, or
    the image itself) compares the layout. The patches of each set are normalised by their mean and standard deviation
    per channel, so that a change of brightness or contrast alone has no effect. Unlike in the paper, the i-th images of
    both sets are cut at the same positions: the distance of a set from itself is 0. Needs 200 · n · c · patches bytes
    per set and level; 1,000 images of 3×32×32 take about 15 s on one core. The real images are projected and sorted
    once for all sets.

    Args:
        real: uint8 [n c h w], h and w at least 8.
        fakes: each of the same shape.
        seed: of the positions and directions.
        patches: per image and level.
        projections: random directions, over which the one-dimensional distances are averaged.

    Raises:
        GanvasError: different shapes, or images too small.
    """
    all_images = [real, *fakes]
    for images in all_images:
        _check_images(images)
        if images.shape != real.shape:
            raise GanvasError(
                f"Real images {list(real.shape)} and fake images {list(images.shape)}.",
                expected="equal numbers and sizes",
            )
    count, _, h, w = real.shape
    random = np.random.default_rng(seed)
    sizes = [(h, w)]
    while (min(sizes[-1]) + 1) // 2 >= COARSEST_SIDE:
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    positions = []
    for h, w in sizes:
        corners = [random.integers(side - PATCH + 1, size=(count, patches)) for side in (h, w)]
        positions.append(torch.from_numpy(np.stack(corners)))
    levels = zip(*(_descriptors(images, positions) for images in all_images), strict=True)
    results: list[dict[int, float]] = [{} for _ in fakes]
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for (h, w), descriptors in zip(sizes, levels, strict=True):
            directions = random.standard_normal((projections, descriptors[0].shape[1]))
            directions = torch.from_numpy(directions / np.linalg.norm(directions, axis=1, keepdims=True)).float()
            totals = np.zeros(len(results))
            for part in directions.split(DIRECTIONS_PER_PASS):
                projected = [(part @ each.T).numpy() for each in descriptors]
                rows = [row for each in projected for row in each]
                list(pool.map(np.ndarray.sort, rows))  # NumPy sorts faster than torch
                reals, *others = projected
                totals += [np.abs(reals - other).mean(axis=1, dtype=np.float64).sum() for other in others]
            for distances, total in zip(results, totals, strict=True):
                distances[min(h, w)] = 1e3 * float(total) / projections
    return results


def ms_ssim_diversity(images: np.ndarray, seed: int, pairs: int = 1000) -> float:
    """Mean MS-SSIM of random pairs of different images (Odena et al. 2017, section 4.2); lower is more diverse.

    Depends on the size of the images and on the data: compare with the value of as many real images.

    Args:
        images: uint8 [n c h w], h and w at least 8.
        seed: of the pairs.
        pairs: their number.

    Raises:
        GanvasError: fewer than two images, or images too small.
    """
    _check_images(images)
    random = np.random.default_rng(seed)
    first = random.integers(len(images), size=pairs)
    second = (first + random.integers(1, len(images), size=pairs)) % len(images)
    total = 0.0
    step = _images_per_pass(images)
    for start in range(0, pairs, step):
        rows = slice(start, start + step)
        a, b = (torch.from_numpy(images[indices[rows]]) for indices in (first, second))
        total += ms_ssim(a, b).sum(dtype=torch.float64).item()
    return total / pairs


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """Multi-scale structural similarity of each pair, uint8 [n c h w] twice -> float32 [n], 0 to 1 (Wang et al. 2003).

    Uses as many of the five scales as leave 11 pixels at the coarsest, with the exponents rescaled to the same sum;
    under 11 pixels one scale and a smaller window. The mean is over windows inside the image and over channels;
    negative similarities count as 0.
    """
    a, b = a.float(), b.float()
    side = min(a.shape[2:])
    window = min(WINDOW, side - 1 + side % 2)
    scales = max(m for m in range(1, len(WEIGHTS) + 1) if m == 1 or side >> (m - 1) >= WINDOW)
    weights = torch.tensor(WEIGHTS[:scales]) * (sum(WEIGHTS) / sum(WEIGHTS[:scales]))
    offsets = torch.arange(window) - window // 2
    kernel = torch.exp(-0.5 * (offsets / (SIGMA * window / WINDOW)).square())
    kernel /= kernel.sum()
    product = torch.ones(len(a))
    for scale, weight in enumerate(weights):
        if scale:
            a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
        mean_a, mean_b, aa, bb, ab = _blur(torch.stack([a, b, a * a, b * b, a * b]).flatten(0, 1), kernel).chunk(5)
        similarity = (2 * (ab - mean_a * mean_b) + C2) / (aa - mean_a**2 + bb - mean_b**2 + C2)
        if scale == scales - 1:
            similarity = similarity * (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
        product *= similarity.mean((1, 2, 3)).clamp(min=0) ** weight
    return product


def _check_images(images: np.ndarray) -> None:
    if images.dtype != np.uint8 or images.ndim != 4 or len(images) < 2 or min(images.shape[2:]) < MIN_SIDE:
        raise GanvasError(
            f"Images {images.dtype} {list(images.shape)}.",
            expected=f"uint8 [n c h w], at least two of {MIN_SIDE}×{MIN_SIDE} or larger",
        )


def _images_per_pass(images: np.ndarray) -> int:
    return max(1, PIXELS_PER_PASS // (images.shape[2] * images.shape[3]))


def _descriptors(images: np.ndarray, positions: list[Tensor]) -> list[Tensor]:
    """Normalised patches of each level, float32 [n·p c·7·7]; positions int64 [2 n p] are their upper left corners."""
    parts: list[list[Tensor]] = [[] for _ in positions]
    step = _images_per_pass(images)
    for start in range(0, len(images), step):
        batch = np.ascontiguousarray(images[start : start + step], np.float32)
        levels = laplacian_pyramid(torch.from_numpy(batch), len(positions))
        for level_parts, level, (top, left) in zip(parts, levels, positions, strict=True):
            rows = slice(start, start + len(level))
            windows = level.unfold(2, PATCH, 1).unfold(3, PATCH, 1)
            level_parts.append(windows[torch.arange(len(level))[:, None], :, top[rows], left[rows]].flatten(0, 1))
    levels = []
    for level_parts in parts:
        patches = torch.cat(level_parts)
        level_parts.clear()
        deviation, mean = torch.std_mean(patches, (0, 2, 3), correction=0, keepdim=True)
        patches.sub_(mean).div_(deviation.where(deviation > 0, torch.ones(())))
        levels.append(patches.flatten(1))
    return levels


def laplacian_pyramid(images: Tensor, levels: int) -> list[Tensor]:
    """The Laplacian pyramid of float [n c h w], finest level first, the low-pass rest last (Burt & Adelson 1983)."""
    kernel, pyramid = torch.tensor(BINOMIAL), []
    for _ in range(levels - 1):
        smaller = _blur(F.pad(images, (2, 2, 2, 2), mode="reflect"), kernel)[:, :, ::2, ::2]
        spread = torch.zeros_like(images)
        spread[:, :, ::2, ::2] = smaller
        pyramid.append(images - 4 * _blur(F.pad(spread, (2, 2, 2, 2), mode="reflect"), kernel))
        images = smaller
    return [*pyramid, images]


def _blur(images: Tensor, kernel: Tensor) -> Tensor:
    """Filters along both axes, where the kernel is inside the image: [n c h w] -> [n c h-k+1 w-k+1].

    Computed as a sum of shifted images: several times faster on a CPU than a convolution of one channel.
    """
    for axis in (2, 3):
        size = images.shape[axis] - len(kernel) + 1
        summed = images.narrow(axis, 0, size) * kernel[0]
        for shift in range(1, len(kernel)):
            summed.add_(images.narrow(axis, shift, size), alpha=kernel[shift].item())
        images = summed
    return images
