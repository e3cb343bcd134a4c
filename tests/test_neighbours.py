"""Nearest neighbours against brute force, fidelity and diversity on sets made to lack one of them."""

import numpy as np
import pytest
import torch

from ganvas.errors import GanvasError
from ganvas.evaluation import neighbours
from ganvas.evaluation.neighbours import PRDC, nearest_neighbours, prdc, two_sample_test


def normal(n: int, f: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, f), np.float32)


def matrix(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.linalg.norm(x[:, None].astype(float) - y[None].astype(float), axis=2)


def brute(x: np.ndarray, y: np.ndarray, k: int, leave_out_self: bool = False) -> tuple[np.ndarray, np.ndarray]:
    distances = matrix(x, y)
    if leave_out_self:
        np.fill_diagonal(distances, np.inf)
    indices = distances.argsort(axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distances, indices, axis=1), indices


def prdc_of_whole_matrices(real: np.ndarray, fake: np.ndarray, k: int) -> PRDC:
    """The formulas of the `prdc` package, with whole matrices."""
    real_radii, fake_radii = (brute(side, side, k, leave_out_self=True)[0][:, -1] for side in (real, fake))
    between = matrix(real, fake)
    within = between < real_radii[:, None]
    return PRDC(
        precision=within.any(axis=0).mean(),
        recall=(between < fake_radii).any(axis=1).mean(),
        density=within.sum(axis=0).mean() / k,
        coverage=(between.min(axis=1) < real_radii).mean(),
    )


@pytest.fixture(params=[neighbours.BYTES_PER_BLOCK, 4000], ids=["one block", "many blocks"])
def _blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "BYTES_PER_BLOCK", request.param)


HARD = {
    "normal": normal(200),
    "far from 0": normal(200) + 1e4,
    "float64": normal(200).astype(np.float64),
    "tight clusters far apart": normal(200) * 1e-3 + np.repeat([[-1000], [1000]], 100, axis=0).astype(np.float32),
    "with an outlier": np.concatenate([normal(199), np.full((1, 16), 1e6, np.float32)]),
    "equal rows": np.repeat(normal(10), 20, axis=0),
}


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("name", HARD)
def test_nearest_equals_brute_force(name: str, k: int) -> None:
    y = HARD[name]
    for x, own in ((y, True), (y, False), (y[::3] + np.float32(1e-4), False)):
        distances, indices = nearest_neighbours(x, y, k, leave_out_self=own)
        expected, where = brute(x, y, k, leave_out_self=own)
        np.testing.assert_allclose(distances, expected, rtol=1e-12)
        assert distances.dtype == np.float64
        assert indices.dtype == np.int64
        np.testing.assert_allclose(np.take_along_axis(matrix(x, y), indices, axis=1), distances, rtol=1e-12)
        if name != "equal rows":
            assert (indices == where).all()
        assert not own or (indices != np.arange(len(x))[:, None]).all()


@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("name", HARD)
def test_coarse_search_of_many_rows_misses_no_neighbour(monkeypatch: pytest.MonkeyPatch, name: str, k: int) -> None:
    monkeypatch.setattr(neighbours, "COARSE_SEARCH_FROM", (60, 8))
    monkeypatch.setattr(neighbours, "EXTRA_COARSE_CANDIDATES", 10)
    y = HARD[name]
    for x, own in ((y, True), (y[::3] + np.float32(1e-4), False)):
        found = nearest_neighbours(x, y, k, leave_out_self=own)
        np.testing.assert_allclose(found[0], brute(x, y, k, leave_out_self=own)[0], rtol=1e-12)


def test_coarse_search_settles_most_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = (normal(n, 64, seed=n) * np.geomspace(10, 0.1, 64, dtype=np.float32) for n in (200, 3000))
    expected = nearest_neighbours(x, y, 3)
    monkeypatch.setattr(neighbours, "COARSE_SEARCH_FROM", (3000, 64))
    searched: list[int] = []
    search = neighbours._search
    monkeypatch.setattr(neighbours, "_search", lambda rows, *more: searched.append(len(rows)) or search(rows, *more))
    found = nearest_neighbours(x, y, 3)
    assert np.array_equal(found[0], expected[0])
    assert np.array_equal(found[1], expected[1])
    assert searched[0] == 200
    assert sum(searched[1:]) < 60


@pytest.mark.parametrize("columns", [5, 1024, 1000, 4111])
def test_smallest_values_equal_those_of_a_sort(columns: int) -> None:
    x = torch.from_numpy(normal(20, columns))
    values, where = neighbours._smallest(x, 5)
    assert torch.equal(values, x.sort(1).values[:, :5])
    assert torch.equal(x.gather(1, where), values)


def test_all_rows_can_be_requested() -> None:
    x, y = normal(7), normal(9, seed=1)
    assert (nearest_neighbours(x, y, 9)[1] == brute(x, y, 9)[1]).all()
    assert (nearest_neighbours(x, x, 6, leave_out_self=True)[1] == brute(x, x, 6, leave_out_self=True)[1]).all()


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize("k", [1, 4])
def test_prdc_equals_the_package_formulas(k: int) -> None:
    real, fake = normal(150, 4), normal(120, 4, seed=1) * 0.8 + 0.3
    assert prdc(real, fake, k) == prdc_of_whole_matrices(real, fake, k)
    assert prdc(real[::-1], np.roll(fake, 5, axis=0), k) == prdc(real, fake, k)
    assert prdc(real, real, k) == PRDC(1, 1, 1, 1), "a real lies on other reals' radii, not within"


def test_samples_of_one_distribution_reach_the_expected_values() -> None:
    found = prdc(normal(2000, 8), normal(2000, 8, seed=1), k=3)
    assert found.density == pytest.approx(1, abs=0.06)
    assert found.coverage == pytest.approx(1 - 2**-3, abs=0.025)


def test_collapsed_set_has_precision_and_scattered_set_has_recall() -> None:
    real = normal(500, 4)
    collapsed, scattered = prdc(real, 0.05 * normal(500, 4, seed=1)), prdc(real, 4 * normal(500, 4, seed=1))
    assert collapsed.precision > 0.95 > 0.1 > collapsed.recall
    assert scattered.recall > 0.9 > 0.4 > scattered.precision
    assert collapsed.density > 1.1 > 0.3 > scattered.density
    assert collapsed.coverage < 0.1


def test_two_sample_accuracy_of_equal_different_and_collapsed_sets() -> None:
    real = normal(1000, 4)
    assert two_sample_test(real, normal(1000, 4, seed=1)) == pytest.approx(0.5, abs=0.05)
    assert two_sample_test(real, real + 100) == 1
    assert two_sample_test(real, real) == 0
    two_modes = np.repeat([[0.0], [1.0]], 500, axis=0) * 50
    assert two_sample_test(real + two_modes, normal(1000, 4, seed=1)) > 0.6
    real, fake = np.array([[0.0], [10], [20], [30]]), np.array([[0.1], [0.2], [0.3], [0.4]])
    assert two_sample_test(real, fake) == (2 / 4 + 3 / 4) / 2


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize("shift", [0, 0.5])
def test_known_distances_of_a_set_change_no_result(shift: float) -> None:
    real, fake = normal(150, 4), normal(150, 4, seed=1) + np.float32(shift)
    fake[:20] = real[10:30]
    fake[30:40] = fake[40:50]
    own = [nearest_neighbours(side, side, 3, leave_out_self=True)[0] for side in (real, fake)]
    assert prdc(real, fake, 3, radii=(own[0][:, -1], own[1][:, -1])) == prdc(real, fake, 3)
    found = two_sample_test(real, fake, own=(own[0][:, 0], own[1][:, 0]))
    both = np.concatenate([real, fake])
    of_real = brute(both, both, 1, leave_out_self=True)[1][:, 0] < 150
    assert found == two_sample_test(real, fake)
    assert found == (of_real[:150].mean() + (~of_real[150:]).mean()) / 2


def test_bad_input_is_refused() -> None:
    bad = normal(10)
    bad[3] = np.nan
    for measure in (lambda x, y: nearest_neighbours(x, y, 1), prdc, two_sample_test):
        with pytest.raises(GanvasError, match="1 of the 10"):
            measure(normal(10), bad)
        with pytest.raises(GanvasError, match="differ in length"):
            measure(normal(10), normal(10, 3))
        with pytest.raises(GanvasError, match="at least two rows"):
            measure(normal(10), normal(1))
    with pytest.raises(GanvasError, match="from 1 to 9"):
        nearest_neighbours(normal(10), normal(10), 10, leave_out_self=True)
    with pytest.raises(GanvasError, match="equal numbers"):
        two_sample_test(normal(10), normal(11))
