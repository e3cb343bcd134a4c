"""The data doctor: what is in a set, and what is wrong with it, by name."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ganvas.data.cache import file_names
from ganvas.data.imageset import ImageSet
from ganvas.data.options import PictureOptions
from ganvas.data.sources import open_set

_IMBALANCE = 10
_FEW = 200
_DUPLICATES = 0.01
_BLOCK = 2**25  # bytes looked at at once
_ROWS = 12  # of a long list that is printed; --json has them all


@dataclass(frozen=True)
class Report:
    """What `ganvas data` tells of a set. Pictures are described as they would be trained."""

    name: str
    source: str
    form: str
    count: int
    resolution: tuple[int, int]
    """(H, W)."""
    channels: int
    sizes: dict[str, int]
    """Original sizes, as HxW, the most frequent first."""
    modes: dict[str, int]
    """Original kinds of picture by Pillow's names: L grey, RGB, P palette, CMYK …"""
    classes: dict[str, int]
    """How many pictures each class has; empty without labels."""
    duplicates: tuple[tuple[str, ...], ...]
    """Groups of pictures that are equal in every pixel."""
    blank: tuple[str, ...]
    """Pictures of a single colour."""
    bad: tuple[tuple[str, str], ...]
    """(file, reason) of files that cannot be used."""
    ignored: dict[str, int]
    """How many files of each extension are no pictures."""
    misnamed: tuple[tuple[str, str], ...]
    """(file, what it is) of pictures whose extension says something else."""
    fingerprint: str
    notes: tuple[str, ...]
    """What was decided for the user."""
    wrong: tuple[str, ...]
    """What is wrong or worth knowing, a sentence each, the gravest first."""

    @property
    def redundant(self) -> int:
        """How many pictures could go without losing any."""
        return sum(len(group) - 1 for group in self.duplicates)

    def to_json(self) -> dict[str, Any]:
        """Everything, as plain values for `json.dumps`."""
        return {**asdict(self), "redundant": self.redundant}

    def render(self) -> Any:
        """A rich renderable: a table of what is there, and the list of what is wrong."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(title=Text(self.name), show_header=False, title_justify="left")
        table.add_column(style="bold")
        table.add_column()
        for title, value in self._rows():
            table.add_row(title, Text(value))
        told = [Text(f"• {sentence}") for sentence in self.notes]
        wrong = [Text(f"! {sentence}", style="yellow") for sentence in self.wrong]
        return Group(table, *told, *(wrong or [Text("Nothing is wrong.", style="green")]))

    def _rows(self) -> list[tuple[str, str]]:
        height, width = self.resolution
        kind = {1: "grey (1 channel)", 3: "colour (3 channels)", 4: "colour and transparency (4 channels)"}
        rows = [("source", f"{self.source} ({self.form})"), ("pictures", f"{self.count:,}")]
        if self.count:
            rows.append(("trained as", f"{height}x{width}, {kind[self.channels]}"))
        rows.append(("original sizes", _counts(self.sizes)))
        rows.append(("kinds", _counts(self.modes)))
        rows.append(("classes", _counts(self.classes) if self.classes else "none"))
        rows.append(("exact duplicates", f"{self.redundant:,}"))
        rows.append(("blank", f"{len(self.blank):,}"))
        rows.append(("bad files", f"{len(self.bad):,}"))
        if self.ignored:
            rows.append(("ignored files", _counts(self.ignored)))
        return rows


def inspect(options: PictureOptions, *, progress: bool = True) -> Report:
    """Looks at a whole set; lists bad files however many there are.

    Raises:
        GanvasError: there is no such source, or it holds no picture files at all.
    """
    images = open_set(options, progress=progress, strict=False)
    names = file_names(images)
    duplicates, blank = _look(images, lambda index: names[index] if names else f"picture {index}")
    report = Report(
        name=images.name,
        source=options.source,
        form=images.facts["form"],
        count=len(images),
        resolution=images.resolution,
        channels=images.channels,
        sizes=dict(images.facts["sizes"]),
        modes=dict(images.facts["modes"]),
        classes=_classes(images),
        duplicates=duplicates,
        blank=blank,
        bad=images.skipped,
        ignored=dict(images.facts["ignored"]),
        misnamed=tuple((name, kind) for name, kind in images.facts["misnamed"]),
        fingerprint=images.fingerprint,
        notes=images.notes,
        wrong=(),
    )
    return replace(report, wrong=tuple(_wrong(report, options)))


def _look(images: ImageSet, named: Callable[[int], str]) -> tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]:
    """Groups of equal pictures, and the pictures of a single colour."""
    first: dict[bytes, int] = {}
    groups: dict[int, list[int]] = {}
    blank: list[str] = []
    count = len(images)
    flat = np.asarray(images.images).reshape(count, images.channels, -1) if count else np.empty((0, 1, 1), np.uint8)
    step = max(1, _BLOCK // max(1, images.images[0].nbytes if count else 1))
    for begin in range(0, count, step):
        block = flat[begin : begin + step]
        even = (block.max(axis=2) == block.min(axis=2)).all(axis=1)
        blank += [named(begin + int(index)) for index in np.flatnonzero(even)]
        for index, pixels in enumerate(block, begin):
            known = first.setdefault(hashlib.blake2b(pixels.data, digest_size=16).digest(), index)
            if known != index:
                groups.setdefault(known, [known]).append(index)
    return tuple(tuple(named(index) for index in group) for group in groups.values()), tuple(blank)


def _classes(images: ImageSet) -> dict[str, int]:
    if images.labels is None:
        return {}
    counts = np.bincount(images.labels, minlength=images.classes)
    return {name: int(count) for name, count in zip(images.class_names, counts, strict=True)}


def _wrong(report: Report, options: PictureOptions) -> list[str]:
    found = []
    total = report.count + len(report.bad)
    if report.bad:
        share = len(report.bad) / total
        refused = "; `train` refuses the set (--max-bad)" if share > options.max_bad or not report.count else ""
        found.append(f"Bad files: {len(report.bad)} of {total} ({share:.1%}){refused}.{_listed(report.bad)}")
    if not report.count:
        return found
    if report.count < _FEW:
        found.append(f"Few pictures: {report.count}. A GAN learns so few by heart; several thousand are better.")
    present = {name: count for name, count in report.classes.items() if count}
    if len(report.classes) == 1:
        found.append("There is one class only, so the set cannot be trained as conditional.")
    if empty := [name for name in report.classes if name not in present]:
        found.append(f"Classes without a picture: {len(empty)} ({_some(empty)}).")
    if present and max(present.values()) > _IMBALANCE * min(present.values()):
        most, least = max(present, key=present.__getitem__), min(present, key=present.__getitem__)
        found.append(f"The classes are out of balance: {most} has {present[most]} pictures, {least} {present[least]}.")
    if report.redundant > _DUPLICATES * report.count:
        groups = [
            (group[0], f"equal to {', '.join(group[1:4])}{' …' if len(group) > 4 else ''}")
            for group in report.duplicates
        ]
        found.append(f"Exact duplicates of other pictures: {report.redundant}.{_listed(groups)}")
    if report.blank:
        found.append(f"Blank, of a single colour: {len(report.blank)} ({_some(report.blank)}).")
    if small := _smaller(report):
        height, width = report.resolution
        found.append(f"Smaller than {height}x{width}, and so enlarged: {small}.")
    if report.misnamed:
        found.append(f"Not what the extension says: {len(report.misnamed)}.{_listed(report.misnamed)}")
    return found


def _smaller(report: Report) -> int:
    height, width = report.resolution
    sides = [(*map(int, size.split("x")), count) for size, count in report.sizes.items()]
    return sum(count for high, wide, count in sides if high < height or wide < width)


def _listed(rows: Any) -> str:
    lines = [f"\n    {name}: {reason}" for name, reason in rows[:_ROWS]]
    more = f"\n    and {len(rows) - _ROWS} more" if len(rows) > _ROWS else ""
    return "".join(lines) + more


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_ROWS]) + (", …" if len(names) > _ROWS else "")


def _counts(counts: dict[str, int]) -> str:
    shown = [f"{name} ({count:,})" for name, count in list(counts.items())[:_ROWS]]
    return ", ".join(shown) + (f" and {len(counts) - _ROWS} more" if len(counts) > _ROWS else "")
