"""Generators to export: each recipe's network, as narrow as it can be, with random weights that all have an effect."""

from pathlib import Path

import torch
from support import NARROW

from ganvas.config import Network, leaves, replace
from ganvas.networks import Shape, build_generator
from ganvas.recipes import RECIPES
from ganvas.runs.snapshot import Card, package_versions
from ganvas.sampling import Sampler

RECIPE_NAMES = [name for name in RECIPES if name != "custom"]


def narrow(recipe: str) -> Network:
    """The network of a recipe with the widths of `NARROW`."""
    network = RECIPES[recipe].config.network
    usual, narrowed = dict(leaves(type(network)())), dict(leaves(NARROW[network.family]))
    own = {name: value for name, value in narrowed.items() if value != usual[name] and name not in ("g_norm", "d_norm")}
    return replace(network, **own)


def make_card(network: Network, shape: Shape, recipe: str = "mlp") -> Card:
    names = tuple(f"class {i}" for i in range(shape.classes))
    data = {"name": "pictures", "fingerprint": "0" * 64}
    return Card(network, shape, names, 2000, "ema", data, recipe, package_versions())


def make_sampler(recipe: str, shape: Shape) -> Sampler:
    """An untrained generator whose every weight and buffer is random."""
    torch.manual_seed(0)
    network = narrow(recipe)
    generator = build_generator(network, shape).eval().requires_grad_(False)
    for name, value in generator.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2)
        elif value.is_floating_point() and name != "growth":
            value.add_(0.1 * torch.randn_like(value))
    return Sampler(Path("snapshot"), generator, make_card(network, shape, recipe), torch.device("cpu"))
