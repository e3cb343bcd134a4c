"""The table of a comparison: for each candidate, the mean and standard deviation of each number over its seeds."""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any, Literal, NamedTuple

from ganvas.evaluation.measures import MEASURES


class Column(NamedTuple):
    """One number of the table.

    Attributes:
        title: for people.
        better: lower, higher; or empty where no value is better than another.
        format: how the number is written, a key of `FORMATTERS`.
        quality: whether it measures image quality; its best value is then marked only in a ranked comparison.
    """

    title: str
    better: Literal["lower", "higher", ""]
    format: str = "number"
    quality: bool = False


COLUMNS: dict[str, Column] = {
    "g_parameters": Column("G's parameters", "", "count"),
    "d_parameters": Column("D's parameters", "", "count"),
    "flops": Column("operations per training image", "lower", "count"),
    "images_per_s": Column("images per second", "higher"),
    "seconds": Column("training minutes", "", "minutes"),
    "peak_bytes": Column("peak memory", "lower", "bytes"),
    "best": Column("best kernel distance during training", "lower", quality=True),
    "distance": Column("distance", "lower", quality=True),
    "ratio": Column("ratio to the real-data baseline", "lower", quality=True),
    "precision": Column("precision", "higher", quality=True),
    "recall": Column("recall", "higher", quality=True),
    "modes": Column("classes generated", "higher", quality=True),
    "rarest": Column("rarest class", "higher", "percent", quality=True),
    "copies": Column("copies of training images", "lower", "percent", quality=True),
}


def _numbers(candidate: Mapping[str, Any], run: Mapping[str, Any], metric: str) -> dict[str, float | None]:
    """A run's number in each column; None where it is unknown. `metric` is that of the verdict."""
    evaluation, quality = run["evaluation"] or {}, run["curves"].get("quality")
    measured: Any = defaultdict(dict, evaluation.get("values", {}))
    parameters, flops = candidate["parameters"] or {}, candidate["flops_per_image"] or {}
    return {
        "g_parameters": parameters.get("G"),
        "d_parameters": parameters.get("D"),
        "flops": flops.get("training"),
        "seconds": run["seconds"] or None,
        "best": min(quality["mean"]) if quality else None,
        "distance": measured[metric].get("value"),
        "ratio": measured[metric].get("ratio"),
        "copies": (evaluation.get("memorisation") or {}).get("copies"),
        **{key: run[key] for key in ("images_per_s", "peak_bytes")},
        **{key: measured[key].get("value") for key in ("precision", "recall", "modes", "rarest")},
    }


def summarise(
    candidates: Sequence[Mapping[str, Any]], runs: Sequence[Mapping[str, Any]], metric: str
) -> tuple[list[dict[str, dict[str, float]]], dict[str, str]]:
    """Computes the table from the known values.

    Returns:
        For each candidate, column -> mean, n (seeds) and, with two or more seeds, sd; and column -> title.
    """
    summaries: list[dict[str, dict[str, float]]] = []
    for candidate in candidates:
        own = [_numbers(candidate, run, metric) for run in runs if run["candidate"] == candidate["name"]]
        means: dict[str, dict[str, float]] = {}
        for key in COLUMNS:
            values = [x for numbers in own if (x := numbers[key]) is not None and math.isfinite(x)]
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
