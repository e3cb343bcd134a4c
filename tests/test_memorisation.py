"""A generator that copies its training images is flagged; one that does not is not."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from ganvas.errors import GanvasError
from ganvas.evaluation import memorisation as module
from ganvas.evaluation.memorisation import Memorisation, TrainingFeatures, compare_with_training


def cluster_samples(n: int, seed: int, f: int = 16) -> np.ndarray:
    """Samples of three clusters."""
    random = np.random.default_rng(seed)
    return (random.standard_normal((n, f)) + 6 * np.eye(3, f)[random.integers(3, size=n)]).astype(np.float32)


def measure_memorisation(fake: np.ndarray, train: np.ndarray, held_out: np.ndarray, n_pairs: int = 16) -> Memorisation:
    return compare_with_training(fake, TrainingFeatures(train, held_out), n_pairs)


def copying_statistic(fake: np.ndarray, train: np.ndarray, held_out: np.ndarray) -> float | None:
    return module.copying_statistic(fake, TrainingFeatures(train, held_out))


TRAIN, HELD_OUT, INDEPENDENT = cluster_samples(1500, 0), cluster_samples(600, 1), cluster_samples(600, 2)


def test_copying_generator_is_flagged() -> None:
    copied = TRAIN[:600] + 0.05 * np.random.default_rng(3).standard_normal((600, 16)).astype(np.float32)
    found = measure_memorisation(copied, TRAIN, HELD_OUT)
    assert found.ratio < 0.1
    assert found.copies == 1
    assert found.authenticity < 0.01
    assert found.c_t is not None
    assert found.c_t < -10
    assert measure_memorisation(TRAIN[:100], TRAIN, HELD_OUT).authenticity == 0


def test_independent_samples_are_not_flagged() -> None:
    found = measure_memorisation(INDEPENDENT, TRAIN, HELD_OUT)
    assert found.ratio == found.fake_distance / found.held_out_distance == pytest.approx(1, abs=0.05)
    assert found.copies == pytest.approx(0.01, abs=0.012)
    assert found.authenticity > 0.5
    assert found.c_t is not None
    assert abs(found.c_t) < 3
    assert measure_memorisation(INDEPENDENT[::-1], TRAIN, HELD_OUT).c_t == pytest.approx(found.c_t)


@pytest.mark.parametrize("m", [50, 100, 200])
def test_share_of_copies_is_a_hundredth_without_copying_also_of_few_held_out_images(m: int) -> None:
    shares = [
        measure_memorisation(cluster_samples(m, 3 * i), TRAIN, cluster_samples(m, 3 * i + 1), 1).copies
        for i in range(1, 61)
    ]
    assert np.mean(shares) == pytest.approx(max(0.01, 1 / (m + 1)), abs=0.004)


def test_without_held_out_images_each_training_image_is_left_out_in_turn() -> None:
    with_repeats = np.concatenate([TRAIN, TRAIN[:5]])
    found = compare_with_training(INDEPENDENT, TrainingFeatures(with_repeats, None), 4)
    assert found.left_out
    assert found.ratio == pytest.approx(1, abs=0.05)
    assert found.copies == pytest.approx(0.01, abs=0.012)
    assert found.c_t is not None
    assert abs(found.c_t) < 3
    assert "left-out training images" in str(found)
    copied = TRAIN[:600] + 0.05 * np.random.default_rng(3).standard_normal((600, 16)).astype(np.float32)
    found = compare_with_training(copied, TrainingFeatures(TRAIN, None), 4)
    assert found.ratio < 0.1
    assert found.copies == 1
    assert found.c_t is not None
    assert found.c_t < -10


def test_searches_without_held_out_images_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = TrainingFeatures(TRAIN[:400], None)
    expected = first.held_out_distances, first.cells[1]
    monkeypatch.setattr(module, "nearest_neighbours", lambda *_, **__: pytest.fail("searched again"))
    again = TrainingFeatures(TRAIN[:400].copy(), None)
    assert np.array_equal(again.held_out_distances, expected[0])
    for (_, distances), (_, before) in zip(again.cells[1], expected[1], strict=True):
        assert len(distances)
        assert np.array_equal(distances, before)


def test_few_copies_among_independent_samples_are_counted_and_paired() -> None:
    mixed = INDEPENDENT.copy()
    mixed[[7, 300, 512]] = TRAIN[[40, 41, 1000]]
    mixed[300] += 1e-3
    mixed[512] += 1e-2
    found = measure_memorisation(mixed, TRAIN, HELD_OUT, n_pairs=3)
    assert found.pairs.tolist() == [[7, 40], [300, 41], [512, 1000]]
    clean = measure_memorisation(INDEPENDENT, TRAIN, HELD_OUT)
    assert found.copies >= clean.copies + 2 / 600
    assert len(clean.pairs) == 16


def test_authenticity_equals_values_by_hand_with_equal_training_rows() -> None:
    train = np.array([[0.0], [1], [10], [13], [50], [50]])
    # nearest others of the training rows: 1, 1, 3, 3, 0, 0
    fake = np.array([[-0.5], [3], [11], [17], [50], [50.5]])  # distances 0.5, 2, 1, 4, 0, 0.5
    held_out = np.array([[5.0], [20]])
    assert measure_memorisation(fake, train, held_out).authenticity == 3 / 6
    one = np.array([[10.5], [14.5]])
    assert measure_memorisation(one, train[2:4], held_out).authenticity == 0
    assert measure_memorisation(one[:1].repeat(2, 0), train[2:4], held_out).authenticity == 0


def test_held_out_duplicates_in_training_do_not_hide_copies() -> None:
    held_out = np.concatenate([HELD_OUT, TRAIN[:12]])  # 2 % have distance 0
    assert measure_memorisation(TRAIN[:100], TRAIN, held_out).copies == 1


def test_c_t_is_the_weighted_mean_of_mann_whitney_statistics_of_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CELLS", 1)
    distances = [np.linalg.norm(side[:, None] - TRAIN, axis=2).min(axis=1) for side in (INDEPENDENT, HELD_OUT)]
    n, m = map(len, distances)
    u = mannwhitneyu(*distances).statistic
    expected = (u - n * m / 2) / np.sqrt(n * m * (n + m + 1) / 12)
    assert copying_statistic(INDEPENDENT, TRAIN, HELD_OUT) == pytest.approx(expected)
    monkeypatch.setattr(module, "CELLS", 3)
    has_cluster = [side.argmax(axis=1) < 3 for side in (TRAIN, HELD_OUT)]
    assert min(map(np.mean, has_cluster)) > 0.9, "clusters are identified by their largest feature"
    clusters = [[side[side[:, :3].argmax(axis=1) == c] for c in range(3)] for side in (INDEPENDENT, TRAIN, HELD_OUT)]
    monkeypatch.setattr(module, "CELLS", 1)
    scores = [copying_statistic(*sides) for sides in zip(*clusters, strict=True)]
    monkeypatch.setattr(module, "CELLS", 3)
    weighted = np.average(np.array(scores, float), weights=[len(held) for held in clusters[2]])
    assert copying_statistic(INDEPENDENT, TRAIN, HELD_OUT) == pytest.approx(weighted, abs=0.05)


def test_c_t_skips_cells_with_few_samples_and_is_none_without_any() -> None:
    first = INDEPENDENT[INDEPENDENT[:, 0] > 4]
    found = copying_statistic(first, TRAIN, HELD_OUT)
    assert found is not None
    assert abs(found) < 3
    assert copying_statistic(INDEPENDENT[:19], TRAIN, HELD_OUT) is None


def test_c_t_uses_the_64_directions_of_largest_variance() -> None:
    noise = np.random.default_rng(4).standard_normal((2700, 40)) * 1e-3
    scaled = np.concatenate([INDEPENDENT, TRAIN, HELD_OUT]).repeat(4, axis=1)
    scaled = np.concatenate([scaled + np.random.default_rng(5).standard_normal(scaled.shape), noise], axis=1)
    kept = [scaled[:600, :64], scaled[600:2100, :64], scaled[2100:, :64]]
    wide = [scaled[:600], scaled[600:2100], scaled[2100:]]
    expected = copying_statistic(*kept)
    assert expected is not None
    assert copying_statistic(*wide) == pytest.approx(expected, abs=1e-3)


def test_bad_input_is_refused() -> None:
    with pytest.raises(GanvasError, match="hold out others"):
        measure_memorisation(INDEPENDENT, TRAIN, TRAIN[:100])
    with pytest.raises(GanvasError, match="fake 8, train 16"):
        measure_memorisation(INDEPENDENT[:, :8], TRAIN, HELD_OUT)
    with pytest.raises(GanvasError, match="1 of the 600 held_out rows"):
        measure_memorisation(INDEPENDENT, TRAIN, np.where(np.arange(600)[:, None] == 5, np.nan, HELD_OUT))
