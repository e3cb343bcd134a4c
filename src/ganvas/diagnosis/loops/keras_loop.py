"""The Keras models of somebody else's loop: `fit`, `train_on_batch` or a GradientTape, with PyTorch or TensorFlow.

With PyTorch, calls and backward passes are observed as those of any module. With TensorFlow they are inside compiled
functions: D is then called on the images that `probe.step` receives. In both, optimisers say whose weights they hold.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

from torch import Tensor, nn

from ganvas.diagnosis.loops.calls import Call, CallHook, autocast_now
from ganvas.diagnosis.loops.keras_models import KerasModule, backend
from ganvas.diagnosis.loops.observed import ObservedNetworks
from ganvas.diagnosis.loops.wiring import optimiser_signals

COLOURS = (1, 3, 4)
"""Channels of images."""


@dataclass(eq=False)
class Held:
    """What an optimiser holds.

    Attributes:
        param_groups: the weights of its last step, as an optimiser of PyTorch names them.
        networks: those of which it has ever had weights.
    """

    param_groups: list[dict[str, list[Tensor]]] = field(default_factory=list)
    networks: set[str] = field(default_factory=set)


class KerasNetworks(ObservedNetworks):
    """The `Subject` of a loop of Keras models."""

    def __init__(self, G: nn.Module, discriminators: Sequence[nn.Module], *more: Any) -> None:
        self._modules = [network for network in (G, *discriminators) if isinstance(network, KerasModule)]
        self._others: dict[str, tuple[Tensor, ...]] = {}
        self._held: dict[int, Held] = {}
        super().__init__(G, discriminators, *more)
        self._hooks.append(OptimiserHook(self._on_step))

    def _observe(self, network: nn.Module, hook: CallHook) -> Any:
        """With TensorFlow the calls within the loop are not seen."""
        observed = network.model if isinstance(network, KerasModule) and backend() == "torch" else network
        return observed.register_forward_hook(hook, with_kwargs=True)

    def _as_call(self, network: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        module = next((one for one in self._modules if one.model is network), None)
        if module is None:
            return super()._as_call(network, args, kwargs)
        named = {name: value for name, value in kwargs.items() if name != "training"}
        inputs = [*args, named.pop("inputs")] if "inputs" in named else [*args]
        listed = bool(inputs) and isinstance(inputs[0], list | tuple)
        tensors = tuple(module.as_input(value) for value in (inputs[0] if listed else inputs))
        if any(value.is_meta for value in tensors):
            raise LookupError("Keras computes a shape")
        return self._call(module, tensors, listed, **named)

    def _call(self, module: KerasModule, inputs: tuple[Tensor, ...], listed: bool, **named: Any) -> Call:
        sigmoid = module.output_activation == "sigmoid"
        return Call(inputs, {**named, "listed": listed}, module, autocast=autocast_now(), sigmoid=sigmoid)

    def received(self, real: Any, fake: Any) -> tuple[Tensor, Tensor]:
        """The images of a round; of a D with several inputs the others are kept."""
        images: dict[str, Any] = {}
        for name, given in (("real", real), ("fake", fake)):
            first, *others = given if isinstance(given, list | tuple) and len(given) else [given]
            with suppress(TypeError, ValueError):  # what it is instead of images is told below
                first = self._modules[-1].as_input(first)
                self._others[name] = tuple(self._modules[-1].as_input(value) for value in others)
            images[name] = first
        return super().received(images["real"], images["fake"])

    def begin_round(self) -> None:
        """Reads the weights as well."""
        for module in self._modules:
            module.refresh()
        super().begin_round()

    @contextmanager
    def repeating(self) -> Iterator[None]:
        """Where no call of D was seen, it is called on the images of the round."""
        for module in self._modules:
            module.refresh()
        if not self.calls["D"]:
            for name, images in zip(("real", "fake"), self.recent[-1], strict=True):
                inputs = (images, *self._others.get(name, ()))
                discriminators = [D for D in self._discriminators if isinstance(D, KerasModule)]
                self.calls["D"] += [self._call(D, inputs, len(inputs) > 1) for D in discriminators]
        with super().repeating():
            yield

    def _on_step(self, optimiser: Any, variables: Sequence[Any]) -> None:
        """An optimiser applies gradients; within tf.function that is seen once, when it is compiled."""
        held = self._held.setdefault(id(optimiser), Held())
        if backend() == "torch":
            held.param_groups = [{"params": [variable.value for variable in variables]}]
            self._wiring.before_step(held)
            return
        for name, network in self.networks.items():
            modules = [module for module in network.modules() if isinstance(module, KerasModule)]
            own = {id(variable) for module in modules for variable in module.trained()}
            if any(id(variable) in own for variable in variables):
                held.networks.add(name)

    def loop_signals(self) -> dict[str, float]:
        """Also whether D is trainable, and with TensorFlow which optimisers hold what."""
        values = super().loop_signals()
        held = [one.networks for one in self._held.values() if one.networks]
        values |= optimiser_signals(held) if held else {}
        models = [D.model for D in self._discriminators if isinstance(D, KerasModule)]
        return values | ({"D/trainable": float(any(D.trainable_weights for D in models))} if models else {})

    def _pixels(self, images: Tensor) -> Tensor:
        """With the channels first."""
        last = images.dim() > 3 and images.shape[-1] in COLOURS and images.shape[1] not in COLOURS
        return images.movedim(-1, 1) if last else images


class OptimiserHook:
    """Receives (optimiser, variables) of each step of a Keras optimiser, until it is removed."""

    def __init__(self, receive: Callable[[Any, Sequence[Any]], None]) -> None:
        self._optimisers: Any = sys.modules["keras"].optimizers.Optimizer
        before = self._optimisers.apply

        @wraps(before)
        def apply(optimiser: Any, grads: Any, trainable_variables: Any = None) -> Any:
            with suppress(Exception):  # it must not end the training
                if not self._removed:
                    variables = list(trainable_variables or optimiser._trainable_variables)
                    receive(optimiser, variables)
            return before(optimiser, grads, trainable_variables)

        if backend() == "tensorflow":
            apply = sys.modules["tensorflow"].autograph.experimental.do_not_convert(apply)
        self._removed = False
        self._before, self._apply = before, apply
        self._optimisers.apply = apply

    def remove(self) -> None:
        """Restores the method; where another hook was added later, this one does nothing from now on."""
        self._removed = True
        if self._optimisers.apply is self._apply:
            self._optimisers.apply = self._before
