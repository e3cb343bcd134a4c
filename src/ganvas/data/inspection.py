"""`ganvas data`: describes a data set and lists its problems, file by file."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ganvas.data.cached.cache import read_file_names
from ganvas.data.imageset import ImageSet, count_smaller
from ganvas.data.options import Channels, DataOptions, Fit, Split
from ganvas.data.sources import open_image_set
from ganvas.display import Displayed, Paragraph, Part, Table
from ganvas.terminal import printable_name

_MAX_IMBALANCE = 10
_MIN_IMAGES = 200
_MAX_DUPLICATES = 0.01
_BLOCK_BYTES = 2**25  # bytes compared at a time
_MAX_ROWS = 12  # rows of a long list that are printed; --json has them all


@dataclass(frozen=True, repr=False)
class DataReport(Displayed):
    """The report of `ganvas data`; a training may read the images smaller (`ganvas.training.choices`)."""

    name: str
    source: str
    format: str
    count: int
    resolution: tuple[int, int]
    """(H, W)."""
    channels: int
    original_sizes: dict[str, int]
    """Number of images of each original size, HxW, the most frequent first."""
    colour_modes: dict[str, int]
    """Number of images of each original colour mode, by Pillow's names: L grey, RGB, P palette, CMYK …"""
    class_counts: dict[str, int]
    """Number of images of each class; empty without labels."""
    duplicate_groups: tuple[tuple[str, ...], ...]
    """Groups of images with identical pixels."""
    blank_images: tuple[str, ...]
    """Images of a single colour."""
    bad_files: tuple[tuple[str, str], ...]
    """(file, reason) of files that cannot be used."""
    ignored_files: dict[str, int]
    """Number of files of each extension that are not images."""
    misnamed_files: tuple[tuple[str, str], ...]
    """(file, what it is) of images whose extension names another format; the first of them if there are very many."""
    misnamed_count: int
    """Number of images whose extension names another format."""
    fingerprint: str
    notes: tuple[str, ...]
    """What was decided automatically, a sentence each."""
    warnings: tuple[str, ...]
    """Problems, a sentence each, the most severe first."""

    @property
    def duplicate_count(self) -> int:
        """Number of images that are copies of an earlier one."""
        return sum(len(group) - 1 for group in self.duplicate_groups)

    def to_json(self) -> dict[str, Any]:
        """All fields as plain values for `json.dumps`."""
        return {**asdict(self), "duplicate_count": self.duplicate_count}

    def _parts(self) -> Iterator[Part]:
        yield Paragraph(self.name, "bold")
        yield Table(self._rows())
        for sentence in self.notes:
            yield Paragraph(f"• {sentence}")
        for sentence in self.warnings:
            yield Paragraph(f"! {sentence}", "yellow")
        if not self.warnings:
            yield Paragraph("No problems found.", "green")

    def _rows(self) -> list[tuple[str, str]]:
        height, width = self.resolution
        colours = {1: "grey (1 channel)", 3: "RGB (3 channels)", 4: "RGBA (4 channels)"}
        rows = [("source", f"{printable_name(self.source)} ({self.format})"), ("images", f"{self.count:,}")]
        if self.count:
            rows.append(("read as", f"{height}x{width}, {colours[self.channels]}"))
            rows.append(("original sizes, HxW", _format_counts(self.original_sizes)))
            rows.append(("original colour modes", _format_counts(self.colour_modes)))
        rows.append(("classes", _format_counts(self.class_counts) if self.class_counts else "none"))
        rows.append(("exact duplicates", f"{self.duplicate_count:,}"))
        rows.append(("blank images", f"{len(self.blank_images):,}"))
        rows.append(("bad files", f"{len(self.bad_files):,}"))
        if self.ignored_files:
            rows.append(("ignored files", _format_counts(self.ignored_files)))
        return rows


def describe_few(count: int) -> str:
    """That a training set is small, as a sentence; empty if it is not."""
    return f"Few images: {count}. A GAN memorises so few; several thousand are better." if count < _MIN_IMAGES else ""


def inspect(
    source: str | os.PathLike[str],
    *,
    split: Split = "train",
    resolution: str | None = None,
    channels: Channels | None = None,
    fit: Fit = "crop",
    max_bad: float = 0.05,
    label_column: str | None = None,
    quiet: bool = False,
) -> DataReport:
    """Reads a whole data set and reports its properties and problems; bad files are listed however many there are.

        ganvas.data.inspect("photos/", resolution="64").warnings

    Args:
        source, split, resolution, channels, fit, max_bad, label_column: see `DataOptions`.
        quiet: show no progress bar on the terminal.

    Raises:
        GanvasError: there is no such source, it contains no image files at all, or a disk fails while it is read.
    """
    options = DataOptions(os.fspath(source), split, resolution, channels, fit, max_bad, label_column)
    images = open_image_set(options, progress=not quiet, strict=False)
    names = read_file_names(images)
    duplicates, blank = _find_duplicates_and_blanks(images, lambda index: names[index] if names else f"image {index}")
    report = DataReport(
        name=images.name,
        source=options.source,
        format=images.metadata["format"],
        count=len(images),
        resolution=images.resolution,
        channels=images.channels,
        original_sizes=dict(images.metadata["sizes"]),
        colour_modes=dict(images.metadata["colour_modes"]),
        class_counts=_count_classes(images),
        duplicate_groups=duplicates,
        blank_images=blank,
        bad_files=images.skipped,
        ignored_files=dict(images.metadata["ignored"]),
        misnamed_files=tuple((name, actual) for name, actual in images.metadata["misnamed"]),
        misnamed_count=images.metadata.get("misnamed_count", len(images.metadata["misnamed"])),
        fingerprint=images.fingerprint,
        notes=images.notes,
        warnings=(),
    )
    return replace(report, warnings=tuple(_find_problems(report, options)))


def _find_duplicates_and_blanks(
    images: ImageSet, name_of: Callable[[int], str]
) -> tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]:
    """The names of groups of identical images, and of the images of a single colour."""
    first: dict[bytes, int] = {}
    groups: dict[int, list[int]] = {}
    blank: list[str] = []
    count = len(images)
    flat = np.asarray(images.images).reshape(count, images.channels, -1) if count else np.empty((0, 1, 1), np.uint8)
    step = max(1, _BLOCK_BYTES // max(1, images.images[0].nbytes if count else 1))
    for begin in range(0, count, step):
        block = flat[begin : begin + step]
        blank_here = (block.max(axis=2) == block.min(axis=2)).all(axis=1)
        blank += [name_of(begin + int(index)) for index in np.flatnonzero(blank_here)]
        for index, pixels in enumerate(block, begin):
            original = first.setdefault(hashlib.blake2b(pixels.data, digest_size=16).digest(), index)
            if original != index:
                groups.setdefault(original, [original]).append(index)
    return tuple(tuple(name_of(index) for index in group) for group in groups.values()), tuple(blank)


def _count_classes(images: ImageSet) -> dict[str, int]:
    if images.labels is None:
        return {}
    counts = np.bincount(images.labels, minlength=images.classes)
    return {name: int(count) for name, count in zip(images.class_names, counts, strict=True)}


def _find_problems(report: DataReport, options: DataOptions) -> list[str]:
    problems = []
    total = report.count + len(report.bad_files)
    if report.bad_files:
        share = len(report.bad_files) / total
        refused = "; training refuses this data set (--max-bad)" if share > options.max_bad or not report.count else ""
        problems.append(
            f"Bad files: {len(report.bad_files)} of {total} ({share:.1%}){refused}.{_format_rows(report.bad_files)}"
        )
    if not report.count:
        return problems
    if few := describe_few(report.count):
        problems.append(few)
    present = {name: count for name, count in report.class_counts.items() if count}
    if len(report.class_counts) == 1:
        problems.append("There is only one class, so --conditional cannot be used.")
    if empty := [name for name in report.class_counts if name not in present]:
        problems.append(f"Classes without images: {len(empty)} ({_format_names(empty)}).")
    if present and max(present.values()) > _MAX_IMBALANCE * min(present.values()):
        most, least = max(present, key=present.__getitem__), min(present, key=present.__getitem__)
        problems.append(f"The classes are imbalanced: {most} has {present[most]} images, {least} has {present[least]}.")
    if report.duplicate_count > _MAX_DUPLICATES * report.count:
        groups = [
            (group[0], f"identical to {', '.join(group[1:4])}{' …' if len(group) > 4 else ''}")
            for group in report.duplicate_groups
        ]
        problems.append(f"Exact duplicates of other images: {report.duplicate_count}.{_format_rows(groups)}")
    if report.blank_images:
        problems.append(
            f"Blank images, of a single colour: {len(report.blank_images)} ({_format_names(report.blank_images)})."
        )
    if small := count_smaller(report.original_sizes, report.resolution, options.fit):
        height, width = report.resolution
        problems.append(f"Images smaller than {height}x{width}, which are enlarged: {small}.")
    if report.misnamed_files:
        rows = _format_rows(report.misnamed_files, report.misnamed_count)
        problems.append(f"Files whose extension names another format: {report.misnamed_count}.{rows}")
    return problems


def _format_rows(rows: Any, count: int | None = None) -> str:
    """The first rows; `count` is the number of all if `rows` has not all of them."""
    lines = [f"\n    {name}: {reason}" for name, reason in rows[:_MAX_ROWS]]
    others = (len(rows) if count is None else count) - len(lines)
    more = f"\n    and {others} more" if others else ""
    return "".join(lines) + more


def _format_names(names: Sequence[str]) -> str:
    return ", ".join(names[:_MAX_ROWS]) + (", …" if len(names) > _MAX_ROWS else "")


def _format_counts(counts: dict[str, int]) -> str:
    parts = [f"{name} ({count:,})" for name, count in list(counts.items())[:_MAX_ROWS]]
    return ", ".join(parts) + (f" and {len(counts) - _MAX_ROWS} more" if len(counts) > _MAX_ROWS else "")
