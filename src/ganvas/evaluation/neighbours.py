"""Exact nearest neighbours, and what they tell of two sets of features: fidelity, diversity, or both apart.

Features are float [n f]; distances are Euclidean. No matrix of all pairs is ever held.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from ganvas.errors import GanvasError
from ganvas.evaluation.metrics import check

A_BLOCK = 2**24
"""Bytes of distances at a time: 16 MB stay in a CPU's last cache."""
SPARE = 8
"""Candidates beyond k whose distance is measured."""
MANY, SPARE_OF_MANY = (2**14, 128), 32
"""Rows and features from which on candidates are first chosen by a quarter of the dimensions, and their spare ones."""
GROUP = 32
"""Numbers of which only the least is looked at first when the smallest of many are chosen."""


@dataclass(frozen=True)
class PRDC:
    """Fidelity and diversity, apart.

    Attributes:
        precision: share of fakes within some real's radius, 0 to 1: fidelity.
        recall: share of reals within some fake's radius, 0 to 1: diversity.
        density: reals' radii a fake lies within, over k; from 0, expected 1 for two draws of one distribution.
        coverage: share of reals with a fake within their radius, 0 to 1; expected 1 - 2⁻ᵏ for two draws of one size.
    """

    precision: float
    recall: float
    density: float
    coverage: float


@dataclass(frozen=True)
class TwoSample:
    """How often the nearest neighbour tells the kind.

    Attributes:
        accuracy: share of all pictures whose nearest other one is of their own kind: 0.5 is best, 1 told apart.
        real_accuracy: of the reals; low where fakes crowd around them.
        fake_accuracy: of the fakes; high with low real_accuracy is mode collapse.
    """

    accuracy: float
    real_accuracy: float
    fake_accuracy: float


def nearest(x: np.ndarray, y: np.ndarray, k: int, leave_out_self: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The k rows of y nearest to each row of x: (distances float64 [n k], ascending; their indices int64 [n k]).

    Candidates are chosen in float32 and measured in float64. Rows for which float32 cannot prove that none was missed
    (tight clusters, many equal rows) are searched again in float64. Among many rows, candidates are first chosen by
    their distances in the first quarter of the principal components, lower bounds of the whole ones: that proves it
    for most rows in less than half the time.

    Args:
        x: float [n f].
        y: float [m f].
        k: from 1 to m.
        leave_out_self: row i of x is row i of y and no neighbour of itself; equal rows elsewhere are.

    Raises:
        GanvasError: y has too few rows; as `check`.
    """
    check(x=x, y=y)
    others = len(y) - leave_out_self
    if not 1 <= k <= others:
        raise GanvasError(f"{k} nearest of {others} rows.", expected=f"from 1 to {others}")
    assert not leave_out_self or len(x) == len(y), "x must be y"
    distances, indices = np.empty((len(x), k)), np.empty((len(x), k), np.int64)
    again = np.arange(len(x))
    for of_x, of_y, spare in _looks(x, y):
        own = again if leave_out_self else None
        count = min(k + spare, others)
        found = _search(x[again], y, of_x[again], of_y, k, count, own)
        distances[again], indices[again], doubtful = found
        again = again[doubtful]
        if not len(again):
            break
    return distances, indices


def prdc(real: np.ndarray, fake: np.ndarray, k: int = 5, radii: tuple[np.ndarray, np.ndarray] | None = None) -> PRDC:
    """Improved precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020).

    A row's radius is the distance to its k-th nearest row of its own side, itself left out; within means nearer than
    that, as in the authors' package `prdc`. All depend on the numbers of rows: compare equal ones.

    Args:
        real: float [n f].
        fake: float [m f].
        k: see above.
        radii: of both sides, float64 [n] and [m], where they are known.

    Raises:
        GanvasError: a side has no k + 1 rows; as `check`.
    """
    check(real=real, fake=fake)
    if radii is None:
        radii = _radii(real, k), _radii(fake, k)
    around_real, around_fake = (np.where(of > 0, of**2, -np.inf) for of in radii)  # nothing is nearer than 0
    reals, fakes = _centred(real, fake, torch.float64)
    # A fake that copies a real lies exactly on radii: rounding must not decide that it lies within.
    real_squares, fake_squares = (side.square().sum(1, keepdim=True) * (1 + 1e-13) for side in (reals, fakes))
    reals = torch.cat([reals, real_squares, torch.ones_like(real_squares)], 1)
    fakes = torch.cat([-2 * fakes, torch.ones_like(fake_squares), fake_squares], 1)
    covered, recalled = np.zeros(len(real), bool), np.zeros(len(real), bool)
    precise = inside = 0
    for rows, block in _blocks(len(fake), len(real), torch.float64):
        squares = torch.mm(fakes[rows], reals.T, out=block).numpy()
        within = squares < around_real
        inside += int(np.count_nonzero(within))
        precise += int(np.count_nonzero(within.any(1)))
        covered |= within.any(0)
        recalled |= (squares < around_fake[rows, None]).any(0)
    return PRDC(
        precision=precise / len(fake),
        recall=float(recalled.mean()),
        density=inside / (k * len(fake)),
        coverage=float(covered.mean()),
    )


def two_sample(real: np.ndarray, fake: np.ndarray, own: tuple[np.ndarray, np.ndarray] | None = None) -> TwoSample:
    """The leave-one-out nearest neighbour's test (Lopez-Paz & Oquab 2017; Xu et al. 2018, section 2).

    Args:
        real: float [n f].
        fake: float [n f].
        own: of both sides, float64 [n]: the distances to the nearest other row of the same side, where they are known.

    Raises:
        GanvasError: different numbers of rows, of which 0.5 would not be the best; as `check`.
    """
    check(real=real, fake=fake)
    n = len(real)
    if n != len(fake):
        raise GanvasError(f"{n} real rows and {len(fake)} fake ones.", expected="equal numbers")
    of_real, of_fake = own or (_radii(real, 1), _radii(fake, 1))
    real_right = of_real <= nearest(real, fake, 1)[0][:, 0]  # of equally near rows the real one counts
    fake_right = of_fake < nearest(fake, real, 1)[0][:, 0]
    return TwoSample(
        float((real_right.mean() + fake_right.mean()) / 2), float(real_right.mean()), float(fake_right.mean())
    )


def _radii(x: np.ndarray, k: int) -> np.ndarray:
    """The distance of each row to its k-th nearest other row, float64 [n]."""
    return nearest(x, x, k, leave_out_self=True)[0][:, -1]


def _looks(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[torch.Tensor, torch.Tensor, int]]:
    """Both sides for finding candidates, cheap and rough first, and how many candidates beyond k to measure."""
    if len(y) >= MANY[0] and y.shape[1] >= MANY[1]:
        mean, some = y.mean(axis=0, dtype=np.float64), y[:: -(-len(y) // 4096)].astype(np.float64)
        axes = np.linalg.eigh(np.cov(some, rowvar=False))[1][:, -(y.shape[1] // 4) :]
        of_y, of_x = (torch.from_numpy((side @ axes - mean @ axes).astype(np.float32)) for side in (y, x))
        yield of_x, of_y, SPARE_OF_MANY
    for dtype in (torch.float32, torch.float64):
        of_y, of_x = _centred(y, x, dtype)
        yield of_x, of_y, SPARE


def _search(
    x: np.ndarray, y: np.ndarray, of_x: torch.Tensor, of_y: torch.Tensor, k: int, count: int, own: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `nearest`, and bool [n]: whether a nearer row may have been missed.

    Args:
        x: float [n f].
        y: float [m f].
        of_x: x for finding candidates, [n g]: its distances to of_y are those of x to y, or lower bounds.
        of_y: y for finding candidates, [m g].
        k: neighbours.
        count: candidates.
        own: the row of y that each x is, and that does not count.
    """
    dtype = of_x.dtype
    y_squares, x_squares = of_y.square().sum(1), of_x.square().sum(1).double().numpy()
    distances, indices = np.empty((len(x), k)), np.empty((len(x), k), np.int64)
    doubtful = np.zeros(len(x), bool)
    for rows, block in _blocks(len(x), len(y), dtype):
        squares = torch.addmm(
            y_squares, of_x[rows], of_y.T, alpha=-2, out=block
        )  # without |x|², the same for a whole row
        if own is not None:
            squares[torch.arange(len(squares)), torch.from_numpy(own[rows])] = torch.inf
        least, found = _smallest(squares, count)
        candidates = np.sort(found.numpy(), axis=1)  # equal distances: the lower index first
        exact = np.stack(
            [np.linalg.norm(x[rows].astype(np.float64) - y[column], axis=1) for column in candidates.T], axis=1
        )
        order = np.argsort(exact, axis=1, kind="stable")[:, :k]
        distances[rows] = np.take_along_axis(exact, order, axis=1)
        indices[rows] = np.take_along_axis(candidates, order, axis=1)
        if count < len(y) - (own is not None):
            # A missed row y is within the k-th distance r, so |y| ≤ |x| + r bounds the rounding of its square.
            last, kth = least[:, -1].double().numpy(), distances[rows, -1]
            size = x_squares[rows] + (np.sqrt(x_squares[rows]) + kth) ** 2
            doubtful[rows] = kth**2 >= last + x_squares[rows] - 8 * torch.finfo(dtype).eps * size
    return distances, indices, doubtful


def _smallest(of: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The smallest numbers of each row of [n m], ascending, and where they are: [n count] twice.

    They lie in those groups whose own least numbers are the smallest, or in the remainder that fills no group.
    """
    groups = of.shape[1] // GROUP
    if groups < 4 * count:
        found = of.topk(count, largest=False)
        return found.values, found.indices
    grouped, rest = of[:, : groups * GROUP].unflatten(1, (GROUP, groups)), of[:, groups * GROUP :]
    chosen = grouped.amin(1).topk(count, largest=False).indices  # [n count]
    columns = (chosen[:, None] + groups * torch.arange(GROUP)[:, None]).flatten(1)
    columns = torch.cat([columns, torch.arange(groups * GROUP, of.shape[1]).expand(len(of), -1)], 1)
    found = torch.cat([of.gather(1, columns[:, : GROUP * count]), rest], 1).topk(count, largest=False)
    return found.values, columns.gather(1, found.indices)


def _centred(a: np.ndarray, b: np.ndarray, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Both minus the mean of a: |a|² - 2ab + |b|² then loses the fewest digits."""
    mean = a.mean(axis=0, dtype=np.float64)
    kind = np.float32 if dtype == torch.float32 else np.float64
    moved = [np.subtract(side, mean, dtype=np.float64).astype(kind, copy=False) for side in (a, b)]
    return torch.from_numpy(moved[0]), torch.from_numpy(moved[1])


def _blocks(n: int, m: int, dtype: torch.dtype) -> Iterator[tuple[slice, torch.Tensor]]:
    """Rows 0 to n in parts whose distances to m rows fill a block, and the block: the same memory each time."""
    step = max(1, A_BLOCK // (m * dtype.itemsize))
    block = torch.empty(min(step, n), m, dtype=dtype)
    for start in range(0, n, step):
        rows = slice(start, min(start + step, n))
        yield rows, block[: rows.stop - start]
