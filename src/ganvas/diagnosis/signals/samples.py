"""Fakes held against real pictures, cheaply enough for every look at a training: no network, only pixels.

Pictures are shrunk to at most 16×16 by averaging and compared by Euclidean distance: good enough to see fakes that are
all alike, classes that are missing or training pictures that are repeated; no measure of beauty.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

SIDE = 16
"""Pixels of the shrunk pictures' sides, at most."""

KEPT = 2000
"""Real pictures in a gallery, at most."""

CLASSES = 20
"""Of more classes than this too few fakes would fall into each: cells of k-means are counted instead."""

NEIGHBOURS = 5
"""k of the balls of precision and coverage, and of the vote for a class."""


def shrunk(images: Tensor) -> Tensor:
    """float [n c h w] -> float32 [n c·h'·w'] with sides of at most 16; anything else is only flattened."""
    images = images.detach().float()
    if images.dim() == 4:
        h, w = images.shape[2:]
        images = F.adaptive_avg_pool2d(images, (min(h, SIDE), min(w, SIDE)))
    return images.flatten(1)


@dataclass(frozen=True, eq=False)
class Gallery:
    """Real pictures, and what as many other real ones would look like beside them.

    Attributes:
        reals: shrunk, float32 [m f].
        cells: the class or k-means cell of each, int64 [m].
        shares: of each cell among the reals, float32 [k].
        labelled: whether the cells are classes.
        complete: whether these are all the pictures that are learnt from.
        held: shrunk real pictures that are not learnt from, float32 [l f]; None where there are none.
    """

    reals: Tensor
    cells: Tensor
    shares: Tensor
    labelled: bool
    complete: bool
    held: Tensor | None

    @classmethod
    def of(
        cls,
        images: Tensor,
        labels: Tensor | None = None,
        held: Tensor | None = None,
        *,
        complete: bool = False,
    ) -> "Gallery":
        """A gallery of the first 2,000 images, float [n c h w]; labels int64 [n]; held-out images float [l c h w]."""
        order = torch.randperm(min(len(images), KEPT), generator=torch.Generator().manual_seed(0)).to(images.device)
        reals = shrunk(images[:KEPT])[order]  # halves of it are compared, and data are often sorted
        labelled = labels is not None and 2 <= int(labels.max()) + 1 <= CLASSES
        if labelled:
            assert labels is not None
            cells, k = labels[:KEPT][order].long(), int(labels.max()) + 1
        else:
            k = max(1, min(CLASSES, len(reals) // 25))
            from sklearn.cluster import KMeans  # a second's import, for pictures without labels only

            means = KMeans(k, n_init="auto", random_state=0, max_iter=30)
            cells = torch.from_numpy(means.fit_predict(reals.cpu().numpy())).long().to(reals.device)
        shares = cells.bincount(minlength=k) / len(cells)
        return cls(
            reals, cells, shares, labelled, complete and len(images) <= KEPT, None if held is None else shrunk(held)
        )

    def compare(self, images: Tensor, batch: int | None = None) -> dict[str, float]:
        """What fakes look like beside the reals.

        Args:
            images: float [n c h w], of one generator.
            batch: how many of them, from the end, are of one and the same step; all by default, and if it is one.

        Returns:
            variety: mean distance between two fakes, over that of two reals.
            variety/batch: the same within the batch alone: far below `variety` where G hops from mode to mode.
            twins: median distance of a fake to its nearest other, over that of as many reals; 0 for repetitions.
            distance: the energy distance (Székely & Rizzo 2013) over the mean distance of two reals: 0 for equal
                distributions, unbiased, so it may be slightly negative.
            coverage, precision: Naeem et al. 2020, over what as many reals reach.
            classes, classes/missing: how many classes or cells there are, and how many get less than a fifth of
                their share although at least 8 fakes were expected.
            classes/rarest: the smallest share of a class, over its share among the reals.
            classes/largest, classes/uneven: the largest share among the *reals*, and over that of an even spread.
            classes/labelled: 1 where they are classes, 0 where they are k-means cells.
            nearest: median distance of a fake to its nearest real, over that of held-out pictures; only if every
                picture learnt from is here and some were held out.
        """
        fakes = shrunk(images)
        n, scale = len(fakes), self._apart
        together = fakes if batch is None or batch < 2 else fakes[-batch:]
        across = torch.cdist(fakes, self.reals)
        seen = {
            "variety": _between_others(fakes) / scale,
            "variety/batch": _between_others(together) / scale,
            "twins": _to_nearest_other(fakes) / _to_nearest_other(self.reals[:n]).clamp_min(1e-9),
            "distance": (2 * across.mean() - _between_others(fakes)) / scale - 1,
            **self._support(across, n),
            **self._cells(across, n),
        }
        if self.complete and self.held is not None:
            seen["nearest"] = across.amin(1).median() / self._held_apart
        return {name: float(value) for name, value in seen.items()}

    def absent(self, images: Tensor) -> dict[str, float]:
        """Of real images that were shown, float [n c h w]: real/missing, how many classes or cells are (nearly) absent.

        Only those are counted of which at least 8 were expected.
        """
        n, k = len(images), len(self.shares)
        own = self.cells[torch.cdist(shrunk(images), self.reals).argmin(1)].bincount(minlength=k)
        return {"real/missing": float(((self.shares * n >= 8) & (own < 0.3 * self.shares * n)).sum())}

    @cached_property
    def _apart(self) -> Tensor:
        """Mean distance of two reals."""
        return _between_others(self.reals).clamp_min(1e-9)

    @cached_property
    def _held_apart(self) -> Tensor:
        """Median distance of a held-out picture to its nearest real."""
        assert self.held is not None
        return torch.cdist(self.held, self.reals).amin(1).median().clamp_min(1e-9)

    @cached_property
    def _balls(self) -> tuple[Tensor, Tensor]:
        """The radii of balls around the first half of the reals, [m/2], and which of the rest lie in them."""
        anchors, others = self.reals.tensor_split(2)
        radii = torch.cdist(anchors, anchors).kthvalue(NEIGHBOURS + 1, dim=1).values
        return radii, torch.cdist(others, anchors) <= radii

    def _support(self, across: Tensor, n: int) -> dict[str, Tensor]:
        """Precision and coverage by the first half of the reals, over what the second half reaches there."""
        if len(self.reals) < 4 * NEIGHBOURS:
            return {}
        radii, others = self._balls
        n = min(n, len(others))
        inside, others = across[:n, : len(radii)] <= radii, others[:n]
        return {
            "precision": inside.any(1).float().mean() / others.any(1).float().mean().clamp_min(1e-3),
            "coverage": inside.any(0).float().mean() / others.any(0).float().mean().clamp_min(1e-3),
        }

    def _cells(self, across: Tensor, n: int) -> dict[str, Tensor | float]:
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
            "classes/rarest": (own / self.shares.clamp_min(1e-9))[present].amin(),
            "classes/largest": self.shares.max(),
            "classes/uneven": self.shares.max() * k,
            "classes/labelled": float(self.labelled),
        }


def _between_others(points: Tensor) -> Tensor:
    """Mean distance between two different points."""
    n = len(points)
    return torch.cdist(points, points).sum() / max(n * (n - 1), 1)


def _to_nearest_other(points: Tensor) -> Tensor:
    """Median distance to the nearest other point."""
    return torch.cdist(points, points).fill_diagonal_(torch.inf).amin(1).median()


def pixels(real: Tensor, fake: Tensor) -> dict[str, float]:
    """Ranges and textures: of real and fake images, float [n …] in whatever range a loop uses.

    Returns:
        real/low, real/high, fake/low, fake/high: the 0.1 % and 99.9 % quantiles of all values.
        real/std, fake/std: standard deviations of all values.
        fake/saturated: share of the fakes' values within 1 % of the ends of their own range; real/saturated likewise.
        checkerboard: the strongest pattern of period 2 common to all fakes, over the reals' standard deviation, less
            that of the reals; only for images [n c h w].
    """
    real, fake = real.detach().float(), fake.detach().float()
    seen: dict[str, float] = {}
    for name, values in (("real", real), ("fake", fake)):
        low, high = _ends(values)
        near = 0.01 * (high - low)
        seen[f"{name}/low"], seen[f"{name}/high"] = low, high
        seen[f"{name}/std"] = float(values.std())
        seen[f"{name}/saturated"] = float(((values <= low + near) | (values >= high - near)).float().mean())
    if real.dim() == 4 and min(real.shape[2:]) >= 4:
        scale = max(seen["real/std"], 1e-9)
        seen["checkerboard"] = (_period_two(fake) - _period_two(real)) / scale
    return seen


def _ends(values: Tensor) -> tuple[float, float]:
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
