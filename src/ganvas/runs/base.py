"""The configuration that a training starts from before its own knobs: a recipe's, another generator's, or a run's."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ganvas.config import Network, TrainConfig, replace
from ganvas.config.families import StyleGAN
from ganvas.errors import GanvasError
from ganvas.files import to_path
from ganvas.recipes import RECIPES, base_config, default_recipe, find_preset
from ganvas.runs import lookup
from ganvas.runs.card import is_run, is_snapshot, read_card, read_growth, read_network, weights_file
from ganvas.runs.folder import Run
from ganvas.schedule import ScheduleSpec
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
        what: a recipe's name, a configuration, or a run or its folder. None is the recipe of the generator `init_from`
            with its networks, its classes, its spectral norm where it has a D, and its data where these are a built-in
            set; or else the default recipe of the data. A recipe beside another generator starts at the size of its
            images, as grown as it is.
        data, init_from, minutes, device: these knobs as they are given, None where they are not. Minutes on a CPU start
            from the recipe's preset for them, but beside another generator only if that has its networks.

    Raises:
        GanvasError: `what` is none of these, or the other generator cannot be used, or says nothing about data.
    """
    if isinstance(what, TrainConfig):
        return "config", what, None
    if what is not None and not _is_recipe(what):
        run = what if isinstance(what, Run) else Run(to_path(what, "a recipe, a run, or its folder"))
        return run.metadata["recipe"], run.config, run
    if what is not None:
        recipe = str(what)
        return recipe, recipe_base(recipe, init_from=init_from, minutes=minutes, device=device), None
    origin = None if init_from is None else _read_origin(init_from)
    if origin is None or origin.recipe not in RECIPES:
        recipe = default_recipe(data)
        return recipe, recipe_base(recipe, init_from=init_from, minutes=minutes, device=device), None
    from ganvas.data.digits import NAMES  # with NumPy

    if data is None and origin.data not in NAMES:
        raise GanvasError(
            f"--from {init_from} without --data.",
            expected="the images to train on, which another generator does not bring along",
            fix=f"--data FOLDER; that generator was trained on {origin.data or 'images without a name'}.",
        )
    base = recipe_base(origin.recipe, init_from=init_from, minutes=minutes, device=device)
    config = replace(dataclasses.replace(base, network=origin.network), conditional=origin.conditional)
    if origin.spectral_norm is not None:  # without it few layers of D fit; it excludes clipping
        clip = 0.0 if origin.spectral_norm else config.loss.clip
        config = replace(config, spectral_norm=origin.spectral_norm, clip=clip)
    config = _from_origin(origin, config)
    return origin.recipe, replace(config, data=origin.data) if origin.data in NAMES else config, None


def recipe_base(
    recipe: str,
    *,
    init_from: object = None,
    minutes: object = None,
    device: object = None,
    auto_is_cpu: Callable[[], bool] = lambda: trains_on_cpu("auto"),
) -> TrainConfig:
    """What a recipe is before the knobs of a command: itself, or its preset.

    Args:
        recipe: its name.
        init_from, minutes, device: as for `find_base`.
        auto_is_cpu: whether the device `auto` is the CPU; by default PyTorch says it.

    Raises:
        GanvasError: there is no such recipe, or the other generator cannot be used.
    """
    base, length = base_config(recipe, on_cpu=False), as_number(minutes)
    origin = None if init_from is None else _read_origin(init_from)
    if find_preset(recipe, length):
        preset = base_config(recipe, length, on_cpu=True)
        fits = origin is None or _with_growth(origin.network, 1.0) == _with_growth(preset.network, 1.0)
        if fits and (auto_is_cpu() if device in (None, "auto") else trains_on_cpu(device)):
            base = preset
    return base if origin is None else _from_origin(origin, base)


def _from_origin(origin: "_Origin", config: TrainConfig) -> TrainConfig:
    """A configuration at the size of the other generator's images, whose networks grow from where its networks are."""
    growth = 1.0 if origin.growth >= 1 else f"{origin.growth:.4g}..1@0-0.5"
    grown = dataclasses.replace(config, network=_with_growth(config.network, growth))
    return replace(grown, resolution=f"{origin.height}x{origin.width}")


def _with_growth(network: Network, growth: ScheduleSpec) -> Network:
    return dataclasses.replace(network, growth=growth) if isinstance(network, StyleGAN) else network


def trains_on_cpu(device: object) -> bool:
    """Whether a device, by its name, is the CPU; it may be another machine's. Only `auto` needs PyTorch."""
    if device == "auto":
        from ganvas.devices import select_device

        return select_device("auto").type == "cpu"
    return str(device).partition(":")[0] == "cpu"


class _Origin(NamedTuple):
    """What a run or a generator says of its training; of spectral norm only what has a D."""

    recipe: str
    network: Network
    conditional: bool
    data: str
    height: int
    width: int
    growth: float
    spectral_norm: bool | None = None


def _is_recipe(what: Run | Path | str) -> bool:
    folder = isinstance(what, str) and to_path(what, "a recipe, a run, or its folder") / "config.json"
    return bool(folder) and not folder.exists()


def _read_origin(init_from: object) -> _Origin | None:
    """That of a run or a generator; None if it is neither."""
    path = expand_user(to_path(init_from, "a run or a generator"))
    path = lookup.find_local(lookup.folder_of(path))
    if is_run(path):
        run = Run(path)
        config, shape = run.config, run.metadata["data"]["shape"]
        data, recipe = config.dataset, run.metadata["recipe"]
        growth = read_growth(run.state_file, "ema/growth") if run.state_file.exists() else 1.0
        size, normed = (shape["height"], shape["width"]), config.loss.spectral_norm if run.state_file.exists() else None
        return _Origin(recipe, config.network, data.conditional, data.data, *size, growth, normed)
    if not is_snapshot(path):
        return None
    card = read_card(path)
    network, shape, data = read_network(path, card), card["shape"], card["data"]["name"]
    size, growth = (shape["height"], shape["width"]), read_growth(weights_file(path), "growth")
    return _Origin(card["recipe"], network, shape["classes"] > 0, data, *size, growth)
