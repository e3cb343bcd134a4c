"""Where a generator is: here, in the package (pretrained:NAME), on the hub (hf:owner/name), or on the web (https:…)."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganvas.errors import GanvasError
from ganvas.runs import hub, pretrained, web_file
from ganvas.runs.card import WEIGHTS
from ganvas.values import expand_user

FORMS = f"{pretrained.PREFIX}NAME, hf:owner/name@revision, or {web_file.FORM}"
"""The names of generators that are not paths."""


def find_local(path: Path) -> Path:
    """The folder or the file of a generator; a name of one elsewhere becomes that of its copy on this machine.

    Raises:
        GanvasError: it is a wrong name, or cannot be had; see `pretrained`, `hub` and `web_file`.
    """
    for kind in (pretrained, hub, web_file):
        if kind.is_name(path):
            return kind.find_local(path)
    return path


def folder_of(path: Path) -> Path:
    """The folder of a generator whose file of weights is named; any other path as it is."""
    return path.parent if path.name in WEIGHTS else path


def is_same_place(one: str | None, other: str | None) -> bool:
    """Whether two values of `init_from` mean the same: paths as they are seen from here, other names as written."""
    return one == other or (one is not None and other is not None and _place(one) == _place(other))


def _place(given: str) -> str:
    path = Path(given)
    if any(kind.is_name(path) for kind in (pretrained, hub, web_file)):
        return str(path)
    return os.path.realpath(expand_user(folder_of(path)))


def origin_name(lineage: Mapping[str, Any] | None) -> str:
    """The run or generator whose networks a training started with, without the folders of a machine; or empty.

    It is the last part of a path, of a snapshot that of its run; of an address the name of the file; else the whole
    name (pretrained:digits, hf:owner/name@revision).
    """
    given = str((lineage or {}).get("from", ""))
    path = Path(given)
    if pretrained.is_name(path) or hub.is_name(path):
        return given
    if web_file.is_name(path):
        return given.partition("#")[0].partition("?")[0].rpartition("/")[2]
    run = path.parents[1] if path.parent.name == "snapshots" else path
    return run.name or path.name or given


def names_generator(path: Path) -> bool:
    """Whether a path is the name of a generator elsewhere; hf:owner/name without a revision may be a data set too."""
    return pretrained.is_name(path) or web_file.is_name(path) or hub.has_revision(path)


def check_no_generator(name: str, fix: str) -> None:
    """Refuses the name of a generator elsewhere where a training is needed.

    Raises:
        GanvasError: it is one, or is meant as one.
    """
    path = Path(name)
    if not names_generator(path):
        return
    if pretrained.is_name(path):
        pretrained.find_local(path)
    raise GanvasError(f"{name} is a generator without its training.", expected="the folder of a run", fix=fix)
