"""The configuration of a training that starts from another generator and names no recipe: the other one's."""

import dataclasses
from pathlib import Path

from ganvas.config import Network, TrainConfig, replace
from ganvas.files import to_path
from ganvas.recipes import RECIPES, default_recipe
from ganvas.runs import lookup
from ganvas.runs.card import WEIGHTS, is_run, is_snapshot, read_card, read_network
from ganvas.runs.folder import Run
from ganvas.values import expand_user


def choose_recipe(data: object, init_from: object) -> tuple[str, TrainConfig]:
    """The recipe of a training that names none, and its configuration.

    Args:
        data: the data that is named, or None.
        init_from: the run or the generator that it starts from, or None. Then the recipe is that of its training, with
            its networks, its classes, and its data where these are a built-in set.

    Raises:
        GanvasError: the generator cannot be used.
    """
    origin = None if init_from is None else _read_origin(expand_user(to_path(init_from, "a run or a generator")))
    if origin is None or origin[0] not in RECIPES:
        recipe = default_recipe(data)
        return recipe, RECIPES[recipe].config
    from ganvas.data.digits import NAMES  # with NumPy

    recipe, network, conditional, theirs = origin
    config = replace(dataclasses.replace(RECIPES[recipe].config, network=network), conditional=conditional)
    return recipe, replace(config, data=theirs) if theirs in NAMES else config


def _read_origin(path: Path) -> tuple[str, Network, bool, str] | None:
    """Recipe, networks, whether there are classes, and data of a run or a generator; None if it is neither."""
    path = lookup.find_local(path.parent if path.name in WEIGHTS else path)
    if is_run(path):
        run = Run(path)
        config = run.config
        return run.metadata["recipe"], config.network, config.dataset.conditional, config.dataset.data
    if not is_snapshot(path):
        return None
    card = read_card(path)
    return card["recipe"], read_network(path, card), card["shape"]["classes"] > 0, card["data"]["name"]
