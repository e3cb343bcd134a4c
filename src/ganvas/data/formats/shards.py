"""Folders whose files are parts of one data set: Parquet, Arrow (`datasets.save_to_disk`), WebDataset's tars."""

import os
from pathlib import Path

from ganvas.data.formats import columns, tar
from ganvas.data.labels.splits import choose_files
from ganvas.data.listing import IMAGE_SUFFIXES, is_hidden, natural_key
from ganvas.data.options import DataOptions
from ganvas.data.source_types import Source, no_split, refuse_failing_disk

_DEPTH = 3  # levels: Hugging Face has default/train/0000.parquet


def folder_source(path: Path, name: str, options: DataOptions) -> Source | None:
    """The source for a folder of shards; None if it holds images or no shards.

    Raises:
        GanvasError: there is no such split, or pyarrow is missing.
    """
    found: dict[str, list[str]] = {"parquet": [], "arrow": [], "tar": []}
    if not _find(path, "", found, _DEPTH):
        return None
    kind = next((kind for kind, files in found.items() if files), None)
    if kind is None or (kind == "tar" and not any(tar.holds_images(path / file) for file in found["tar"][:3])):
        return None
    if _holds_images(path):
        return None
    every = sorted(found[kind], key=natural_key)
    files, note = choose_files(every, options.split)
    if not files and kind == "tar":  # the split may be a folder inside
        return tar.source([path / file for file in every], name, options.split, options.label_column)
    if not files:
        raise no_split(str(path))
    paths, notes = [path / file for file in files], (note,) if note else ()
    if kind == "tar":
        return tar.source(paths, name, "train", options.label_column, notes)
    return columns.source(paths, name, options.label_column, notes)


def _holds_images(root: Path) -> bool:
    """Whether there is an image file at any depth, as in folders of years, months and days."""
    for _, folders, files in os.walk(root):
        folders[:] = [folder for folder in folders if not is_hidden([folder])]
        if any(Path(file).suffix.lower() in IMAGE_SUFFIXES and not is_hidden([file]) for file in files):
            return True
    return False


def _find(root: Path, prefix: str, found: dict[str, list[str]], depth: int) -> bool:
    """Adds the shards of a folder; False as soon as there is an image file."""
    folders = []
    try:
        with os.scandir(root / prefix) as entries:
            for entry in entries:
                suffix = Path(entry.name).suffix.lower()
                if is_hidden([entry.name]):
                    continue
                if suffix in IMAGE_SUFFIXES:
                    return False
                if suffix in (".parquet", ".arrow") or tar.is_tar_name(entry.name):
                    if entry.is_file() and entry.stat().st_size:
                        found[suffix[1:] if suffix in (".parquet", ".arrow") else "tar"].append(prefix + entry.name)
                elif entry.is_dir():
                    folders.append(f"{prefix}{entry.name}/")
    except OSError as error:
        refuse_failing_disk(str(root / prefix), error)
        return True
    return all(_find(root, folder, found, depth - 1) for folder in folders) if depth > 1 else True
