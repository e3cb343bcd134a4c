"""The names of files: which are images, which are tables of labels, and which are none of the user's."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from ganvas.errors import GanvasError

_SUFFIXES = "jpg jpeg jpe jfif png apng webp bmp dib tif tiff gif ppm pgm pbm pnm avif jp2 heic heif hif"
IMAGE_SUFFIXES = frozenset(f".{suffix}" for suffix in _SUFFIXES.split())
LABELS_FILE = "dataset.json"
HIDDEN, EMPTY = "(hidden or of the system)", "(empty)"

_TABLE_SUFFIXES = {".csv", ".tsv", ".jsonl"}
_TABLE_WORDS = re.compile(r"attr|label|class|identit|annot|metadata", re.I)
_OTHER_SUFFIXES = (
    "txt json jsonl csv tsv xml yaml yml md rst html htm css js log py pyc ipynb sh cls cap caption"
    " npy npz mat pkl pickle pt pth ckpt safetensors onnx h5 hdf5 hdf parquet arrow feather mdb lmdb db sqlite"
    " tfrecord tfrecords zip tar gz tgz bz2 tbz2 xz txz 7z rar zst mp4 m4v mov avi mkv webm mpg mpeg wmv flv 3gp"
    " wav mp3 flac ogg pdf svg eps ps ai psd xcf doc docx ppt pptx xls xlsx exe dll so ini lnk url part crdownload"
    " dcm dicom nii nrrd mha cr2 cr3 nef arw dng orf rw2 raf pef srw exr hdr dds tga ico"
)
_NO_IMAGES = frozenset(f".{suffix}" for suffix in _OTHER_SUFFIXES.split())
"""Endings that are not looked into: with a million of them that would take minutes."""
_HIDDEN_WORDS = (
    "__macosx|thumbs.db|ehthumbs.db|ehthumbs_vista.db|desktop.ini|icon\r|picasa.ini|zbthumbnail.info|@eadir|@__thumb"
    "|@recycle|@recently-snapshot|@synoresource|#recycle|#snapshot|$recycle.bin|lost+found|__pycache__"
    "|system volume information|network trash folder|temporary items"
)
_HIDDEN_NAMES = frozenset(_HIDDEN_WORDS.split("|"))


@dataclass(frozen=True)
class FileKinds:
    """The files of a folder or an archive, in natural order."""

    images: list[str]
    unknown: list[str]
    """Files whose ending says nothing: their content decides."""
    tables: list[str]
    """Files that may give the classes."""
    ignored: Counter[str]
    """Number of other files by extension."""

    @property
    def read(self) -> list[str]:
        """The files whose content matters."""
        return [*self.images, *self.unknown, *self.tables]


def natural_key(name: str) -> tuple[Any, ...]:
    """A sorting key that puts img2 before img10."""
    parts = re.split(r"(\d{1,300})", name)
    return [(int(part) if index % 2 else part.casefold()) for index, part in enumerate(parts)], name  # type: ignore


def sort_by_kind(sizes: Mapping[str, int]) -> FileKinds:
    """Sorts files, given as name -> size in bytes, by what they are."""
    images, unknown, tables, ignored = [], [], [], Counter[str]()
    for name, size in sizes.items():
        path = PurePosixPath(name)
        suffix = path.suffix.lower()
        if is_hidden(path.parts):
            ignored[HIDDEN] += 1
        elif not size:
            ignored[EMPTY] += 1
        elif suffix in IMAGE_SUFFIXES:
            images.append(name)
        elif is_table(path.name):
            tables.append(name)
        elif suffix in _NO_IMAGES:
            ignored[suffix] += 1
        else:
            unknown.append(name)
    for names in (images, unknown, tables):
        names.sort(key=natural_key)
    return FileKinds(images, unknown, tables, ignored)


def is_table(name: str) -> bool:
    """Whether a file of this name may say which class each image has."""
    path = PurePosixPath(name)
    suffix = path.suffix.lower()
    named = suffix in (".txt", ".json") and bool(_TABLE_WORDS.search(path.stem))
    return name == LABELS_FILE or suffix in _TABLE_SUFFIXES or named


def is_beside(table: str, name: str) -> bool:
    """Whether a file beside a folder or archive of this name may have the labels of its images."""
    path = PurePosixPath(table)
    listed = path.suffix.lower() in _TABLE_SUFFIXES | {".txt"}
    return listed and (bool(_TABLE_WORDS.search(path.stem)) or path.stem == name.partition(".")[0])


def is_hidden(parts: Sequence[str]) -> bool:
    """Whether a path is hidden or was left by an operating system, a file server or an editor."""
    return any(part.startswith(".") or part.casefold() in _HIDDEN_NAMES for part in parts)


def extension(name: str) -> str:
    """The ending by which an ignored file is counted."""
    return PurePosixPath(name).suffix.lower() or "(no extension)"


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


def common_root(names: Sequence[str]) -> str:
    """The folders that all names share, with a closing slash: `f/` of `f/a/1.png`, `f/b/1.png`."""
    levels = zip(*(name.split("/")[:-1] for name in names), strict=False)
    shared = takewhile(lambda folders: len(set(folders)) == 1, levels)
    return "".join(f"{folders[0]}/" for folders in shared)
