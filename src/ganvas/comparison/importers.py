"""Experiments of other programs, read only: run folders of the StyleGAN family, and what torch-fidelity prints.

They join the tables and are never ranked: how they were measured is not known, or differs. No weights are opened.
"""

import errno
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from ganvas.errors import GanvasError
from ganvas.runs.log import read_lines

Points = list[tuple[float, float]]
"""(kimg, value), by kimg."""

_LOWER = ("fid", "frechet", "kid", "kernel_inception", "ppl", "perceptual_path", "fd_dino", "fvd", "swd")
_HIGHER = ("precision", "recall", "f_score", "is50k", "inception_score", "eqt50k", "eqr50k", "density", "coverage")
_FIDELITY = ("frechet_inception_distance", "inception_score_mean", "kernel_inception_distance_mean",
             "perceptual_path_length_mean", "precision", "recall", "f_score")  # fmt: skip
_LONGEST = 1 << 20
"""Bytes of the longest file that may be a list of measures."""
_OPTIONS = {
    "resolution": ("training_set_kwargs.resolution", "dataset_kwargs.resolution"),
    "dataset": ("training_set_kwargs.path", "dataset_kwargs.path"),
    "images": ("training_set_kwargs.max_size", "dataset_kwargs.max_size"),
    "batch": ("batch_size",),
    "GPUs": ("num_gpus",),
    "planned kimg": ("total_kimg",),
    "generator": ("G_kwargs.class_name", "network_kwargs.class_name"),
    "r1": ("loss_kwargs.r1_gamma",),
    "seed": ("random_seed",),
}
"""Where training_options.json has what may be of interest; the first that is there."""


@dataclass(frozen=True)
class Foreign:
    """An experiment of another program.

    Attributes:
        name: its folder's name, or FOLDER/FILE.
        source: which program's.
        values: the last value of each measure, under its program's name for it.
        best: measure -> (value, kimg) at its best, where there is a history and a better side.
        curves: quantity -> (kimg, value), by kimg; measures as "metric/NAME".
        facts: what else is known, in words: resolution, dataset, batch, kimg, seconds …
    """

    name: str
    source: str
    values: dict[str, float] = field(default_factory=dict)
    best: dict[str, tuple[float, float]] = field(default_factory=dict)
    curves: dict[str, Points] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)


def foreign(path: Path) -> Foreign | None:
    """The experiment at `path`; None if it is of neither form.

    Torn lines, values that are no finite numbers, and keys that nobody knows are passed over.

    Raises:
        GanvasError: it is of one of the forms, and nothing in it can be read.
    """
    try:
        if path.is_dir():
            return _stylegan(path) if _is_stylegan(path) else None
        return _fidelity(path) if path.is_file() and path.stat().st_size <= _LONGEST else None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return None
        raise GanvasError(
            f"{path} cannot be read ({error.strerror}).", expected="a folder or file that this user may read"
        ) from error


def lower_is_better(measure: str) -> bool | None:
    """Which side of a measure is better, by its name: FID, KID, PPL lower; IS, precision, recall higher; else None."""
    if measure.endswith("_std"):
        return None
    if any(part in measure for part in _LOWER):
        return True
    return False if any(part in measure for part in _HIGHER) else None


def _is_stylegan(path: Path) -> bool:
    if (path / "training_options.json").is_file() or next(path.glob("metric-*.jsonl"), None):
        return True
    return any("Progress/kimg" in line for line in islice(_lines(path / "stats.jsonl"), 100))


def _stylegan(path: Path) -> Foreign:
    options = _object(path / "training_options.json")
    facts = {name: told for name, places in _OPTIONS.items() if (told := _told(options, places))}
    if "dataset" in facts:
        facts["dataset"] = re.split(r"[/\\]", facts["dataset"].rstrip("/\\"))[-1]
    found = Foreign(path.resolve().name, "StyleGAN-family run", facts=facts)
    logged = _read_stats(path / "stats.jsonl", found)
    for file in sorted(path.glob("metric-*.jsonl")):
        logged = _read_metric(file, found) or logged
    if not options and not logged:
        raise GanvasError(
            f"{path} looks like a run of the StyleGAN family, but nothing in it can be read.",
            expected="training_options.json, stats.jsonl or metric-*.jsonl, as its training wrote them",
            fix="copy them again from where it was trained, or leave it out.",
        )
    return found


def _read_stats(file: Path, found: Foreign) -> bool:
    """The curves of stats.jsonl, and how long it took; whether there was a line of it."""
    curves: dict[str, dict[float, float]] = {}  # a resumed run writes some again: the later line counts
    for line in _lines(file):
        kimg = _mean(line.get("Progress/kimg"))
        if kimg is None:
            continue
        for name, moments in line.items():
            if (value := _mean(moments)) is not None:
                curves.setdefault(name, {})[kimg] = value
    last = {name: points[max(points)] for name, points in curves.items()}
    for fact, name in (("kimg", "Progress/kimg"), ("seconds", "Timing/total_sec")):
        if name in last:
            found.facts[fact] = f"{last[name]:.10g}"
    found.curves.update({name: sorted(points.items()) for name, points in curves.items() if name != "Progress/kimg"})
    return bool(curves)


def _read_metric(file: Path, found: Foreign) -> bool:
    """The measures of one metric-*.jsonl; whether there was a line of it. The kimg is in the snapshot's name."""
    history: dict[str, dict[float, float]] = {}
    seen = False
    for line in _lines(file):
        results = line.get("results")
        if not isinstance(results, dict):
            continue
        seen = True
        numbered = re.search(r"network-snapshot-(\d+)", str(line.get("snapshot_pkl")))
        for name, value in results.items():
            if (number := _number(value)) is not None:
                history.setdefault(name, {})[float(numbered[1]) if numbered else math.nan] = number
    for name, points in history.items():
        dated = sorted((kimg, value) for kimg, value in points.items() if not math.isnan(kimg))
        found.values[name] = dated[-1][1] if dated else next(reversed(points.values()))
        if not dated:
            continue
        found.curves[f"metric/{name}"] = dated
        lower = lower_is_better(name)
        if lower is not None:
            kimg, value = (min if lower else max)(dated, key=lambda point: point[1])
            found.best[name] = value, kimg
    return seen


def _fidelity(file: Path) -> Foreign | None:
    text = file.read_text(encoding="utf-8", errors="replace")
    if not any(f'"{key}"' in text for key in _FIDELITY):
        return None
    measures = _object(file)
    values = {name: number for name, value in measures.items() if (number := _number(value)) is not None}
    if not any(key in values for key in _FIDELITY):
        if measures and not any(key in measures for key in _FIDELITY):  # somebody else's, which nests those names
            return None
        raise GanvasError(
            f"{file} looks like measures of torch-fidelity, but none of them can be read.",
            expected="one JSON object of finite numbers, as fidelity --json prints it",
            fix="measure again, or leave it out.",
        )
    return Foreign(f"{file.resolve().parent.name}/{file.name}", "torch-fidelity", values=values)


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    """The JSON lines of a file, as far as they can be read."""
    try:
        yield from read_lines(file)
    except (OSError, RecursionError):
        return


def _object(file: Path) -> dict[str, Any]:
    """The JSON object in a file; empty where it cannot be read."""
    try:
        value = json.loads(file.read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _mean(moments: Any) -> float | None:
    """The mean of a {num, mean, std}; None if it is none."""
    return _number(moments.get("mean")) if isinstance(moments, dict) else None


def _number(value: Any) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _told(options: Mapping[str, Any], places: tuple[str, ...]) -> str:
    """The first of some dotted places that holds a word or number; empty if none does."""
    for place in places:
        value: Any = options
        for key in place.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, str | int | float):
            return f"{value:.10g}" if isinstance(value, float) else str(value)
    return ""
