"""Keras models as modules: their weights, their last activation, and calls that leave them as they were.

Keras is never imported here: where there is a model of it, its user has imported it.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ganvas.errors import GanvasError

BACKENDS = ("torch", "tensorflow")

SEEDS = "global_seed_generator"
"""Keras's name of the generator of layers without a seed of their own."""

SHAPES = ("Flatten", "Reshape", "Permute", "Cropping", "ZeroPadding", "InputLayer")
"""Layers after which values are the same."""


def is_keras(network: Any) -> bool:
    """Whether it is a model, or a layer, of Keras 3."""
    keras: Any = sys.modules.get("keras")
    return hasattr(keras, "Layer") and isinstance(network, keras.Layer)


def backend() -> str:
    """torch, tensorflow or jax."""
    return sys.modules["keras"].config.backend()


class KerasModule(nn.Module):
    """A Keras model in the form that probes take.

    Its parameters are the weights that were created as trainable, also while they are frozen: with PyTorch the very
    tensors, with TensorFlow copies as of the last `refresh`. A call is one in inference mode; it can be differentiated
    by its inputs, and leaves moving statistics and seeds as they were.

    Attributes:
        model: the model itself.

    Raises:
        GanvasError: Keras computes with something else than PyTorch or TensorFlow.
    """

    model: Any

    def __init__(self, model: Any) -> None:
        super().__init__()
        if backend() not in BACKENDS:
            raise GanvasError(f"Keras computes with {backend()}.", expected="KERAS_BACKEND=torch or tensorflow")
        vars(self)["model"] = model  # with PyTorch it is a module, whose parameters would be listed too
        self.refresh()

    def trained(self) -> list[Any]:
        """The variables that were created as trainable, each once."""
        layers = self.model._flatten_layers()
        return list({id(v): v for layer in layers for v in layer._trainable_variables}.values())

    def refresh(self) -> None:
        """Reads the weights; a model may be built only when it is first called."""
        if backend() == "torch":
            now = [variable.value for variable in self.trained()]
        else:
            now = [nn.Parameter(_to_torch(variable), requires_grad=False) for variable in self.trained()]
            known = list(self.parameters())
            if [one.shape for one in known] == [one.shape for one in now]:
                for copy, value in zip(known, now, strict=True):
                    copy.copy_(value)
                return
        self._parameters.clear()
        self._parameters.update({str(i): weight for i, weight in enumerate(now)})

    @property
    def output_activation(self) -> str:
        """The last activation, in lower case: tanh, sigmoid, linear …"""
        return _last_activation(self.model)

    def as_input(self, value: Any) -> Tensor:
        """An argument as a tensor; decimals in the precision of the model, on its device with PyTorch.

        Raises:
            TypeError, ValueError: it is no array.
        """
        if not isinstance(value, Tensor):
            array = np.asarray(value)
            value = torch.from_numpy(array.astype(np.float32) if array.dtype.kind == "f" else array)
        weight = next(self.parameters(), None)
        value = value.float() if value.is_floating_point() else value
        return value if weight is None else value.to(weight.device)

    def forward(self, *inputs: Tensor, listed: bool = False, **named: Any) -> Any:
        """The model's output, as tensors; `listed` if it takes its inputs in one list."""
        if getattr(self.model, "_call_has_training_arg", True):
            named = {**named, "training": False}

        def call(received: Sequence[Any]) -> Any:
            return self.model(list(received), **named) if listed else self.model(*received, **named)

        with self.unchanged():
            return call(inputs) if backend() == "torch" else call_tensorflow(call, inputs)

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Restores what a call may change: moving statistics, seeds, and the generator of layers without a seed."""
        trained = {id(variable) for variable in self.trained()}
        others = [variable for variable in self.model.variables if id(variable) not in trained]
        state: Any = sys.modules.get("keras.src.backend.common.global_state")
        seeds = None if state is None else state.get_global_attribute(SEEDS)
        others += [] if seeds is None else [seeds.state]
        before = [np.array(variable.numpy()) for variable in others]
        try:
            yield
        finally:
            for variable, value in zip(others, before, strict=True):
                if not np.array_equal(value, variable.numpy()):
                    variable.assign(value)
            if state is not None and seeds is None:
                state.set_global_attribute(SEEDS, None)


def _to_torch(variable: Any) -> Tensor:
    array = np.array(variable.numpy())
    return torch.from_numpy(array if array.dtype.kind == "f" else array.astype(np.float32))  # bfloat16


def _last_activation(model: Any) -> str:
    layers = getattr(model, "operations", None) or getattr(model, "layers", None) or []
    named = [layer for layer in layers if not type(layer).__name__.startswith(SHAPES)]
    if named:
        return _last_activation(named[-1])
    activation = getattr(model, "activation", None)
    return str(
        getattr(activation, "__name__", "") or type(model if activation is None else activation).__name__
    ).lower()


def call_tensorflow(call: Callable[[Sequence[Any]], Any], inputs: Sequence[Tensor]) -> Any:
    """Calls something of TensorFlow with tensors of PyTorch, through which PyTorch can differentiate."""
    nest = sys.modules["tensorflow"].nest
    form: list[Any] = []

    def flat(received: Sequence[Any]) -> list[Any]:
        output = call(received)
        form.append(output)
        return nest.flatten(output)

    outputs = TensorFlowFunction.apply(flat, *inputs)
    return nest.pack_sequence_as(form[0], list(outputs))


class TensorFlowFunction(torch.autograd.Function):
    """A function of TensorFlow in a graph of PyTorch."""

    @staticmethod
    def forward(ctx: Any, call: Callable[[Sequence[Any]], list[Any]], *inputs: Tensor) -> tuple[Tensor, ...]:
        tf = sys.modules["tensorflow"]
        received = [tf.convert_to_tensor(value.detach().cpu().numpy()) for value in inputs]
        with tf.GradientTape() as tape:
            for value, needed in zip(received, ctx.needs_input_grad[1:], strict=True):
                if needed:
                    tape.watch(value)
            outputs = call(received)
        ctx.tape, ctx.received, ctx.outputs = tape, received, outputs
        return tuple(torch.from_numpy(np.array(output)) for output in outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        tf = sys.modules["tensorflow"]
        needed = [value for value, wanted in zip(ctx.received, ctx.needs_input_grad[1:], strict=True) if wanted]
        pushed = [tf.convert_to_tensor(gradient.numpy()) for gradient in gradients]
        found = iter(ctx.tape.gradient(ctx.outputs, needed, output_gradients=pushed, unconnected_gradients="zero"))
        return None, *(torch.from_numpy(np.array(next(found))) if w else None for w in ctx.needs_input_grad[1:])
