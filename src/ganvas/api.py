"""`ganvas.train`: trains a recipe, with any knobs changed."""

from pathlib import Path
from typing import Unpack

from ganvas.config import TrainConfig, replace
from ganvas.config.knobs import Knobs
from ganvas.files import to_path
from ganvas.runs import lookup
from ganvas.runs.base import find_base
from ganvas.runs.folder import Run
from ganvas.trackers import processes
from ganvas.training import start
from ganvas.values import to_flag, to_text


def train(
    recipe: str | TrainConfig | Run | Path | None = None,
    *,
    out: Path | str = "runs",
    name: str | None = None,
    new: bool = False,
    quiet: bool = False,
    **knobs: Unpack[Knobs],
) -> Run:
    """Trains a GAN; the same call again resumes it.

        run = ganvas.train("cnn", data="photos.zip", resolution="64", kimg=200)
        ganvas.train("runs/00000-cnn-photos")  # resumes that run

    Args:
        recipe: the name of a recipe, a configuration, or a run (or its folder) to resume; by default digits28, with
            data="digits" digits, with any other data fast, which takes ten minutes; with `init_from` that of the other
            training, with its networks.
        out, name, new, quiet: see `ganvas.training.start.train`.
        knobs: any field of `ganvas.config`, by its name: `kimg=100, batch=64, g_lr="1e-3..1e-4:cosine@0.5-1"`. With
            `minutes` on a CPU a recipe starts from its CPU preset, if it has one (`ganvas.recipes.cpu`).

    Raises:
        GanvasError: see `ganvas.training.start.train`.
        KeyboardInterrupt: interrupted; everything is saved.
    """
    if isinstance(recipe, str | Path):
        lookup.check_no_generator(str(recipe), f"start a new training from it: train(init_from={str(recipe)!r})")
    first = {name: knobs.get(name) for name in ("data", "init_from", "minutes", "device")}
    own = "" if name is None else to_text(name, "name", "a name")
    beside = None if to_flag(new, "new") else to_path(out, "the folder of the runs") / own
    title, config, run = find_base(recipe, **first, beside=beside)
    config = replace(config, **knobs)
    if run is not None:
        out, name = run.path.parent, run.path.name
    told = processes.listeners(config)
    return start.train(config, recipe=title, out=out, name=name, new=new, quiet=quiet, listeners=told)
