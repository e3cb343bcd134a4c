"""The table of a comparison: for each candidate, the mean and standard deviation of each number over its seeds."""

import csv
import io
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from statistics import stdev
from typing import Any, Literal, NamedTuple

from ganvas.comparison.aspects import COSTS, is_independent, is_positive, reason_not_to_compare
from ganvas.comparison.significance import central_value
from ganvas.evaluation import independence
from ganvas.evaluation.measures import MEASURES


class Column(NamedTuple):
    """One number of the table.

    Attributes:
        title: for people.
        better: lower, higher; or empty where no value is better than another.
        format: how the number is written, a key of `FORMATTERS`.
        quality: whether it measures image quality; its best value is then marked only in a ranked comparison.
        ratio: whether candidates are compared by ratios, so that the mean is the geometric one.
    """

    title: str
    better: Literal["lower", "higher", ""]
    format: str = "number"
    quality: bool = False
    ratio: bool = False


COLUMNS: dict[str, Column] = {
    "g_parameters": Column("G's parameters", "", "count"),
    "d_parameters": Column("D's parameters", "", "count"),
    "flops": Column("operations per training image", "lower", "count"),
    "images_per_s": Column("images per second", "higher", ratio=True),
    "seconds": Column("training minutes", "", "minutes"),
    "peak_bytes": Column("peak memory", "lower", "bytes", ratio=True),
    "best": Column("best kernel distance during training", "lower", quality=True),
    "distance": Column("distance", "lower", quality=True, ratio=True),
    "ratio": Column("ratio to the real-data baseline", "lower", quality=True, ratio=True),
    "precision": Column("precision", "higher", quality=True),
    "recall": Column("recall", "higher", quality=True),
    "modes": Column("classes generated", "higher", quality=True),
    "rarest": Column("rarest class", "higher", "percent", quality=True),
    "copies": Column("near-copies of training images", "lower", "percent", quality=True),
}


def _numbers(candidate: Mapping[str, Any], run: Mapping[str, Any], metric: str) -> dict[str, float | None]:
    """A run's number in each column; None where it is unknown. `metric` is that of the verdict."""
    evaluation, trend = run["evaluation"] or {}, run.get("trend") or {}
    measured: Any = defaultdict(dict, evaluation.get("values", {}))
    parameters, flops = candidate["parameters"] or {}, candidate["flops_per_image"] or {}
    return {
        "g_parameters": parameters.get("G"),
        "d_parameters": parameters.get("D"),
        "flops": flops.get("training"),
        "seconds": run["seconds"] or None,
        "best": trend.get("value"),
        "distance": measured[metric].get("value"),
        "ratio": measured[metric].get("ratio"),
        "copies": (evaluation.get("memorisation") or {}).get("near_copies"),
        **{key: run[key] for key in ("images_per_s", "peak_bytes")},
        **{key: measured[key].get("value") for key in ("precision", "recall", "modes", "rarest")},
    }


def summarise(
    candidates: Sequence[Mapping[str, Any]], runs: Sequence[Mapping[str, Any]], metric: str
) -> tuple[list[dict[str, dict[str, float]]], dict[str, str]]:
    """Computes the table from the known values.

    Returns:
        For each candidate, column -> mean, n (seeds) and, with two or more seeds, sd; and column -> title. The mean is
        the geometric one where the values are compared by ratios and all positive.
    """
    summaries: list[dict[str, dict[str, float]]] = []
    ratio = {key: column.ratio and is_positive(runs, _measure(key, metric)) for key, column in COLUMNS.items()}
    for candidate in candidates:
        own = [_numbers(candidate, run, metric) for run in runs if run["candidate"] == candidate["name"]]
        means: dict[str, dict[str, float]] = {}
        for key in COLUMNS:
            values = [x for numbers in own if (x := numbers[key]) is not None and math.isfinite(x)]
            if values:
                deviation = {"sd": stdev(values)} if len(values) > 1 else {}
                means[key] = {"mean": central_value(values, ratio=ratio[key]), "n": len(values), **deviation}
        summaries.append(means)
    titles = {
        key: metric_title(metric, runs) if key == "distance" else column.title + _mark(key, metric, runs)
        for key, column in COLUMNS.items()
        if any(key in own for own in summaries)
    }
    return summaries, titles


def metric_title(metric: str, runs: Sequence[Mapping[str, Any]]) -> str:
    """The metric's title: FID only with the official Inception features; marked where it is not independent."""
    evaluated = [run["evaluation"]["values"] for run in runs if run["evaluation"]]
    titles = (values[metric]["title"] for values in evaluated if "title" in values.get(metric, {}))
    return next(titles, MEASURES[metric].title) + _mark("distance", metric, runs)


def trend_mark(runs: Sequence[Mapping[str, Any]]) -> str:
    """What the title of the quality during training says where its values are not to be compared; else empty."""
    trends = [trend for run in runs if (trend := run.get("trend"))]
    if not all(map(independence.is_independent, trends)):
        return independence.MARK
    features = sorted({trend["extractor"] for trend in trends})
    return f" (in different features: {', '.join(features)})" if len(features) > 1 else ""


def _mark(column: str, metric: str, runs: Sequence[Mapping[str, Any]]) -> str:
    """The mark of a column whose values are not to be compared; else empty."""
    if column == "best":
        return trend_mark(runs)
    return "" if is_independent(runs, _measure(column, metric)) else independence.MARK


def _measure(column: str, metric: str) -> str:
    """The metric or the aspect in a column."""
    return metric if column in ("distance", "ratio") else column


def best_candidates(
    summaries: Sequence[Mapping[str, Mapping[str, float]]], ranked: bool, runs: Sequence[Mapping[str, Any]] = ()
) -> dict[str, list[int]]:
    """column -> indexes of the candidates with the best mean; none if all are equal, or not to be compared.

    Args:
        summaries: of each candidate.
        ranked: whether quality is ranked.
        runs: the rows, which say whether the values of their training, and their costs, can be compared.
    """
    best = {}
    for key, column in COLUMNS.items():
        means = {i: own[key]["mean"] for i, own in enumerate(summaries) if key in own}
        comparable = not column.quality or (ranked and not (key == "best" and trend_mark(runs)))
        if key in COSTS:
            comparable = not reason_not_to_compare(key, runs)
        if column.better and len(set(means.values())) > 1 and comparable:
            top = (min if column.better == "lower" else max)(means.values())
            best[key] = [i for i, mean in means.items() if mean == top]
    return best


def format_number(x: float) -> str:
    """Three significant digits, or more before the decimal point."""
    if abs(x) >= 1000:
        return f"{x:,.0f}"
    return f"{x:.3g}" if x == int(x) or abs(x) < 1e-3 else f"{x:#.3g}".rstrip(".")


def format_beside(x: float, limit: float) -> str:
    """Two significant digits, or as many as show that it is not the limit."""
    texts = (f"{x:.{digits}g}" for digits in range(2, 18))
    return next(text for text in texts if float(text) != limit or x == limit)


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
    "p": lambda x: format_beside(x, 0.05),
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


def format_csv(results: Mapping[str, Any]) -> str:
    """The runs as CSV, one per line: cost, state, and every metric with its real-data baseline and standard error."""
    names = list(dict.fromkeys(n for run in results["runs"] if run["evaluation"] for n in run["evaluation"]["values"]))
    plain = ("candidate", "seed", "path", "state", "problem", "nimg", "seconds", "flops", "images_per_s", "peak_bytes")
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(
        [*plain, "diagnosis", "independence", *(f"{n}{part}" for n in names for part in ("", "_baseline", "_error"))]
    )
    for run in results["runs"]:
        values = run["evaluation"]["values"] if run["evaluation"] else {}
        numbers = [values.get(n, {}).get(part) for n in names for part in ("value", "baseline", "error")]
        protocol = run["evaluation"]["protocol"] if run["evaluation"] else {}
        facts = run["diagnosis"]["verdict"], protocol.get("independence", {}).get("verdict")
        writer.writerow([*(run[name] for name in plain), *facts, *numbers])
    return file.getvalue()
