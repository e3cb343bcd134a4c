"""Every network × objective × regularisation of D trains for two rounds; at four shapes; a run on real images."""

import dataclasses
import os
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from support import NARROW, tiny

from ganvas.config import LossConfig, Network, TrainConfig, replace
from ganvas.errors import GanvasError
from ganvas.game.objectives import OBJECTIVES
from ganvas.networks import Shape
from ganvas.runs.log import read_jsonl
from ganvas.sampling import load
from ganvas.training.start import train
from ganvas.training.state import TrainState

SHAPE, *MORE_SHAPES = Shape(3, 16, 16, 3), Shape(1, 8, 8), Shape(1, 28, 28), Shape(4, 24, 16, 3)
PAIRS: dict[str, Network] = {
    **NARROW,
    "resnet-residual": replace(NARROW["resnet"], blocks="residual"),
    "dcgan-none": replace(NARROW["dcgan"], g_norm="none", d_norm="none"),
}
REGULARISATION: list[dict[str, object]] = [
    {},
    {"r1": 0.5},
    {"r1": 0.5, "r2": 0.5},
    {"gp": 10.0},
    {"dragan": 10.0},
    {"clip": 0.1},  # at 0.01 the output of such narrow networks vanishes
    {"spectral_norm": True},
]


def valid_config(pair: Network, objective: str, regularisation: dict[str, object]) -> TrainConfig | None:
    """The configuration, or None after checking that an invalid one is refused."""
    config = dataclasses.replace(tiny(), network=pair, loss=LossConfig())
    batch_norm = pair.family == "projected" or getattr(pair, "d_norm", "") == "batch"
    refused = (batch_norm and regularisation.keys() & {"r1", "gp", "dragan"}) or (
        ("spectral_norm" in regularisation and pair.family in ("stylegan", "msg", "r3gan"))
        or ("clip" in regularisation and pair.family in ("stylegan", "msg"))
    )
    if not refused:
        return replace(config, objective=objective, batch=4, g_lr=1e-3, penalty_every=2, **regularisation)
    with pytest.raises(GanvasError):
        replace(config, objective=objective, batch=4, **regularisation)
    return None


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Networks this small are slower on several threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    ("objective", "shape"),
    [
        *((objective, SHAPE) for objective in OBJECTIVES),
        *((next(iter(OBJECTIVES)), shape) for shape in MORE_SHAPES),
        *(pytest.param(*case, marks=pytest.mark.exhaustive) for case in product([*OBJECTIVES][1:], MORE_SHAPES)),
    ],
    ids=lambda value: value if isinstance(value, str) else "x".join(map(str, value)),
)
@pytest.mark.parametrize("name", PAIRS)
def test_two_rounds_update_the_networks(name: str, objective: str, shape: Shape) -> None:
    """Each objective with two kinds of regularisation, others for each pair; with every kind it is exhaustive."""
    at = [*PAIRS].index(name) + [*OBJECTIVES].index(objective)
    update_networks(name, objective, shape, [REGULARISATION[at % 7], REGULARISATION[(at + 3) % 7]])


@pytest.mark.exhaustive
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("name", PAIRS)
def test_two_rounds_update_the_networks_with_every_regularisation(name: str, objective: str) -> None:
    update_networks(name, objective, SHAPE, REGULARISATION)


def update_networks(name: str, objective: str, shape: Shape, chosen: list[dict[str, object]]) -> None:
    labels = torch.arange(4) % 3 if shape.classes else None
    images = torch.randint(0, 256, (4, *shape[:3]), dtype=torch.uint8)
    for regularisation in chosen:
        config = valid_config(PAIRS[name], objective, regularisation)
        if config is None:
            continue
        config = replace(config, conditional=shape.classes > 0)
        state = TrainState.build(config, shape, torch.device("cpu"))
        before = {name: [p.clone() for p in state.parts[name].parameters()] for name in ("G", "D", "ema")}  # type: ignore[union-attr]
        for i, penalised in enumerate((True, False)):
            stats, norms = state.train_round([(images, labels)], 4 * i)
            assert ("D/r1" in stats) == (penalised and "r1" in regularisation), "penalty every other round"
            assert ("D/gp" in stats, "D/dragan" in stats) == (
                penalised and "gp" in regularisation,
                penalised and "dragan" in regularisation,
            )
            assert all(len(value) % 4 == 0 and torch.isfinite(value).all() for value in stats.values())
            assert all(norm >= 0 and torch.isfinite(norm) for norm in norms.values())
        for part, old in before.items():
            new = list(state.parts[part].parameters())  # type: ignore[union-attr]
            changed = sum(not torch.equal(a, b) for a, b in zip(old, new, strict=True))
            assert changed >= 0.7 * len(old), (part, changed, len(old), regularisation)
        assert all(p.grad is None for part in ("G", "D") for p in state.parts[part].parameters())  # type: ignore[union-attr]


def test_lazy_penalty_has_the_strength_of_a_regular_one() -> None:
    """Computed every k rounds, the penalty has a k times larger gradient."""
    images = torch.randint(0, 256, (20, 1, 8, 8), dtype=torch.uint8)
    gradients = {}
    for every, gamma in ((1, 0.0), (1, 1.0), (4, 1.0)):
        config = replace(tiny(), penalty_every=every, r1=gamma, r2=gamma)
        state = TrainState.build(config, Shape(1, 8, 8), torch.device("cpu"))
        kept = []
        state._step = lambda adam, network, lr, beta2, kept=kept: (  # type: ignore[method-assign]
            kept.append([p.grad.clone() for p in network.parameters() if p.grad is not None]),
            adam.zero_grad(),
            torch.tensor(0.0),
        )[-1]
        state.train_round([(images, None)], 0)
        gradients[every, gamma] = torch.cat([g.flatten() for g in kept[0]])
    once, four_times = (gradients[every, 1.0] - gradients[1, 0.0] for every in (1, 4))
    assert once.abs().max() > 1e-3
    assert torch.allclose(four_times, 4 * once, atol=1e-6)


REAL = os.environ.get("GANVAS_TEST_DATA")


@pytest.mark.slow
@pytest.mark.skipif(REAL is None, reason="GANVAS_TEST_DATA names no folder of real images")
@pytest.mark.parametrize(
    ("data", "knobs", "shape"),
    [
        ("mnist", {}, (1, 28, 28)),
        pytest.param(
            "cifar10-test.zip", {"conditional": True, "mirror": True}, (3, 32, 32), marks=pytest.mark.exhaustive
        ),
        ("kaokore-faces-128.zip", {"resolution": "40x32", "balanced": True}, (3, 40, 32)),
        ("celeba_aligned_first32.zip", {"resolution": "24", "channels": 1, "fit": "pad"}, (1, 24, 24)),
    ],
)
def test_run_on_real_images(data: str, knobs: dict[str, object], shape: tuple[int, ...]) -> None:
    run = train(replace(tiny(Path(REAL or "") / data, family="cnn", kimg=0.4), **knobs), quiet=True)
    sampled = load(run).sample(seeds=range(10))
    assert sampled.shape == (10, *shape)
    assert sampled.dtype == np.uint8
    assert sampled.std() > 1
    assert list(read_jsonl(run.path / "stats.jsonl"))[-1]["nimg"] == 400
