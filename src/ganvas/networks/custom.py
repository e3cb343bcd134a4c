"""The user's own networks, or one of ours against one of theirs.

A generator is a class derived from nn.Module that is called as NAME(latent, shape, **arguments), with forward(z) or
forward(z, labels) -> images [n c h w] in [-1, 1]; a discriminator is called as NAME(shape, **arguments), with
forward(images) or forward(images, labels) -> logits [n] or [n 1]. `shape` is a `Shape`: channels, height, width,
classes; labels are given where classes is not 0. Classes derived from `networks.Generator` and
`networks.Discriminator` may override their other methods too; plain modules get an adapter, which casts to float32.
"""

from contextlib import suppress
from importlib import import_module
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import UninitializedParameter

from ganvas import user_code
from ganvas.config.custom import Custom
from ganvas.errors import GanvasError
from ganvas.networks import base
from ganvas.networks.base import Shape


class PlainGenerator(base.Generator):
    """A plain module as a generator."""

    mixed_precision = False

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return (self.network(z) if labels is None else self.network(z, labels)).float()


class PlainDiscriminator(base.Discriminator):
    """A plain module as a discriminator: its logits [n], [n 1] or [n 1 1 1] become float32 [n]."""

    mixed_precision = False

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.batch_dependent = bool(getattr(network, "batch_dependent", False))

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        logits = self.network(images) if labels is None else self.network(images, labels)
        return logits.reshape(len(images)).float()


def Generator(config: Custom, shape: Shape) -> base.Generator:
    """The untrained generator that `config.g` names.

    Raises:
        GanvasError: see `ganvas.networks.build`.
    """
    network = _build(config, "g", config.latent, shape)
    generator = network if isinstance(network, base.Generator) else PlainGenerator(network)
    generator.latent, generator.shape = config.latent, shape
    _complete(generator, torch.zeros(2, config.latent), shape)
    return generator


def Discriminator(config: Custom, shape: Shape) -> base.Discriminator:
    """The untrained discriminator that `config.d` names; with batch norm its logits depend on their batch.

    Raises:
        GanvasError: see `ganvas.networks.build`.
    """
    network = _build(config, "d", shape)
    discriminator = network if isinstance(network, base.Discriminator) else PlainDiscriminator(network)
    discriminator.batch_dependent = discriminator.batch_dependent or has_batch_norm(discriminator)
    user_code.remember(config.d, "batch" if has_batch_norm(discriminator) else "none")  # for `Custom.d_norm`
    _complete(discriminator, torch.zeros(2, *shape[:3]), shape)
    return discriminator


def _complete(network: nn.Module, x: Tensor, shape: Shape) -> None:
    """Gives lazy layers, such as nn.LazyLinear, their weights by a forward pass; `training.checks` reports an error."""
    if any(isinstance(p, UninitializedParameter) for p in network.parameters()):
        labels = torch.zeros(2, dtype=torch.long) if shape.classes else None
        with torch.no_grad(), suppress(Exception):
            network.eval()(x, labels)
        network.train()


def has_batch_norm(network: nn.Module) -> bool:
    """Whether a network normalises over the images of a batch."""
    return any(isinstance(module, _BatchNorm) for module in network.modules())


def _build(config: Custom, which: Literal["g", "d"], *arguments: Any) -> nn.Module:
    part, shape = config.part(which), arguments[-1]
    if part is not None:
        module = import_module(f"ganvas.networks.{part.family}")
        return module.Generator(part, shape) if which == "g" else module.Discriminator(part, shape)
    text = config.g if which == "g" else config.d
    kind = user_code.load(text)
    called = f"{user_code.parse(text).name}({'latent, shape' if which == 'g' else 'shape'})"
    # nothing else is called: a snapshot's card.json, which names it, may be somebody else's
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        name = f"the class {kind.__name__}" if isinstance(kind, type) else f"of type {type(kind).__name__}"
        found = f"an instance of type {type(kind).__name__}" if isinstance(kind, nn.Module) else name
        raise GanvasError(
            f"{user_code.title(text)} is {found}.",
            expected="a class derived from torch.nn.Module",
            fix=f"name the class, which is called as {called}; its arguments are given as NAME(width=64).",
        )
    expected = f"{called}, and keyword arguments of your own; shape is channels, height, width, classes"
    network = user_code.call(text, kind, *arguments, expected=expected)
    if "_modules" not in vars(network):
        raise GanvasError(
            f"{user_code.title(text)} is no module yet.", fix="call super().__init__() first in __init__."
        )
    return network
