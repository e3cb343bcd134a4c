"""Labels of any kind as classes: numbers, one-hot vectors, words; real vectors are no classes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ganvas.data.listing import natural_key, normalise_labels
from ganvas.errors import GanvasError


@dataclass(frozen=True)
class Classes:
    """The class of each image, or the reason why there are none."""

    labels: np.ndarray | None
    """int64 [n] in 0..classes-1, or None."""
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_classes(
    values: np.ndarray, where: str, names: Sequence[str] | None = None, others: Sequence[np.ndarray] = ()
) -> Classes:
    """The classes that an array of labels gives.

    Args:
        values: [n], [n 1], [1 n] or [n k]: numbers, true and false, words, or one-hot vectors.
        where: the file and the array, for messages.
        names: of the classes, if they are known.
        others: the labels of the other splits: all splits count the same classes.

    Raises:
        GanvasError: a label is negative, or has no name.
    """
    columns = [_to_column(one, where) for one in (values, *others)]
    own = columns[0]
    if isinstance(own, str):
        return Classes(None, (), (own,))
    same = [one for one in columns[1:] if not isinstance(one, str) and one.dtype.kind == own.dtype.kind]
    every = np.unique(np.concatenate([np.unique(one) for one in (own, *same)]))
    hot = () if values.ndim == 1 or 1 in values.shape else (f"{where} is one-hot: {values.shape[1]} classes.",)
    if every.tolist() == [-1, 1]:
        return Classes((own > 0).astype(np.int64), ("-1", "1"))
    if own.dtype.kind == "U":
        return _read_words(own, every, where)
    if hot and names is None:
        names = [str(index) for index in range(values.shape[1])]
    elif names is None and len(every) and every[0] > 0 and _is_dense(every):
        low, high = int(every[0]), int(every[-1])
        own, names = own - low, [str(number) for number in range(low, high + 1)]
        hot = (f"{where} begins at {low}: the classes are {low} to {high}.",)
    elif names is not None and len(every) and every[0] == 1 and every[-1] == len(names):
        own = own - 1
        hot = (f"{where} begins at 1, and {names[0]} is the first class.",)
    elif names is None and len(every) and every[0] >= 0 and not _is_dense(every):
        labels = np.searchsorted(every, own)
        note = f"{where}: the largest label is {every[-1]}, but only {len(every)} occur: they are renumbered from 0."
        return Classes(labels.astype(np.int64), tuple(map(str, every.tolist())), (note,))
    elif names is None and len(every) and every[0] >= 0:
        names = [str(number) for number in range(int(every[-1]) + 1)]
    labels, found, notes = normalise_labels(own, None if names is None else list(names), where)
    return Classes(labels, found, (*hot, *notes))


def _is_dense(every: np.ndarray) -> bool:
    """Whether sorted numbers are class numbers rather than IDs, which leave most numbers out."""
    return int(every[-1]) - int(every[0]) < 4 * len(every) + 16


def _read_words(own: np.ndarray, every: np.ndarray, where: str) -> Classes:
    if len(every) > 20 and 2 * len(every) > len(own):
        return Classes(None, (), (f"{where} has {len(every)} different words for {len(own)} images: no classes.",))
    names = sorted(every.tolist(), key=natural_key)
    number = {name: index for index, name in enumerate(names)}
    return Classes(np.array([number[word] for word in own.tolist()], np.int64), tuple(names))


def _to_column(values: np.ndarray, where: str) -> np.ndarray | str:
    """Labels as int64 or words [n]; as text, the reason why there are none."""
    if values.ndim == 2 and 1 in values.shape:
        values = values.reshape(-1)
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "replace")
    if values.dtype.kind == "U":
        return _parse_words(values) if values.ndim == 1 else f"{where} has several words for each image: no classes."
    if values.dtype.kind not in "biuf":
        kind = "objects, which are never unpickled" if values.dtype.hasobject else str(values.dtype)
        return f"{where} contains {kind}: no classes."
    whole = np.isfinite(values).all() and (values == np.rint(values)).all() if values.dtype.kind == "f" else True
    if values.ndim == 1:
        if not whole:
            return f"{where} contains fractions, not class numbers: no classes."
        if len(values) and not -(2.0**62) < float(values.min()) <= float(values.max()) < 2.0**62:
            raise GanvasError(f"{where} contains the label {values.max()}.", expected="classes numbered from 0")
        return values.astype(np.int64)
    if values.ndim == 2 and whole and np.isin(values, (0, 1)).all():
        if (values.sum(axis=1) == 1).all():
            return values.argmax(axis=1)
        return f"{where} gives several labels to an image: no classes."
    return f"{where} has {list(values.shape)} numbers, no one-hot vectors: no classes."


def _parse_words(words: np.ndarray) -> np.ndarray:
    """Words that are all numbers, such as "7", become numbers."""
    try:
        return words.astype(np.int64)
    except (ValueError, OverflowError):
        return np.char.strip(words)
