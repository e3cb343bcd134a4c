"""From a list of file names to pictures with labels: what folders and zips have in common."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from ganvas.data.forms import no_split
from ganvas.errors import GanvasError

_SUFFIXES = "jpg jpeg jpe jfif png apng webp bmp dib tif tiff gif ppm pgm pbm pnm avif jp2"
PICTURES = frozenset(f".{suffix}" for suffix in _SUFFIXES.split())
LABELS = "dataset.json"
_TEST_FOLDERS = ("test", "val", "valid", "validation")


@dataclass(frozen=True)
class Listing:
    """The pictures of a folder or zip, in order, and what their names say."""

    names: tuple[str, ...]
    labels: np.ndarray | None = None
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    bad: tuple[tuple[str, str], ...] = ()


def natural(name: str) -> tuple[Any, ...]:
    """A sorting key by which img2 comes before img10."""
    parts = re.split(r"(\d{1,300})", name)
    return [(int(part) if index % 2 else part.casefold()) for index, part in enumerate(parts)], name  # type: ignore


def sort_out(names: Iterable[str]) -> tuple[list[str], str | None, Counter[str]]:
    """File names -> (pictures in natural order, the `dataset.json` or None, how many others by extension)."""
    pictures, tables, others = [], [], Counter[str]()
    for name in names:
        path = PurePosixPath(name)
        if hidden(path.parts):
            continue
        suffix = path.suffix.lower()
        if path.name == LABELS:
            tables.append(name)
        elif suffix in PICTURES:
            pictures.append(name)
        else:
            others[suffix or "(no extension)"] += 1
    pictures.sort(key=natural)
    root = _common_root(pictures + tables)
    table = next((name for name in tables if name in (LABELS, root + LABELS)), None)
    others[".json"] += len(tables) - (table is not None)
    return pictures, table, +others


def hidden(parts: Sequence[str]) -> bool:
    """Whether a path is the debris of an operating system."""
    return any(part.startswith(".") or part in ("__MACOSX", "Thumbs.db", "desktop.ini") for part in parts)


def labelled(
    pictures: list[str], table: str | None, read: Callable[[str], bytes], *, split: str, where: str
) -> Listing:
    """Chooses the split and gives every picture its label, from `dataset.json` or else from the sub-folders.

    Args:
        pictures, table: as `sort_out` gives them.
        read: the content of a named file.
        where: the folder or zip, for messages.

    Raises:
        GanvasError: no pictures; no such split; a `dataset.json` that cannot be used.
    """
    if table is not None:
        if split == "test":
            raise no_split(f"{where}, which has a {LABELS},", fix="leave --split out, or name the test set itself.")
        prefix = table[: -len(LABELS)]
        return _from_table(pictures, prefix, read(table), f"{where}: {table}")
    root = _common_root(pictures)
    tops = {name[len(root) :].split("/")[0] for name in pictures if "/" in name[len(root) :]}
    loose = any("/" not in name[len(root) :] for name in pictures)
    halves = {top.lower(): top for top in tops}
    test = next((halves[name] for name in _TEST_FOLDERS if name in halves), None)
    parts = {"train", "training", *_TEST_FOLDERS}
    if not loose and test is not None and "train" in halves and halves.keys() <= parts:
        chosen = root + (test if split == "test" else halves["train"]) + "/"
        kept = [name for name in pictures if name.startswith(chosen)]
        listing = _from_folders(kept)
        note = f"{chosen} was taken as the {split} split: {len(kept)} of {len(pictures)} pictures."
        return replace(listing, notes=(note, *listing.notes))
    if split == "test":
        raise no_split(where, fix="leave --split out, or sort the pictures into two folders, train and test.")
    return _from_folders(pictures)


def _from_folders(pictures: list[str]) -> Listing:
    """First-level sub-folders are classes, if every picture is in one and there are at least two."""
    root = _common_root(pictures)
    inside = [name[len(root) :] for name in pictures]
    tops = [name.split("/")[0] if "/" in name else "" for name in inside]
    classes = sorted(set(tops), key=natural)
    everything = tuple(pictures)
    if all(re.fullmatch(r"(?:\d{5}/)?img\d{8}\.\w+", name) for name in inside) or classes in ([], [""]):
        return Listing(everything)
    if "" in classes:
        loose = tops.count("")
        note = f"Pictures outside the sub-folders: {loose}; so the sub-folders are not taken as classes."
        return Listing(everything, notes=(note,))
    if len(classes) == 1:
        return Listing(everything)
    number = {name: index for index, name in enumerate(classes)}
    return Listing(everything, np.array([number[top] for top in tops], np.int64), tuple(classes))


def _from_table(pictures: list[str], prefix: str, content: bytes, where: str) -> Listing:
    """Labels by NVlabs' dataset.json: {"labels": [[name, 3], ...] or null, "class_names": [...]}."""
    try:
        table = json.loads(content)
        rows, class_names = table.get("labels"), table.get("class_names")
    except (ValueError, AttributeError, RecursionError) as error:
        raise GanvasError(
            f"{where} cannot be read: {error}.",
            expected='JSON such as {"labels": [["00000/img00000000.png", 3], ...]}',
        ) from error
    if rows is None:
        return Listing(tuple(pictures))
    found = _rows(rows, prefix, where)
    known = set(pictures)
    missing = [name for name in found if name not in known]
    if missing:
        raise GanvasError(
            f"{where} labels {len(missing)} pictures that are not there, such as {missing[0]}.",
            expected="a picture for every label",
            fix="make the table anew from the pictures that are there.",
        )
    kept = tuple(name for name in pictures if name in found)
    bad = tuple((name, f"no label in {LABELS}") for name in pictures if name not in found)
    labels = np.array([found[name] for name in kept], np.int64)
    labels, names, notes = named_classes(labels, class_names, where)
    return Listing(kept, labels, names, notes, bad)


def _rows(rows: Any, prefix: str, where: str) -> dict[str, int]:
    found: dict[str, int] = {}
    if not isinstance(rows, list | dict):
        raise GanvasError(f'{where}: "labels" is no list.', expected='[["name.png", 3], ...] or null')
    for row in rows.items() if isinstance(rows, dict) else rows:
        if not (isinstance(row, list | tuple) and len(row) == 2 and isinstance(row[0], str)):
            raise GanvasError(f"{where}: {str(row)[:80]!r} is no label.", expected='["name.png", 3]')
        name, label = row
        if isinstance(label, bool) or not isinstance(label, int):
            kind = "a vector" if isinstance(label, list) else repr(label)[:40]
            raise GanvasError(
                f"{where} gives {name} {kind} as its label.",
                expected="one whole number for each picture: Ganvas' classes exclude each other",
                fix='write the number of the class, or set "labels" to null to train without.',
            )
        if found.setdefault(prefix + name, label) != label:
            raise GanvasError(f"{where} gives {name} two labels, {found[prefix + name]} and {label}.")
    return found


def named_classes(labels: np.ndarray, names: Any, where: str) -> tuple[np.ndarray, tuple[str, ...], tuple[str, ...]]:
    """Whole numbers [N] and the classes' names, if known -> (int64 [N] in 0..classes-1, names, notes).

    Raises:
        GanvasError: a negative label, or one that has no name.
    """
    labels = labels.astype(np.int64)
    if len(labels) == 0:
        return labels, tuple(map(str, names or ())), ()
    if labels.min() < 0:
        raise GanvasError(f"{where} holds the label {labels.min()}.", expected="classes numbered from 0")
    top = int(labels.max()) + 1
    if names is not None:
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            raise GanvasError(f"{where}: the class names are no list of texts.", expected='["cat", "dog", ...]')
        if top > len(names):
            raise GanvasError(
                f"{where} holds the label {top - 1}, but names only {len(names)} classes.",
                expected="a name for every class, counted from 0",
            )
        return labels, tuple(names), ()
    present, compact = np.unique(labels, return_inverse=True)
    if top > 4 * len(present) + 16:  # identity numbers rather than classes: keep only those that occur
        note = f"The labels reach {top - 1} but only {len(present)} occur: they were renumbered from 0."
        return compact.astype(np.int64), tuple(map(str, present)), (note,)
    return labels, tuple(map(str, range(top))), ()


def _common_root(names: Sequence[str]) -> str:
    """The folders that all names share, with a closing slash: `f/` of `f/a/1.png`, `f/b/1.png`."""
    shared: Sequence[str] | None = None
    for name in names:
        folders = name.split("/")[:-1]
        if shared is None:
            shared = folders
        while shared and folders[: len(shared)] != list(shared):
            shared = shared[:-1]
        if not shared:
            return ""
    return "/".join(shared) + "/" if shared else ""
