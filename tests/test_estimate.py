"""The cost of a run is estimated before it starts, and is about right."""

import dataclasses
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
from support import NARROW, run_cli, tiny

from ganvas import devices
from ganvas.config import replace
from ganvas.config.families import CNN
from ganvas.errors import GanvasError
from ganvas.networks import Shape, build, count_parameters
from ganvas.recipes import RECIPES
from ganvas.training import estimate as estimating
from ganvas.training.estimate import CostEstimate, check_memory, choose_threads, estimate_cost, measure_speed
from ganvas.training.start import train

CPU = torch.device("cpu")
SHAPE = Shape(3, 16, 16, 3)


@pytest.mark.parametrize("family", NARROW)
def test_cost_of_every_family_is_estimated(family: str) -> None:
    config = replace(tiny(family=family, r1=0.0, r2=0.0), conditional=True)
    cost = estimate_cost(config, SHAPE, CPU)
    assert (cost.g_parameters, cost.d_parameters) == tuple(map(count_parameters, build(config.network, SHAPE)))
    assert cost.g_flops > cost.g_parameters / 4
    assert cost.bytes_per_image > 4 * 3 * 16 * 16, "at least the image itself"
    fixed = cost.persistent_bytes - 4 * (4 * cost.g_parameters + 3 * cost.d_parameters)
    assert (2e6 < fixed < 1e7) if family == "projected" else (0 <= fixed < 1e5), "the eye has 0.6 million weights"
    assert cost.peak_bytes < 1e8 < cost.free_bytes


def test_memory_grows_with_the_images_per_pass_and_with_penalties() -> None:
    config = replace(tiny(family="cnn", r1=0.0, r2=0.0), batch=100)
    whole, parts = (estimate_cost(replace(config, microbatch=m), SHAPE, CPU) for m in (None, 10))
    assert (whole.images_per_pass, parts.images_per_pass) == (100, 10)
    assert whole.peak_bytes - parts.peak_bytes == pytest.approx(90 * whole.bytes_per_image, abs=2)
    assert estimate_cost(replace(config, r1=1.0, r2=1.0), SHAPE, CPU).bytes_per_image > 1.2 * whole.bytes_per_image


def test_memory_is_enough_for_the_penalties_of_a_correction() -> None:
    config = replace(tiny(family="cnn", r1=0.0, r2=0.0), on_failure="stop")
    penalised = estimate_cost(replace(config, r1=1.0, r2=1.0), SHAPE, CPU)
    assert estimate_cost(config, SHAPE, CPU).bytes_per_image < penalised.bytes_per_image
    for how in ("correct", "rollback"):
        cost = estimate_cost(replace(config, on_failure=how), SHAPE, CPU)
        assert cost.bytes_per_image == penalised.bytes_per_image
    batch_norm = replace(tiny(family="dcgan", r1=0.0, r2=0.0), on_failure="correct")
    assert estimate_cost(batch_norm, SHAPE, CPU).bytes_per_image > 0, "it is corrected without penalties"


def test_memory_is_what_the_graph_holds() -> None:
    """Against the bytes by hand: a linear D keeps its input, the logits' inputs and no more."""
    config = replace(tiny(r1=0.0, r2=0.0), shared_fakes=True)
    config = replace(config, g_widths=(512,), d_widths=(2048,))
    cost = estimate_cost(config, Shape(1, 8, 8), CPU)
    kept_by_d = 2 * (64 + 2 * 2048)  # per image, real and fake: its input; before or behind LeakyReLU
    kept_by_g = 6 + 2 * 512 + 64
    assert cost.bytes_per_image / estimating.BACKWARD_OVERHEAD / 4 == pytest.approx(kept_by_d + kept_by_g, rel=0.5)


def test_matched_moments_and_their_graph_count() -> None:
    config = replace(tiny(family="projected", r1=0.0, r2=0.0), g_width=4)
    without, matched = (estimate_cost(replace(config, moments=weight), SHAPE, CPU) for weight in (0.0, "0..1"))
    assert matched.persistent_bytes > without.persistent_bytes + 4 * 4 * 256**2, "a basis for each of four maps"
    assert matched.bytes_per_image > 1.02 * without.bytes_per_image


def test_batch_that_does_not_fit_is_refused_with_one_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(tiny(family="cnn"), batch=512)
    needed = estimate_cost(config, Shape(1, 28, 28), CPU)
    monkeypatch.setattr(estimating, "free_bytes", lambda device: needed.peak_bytes // 2)
    with pytest.raises(GanvasError, match=r"--microbatch \d+ keeps the batch") as refused:
        check_memory(estimate_cost(config, Shape(1, 28, 28), CPU))
    fits = int(refused.value.fix.split()[1])
    assert 100 < fits < 256
    check_memory(estimate_cost(replace(config, batch=fits), Shape(1, 28, 28), CPU))
    with pytest.raises(GanvasError, match="memory"):
        check_memory(estimate_cost(replace(config, batch=math.ceil(1.2 * fits)), Shape(1, 28, 28), CPU))
    monkeypatch.setattr(estimating, "free_bytes", lambda device: 1000)
    with pytest.raises(GanvasError, match="memory"):
        train(config, name="big", quiet=True)
    assert not Path("runs/big").exists(), "refused before anything is written"


def test_images_that_fit_are_whole_groups_of_the_minibatch_standard_deviation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cost = CostEstimate(1, 1, 1, 1, 0, 100.0, 0.0, 64, 3500, images_per_group=4)
    with pytest.raises(GanvasError) as refused:
        check_memory(cost)
    assert cost.fitting_images == 28, "31 would fit"
    assert refused.value.fix.startswith("--batch 28 would fit; --microbatch 28 keeps the batch and its gradients")
    assert [cost.in_groups(images) for images in (3, 4, 7, 8)] == [3, 4, 4, 8]
    with pytest.raises(GanvasError) as refused:
        check_memory(dataclasses.replace(cost, accumulates=False))
    assert refused.value.fix == "--batch 28 would fit."
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(GanvasError) as refused:
        check_memory(cost)
    assert refused.value.fix.startswith("--batch 56 would fit; --microbatch 28 keeps"), "the batch is that of both"


@pytest.mark.parametrize(("family", "group"), [("stylegan", 4), ("msg", 4), ("cnn", 1)])
def test_cost_knows_the_groups_of_d(family: str, group: int) -> None:
    cost = estimate_cost(tiny(family=family), Shape(1, 8, 8), CPU)
    assert cost.images_per_group == group
    assert cost.accumulates
    assert not estimate_cost(replace(tiny(family=family), objective="rahinge"), Shape(1, 8, 8), CPU).accumulates


def test_networks_that_never_fit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimating, "free_bytes", lambda device: 1000)
    with pytest.raises(GanvasError, match="not fit with a single image"):
        check_memory(estimate_cost(tiny(), Shape(1, 8, 8), CPU))


@pytest.mark.parametrize("recipe", ["fast", "cnn", "stylegan"])
def test_networks_that_never_fit_are_not_made(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimating, "free_bytes", lambda device: 10**8)
    initialised: list[int] = []
    for name in ("uniform_", "normal_"):
        real = getattr(torch.Tensor, name)
        monkeypatch.setattr(
            torch.Tensor, name, lambda t, *a, f=real, **k: initialised.append(t.numel()) or f(t, *a, **k)
        )
    for width in (10**6, 10**9):
        network = {"fast": {"g_width": 4, "d_width": width, "features_net": "eye"}, "cnn": {"d_width": width}}
        config = replace(RECIPES[recipe].config, **network.get(recipe, {"width": width}))
        with pytest.raises(GanvasError, match="not fit with a single image"):
            estimate_cost(config, Shape(1, 8, 8), CPU)
    assert max(initialised) * 4 < 10**8


def test_graph_that_does_not_fit_is_not_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(RECIPES["fast"].config, g_width=4, d_width=4, pixel_width=10**5, features_net="eye")
    needed = estimate_cost(config, Shape(1, 8, 8), CPU)
    monkeypatch.setattr(estimating, "free_bytes", lambda device: 2 * needed.persistent_bytes)
    with pytest.raises(GanvasError, match="not fit with a single image"):
        estimate_cost(config, Shape(1, 8, 8), CPU)


def test_free_memory_is_shared_by_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = estimating.free_bytes(CPU)
    assert 0 < alone <= psutil.virtual_memory().total
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert estimating.free_bytes(CPU) == pytest.approx(alone / 4, rel=0.2)


def test_cached_files_of_a_container_are_free_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after decoding a data set, whose file the kernel keeps in memory until it needs the memory."""
    monkeypatch.setattr(devices, "CONTROL_GROUP", tmp_path)
    mib = 2**20
    (tmp_path / "memory.current").write_text(f"{90 * mib}\n")
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.stat").write_text(
        f"anon {30 * mib}\nfile {60 * mib}\ninactive_file {40 * mib}\nactive_file {20 * mib}\n"
    )
    assert estimating.free_bytes(CPU) > 100 * mib, "without a limit"
    (tmp_path / "memory.max").write_text(f"{100 * mib}\n")
    assert estimating.free_bytes(CPU) == 70 * mib


def test_speed_is_measured_on_a_few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = []
    one_round = estimating.TrainState.train_round

    def record_round(self: Any, batches: Any, nimg: int) -> Any:
        rounds.append((len(batches), len(batches[0][0])))
        return one_round(self, batches, nimg)

    monkeypatch.setattr(estimating.TrainState, "train_round", record_round)
    monkeypatch.setattr(estimating, "TRIAL_ROUNDS", 3)
    config = replace(tiny(), d_steps=2)
    cost = estimate_cost(config, Shape(1, 8, 8), CPU)
    assert measure_speed(cost, config, Shape(1, 8, 8), CPU) > 0
    assert rounds == [(2, 20)] * 4
    rounds.clear()
    expensive = dataclasses.replace(cost, g_flops=10**9, d_flops=10**9)
    assert measure_speed(expensive, config, Shape(1, 8, 8), CPU) > 0
    assert rounds == [(2, 5)] * 4, "2e11 operations over two updates of ten passes"


@pytest.mark.parametrize("length", [{"kimg": 0.2}, {"minutes": 10.0}], ids=["kimg", "minutes"])
@pytest.mark.parametrize(("d_steps", "seconds"), [(1, 0.15), (3, 0.25), (4, 0.3), (6, 0.4)])
def test_trial_counts_penalties_as_often_as_a_run_has_them(
    monkeypatch: pytest.MonkeyPatch, length: dict[str, float], d_steps: int, seconds: float
) -> None:
    """A round of 0.1 s, and 0.2 s for each update of D with penalties, which is every fourth."""
    rounds: list[float] = []
    monkeypatch.setattr(estimating, "time", SimpleNamespace(perf_counter=lambda: sum(rounds)))

    def timed_round(state: Any, batches: Any, nimg: int) -> tuple[dict[str, Any], dict[str, Any]]:
        updates = range(nimg // 20, nimg // 20 + d_steps)
        rounds.append(0.1 + 0.2 * sum(update % 4 == 0 for update in updates))
        assert d_steps == 4 or state.plan.fraction_at(nimg) == 1, "at full size"
        return {}, {"D/gradient": torch.zeros(1)}

    monkeypatch.setattr(estimating.TrainState, "train_round", timed_round)
    config = replace(tiny(r1=1.0, penalty_every=4), d_steps=d_steps, **length)
    cost = estimate_cost(config, Shape(1, 8, 8), CPU)
    for count in (1, 3):
        monkeypatch.setattr(estimating, "TRIAL_ROUNDS", count)
        rounds.clear()
        assert measure_speed(cost, config, Shape(1, 8, 8), CPU) == pytest.approx(20 * d_steps / seconds)
        assert len(rounds) == 1 + count
        assert len(set(rounds)) == (1 if d_steps == 4 else 2)


def test_trial_of_fewer_images_has_no_last_microbatch_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batch norm fails on one image."""
    config = replace(tiny(), g_norm="batch", microbatch=4)
    cost = dataclasses.replace(estimate_cost(config, Shape(1, 8, 8), CPU), g_flops=10**9, d_flops=10**9)
    monkeypatch.setattr(estimating, "TRIAL_FLOPS", 10.0**11)  # enough for five images
    assert measure_speed(cost, config, Shape(1, 8, 8), CPU) > 0


def test_threads_depend_on_the_work_of_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 6)
    small, large = tiny(), replace(tiny(), batch=512)
    large = replace(large, g_widths=(4096,), d_widths=(4096,))
    few, many = (choose_threads(estimate_cost(config, Shape(1, 28, 28), CPU)) for config in (small, large))
    assert few == 1
    assert many == 6


@pytest.mark.slow
def test_dry_run_prints_the_cost_and_writes_nothing() -> None:
    plan = json.loads(run_cli("train", "cnn", "--data", "digits", "--batch", "16", "--dry-run", "--json").stdout)
    assert plan["parameters"]["G"] > 0
    assert plan["seconds"] == pytest.approx(plan["config"]["kimg"] * 1000 / plan["images_per_s"])
    assert plan["memory_bytes"]["needed"] < plan["memory_bytes"]["free"]
    assert plan["config"]["network"]["g_width"] == CNN().g_width
    output = run_cli("train", "digits", "--dry-run").stdout
    for word in ("1,400 images", "parameters", "memory", "images/s in a trial", "--objective", "--g-lr"):
        assert word in output
    assert not Path("runs").exists()


def test_long_times_are_in_days_and_slow_speeds_are_not_0() -> None:
    config = replace(tiny(), kimg=1e6)
    cost = estimate_cost(config, Shape(1, 8, 8), CPU)
    assert "0.5 images/s in a trial: 23,148 days for 1e+06 kimg" in estimating.format_cost(cost, config, 0.5)
    assert "1:00:00" in estimating.format_cost(cost, replace(config, kimg=360), 100.0)
