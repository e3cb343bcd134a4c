"""Chooses among named arrays: those of the images and of their labels, of one split."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from typing import Any

import numpy as np

from ganvas.data.arrays.layout import Layout, find_layout
from ganvas.data.arrays.stored import StoredArray
from ganvas.data.arrays.value_range import choose_scale
from ganvas.data.labels.classes import Classes, read_classes
from ganvas.data.labels.naming import SPLITS, is_perhaps_images, listed, role_of, words
from ganvas.data.source_types import ImageArrays, no_split
from ganvas.errors import GanvasError

_MAX_LABEL_BYTES = 2**30
_MAX_CLASSES = 2**16  # columns of a one-hot array


@dataclass(frozen=True)
class ArrayTable:
    """The arrays of a file, and those of the files beside it that belong to the same data set."""

    where: str
    """The file, for messages."""
    own: list[StoredArray]
    read_beside: Callable[[], list[StoredArray]] = list
    test_fix: str = "leave --split out, or name the arrays x_train and x_test."
    """What to do where there is no test split."""
    paired: bool = False
    """Whether labels of another number than the images are a mistake, rather than something else."""

    @cached_property
    def every(self) -> list[StoredArray]:
        """The file's own arrays, then those beside it."""
        return [*self.own, *self.read_beside()]


@dataclass(frozen=True)
class _Images:
    array: StoredArray
    layout: Layout
    notes: tuple[str, ...] = ()


def read_images(table: ArrayTable, split: str, label_column: str | None = None) -> ImageArrays:
    """The images of one split, with their classes.

    Training takes the arrays of the split train, or those of no split. The split test has those of test, or of val.

    Args:
        label_column: the name of the array of labels, with or without its split; by default the likeliest name's.

    Raises:
        GanvasError: there is no such split or array of labels, no array of images or several, or the meaning of
            their numbers is unclear.
    """
    images = _choose_split(table, split)
    array, layout = images.array, images.layout
    alike = [array, *(one for one in table.every if _is_counterpart(one, array) and one.dtype == array.dtype)]
    scale = choose_scale([(one.stream, one.locate) for one in alike], array.dtype, array.where)
    classes = _classes_of(table, images, label_column) if label_column else _choose_classes(table, images)
    notes = (*images.notes, *layout.notes, *([scale.note] if scale.note else []), *classes.notes)
    return ImageArrays(
        layout.count,
        layout.shape,
        lambda: map(scale.to_uint8, layout.blocks(array)),
        classes.labels,
        classes.names,
        notes,
    )


# --- images ------------------------------------------------------------------------------------------------


def _choose_split(table: ArrayTable, split: str) -> _Images:
    """The images of a split, with notes that say which arrays were taken and which were left out."""
    if split == "test":
        for arrays in (table.own, table.every):
            for name in ("test", "val"):
                held_out = [array for array in arrays if array.split == name]
                if found := _candidates(held_out, table):
                    chosen = _choose(found, table)
                    note = [] if name == "test" else [f"{chosen.array.where} is the held-out split: there is no test."]
                    return _Images(chosen.array, chosen.layout, (*note, *chosen.notes))
        raise no_split(table.where, fix=table.test_fix)
    for names in (("train",), ("",), ("test", "val")):
        arrays = [array for array in table.own if array.split in names]
        if found := _candidates(arrays, table):
            chosen = _choose(found, table)
            return _Images(chosen.array, chosen.layout, (*_describe_splits(table, chosen), *chosen.notes))
    if all(array.role == "labels" for array in table.own):
        raise GanvasError(
            f"{table.where} contains labels, not images.",
            expected="the file of images",
            fix="give the path of the file of images.",
        )
    shapes = listed([str(array) for array in table.own]) or "nothing"
    raise GanvasError(
        f"{table.where} contains no array of images, only {shapes}.",
        expected="[n, height, width], [n, height, width, channels] or [n, channels, height, width] of numbers, "
        "with 1, 3 or 4 channels",
        fix="save such an array, best of uint8 in 0..255; numpy.moveaxis(x, -1, 0) moves the last axis to the front.",
    )


def _candidates(arrays: list[StoredArray], table: ArrayTable) -> list[_Images]:
    """The arrays that can hold images, those with the likeliest names and shapes alone.

    Raises:
        GanvasError: none can, and it can be said why.
    """
    counts = {max(array.shape) for array in table.every if array.role == "labels" and _is_vector(array)}
    ranked: dict[tuple[int, bool], list[_Images]] = {}
    errors: list[GanvasError] = []
    for array in arrays:
        if array.role in ("labels", "class names") and len(array.shape) < 3:
            continue
        try:
            layout = find_layout(array, counts)
        except GanvasError as error:
            errors.append(error)
            continue
        if layout is not None:
            rank = 0 if array.role == "images" else 1 if is_perhaps_images(array.name) else 3 if array.role else 2
            ranked.setdefault((rank, len(array.shape) == 2), []).append(_Images(array, layout))
    if not ranked and errors:
        raise errors[0]
    return ranked[min(ranked)] if ranked else []


def _choose(found: list[_Images], table: ArrayTable) -> _Images:
    """The only candidate.

    Raises:
        GanvasError: there are several.
    """
    chosen = found[0]
    if len(found) > 1:
        raise GanvasError(
            f"{table.where} contains several arrays of images: {listed([one.array.name for one in found])}.",
            expected="one, or x_train and x_test",
            fix="save them to separate files, or name them x_train and x_test.",
        )
    split = chosen.array.split
    rest = [
        one.name
        for one in table.own
        if one is not chosen.array and len(one.shape) in (3, 4) and one.split in ("", split) and one.shape[0] > 1
    ]
    note = f"{chosen.array.name} has the images; not used: {listed(rest)}."
    return _Images(chosen.array, chosen.layout, (note,) if rest else ())


def _describe_splits(table: ArrayTable, chosen: _Images) -> list[str]:
    """A note on the splits of the file, if it has several."""
    array = chosen.array
    others = {one.split: one for one in table.every if _is_counterpart(one, array)}
    held_out = others.get("test", others.get("val"))
    if array.split in ("test", "val"):
        return [f"{array.where} is used for training, though its name says {array.split}."]
    if held_out is None or held_out.split == "":
        return []
    name = attrgetter("file" if held_out.name == array.name else "name")
    left_out = [f"{name(one)} is not used" for split, one in others.items() if one is not held_out and split]
    return [", ".join([f"{name(array)} is for training, {name(held_out)} is the held-out split", *left_out]) + "."]


def _is_counterpart(one: StoredArray, array: StoredArray) -> bool:
    """Whether an array is the same thing of another split: x_test of x_train, or of x."""
    return one.split != array.split and len(one.shape) == len(array.shape) and _plain(one) == _plain(array)


def _plain(array: StoredArray) -> tuple[str, ...]:
    """The words of an array's name, without the split."""
    return tuple(word for word in words(array.name) if word not in SPLITS)


# --- labels ------------------------------------------------------------------------------------------------


def _classes_of(table: ArrayTable, images: _Images, name: str) -> Classes:
    """The classes from the array that the user names.

    Raises:
        GanvasError: there is no such array of labels, or its values are no classes.
    """
    array, count = images.array, images.layout.count
    fitting = [one for one in table.every if one is not array and one.split in ("", array.split) and _fits(one, count)]
    wanted = tuple(word for word in words(name) if word not in SPLITS)
    chosen = next((one for one in fitting if one.name == name or _plain(one) == wanted), None)
    found = None if chosen is None else _read_classes(table, chosen, count, [])
    if found is None or found.labels is None:
        reason = "".join(f" ({note.rstrip('.')})" for note in found.notes) if found else ""
        raise GanvasError(
            f"{table.where} has no classes called {name!r}{reason}.",
            expected=f"one of {listed([one.name for one in fitting]) or 'none: no array has one row for each image'}",
            fix="leave --label-column out, or name another array.",
        )
    return found


def _choose_classes(table: ArrayTable, images: _Images) -> Classes:
    """The classes from the array whose name says labels; from the only vector of whole numbers, if no name does."""
    array, count = images.array, images.layout.count
    of_split = [one for one in table.every if one is not array and one.split in ("", array.split)]
    named = [one for one in of_split if one.role == "labels" and one.dtype.kind != "O" and not _is_names(one, count)]
    fitting = [one for one in named if _fits(one, count)]
    if fitting:
        chosen = min(fitting, key=lambda one: _distance(one, array))
        rest = [one.name for one in named if one is not chosen]
        notes = [f"{chosen.name} has the labels; not used: {listed(rest)}."] if rest else []
        return _read_classes(table, chosen, count, notes)
    if named and table.paired:
        raise GanvasError(
            f"{array.where} contains {count} images, but {named[0].name} contains {named[0].shape[0]} labels.",
            expected="one label for each image",
            fix="download both files again, or move the labels away to train without them.",
        )
    notes = [f"{one.where} has {list(one.shape)} labels for {count} images: not used." for one in named]
    objects = [one.where for one in of_split if one.role == "labels" and one.dtype.hasobject]
    notes += [f"{where} contains objects, which are never unpickled: not used." for where in objects]
    vectors = [one for one in of_split if one.role != "labels" and _is_one_each(one, count)]
    unnamed = [one for one in vectors if not role_of(one.name) and one.dtype.kind in "biu" and _is_vector(one)]
    if named or not vectors:
        return Classes(None, (), tuple(notes))
    if len(unnamed) != 1:
        names = listed([one.name for one in vectors])
        note = f"Not used as labels, because their names do not say so: {names}; --label-column takes one."
        return Classes(None, (), (*notes, note))
    classes = _read_classes(table, unnamed[0], count, notes)
    if 2 * len(classes.names) > count:
        return Classes(None, (), (*notes, f"{unnamed[0].name} has {len(classes.names)} different numbers: no classes."))
    note = f"{unnamed[0].name} is used as the labels: it has one whole number for each image."
    return Classes(classes.labels, classes.names, (*classes.notes, note))


def _distance(labels: StoredArray, images: StoredArray) -> tuple[Any, ...]:
    """How far an array of labels is from images by name: y.npy is the nearest to x.npy, labels.npy to images.npy."""
    x_and_y = ("x" in words(images.name)) == ("y" in words(labels.name))
    own = labels.split == images.split
    return not own, labels.file != images.file, len(labels.shape) > 1, not x_and_y, len(words(labels.name))


def _read_classes(table: ArrayTable, chosen: StoredArray, count: int, notes: Sequence[str]) -> Classes:
    others = [one.whole() for one in table.every if _is_counterpart(one, chosen) and one.dtype.kind != "O"]
    values = chosen.whole()
    names = None
    for one in table.every:
        if names is None and _is_names(one, count) and one.dtype.kind in "US":
            listed_names = np.char.decode(one.whole(), "utf-8") if one.dtype.kind == "S" else one.whole()
            names = listed_names.reshape(-1).tolist()
    classes = read_classes(values, chosen.where, None, others)
    if names and classes.names[:1] in (("0",), ("1",)) and len(names) >= len(classes.names):
        classes = read_classes(values, chosen.where, names, others)
    return Classes(classes.labels, classes.names, (*notes, *classes.notes))


def _is_names(array: StoredArray, count: int) -> bool:
    """Whether an array has the names of the classes."""
    words_of_classes = role_of(array.name) == "labels" and array.dtype.kind in "US" and len(array.shape) == 1
    return array.role == "class names" or (words_of_classes and array.shape[0] != count)


def _is_vector(array: StoredArray) -> bool:
    return len(array.shape) == 1 or (len(array.shape) == 2 and 1 in array.shape)


def _is_one_each(array: StoredArray, count: int) -> bool:
    """Whether an array has a value for each image, of any kind, or a vector that may be one-hot."""
    if role_of(array.name) == "images":
        return False
    one_hot = not role_of(array.name) and len(array.shape) == 2 and array.shape[1] <= _MAX_CLASSES
    return array.shape[0] == count if one_hot else _is_vector(array) and count == max(array.shape)


def _fits(array: StoredArray, count: int) -> bool:
    """Whether an array can have a label, or a vector of them, for each image."""
    size = array.dtype.itemsize * int(np.prod(array.shape, dtype=object))
    if size > _MAX_LABEL_BYTES or array.dtype.kind == "O":
        return False
    if _is_vector(array):
        return max(array.shape) == count or (array.shape == (1,) and count == 1)
    return len(array.shape) == 2 and array.shape[0] == count and array.shape[1] <= _MAX_CLASSES
