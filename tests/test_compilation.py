"""Compiled training: its gradients are those of eager training, penalties included; what cannot be compiled is said."""

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support import BATCH_NORM_IN_D, FAMILY_CASES, tiny
from test_run import assert_same_state

from ganvas.config import TrainConfig, replace
from ganvas.game.objectives import Objective
from ganvas.interrupts import StopRequests
from ganvas.networks import Shape
from ganvas.runs import checkpoint
from ganvas.training import compilation
from ganvas.training.cancellation import CancellableRounds
from ganvas.training.compilation import MIN_ROUNDS, is_wanted
from ganvas.training.start import train
from ganvas.training.state import Quantities, TrainState

pytestmark = pytest.mark.slow

SHAPE = Shape(3, 8, 8, 3)

FAR, NEAR = 1e-3, 1e-5
"""Largest differences of losses, penalties and gradient norms, as a fraction of the largest value: of compiled code,
and of the same operations in another order."""

CASES: list[Any] = [
    *FAMILY_CASES,
    ("cnn", {"augment": "ada", "ada_target": 0.6, "objective": "hinge", "microbatch": 7, "spectral_norm": True}),
    ("mlp", {"gp": "10..1", "dragan": 1.0, "d_steps": 2, "noise": "0.1..0.2", "dropout": 0.5, "shared_fakes": False}),
    pytest.param(("projected", {"moments": "0.1..0.2", "augment": "diffaugment"}), marks=pytest.mark.exhaustive),
    pytest.param(("stylegan", {"growth": "0..1", "loss_change": 1.0}), marks=pytest.mark.exhaustive),
    pytest.param(("dcgan", {"spectral_norm": True, "optimiser": "rmsprop"}), marks=pytest.mark.exhaustive),
]


class Compiler:
    """Records the graphs that it is given, and runs them as they are."""

    def __init__(self) -> None:
        self.graphs: list[torch.fx.GraphModule] = []

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
        from torch._dynamo.backends.debugging import aot_eager

        self.graphs.append(graph)
        return aot_eager(graph, inputs)


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> Compiler:
    """In place of the real one, which takes seconds for the smallest network."""
    compiler = Compiler()
    monkeypatch.setattr(compilation, "BACKEND", compiler)
    return compiler


def build(config: TrainConfig) -> TrainState:
    return TrainState.build(config, SHAPE, torch.device("cpu"))


def train_rounds(state: TrainState, rounds: int = 2) -> list[Quantities]:
    """The quantities and the gradient norms of a few rounds on random images."""
    generator = torch.Generator().manual_seed(1)
    measured = []
    for i in range(rounds):
        batches = [
            (
                torch.randint(0, 256, (20, *SHAPE[:3]), dtype=torch.uint8, generator=generator),
                torch.randint(0, 3, (20,), generator=generator),
            )
            for _ in range(state.config.balance.d_steps)
        ]
        quantities, norms = state.train_round(batches, i * state.config.images_per_round)
        measured.append(quantities | norms)
    return measured


def assert_close(ours: list[Quantities], theirs: list[Quantities], tolerance: float) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert one.keys() == other.keys()
        for name, value in other.items():
            assert (one[name] - value).abs().max() <= tolerance * value.abs().max(), name


def refuse(message: str) -> None:
    raise AssertionError(message)


@pytest.mark.parametrize("device", ["cpu", "mps", "cuda"])
def test_auto_compiles_long_runs_on_a_gpu_alone(device: str) -> None:
    assert is_wanted("auto", device, MIN_ROUNDS) == (device == "cuda")
    assert not is_wanted("auto", device, MIN_ROUNDS - 1)
    assert is_wanted("on", device, 1)
    assert not is_wanted("off", device, 10 * MIN_ROUNDS)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case if isinstance(case, str) else "-".join(case[1]))
def test_compiled_rounds_give_the_gradients_of_eager_ones(case: Any, compiler: Compiler) -> None:
    """With all random numbers; and a number that changes with the images shown gives no new graph."""
    family, knobs = (case, {}) if isinstance(case, str) else case
    penalties = {"r1": 0.0, "r2": 0.0} if family in BATCH_NORM_IN_D else {"r1": "1..0.1", "r2": 0.1}
    config = replace(tiny(family=family), conditional=True, **(penalties | knobs))
    eager, compiled = build(config), build(config)
    compiled.compile(refuse)
    expected, found = train_rounds(eager, 1), train_rounds(compiled, 1)
    assert_close(found, expected, NEAR)
    assert_close(train_rounds(compiled), train_rounds(eager), NEAR)
    assert checkpoint.named_tensors(compiled.parts).keys() == checkpoint.named_tensors(eager.parts).keys()
    graphs = len(compiler.graphs)
    assert graphs >= 3
    train_rounds(compiled, 3)
    assert len(compiler.graphs) == graphs or "growth" in knobs


@pytest.mark.exhaustive
@pytest.mark.parametrize("family", ["cnn", "stylegan"])
def test_inductor_gives_the_gradients_of_eager_rounds(family: str) -> None:
    """Of stylegan only the first round without noise in G, whose numbers the compiler draws in another way."""
    knobs: dict[str, Any] = {"mixing": 0.0} if family == "stylegan" else {"gp": 1.0}
    config = replace(tiny(family=family), conditional=True, **knobs)
    eager, compiled = build(config), build(config)
    if family == "stylegan":
        for state in (eager, compiled):
            state.game.G.eval()
    compiled.compile(refuse)
    expected, found = train_rounds(eager), train_rounds(compiled)
    if family == "cnn":  # the points between reals and fakes are drawn in another way
        for quantities in (*expected, *found):
            del quantities["D/gp"], quantities["D/gradient"]
        expected, found = expected[:1], found[:1]
    assert_close(found, expected, FAR)


def test_without_a_compiler_the_run_is_the_eager_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(graph: object, inputs: object) -> None:
        torch.rand(3)
        raise FileNotFoundError("No working C++ compiler found")

    monkeypatch.setattr(compilation, "BACKEND", fail)
    config = replace(tiny(family="mlp", gp=1.0, noise=0.1), dropout=0.5, microbatch=7)
    eager, compiled = build(config), build(config)
    said: list[str] = []
    compiled.compile(said.append)
    ours, theirs = train_rounds(compiled), train_rounds(eager)
    assert_close(ours, theirs, 0)
    assert_same_state(compiled, eager)
    assert len(said) == 3
    assert all("is not compiled, and runs as it is written" in note for note in said)
    assert all("FileNotFoundError: No working C++ compiler found" in note for note in said)


def test_only_what_cannot_be_compiled_stays_eager(compiler: Compiler) -> None:
    """An objective of the user's own that reads a tensor, as a print does."""

    def d_loss(on_real: torch.Tensor, on_fake: torch.Tensor) -> torch.Tensor:
        return on_fake - on_real if on_fake.mean() > on_real.mean() else 2 * (on_fake - on_real)

    config = tiny(family="mlp")
    eager, compiled = build(config), build(config)
    for state in (eager, compiled):
        object.__setattr__(state.game, "objective", Objective(d_loss, lambda on_real, on_fake: -on_fake))
    said: list[str] = []
    compiled.compile(said.append)
    assert_close(train_rounds(compiled), train_rounds(eager), NEAR)
    assert [note.split(" is ")[0] for note in said] == ["Note: The update of D"]
    assert "branching" in said[0].lower()
    assert len(compiler.graphs) == 2


def test_a_stop_cancels_a_compiled_round_before_a_microbatch(compiler: Compiler) -> None:
    config = replace(tiny(family="mlp"), microbatch=10)
    state, other = build(config), build(config)
    for one in (state, other):
        one.compile(refuse)
    images = torch.randint(0, 256, (20, *SHAPE[:3]), dtype=torch.uint8)
    batches = [(images, None)]
    overdue = StopRequests([signal.SIGINT], time.monotonic() - 60)
    assert CancellableRounds(state, overdue).run(batches, 0, slow=True) is None
    assert CancellableRounds(state, StopRequests()).run(batches, 0, slow=True) is not None
    other.train_round(batches, 0)
    assert_same_state(state, other)


def test_a_resumed_compiled_run_equals_an_uninterrupted_one(compiler: Compiler) -> None:
    config = replace(tiny(family="mlp", kimg=0.12), snapshot_kimg=0.06, evaluate_every=0.0, compile="on")
    whole = train(config, name="whole", quiet=True)
    train(replace(config, kimg=0.06), name="parts", quiet=True)
    parts = train(config, name="parts", quiet=True)
    assert compiler.graphs
    assert "Training is compiled" in Path(whole.path, "log.txt").read_text()
    ours, theirs = checkpoint.load(parts.state_file)[0], checkpoint.load(whole.state_file)[0]
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())
    graphs = len(compiler.graphs)
    eager = train(replace(config, compile="off"), name="eager", quiet=True)
    assert len(compiler.graphs) == graphs
    theirs = checkpoint.load(eager.state_file)[0]
    assert ours.keys() == theirs.keys()
    assert all(torch.allclose(ours[name], tensor, atol=1e-5) for name, tensor in theirs.items())
