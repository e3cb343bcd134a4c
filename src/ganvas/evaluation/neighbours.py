"""Exact nearest neighbours, precision, recall, density and coverage, and the nearest-neighbour two-sample test.

Features are float [n f]; distances are Euclidean. The matrix of all pairs is never in memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from ganvas.errors import GanvasError
from ganvas.evaluation.metrics import check_features

BYTES_PER_BLOCK = 2**24
"""Bytes of distances at a time: 16 MB fit into a CPU's last-level cache."""
EXTRA_CANDIDATES = 8
"""Candidates beyond k whose exact distance is computed."""
COARSE_SEARCH_FROM, EXTRA_COARSE_CANDIDATES = (2**14, 128), 32
"""From so many rows and features on, a quarter of the dimensions chooses the first candidates; those beyond k."""
GROUP_SIZE = 32
"""Numbers whose minimum is compared first when the smallest of many are chosen."""


@dataclass(frozen=True)
class PRDC:
    """Fidelity and diversity, measured separately.

    Attributes:
        precision: share of fakes within some real's radius, 0 to 1: fidelity.
        recall: share of reals within some fake's radius, 0 to 1: diversity.
        density: number of reals within whose radius a fake lies, over k; from 0, expected 1 for two equal
            distributions.
        coverage: share of reals with a fake within their radius, 0 to 1; expected 1 - 2⁻ᵏ for two equal distributions
            and equal counts.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def nearest_neighbours(
    x: np.ndarray, y: np.ndarray, k: int, leave_out_self: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The k rows of y nearest to each row of x: (distances float64 [n k], ascending; their indices int64 [n k]).

    Candidates are chosen in float32 and their distances computed in float64. Rows for which float32 cannot prove that
    no neighbour was missed (tight clusters, many equal rows) are searched again in float64. Among many rows, candidates
    are first chosen by their distances in the first quarter of the principal components, which are lower bounds of the
    full distances: for most rows that is proof enough, in less than half the time.

    Args:
        x: float [n f].
        y: float [m f].
        k: from 1 to m.
        leave_out_self: x is y, and a row is not its own neighbour (but equal rows elsewhere are).

    Raises:
        GanvasError: y has too few rows; as `check_features`.
    """
    check_features(x=x, y=y)
    others = len(y) - leave_out_self
    if not 1 <= k <= others:
        raise GanvasError(f"{k} nearest of {others} rows.", expected=f"from 1 to {others}")
    assert not leave_out_self or len(x) == len(y), "x must be y"
    distances, indices = np.empty((len(x), k)), np.empty((len(x), k), np.int64)
    remaining = np.arange(len(x))
    for x_search, y_search, extra in _search_spaces(x, y):
        own_rows = remaining if leave_out_self else None
        count = min(k + extra, others)
        result = _search(x[remaining], y, x_search[remaining], y_search, k, count, own_rows)
        distances[remaining], indices[remaining], doubtful = result
        remaining = remaining[doubtful]
        if not len(remaining):
            break
    return distances, indices


def prdc(real: np.ndarray, fake: np.ndarray, k: int = 5, radii: tuple[np.ndarray, np.ndarray] | None = None) -> PRDC:
    """Improved precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020).

    A row's radius is the distance to its k-th nearest other row of the same set; within means nearer than that, as in
    the authors' package `prdc`. All values depend on the numbers of rows: compare equal numbers.

    Args:
        real: float [n f].
        fake: float [m f].
        k: which neighbour gives the radius.
        radii: of real and fake, float64 [n] and [m], if known.

    Raises:
        GanvasError: a set has fewer than k + 1 rows; as `check_features`.
    """
    check_features(real=real, fake=fake)
    if radii is None:
        radii = _radii(real, k), _radii(fake, k)
    real_radii, fake_radii = (np.where(r > 0, r**2, -np.inf) for r in radii)  # squared; nothing is nearer than 0
    reals, fakes = _centre(real, fake, torch.float64)
    # A fake that copies a real lies exactly on radii: rounding must not decide that it lies within.
    real_squares, fake_squares = (rows.square().sum(1, keepdim=True) * (1 + 1e-13) for rows in (reals, fakes))
    reals = torch.cat([reals, real_squares, torch.ones_like(real_squares)], 1)
    fakes = torch.cat([-2 * fakes, torch.ones_like(fake_squares), fake_squares], 1)
    covered, recalled = np.zeros(len(real), bool), np.zeros(len(real), bool)
    precise = inside = 0
    for rows, block in _blocks(len(fake), len(real), torch.float64):
        squares = torch.mm(fakes[rows], reals.T, out=block).numpy()
        within = squares < real_radii
        inside += int(np.count_nonzero(within))
        precise += int(np.count_nonzero(within.any(1)))
        covered |= within.any(0)
        recalled |= (squares < fake_radii[rows, None]).any(0)
    return PRDC(
        precision=precise / len(fake),
        recall=float(recalled.mean()),
        density=inside / (k * len(fake)),
        coverage=float(covered.mean()),
    )


def two_sample_test(real: np.ndarray, fake: np.ndarray, own: tuple[np.ndarray, np.ndarray] | None = None) -> float:
    """The leave-one-out nearest-neighbour two-sample test (Lopez-Paz & Oquab 2017; Xu et al. 2018, section 2).

    The accuracy of the nearest-neighbour classifier: the share of all rows whose nearest other row is of their own
    kind. 0.5 is best, 1 fully separable.

    Args:
        real: float [n f].
        fake: float [n f].
        own: for real and fake, float64 [n]: the distances to the nearest other row of the same set, if known.

    Raises:
        GanvasError: different numbers of rows, for which 0.5 would not be the best value; as `check_features`.
    """
    check_features(real=real, fake=fake)
    n = len(real)
    if n != len(fake):
        raise GanvasError(f"{n} real rows and {len(fake)} fake ones.", expected="equal numbers")
    real_own, fake_own = own or (_radii(real, 1), _radii(fake, 1))
    real_correct = real_own <= nearest_neighbours(real, fake, 1)[0][:, 0]  # if equally near, the real row counts
    fake_correct = fake_own < nearest_neighbours(fake, real, 1)[0][:, 0]
    return float((real_correct.mean() + fake_correct.mean()) / 2)


def _radii(x: np.ndarray, k: int) -> np.ndarray:
    """The distance from each row to its k-th nearest other row, float64 [n]."""
    return nearest_neighbours(x, x, k, leave_out_self=True)[0][:, -1]


def _search_spaces(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[torch.Tensor, torch.Tensor, int]]:
    """Yields x and y as used to find candidates, the cheap coarse search first, and the number of extra candidates."""
    if len(y) >= COARSE_SEARCH_FROM[0] and y.shape[1] >= COARSE_SEARCH_FROM[1]:
        mean, subset = y.mean(axis=0, dtype=np.float64), y[:: -(-len(y) // 4096)].astype(np.float64)
        axes = np.linalg.eigh(np.cov(subset, rowvar=False))[1][:, -(y.shape[1] // 4) :]
        y_search, x_search = (torch.from_numpy((rows @ axes - mean @ axes).astype(np.float32)) for rows in (y, x))
        yield x_search, y_search, EXTRA_COARSE_CANDIDATES
    for dtype in (torch.float32, torch.float64):
        y_search, x_search = _centre(y, x, dtype)
        yield x_search, y_search, EXTRA_CANDIDATES


def _search(
    x: np.ndarray,
    y: np.ndarray,
    x_search: torch.Tensor,
    y_search: torch.Tensor,
    k: int,
    count: int,
    own: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `nearest_neighbours`, and bool [n]: whether a nearer row may have been missed.

    Args:
        x: float [n f].
        y: float [m f].
        x_search: x as used to find candidates, [n g]: its distances to y_search are those of x to y, or lower bounds.
        y_search: y as used to find candidates, [m g].
        k: number of neighbours.
        count: number of candidates.
        own: for each x the row of y that it is, which does not count; None if x is not part of y.
    """
    dtype = x_search.dtype
    y_squares, x_squares = y_search.square().sum(1), x_search.square().sum(1).double().numpy()
    distances, indices = np.empty((len(x), k)), np.empty((len(x), k), np.int64)
    doubtful = np.zeros(len(x), bool)
    for rows, block in _blocks(len(x), len(y), dtype):
        # |y|² - 2xy, without |x|², which is the same for the whole row
        squares = torch.addmm(y_squares, x_search[rows], y_search.T, alpha=-2, out=block)
        if own is not None:
            squares[torch.arange(len(squares)), torch.from_numpy(own[rows])] = torch.inf
        smallest, columns = _smallest(squares, count)
        candidates = np.sort(columns.numpy(), axis=1)  # equal distances: the lower index first
        exact = np.stack(
            [np.linalg.norm(x[rows].astype(np.float64) - y[column], axis=1) for column in candidates.T], axis=1
        )
        order = np.argsort(exact, axis=1, kind="stable")[:, :k]
        distances[rows] = np.take_along_axis(exact, order, axis=1)
        indices[rows] = np.take_along_axis(candidates, order, axis=1)
        if count < len(y) - (own is not None):
            # A missed row y is within the k-th distance r, so |y| ≤ |x| + r bounds the rounding of its square.
            last, kth = smallest[:, -1].double().numpy(), distances[rows, -1]
            size = x_squares[rows] + (np.sqrt(x_squares[rows]) + kth) ** 2
            doubtful[rows] = kth**2 >= last + x_squares[rows] - 8 * torch.finfo(dtype).eps * size
    return distances, indices, doubtful


def _smallest(values: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The smallest numbers of each row of [n m], ascending, and their columns: [n count] twice.

    They are in the groups with the smallest minima, or in the remainder that does not fill a group.
    """
    groups = values.shape[1] // GROUP_SIZE
    if groups < 4 * count:
        found = values.topk(count, largest=False)
        return found.values, found.indices
    full, rest = values.tensor_split([groups * GROUP_SIZE], 1)
    grouped = full.unflatten(1, (GROUP_SIZE, groups))
    chosen = grouped.amin(1).topk(count, largest=False).indices  # [n count]
    columns = (chosen[:, None] + groups * torch.arange(GROUP_SIZE)[:, None]).flatten(1)
    columns = torch.cat([columns, torch.arange(groups * GROUP_SIZE, values.shape[1]).expand(len(values), -1)], 1)
    found = torch.cat([values.gather(1, columns[:, : GROUP_SIZE * count]), rest], 1).topk(count, largest=False)
    return found.values, columns.gather(1, found.indices)


def _centre(a: np.ndarray, b: np.ndarray, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Both minus the mean of a: |a|² - 2ab + |b|² then loses the fewest digits."""
    mean = a.mean(axis=0, dtype=np.float64)
    numpy_dtype = np.float32 if dtype == torch.float32 else np.float64
    centred = [np.subtract(rows, mean, dtype=np.float64).astype(numpy_dtype, copy=False) for rows in (a, b)]
    return torch.from_numpy(centred[0]), torch.from_numpy(centred[1])


def _blocks(n: int, m: int, dtype: torch.dtype) -> Iterator[tuple[slice, torch.Tensor]]:
    """Yields slices of n rows whose distances to m rows fill a block, and the block: the same memory each time."""
    step = max(1, BYTES_PER_BLOCK // (m * dtype.itemsize))
    block = torch.empty(min(step, n), m, dtype=dtype)
    for start in range(0, n, step):
        rows = slice(start, min(start + step, n))
        yield rows, block[: rows.stop - start]
