"""The table of a comparison: a line an entrant, a column a number, the mean over its seeds and their spread."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any, Literal

from ganvas.evaluation.measures import MEASURES


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        title: for people.
        better: lower, higher; or empty where no value is better than another.
        form: how a number is written, a name of `FORMS`.
        of: (entrant, run, measure of the verdict) -> the run's value, or None.
        quality: whether it is about pictures, and so is not marked where nothing is ranked.
    """

    title: str
    better: Literal["lower", "higher", ""]
    form: str
    of: Callable[[Mapping[str, Any], Mapping[str, Any], str], float | None]
    quality: bool = False


def _value(name: str, part: str = "value") -> Callable[[Any, Any, str], float | None]:
    def of(entrant: Any, run: Any, measure: str) -> float | None:
        values = run["evaluation"]["values"] if run["evaluation"] else {}
        return values.get(name or measure, {}).get(part)

    return of


def _copies(entrant: Any, run: Any, measure: str) -> float | None:
    copying = run["evaluation"]["memorisation"] if run["evaluation"] else None
    return copying["copies"] if copying else None


def _best(entrant: Any, run: Any, measure: str) -> float | None:
    return min(run["curves"]["quality"]["mean"]) if "quality" in run["curves"] else None


def _parameters(of: str) -> Callable[[Any, Any, str], float | None]:
    return lambda entrant, run, measure: entrant["parameters"] and entrant["parameters"][of]


COLUMNS: dict[str, Column] = {
    "g_parameters": Column("G's parameters", "", "count", _parameters("G")),
    "d_parameters": Column("D's parameters", "", "count", _parameters("D")),
    "flops": Column(
        "operations a training picture", "lower", "count",
        lambda entrant, run, measure: entrant["flops_an_image"] and entrant["flops_an_image"]["training"],
    ),
    "images_per_s": Column("pictures a second", "higher", "number", lambda entrant, run, measure: run["images_per_s"]),
    "seconds": Column("minutes", "", "minutes", lambda entrant, run, measure: run["seconds"] or None),
    "peak_bytes": Column("peak memory", "lower", "bytes", lambda entrant, run, measure: run["peak_bytes"]),
    "best": Column("best on the way (trend)", "lower", "number", _best, quality=True),
    "distance": Column("distance", "lower", "number", _value(""), quality=True),
    "ratio": Column("× real pictures' own", "lower", "number", _value("", "ratio"), quality=True),
    "precision": Column("precision", "higher", "number", _value("precision"), quality=True),
    "recall": Column("recall", "higher", "number", _value("recall"), quality=True),
    "modes": Column("classes drawn", "higher", "number", _value("modes"), quality=True),
    "rarest": Column("rarest class", "higher", "percent", _value("rarest"), quality=True),
    "copies": Column("copies", "lower", "percent", _copies, quality=True),
}  # fmt: skip


def summarised(
    entrants: Sequence[Mapping[str, Any]], runs: Sequence[Mapping[str, Any]], measure: str
) -> tuple[list[dict[str, dict[str, float]]], dict[str, str]]:
    """What is known: for each entrant, column -> mean, n and, of two seeds or more, sd; and column -> title."""
    found: list[dict[str, dict[str, float]]] = []
    for entrant in entrants:
        own = [run for run in runs if run["entrant"] == entrant["name"]]
        means: dict[str, dict[str, float]] = {}
        for key, column in COLUMNS.items():
            values = [x for run in own if (x := column.of(entrant, run, measure)) is not None and math.isfinite(x)]
            if values:
                spread = {"sd": stdev(values)} if len(values) > 1 else {}
                means[key] = {"mean": fmean(values), "n": len(values), **spread}
        found.append(means)
    titles = {
        key: called(measure, runs) if key == "distance" else column.title
        for key, column in COLUMNS.items()
        if any(key in own for own in found)
    }
    return found, titles


def called(measure: str, runs: Sequence[Mapping[str, Any]]) -> str:
    """What the evaluations call a measure: FID in the official Inception's features, and only there."""
    judged = [run["evaluation"]["values"] for run in runs if run["evaluation"]]
    return next((own[measure]["title"] for own in judged if "title" in own.get(measure, {})), MEASURES[measure].title)


def best(summaries: Sequence[Mapping[str, Mapping[str, float]]], ranked: bool) -> dict[str, list[int]]:
    """column -> places of those with the best mean; nobody where all are equal, or where quality is not ranked."""
    leaders = {}
    for key, column in COLUMNS.items():
        means = {i: own[key]["mean"] for i, own in enumerate(summaries) if key in own}
        if column.better and len(set(means.values())) > 1 and (ranked or not column.quality):
            top = (min if column.better == "lower" else max)(means.values())
            leaders[key] = [i for i, mean in means.items() if mean == top]
    return leaders


def number(x: float) -> str:
    """Three significant digits, or more before the point."""
    if abs(x) >= 1000:
        return f"{x:,.0f}"
    return f"{x:.3g}" if x == int(x) or abs(x) < 1e-3 else f"{x:#.3g}".rstrip(".")


def count(x: float) -> str:
    """A large number with its thousands as a letter: 1.25 M."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(x) >= size:
            return f"{x / size:.3g} {letter}"
    return f"{x:.3g}"


FORMS: dict[str, Callable[[float], str]] = {
    "number": number,
    "count": count,
    "bytes": lambda x: f"{x / 1e6:,.0f} MB",
    "minutes": lambda x: f"{x / 60:.3g}",
    "percent": lambda x: f"{100 * x:.3g} %",
    "p": lambda x: f"{x:.2g}",
    "kimg": lambda x: f"{x / 1000:g}",
    "plain": lambda x: f"{x:g}",
}
"""How numbers are written."""
