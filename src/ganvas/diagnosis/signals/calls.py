"""How somebody else's players are called: what was said of each image, and the same call once more."""

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from ganvas.diagnosis.signals import networks as signals

Call = tuple[tuple[Any, ...], dict[str, Any]]
"""The arguments of a call, by position and by name."""


class Ear:
    """A hook of ours; a copy of the player, or one that was saved, has deaf ones."""

    def __init__(self, hears: Callable[..., None]) -> None:
        self._hears = hears

    def __call__(self, player: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        self._hears(player, given, named)

    def __reduce__(self) -> tuple[Any, ...]:
        return Ear, (_nothing,)


def _nothing(*_: Any) -> None:
    pass


def for_as_many(wanted: int, n: int, value: Any) -> Any:
    """An argument of a call of n images, for another number of them."""
    if not _fits(value, n):
        return value
    return value.repeat(math.ceil(wanted / n), *[1] * (value.dim() - 1))[:wanted]


def part_of(value: Any, own: slice, n: int) -> Any:
    return value[own] if _fits(value, n) else value


def shuffled(value: Any, order: Tensor) -> Any:
    return value[order.to(value.device)] if _fits(value, len(order)) else value


def called(player: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> Tensor:
    out = player(*given, **named)
    return out if isinstance(out, Tensor) else out[0]


def alike(player: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> Tensor:
    """With the same random numbers every time, so that noise and dropout make no difference."""
    with signals.undisturbed(player):
        return called(player, given, named)


def labels_of(call: Call) -> Tensor | None:
    """The first thing that a call said of each image besides the image; None if it said nothing more."""
    given, named = call
    return next((value for value in (*given[1:], *named.values()) if _fits(value, len(given[0]))), None)


def _fits(value: Any, n: int) -> bool:
    return isinstance(value, Tensor) and value.dim() > 0 and len(value) == n


def last_layer(player: nn.Module) -> str:
    """The kind of its last layer, in lower case: tanh, sigmoid, linear …"""
    leaves = [m for m in player.modules() if not list(m.children()) and not isinstance(m, nn.Flatten | nn.Unflatten)]
    return type(leaves[-1]).__name__.lower() if leaves else ""


def normalised(player: nn.Module) -> bool:
    return any(isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training for m in player.modules())
