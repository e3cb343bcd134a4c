"""The figures of a report, as SVG with the text and line colours of the page, for light and dark mode.

No distinction depends on colour alone: every candidate has its own dash pattern and marker.
"""

import io
import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from ganvas.comparison.aspects import ASPECTS, aspect_value, is_independent, is_positive
from ganvas.comparison.significance import central_value
from ganvas.comparison.summary import metric_title, trend_mark
from ganvas.evaluation.independence import MARK

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#777777")
"""After Okabe & Ito; the page replaces them by its own, which are lighter in dark mode."""
MARKERS = "os^DvPX*"
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)))
INK, FAINT = "#010203", "#040506"
"""Placeholders for the page's text colour and its faint text colour."""

MAX_CANDIDATES = len(COLOURS)
"""Most candidates in a figure: more cannot be distinguished."""

LONG_NAME = 24
"""Characters of a name from which it is wrapped or given more space."""

CURVE_POINTS = 60
"""Points at which the curves of several seeds are averaged."""


@dataclass(frozen=True)
class Figure:
    """A figure: its SVG, its text alternative, and its caption."""

    svg: str
    alt: str
    caption: str


def draw_figures(results: Mapping[str, Any]) -> dict[str, Figure]:
    """The figures for which there are data: distance, quality, losses, aspects."""
    style: dict[Any, Any] = {
        "svg.fonttype": "none", "svg.hashsalt": "ganvas", "text.parse_math": False, "font.size": 9,
        "text.color": INK, "axes.edgecolor": FAINT, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK,
        "axes.spines.top": False, "axes.spines.right": False, "grid.color": FAINT, "grid.linewidth": 0.4,
    }  # fmt: skip
    names = _choose_candidates(results)
    functions = {
        "distance": _draw_distances, "quality": _draw_quality, "losses": _draw_losses, "aspects": _draw_aspects,
    }  # fmt: skip
    with matplotlib.rc_context(style):
        figures = {key: figure for key, draw in functions.items() if (figure := draw(results, names)) is not None}
    if len(results["candidates"]) <= MAX_CANDIDATES:
        return figures
    best = "The best " if len(results["verdict"]["order"]) >= MAX_CANDIDATES else ""
    note = f" {best}{MAX_CANDIDATES} of the {len(results['candidates'])} candidates are drawn."
    return {key: replace(figure, caption=figure.caption + note) for key, figure in figures.items()}


def _choose_candidates(results: Mapping[str, Any]) -> list[str]:
    """The names of those that are drawn, in the order of the report: the best, then those with trainings."""
    names = [candidate["name"] for candidate in results["candidates"]]
    ranks = {name: rank for rank, name in enumerate(results["verdict"]["order"])}
    trained = {run["candidate"] for run in results["runs"]}
    by_rank = sorted(names, key=lambda name: (ranks.get(name, len(ranks)), name not in trained))
    return [name for name in names if name in by_rank[:MAX_CANDIDATES]]


def _runs_of(results: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    return [run for run in results["runs"] if run["candidate"] == name]


def _draw_distances(results: Mapping[str, Any], names: Sequence[str]) -> Figure | None:
    metric = results["verdict"]["metric"]
    runs = {name: [run for run in _runs_of(results, name) if run["evaluation"]] for name in names}
    points = {name: [run["evaluation"]["values"][metric] for run in own] for name, own in runs.items() if own}
    if not points:
        return None
    figure = Canvas(figsize=(7.6, 0.7 + 0.42 * len(points)), layout="constrained")
    axis = figure.subplots()
    ratio = is_positive(results["runs"], metric)
    baselines = [v["baseline"] for own in points.values() for v in own if v["baseline"]]
    for row, (name, own) in enumerate(points.items()):
        i = names.index(name)
        values = [v["value"] for v in own]
        errors = [v["error"] or 0 for v in own]
        jitter = np.linspace(-0.14, 0.14, len(values)) if len(values) > 1 else [0]
        axis.errorbar(
            values, row + np.array(jitter), xerr=errors, fmt=MARKERS[i], color=COLOURS[i], markersize=6, elinewidth=1
        )
        axis.plot([central_value(values, ratio=ratio)] * 2, [row - 0.3, row + 0.3], color=COLOURS[i], linewidth=2)
    if baselines:
        mean = float(np.mean(baselines))
        axis.axvline(mean, color=INK, linestyle=":", linewidth=1)
        axis.annotate("real-data baseline", (mean, 1), xycoords=("data", "axes fraction"), fontsize=8, va="bottom")
    axis.set_yticks(range(len(points)), [_format_label(name) for name in points])
    axis.set_ylim(len(points) - 0.5, -0.5)
    if min([v["value"] for own in points.values() for v in own] + baselines) > 0:
        _set_log_scale(axis.xaxis)
    title = metric_title(metric, results["runs"])
    axis.set_xlabel(title)
    axis.grid(axis="x")
    listed = {name: ", ".join(f"{v['value']:.3g}" for v in own) for name, own in points.items()}
    listing = "; ".join(f"{name}: {values}" for name, values in listed.items())
    return Figure(
        _to_svg(figure),
        f"{title} of each training. {listing}.",
        "One marker per training, with the standard error of the measurement; the bar is the "
        f"{'geometric ' if ratio else ''}mean over seeds. Lower is better.",
    )


def _draw_quality(results: Mapping[str, Any], names: Sequence[str]) -> Figure | None:
    shown = [name for name in names if any("quality" in run["curves"] for run in _runs_of(results, name))]
    curves = [run["curves"] for name in shown for run in _runs_of(results, name)]
    if not any(len(own["quality"]["kimg"]) > 2 for own in curves if "quality" in own):
        return None  # too few points for a curve: the table has the best value
    figure = Canvas(figsize=(9.6, 3.4), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    lowest, ends = math.inf, []
    for axis, unit, scale in zip(axes, ("kimg", "seconds"), (1, 60), strict=True):
        for name in shown:
            i = names.index(name)
            x, y, low, high = _mean_band(
                [run["curves"]["quality"] for run in _runs_of(results, name) if "quality" in run["curves"]], unit
            )
            x = x / scale
            lowest = min(lowest, *low)
            axis.plot(x, y, color=COLOURS[i], linestyle=DASHES[i], linewidth=1.6, marker=MARKERS[i], markevery=[-1],
                      label=_format_label(name) if unit == "kimg" else "")  # fmt: skip
            axis.fill_between(x, low, high, color=COLOURS[i], alpha=0.15, linewidth=0)
            if unit == "kimg":
                ends.append(f"{name} ends at {y[-1]:.3g}")
        axis.set_xlabel("thousand images shown to D (kimg)" if unit == "kimg" else "minutes of training")
        axis.grid()
        axis.margins(x=0.03)
    if lowest > 0:
        _set_log_scale(axes[0].yaxis)
    axes[0].set_ylabel("kernel distance × 1000")
    wide = max(map(len, shown)) > LONG_NAME
    figure.legend(loc="outside upper left", ncols=2 if wide else 4, frameon=False, fontsize=8, handlelength=4)
    return Figure(
        _to_svg(figure),
        f"Kernel distance during training, over images shown to D and over minutes. {'; '.join(ends)}.",
        f"Kernel distance during training{trend_mark(results['runs'])}, measured on at most 2,000 images (lower is "
        "better): mean over the seeds; the shaded area spans the best to the worst seed. Left: over images shown to D; "
        "right: over time.",
    )


def _draw_losses(results: Mapping[str, Any], names: Sequence[str]) -> Figure | None:
    shown = [name for name in names if any(run["curves"] for run in _runs_of(results, name))]
    if not shown:
        return None
    rows = [
        ("loss", (("D/loss", "D"), ("G/loss", "G"))),
        ("D's mean output", (("D/real", "on real"), ("D/fake", "on fake"))),
    ]
    counted = [run["curves"] for name in shown for run in _runs_of(results, name) if "D/updates" in run["curves"]]
    if any(curves["D/updates"]["mean"] != curves["G/updates"]["mean"] for curves in counted):
        rows.append(("updates per tick", (("D/updates", "D"), ("G/updates", "G"))))
    figure = Canvas(figsize=(max(4.0, 2.5 * len(shown)), 2.1 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), len(shown), squeeze=False)
    for column, name in enumerate(shown):
        for row, (title, quantities) in enumerate(rows):
            axis = axes[row, column]
            for (quantity, label), dash, colour in zip(quantities, ("-", "--"), COLOURS[:2], strict=True):
                curves = [run["curves"][quantity] for run in _runs_of(results, name) if quantity in run["curves"]]
                for k, curve in enumerate(curves):
                    single = "." if len(curve["kimg"]) == 1 else None  # a single point makes no line
                    axis.plot(curve["kimg"], curve["mean"], dash, color=colour, linewidth=1, alpha=0.75,
                              marker=single, label="" if k else label)  # fmt: skip
            axis.grid()
            if row == 0:
                axis.set_title("\n".join(textwrap.wrap(_format_label(name), LONG_NAME)[:2]), fontsize=9)
            if column == 0:
                axis.set_ylabel(title)
            if row == len(rows) - 1:
                axis.set_xlabel("kimg")
            if axis.get_legend_handles_labels()[0]:
                axis.legend(fontsize=7, frameon=False)
    return Figure(
        _to_svg(figure),
        f"Curves of {', '.join(shown)}: losses of D and G, and D's mean outputs on real and generated images.",
        "One line per seed: losses, D's mean outputs on real and generated images"
        + (", and the number of updates of each network." if len(rows) > 2 else "."),
    )


def _draw_aspects(results: Mapping[str, Any], names: Sequence[str]) -> Figure | None:
    shown = [aspect["aspect"] for aspect in results["aspects"]]
    if not shown:
        return None
    columns = min(2, len(shown))
    rows = -(-len(shown) // columns)
    height = 0.62 + 0.24 * len(names)
    figure = Canvas(figsize=(4.8 * columns, height * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis, key in zip(axes.flat, shown, strict=False):
        baselines = []
        for row, name in enumerate(names):
            i = names.index(name)
            own = _runs_of(results, name)
            values = [v for run in own if (v := aspect_value(run, key)) is not None]
            evaluated = [run["evaluation"]["values"].get(key, {}) for run in own if run["evaluation"]]
            baselines += [baseline for value in evaluated if (baseline := value.get("baseline"))]
            axis.plot(values, [row] * len(values), MARKERS[i], color=COLOURS[i], markersize=5, alpha=0.85)
        if baselines:
            axis.axvline(float(np.mean(baselines)), color=INK, linestyle=":", linewidth=1)
        own_labels = axis in axes[:, 0] or max(map(len, names)) <= LONG_NAME
        axis.set_yticks(range(len(names)), [_format_label(name) if own_labels else "" for name in names], fontsize=8)
        axis.set_ylim(len(names) - 0.5, -0.5)
        arrow = "←" if ASPECTS[key].better == "lower" else "→"
        mark = "" if is_independent(results["runs"], key) else MARK
        axis.set_title(f"{ASPECTS[key].title}{mark} {arrow}", fontsize=9, loc="left")
        axis.tick_params(axis="x", labelsize=7)
        axis.locator_params(axis="x", nbins=6)
        axis.grid(axis="x")
    for axis in list(axes.flat)[len(shown) :]:
        axis.set_visible(False)
    return Figure(
        _to_svg(figure),
        "Strengths and weaknesses: " + " ".join(f"{a['title']}: {a['sentence']}" for a in results["aspects"]),
        "One marker per seed; the arrow points towards better values, the dotted line is the real-data baseline "
        "(held-out real images).",
    )


def _mean_band(curves: Sequence[Mapping[str, Sequence[float]]], unit: str) -> tuple[np.ndarray, ...]:
    """x, mean, minimum and maximum of several curves, over their common range."""
    start, end = max(c[unit][0] for c in curves), min(c[unit][-1] for c in curves)
    grid = np.linspace(start, max(start, end), CURVE_POINTS)
    if len(curves) == 1:
        grid = np.array(curves[0][unit])
    values = np.stack([np.interp(grid, c[unit], c["mean"]) for c in curves])
    return grid, values.mean(0), values.min(0), values.max(0)


def _set_log_scale(axis: Any) -> None:
    """A logarithmic axis with plain numbers at 1, 2 and 5."""
    axis.axes.set_xscale("log") if axis.axis_name == "x" else axis.axes.set_yscale("log")
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def _format_label(name: str) -> str:
    """The name as a label: shortened, and with a leading underscore protected, as matplotlib hides such labels."""
    short = name if len(name) <= 44 else f"{name[:43]}…"
    return f"\u200b{short}" if short.startswith("_") else short


def _to_svg(figure: Canvas) -> str:
    """The figure as an SVG element with the colours of the page."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor").replace(FAINT, "var(--faint)")
    for i, colour in enumerate(COLOURS):
        svg = svg.replace(colour, f"var(--c{i})")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    tag, rest = svg.split(">", 1)
    width = float(re.findall(r'viewBox="0 0 ([\d.]+)', tag)[0]) * 4 / 3
    tag = re.sub(r' (width|height)="[^"]*"', "", tag)
    return f'{tag} style="width:{width:.0f}px; --least:{0.8 * width:.0f}px" aria-hidden="true">{rest}'
