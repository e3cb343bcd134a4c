"""Networks know images. One file a family; a family is a (Generator, Discriminator) pair in the table below."""

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ganvas.config import Network
from ganvas.networks import cnn, mlp
from ganvas.networks.layers import Shape

NETWORKS = {
    "mlp": (mlp.Generator, mlp.Discriminator),
    "cnn": (cnn.Generator, cnn.Discriminator),
}


def build(network: Network, shape: Shape) -> tuple[nn.Module, nn.Module]:
    """The untrained (G, D) of a family for images of this shape, drawn from torch's global generator."""
    generator, discriminator = NETWORKS[network.family]
    return generator(network, shape), discriminator(network, shape)


def parameters(network: nn.Module) -> int:
    """How many numbers a network learns."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def flops(network: nn.Module, *inputs: Tensor | None) -> int:
    """Floating-point operations of one forward pass over these inputs (a multiply-add counts two)."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(*inputs)
    return counter.get_total_flops()


__all__ = ["NETWORKS", "Shape", "build", "flops", "parameters"]
