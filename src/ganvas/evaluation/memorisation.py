"""Whether a generator copies its training images: each test compares fakes with held-out images, or with left-out ones.

Features are float [n f], distances Euclidean. On CIFAR-10 authenticity and C_T miss copying that the calibrated
distances show (Stein et al. 2023, section 5): read the ratio and the copies first, and look at the pairs.
"""

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from ganvas.data.cached import cache
from ganvas.errors import GanvasError
from ganvas.evaluation.metrics import check_features, compute_moments
from ganvas.evaluation.near_copies import NearCopies
from ganvas.evaluation.neighbours import nearest_neighbours

COMPONENTS = 64
"""Principal components for C_T, as in Meehan et al. 2020 and dgm-eval."""
CELLS = 3
"""K-means cells for C_T, as in dgm-eval."""
MIN_PER_CELL = 20
"""Fakes and held-out images that a cell needs for its U to be nearly normal (dgm-eval's bound on fakes)."""


@dataclass(frozen=True, eq=False)
class Memorisation:
    """The memorisation test: distances to the nearest training images.

    Attributes:
        fake_distance: median distance from a fake to its nearest training image.
        held_out_distance: the same for held-out images.
        ratio: fake_distance / held_out_distance; 1 without copying, towards 0 for copies.
        copies: share of fakes at most as far from training as the nearest 1 % of the held-out images; 0.01 expected, of
            m < 99 held-out images 1 / (m + 1).
        authenticity: share of fakes farther from their nearest training image than that image is from its own nearest
            (Alaa et al. 2022, as dgm-eval's AuthPct); low is copying. The value without copying depends on the data.
        c_t: C_T (Meehan et al. 2020); within ±3 without copying, ≪ 0 is copying, ≫ 0 fakes far from all data. None if
            every cell was too small.
        pairs: int64 [p 2], rows (fake, training image) of the closest fakes, ascending; of the near-copies, if training
            images are being copied.
        left_out: whether there are no held-out images; then each training image takes a held-out one's place in turn.
        near_copies: share of fakes that are near-copies (see `near_copies`); None if it was not measured.
        near_copies_expected: the share of training images that would be called so.
        copying: whether training images are being copied, by the near-copies.
    """

    fake_distance: float
    held_out_distance: float
    ratio: float
    copies: float
    authenticity: float
    c_t: float | None
    pairs: np.ndarray = field(repr=False)
    left_out: bool = False
    near_copies: float | None = None
    near_copies_expected: float | None = None
    copying: bool = False

    def with_near_copies(self, found: NearCopies) -> "Memorisation":
        """With what was found in the pixels."""
        pairs = found.pairs if found.copying else self.pairs
        return replace(
            self, pairs=pairs, near_copies=found.share, near_copies_expected=found.expected, copying=found.copying
        )

    def __str__(self) -> str:
        real = "left-out training images" if self.left_out else "held-out images"
        return (
            self._format_near_copies() + f"Nearest training images: {self.ratio:.2f} × as far as those of {real}; "
            f"{100 * self.copies:.1f} % are nearer than all but the nearest 1 % of {real}; "
            f"authenticity {100 * self.authenticity:.0f} %" + ("" if self.c_t is None else f"; C_T {self.c_t:.1f}")
        )

    def _format_near_copies(self) -> str:
        if self.near_copies is None or self.near_copies_expected is None:
            return ""
        verdict = "Training images are copied" if self.copying else "No copying found"
        share, real = 100 * self.near_copies, 100 * self.near_copies_expected
        return f"{verdict}: {share:.1f} % are near-copies of a training image ({real:.1f} % of real images would be).\n"


@dataclass(frozen=True, eq=False)
class TrainingFeatures:
    """Features of real images, and what the tests compute from them once for any number of generators.

    Attributes:
        train: float [m f], of the training images.
        held_out: float [l f], of images from the same source that were not trained on; None where there are none: then
            each (different) training image in turn is left out and takes the place of a held-out one.
    """

    train: np.ndarray
    held_out: np.ndarray | None

    @cached_property
    def held_out_distances(self) -> np.ndarray:
        """The distance from each held-out image to its nearest training image, float64 [l]; cached on disk."""
        if self.held_out is None:
            return _distances_to_others(self._different)
        digests = (hashlib.sha256(features.tobytes()).hexdigest() for features in (self.held_out, self.train))
        key, held_out = cache.key("held-out distances", *digests), self.held_out
        return cache.load_or_compute(key, len(held_out), lambda: nearest_neighbours(held_out, self.train, 1)[0][:, 0])

    @cached_property
    def _different(self) -> np.ndarray:
        """The different training images, float [m' f]."""
        return np.unique(self.train, axis=0)

    @cached_property
    def principal_components(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Mean and principal axes of the training images; None if they have at most COMPONENTS features."""
        if self.train.shape[1] <= COMPONENTS:
            return None
        train = compute_moments(self.train)
        return train.mean, np.linalg.eigh(train.covariance)[1][:, -COMPONENTS:]

    def project(self, features: np.ndarray) -> np.ndarray:
        """float [n f] on the principal components, float64 [n min(f, COMPONENTS)]."""
        if self.principal_components is None:
            return features.astype(np.float64)
        mean, axes = self.principal_components
        return (features - mean) @ axes

    @cached_property
    def cells(self) -> "tuple[Any, list[tuple[np.ndarray, np.ndarray]]]":
        """k-means of the training images; for each cell its training images and the held-out images' distances."""
        from sklearn.cluster import KMeans  # importing it takes a second

        train = self.project(self.train if self.held_out is not None else self._different)
        held_out = train if self.held_out is None else self.project(self.held_out)
        kmeans = KMeans(min(CELLS, len(train)), n_init=10, random_state=0)  # pyright: ignore[reportArgumentType]
        kmeans.fit(train)
        held_out_cells, parts = kmeans.predict(held_out), []
        for cell in range(kmeans.n_clusters):
            held_out_part, train_part = held_out[held_out_cells == cell], train[kmeans.labels_ == cell]
            enough = len(held_out_part) >= MIN_PER_CELL and len(train_part) >= 2
            if not enough:
                distances = np.empty(0)
            elif self.held_out is None:
                distances = _distances_to_others(train_part)
            else:
                distances = nearest_neighbours(held_out_part, train_part, 1)[0][:, 0]
            parts.append((train_part, distances))
        return kmeans, parts


def compare_with_training(fake: np.ndarray, real: TrainingFeatures, n_pairs: int) -> Memorisation:
    """The four tests and the closest pairs.

    Args:
        fake: float [n f].
        real: may serve several generators.
        n_pairs: the number of pairs, at most n.

    Raises:
        GanvasError: half of the held-out images are training images; as `check_features`.
    """
    train = real.train
    check_features(fake=fake, train=train, **({} if real.held_out is None else {"held_out": real.held_out}))
    distances, indices = (part[:, 0] for part in nearest_neighbours(fake, train, 1))
    fake_distance, held_out_distance = float(np.median(distances)), float(np.median(real.held_out_distances))
    if not held_out_distance:
        raise GanvasError(
            "At least half of the held-out images are training images.", fix="hold out others, before training."
        )
    closest = np.argsort(distances, kind="stable")[:n_pairs]
    return Memorisation(
        fake_distance=fake_distance,
        held_out_distance=held_out_distance,
        ratio=fake_distance / held_out_distance,
        copies=float((distances <= np.quantile(real.held_out_distances, 0.01, method="weibull")).mean()),
        authenticity=float((distances > _distance_within_training(train, indices)).mean()),
        c_t=copying_statistic(fake, real),
        pairs=np.stack([closest, indices[closest]], axis=1),
        left_out=real.held_out is None,
    )


def copying_statistic(fake: np.ndarray, real: TrainingFeatures) -> float | None:
    """C_T: in each cell, whether fakes are nearer to training images than held-out images are (Meehan et al. 2020).

    The mean of the cells' Z-scored Mann-Whitney U, weighted by the shares of the held-out images. The cells are those
    of k-means on the training images' principal components; cells with too few fakes or held-out images are left out,
    and the result is None if none is left. Differs from dgm-eval only in having no continuity correction of ½.
    """
    fake = real.project(fake)
    kmeans, parts = real.cells
    fake_cells, scores, weights = kmeans.predict(fake), [], []
    for cell, (train_part, held_out_distances) in enumerate(parts):
        fake_part = fake[fake_cells == cell]
        if min(len(fake_part), len(held_out_distances)) >= MIN_PER_CELL and len(train_part) >= 2:
            fake_distances = nearest_neighbours(fake_part, train_part, 1)[0][:, 0]
            scores.append(_mann_whitney(fake_distances, held_out_distances))
            weights.append(len(held_out_distances))
    return float(np.average(scores, weights=weights)) if scores else None


def _distances_to_others(rows: np.ndarray) -> np.ndarray:
    """The distance from each row, float [m f], to its nearest other one, float64 [m]; cached on disk."""
    key = cache.key("distances to others", hashlib.sha256(rows.tobytes()).hexdigest())
    return cache.load_or_compute(
        key, len(rows), lambda: nearest_neighbours(rows, rows, 1, leave_out_self=True)[0][:, 0]
    )


def _distance_within_training(train: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """For some rows of train, the distance to the nearest other row."""
    rows, inverse = np.unique(indices, return_inverse=True)
    if len(rows) < 2:
        rows = np.array([rows[0], (rows[0] + 1) % len(train)])
    distances, neighbours = nearest_neighbours(train[rows], train, 2)
    return np.where(neighbours[:, 0] == rows, distances[:, 1], distances[:, 0])[inverse]  # an equal row may come first


def _mann_whitney(a: np.ndarray, b: np.ndarray) -> float:
    """(U - μ) / σ of a over b under the hypothesis of equal distributions; negative if a is the smaller."""
    n, m, ordered = len(a), len(b), np.sort(b)
    u = (ordered.searchsorted(a, "left") + ordered.searchsorted(a, "right")).sum() / 2  # ties count half
    return float((u - n * m / 2) / np.sqrt(n * m * (n + m + 1) / 12))
