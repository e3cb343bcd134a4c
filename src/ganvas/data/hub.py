"""Named sets, through Hugging Face `datasets`: the only reader that touches the network."""

import io
import re
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np

from ganvas.data.forms import Pictures, Source, Unreadable, no_split
from ganvas.data.listing import named_classes
from ganvas.errors import GanvasError

NAMED = {
    "mnist": "ylecun/mnist",
    "fashion-mnist": "zalando-datasets/fashion_mnist",
    "cifar10": "uoft-cs/cifar10",
    "celeba": "flwrlabs/celeba",
}
_LOCAL_FORMS = "an IDX folder, CIFAR-10's archive, a zip, a folder"


def source(asked: str, split: str) -> Source:
    """`mnist` and its like, or `hf:owner/name[:config]`; downloads what is not in the hub's own cache yet.

    Raises:
        GanvasError: `datasets` is not installed, the hub cannot be reached, or it has no such set or split.
    """
    repository, _, config = NAMED.get(asked, asked.removeprefix("hf:")).partition(":")
    if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", repository):
        raise GanvasError(f"{asked!r} is no name on the hub.", expected="hf:owner/name or hf:owner/name:config")
    table = _loaded(asked, repository, config or None, split)
    name = asked if asked in NAMED else "-".join(part for part in (repository.rpartition("/")[2], config) if part)
    stamp = ["hub", repository, config, split, str(getattr(table, "_fingerprint", "")), len(table)]
    return Source(name, "a set from the hub", stamp, lambda: _read(table, asked))


def _loaded(asked: str, repository: str, config: str | None, split: str) -> Any:
    try:
        import datasets  # type: ignore[import-not-found]
    except ImportError as error:
        raise GanvasError(
            f"{asked} comes from the Hugging Face hub, and the package for it is not installed.",
            expected="the extra `hub`",
            fix=f"pip install 'ganvas[hub]', or give a path: {_LOCAL_FORMS}.",
        ) from error
    try:
        return datasets.load_dataset(repository, config, split=split)
    except Exception as error:  # `datasets` lets through whatever its many storage and network layers raise
        told = (str(error).splitlines() or [""])[0][:300] or type(error).__name__
        if isinstance(error, ValueError) and "split" in told.lower():
            raise no_split(asked) from error if split == "test" else GanvasError(f"{asked}: {told}")
        if "DatasetNotFound" in type(error).__name__:
            raise GanvasError(
                f"The hub has no set {repository} that you may read.",
                expected="hf:owner/name[:config]",
                fix=f"compare the name with its page on huggingface.co, or give a path: {_LOCAL_FORMS}.",
            ) from error
        if isinstance(error, ValueError) and "config" in told.lower():
            raise GanvasError(f"{asked}: {told}", expected=f"hf:{repository}:config") from error
        raise GanvasError(
            f"{asked} could not be had from the Hugging Face hub: {told}",
            expected="a connection, or a copy in the hub's own cache",
            fix=f"connect and try again, or give a path: {_LOCAL_FORMS}.",
        ) from error


def _read(table: Any, asked: str) -> Pictures:
    import datasets  # type: ignore[import-not-found]

    features = table.features
    columns = [name for name, feature in features.items() if isinstance(feature, datasets.Image)]
    if not columns:
        raise GanvasError(
            f"{asked} has no column of pictures: {', '.join(features)}.",
            expected="a set with an image column",
        )
    column = "image" if "image" in columns else columns[0]
    rows = table.cast_column(column, datasets.Image(decode=False))
    labels, names, notes = _labels(table, asked, datasets.ClassLabel)

    def open_picture(index: int) -> BinaryIO:
        cell = rows[index][column]
        if not cell or not (cell.get("bytes") or cell.get("path")):
            raise Unreadable("an empty cell")
        if cell.get("bytes"):
            return io.BytesIO(cell["bytes"])
        try:
            return open(cell["path"], "rb")
        except OSError as error:
            raise Unreadable(f"cannot be opened: {error.strerror}") from error

    return Pictures(_Rows(len(rows)), open_picture, labels, names, notes)


def _labels(table: Any, asked: str, kind: type) -> tuple[np.ndarray | None, tuple[str, ...], tuple[str, ...]]:
    features = table.features
    columns = [name for name, feature in features.items() if isinstance(feature, kind)]
    columns += [name for name in ("label", "labels") if name in features and name not in columns]
    for column in columns:
        feature = features[column]
        values = table[column]
        try:
            numbers = np.asarray(list(values))
        except ValueError:  # lists of unequal length: several labels for each picture
            continue
        if numbers.ndim != 1 or numbers.dtype.kind not in "iu" or (len(numbers) and numbers.min() < 0):
            continue  # unlabelled test sets carry -1
        return named_classes(numbers, getattr(feature, "names", None), f"{asked}: {column}")
    return None, (), ()


class _Rows(Sequence[str]):
    """The hub's pictures have numbers rather than names."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        return f"row {index}" if isinstance(index, int) else [f"row {i}" for i in range(self._count)[index]]
