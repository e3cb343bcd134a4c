"""Which data, logs and runs a page may name: those in the folders given, what was uploaded, and sets with a name."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ganvas.errors import GanvasError
from ganvas.files import to_path
from ganvas.runs import pretrained
from ganvas.runs.folder import Run
from ganvas.studio.answers import Refusal
from ganvas.values import expand_user

if TYPE_CHECKING:
    from ganvas.studio.app import Studio

INCLUDED = ("digits", "digits28")
"""Data sets that come with Ganvas."""

_EMNIST = 561_753_746

DOWNLOADED = {
    "mnist": 11_594_722, "fashion-mnist": 30_878_645, "kmnist": 21_240_888, "cifar10": 170_498_071,
    "cifar100": 169_001_437, "svhn": 246_316_178, "qmnist": 20_436_162, "stacked-mnist": 11_594_722,
    "emnist": _EMNIST, "emnist-letters": _EMNIST, "emnist-digits": _EMNIST, "emnist-byclass": _EMNIST,
    "emnist-bymerge": _EMNIST,
}  # fmt: skip
"""Those that are downloaded when they are first used, with their bytes: as in the reader, which needs NumPy."""


def names_download(data: str) -> bool:
    """Whether data, as `find_data` returns it, is a named set that is downloaded when it is first used."""
    return data.rpartition(":")[2] in DOWNLOADED


def find_data(studio: "Studio", text: object, *, hub: bool = False) -> str:
    """The name or path of a data set that may be read; a path is absolute.

    Args:
        text: what was entered.
        hub: whether a set of the Hugging Face hub will do.

    Raises:
        Refusal: it is a path outside of the folders, or does not exist.
    """
    if not isinstance(text, str) or not text.strip():
        raise Refusal(400, "No data set is named.", expected="a name such as digits, or a path", field="data")
    name, text = text.strip(), text.strip()
    if name.startswith("hf:"):
        if hub:
            return name
        raise Refusal(
            400, f"{name} is a set of the Hugging Face hub, which is read when a training starts.", field="data"
        )
    prefix = "stacked-mnist:" if name.startswith("stacked-mnist:") else ""
    rest = name.removeprefix(prefix)
    if not os.path.lexists(_path(rest)) and rest in (*INCLUDED, *DOWNLOADED):
        return name
    return prefix + str(find_path(studio, rest))


def find_path(studio: "Studio", text: str, field: str = "data") -> Path:
    """A path that exists, absolute and without links, in one of the folders of the studio.

    A relative one is looked for in the working directory, then in each of the folders.

    Raises:
        Refusal: it lies elsewhere, or does not exist.
    """
    path = _path(text, field)
    places = (*studio.folders.paths, *(Path(os.path.realpath(folder)) for folder in studio.data_folders))

    def is_inside(one: Path) -> bool:
        return any(one.is_relative_to(place) for place in places)

    written = [Path(os.path.abspath(folder / path)) for folder in (Path(), *places)]
    real = [Path(os.path.realpath(folder / path)) for folder in (Path(), *places)]
    for its in real:
        if is_inside(its) and its.exists():
            return its
    leads_out = any(is_inside(one) and os.path.lexists(one) for one in written)
    if leads_out or not any(map(is_inside, real)):
        raise Refusal(
            403,
            f"{text} lies outside of the folders that the studio was given.",
            expected=f"the name of a data set ({', '.join((*INCLUDED, *DOWNLOADED))}), or a path in "
            + ", ".join(dict.fromkeys(map(str, places))),
            fix="drop the files on the page, or start it as ganvas studio --data FOLDER.",
            field=field,
        )
    raise Refusal(404, f"There is no {text}.", expected="a file or a folder that exists", field=field)


def find_run(studio: "Studio", key: object) -> Run:
    """A run that may be trained, evaluated or stopped.

    Raises:
        Refusal: there is no such run, or it was uploaded: its config.json may name code, which would be executed.
    """
    if not isinstance(key, str):
        raise Refusal(400, "No run is named.", expected="the key of a run", field="run")
    path = studio.folders.find(key)
    _check_own(studio, path, "run")
    return Run(path)


def find_origin(studio: "Studio", text: str) -> Path:
    """The path of a run or of a snapshot from which a training may start, or the name of a pretrained generator.

    Raises:
        Refusal: as `find_path`; or it was uploaded.
        GanvasError: there is no pretrained generator of this name.
    """
    named = _path(text, "init_from")
    if pretrained.is_name(named):
        pretrained.find_local(named)
        return named
    path = find_path(studio, text, "init_from")
    _check_own(studio, path, "init_from")
    return path


def _check_own(studio: "Studio", path: Path, field: str) -> None:
    if studio.folders.is_uploaded(path):
        raise Refusal(
            403,
            f"{path.name} was uploaded: a run that others wrote may bring code, and is only looked at.",
            fix=f"move it to another folder if you trust it, then ganvas train {path.name} there.",
            field=field,
        )


def _path(text: str, field: str = "data") -> Path:
    try:
        return expand_user(to_path(text, "a path"))
    except GanvasError as error:
        raise Refusal(400, error.what, expected=error.expected, field=field) from error
