"""The table of a comparison: for each candidate, the mean and standard deviation of each number over its seeds."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any, Literal

from ganvas.evaluation.measures import MEASURES


@dataclass(frozen=True)
class Column:
    """One number of the table.

    Attributes:
        title: for people.
        better: lower, higher; or empty where no value is better than another.
        format: how the number is written, a key of `FORMATTERS`.
        value: (candidate, run, metric of the verdict) -> the run's value, or None.
        quality: whether it measures image quality; its best value is then marked only in a ranked comparison.
    """

    title: str
    better: Literal["lower", "higher", ""]
    format: str
    value: Callable[[Mapping[str, Any], Mapping[str, Any], str], float | None]
    quality: bool = False


def _evaluated(name: str, part: str = "value") -> Callable[[Any, Any, str], float | None]:
    """Reads one measured value; an empty `name` stands for the metric of the verdict."""

    def read(candidate: Any, run: Any, metric: str) -> float | None:
        values = run["evaluation"]["values"] if run["evaluation"] else {}
        return values.get(name or metric, {}).get(part)

    return read


def _copies(candidate: Any, run: Any, metric: str) -> float | None:
    memorisation = run["evaluation"]["memorisation"] if run["evaluation"] else None
    return memorisation["copies"] if memorisation else None


def _best_during_training(candidate: Any, run: Any, metric: str) -> float | None:
    return min(run["curves"]["quality"]["mean"]) if "quality" in run["curves"] else None


def _parameters(network: str) -> Callable[[Any, Any, str], float | None]:
    return lambda candidate, run, metric: candidate["parameters"] and candidate["parameters"][network]


COLUMNS: dict[str, Column] = {
    "g_parameters": Column("G's parameters", "", "count", _parameters("G")),
    "d_parameters": Column("D's parameters", "", "count", _parameters("D")),
    "flops": Column(
        "operations per training image", "lower", "count",
        lambda candidate, run, metric: candidate["flops_per_image"] and candidate["flops_per_image"]["training"],
    ),
    "images_per_s": Column("images per second", "higher", "number", lambda candidate, run, metric: run["images_per_s"]),
    "seconds": Column("training minutes", "", "minutes", lambda candidate, run, metric: run["seconds"] or None),
    "peak_bytes": Column("peak memory", "lower", "bytes", lambda candidate, run, metric: run["peak_bytes"]),
    "best": Column("best kernel distance during training", "lower", "number", _best_during_training, quality=True),
    "distance": Column("distance", "lower", "number", _evaluated(""), quality=True),
    "ratio": Column("ratio to the real-data baseline", "lower", "number", _evaluated("", "ratio"), quality=True),
    "precision": Column("precision", "higher", "number", _evaluated("precision"), quality=True),
    "recall": Column("recall", "higher", "number", _evaluated("recall"), quality=True),
    "modes": Column("classes generated", "higher", "number", _evaluated("modes"), quality=True),
    "rarest": Column("rarest class", "higher", "percent", _evaluated("rarest"), quality=True),
    "copies": Column("copies of training images", "lower", "percent", _copies, quality=True),
}  # fmt: skip


def summarise(
    candidates: Sequence[Mapping[str, Any]], runs: Sequence[Mapping[str, Any]], metric: str
) -> tuple[list[dict[str, dict[str, float]]], dict[str, str]]:
    """Computes the table from the known values.

    Returns:
        For each candidate, column -> mean, n (seeds) and, with two or more seeds, sd; and column -> title.
    """
    summaries: list[dict[str, dict[str, float]]] = []
    for candidate in candidates:
        own = [run for run in runs if run["candidate"] == candidate["name"]]
        means: dict[str, dict[str, float]] = {}
        for key, column in COLUMNS.items():
            values = [x for run in own if (x := column.value(candidate, run, metric)) is not None and math.isfinite(x)]
            if values:
                deviation = {"sd": stdev(values)} if len(values) > 1 else {}
                means[key] = {"mean": fmean(values), "n": len(values), **deviation}
        summaries.append(means)
    titles = {
        key: metric_title(metric, runs) if key == "distance" else column.title
        for key, column in COLUMNS.items()
        if any(key in own for own in summaries)
    }
    return summaries, titles


def metric_title(metric: str, runs: Sequence[Mapping[str, Any]]) -> str:
    """The metric's title in the evaluations: FID only with the features of the official Inception network."""
    evaluated = [run["evaluation"]["values"] for run in runs if run["evaluation"]]
    titles = (values[metric]["title"] for values in evaluated if "title" in values.get(metric, {}))
    return next(titles, MEASURES[metric].title)


def best_candidates(summaries: Sequence[Mapping[str, Mapping[str, float]]], ranked: bool) -> dict[str, list[int]]:
    """column -> indexes of the candidates with the best mean; none if all are equal, or if quality is not ranked."""
    best = {}
    for key, column in COLUMNS.items():
        means = {i: own[key]["mean"] for i, own in enumerate(summaries) if key in own}
        if column.better and len(set(means.values())) > 1 and (ranked or not column.quality):
            top = (min if column.better == "lower" else max)(means.values())
            best[key] = [i for i, mean in means.items() if mean == top]
    return best


def format_number(x: float) -> str:
    """Three significant digits, or more before the decimal point."""
    if abs(x) >= 1000:
        return f"{x:,.0f}"
    return f"{x:.3g}" if x == int(x) or abs(x) < 1e-3 else f"{x:#.3g}".rstrip(".")


def format_count(x: float) -> str:
    """A large number with an SI prefix: 1.25 M."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(x) >= size:
            return f"{x / size:.3g} {letter}"
    return f"{x:.3g}"


FORMATTERS: dict[str, Callable[[float], str]] = {
    "number": format_number,
    "count": format_count,
    "bytes": lambda x: f"{x / 1e6:,.0f} MB",
    "minutes": lambda x: f"{x / 60:.3g}",
    "percent": lambda x: f"{100 * x:.3g} %",
    "p": lambda x: f"{x:.2g}",
    "kimg": lambda x: f"{x / 1000:g}",
    "plain": lambda x: f"{x:g}",
}
"""How numbers are written."""


def format_mean(summary: Mapping[str, Mapping[str, float]], column: str) -> str:
    """Mean ± standard deviation of a column of one candidate; a dash where it is unknown."""
    if column not in summary:
        return "–"
    write, own = FORMATTERS[COLUMNS[column].format], summary[column]
    return write(own["mean"]) + (f" ± {write(own['sd'])}" if "sd" in own else "")
