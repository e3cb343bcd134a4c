"""Names of files that pages send: cleaned, and what they tell of the files."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from ganvas.files import MAX_NAME
from ganvas.studio.answers import Refusal

MAX_DEPTH = 16
"""Folders inside each other."""

_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\]')
_LOGS = {".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".log", ".txt", ".out", ".dat", ".md"}
_SUFFIXES = "jpg jpeg jpe jfif png apng webp bmp dib tif tiff gif ppm pgm pbm pnm avif jp2 heic heif hif"
_PACKED = {".gz", ".bz2", ".xz"}
IMAGES = frozenset(f".{suffix}" for suffix in _SUFFIXES.split())


def clean(name: str) -> PurePosixPath:
    """The name of a file in its folders, as any file system takes it; it leads nowhere else.

    Raises:
        Refusal: nothing is left of it, or it has too many folders.
    """
    parts = [_clean_part(part) for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    if not parts or len(parts) > MAX_DEPTH:
        raise Refusal(
            400, f"{name[:100]!r} is no name of a file.", expected=f"at most {MAX_DEPTH} folders", field="name"
        )
    return PurePosixPath(*parts)


def _clean_part(part: str) -> str:
    text = _FORBIDDEN.sub("_", part.encode("utf-8", "replace").decode()).strip()
    stem, dot, suffix = text.rpartition(".")
    suffix = dot + suffix if stem and len(suffix) < 12 else ""
    stem = text.removesuffix(suffix) if suffix else text
    most = MAX_NAME - 40 - len(suffix.encode())  # for the marks of temporary names
    return (stem.encode()[:most].decode(errors="ignore") + suffix).rstrip(". ") or "_"


def is_log(file: PurePosixPath) -> bool:
    """Whether a file is named as logs of trainings are."""
    plain = file.with_suffix("") if file.suffix.lower() in _PACKED else file
    return "tfevents" in file.name or plain.suffix.lower() in _LOGS


def choose_name(names: Sequence[str]) -> str:
    """The folder that all files share, or the only file without its ending; else "files"."""
    paths = [clean(name) for name in names[:1000]]
    tops = {path.parts[0] for path in paths}
    name = tops.pop() if len(tops) == 1 else "files"
    if len(paths) == 1 and len(paths[0].parts) == 1:
        name = re.sub(r"\.(tar\.\w+|\w{1,8})$", "", name)
    return re.sub(r"[^\w.-]+", "-", name).strip("-.")[:48] or "files"
