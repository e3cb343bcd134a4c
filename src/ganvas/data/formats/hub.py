"""Reads data sets of the Hugging Face hub through the package `datasets`."""

import io
import re
from typing import Any, BinaryIO

from ganvas.data.formats.columns import choose_label_column, label_rows, refuse_no_classes
from ganvas.data.labels.classes import Classes
from ganvas.data.source_types import ImageFiles, Source, Unreadable, no_split, open_file
from ganvas.errors import GanvasError

_LOCAL_SOURCES = "an IDX folder, CIFAR-10's archive, a zip, a folder; the digits of --data digits28 are built in"


def source(requested: str, split: str, label_column: str | None = None) -> Source:
    """The source for `hf:owner/name[:config]`; downloads what the hub's own cache lacks.

    Raises:
        GanvasError: `datasets` is not installed, the hub cannot be reached, or it has no such data set or split.
    """
    repository, _, config = requested.removeprefix("hf:").partition(":")
    if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", repository):
        raise GanvasError(f"{requested!r} is not a valid hub name.", expected="hf:owner/name or hf:owner/name:config")
    table = _load_dataset(requested, repository, config or None, split)
    name = "-".join(part for part in (repository.rpartition("/")[2], config) if part)
    stamp = ["hub", repository, config, split, str(getattr(table, "_fingerprint", "")), len(table), label_column]
    return Source(name, "a data set from the hub", stamp, lambda: _read(table, requested, split, label_column))


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


def _read(table: Any, requested: str, split: str, label_column: str | None) -> ImageFiles:
    import datasets  # type: ignore[import-not-found]

    features = table.features
    columns = [name for name, feature in features.items() if isinstance(feature, datasets.Image)]
    if not columns:
        raise GanvasError(
            f"{requested} has no column of images: {', '.join(features)}.", expected="a data set with an image column"
        )
    column = "image" if "image" in columns else columns[0]
    rows = table.cast_column(column, datasets.Image(decode=False))
    types = {name: getattr(feature, "names", None) for name, feature in features.items() if name != column}
    chosen, notes = choose_label_column(types, label_column, requested)
    where = f"{requested}: {chosen}"
    found = label_rows(list(table[chosen]), where, types[chosen]) if chosen else Classes(None)
    if label_column is not None and split == "train":  # many test splits have no labels
        refuse_no_classes(found, label_column)

    def open_image(index: int) -> BinaryIO:
        cell = rows[index][column]
        if not cell or not (cell.get("bytes") or cell.get("path")):
            raise Unreadable("an empty cell")
        if cell.get("bytes"):
            return io.BytesIO(cell["bytes"])
        return open_file(cell["path"])

    return ImageFiles(
        [f"row {index}" for index in range(len(rows))],
        open_image,
        None,
        found.labels,
        found.names,
        (*notes, *found.notes),
    )
