"""On a GPU: every family trains, resumes, samples and is evaluated as on the CPU.

GANVAS_TEST_DEVICE names another device, such as cpu, which is then compared with itself.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from support import BATCH_NORM_IN_D, NARROW, tiny

import ganvas
from ganvas import devices
from ganvas.config import replace
from ganvas.runs import checkpoint
from ganvas.runs.folder import Run
from ganvas.runs.log import read_jsonl
from ganvas.training.start import train

DEVICE = os.environ.get("GANVAS_TEST_DEVICE", "cuda")

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(DEVICE.startswith("cuda") and not torch.cuda.is_available(), reason="no CUDA GPU here"),
]


@pytest.fixture(autouse=True)
def _exact() -> Iterator[None]:
    """Convolutions in full float32, with deterministic algorithms."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic
    torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic = False, True
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic = before


@pytest.fixture
def data(write_images: Callable[..., Path]) -> Path:
    return write_images(60, 16, 16, 3, classes=3)


def losses(run: Run) -> dict[str, list[float]]:
    """The mean of each network's loss in each tick."""
    ticks = list(read_jsonl(run.path / "stats.jsonl"))
    return {name: [tick[name]["mean"] for tick in ticks if name in tick] for name in ("D/loss", "G/loss")}


@pytest.mark.parametrize("family", NARROW)
def test_two_rounds_of_each_family_equal_those_on_the_cpu(family: str, data: Path) -> None:
    config = replace(tiny(data, family=family, kimg=0.04, r1=0.0, r2=0.0), tick_kimg=0.02, evaluate_every=0.0)
    if family not in BATCH_NORM_IN_D:
        config = replace(config, r1=0.1, r2=0.1)
    here, there = (train(replace(config, device=device), name=device, quiet=True) for device in (DEVICE, "cpu"))
    ours, theirs = losses(here), losses(there)
    for name in theirs:
        assert len(ours[name]) == 2
        assert np.isfinite(ours[name]).all()
        if family != "stylegan":  # each device draws its own noise
            assert ours[name] == pytest.approx(theirs[name], rel=1e-3, abs=1e-4), name


@pytest.mark.parametrize(
    "knobs",
    [
        {"augment": "ada", "ada_target": 0.6, "objective": "non-saturating", "conditional": True},
        {"augment": "diffaugment", "noise": "0.1..0", "penalty_every": 2},
        {"objective": "wasserstein", "r1": 0.0, "r2": 0.0, "gp": 10.0, "d_steps": 2},
        {"objective": "hinge", "r1": 0.0, "r2": 0.0, "spectral_norm": True, "microbatch": 10},
    ],
    ids=lambda knobs: "-".join(str(value) for value in knobs.values()),
)
def test_training_options_give_finite_losses(knobs: dict[str, object], data: Path) -> None:
    config = replace(tiny(data, family="resnet", kimg=0.08), g_norm="none", device=DEVICE, **knobs)
    found = losses(train(config, quiet=True))
    assert len(found["D/loss"]) >= 1
    assert all(np.isfinite(values).all() for values in found.values())


@pytest.mark.parametrize("family", ["mlp", "cnn", "r3gan"])
def test_resumed_run_equals_uninterrupted_run(family: str, data: Path) -> None:
    config = replace(tiny(data, family=family, kimg=0.08), g_lr=1e-3, snapshot_kimg=0.04, device=DEVICE)
    whole = train(config, name="whole", quiet=True)
    half = train(replace(config, kimg=0.04), name="parts", quiet=True)
    before = checkpoint.load(half.state_file)[0]
    parts = train(config, name="parts", quiet=True)
    ours, theirs = checkpoint.load(parts.state_file)[0], checkpoint.load(whole.state_file)[0]
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert torch.allclose(ours[name], tensor, atol=1e-5), name
    assert any((before[name] - tensor).abs().max() > 1e-4 for name, tensor in theirs.items() if name.startswith("G"))


@pytest.mark.parametrize("family", ["mlp", "cnn", "r3gan", "stylegan", "projected"])
def test_compiled_training_equals_uncompiled_training(family: str, data: Path) -> None:
    """From the third round on, the graphs that were recorded in the second are replayed."""
    penalty = 0.0 if family in BATCH_NORM_IN_D else 0.1
    config = replace(tiny(data, family=family, kimg=0.12, r1=penalty, r2=penalty), tick_kimg=0.02, device=DEVICE)
    config = replace(config, evaluate_every=0.0, g_lr=1e-4, d_lr=1e-4)
    compiled, eager = (train(replace(config, compile=mode), name=mode, quiet=True) for mode in ("on", "off"))
    assert "not compiled" not in (compiled.path / "log.txt").read_text()
    ours, theirs = losses(compiled), losses(eager)
    for name in theirs:
        assert len(ours[name]) == 6
        assert ours[name] == pytest.approx(theirs[name], rel=2e-2, abs=1e-2), name


@pytest.mark.parametrize("family", ["mlp", "cnn", "vit", "r3gan"])
def test_same_seeds_give_the_same_images(family: str, data: Path) -> None:
    run = train(replace(tiny(data, family=family, kimg=0.04), device=DEVICE), quiet=True)
    here, there = (ganvas.load(run, device=device).sample(seeds=range(100)) for device in (DEVICE, "cpu"))
    difference = np.abs(here.astype(int) - there.astype(int))
    assert here.std() > 0
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01  # only where rounding differs


def test_evaluation_equals_that_on_the_cpu(data: Path) -> None:
    run = train(replace(tiny(data, family="cnn", kimg=0.04), device=DEVICE), quiet=True)
    here, there = (ganvas.evaluate(run, count=30, quick=True, device=device) for device in (DEVICE, "cpu"))
    assert here.values.keys() == there.values.keys()
    for name, value in there.values.items():
        assert here.values[name].value == pytest.approx(value.value, rel=5e-3, abs=1e-3), name


def test_auto_selects_this_device_and_its_memory_is_logged(data: Path) -> None:
    run = train(replace(tiny(data, family="cnn", kimg=0.08), device="auto"), quiet=True)
    chosen = devices.select_device("auto")
    assert chosen.type == (DEVICE.partition(":")[0] if torch.cuda.is_available() else "cpu")
    done = next(event for event in read_jsonl(run.path / "events.jsonl") if event["event"] == "done")
    least = 4 * sum(tensor.numel() for tensor in checkpoint.load(run.state_file)[0].values())
    assert least < done["peak_bytes"] < 100 * 2**30
    assert devices.free_bytes(chosen) > 2**20
    assert all(tick["memory"] > 0 for tick in read_jsonl(run.path / "stats.jsonl"))
