"""Freezes the first layers of D, which then keep what they have learned (FreezeD: Mo et al. 2020, arXiv 2002.10964).

Layers are those with a weight of two or more dimensions, in the order in which an image passes them. Embeddings of
classes are none, and the output always learns. Of a D with several heads beside each other the first layers of each are
meant.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ganvas.networks import Shape, base
from ganvas.pytorch_state import GPU_MODULES


def count_layers(discriminator: nn.Module, shape: Shape, device: torch.device) -> int:
    """The layers of D, the output included; of several heads, those of the one that has most."""
    return max((len(layers) for _, layers in _paths(discriminator, shape, device)), default=0)


def freeze_first_layers(discriminator: nn.Module, n: int, shape: Shape, device: torch.device) -> list[str]:
    """Freezes the first n layers that an image passes in D at its full size, and the norms between them.

    Where there are fewer before an output, as in a short head, all of them are frozen.

    Returns:
        Their names.
    """
    paths = _paths(discriminator, shape, device)
    chosen: list[str] = []
    frozen: list[str] = []
    for modules, layers in paths:
        count = min(n, len(layers) - 1)
        if count > 0:
            chosen += layers[:count]
            frozen += modules[: modules.index(layers[count])]
    every = {layer for _, layers in paths for layer in layers}
    for name, weight in discriminator.named_parameters():
        owner = layer_of(name)
        inside = {layer for layer in every if layer.startswith(f"{owner}.")}  # as of an embedding of positions
        if owner in frozen or (inside and inside.issubset(frozen)):
            weight.requires_grad_(False)
    return chosen


def layer_of(parameter: str) -> str:
    """The name of the layer to which a parameter belongs, also where it is parametrised, as by spectral norm."""
    return parameter.rpartition(".")[0].partition(".parametrizations")[0]


def _paths(discriminator: nn.Module, shape: Shape, device: torch.device) -> list[tuple[list[str], list[str]]]:
    """(modules with parameters, layers among them) by name, in the order of a pass: of D, or of each of its heads."""
    modules = dict(discriminator.named_modules())
    weights = {layer_of(name) for name, weight in discriminator.named_parameters() if weight.dim() > 1}
    heads = getattr(discriminator, "parallel_heads", "")
    paths: dict[str, list[str]] = {}
    for name in _modules_in_order(discriminator, shape, device):
        if not isinstance(modules[name], nn.Embedding):
            head = ".".join(name.split(".")[:2]) if heads and name.startswith(f"{heads}.") else ""
            paths.setdefault(head, []).append(name)
    return [(names, [name for name in names if name in weights]) for names in paths.values()]


def _modules_in_order(discriminator: nn.Module, shape: Shape, device: torch.device) -> list[str]:
    """The names of D's innermost modules with parameters, in the order in which an image passes them at full size."""
    order: dict[str, None] = {}
    names = {layer_of(name) for name, _ in discriminator.named_parameters()} - {""}
    names = {name for name in names if not any(other.startswith(f"{name}.") for other in names)}
    hooks = [
        module.register_forward_pre_hook(lambda *_, name=name: order.setdefault(name))
        for name, module in discriminator.named_modules()
        if name in names
    ]
    labels = torch.zeros(2, dtype=torch.long, device=device) if shape.classes else None
    forked = [device] if device.type in GPU_MODULES else []  # of several GPUs only the one that is used
    network: Any = discriminator
    training, growth = network.training, getattr(network, "growth", None)
    before = growth.item() if isinstance(growth, Tensor) and isinstance(network, base.Discriminator) else 1.0
    try:
        if before < 1:
            network.grow(1.0)
        with torch.no_grad(), torch.random.fork_rng(forked, device_type=device.type):
            network.eval()(network.d_input(torch.zeros(2, *shape[:3], device=device)), labels)
    finally:
        network.train(training)
        if before < 1:
            network.grow(before)
        for hook in hooks:
            hook.remove()
    return list(order)
