"""Metrics against torchmetrics, closed forms and values computed by hand."""

from math import log

import numpy as np
import pytest
import torch
from torch import nn

from ganvas.errors import GanvasError
from ganvas.evaluation import metrics
from ganvas.evaluation.metrics import (
    Moments,
    compute_moments,
    frechet_distance,
    frechet_distance_of,
    frechet_infinity,
    inception_score,
    kernel_distances,
    unbiased_mmd,
)


def normal(n: int, f: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, f), np.float32)


def kernel_distance(x: np.ndarray, y: np.ndarray, seed: int, subsets: int, size: int) -> float:
    return kernel_distances([x], y, seed, [(subsets, size)])[0]


def two_sets(n: int = 300, f: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Different means, and covariances that do not commute."""
    random = np.random.default_rng(7)
    return normal(n, f) @ random.standard_normal((f, f)) + 5, normal(n, f, 1) @ random.standard_normal((f, f))


class Identity(nn.Module):
    num_features = 12

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def test_moments_equal_those_of_numpy_for_any_block_size(monkeypatch: pytest.MonkeyPatch) -> None:
    x = normal(101) + 1000
    for block in (metrics.NUMBERS_PER_BLOCK, 80):
        monkeypatch.setattr(metrics, "NUMBERS_PER_BLOCK", block)
        own = compute_moments(x)
        assert own.count == 101
        assert own.mean.dtype == own.covariance.dtype == np.float64
        np.testing.assert_allclose(own.mean, x.astype(float).mean(0), rtol=1e-12)
        np.testing.assert_allclose(own.covariance, np.cov(x.astype(float).T), rtol=1e-9, atol=1e-12)


def test_frechet_distance_of_two_gaussians_equals_the_closed_form() -> None:
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((5, 5)))[0]
    a, b = np.array([4.0, 1, 0.25, 0, 9]), np.array([1.0, 1, 4, 2, 0])  # variances along the same rotated axes
    one, other = (Moments(10, np.full(5, at), rotation @ np.diag(v) @ rotation.T) for at, v in ((0.0, a), (2.0, b)))
    expected = 5 * 2**2 + np.square(np.sqrt(a) - np.sqrt(b)).sum()
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-7)
    assert frechet_distance(other, one) == pytest.approx(expected, rel=1e-7)


def test_frechet_and_kernel_distances_agree_with_torchmetrics() -> None:
    fid, kid = pytest.importorskip("torchmetrics.image.fid"), pytest.importorskip("torchmetrics.image.kid")
    x, y = two_sets()
    theirs = fid.FrechetInceptionDistance(feature=Identity()).set_dtype(torch.float64)
    theirs.update(torch.from_numpy(x), real=True)
    theirs.update(torch.from_numpy(y), real=False)
    assert frechet_distance(compute_moments(x), compute_moments(y)) == pytest.approx(theirs.compute().item(), rel=1e-5)
    with pytest.warns(UserWarning, match="buffer"):
        theirs = kid.KernelInceptionDistance(feature=Identity(), subsets=2, subset_size=300)
    theirs.update(torch.from_numpy(x), real=True)
    theirs.update(torch.from_numpy(y), real=False)
    expected = theirs.compute()[0].item()
    assert unbiased_mmd(x, y) == pytest.approx(expected, rel=1e-5)
    assert kernel_distance(x, y, seed=0, subsets=2, size=300) == pytest.approx(expected, rel=1e-5)


def test_frechet_distance_of_a_set_from_itself_is_0_even_with_few_rows() -> None:
    for x in (normal(200), normal(20, 50)):
        assert frechet_distance(compute_moments(x), compute_moments(x[::-1])) == pytest.approx(0, abs=1e-5)


def test_kernel_distance_depends_on_neither_row_order_nor_block_size(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = two_sets()
    expected = unbiased_mmd(x, y)
    monkeypatch.setattr(metrics, "NUMBERS_PER_BLOCK", 700)
    assert unbiased_mmd(x[::-1], y) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(("subsets", "size", "per_subset"), [(7, 40, True), (20, 150, False)])
def test_kernel_distance_of_many_subsets_is_the_mean_over_each(
    monkeypatch: pytest.MonkeyPatch, subsets: int, size: int, per_subset: bool
) -> None:
    x, y = normal(300) + 0.1, normal(200, seed=1)
    random = np.random.default_rng(3)
    alone = [unbiased_mmd(x[random.permutation(300)[:size]], y[random.permutation(200)[:size]]) for _ in range(subsets)]
    monkeypatch.setattr(metrics, "NUMBERS_PER_BLOCK", 7000)
    chosen: list[bool] = []
    cheaper = metrics._cheaper_per_subset
    monkeypatch.setattr(metrics, "_cheaper_per_subset", lambda *sides: chosen.append(cheaper(*sides)) or chosen[-1])
    assert kernel_distance(x, y, 3, subsets, size) == pytest.approx(np.mean(alone), rel=1e-9)
    assert (True in chosen) == per_subset


def test_kernel_distances_of_several_sets_equal_those_of_each() -> None:
    x, y = normal(300) + 0.1, normal(200, seed=1)
    sides, plans = [x, x[:50], x[50:100], x[:90]], [(7, 40), (5, 50), (5, 50), (9, 20)]
    for found, side, plan in zip(kernel_distances(sides, y, 3, plans), sides, plans, strict=True):
        assert found == pytest.approx(kernel_distance(side, y, 3, *plan), rel=1e-9)


def test_kernel_distance_equals_the_value_by_hand_and_is_unbiased() -> None:
    x, y = np.array([[1.0, 0], [0, 1]]), np.array([[1.0, 1], [2, 0], [0, 0]])
    k = lambda a, b: (a @ b / 2 + 1) ** 3  # noqa: E731
    within = k(x[0], x[1]) + (k(y[0], y[1]) + k(y[0], y[2]) + k(y[1], y[2])) / 3
    assert unbiased_mmd(x, y) == pytest.approx(within - 2 * np.mean([k(a, b) for a in x for b in y]))
    deviation = np.std([unbiased_mmd(normal(200, seed=i), normal(200, seed=50 + i)) for i in range(50)])
    assert abs(kernel_distance(normal(4000), normal(4000, seed=1), seed=0, subsets=50, size=200)) < deviation
    assert kernel_distance(normal(300) + 0.5, normal(300, seed=1), seed=0, subsets=10, size=200) > 5 * deviation


@pytest.mark.parametrize("n", [2, 30, 64, 200])
def test_frechet_distance_of_rows_is_that_of_their_moments(n: int) -> None:
    random = np.random.default_rng(n)
    x, reference = random.normal(size=(n, 64)) ** 2, compute_moments(random.normal(size=(500, 64)))
    assert frechet_distance_of(x, reference) == pytest.approx(frechet_distance(compute_moments(x), reference), rel=1e-6)


def test_frechet_infinity_removes_the_bias_of_small_sets() -> None:
    reference = Moments(10**6, np.zeros(32), np.eye(32))
    x = normal(2000, 32)
    plain, infinite = frechet_distance(compute_moments(x), reference), frechet_infinity(x, reference, seed=0)
    assert plain > 0.1
    assert abs(infinite) < plain / 4
    assert frechet_infinity(x + 1, reference, seed=0) == pytest.approx(32, rel=0.05)
    assert frechet_infinity(x, reference, seed=0) == infinite != frechet_infinity(x, reference, seed=1)


def test_frechet_infinity_is_the_intercept_of_a_line_in_1_over_n(monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []

    def fake_distance(a: Moments, b: Moments) -> float:
        counts.append(a.count)
        return 3 + 50 / a.count

    monkeypatch.setattr(metrics, frechet_distance.__name__, fake_distance)
    monkeypatch.setattr(metrics, "EXTRAPOLATION_SUBSETS", 4)
    assert frechet_infinity(normal(1000, 125), compute_moments(normal(9)), seed=0) == pytest.approx(3)
    assert counts == [250, 333, 500, 1000]
    for n, f, smallest in ((1000, 8, 100), (100, 8, 16), (20, 8, 10), (4, 1, 2)):
        counts.clear()
        frechet_infinity(normal(n, f), compute_moments(normal(9)), seed=0)
        assert (counts[0], counts[-1]) == (smallest, n)


def test_inception_score_equals_values_by_hand() -> None:
    assert inception_score(np.eye(4)[np.arange(400) % 4]) == pytest.approx(4)
    assert inception_score(np.full((50, 4), 0.25), splits=1) == pytest.approx(1)
    p = np.array([[0.5, 0.5], [1.0, 0.0]])
    divergence = (0.5 * log(0.5 / 0.75) + 0.5 * log(0.5 / 0.25) + log(1 / 0.75)) / 2
    assert inception_score(p, splits=1) == pytest.approx(np.exp(divergence))
    halves = np.concatenate([np.eye(2), np.eye(2)[[0, 0]]])  # scores 2 and 1
    assert inception_score(halves, splits=2) == pytest.approx(1.5)


def test_bad_input_is_refused() -> None:
    bad = normal(10)
    bad[[2, 5], [0, 1]] = np.nan, np.inf
    with pytest.raises(GanvasError, match="2 of the 10 y rows"):
        unbiased_mmd(normal(10), bad)
    with pytest.raises(GanvasError, match="2 of the 10 fake rows"):
        compute_moments(bad, "fake")
    for wrong in (normal(1), normal(10)[0]):
        with pytest.raises(GanvasError, match="at least two rows"):
            compute_moments(wrong)
    with pytest.raises(GanvasError, match="x 8, y 3"):
        unbiased_mmd(normal(10), normal(10, 3))
    with pytest.raises(GanvasError, match="8 and 3"):
        frechet_distance(compute_moments(normal(10)), compute_moments(normal(10, 3)))
    with pytest.raises(GanvasError, match="from 2 to 9 rows"):
        kernel_distance(normal(10), normal(9), seed=0, subsets=100, size=10)
    with pytest.raises(GanvasError, match="at least four"):
        frechet_infinity(normal(3), compute_moments(normal(9)), seed=0)
    with pytest.raises(GanvasError, match="one row per split"):
        inception_score(np.eye(4))
    for wrong in (np.eye(4) * 2, np.array([[1.5, -0.5]]), np.full((2, 2), np.nan)):
        with pytest.raises(GanvasError, match="softmax"):
            inception_score(wrong, splits=1)
