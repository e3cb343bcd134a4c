"""Imports results of other programs: run folders of the StyleGAN family, and the JSON output of torch-fidelity.

They are listed but never ranked, because their evaluation protocol is unknown or different. No weights are opened.
"""

import errno
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from ganvas.errors import GanvasError
from ganvas.reading import MAX_DOCUMENT, describe_reason, parse_json, read_bytes, read_lines

Points = list[tuple[float, float]]
"""(kimg, value), sorted by kimg."""

_LOWER_IS_BETTER = ("fid", "frechet", "kid", "kernel_inception", "ppl", "perceptual_path", "fd_dino", "fvd", "swd")
_HIGHER_IS_BETTER = ("precision", "recall", "f_score", "is50k", "inception_score", "eqt50k", "eqr50k", "density",
                     "coverage")  # fmt: skip
_FIDELITY_KEYS = {"frechet_inception_distance", "inception_score_mean", "kernel_inception_distance_mean",
                  "perceptual_path_length_mean", "precision", "recall", "f_score"}  # fmt: skip
_MAX_BYTES = 1 << 20
"""Largest size of a file that may be the JSON output of torch-fidelity."""
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
"""Detail -> its possible keys in training_options.json, of which the first that exists is used."""


@dataclass(frozen=True)
class ImportedRun:
    """A result of another program.

    Attributes:
        name: the name of its folder, or FOLDER/FILE.
        source: the program.
        values: the last value of each metric, under the program's own name for it.
        best: metric -> (best value, kimg), where there is a history and it is known which values are better.
        curves: quantity -> (kimg, value), sorted by kimg; metrics as "metric/NAME".
        details: other facts as text: resolution, dataset, batch, kimg, seconds …
    """

    name: str
    source: str
    values: dict[str, float] = field(default_factory=dict)
    best: dict[str, tuple[float, float]] = field(default_factory=dict)
    curves: dict[str, Points] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)


def import_run(path: Path) -> ImportedRun | None:
    """The result at `path`; None if it has neither of the two formats.

    Incomplete lines, values that are not finite numbers and unknown keys are ignored.

    Raises:
        GanvasError: it has one of the formats, but nothing in it can be read.
    """
    try:
        if path.is_dir():
            return _import_stylegan(path) if _is_stylegan(path) else None
        return _import_fidelity(path) if path.is_file() and path.stat().st_size <= _MAX_BYTES else None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return None
        raise GanvasError(
            f"{path} cannot be read ({error.strerror}).", expected="a folder or file that this user may read"
        ) from error


def lower_is_better(metric: str) -> bool | None:
    """Whether lower values of a metric are better, by its name (FID: yes; IS: no); None if unknown."""
    if metric.endswith("_std"):
        return None
    if any(part in metric for part in _LOWER_IS_BETTER):
        return True
    return False if any(part in metric for part in _HIGHER_IS_BETTER) else None


def _is_stylegan(path: Path) -> bool:
    if (path / "training_options.json").is_file() or next(path.glob("metric-*.jsonl"), None):
        return True
    return any("Progress/kimg" in line for line in islice(_read_json_lines(path / "stats.jsonl"), 100))


def _import_stylegan(path: Path) -> ImportedRun:
    options = _read_json_object(path / "training_options.json")
    details = {name: value for name, keys in _OPTIONS.items() if (value := _first_option(options, keys))}
    if "dataset" in details:
        details["dataset"] = re.split(r"[/\\]", details["dataset"].rstrip("/\\"))[-1]
    found = ImportedRun(path.resolve().name, "StyleGAN-family run", details=details)
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


def _read_stats(file: Path, found: ImportedRun) -> bool:
    """Reads the curves and the duration from stats.jsonl; returns whether it has a readable line."""
    curves: dict[str, dict[float, float]] = {}  # a resumed run repeats some kimg: the later line counts
    for line in _read_json_lines(file):
        kimg = _mean(line.get("Progress/kimg"))
        if kimg is None:
            continue
        for name, moments in line.items():
            if (value := _mean(moments)) is not None:
                curves.setdefault(name, {})[kimg] = value
    last = {name: points[max(points)] for name, points in curves.items()}
    for fact, name in (("kimg", "Progress/kimg"), ("seconds", "Timing/total_sec")):
        if name in last:
            found.details[fact] = f"{last[name]:.10g}"
    found.curves.update({name: sorted(points.items()) for name, points in curves.items() if name != "Progress/kimg"})
    return bool(curves)


def _read_metric(file: Path, found: ImportedRun) -> bool:
    """Reads one metric-*.jsonl, the kimg from the snapshot's name; returns whether it has a readable line."""
    history: dict[str, dict[float, float]] = {}
    seen = False
    for line in _read_json_lines(file):
        results = line.get("results")
        if not isinstance(results, dict):
            continue
        seen = True
        numbered = re.search(r"network-snapshot-(\d+)", str(line.get("snapshot_pkl")))
        for name, value in results.items():
            if (number := _finite_number(value)) is not None:
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


def _import_fidelity(file: Path) -> ImportedRun | None:
    try:
        text = read_bytes(file, MAX_DOCUMENT).decode("utf-8", "replace")
    except (OSError, ValueError) as error:
        raise GanvasError(f"{file} cannot be read ({describe_reason(error)}).") from error
    if not any(f'"{key}"' in text for key in _FIDELITY_KEYS):
        return None
    measures = _read_json_object(file)
    if measures and not measures.keys() & _FIDELITY_KEYS:  # another program's file, in which those names are nested
        return None
    values = {name: number for name, value in measures.items() if (number := _finite_number(value)) is not None}
    if not values.keys() & _FIDELITY_KEYS:
        raise GanvasError(
            f"{file} looks like output of torch-fidelity, but no metric in it can be read.",
            expected="one JSON object of finite numbers, as fidelity --json prints it",
            fix="measure again, or leave it out.",
        )
    return ImportedRun(f"{file.resolve().parent.name}/{file.name}", "torch-fidelity", values=values)


def _read_json_lines(file: Path) -> Iterator[dict[str, Any]]:
    """The readable JSON lines of a file."""
    with suppress(OSError):
        for line in read_lines(file):
            with suppress(ValueError):
                value = parse_json(line or b"", finite=False)
                if isinstance(value, dict):
                    yield value


def _read_json_object(file: Path) -> dict[str, Any]:
    """The JSON object in a file; empty where it cannot be read."""
    try:
        value = parse_json(read_bytes(file, MAX_DOCUMENT), finite=False)
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _mean(moments: Any) -> float | None:
    """The mean of a {num, mean, std}; None for anything else."""
    return _finite_number(moments.get("mean")) if isinstance(moments, dict) else None


def _finite_number(value: Any) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _first_option(options: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    """The value at the first of some dotted keys that holds text or a number; empty if none does."""
    for dotted in keys:
        value: Any = options
        for key in dotted.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, str | int | float):
            return f"{value:.10g}" if isinstance(value, float) else str(value)
    return ""
