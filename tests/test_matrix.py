"""Every network × objective × penalty × classes takes two rounds at 16×16; a run on real pictures."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from trying import tiny

from ganvas.config import replace
from ganvas.game.objectives import OBJECTIVES
from ganvas.networks import NETWORKS, Shape
from ganvas.runs.log import read_lines
from ganvas.training.players import Players
from ganvas.training.start import train

PENALTIES = [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.5, 0.5)]


@pytest.mark.parametrize("family", NETWORKS)
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize(("r1", "r2"), PENALTIES)
@pytest.mark.parametrize("classes", [0, 3])
def test_two_rounds(family: str, objective: str, r1: float, r2: float, classes: int) -> None:
    config = replace(tiny(family=family), objective=objective, r1=r1, r2=r2, conditional=classes > 0, penalty_every=2)
    players = Players.seat(config, Shape(3, 16, 16, classes), torch.device("cpu"))
    before = {name: [p.clone() for p in players.parts[name].parameters()] for name in ("G", "D", "ema")}  # type: ignore[union-attr]
    images, labels = torch.randint(0, 256, (20, 3, 16, 16), dtype=torch.uint8), torch.arange(20) % 3
    for i, penalised in enumerate((True, False)):
        seen, norms = players.round(images, labels, 20 * i)
        assert ("D/r1" in seen) == (penalised and r1 + r2 > 0), "a penalty every other round"
        assert all(value.shape == (20,) and torch.isfinite(value).all() for value in seen.values())
        assert all(norm > 0 and torch.isfinite(norm) for norm in norms.values())
    for name, old in before.items():
        new = list(players.parts[name].parameters())  # type: ignore[union-attr]
        assert sum(not torch.equal(a, b) for a, b in zip(old, new, strict=True)) >= len(old) - 1, name
    assert all(p.grad is None for name in ("G", "D") for p in players.parts[name].parameters())  # type: ignore[union-attr]


def test_a_lazy_penalty_has_the_strength_of_a_steady_one() -> None:
    """Every k rounds, the penalty's gradient is k times as large."""
    images = torch.randint(0, 256, (20, 1, 8, 8), dtype=torch.uint8)
    gradients = {}
    for every, gamma in ((1, 0.0), (1, 1.0), (4, 1.0)):
        config = replace(tiny(), penalty_every=every, r1=gamma, r2=gamma)
        players = Players.seat(config, Shape(1, 8, 8), torch.device("cpu"))
        kept = []
        players._step = lambda adam, player, lr, beta2, kept=kept: (  # type: ignore[method-assign]
            kept.append([p.grad.clone() for p in player.parameters()]),
            adam.zero_grad(),
            torch.tensor(0.0),
        )[-1]
        players.round(images, None, 0)
        gradients[every, gamma] = torch.cat([g.flatten() for g in kept[0]])
    once, four_times = (gradients[every, 1.0] - gradients[1, 0.0] for every in (1, 4))
    assert once.abs().max() > 1e-3
    assert torch.allclose(four_times, 4 * once, atol=1e-6)


REAL = os.environ.get("GANVAS_TEST_DATA")


@pytest.mark.slow
@pytest.mark.skipif(REAL is None, reason="GANVAS_TEST_DATA names no folder of real pictures")
@pytest.mark.parametrize(
    ("data", "knobs", "shape"),
    [
        ("mnist", {}, (1, 28, 28)),
        ("cifar10-test.zip", {"conditional": True, "mirror": True}, (3, 32, 32)),
        ("kaokore-faces-128.zip", {"resolution": "40x32", "balanced": True}, (3, 40, 32)),
        ("celeba_aligned_first32.zip", {"resolution": "24", "channels": 1, "fit": "pad"}, (1, 24, 24)),
    ],
)
def test_a_run_on_real_pictures(data: str, knobs: dict[str, object], shape: tuple[int, ...]) -> None:
    run = train(replace(tiny(Path(REAL or "") / data, family="cnn", kimg=0.4), **knobs), quiet=True)
    drawn = run.sample(seeds=range(10))
    assert drawn.shape == (10, *shape)
    assert drawn.dtype == np.uint8
    assert drawn.std() > 1
    assert list(read_lines(run.path / "stats.jsonl"))[-1]["nimg"] == 400
