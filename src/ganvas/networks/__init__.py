"""The network families: one module each, with a Generator and a Discriminator that fit any image size."""

from typing import Any

import torch
from torch import Tensor, nn

from ganvas.config import Network
from ganvas.networks import cnn, dcgan, mlp, msg, r3gan, resnet, stylegan, transformer, vit
from ganvas.networks.base import Discriminator, Generator, Shape
from ganvas.networks.counting import FlopCounter
from ganvas.networks.layers import apply_spectral_norm

NETWORKS: dict[str, tuple[Any, Any]] = {
    family: (module.Generator, module.Discriminator)
    for family, module in {
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
    """Builds the untrained (G, D) of a family for images of this shape, with torch's global random generator."""
    generator, discriminator = NETWORKS[network.family]
    return generator(network, shape), discriminator(network, shape)


def count_parameters(network: nn.Module) -> int:
    """The number of trainable parameters of a network."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def count_flops(network: nn.Module, *inputs: Tensor | None) -> int:
    """The floating-point operations of one forward pass over these inputs (a multiply-add counts two)."""
    with FlopCounter() as counter, torch.no_grad():
        network(*inputs)
    return counter.total


__all__ = [
    "NETWORKS", "Discriminator", "FlopCounter", "Generator", "Shape", "apply_spectral_norm", "build", "count_flops",
    "count_parameters",
]  # fmt: skip
