"""Mode coverage of constructed samplers, divergences by hand, the values of a perfect sampler by simulation."""

from math import inf, log

import numpy as np
import pytest

from ganvas.errors import GanvasError
from ganvas.evaluation.modes import PERFECT_SAMPLER_KL, mode_coverage, predict_classes

PROTOCOL_SAMPLES = 26_000
MNIST = np.array([5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]) / 60_000
STACKED = np.kron(np.kron(MNIST, MNIST), MNIST)


def test_stacked_class_reads_red_first_and_multiplies_confidences() -> None:
    probabilities = np.full((2, 3, 10), 0.02, np.float32)
    for image, digits in enumerate([(1, 2, 3), (0, 0, 7)]):
        probabilities[image, range(3), digits] = 0.82
    classes, confidences = predict_classes(probabilities)
    assert classes.tolist() == [123, 7]
    assert confidences == pytest.approx(0.82**3, rel=1e-5)
    classes, confidences = predict_classes(np.array([[0.2, 0.8], [0.6, 0.4]]))
    assert (classes.tolist(), confidences.tolist()) == ([1, 0], [0.8, 0.6])


def test_dropped_modes_are_counted() -> None:
    random = np.random.default_rng(0)
    kept = np.setdiff1d(np.arange(1000), random.choice(1000, 100, replace=False))
    digits = np.stack(np.unravel_index(random.choice(kept, PROTOCOL_SAMPLES), (10, 10, 10)), axis=1)
    found = mode_coverage(*predict_classes(0.9 * np.eye(10)[digits] + 0.01), count=1000, frequencies=STACKED)
    assert found.hit == 900
    assert np.flatnonzero(found.shares).tolist() == kept.tolist()
    chance = 899 / (2 * PROTOCOL_SAMPLES)
    assert found.kl_uniform == pytest.approx(log(1000 / 900) + chance, abs=0.004)
    assert found.kl_real == pytest.approx(log(1000 / 900) + chance + 0.0043, abs=0.006)


def test_divergences_equal_values_by_hand() -> None:
    classes, sure = np.array([0, 0, 0, 1]), np.ones(4)
    found = mode_coverage(classes, sure, count=4, frequencies=np.array([6, 2, 2, 0]))
    assert found.shares.tolist() == [0.75, 0.25, 0, 0]
    assert found.kl_uniform == pytest.approx(0.75 * log(3) + 0.25 * log(1))
    assert found.kl_real == pytest.approx(0.75 * log(0.75 / 0.6) + 0.25 * log(0.25 / 0.2))
    assert mode_coverage(classes, sure, count=4).kl_real is None
    assert mode_coverage(classes, sure, count=2, frequencies=np.array([1, 0])).kl_real == inf
    assert mode_coverage(np.arange(4), sure, count=4).kl_uniform == pytest.approx(0)


def test_samples_below_the_confidence_hit_no_mode_but_keep_their_share() -> None:
    classes, confidences = np.array([0, 1, 1, 2]), np.array([0.9, 0.3, 0.5, 0.2])
    assert [mode_coverage(classes, confidences, 3, confidence=c).hit for c in (0, 0.3, 0.5, 0.6, 1)] == [3, 2, 2, 1, 0]
    assert mode_coverage(classes, confidences, 3, confidence=1).shares.tolist() == [0.25, 0.5, 0.25]


@pytest.mark.parametrize("samples", PERFECT_SAMPLER_KL)
def test_perfect_sampler_constants_equal_the_simulation(samples: int) -> None:
    shares = np.random.default_rng(0).multinomial(samples, STACKED, size=200) / samples
    values = (shares * np.log(1000 * np.maximum(shares, 1e-9))).sum(axis=1)
    assert values.mean() == pytest.approx(PERFECT_SAMPLER_KL[samples][0], abs=0.0002)
    assert values.std(ddof=1) == pytest.approx(PERFECT_SAMPLER_KL[samples][1], rel=0.2)


def test_perfect_sampler_reaches_the_expected_divergence() -> None:
    classes = np.random.default_rng(3).choice(1000, PROTOCOL_SAMPLES, p=STACKED)
    mean, deviation = PERFECT_SAMPLER_KL[PROTOCOL_SAMPLES]
    found = mode_coverage(classes, np.ones(len(classes)), 1000, STACKED)
    assert found.hit >= 999
    assert found.kl_uniform == pytest.approx(mean, abs=4 * deviation)
    assert mode_coverage(classes, np.ones(len(classes)), 1000, 60_000 * STACKED).kl_real == pytest.approx(found.kl_real)


def test_bad_input_is_refused() -> None:
    ones = np.ones(3)
    with pytest.raises(GanvasError, match="softmax"):
        predict_classes(np.full((2, 3, 10), 2.0))
    with pytest.raises(GanvasError, match="at least one"):
        mode_coverage(np.array([], int), ones[:0], 3)
    with pytest.raises(GanvasError, match="3 classes and 2 confidences"):
        mode_coverage(np.arange(3), ones[:2], 3)
    for wrong in (np.array([0, 3, 1]), np.array([0, -1, 1])):
        with pytest.raises(GanvasError, match="0 to 2"):
            mode_coverage(wrong, ones, 3)
    for wrong in (np.ones(2), np.zeros(3), np.array([1, 2, -1]), np.array([1, np.nan, 1])):
        with pytest.raises(GanvasError, match="3 numbers from 0"):
            mode_coverage(np.arange(3), ones, 3, frequencies=wrong)
