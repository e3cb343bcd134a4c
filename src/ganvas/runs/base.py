"""The configuration that a training starts from before its own knobs: a recipe's, another generator's, or a run's."""

import dataclasses
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ganvas.config import Network, TrainConfig, replace
from ganvas.config.families import StyleGAN
from ganvas.errors import GanvasError
from ganvas.files import to_path
from ganvas.recipes import RECIPES, base_config, default_recipe, find_preset
from ganvas.runs.folder import Run
from ganvas.runs.origin import Origin, fill_open, find_begun, read_origin
from ganvas.schedule import ScheduleSpec
from ganvas.values import as_number, real_path

_GROWS_ON = "..1@0-0.5"
"""How networks grow on from where another generator's are, after the growth of those."""


def find_base(
    what: str | TrainConfig | Run | Path | None = None,
    *,
    data: object = None,
    init_from: object = None,
    minutes: object = None,
    device: object = None,
    beside: object = None,
) -> tuple[str, TrainConfig, Run | None]:
    """(name, configuration, run to resume or None) of what a command names.

    Args:
        what: a recipe's name, a configuration, or a run or its folder. None is the recipe of the generator `init_from`
            with its networks, its classes, its spectral norm where it has a D, and its data where these are a built-in
            set; or else the default recipe of the data. A recipe beside another generator starts at the size of its
            images, as grown as it is.
        data, init_from, minutes, device: these knobs as they are given, None where they are not. Minutes on a CPU start
            from the recipe's preset for them, but beside another generator only if that has its networks.
        beside: where a run that the same command began is looked for, a folder of runs or its own: the other generator
            counts as it was then, also if it has trained on or is gone. None: a new run is wanted.

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
        given = base_config(recipe, on_cpu=False).dataset.data if data is None else data
        return recipe, _base_of(recipe, _read_as_before(init_from, given, recipe, beside), minutes, device), None
    origin = _read_as_before(init_from, data, None, beside)
    if origin is None or origin.recipe not in RECIPES:
        recipe = default_recipe(data)
        return recipe, _base_of(recipe, origin, minutes, device), None
    from ganvas.data.digits import NAMES  # with NumPy

    if data is None and origin.data not in NAMES:
        raise GanvasError(
            f"--from {init_from} without --data.",
            expected="the images to train on, which another generator does not bring along",
            fix=f"--data FOLDER; that generator was trained on {origin.data or 'images without a name'}.",
        )
    base = _base_of(origin.recipe, origin, minutes, device)
    config = replace(dataclasses.replace(base, network=origin.network), conditional=origin.shape["classes"] > 0)
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
    origin = None if init_from is None else read_origin(init_from)
    return _base_of(recipe, origin, minutes, device, auto_is_cpu)


def _base_of(
    recipe: str,
    origin: Origin | None,
    minutes: object,
    device: object,
    auto_is_cpu: Callable[[], bool] = lambda: trains_on_cpu("auto"),
) -> TrainConfig:
    """`recipe_base` beside a generator that is read already."""
    base, length = base_config(recipe, on_cpu=False), as_number(minutes)
    if find_preset(recipe, length):
        preset = base_config(recipe, length, on_cpu=True)
        fits = origin is None or _with_growth(origin.network, 1.0) == _with_growth(preset.network, 1.0)
        if fits and (auto_is_cpu() if device in (None, "auto") else trains_on_cpu(device)):
            base = preset
    if origin is not None and not origin.tensors and origin.network.family == base.network.family:
        base = fill_open(base, origin.network)  # it is gone, and cannot be asked later
    return base if origin is None else _from_origin(origin, base)


def _from_origin(origin: Origin, config: TrainConfig) -> TrainConfig:
    """A configuration at the size of the other generator's images, whose networks grow from where its networks are."""
    growth = 1.0 if origin.growth >= 1 else f"{origin.growth:.4g}{_GROWS_ON}"
    grown = dataclasses.replace(config, network=_with_growth(config.network, growth))
    return replace(grown, resolution="x".join(map(str, origin.size)))


def _read_as_before(init_from: object, data: object, recipe: str | None, beside: object) -> Origin | None:
    """The other generator as it was when the run that the same command began started from it; as it is if none did."""
    if init_from is None:
        return None
    origin, unusable = None, None
    try:
        origin = read_origin(init_from)
    except GanvasError as error:
        unusable = error
    begun = () if beside is None else find_begun(to_path(beside, "the folder of the runs"), init_from)
    for run in begun:
        if recipe in (None, run.metadata["recipe"]) and _are_data_of(run, data):
            growth = growth_at_start(run.config)
            if origin is None:
                return _as_run_says(run, growth)
            return origin if growth is None else dataclasses.replace(origin, growth=min(growth, origin.growth))
    if unusable is not None:
        raise unusable
    return origin


def _are_data_of(run: Run, data: object) -> bool:
    """Whether these are the images of a run, by their path or name; None is those of a generator of a built-in set."""
    from ganvas.data.digits import NAMES  # with NumPy

    own = run.config.dataset.data
    return own in NAMES if data is None else own == str(data) or real_path(own) == real_path(str(data))


def growth_at_start(config: TrainConfig) -> float | None:
    """The growth with which networks go on from where another one's are; None if they do not."""
    network = config.network
    given = str(network.growth) if isinstance(network, StyleGAN) else ""
    with suppress(ValueError):
        if given.endswith(_GROWS_ON):
            return float(given.removesuffix(_GROWS_ON)) or None  # from 0 they grow without another one's too
    return None


def _as_run_says(run: Run, growth: float | None) -> Origin:
    """What a run still says of the other generator that it started from, and that is gone; it has no tensors."""
    config, start = run.config, Path(str(run.config.transfer.init_from))
    recipe, shape, normed = run.metadata["recipe"], run.metadata["data"]["shape"], config.loss.spectral_norm
    grown = 1.0 if growth is None else growth
    return Origin(start, start, recipe, config.dataset.data, config.network, shape, 0, grown, {}, normed)


def _with_growth(network: Network, growth: ScheduleSpec) -> Network:
    return dataclasses.replace(network, growth=growth) if isinstance(network, StyleGAN) else network


def trains_on_cpu(device: object) -> bool:
    """Whether a device, by its name, is the CPU; it may be another machine's. Only `auto` needs PyTorch."""
    if device == "auto":
        from ganvas.devices import select_device

        return select_device("auto").type == "cpu"
    return str(device).partition(":")[0] == "cpu"


def _is_recipe(what: Run | Path | str) -> bool:
    folder = isinstance(what, str) and to_path(what, "a recipe, a run, or its folder") / "config.json"
    return bool(folder) and not folder.exists()
