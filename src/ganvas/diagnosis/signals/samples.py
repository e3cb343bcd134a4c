"""Signals measured on samples: fakes compared with real images by their pixels, cheaply enough for every probe.

Images are downsampled to at most 16×16 by averaging and compared by Euclidean distance: good enough to detect fakes
that are all alike, missing classes and repeated training images; no measure of quality.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from ganvas.networks.layers import average_pool

SIDE = 16
"""The largest side of the downsampled images, in pixels."""

MAX_REALS = 2000
"""Real images in a reference set, at most."""

MAX_CLASSES = 20
"""With more classes too few fakes would fall into each: cells of k-means are counted instead."""

NEIGHBOURS = 5
"""k of the nearest neighbours in precision, coverage and the vote for a class."""


POOLED: dict[int, tuple[Callable[..., Tensor], tuple[int, ...]]] = {
    3: (F.adaptive_avg_pool1d, (SIDE * SIDE,)),
    4: (average_pool, (SIDE, SIDE)),
    5: (F.adaptive_avg_pool3d, (4, SIDE // 2, SIDE // 2)),
}
"""Dimensions -> how they are downsampled, and to which size."""


def downsample(images: Tensor) -> Tensor:
    """Averages over places: float [n c h w] -> float32 [n c·h'·w'] with sides of at most 16.

    Of sounds, [n c t], at most 256 places in time are left, of films, [n c t h w], 4 of 8×8; [n f] stays as it is.
    """
    images = images.detach().float()
    if images.dim() in POOLED:
        pool, sides = POOLED[images.dim()]
        images = pool(images, tuple(map(min, images.shape[2:], sides)))
    return images.reshape(len(images), -1)


@dataclass(frozen=True, eq=False)
class ReferenceSet:
    """Real images to compare fakes with; every score is relative to that of other real images.

    Attributes:
        reals: downsampled, float32 [m f].
        cells: the class or k-means cell of each, int64 [m].
        shares: of each cell among the reals, float32 [k].
        labelled: whether the cells are classes.
        complete: whether these are all training images.
        held_out: downsampled real images outside the training set, float32 [l f]; None where there are none.
    """

    reals: Tensor
    cells: Tensor
    shares: Tensor
    labelled: bool
    complete: bool
    held_out: Tensor | None

    @classmethod
    def from_images(
        cls,
        images: Tensor,
        labels: Tensor | None = None,
        held_out: Tensor | None = None,
        *,
        complete: bool = False,
    ) -> "ReferenceSet":
        """Of the first 2,000 images, float [n c h w]; labels int64 [n]; held-out images float [l c h w]."""
        order = torch.randperm(min(len(images), MAX_REALS), generator=torch.Generator().manual_seed(0)).to(
            images.device
        )
        reals = downsample(images[:MAX_REALS])[order]  # halves of it are compared, and data are often sorted
        labelled = labels is not None and 2 <= int(labels.max()) + 1 <= MAX_CLASSES
        if labelled:
            assert labels is not None
            cells, k = labels[:MAX_REALS][order].long(), int(labels.max()) + 1
        else:
            k = max(1, min(MAX_CLASSES, len(reals) // 25))
            from sklearn.cluster import KMeans  # a second's import, only for images without labels

            means = KMeans(k, n_init="auto", random_state=0, max_iter=30)
            cells = torch.from_numpy(means.fit_predict(reals.cpu().numpy())).long().to(reals.device)
        shares = cells.bincount(minlength=k) / len(cells)
        return cls(
            reals,
            cells,
            shares,
            labelled,
            complete and len(images) <= MAX_REALS,
            None if held_out is None else downsample(held_out),
        )

    def compare(self, images: Tensor, batch: int | None = None) -> dict[str, float]:
        """How fakes compare with the reals.

        Args:
            images: float [n c h w], of one generator.
            batch: how many of them, from the end, are of the same update; all by default, and if it is one.

        Returns:
            diversity: mean distance between two fakes, over that of two reals.
            diversity/batch: the same within the batch alone: far below `diversity` where G cycles through modes.
            nearest_fake: median distance of a fake to the nearest other, over that of as many reals; 0 for duplicates.
            distance: the energy distance (Székely & Rizzo 2013) over the mean distance of two reals: 0 for equal
                distributions, unbiased, so it may be slightly negative.
            coverage, precision: Naeem et al. 2020, over what as many reals reach.
            classes, classes/missing: how many classes or cells there are, and how many get less than a fifth of
                their share although at least 8 fakes were expected.
            classes/counted: of how many classes or cells at least 8 fakes were expected.
            classes/rarest: the smallest share of a class, over its share among the reals.
            classes/largest, classes/imbalance: the largest share among the *reals*, and over an even share.
            classes/labelled: 1 where they are classes, 0 where they are k-means cells.
            nearest_real: median distance of a fake to its nearest real, over that of held-out images; only if every
                training image is here and some were held out.
        """
        fakes = downsample(images)
        n, scale = len(fakes), self._real_distance
        newest = fakes if batch is None or batch < 2 else fakes[-batch:]
        across = torch.cdist(fakes, self.reals)
        signals = {
            "diversity": _mean_distance(fakes) / scale,
            "diversity/batch": _mean_distance(newest) / scale,
            "nearest_fake": _nearest_distance(fakes) / _nearest_distance(self.reals[:n]).clamp_min(1e-9),
            "distance": (2 * across.mean() - _mean_distance(fakes)) / scale - 1,
            **self._precision_and_coverage(across, n),
            **self._class_signals(across, n),
        }
        if self.complete and self.held_out is not None:
            signals["nearest_real"] = across.amin(1).median() / self._held_out_distance
        return {name: float(value) for name, value in signals.items()}

    def missing_from(self, images: Tensor) -> dict[str, float]:
        """real/missing: how many classes or cells are (nearly) absent from the real images shown, float [n c h w].

        Only those are counted of which at least 8 were expected.
        """
        n, k = len(images), len(self.shares)
        own = self.cells[torch.cdist(downsample(images), self.reals).argmin(1)].bincount(minlength=k)
        return {"real/missing": float(((self.shares * n >= 8) & (own < 0.3 * self.shares * n)).sum())}

    @cached_property
    def _real_distance(self) -> Tensor:
        """Mean distance of two reals."""
        return _mean_distance(self.reals).clamp_min(1e-9)

    @cached_property
    def _held_out_distance(self) -> Tensor:
        """Median distance of a held-out image to its nearest real."""
        assert self.held_out is not None
        return torch.cdist(self.held_out, self.reals).amin(1).median().clamp_min(1e-9)

    @cached_property
    def _balls(self) -> tuple[Tensor, Tensor]:
        """The radii of balls around the first half of the reals, [m/2], and which of the rest lie in them."""
        anchors, others = self.reals.tensor_split(2)
        radii = torch.cdist(anchors, anchors).kthvalue(NEIGHBOURS + 1, dim=1).values
        return radii, torch.cdist(others, anchors) <= radii

    def _precision_and_coverage(self, across: Tensor, n: int) -> dict[str, Tensor]:
        """Precision and coverage with respect to the first half of the reals, over those of the second half."""
        if len(self.reals) < 4 * NEIGHBOURS:
            return {}
        radii, others = self._balls
        n = min(n, len(others))
        inside, others = across[:n, : len(radii)] <= radii, others[:n]
        return {
            "precision": inside.any(1).float().mean() / others.any(1).float().mean().clamp_min(1e-3),
            "coverage": inside.any(0).float().mean() / others.any(0).float().mean().clamp_min(1e-3),
        }

    def _class_signals(self, across: Tensor, n: int) -> dict[str, Tensor | float]:
        k = len(self.shares)
        if k < 2:
            return {}
        nearest = across.topk(min(NEIGHBOURS, across.shape[1]), dim=1, largest=False).indices
        votes = F.one_hot(self.cells[nearest], k).sum(1)
        own = votes.argmax(1).bincount(minlength=k) / n
        present = self.shares > 0
        counted = self.shares * n >= 8
        return {
            "classes": float(present.sum()),
            "classes/missing": float((counted & (own < self.shares / 5)).sum()),
            "classes/counted": float(counted.sum()),
            "classes/rarest": (own / self.shares.clamp_min(1e-9))[present].amin(),
            "classes/largest": self.shares.max(),
            "classes/imbalance": self.shares.max() * k,
            "classes/labelled": float(self.labelled),
        }


def _mean_distance(points: Tensor) -> Tensor:
    """Mean distance between two different points."""
    n = len(points)
    return torch.cdist(points, points).sum() / max(n * (n - 1), 1)


def _nearest_distance(points: Tensor) -> Tensor:
    """Median distance to the nearest other point."""
    return torch.cdist(points, points).fill_diagonal_(torch.inf).amin(1).median()


def pixel_signals(real: Tensor, fake: Tensor) -> dict[str, float]:
    """Ranges and textures: of real and fake images, float [n …] in the range of the loop.

    Returns:
        real/low, real/high, fake/low, fake/high: the 0.1 % and 99.9 % quantiles of all values.
        real/std, fake/std: standard deviations of all values.
        fake/saturated: share of the fakes' values within 1 % of the ends of their own range; real/saturated likewise.
        checkerboard: the strongest pattern of period 2 common to all fakes, over the reals' standard deviation, less
            that of the reals; only for images [n c h w].
    """
    real, fake = real.detach().float(), fake.detach().float()
    signals: dict[str, float] = {}
    for name, values in (("real", real), ("fake", fake)):
        low, high = _extremes(values)
        near = 0.01 * (high - low)
        signals[f"{name}/low"], signals[f"{name}/high"] = low, high
        signals[f"{name}/std"] = float(values.std())
        signals[f"{name}/saturated"] = float(((values <= low + near) | (values >= high - near)).float().mean())
    if real.dim() == 4 and min(real.shape[2:]) >= 4:
        scale = max(signals["real/std"], 1e-9)
        signals["checkerboard"] = (_period_two(fake) - _period_two(real)) / scale
    return signals


def _extremes(values: Tensor) -> tuple[float, float]:
    """Quantiles 0.001 and 0.999."""
    flat = values.flatten()
    flat = flat[:: max(1, len(flat) // 100_000)]
    ends = torch.quantile(flat, torch.tensor([0.001, 0.999], device=flat.device))
    return float(ends[0]), float(ends[1])


def _period_two(images: Tensor) -> float:
    """The largest mean amplitude, over channels, of columns, rows or squares that alternate."""
    mean = images.mean(0)
    h, w = mean.shape[1:]
    mean = mean[:, : h // 2 * 2, : w // 2 * 2]
    rows = torch.tensor([1.0, -1.0], device=mean.device).repeat(mean.shape[1] // 2)[:, None]
    columns = torch.tensor([1.0, -1.0], device=mean.device).repeat(mean.shape[2] // 2)
    return max(float((mean * pattern).mean((1, 2)).abs().amax()) for pattern in (rows, columns, rows * columns))
