"""ganvas.train: a recipe's name and some knobs, from Python."""

from pathlib import Path
from typing import Any

from ganvas import config as knobs_of
from ganvas.config import TrainConfig
from ganvas.runs.folder import Run, resolve
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
        GanvasError: what happened, what was expected, the fix.
        KeyboardInterrupt: interrupted; everything is saved.
    """
    title, config, place = resolve(recipe)
    config = knobs_of.replace(config, **knobs)
    if place is not None:
        out, name = place.path.parent, place.path.name
    return start.train(config, recipe=title, out=out, name=name, new=new, quiet=quiet)
