"""The network families: one module each, of the family's name, with a Generator and a Discriminator for any image size.

Both are called with the family's configuration (`ganvas.config.families`, `custom`) and a `Shape`. Only the module that
is used is imported.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.nn.parameter import UninitializedParameter

from ganvas.config import Network
from ganvas.networks.base import Discriminator, Generator, Shape
from ganvas.networks.counting import FlopCounter
from ganvas.networks.layers import apply_spectral_norm


def build(network: Network, shape: Shape) -> tuple[Generator, Discriminator]:
    """Builds the untrained (G, D) of a family for images of this shape, with torch's global random generator.

    Raises:
        GanvasError: the user's own class is missing, of another kind, or raises an error.
    """
    return build_generator(network, shape), _module(network).Discriminator(network, shape)


def build_generator(network: Network, shape: Shape) -> Generator:
    """Builds the untrained G alone.

    Raises:
        GanvasError: see `build`.
    """
    return _module(network).Generator(network, shape)


def _module(network: Network) -> Any:
    return import_module(f"ganvas.networks.{network.family}")


@contextmanager
def limited_size(tensors: int) -> Iterator[None]:
    """Ends the building of a network that has far more weights than there are tensors for it.

    Raises:
        ValueError: in the block, in place of endless layers.
    """
    left = 100 + 2 * tensors

    def count(parameter: Tensor) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise ValueError(f"the network of card.json has far more layers than the {tensors:,} weights of the file")

    with seen_parameters(count):
        yield


@contextmanager
def seen_parameters(see: Callable[[Tensor], None]) -> Iterator[None]:
    """Calls `see` with each parameter of the networks that are built in the block, before its first values are set.

    Memory that has not been written to is not used yet: `see` may end the building by an error.
    """

    def call(module: nn.Module, name: str, parameter: object) -> None:
        seen_before = name == "original"  # by a layer that now has spectral norm
        if isinstance(parameter, Tensor) and not seen_before and not isinstance(parameter, UninitializedParameter):
            see(parameter)

    hook = register_module_parameter_registration_hook(call)
    try:
        yield
    finally:
        hook.remove()


def count_parameters(network: nn.Module) -> int:
    """The number of trainable parameters of a network."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def count_flops(network: nn.Module, *inputs: Tensor | None) -> int:
    """The floating-point operations of one forward pass over these inputs (a multiply-add counts two)."""
    with FlopCounter() as counter, torch.no_grad():
        network(*inputs)
    return counter.total


__all__ = [
    "Discriminator", "FlopCounter", "Generator", "Shape", "apply_spectral_norm", "build",
    "build_generator", "count_flops", "count_parameters", "limited_size",
    "seen_parameters",
]  # fmt: skip
