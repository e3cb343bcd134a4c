"""Training compiled by torch.compile: the updates of `ganvas.game.moves`, each as one graph.

What is compiled: G's forward and backward pass; D's update; G's loss and its gradient with respect to the images. A
compiled function cannot be differentiated twice from outside, so D's update takes its gradients inside, and those of
the penalties are in the same graph (docs/decisions/0028). The networks stay as they are, parameter names included.

What cannot be compiled is reported once, and runs as it is written. The compiler is imported with the first call.
"""

import dataclasses
import functools
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import FunctionType
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from ganvas.game.augment import AugmentPipe
from ganvas.game.moves import Game, Penalties, Weight, d_loss, g_loss, learnt, train_d, train_g

MIN_ROUNDS = 20_000
"""Rounds of a run from which on "auto" compiles on a GPU: compiling takes minutes (docs/decisions/0028)."""

MIN_MINUTES = 60
"""Minutes of a run by time from which on it does so: of a shorter one, compiling would be too large a part."""

MAX_VARIANTS = 64
"""Graphs of one function at most: for stages of growth, sizes of a microbatch, penalties that are on in some rounds."""

Compiler = Callable[[torch.fx.GraphModule, list[Any]], Callable[..., Any]]
"""(a graph, examples of its inputs) -> what computes it."""

COMPILER: Compiler | None = None
"""Used in place of PyTorch's own, Inductor, in tests."""


def is_wanted(choice: Literal["auto", "on", "off"], device: str, rounds: int, minutes: float | None = None) -> bool:
    """Whether a run of so many rounds is compiled on a device of this type: "auto" only where it is repaid.

    Args:
        minutes: of a run by time.
    """
    is_long = rounds >= MIN_ROUNDS and (minutes is None or minutes >= MIN_MINUTES)
    return choice == "on" or (choice == "auto" and device == "cuda" and is_long)


class Updates(Protocol):
    """What a round of training calls, for one game; see `ganvas.game.moves`."""

    def real_input(self, images: Tensor) -> Tensor: ...

    def fake_input(self, z: Tensor, labels: Tensor | None) -> Tensor: ...

    def train_d(
        self, real: Tensor, fake: Tensor, labels: Tensor | None, *, penalties: Penalties, share: float
    ) -> dict[str, Tensor]: ...

    def train_g(
        self, real: Tensor, fake: Tensor, labels: Tensor | None, *, matching: Weight, share: float
    ) -> dict[str, Tensor]: ...


class EagerUpdates:
    """The updates as they are written."""

    def __init__(self, game: Game) -> None:
        self.real_input, self.fake_input = game.real_input, game.fake_input
        self.train_d = functools.partial(train_d, game)
        self.train_g = functools.partial(train_g, game)


class CompiledUpdates:
    """The same updates, compiled.

    With a GPU the graphs are replayed as CUDA graphs. Random numbers are those of uncompiled updates; the last bits of
    sums may differ.

    Args:
        report: is told, once for each function, what is not compiled and why.
    """

    def __init__(self, game: Game, device: torch.device, report: Callable[[str], object]) -> None:
        self._game, self._copy = game, device.type == "cuda"
        compiled = functools.partial(_Compiled, game, device, report)
        self._fake_input = compiled("G", _fake_input)
        self._d_gradients = compiled("The update of D", _d_gradients)
        self._g_gradient = compiled("The loss of G", _g_gradient)
        self._real_input = compiled("The input of D", _real_input) if game.D.frozen_input else game.real_input

    @property
    def attempts(self) -> int:
        """How often something was compiled so far, or could not be: a call in which this rises takes long."""
        parts = (self._fake_input, self._d_gradients, self._g_gradient, self._real_input)
        return sum(part.attempts for part in parts if isinstance(part, _Compiled))

    def real_input(self, images: Tensor) -> Tensor:
        return self._real_input(images)

    def fake_input(self, z: Tensor, labels: Tensor | None) -> Tensor:
        return self._fake_input(z, labels)

    def train_d(
        self, real: Tensor, fake: Tensor, labels: Tensor | None, *, penalties: Penalties, share: float
    ) -> dict[str, Tensor]:
        weights = [getattr(penalties, entry.name) for entry in dataclasses.fields(Penalties)]
        gradients, values = self._d_gradients(real, fake.detach(), labels, share, weights=weights)
        self._accumulate(self._game.D, gradients)
        return values

    def train_g(
        self, real: Tensor, fake: Tensor, labels: Tensor | None, *, matching: Weight, share: float
    ) -> dict[str, Tensor]:
        gradient, values = self._g_gradient(real, fake.detach(), labels, share, weights=[matching])
        gradients = torch.autograd.grad(fake, learnt(self._game.G), gradient, allow_unused=True)
        self._accumulate(self._game.G, gradients)
        return values

    @torch.no_grad()
    def _accumulate(self, network: nn.Module, gradients: Sequence[Tensor | None]) -> None:
        """Adds gradients to those of the parameters, in the parameters' memory layout, which fused optimisers need."""
        targets, sources = [], []
        for parameter, gradient in zip(learnt(network), gradients, strict=True):
            if gradient is None:
                continue
            if parameter.grad is not None:
                parameter.grad += gradient
            elif self._copy or gradient.stride() != parameter.stride():  # a replay overwrites the last one's outputs
                parameter.grad = torch.empty_like(parameter)
                targets.append(parameter.grad)
                sources.append(gradient)
            else:
                parameter.grad = gradient
        if targets:
            torch._foreach_copy_(targets, sources)  # pyright: ignore[reportPrivateImportUsage]


# What is compiled: functions of tensors, whose gradients are taken inside


def _real_input(game: Game, images: Tensor) -> Tensor:
    return game.real_input(images)


def _fake_input(game: Game, z: Tensor, labels: Tensor | None) -> Tensor:
    return game.fake_input(z, labels)


def _d_gradients(
    game: Game, real: Tensor, fake: Tensor, labels: Tensor | None, share: float, *weights: Weight
) -> tuple[Sequence[Tensor | None], dict[str, Tensor]]:
    loss, values = d_loss(game, real, fake, labels, Penalties(*weights))
    gradients = torch.autograd.grad(loss * share, learnt(game.D), allow_unused=True)
    return gradients, {name: value.detach() for name, value in values.items()}


def _g_gradient(
    game: Game, real: Tensor, fake: Tensor, labels: Tensor | None, share: float, matching: Weight
) -> tuple[Tensor, dict[str, Tensor]]:
    fake = fake.detach().requires_grad_()
    loss, values = g_loss(game, real, fake, labels, matching)
    (gradient,) = torch.autograd.grad(loss * share, fake)
    return gradient, {name: value.detach() for name, value in values.items()}


class _Compiled:
    """A function of a game, compiled when it is called; uncompiled after the first failure."""

    def __init__(
        self,
        game: Game,
        device: torch.device,
        report: Callable[[str], object],
        title: str,
        function: Callable[..., Any],
    ) -> None:
        self._game, self._device, self._report, self._title = game, device, report, title
        self._function = function
        self._numbers: dict[int | str, tuple[float, Tensor]] = {}
        self._compiled: Callable[..., Any] | None = None
        self._failed, self._attempts = False, list[str]()

    @property
    def attempts(self) -> int:
        """Graphs that were compiled so far, and the failure."""
        return len(self._attempts)

    def __call__(self, *arguments: Any, weights: Sequence[Weight] = ()) -> Any:
        """The function of (game, *arguments, *weights)."""
        # while a stage fades in, a number inside the networks changes in every round
        if not self._failed and getattr(self._game.G, "alpha", 1.0) >= 1:
            generators = _generator_states(self._device)
            try:
                return self._call_compiled(arguments, weights)
            except Exception as error:  # of any kind: the compiler's own, and those of what it calls
                self._failed, self._compiled = True, None
                self._attempts.append("failure")
                _restore_generators(self._device, generators)
                self._report(f"Note: {self._title} is not compiled, and runs as it is written. {_reason(error)}")
        return self._function(self._game, *arguments, *weights)

    def _call_compiled(self, arguments: Sequence[Any], weights: Sequence[Weight]) -> Any:
        with ExitStack() as held:
            held.enter_context(_compiler_settings())
            held.enter_context(self._augmentation_in_tensors())
            if self._compiled is None:
                self._compiled = self._compile()
            tensors = [self._as_tensor(i, weight) for i, weight in enumerate(weights)]
            result = self._compiled(self._game, *arguments, *tensors)
            return _clone(result) if self._device.type == "cuda" else result

    def _compile(self) -> Callable[..., Any]:
        attempts = self._attempts  # not `self`, which would live as long as PyTorch knows `compile_graph`
        # PyTorch's own random numbers, so that a compiled run draws what an uncompiled one draws
        options = {"fallback_random": True, "triton.cudagraphs": self._device.type == "cuda"}

        def compile_graph(graph: torch.fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
            attempts.append("graph")
            _refuse_second_derivatives(graph)
            with warnings.catch_warnings():  # of the compiler, about its own code
                warnings.simplefilter("ignore")
                if COMPILER is not None:
                    return COMPILER(graph, inputs)
                from torch._inductor.compile_fx import compile_fx

                return compile_fx(graph, inputs, config_patches=options)  # type: ignore[return-value]

        function = _with_own_code(self._function)
        weakref.finalize(self, torch._dynamo.reset_code, function.__code__).atexit = False  # pyright: ignore[reportPrivateImportUsage]
        return torch.compile(function, fullgraph=True, dynamic=False, backend=compile_graph)

    @contextmanager
    def _augmentation_in_tensors(self) -> Iterator[None]:
        pipe = self._game.augment
        if not isinstance(pipe, AugmentPipe):
            yield
            return
        before = pipe.p, pipe.noise
        pipe.p, pipe.noise = self._as_tensor("p", pipe.p), self._as_tensor("noise", pipe.noise)
        try:
            yield
        finally:
            pipe.p, pipe.noise = before

    def _as_tensor(self, name: int | str, value: Weight) -> Weight:
        """A scheduled number that is not 0 as a tensor on the device: a graph holds for one value of a float."""
        if isinstance(value, Tensor) or value == 0:
            return value
        known, tensor = self._numbers.get(name, (None, None))
        if tensor is None:
            tensor = torch.full((), value, device=self._device)
        elif known != value:
            tensor.fill_(value)
        self._numbers[name] = value, tensor
        return tensor


def _refuse_second_derivatives(graph: torch.fx.GraphModule) -> None:
    """Refuses a gradient of a gradient through a `torch.autograd.Function`: PyTorch 2.13 compiles it to a wrong one."""
    modules = [module for module in graph.modules() if isinstance(module, torch.fx.GraphModule)]
    called = [getattr(node.target, "__name__", "") for module in modules for node in module.graph.nodes]
    if "autograd_function_apply" in called and called.count(torch.autograd.grad.__name__) > 1:
        raise NotImplementedError("a gradient penalty differentiates a torch.autograd.Function twice")


def _with_own_code(function: Callable[..., Any]) -> Callable[..., Any]:
    """A copy of a function with a code object of its own, to which the graphs of one training belong."""
    assert isinstance(function, FunctionType)
    return FunctionType(function.__code__.replace(), function.__globals__)


@contextmanager
def _compiler_settings() -> Iterator[None]:
    """Sets what PyTorch's `config.patch` would, in half of its time: this is entered several times a round."""
    from torch._dynamo import config as tracing
    from torch._functorch import config as differentiation

    wanted: list[tuple[Any, str, Any]] = [
        (tracing, "trace_autograd_ops", True),  # gradients are taken inside a graph
        (tracing, "recompile_limit", MAX_VARIANTS),
        (differentiation, "force_non_lazy_backward_lowering", True),  # errors of a backward pass come with the forward
        (differentiation, "cse", False),  # it merges two draws from the same distribution into one
    ]
    before = [getattr(place, name) for place, name, _ in wanted]
    try:
        for place, name, value in wanted:
            setattr(place, name, value)
        with _readable_precision():
            yield
    finally:
        for (place, name, _), value in zip(wanted, before, strict=True):
            setattr(place, name, value)


@contextmanager
def _readable_precision() -> Iterator[None]:
    """Lets the compiler ask PyTorch's older function how float32 is multiplied, where a newer one has set TF32."""
    try:
        torch.get_float32_matmul_precision()
    except RuntimeError:
        places: Any = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
        kept = [place.fp32_precision for place in places]
        torch.set_float32_matmul_precision("high")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision("highest")
            for place, precision in zip(places, kept, strict=True):
                place.fp32_precision = precision
        return
    yield


def _clone(value: Any) -> Any:
    """The same structure with copies of its tensors: the next replay of a CUDA graph overwrites its outputs."""
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {name: _clone(one) for name, one in value.items()}
    return [_clone(one) for one in value] if isinstance(value, list | tuple) else value


def _generator_states(device: torch.device) -> list[Tensor]:
    states = [torch.get_rng_state()]
    if device.type != "cpu":
        states.append(torch.get_device_module(device).get_rng_state())
    return states


def _restore_generators(device: torch.device, states: Sequence[Tensor]) -> None:
    torch.set_rng_state(states[0])
    if device.type != "cpu":
        torch.get_device_module(device).set_rng_state(states[1])


def _reason(error: Exception) -> str:
    """What stopped the compiler, in a line: the first one of its message, and its explanation."""
    inner = getattr(error, "inner_exception", None) or error
    lines = [line.strip() for line in str(inner).splitlines() if line.strip()]
    explained = [line.removeprefix("Explanation:").strip() for line in lines if line.startswith("Explanation:")]
    return " ".join([f"{type(inner).__name__}: {lines[0] if lines else 'no message'}", *explained[:1]])
