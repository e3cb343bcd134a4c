"""ganvas.train: a recipe's name and some knobs, from Python."""

from pathlib import Path
from typing import Any

from ganvas import config as knobs_of
from ganvas.config import TrainConfig
from ganvas.recipes import recipe as find
from ganvas.runs.folder import Run
from ganvas.training import start


def train(
    recipe: str | TrainConfig | Run | Path = "digits",
    *,
    out: Path | str = "runs",
    name: str | None = None,
    new: bool = False,
    quiet: bool = False,
    **knobs: Any,
) -> Run:
    """Trains a GAN; called again in the same way, goes on with it.

        run = ganvas.train("cnn", data="photos.zip", resolution="64", kimg=200)
        ganvas.train("runs/00000-cnn-photos")  # goes on with that run

    Args:
        recipe: the name of a recipe, a configuration of your own, or a run (or its folder) to go on with.
        out, name, new, quiet: see `ganvas.training.start.train`.
        knobs: any field of `ganvas.config`, by its name: `kimg=100, batch=64, g_lr="1e-3..1e-4:cosine@0.5-1"`.

    Raises:
        GanvasError: what happened, what was expected, how to mend it.
        KeyboardInterrupt: interrupted; everything is saved.
    """
    title, config, place = resolve(recipe)
    config = knobs_of.replace(config, **knobs)
    if place is not None:
        out, name = place.path.parent, place.path.name
    return start.train(config, recipe=title, out=out, name=name, new=new, quiet=quiet)


def resolve(recipe: str | TrainConfig | Run | Path) -> tuple[str, TrainConfig, Run | None]:
    """(what to call it, its configuration, the run if it is one).

    Raises:
        GanvasError: it is neither a recipe nor a run.
    """
    if isinstance(recipe, TrainConfig):
        return "custom", recipe, None
    if isinstance(recipe, str) and not (Path(recipe) / "config.json").exists():
        return recipe, find(recipe).config, None
    run = recipe if isinstance(recipe, Run) else Run(Path(recipe))
    return run.card["recipe"], run.config, run
