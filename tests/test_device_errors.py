"""A training whose GPU has no memory left, or lacks an operation: nothing is lost, and it says how to go on."""

from pathlib import Path
from typing import Any

import pytest
import torch
from support import call_cli, tiny
from test_devices import MISSING, pretend

from ganvas import cli, devices
from ganvas.config import TrainConfig, replace
from ganvas.errors import GanvasError
from ganvas.game import moves
from ganvas.runs.folder import Run
from ganvas.training.distributed import local_device
from ganvas.training.start import plan, train
from ganvas.training.state import TrainState

WEIGHTS = "G.safetensors"
FULL = torch.OutOfMemoryError(
    "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 4.00 GiB of which 1 MiB is free. "
    "If reserved but unallocated memory is large try setting PYTORCH_ALLOC_CONF=expandable_segments:True."
)
FULL_MPS = RuntimeError(
    "MPS backend out of memory (MPS allocated: 1 GiB, allowed: 2 GiB). Tried to allocate 20.00 MiB on private pool. "
    "Use PYTORCH_MPS_HIGH_WATERMARK_RATIO=0.0 to disable upper limit for memory allocations."
)


def fail(patch: pytest.MonkeyPatch, error: Exception, after: int = 0) -> None:
    """Rounds raise an error after this many images."""
    whole = TrainState.train_round

    def train_round(self: TrainState, batches: Any, nimg: int) -> object:
        if nimg >= after:
            raise error
        return whole(self, batches, nimg)

    patch.setattr(TrainState, "train_round", train_round)
    patch.setattr("ganvas.training.start.measure_speed", lambda *_: 1000.0)


def failed_training(config: TrainConfig) -> GanvasError:
    with pytest.raises(GanvasError) as caught:
        train(config, name="run", quiet=True)
    return caught.value


@pytest.mark.parametrize("error", [FULL, FULL_MPS], ids=["cuda", "mps"])
def test_full_memory_names_a_microbatch_and_loses_nothing(error: Exception) -> None:
    """The same command goes on as if nothing had happened; or another run does, with the microbatch."""
    config = tiny()
    with pytest.MonkeyPatch.context() as patch:
        fail(patch, error, after=140)
        caught = failed_training(config)
    run = Run(Path("runs/run"))
    assert "no memory left with 20 images at a time" in caught.what
    assert "out of memory" in caught.what
    assert "Tried to allocate 20.00 MiB" in caught.what
    assert "PYTORCH" not in caught.what
    assert "the state of 0.1 kimg stays intact" in caught.what
    assert "--microbatch 10" in caught.fix
    assert f"--from {run}" in caught.fix
    other = train(replace(config, microbatch=10, init_from=str(run)), name="other", quiet=True)
    assert other.progress()["state"] == "complete"
    resumed, whole = (train(config, name=name, quiet=True) for name in ("run", "whole"))
    assert (resumed.latest_snapshot / WEIGHTS).read_bytes() == (whole.latest_snapshot / WEIGHTS).read_bytes()


def test_full_memory_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    fail(monkeypatch, FULL)
    caught = failed_training(tiny())
    assert "there was nothing to save yet" in caught.what
    assert caught.fix.startswith("start a new run with --microbatch 10")


def test_full_memory_with_an_objective_of_the_whole_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    fail(monkeypatch, FULL)
    config = replace(tiny(), objective="rahinge")
    assert failed_training(config).fix == "start a new run with --batch 10."
    with pytest.raises(GanvasError) as caught:
        train(replace(config, batch=2), quiet=True)
    assert "narrower networks" in caught.value.fix


def test_full_memory_in_a_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_out(*_: object) -> float:
        raise FULL

    monkeypatch.setattr("ganvas.training.start.measure_speed", run_out)
    with pytest.raises(GanvasError, match="no memory left with 20 images at a time") as caught:
        plan(tiny())
    assert "--microbatch 10" in caught.value.fix


def test_a_missing_operation_ends_a_training_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    fail(monkeypatch, NotImplementedError(MISSING.format(operator="thing", kind="MPS")))
    caught = failed_training(tiny())
    assert "aten::thing on MPS" in caught.what
    assert "PYTORCH_ENABLE_MPS_FALLBACK=1" in caught.fix


def test_a_missing_operation_of_a_rare_round_is_told_before_the_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """R1 is due in every fourth round: the first three would do without what it needs."""
    config = replace(tiny(), r1=1.0, penalty_every=4)
    assert config.total_images > 4 * config.images_per_round

    train_round = TrainState.train_round

    def play(self: TrainState, batches: Any, nimg: int) -> object:  # the estimate of memory is made on the CPU
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(moves, "zero_centred_penalty", lack)
            return train_round(self, batches, nimg)

    def lack(*_: object) -> None:
        raise NotImplementedError(MISSING.format(operator="thing", kind="MPS"))

    monkeypatch.setattr(TrainState, "train_round", play)
    monkeypatch.setattr("ganvas.training.start.measure_speed", lambda *_: 1000.0)
    monkeypatch.setattr(devices, "may_lack_operations", lambda device: True)
    assert "aten::thing on MPS" in failed_training(config).what
    assert not Run(Path("runs/run")).grids  # nor the first one, of untrained networks


def test_other_errors_of_a_round_stay_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    fail(monkeypatch, RuntimeError("a bug"))
    with pytest.raises(RuntimeError, match="a bug"):
        train(tiny(), quiet=True)


def test_a_missing_operation_ends_any_command_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def lack(**_: object) -> None:
        raise NotImplementedError(MISSING.format(operator="thing", kind="MPS"))

    monkeypatch.setitem(cli.COMMANDS, "runs", lack)
    result = call_cli("runs", check=1)
    assert "cannot compute aten::thing on MPS" in result.stderr
    assert "PYTORCH_ENABLE_MPS_FALLBACK=1" in result.stderr


@pytest.mark.parametrize("kind", ["xpu", "mps"])
def test_several_processes_need_cuda_or_the_cpu(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, xpu=2, mps=True)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(GanvasError, match=f"2 processes on the device {kind}"):
        local_device(kind)
    assert local_device("auto").type == "cpu"
