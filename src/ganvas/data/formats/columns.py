"""Reads images in columns: Parquet files, and the Arrow files that `datasets.save_to_disk` writes."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ganvas.data.labels.classes import Classes, read_classes
from ganvas.data.sniffing import looks_like_image
from ganvas.data.source_types import ImageFiles, Source, Unreadable, file_stamp, refuse_failing_disk
from ganvas.errors import GanvasError

_ROWS = 32  # read at a time
_IMAGE_NAMES = ("image", "img", "picture", "photo", "jpg", "png", "pixel_values")
_LABEL_NAMES = ("label", "labels", "class", "category", "target", "fine_label")


def source(paths: Sequence[Path], name: str, label_column: str | None, notes: Sequence[str] = ()) -> Source:
    """The source for Parquet or Arrow files of one split; their rows are images in order.

    Raises:
        GanvasError: pyarrow is missing. On reading: a file is damaged, or there is no column of images.
    """
    _import_pyarrow(paths[0])
    stamp = ["columns", [file_stamp(path) for path in paths], label_column]
    kind = "Parquet" if _is_parquet(paths[0]) else "Arrow files"
    return Source(name, kind, stamp, lambda: _read(paths, label_column, tuple(notes)))


def _import_pyarrow(path: Path) -> Any:
    try:
        import pyarrow  # type: ignore[import-not-found]
    except ImportError as error:
        raise GanvasError(
            f"{path} is read by the package pyarrow, which is not installed.",
            expected="the packages of the extra `parquet`",
            fix="pip install 'ganvas[parquet]'.",
        ) from error
    return pyarrow


def _read(paths: Sequence[Path], label_column: str | None, notes: tuple[str, ...]) -> ImageFiles:
    pyarrow = _import_pyarrow(paths[0])
    try:
        schema = _schema(paths[0])
        features = _features(schema)
        column = _find_images(schema, features, paths)
        types = {name: features.get(name, {}).get("names") for name in schema.names if name != column}
        chosen, more = choose_label_column(types, label_column, str(paths[0]))
        values = [value for path in paths for batch in _batches(path, chosen) for value in batch] if chosen else []
        count = sum(_count(path) for path in paths)
    except (pyarrow.ArrowException, OSError, ValueError, KeyError) as error:
        raise _damaged(paths[0], error) from error
    found = label_rows(values, f"{paths[0]}: {chosen}", types.get(chosen)) if chosen else Classes(None)
    if label_column is not None:
        refuse_no_classes(found, label_column)
    return ImageFiles(
        [f"row {row}" for row in range(count)],
        _never,
        lambda: _stream(paths, column),
        found.labels,
        found.names,
        (*notes, *more, *found.notes),
    )


def _never(index: int) -> Any:
    raise Unreadable("rows are read in order")


def choose_label_column(
    columns: Mapping[str, Any], wanted: str | None, where: str
) -> tuple[str | None, tuple[str, ...]]:
    """The column with the classes, and a note if others could be meant.

    Args:
        columns: name -> the names of its classes, or None where the data set does not say that it has classes.

    Raises:
        GanvasError: there is no column `wanted`.
    """
    if wanted is not None:
        match = next((name for name in columns if name.casefold() == wanted.casefold()), None)
        if match is None:
            listed = ", ".join(list(columns)[:12]) or "nothing but images"
            raise GanvasError(
                f"{where} has no column {wanted!r}, only {listed}.",
                expected="the name of a column",
                fix="give one of them, or leave --label-column out.",
            )
        return match, (f"The classes come from the column {match}.",)
    typed = [name for name, names in columns.items() if names is not None]
    by_name = {name.casefold(): name for name in reversed(list(columns))}
    named = [by_name[name] for name in _LABEL_NAMES if name in by_name]
    candidates = [*(name for name in named if name in typed), *typed, *named]
    if not candidates:
        listed = ", ".join(list(columns)[:12])
        return None, (f"No column is used as classes; --label-column chooses one of {listed}.",) if columns else ()
    others = [name for name in dict.fromkeys(candidates) if name != candidates[0]]
    note = f"The classes come from the column {candidates[0]}; --label-column chooses {' or '.join(others)}."
    return candidates[0], (note,) if others else ()


def label_rows(values: Sequence[Any], where: str, names: Sequence[str] | None) -> Classes:
    """The classes of all rows; none, with a note, if rows lack one: test splits without labels have -1 or nothing."""
    absent = [value is None or (isinstance(value, int) and value == -1) for value in values]
    missing = sum(absent) if names is not None or all(absent) else sum(value is None for value in values)
    if missing:
        rows = "any row" if missing == len(values) else f"{missing} rows"
        return Classes(None, (), (f"{where} has no label in {rows}: no classes.",))
    try:
        array = np.array(values)
    except ValueError:
        return Classes(None, (), (f"{where} gives several labels to an image: no classes.",))
    return read_classes(array, where, names) if len(array) else Classes(None)


def refuse_no_classes(found: Classes, column: str) -> None:
    """Raises GanvasError if a column that is asked for gives no classes, with the reason."""
    if found.labels is None:
        reason = f": {found.notes[0].removesuffix(': no classes.')}" if found.notes else ""
        raise GanvasError(
            f"The column {column} has no classes{reason}.",
            expected="one class for each image",
            fix="choose another column, give each row a class, or leave --label-column out.",
        )


# --- files -------------------------------------------------------------------------------------------------


def _is_parquet(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(4) == b"PAR1"


def _reader(path: Path) -> Any:
    """A ParquetFile, or an IPC reader of a stream or a file."""
    if _is_parquet(path):
        import pyarrow.parquet as parquet  # type: ignore[import-not-found]

        return parquet.ParquetFile(path)
    import pyarrow  # type: ignore[import-not-found]

    with open(path, "rb") as file:
        is_file = file.read(6) == b"ARROW1"
    mapped = pyarrow.memory_map(str(path))
    return pyarrow.ipc.open_file(mapped) if is_file else pyarrow.ipc.open_stream(mapped)


def _schema(path: Path) -> Any:
    reader = _reader(path)
    return reader.schema_arrow if _is_parquet(path) else reader.schema


def _count(path: Path) -> int:
    reader = _reader(path)
    return reader.metadata.num_rows if _is_parquet(path) else sum(batch.num_rows for batch in _record_batches(reader))


def _record_batches(reader: Any) -> Iterator[Any]:
    if hasattr(reader, "num_record_batches"):
        yield from (reader.get_batch(index) for index in range(reader.num_record_batches))
    else:
        yield from reader


def _batches(path: Path, column: str | None) -> Iterator[list[Any]]:
    """Yields the values of a column, a few rows at a time."""
    reader = _reader(path)
    if _is_parquet(path):
        for batch in reader.iter_batches(batch_size=_ROWS, columns=[column], use_threads=False):
            yield batch.column(0).to_pylist()
        return
    for batch in _record_batches(reader):
        values = batch.column(batch.schema.get_field_index(column))
        for first in range(0, len(values), _ROWS):
            yield values.slice(first, _ROWS).to_pylist()


def _features(schema: Any) -> dict[str, dict[str, Any]]:
    """What Hugging Face's metadata says about each column."""
    try:
        found = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {name: feature for name, feature in found.items() if isinstance(feature, dict)}
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return {}


def _find_images(schema: Any, features: Mapping[str, Mapping[str, Any]], paths: Sequence[Path]) -> str:
    typed = [name for name in schema.names if features.get(name, {}).get("_type") == "Image"]
    structs = [field.name for field in schema if str(field.type).startswith("struct<") and "bytes" in str(field.type)]
    binary = [field.name for field in schema if str(field.type) in ("binary", "large_binary")]
    binary = [name for name in binary if looks_like_image(_first(paths[0], name))]
    candidates = typed or structs or binary
    if not candidates:
        raise GanvasError(
            f"{paths[0]} has no column of images, only {', '.join(schema.names[:12]) or 'nothing'}.",
            expected="encoded images: a column of bytes, or of {bytes, path} as Hugging Face writes it",
            fix="with pixels in a column: t = pyarrow.parquet.read_table(PATH).to_pydict();"
            " numpy.savez('data.npz', images=numpy.array(t[COLUMN], 'uint8').reshape(-1, HEIGHT, WIDTH)).",
        )
    return next((name for name in _IMAGE_NAMES if name in candidates), candidates[0])


def _first(path: Path, column: str) -> bytes:
    return next((value for batch in _batches(path, column) for value in batch if value), b"")


def _stream(paths: Sequence[Path], column: str) -> Iterator[bytes | Unreadable]:
    pyarrow = _import_pyarrow(paths[0])
    for path in paths:
        try:
            for batch in _batches(path, column):
                for cell in batch:
                    yield _read_cell(cell, path.parent)
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise _damaged(path, error) from error


def _read_cell(cell: Any, folder: Path) -> bytes | Unreadable:
    content = cell.get("bytes") if isinstance(cell, dict) else cell
    if content:
        return bytes(content) if isinstance(content, bytes) else Unreadable("no bytes of an image")
    inside = cell.get("path") if isinstance(cell, dict) else None
    if not inside:
        return Unreadable("an empty cell")
    file = (folder / inside).resolve()
    if not file.is_relative_to(folder.resolve()):
        return Unreadable(f"its image, {inside}, is outside of the folder")
    try:
        return file.read_bytes()
    except OSError as error:
        reason = Unreadable(f"its image, {inside}, cannot be opened: {error.strerror}")
        reason.__cause__ = error
        return reason


def _damaged(path: Path, error: Exception) -> GanvasError:
    refuse_failing_disk(str(path), error)
    message = (str(error).splitlines() or [""])[0][:200] or type(error).__name__
    return GanvasError(f"{path} is damaged: {message}.", expected="a complete file", fix="download or write it again.")
