"""Networks know images. One file a family; a family is a (Generator, Discriminator) pair in the table below."""

from typing import Any

import torch
from torch import Tensor, nn

from ganvas.config import Network
from ganvas.networks import cnn, dcgan, mlp, msg, r3gan, resnet, stylegan, transformer, vit
from ganvas.networks.counting import FlopCounter
from ganvas.networks.layers import bound_spectrally
from ganvas.networks.roles import Discriminator, Generator, Shape

NETWORKS: dict[str, tuple[Any, Any]] = {
    family: (room.Generator, room.Discriminator)
    for family, room in {
        "mlp": mlp,
        "cnn": cnn,
        "dcgan": dcgan,
        "transformer": transformer,
        "vit": vit,
        "resnet": resnet,
        "stylegan": stylegan,
        "msg": msg,
        "r3gan": r3gan,
    }.items()
}


def build(network: Network, shape: Shape) -> tuple[Generator, Discriminator]:
    """The untrained (G, D) of a family for images of this shape, drawn from torch's global generator."""
    generator, discriminator = NETWORKS[network.family]
    return generator(network, shape), discriminator(network, shape)


def parameters(network: nn.Module) -> int:
    """How many numbers a network learns."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def flops(network: nn.Module, *inputs: Tensor | None) -> int:
    """Floating-point operations of one forward pass over these inputs (a multiply-add counts two)."""
    with FlopCounter() as counter, torch.no_grad():
        network(*inputs)
    return counter.total


__all__ = [
    "NETWORKS", "Discriminator", "FlopCounter", "Generator", "Shape", "bound_spectrally", "build", "flops",
    "parameters",
]  # fmt: skip
