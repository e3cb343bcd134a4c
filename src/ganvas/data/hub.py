"""Reads data sets of the Hugging Face hub through the package `datasets`."""

import io
import re
from typing import Any, BinaryIO

import numpy as np

from ganvas.data.listing import normalise_labels
from ganvas.data.source_types import ImageFiles, Source, Unreadable, no_split, open_file
from ganvas.errors import GanvasError

_LOCAL_SOURCES = "an IDX folder, CIFAR-10's archive, a zip, a folder; the digits of --data digits28 are built in"


def source(requested: str, split: str) -> Source:
    """The source for `hf:owner/name[:config]`; downloads what the hub's own cache lacks.

    Raises:
        GanvasError: `datasets` is not installed, the hub cannot be reached, or it has no such data set or split.
    """
    repository, _, config = requested.removeprefix("hf:").partition(":")
    if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", repository):
        raise GanvasError(f"{requested!r} is not a valid hub name.", expected="hf:owner/name or hf:owner/name:config")
    table = _load_dataset(requested, repository, config or None, split)
    name = "-".join(part for part in (repository.rpartition("/")[2], config) if part)
    stamp = ["hub", repository, config, split, str(getattr(table, "_fingerprint", "")), len(table)]
    return Source(name, "a data set from the hub", stamp, lambda: _read(table, requested))


def _load_dataset(requested: str, repository: str, config: str | None, split: str) -> Any:
    try:
        import datasets  # type: ignore[import-not-found]
    except ImportError as error:
        raise GanvasError(
            f"{requested} comes from the Hugging Face hub, and the package `datasets` is not installed.",
            expected="the packages of the extra `hub`",
            fix=f"pip install 'ganvas[hub]', or give a path: {_LOCAL_SOURCES}.",
        ) from error
    try:
        return datasets.load_dataset(repository, config, split=split)
    except Exception as error:  # `datasets` passes on any error of its storage and network layers
        message = (str(error).splitlines() or [""])[0][:300] or type(error).__name__
        if isinstance(error, ValueError) and "split" in message.lower():
            raise no_split(requested) from error if split == "test" else GanvasError(f"{requested}: {message}")
        if "DatasetNotFound" in type(error).__name__:
            raise GanvasError(
                f"The hub has no data set {repository} that you may read.",
                expected="hf:owner/name[:config]",
                fix=f"compare the name with its page on huggingface.co, or give a path: {_LOCAL_SOURCES}.",
            ) from error
        if isinstance(error, ValueError) and "config" in message.lower():
            raise GanvasError(f"{requested}: {message}", expected=f"hf:{repository}:config") from error
        raise GanvasError(
            f"{requested} could not be loaded from the Hugging Face hub: {message}",
            expected="a network connection, or a copy in the hub's own cache",
            fix=f"check the connection and try again, or give a path: {_LOCAL_SOURCES}.",
        ) from error


def _read(table: Any, requested: str) -> ImageFiles:
    import datasets  # type: ignore[import-not-found]

    features = table.features
    columns = [name for name, feature in features.items() if isinstance(feature, datasets.Image)]
    if not columns:
        raise GanvasError(
            f"{requested} has no column of images: {', '.join(features)}.", expected="a data set with an image column"
        )
    column = "image" if "image" in columns else columns[0]
    rows = table.cast_column(column, datasets.Image(decode=False))
    labels, names, notes = _find_labels(table, requested, datasets.ClassLabel)

    def open_image(index: int) -> BinaryIO:
        cell = rows[index][column]
        if not cell or not (cell.get("bytes") or cell.get("path")):
            raise Unreadable("an empty cell")
        if cell.get("bytes"):
            return io.BytesIO(cell["bytes"])
        return open_file(cell["path"])

    return ImageFiles([f"row {index}" for index in range(len(rows))], open_image, labels, names, notes)


def _find_labels(
    table: Any, requested: str, label_type: type
) -> tuple[np.ndarray | None, tuple[str, ...], tuple[str, ...]]:
    features = table.features
    columns = [name for name, feature in features.items() if isinstance(feature, label_type)]
    columns += [name for name in ("label", "labels") if name in features and name not in columns]
    for column in columns:
        feature = features[column]
        values = table[column]
        try:
            numbers = np.asarray(list(values))
        except ValueError:  # lists of unequal length: several labels per image
            continue
        if numbers.ndim != 1 or numbers.dtype.kind not in "iu" or (len(numbers) and numbers.min() < 0):
            continue  # unlabelled test splits have -1
        return normalise_labels(numbers, getattr(feature, "names", None), f"{requested}: {column}")
    return None, (), ()
