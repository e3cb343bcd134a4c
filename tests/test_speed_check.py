"""A far too slow training gives a warning before the first step, with flags that fix it."""

import dataclasses
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from support import NARROW, tiny

from ganvas import networks
from ganvas.config import TrainConfig, replace
from ganvas.config.families import CNN, MLP, R3GAN
from ganvas.networks import FlopCounter, Shape
from ganvas.training import start
from ganvas.training.estimate import CostEstimate, estimate_cost, forward_flops
from ganvas.training.speed_check import format_speed_warning

SHAPE = Shape(3, 32, 32, 0)


def cost(config: TrainConfig) -> CostEstimate:
    g, d = forward_flops(config.network, SHAPE)
    return CostEstimate(0, 0, g, d, 0, 0, 0, 0, 0)


def test_fast_enough_training_gives_no_warning() -> None:
    config = replace(tiny(kimg=100.0), batch=60, snapshot_kimg=3.6)
    assert format_speed_warning(cost(config), config, SHAPE, 1.001) == ""
    assert "first images come after 1:00:36" in format_speed_warning(cost(config), config, SHAPE, 0.99)
    assert "a round of 60 images takes 1:02" in format_speed_warning(cost(config), config, SHAPE, 0.97)


def test_named_flags_fix_the_speed() -> None:
    """The r3gan recipe on two CPU cores, at the speed of its trial there."""
    config = dataclasses.replace(tiny(kimg=20000.0), network=R3GAN())
    config = replace(config, batch=512, microbatch=32, snapshot_kimg=None)
    warning = format_speed_warning(cost(config), config, SHAPE, 0.56)
    assert "a round of 512 images takes 15:14, and the first images come after 41 days" in warning
    flags = [shlex.split(line.partition(":")[0]) for line in warning.splitlines()[1:]]
    assert [words[0] for words in flags] == ["--batch", "--snapshot-kimg", "--width", "the"]
    batch, snapshot, width = (float(words[1]) for words in flags[:3])
    assert format_speed_warning(cost(config), replace(config, batch=int(batch), snapshot_kimg=1.0), SHAPE, 0.56) == ""
    narrow = replace(config, width=int(width))
    ratio = sum(forward_flops(config.network, SHAPE)) / sum(forward_flops(narrow.network, SHAPE))
    assert 512 / (0.56 * ratio) < 60
    assert snapshot * 1000 / 0.56 <= 3600
    assert "cnn-stable" in warning


def test_flags_of_widths_are_those_of_the_command_line() -> None:
    config = dataclasses.replace(tiny(), network=CNN())
    warning = format_speed_warning(cost(config), replace(config, batch=128), SHAPE, 0.56)
    assert "--g-width 16 --d-width 16: " in warning
    config = dataclasses.replace(config, network=MLP())
    assert "--g-widths 32 64 128 --d-widths 128 64: " in format_speed_warning(
        cost(config), replace(config, batch=128), SHAPE, 0.56
    )


@pytest.mark.parametrize("family", NARROW)
def test_forward_flops_equal_those_of_built_networks(family: str) -> None:
    for shape in (Shape(3, 16, 16, 3), Shape(1, 12, 10, 0)):
        G, D = networks.build(NARROW[family], shape)
        z, labels = torch.zeros(2, 6), torch.zeros(2, dtype=torch.long) if shape.classes else None
        with torch.no_grad():
            d_input = images = G.d_input(z, labels)
            with FlopCounter() as frozen:
                if D.frozen_input:
                    d_input = D.d_input(images)
        d_flops = networks.count_flops(D, d_input, labels) + frozen.total
        both = networks.count_flops(G, z, labels) // 2, d_flops // 2
        assert forward_flops(NARROW[family], shape) == both


def test_warning_comes_before_the_first_step_and_in_a_dry_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "measure_speed", lambda *_: 0.1)
    lines: list[str] = []
    found = start.plan(tiny(), lines.append)
    assert "a round of 20 images takes 3:20" in found["warning"]
    assert found["warning"] in lines[-1]

    def first_step(*_: Any) -> None:
        assert "a round of 20 images takes 3:20" in Path("runs/slow/log.txt").read_text()
        raise KeyboardInterrupt

    monkeypatch.setattr("ganvas.training.state.TrainState.train_round", first_step)
    with pytest.raises(KeyboardInterrupt):
        start.train(tiny(), name="slow", quiet=True)


def test_speed_of_a_huge_network_is_measured_by_forward_passes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    config, shape = tiny(), Shape(1, 8, 8)
    expensive = dataclasses.replace(estimate_cost(config, shape, torch.device("cpu")), g_flops=10**12, d_flops=10**12)
    monkeypatch.setattr("ganvas.training.state.TrainState.train_round", lambda *_: pytest.fail("a round takes minutes"))
    assert start.measure_speed(expensive, config, shape, torch.device("cpu")) > 0
