"""Whether a generator repeats its training pictures: each test holds fakes against pictures it never saw.

Features are float [n f], distances Euclidean. On CIFAR-10 authenticity and C_T miss copying that the calibrated
distances show (Stein et al. 2023, section 5): read the ratio and the copies first, and look at the pairs.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ganvas.data import cache
from ganvas.errors import GanvasError
from ganvas.evaluation.features import remembered
from ganvas.evaluation.metrics import check, moments
from ganvas.evaluation.neighbours import nearest

DIMENSIONS = 64
"""Principal components of C_T, as Meehan et al. 2020 and dgm-eval take."""
CELLS = 3
"""K-means cells of C_T, as dgm-eval takes."""
ENOUGH = 20
"""Fakes and held-out pictures that a cell must have for its U to be nearly normal (dgm-eval's bound on fakes)."""


@dataclass(frozen=True, eq=False)
class Memorisation:
    """What the nearest training pictures tell.

    Attributes:
        fake_distance: median distance of a fake to its nearest training picture.
        held_out_distance: the same of held-out pictures.
        ratio: fake_distance / held_out_distance; 1 for honest draws, towards 0 for copies.
        copies: share of fakes at most as far from training as the nearest 1 % of the held-out pictures; 0.01 expected.
        authenticity: share of fakes farther from their nearest training picture than that is from its own nearest
            (Alaa et al. 2022, as dgm-eval's AuthPct); low is copying. What honest draws reach depends on the data.
        c_t: Meehan et al. 2020; within ±3 for honest draws, ≪ 0 is copying, ≫ 0 fakes far from all data. None where
            every cell was too small.
        pairs: int64 [p 2], rows (fake, training picture) of the closest fakes, ascending.
    """

    fake_distance: float
    held_out_distance: float
    ratio: float
    copies: float
    authenticity: float
    c_t: float | None
    pairs: np.ndarray


@dataclass(frozen=True, eq=False)
class Originals:
    """Real pictures that fakes are tested against, and what is computed of them once for any number of generators.

    Attributes:
        train: float [m f], what the generators were trained with.
        held_out: float [l f] of the same source, never trained with.
        seed: of the k-means cells.
    """

    train: np.ndarray
    held_out: np.ndarray
    seed: int

    @cached_property
    def held_distances(self) -> np.ndarray:
        """Of each held-out picture to its nearest training picture, float64 [l]; kept in the cache."""
        sides = (hashlib.sha256(side.tobytes()).hexdigest() for side in (self.held_out, self.train))
        key = cache.key("held-out distances", *sides)
        return remembered(key, len(self.held_out), lambda: nearest(self.held_out, self.train, 1)[0][:, 0])

    @cached_property
    def components(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Mean and principal axes of the training pictures; None where they have no more than DIMENSIONS features."""
        if self.train.shape[1] <= DIMENSIONS:
            return None
        own = moments(self.train)
        return own.mean, np.linalg.eigh(own.covariance)[1][:, -DIMENSIONS:]

    def projected(self, side: np.ndarray) -> np.ndarray:
        """A side in these components, float64 [n min(f, 64)]."""
        if self.components is None:
            return side.astype(np.float64)
        mean, axes = self.components
        return (side - mean) @ axes

    @cached_property
    def cells(self) -> "tuple[Any, list[tuple[np.ndarray, np.ndarray]]]":
        """k-means of the training pictures; of each cell the training pictures, and the held-out ones' distances."""
        from sklearn.cluster import KMeans  # a second's import

        train, held_out = self.projected(self.train), self.projected(self.held_out)
        found = KMeans(min(CELLS, len(train)), n_init=10, random_state=self.seed)  # pyright: ignore[reportArgumentType]
        found.fit(train)
        of_held, parts = found.predict(held_out), []
        for cell in range(found.n_clusters):
            held, near = held_out[of_held == cell], train[found.labels_ == cell]
            enough = len(held) >= ENOUGH and len(near) >= 2
            parts.append((near, nearest(held, near, 1)[0][:, 0] if enough else np.empty(0)))
        return found, parts


def memorisation(
    fake: np.ndarray, train: np.ndarray, held_out: np.ndarray, seed: int, n_pairs: int = 16
) -> Memorisation:
    """The four tests and the closest pairs; see `compared` for several generators.

    Args:
        fake: float [n f].
        train: float [m f], what the generator was trained with.
        held_out: float [l f] of the same source, never trained with.
        seed: of the k-means cells.
        n_pairs: how many pairs, at most n.

    Raises:
        GanvasError: half of the held-out pictures are training pictures; as `check`.
    """
    return compared(fake, Originals(train, held_out, seed), n_pairs)


def compared(fake: np.ndarray, against: Originals, n_pairs: int) -> Memorisation:
    """`memorisation` of one of several generators, whose real pictures are the same."""
    train = against.train
    check(fake=fake, train=train, held_out=against.held_out)
    distances, indices = (of[:, 0] for of in nearest(fake, train, 1))
    held = against.held_distances
    fake_distance, held_out_distance = float(np.median(distances)), float(np.median(held))
    if not held_out_distance:
        raise GanvasError(
            "At least half of the held-out pictures are training pictures.", fix="hold out others, before training."
        )
    closest = np.argsort(distances, kind="stable")[:n_pairs]
    return Memorisation(
        fake_distance=fake_distance,
        held_out_distance=held_out_distance,
        ratio=fake_distance / held_out_distance,
        copies=float((distances <= np.quantile(held, 0.01)).mean()),
        authenticity=float((distances > _own_distance(train, indices)).mean()),
        c_t=_c_t(fake, against),
        pairs=np.stack([closest, indices[closest]], axis=1),
    )


def copying(fake: np.ndarray, train: np.ndarray, held_out: np.ndarray, seed: int) -> float | None:
    """C_T: in each cell, whether fakes lie nearer to training pictures than held-out ones do (Meehan et al. 2020).

    The mean of the cells' Z-scored Mann-Whitney U, weighted by the held-out pictures' shares. Cells are k-means' on the
    training pictures' principal components; those with too few of either kind are left out, and without any left the
    answer is None. Differs from dgm-eval only in leaving out the ½ of a continuity correction.
    """
    check(fake=fake, train=train, held_out=held_out)
    return _c_t(fake, Originals(train, held_out, seed))


def _c_t(fake: np.ndarray, against: Originals) -> float | None:
    fake = against.projected(fake)
    cells, parts = against.cells
    of_fake, scores, weights = cells.predict(fake), [], []
    for cell, (near, held) in enumerate(parts):
        some = fake[of_fake == cell]
        if min(len(some), len(held)) >= ENOUGH and len(near) >= 2:
            scores.append(_mann_whitney(nearest(some, near, 1)[0][:, 0], held))
            weights.append(len(held))
    return float(np.average(scores, weights=weights)) if scores else None


def _own_distance(train: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Of some rows of train, the distance to the nearest other one."""
    rows, where = np.unique(indices, return_inverse=True)
    if len(rows) < 2:
        rows = np.array([rows[0], (rows[0] + 1) % len(train)])
    distances, found = nearest(train[rows], train, 2)
    return np.where(found[:, 0] == rows, distances[:, 1], distances[:, 0])[where]  # an equal row may come first


def _mann_whitney(a: np.ndarray, b: np.ndarray) -> float:
    """(U - μ) / σ of a over b under the hypothesis that they are alike; negative where a is the smaller."""
    n, m, ordered = len(a), len(b), np.sort(b)
    u = (ordered.searchsorted(a, "left") + ordered.searchsorted(a, "right")).sum() / 2  # ties count a half
    return float((u - n * m / 2) / np.sqrt(n * m * (n + m + 1) / 12))
