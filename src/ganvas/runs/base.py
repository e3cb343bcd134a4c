"""The configuration that a training starts from before its own knobs: a recipe's, another generator's, or a run's."""

import dataclasses
from pathlib import Path
from typing import Any

from ganvas.config import Network, TrainConfig, replace
from ganvas.files import to_path
from ganvas.recipes import RECIPES, base_config, default_recipe, find_setting
from ganvas.runs import lookup
from ganvas.runs.card import WEIGHTS, is_run, is_snapshot, read_card, read_network
from ganvas.runs.folder import Run
from ganvas.values import as_number, expand_user


def find_base(
    what: str | TrainConfig | Run | Path | None = None,
    *,
    data: object = None,
    init_from: object = None,
    minutes: object = None,
    device: object = None,
) -> tuple[str, TrainConfig, Run | None]:
    """(name, configuration, run to resume or None) of what a command names.

    Args:
        what: a recipe's name, a configuration, or a run or its folder. None is the recipe of the generator `init_from`,
            or else the default recipe of the data.
        data, init_from, minutes, device: these knobs as they are given, None where they are not. Minutes of a CPU start
            from the recipe's setting for them.

    Raises:
        GanvasError: `what` is none of these, the other generator cannot be used, or there is no such device.
    """
    if what is None:
        recipe, config = _choose_recipe(data, init_from, minutes, device)
        return recipe, config, None
    if isinstance(what, TrainConfig):
        return "config", what, None
    if isinstance(what, str) and not (to_path(what, "a recipe, a run, or its folder") / "config.json").exists():
        return what, _of_recipe(what, minutes, device), None
    run = what if isinstance(what, Run) else Run(to_path(what, "a recipe, a run, or its folder"))
    return run.metadata["recipe"], run.config, run


def _of_recipe(recipe: str, minutes: object, device: object) -> TrainConfig:
    length = as_number(minutes)
    if not find_setting(recipe, length):
        return base_config(recipe, on_cpu=False)
    from ganvas.devices import select_device  # with PyTorch

    device: Any = "auto" if device is None else device
    return base_config(recipe, length, on_cpu=select_device(device).type == "cpu")


def _choose_recipe(data: object, init_from: object, minutes: object, device: object) -> tuple[str, TrainConfig]:
    """The recipe of a training that names none, and its configuration.

    That of a training which starts from a generator is the recipe of that one, with its networks, its classes, and its
    data where these are a built-in set.
    """
    origin = None if init_from is None else _read_origin(expand_user(to_path(init_from, "a run or a generator")))
    if origin is None or origin[0] not in RECIPES:
        recipe = default_recipe(data)
        return recipe, _of_recipe(recipe, minutes, device)
    from ganvas.data.digits import NAMES  # with NumPy

    recipe, network, conditional, theirs = origin
    base = dataclasses.replace(_of_recipe(recipe, minutes, device), network=network)
    config = replace(base, conditional=conditional)
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
