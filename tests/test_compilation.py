"""Compiled training: its gradients are those of eager training, penalties included; what cannot be compiled is said."""

import dataclasses
import gc
import signal
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support import BATCH_NORM_IN_D, NARROW, tiny
from test_run import assert_same_state

from ganvas.config import TrainConfig, replace
from ganvas.game.moves import Penalties
from ganvas.game.objectives import Objective
from ganvas.interrupts import StopRequests
from ganvas.networks import Discriminator, Shape
from ganvas.pytorch_state import default_state
from ganvas.runs import checkpoint
from ganvas.training import compilation
from ganvas.training.cancellation import CancellableRounds
from ganvas.training.compilation import MIN_MINUTES, MIN_ROUNDS, CompiledUpdates, EagerUpdates, Updates, is_wanted
from ganvas.training.start import train
from ganvas.training.state import Quantities, TrainState

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*should not be instantiated"),  # PyTorch's tracing of an autograd.Function
]

SHAPE = Shape(3, 8, 8, 3)

FAR, NEAR = 1e-3, 1e-5
"""Largest differences of values and gradients, as a fraction of the largest: of compiled code, and of PyTorch's own
operations, called in the order of the graph."""

CASES: list[Any] = [
    *(family if family in ("mlp", "cnn") else pytest.param(family, marks=pytest.mark.exhaustive) for family in NARROW),
    ("mlp", {"augment": "ada", "augment_p": 0.5, "noise": 0.1, "objective": "hinge"}),
    pytest.param(("cnn", {"spectral_norm": True, "objective": "wasserstein"}), marks=pytest.mark.exhaustive),
    # with noise: in a plain area, where the largest of equal values is depends on their last bits
    pytest.param(("projected", {"augment": "diffaugment", "moments": 0.1, "noise": 0.1}), marks=pytest.mark.exhaustive),
    pytest.param(("vit", {"precision": "bf16"}), marks=pytest.mark.exhaustive),
    pytest.param(("resnet", {"augment": "translation", "objective": "rahinge"}), marks=pytest.mark.exhaustive),
]


class Recorder:
    """Remembers the graphs that it is given, and runs them as they are."""

    def __init__(self) -> None:
        self.graphs: list[weakref.ref[torch.fx.GraphModule]] = []

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
        from torch._dynamo.backends.debugging import aot_eager

        self.graphs.append(weakref.ref(graph))
        return aot_eager(graph, inputs)


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """In place of the real one, which takes seconds for the smallest network."""
    recorder = Recorder()
    monkeypatch.setattr(compilation, "COMPILER", recorder)
    return recorder


def build(config: TrainConfig) -> TrainState:
    return TrainState.build(replace(config, conditional=True), SHAPE, torch.device("cpu"))


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
    assert is_wanted("auto", device, MIN_ROUNDS, MIN_MINUTES) == (device == "cuda")
    assert not is_wanted("auto", device, 10 * MIN_ROUNDS, 10)
    assert is_wanted("on", device, 1, 10)


def measure(state: TrainState, updates: Updates) -> Quantities:
    """The values of one update of each network and all gradients, with two thirds of a batch's weight."""
    torch.manual_seed(1)
    labels = torch.randint(0, SHAPE.classes, (8,))
    images, z = torch.rand(8, *SHAPE[:3]) * 2 - 1, torch.randn(8, 6)
    weight = 0.0 if state.config.network.family in BATCH_NORM_IN_D else 0.3
    state.game.augment.p, state.game.augment.noise = 0.5, state.scheduled_values(0)["noise"]  # type: ignore[attr-defined]
    with torch.no_grad():
        real = updates.real_input(images.contiguous(memory_format=state.memory_format))
    fake = updates.fake_input(z, labels)
    values = updates.train_d(real, fake, labels, penalties=Penalties(*[weight] * 4), share=2 / 3)
    values |= updates.train_g(real, fake, labels, matching=state.scheduled_values(0)["moments"], share=2 / 3)
    for title, network in (("G", state.game.G), ("D", state.game.D)):
        values |= {f"{title}.{name}": p.grad for name, p in network.named_parameters() if p.grad is not None}
        network.zero_grad(set_to_none=True)
    return values


def check_gradients(case: Any, tolerance: float) -> None:
    """Those of compiled updates differ by a fraction of the largest one in their network, at most; as all values do."""
    family, knobs = (case, {}) if isinstance(case, str) else case
    unpenalised: dict[str, Any] = {"r1": 0.0, "r2": 0.0} if family in BATCH_NORM_IN_D else {}
    state = build(replace(tiny(family=family, **unpenalised), **knobs))
    before = {name: tensor.clone() for name, tensor in checkpoint.named_tensors(state.parts).items()}
    expected = measure(state, EagerUpdates(state.game))
    checkpoint.restore(state.parts, before)
    after = {name: tensor.clone() for name, tensor in checkpoint.named_tensors(state.parts).items()}
    found = measure(state, CompiledUpdates(state.game, state.device, refuse))
    assert found.keys() == expected.keys()
    assert checkpoint.named_tensors(state.parts).keys() == after.keys()
    for name, value in expected.items():
        largest = max(other.abs().max() for title, other in expected.items() if title[:2] == name[:2])
        assert (found[name] - value).abs().max() <= tolerance * largest, name


@pytest.mark.parametrize("case", CASES, ids=lambda case: case if isinstance(case, str) else "-".join(case[1]))
def test_compiled_updates_give_the_gradients_of_eager_ones(case: Any, compiler: Recorder) -> None:
    """With all penalties and the same random numbers; of every parameter."""
    check_gradients(case, NEAR)
    assert len(compiler.graphs) >= 3


@pytest.mark.exhaustive
@pytest.mark.parametrize("case", CASES[:3], ids=lambda case: case if isinstance(case, str) else "-".join(case[1]))
def test_inductor_gives_the_gradients_of_eager_updates(case: Any) -> None:
    check_gradients(case, FAR)


def test_numbers_that_change_are_not_compiled_again(compiler: Recorder) -> None:
    """Only a penalty that is left out, another size of the last microbatch and G without its graph have own graphs."""
    knobs: dict[str, Any] = {"r1": "1..0.1", "augment": "translation", "augment_p": "0.1..0.9", "noise": "0.3..0.1"}
    config = replace(tiny(family="mlp", **knobs), penalty_every=2, microbatch=12)
    eager, compiled = build(config), build(config)
    compiled.compile(refuse)
    assert_close(train_rounds(compiled, 2), train_rounds(eager, 2), NEAR)
    graphs = len(compiler.graphs)
    assert graphs == 2 * 2 + 2 * 2 + 2
    train_rounds(compiled, 5)
    assert len(compiler.graphs) == compiled.compile_attempts == graphs
    assert any(graph() for graph in compiler.graphs)
    del compiled
    gc.collect()
    assert not any(graph() for graph in compiler.graphs), "they take memory after the training"


def test_a_stage_that_has_grown_is_compiled_and_a_fade_is_not(compiler: Recorder) -> None:
    state = build(replace(tiny(family="stylegan"), growth="0..1"))
    updates = CompiledUpdates(state.game, state.device, refuse)
    for growth, graphs in ((0.0, 1), (0.25, 1), (0.75, 2), (1.0, 2)):
        for network in (state.game.G, state.game.D):
            network.grow(growth)
        with torch.no_grad():
            assert updates.fake_input(torch.randn(4, 6), torch.zeros(4, dtype=torch.long)).shape[-1] == (
                4 if growth == 0 else 8
            )
        assert len(compiler.graphs) == graphs


def test_without_a_compiler_the_run_is_the_eager_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(graph: object, inputs: object) -> None:
        torch.rand(3)
        raise FileNotFoundError("No working C++ compiler found")

    monkeypatch.setattr(compilation, "COMPILER", fail)
    config = replace(tiny(family="mlp", gp=1.0, noise=0.1), dropout=0.5, microbatch=7)
    eager, compiled = build(config), build(config)
    said: list[str] = []
    compiled.compile(said.append)
    ours, theirs = train_rounds(compiled), train_rounds(eager)
    assert_close(ours, theirs, 0)
    assert_same_state(compiled, eager)
    assert len(said) == 3
    assert compiled.compile_attempts >= 3
    assert eager.compile_attempts == 0
    assert all("is not compiled, and runs as it is written" in note for note in said)
    assert all("FileNotFoundError: No working C++ compiler found" in note for note in said)


def test_only_what_cannot_be_compiled_stays_eager(compiler: Recorder) -> None:
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


def test_the_compiler_can_read_a_precision_that_pytorch_refuses_to_tell() -> None:
    """With TF32 in matrix products on a GPU alone, PyTorch's older function raises an error, and Inductor calls it."""
    matmul: Any = torch.backends.cuda.matmul
    with default_state():
        matmul.fp32_precision = "tf32"
        with pytest.raises(RuntimeError, match="mix"):
            torch.get_float32_matmul_precision()
        with compilation._compiler_settings():
            assert torch.get_float32_matmul_precision() == "high"
            assert matmul.fp32_precision == "tf32"
        assert matmul.fp32_precision == "tf32"
    assert torch.get_float32_matmul_precision() == "highest"


class Square(torch.autograd.Function):
    """x²; PyTorch 2.13 compiles half of its second derivative."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return 2 * ctx.saved_tensors[0] * gradient


class SquaredD(Discriminator):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = torch.nn.Linear(192, 4), torch.nn.Linear(4, 1)

    def forward(self, images: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        x: Any = Square.apply(self.first(images.flatten(1)))
        return self.last(x).squeeze(1)


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_a_function_that_a_penalty_differentiates_twice_stays_eager(penalty: float, compiler: Recorder) -> None:
    state = build(tiny(family="mlp"))
    game = dataclasses.replace(state.game, D=SquaredD())
    said: list[str] = []
    real, fake = torch.randn(4, *SHAPE[:3]), torch.randn(4, *SHAPE[:3])
    gradients = []
    for updates in (EagerUpdates(game), CompiledUpdates(game, state.device, said.append)):
        updates.train_d(real, fake, None, penalties=Penalties(r1=penalty), share=1.0)
        gradients.append(game.D.first.weight.grad)  # type: ignore[union-attr]
        game.D.zero_grad(set_to_none=True)
    assert torch.allclose(*gradients)
    assert len(said) == bool(penalty)
    assert all("differentiates a torch.autograd.Function twice" in note for note in said)


def test_a_stop_cancels_a_compiled_round_before_a_microbatch(compiler: Recorder) -> None:
    config = replace(tiny(family="mlp"), microbatch=10)
    state, other = build(config), build(config)
    for one in (state, other):
        one.compile(refuse)
    images = torch.randint(0, 256, (20, *SHAPE[:3]), dtype=torch.uint8)
    batches = [(images, torch.zeros(20, dtype=torch.long))]
    overdue = StopRequests([signal.SIGINT], time.monotonic() - 60)
    assert CancellableRounds(state, overdue).run(batches, 0, slow=True) is None
    assert CancellableRounds(state, StopRequests()).run(batches, 0, slow=True) is not None
    other.train_round(batches, 0)
    assert_same_state(state, other)


def test_a_resumed_compiled_run_equals_an_uninterrupted_one(compiler: Recorder) -> None:
    config = replace(tiny(family="mlp", kimg=0.12), g_lr=1e-3, snapshot_kimg=0.06, evaluate_every=0.0, compile="on")
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
