"""How other people's networks are called: the arguments of each call, and the same call repeated."""

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from ganvas.diagnosis.signals import networks as signals

Call = tuple[tuple[Any, ...], dict[str, Any]]
"""The arguments of a call, by position and by name."""


class CallHook:
    """A forward pre-hook; in a copy of the network, or one that was saved, it does nothing."""

    def __init__(self, receive: Callable[..., None]) -> None:
        self._receive = receive

    def __call__(self, network: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._receive(network, args, kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        return CallHook, (_ignore,)


def _ignore(*_: Any) -> None:
    pass


def repeat_to(wanted: int, n: int, value: Any) -> Any:
    """An argument of a call on n images, repeated for another number of them."""
    if not _is_tensor_of_length(value, n):
        return value
    return value.repeat(math.ceil(wanted / n), *[1] * (value.dim() - 1))[:wanted]


def select_rows(value: Any, rows: slice, n: int) -> Any:
    """Those rows of an argument of a call on n images."""
    return value[rows] if _is_tensor_of_length(value, n) else value


def permute(value: Any, order: Tensor) -> Any:
    """An argument with its rows in another order."""
    return value[order.to(value.device)] if _is_tensor_of_length(value, len(order)) else value


def call(network: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """The output of a call, of several the first."""
    out = network(*args, **kwargs)
    return out if isinstance(out, Tensor) else out[0]


def call_reproducibly(network: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """With the same random numbers every time, so that noise and dropout make no difference."""
    with signals.preserve_state(network):
        return call(network, args, kwargs)


def labels_of(call: Call) -> Tensor | None:
    """The first argument of a call, besides the images, that has a row for each image; None if there is none."""
    args, kwargs = call
    return next((value for value in (*args[1:], *kwargs.values()) if _is_tensor_of_length(value, len(args[0]))), None)


def _is_tensor_of_length(value: Any, n: int) -> bool:
    return isinstance(value, Tensor) and value.dim() > 0 and len(value) == n


def last_layer(network: nn.Module) -> str:
    """The kind of the last layer, in lower case: tanh, sigmoid, linear …"""
    leaves = [m for m in network.modules() if not list(m.children()) and not isinstance(m, nn.Flatten | nn.Unflatten)]
    return type(leaves[-1]).__name__.lower() if leaves else ""


def has_batch_norm(network: nn.Module) -> bool:
    """Whether batch norm in training mode is in it."""
    return any(isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training for m in network.modules())
