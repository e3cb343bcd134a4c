"""Turns a list of file names into images with labels; shared by folders and zips."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from ganvas.data.source_types import no_split
from ganvas.errors import GanvasError

_SUFFIXES = "jpg jpeg jpe jfif png apng webp bmp dib tif tiff gif ppm pgm pbm pnm avif jp2"
IMAGE_SUFFIXES = frozenset(f".{suffix}" for suffix in _SUFFIXES.split())
LABELS_FILE = "dataset.json"
_TEST_FOLDERS = ("test", "val", "valid", "validation")


@dataclass(frozen=True)
class Listing:
    """The images of a folder or zip, in order, with their labels."""

    names: tuple[str, ...]
    labels: np.ndarray | None = None
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unlabelled: tuple[tuple[str, str], ...] = ()


def natural_key(name: str) -> tuple[Any, ...]:
    """A sorting key that puts img2 before img10."""
    parts = re.split(r"(\d{1,300})", name)
    return [(int(part) if index % 2 else part.casefold()) for index, part in enumerate(parts)], name  # type: ignore


def sort_by_kind(names: Iterable[str]) -> tuple[list[str], str | None, Counter[str]]:
    """File names -> (images in natural order, the `dataset.json` or None, number of other files by extension)."""
    images, tables, others = [], [], Counter[str]()
    for name in names:
        path = PurePosixPath(name)
        if is_hidden(path.parts):
            continue
        suffix = path.suffix.lower()
        if path.name == LABELS_FILE:
            tables.append(name)
        elif suffix in IMAGE_SUFFIXES:
            images.append(name)
        else:
            others[suffix or "(no extension)"] += 1
    images.sort(key=natural_key)
    root = _common_root(images + tables)
    table = next((name for name in tables if name in (LABELS_FILE, root + LABELS_FILE)), None)
    others[".json"] += len(tables) - (table is not None)
    return images, table, +others


def is_hidden(parts: Sequence[str]) -> bool:
    """Whether a path is hidden or was left by an operating system."""
    return any(part.startswith(".") or part in ("__MACOSX", "Thumbs.db", "desktop.ini") for part in parts)


def list_images(
    images: list[str], table: str | None, read: Callable[[str], bytes], *, split: str, where: str
) -> Listing:
    """Chooses the split and assigns labels, from `dataset.json` if there is one, otherwise from the sub-folders.

    Args:
        images, table: as `sort_by_kind` returns them.
        read: returns the content of a file.
        where: the folder or zip, for messages.

    Raises:
        GanvasError: there is no such split, or the `dataset.json` cannot be used.
    """
    if table is not None:
        if split == "test":
            raise no_split(
                f"{where}, which has a {LABELS_FILE},", fix="leave --split out, or give the path of the test set."
            )
        prefix = table[: -len(LABELS_FILE)]
        return _label_by_table(images, prefix, read(table), f"{where}: {table}")
    root = _common_root(images)
    tops = {name[len(root) :].split("/")[0] for name in images if "/" in name[len(root) :]}
    loose = any("/" not in name[len(root) :] for name in images)
    folders = {top.lower(): top for top in tops}
    test = next((folders[name] for name in _TEST_FOLDERS if name in folders), None)
    split_names = {"train", "training", *_TEST_FOLDERS}
    if not loose and test is not None and "train" in folders and folders.keys() <= split_names:
        chosen = root + (test if split == "test" else folders["train"]) + "/"
        kept = [name for name in images if name.startswith(chosen)]
        listing = _label_by_folders(kept)
        note = f"{chosen} is used as the {split} split: {len(kept)} of {len(images)} images."
        return replace(listing, notes=(note, *listing.notes))
    if split == "test":
        raise no_split(where, fix="leave --split out, or sort the images into two folders, train and test.")
    return _label_by_folders(images)


def _label_by_folders(images: list[str]) -> Listing:
    """First-level sub-folders become classes if every image is in one and there are at least two."""
    root = _common_root(images)
    inside = [name[len(root) :] for name in images]
    tops = [name.split("/")[0] if "/" in name else "" for name in inside]
    classes = sorted(set(tops), key=natural_key)
    names = tuple(images)
    if all(re.fullmatch(r"(?:\d{5}/)?img\d{8}\.\w+", name) for name in inside) or classes in ([], [""]):
        return Listing(names)
    if "" in classes:
        loose = tops.count("")
        note = f"Images outside the sub-folders: {loose}, so the sub-folders are not used as classes."
        return Listing(names, notes=(note,))
    if len(classes) == 1:
        return Listing(names)
    number = {name: index for index, name in enumerate(classes)}
    return Listing(names, np.array([number[top] for top in tops], np.int64), tuple(classes))


def _label_by_table(images: list[str], prefix: str, content: bytes, where: str) -> Listing:
    """Labels from NVlabs' dataset.json: {"labels": [[name, 3], ...] or null, "class_names": [...]}."""
    try:
        table = json.loads(content)
        rows, class_names = table.get("labels"), table.get("class_names")
    except (ValueError, AttributeError, RecursionError) as error:
        raise GanvasError(
            f"{where} cannot be read: {error}.",
            expected='JSON such as {"labels": [["00000/img00000000.png", 3], ...]}',
        ) from error
    if rows is None:
        return Listing(tuple(images))
    found = _parse_rows(rows, prefix, where)
    known = set(images)
    missing = [name for name in found if name not in known]
    if missing:
        raise GanvasError(
            f"{where} has labels of {len(missing)} images that do not exist, such as {missing[0]}.",
            expected="an image for every label",
            fix="create the file again from the images that exist.",
        )
    kept = tuple(name for name in images if name in found)
    bad = tuple((name, f"no label in {LABELS_FILE}") for name in images if name not in found)
    labels = np.array([found[name] for name in kept], np.int64)
    labels, names, notes = normalise_labels(labels, class_names, where)
    return Listing(kept, labels, names, notes, bad)


def _parse_rows(rows: Any, prefix: str, where: str) -> dict[str, int]:
    found: dict[str, int] = {}
    if not isinstance(rows, list | dict):
        raise GanvasError(f'{where}: "labels" is not a list.', expected='[["name.png", 3], ...] or null')
    for row in rows.items() if isinstance(rows, dict) else rows:
        if not (isinstance(row, list | tuple) and len(row) == 2 and isinstance(row[0], str)):
            raise GanvasError(f"{where}: {str(row)[:80]!r} is not a label.", expected='["name.png", 3]')
        name, label = row
        if isinstance(label, bool) or not isinstance(label, int):
            kind = "a vector" if isinstance(label, list) else repr(label)[:40]
            raise GanvasError(
                f"{where} gives {name} {kind} as its label.",
                expected="one integer for each image: classes are mutually exclusive",
                fix='write the number of the class, or set "labels" to null to train without labels.',
            )
        if found.setdefault(prefix + name, label) != label:
            raise GanvasError(f"{where} gives {name} two labels, {found[prefix + name]} and {label}.")
    return found


def normalise_labels(labels: np.ndarray, names: Any, where: str) -> tuple[np.ndarray, tuple[str, ...], tuple[str, ...]]:
    """Integers [N] and the names of the classes, if known -> (int64 [N] in 0..classes-1, names, notes).

    Raises:
        GanvasError: a label is negative or has no name.
    """
    labels = labels.astype(np.int64)
    if len(labels) == 0:
        return labels, tuple(map(str, names or ())), ()
    if labels.min() < 0:
        raise GanvasError(f"{where} contains the label {labels.min()}.", expected="classes numbered from 0")
    top = int(labels.max()) + 1
    if names is not None:
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            raise GanvasError(f"{where}: the class names are not a list of strings.", expected='["cat", "dog", ...]')
        if top > len(names):
            raise GanvasError(
                f"{where} contains the label {top - 1}, but only {len(names)} class names.",
                expected="a name for every class, counted from 0",
            )
        return labels, tuple(names), ()
    present, compact = np.unique(labels, return_inverse=True)
    if top > 4 * len(present) + 16:  # IDs rather than class numbers: keep only those that occur
        note = f"The largest label is {top - 1}, but only {len(present)} labels occur: they are renumbered from 0."
        return compact.astype(np.int64), tuple(map(str, present)), (note,)
    return labels, tuple(map(str, range(top))), ()


def _common_root(names: Sequence[str]) -> str:
    """The folders that all names share, with a closing slash: `f/` of `f/a/1.png`, `f/b/1.png`."""
    levels = zip(*(name.split("/")[:-1] for name in names), strict=False)
    shared = takewhile(lambda folders: len(set(folders)) == 1, levels)
    return "".join(f"{folders[0]}/" for folders in shared)
