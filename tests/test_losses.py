"""What a log's losses are and prove, and how its quality is judged."""

from typing import Any

import numpy as np
import pytest

from ganvas.diagnosis.diagnosis import apply_rules
from ganvas.diagnosis.history import Facts, History, Series
from ganvas.diagnosis.rules.losses import constant_since, is_critic, is_silent, resolution, with_total
from ganvas.diagnosis.rules.quality import measured, severity_of

NAN = float("nan")
RNG = np.random.default_rng(0)


def log(facts: dict[str, Any] | None = None, **columns: Any) -> History:
    """`D_loss` is D/loss, at times 1, 2, …"""
    history = History("step", Facts(**(facts or {})))
    for name, column in columns.items():
        values = [float(value) for value in column]
        history.columns[name.replace("_", "/", 1)] = list(map(float, range(1, len(values) + 1))), values
    return history


def noise(level: float, size: float, n: int = 30) -> np.ndarray:
    return level + RNG.normal(0, size, n)


# Parts


def test_loss_of_d_is_the_sum_of_its_parts() -> None:
    parts = log(D_loss_real=[0.3, 0.1], D_loss_fake=[0.34, 0.2])
    assert with_total(parts)["D/loss"].value.tolist() == [0.64, 0.3]
    assert "D/loss" not in parts
    whole = log(D_loss=[1, 1], D_loss_real=[0.3, 0.1], D_loss_fake=[0.34, 0.2])
    assert with_total(whole)["D/loss"].value.tolist() == [1, 1]


def test_parts_at_different_times_are_summed_at_those_of_the_reals() -> None:
    history = log(D_loss_real=[1, 1, 1])
    history.columns["D/loss_fake"] = [0.5, 3.5], [0.0, 3.0]
    assert with_total(history)["D/loss"].value.tolist() == [1.5, 2.5, 3.5]


@pytest.mark.parametrize("part", ["D_loss_real", "D_loss_fake"])
def test_nan_in_a_part_is_not_finite(part: str) -> None:
    columns: dict[str, Any] = {"D_loss_real": noise(0.5, 0.1), "D_loss_fake": noise(0.5, 0.1)}
    columns[part] = [*columns[part][:20], *[NAN] * 10]
    found = apply_rules(log(**columns)).failures
    assert [finding.name for finding in found] == ["non-finite"]
    assert part.replace("_", "/", 1) in found[0].evidence[0]


# Resolution


def test_resolution_is_that_of_the_text_or_else_of_the_values() -> None:
    assert resolution(log({"resolution": {"D/loss": 0.01}}, D_loss=[0.125, 0.5]), "D/loss") == 0.01
    assert resolution(log(D_loss=[0.71, 0.69, 0.7, 0.7]), "D/loss") == 0.01
    assert resolution(log(D_loss=[1.5, 1.52, 1.48, 0.0123, 1.5]), "D/loss") == 0.01, "three digits, not four decimals"
    assert resolution(log(D_loss=noise(0.7, 0.1)), "D/loss") < 1e-9
    assert resolution(log(D_loss=[0.7] * 5, G_loss=[0.712, 0.713, 0.72, 0.7]), "D/loss") == 0.001, "as G's is printed"


def test_equal_values_prove_something_only_in_fine_steps() -> None:
    coarse = [0.71, 0.70, 0.69, 0.70, 0.68, *[0.69] * 5]
    assert constant_since(log(D_loss=coarse), "D/loss") is None
    assert constant_since(log(D_loss=[*coarse, *[0.69] * 500]), "D/loss") is None
    assert constant_since(log(D_loss=[*noise(0.7, 0.1, 10), *[0.693147] * 5]), "D/loss") == 11
    assert constant_since(log(D_loss=[0.31, 0.0009, *[0.0008] * 30]), "D/loss") is None, "almost 0"
    assert constant_since(log(G_loss=[*noise(3, 0.1, 10), *[16.118095] * 30]), "G/loss") is None, "a clipped logarithm"


# Kinds


def test_critic_is_recognised_by_its_losses() -> None:
    assert is_critic(log(D_loss=noise(-2, 0.5), G_loss=noise(1, 1)))
    assert is_critic(log(D_loss=np.abs(noise(0, 1e-9)), G_loss=noise(0.3, 0.01)))
    assert is_critic(log(D_loss=noise(8, 1), G_loss=noise(-20, 1))), "the estimated distance, printed positive"
    assert not is_critic(log(D_loss=noise(1.2, 0.1), G_loss=noise(-0.3, 0.2))), "a hinge loss"
    assert not is_critic(log(D_loss=np.abs(noise(0, 1e-9)), G_loss=noise(20, 0.1))), "cross-entropy, D wins"
    assert not is_critic(log(D_loss=noise(1e-4, 1e-5), G_loss=noise(0.5, 1e-3))), "least squares, D wins"
    assert not is_critic(log({"critic": False}, D_loss=noise(-2, 0.5)))


def test_silent_critic_printed_with_few_decimals() -> None:
    assert is_silent(log(D_loss=[-0.0, 0.0] * 15, G_loss=noise(-0.3, 0.01).round(4)))
    assert not is_silent(log(D_loss=noise(-0.01, 1e-3), G_loss=noise(-0.3, 0.01)))


# Time


def test_condition_mostly_holds_since_it_began() -> None:
    true = np.ones(100, bool)
    true[:20] = true[[40, 70, 98]] = False
    series = Series(np.arange(100.0), np.zeros(100))
    assert series.mostly_since(true, 10) == 20
    assert series.mostly_since(true, 78) is None
    true[90:] = False
    assert series.mostly_since(true, 10) is None, "it no longer holds"


def test_medians_of_neighbours_keep_the_ends() -> None:
    smooth = Series(np.arange(7.0), np.array([9.0, 1, 2, 100, 4, 5, 6])).smooth(3)
    assert smooth.value.tolist() == [9, 2, 2, 4, 5, 5, 6]
    assert len(Series(np.arange(9999.0), np.zeros(9999)).thinned()) <= 2000


# Quality


def test_most_trusted_measure_is_used_and_placeholders_are_not() -> None:
    quality = measured(log(**{"inception score": [1, 2, 3], "kid": [0.3, 0.2, 0.1], "fid": [0, 90, 50, 40]}))
    assert quality is not None
    assert (quality.name, quality.shown.value.tolist()) == ("fid", [90, 50, 40])
    assert measured(log(fid=[0, 0, -1])) is None


def test_direction_of_ms_ssim_depends_on_what_is_compared() -> None:
    columns: dict[str, Any] = {"ms-ssim": np.linspace(0.5, 0.2, 20)}
    alone, paired = measured(log(**columns)), measured(log(**columns, psnr=[20, 19]))
    assert alone is not None
    assert paired is not None
    assert alone.improved
    assert paired.worse


def test_quality_that_recovered_is_not_worse() -> None:
    quality = measured(log(fid=[90, 30, 10, 9, 9, 10, *[40] * 12, 30, 20, 11, 10, 9.5, 9.6]))
    assert quality is not None
    assert not quality.worse


def test_quality_has_the_last_word() -> None:
    falls, rises = np.geomspace(200, 10, 20), [*np.geomspace(200, 10, 10), *[40] * 10]
    assert severity_of(log(fid=falls), 5) is None
    assert severity_of(log(fid=rises), 5) == "failure"
    assert severity_of(log(fid=[10] * 20), 5) == "warning"
    assert severity_of(log(fid=falls), 25) == "warning", "not measured since"
    assert severity_of(log(), 5) == "warning"
    assert severity_of(log(), 5, sure=True) == "failure"
    assert severity_of(log(fid=[10] * 20), 5, sure=True) == "warning"
    assert severity_of(log(fid=[380] * 20), 5, sure=True) == "failure"
    assert severity_of(log(fid=falls), 25, sure=True) == "failure"
