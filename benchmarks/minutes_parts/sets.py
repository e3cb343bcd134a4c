"""The sets of pictures: what is trained on, and the real pictures that generated ones are compared with."""

import hashlib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import torch

from ganvas import GanvasError
from ganvas.config import replace
from ganvas.data import DataOptions, ImageSet, open_images
from ganvas.recipes import base_config
from ganvas.training.choices import choose_resolution

MAX_REALS = 2000
"""Real pictures that generated ones are compared with, if there are as many."""


@dataclass(frozen=True)
class PictureSet:
    """Where the pictures of a set are in the data folder, and how they are used.

    Attributes:
        few: train on this many, evenly chosen, and compare with the others; None: train on all.
        digits: a classifier can be trained on it that counts what is drawn.
        classes: train on the classes whose names fit this pattern alone.
        taught_on: methods "…-from" start with networks that were taught on these classes.
        threads: of a training on it. Cells of one thread may be measured as many at a time as there are cores.
    """

    path: str
    resolution: str | None = None
    conditional: bool = False
    few: int | None = None
    digits: bool = False
    classes: str | None = None
    taught_on: str | None = None
    threads: int = 2


SETS = {
    "kaokore": PictureSet("kaokore-faces-128.zip", "64"),
    "kaokore-32": PictureSet("kaokore-faces-128.zip", "32"),
    "kaokore-200": PictureSet("kaokore-faces-128.zip", "64", few=200),
    "cifar10": PictureSet("cifar10-train.zip"),
    "cifar10-conditional": PictureSet("cifar10-train.zip", conditional=True),
    "mnist": PictureSet("mnist", digits=True),
    "kaokore-women": PictureSet("kaokore-faces-128.zip", "64", classes="female-*", taught_on="male-*", threads=1),
    "mnist-5-9": PictureSet("mnist", classes="[5-9]", taught_on="[0-4]", threads=1),
}

MIN_OF_A_CLASS = 4
"""Pictures of each class that a conditional set needs: one half is compared with the other."""


def add_set(path: Path, resolution: str | None, few: int | None, *, conditional: bool) -> str:
    """Adds a set that lies anywhere: a file or folder for `--data`. Returns its name, which its cells have in theirs.

    Without a resolution it has the one at which `ganvas train` trains by time on a CPU. The name ends with a digest of
    its place: many folders are called `train`.

    Raises:
        GanvasError: there are no such pictures, no more than `few`, or not enough of a class; or both `few` and
            `conditional` are given.
    """
    if few and conditional:
        raise GanvasError("Few pictures and classes at once are not measured", fix="give --few or --conditional")
    config = replace(base_config("fast", on_cpu=True), data=str(path.resolve()), resolution=resolution)
    dataset = choose_resolution(config, torch.device("cpu"), progress=False)[0].dataset
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:6]
    parts = [path.resolve().stem, resolution, f"{few}" if few else None, "conditional" if conditional else None, digest]
    name = "-".join(part for part in parts if part)
    images = open_images(dataset.options())
    if few and few >= len(images):
        raise GanvasError(f"{path} has {len(images)} pictures; --few needs more than that to compare with")
    if conditional and (images.labels is None or np.bincount(images.labels).min() < MIN_OF_A_CLASS):
        raise GanvasError(f"--conditional needs {MIN_OF_A_CLASS} or more pictures of each class in {path}")
    SETS[name] = PictureSet(dataset.data, dataset.resolution, conditional, few)
    return name


@dataclass(frozen=True, eq=False)
class Pictures:
    """A set of pictures in memory, all arrays uint8 [n c h w].

    Attributes:
        source: the file or folder for `--data`, if all of it is trained on.
        images: the whole set.
        train: what is trained on.
        reals: what is compared with, in random order; the held-out pictures if there are any.
        held_out: pictures that are not trained on, where only few are.
        is_part: whether `train` is a part of the source.
        origin: what the networks of methods "…-from" are taught on first.
        threads: of a training.
    """

    source: Path
    resolution: str | None
    conditional: bool
    digits: bool
    images: ImageSet
    train: np.ndarray
    reals: np.ndarray
    held_out: np.ndarray | None
    is_part: bool = False
    origin: np.ndarray | None = None
    threads: int = 2


def open_pictures(name: str, data: Path) -> Pictures:
    """Opens a set that lies in the data folder."""
    chosen = SETS[name]
    images = open_images(DataOptions(str(data / chosen.path), "train", chosen.resolution))
    rows = np.random.RandomState(0).permutation(len(images))
    train, held_out = images.images, None
    if chosen.few:
        trained = few_rows(len(images), chosen.few)
        rows = rows[~np.isin(rows, trained)]
        train, held_out = images.images[trained], images.images[np.sort(rows)]
    origin = None
    if chosen.classes and chosen.taught_on:
        rows = rows[_fits(images, chosen.classes)[rows]]
        train, origin = images.images[np.sort(rows)], images.images[_fits(images, chosen.taught_on)]
    rows = rows[:MAX_REALS]
    return Pictures(
        data / chosen.path, chosen.resolution, chosen.conditional, chosen.digits, images,
        train, images.images[rows], held_out, train is not images.images, origin, chosen.threads,
    )  # fmt: skip


def _fits(images: ImageSet, pattern: str) -> np.ndarray:
    """Whether each picture's class has a name that fits, bool [n]."""
    assert images.labels is not None
    return np.array([fnmatchcase(name, pattern) for name in images.class_names])[images.labels]


def few_rows(n: int, few: int) -> np.ndarray:
    """`few` of n rows, evenly spaced, the first included: sets are often sorted by class."""
    return np.arange(few) * n // few
