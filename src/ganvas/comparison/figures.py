"""The figures of a report: SVG that takes its ink from the page, so that it is right in light and in dark.

Nothing is told by colour alone: every entrant has its dash and its marker.
"""

import io
import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ganvas.comparison.ranking import ASPECTS, values_of
from ganvas.comparison.summary import called

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#777777")
"""After Okabe & Ito; the page has lighter ones of the same order for the dark."""
MARKERS = "os^DvPX*"
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)))
INK, FAINT = "#010203", "#040506"
"""Stand for the page's ink and its faint ink."""

MOST = len(COLOURS)
"""Entrants that are drawn: more could not be told apart."""

LONG = 24
"""Letters of a name that takes much room."""

GRID = 60
"""Points at which the seeds' curves are averaged."""


@dataclass(frozen=True)
class Figure:
    """A figure: its SVG, what it shows in words, and what is written below it."""

    svg: str
    alt: str
    caption: str


def figures(facts: Mapping[str, Any]) -> dict[str, Figure]:
    """Those for which there is something to draw: distance, quality, game, aspects."""
    import matplotlib

    matplotlib.use("Agg")
    style: dict[Any, Any] = {
        "svg.fonttype": "none", "svg.hashsalt": "ganvas", "text.parse_math": False, "font.size": 9,
        "text.color": INK, "axes.edgecolor": FAINT, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK,
        "axes.spines.top": False, "axes.spines.right": False, "grid.color": FAINT, "grid.linewidth": 0.4,
    }  # fmt: skip
    names = [e["name"] for e in facts["entrants"]][:MOST]
    drawn = {"distance": _distance, "quality": _quality, "game": _game, "aspects": _aspects}
    with matplotlib.rc_context(style):
        return {key: figure for key, draw in drawn.items() if (figure := draw(facts, names)) is not None}


def _runs(facts: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    return [run for run in facts["runs"] if run["entrant"] == name]


def _distance(facts: Mapping[str, Any], names: Sequence[str]) -> Figure | None:
    measure = facts["verdict"]["measure"]
    points = {
        name: [r["evaluation"]["values"][measure] for r in _runs(facts, name) if r["evaluation"]] for name in names
    }
    points = {name: own for name, own in points.items() if own}
    if not points:
        return None
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(7.6, 0.7 + 0.42 * len(points)), layout="constrained")
    floors = [v["floor"] for own in points.values() for v in own if v["floor"]]
    for row, (name, own) in enumerate(points.items()):
        i = names.index(name)
        values = [v["value"] for v in own]
        errors = [v["error"] or 0 for v in own]
        jitter = np.linspace(-0.14, 0.14, len(values)) if len(values) > 1 else [0]
        axis.errorbar(
            values, row + np.array(jitter), xerr=errors, fmt=MARKERS[i], color=COLOURS[i], markersize=6, elinewidth=1
        )
        axis.plot([np.mean(values)] * 2, [row - 0.3, row + 0.3], color=COLOURS[i], linewidth=2)
    if floors:
        axis.axvline(float(np.mean(floors)), color=INK, linestyle=":", linewidth=1)
        axis.annotate(
            "real pictures", (np.mean(floors), 1), xycoords=("data", "axes fraction"), fontsize=8, va="bottom"
        )
    axis.set_yticks(range(len(points)), [_name(name) for name in points])
    axis.set_ylim(len(points) - 0.5, -0.5)
    if min([v["value"] for own in points.values() for v in own] + floors) > 0:
        _logarithmic(axis.xaxis)
    title = called(measure, facts["runs"])
    axis.set_xlabel(title)
    axis.grid(axis="x")
    listed = {name: ", ".join(f"{v['value']:.3g}" for v in own) for name, own in points.items()}
    told = "; ".join(f"{name}: {values}" for name, values in listed.items())
    return Figure(
        _svg(figure),
        f"{title} of every training. {told}.",
        "Every training: a mark a seed, with the standard error of the measurement; the bar is their mean. Lower is "
        "better.",
    )


def _quality(facts: Mapping[str, Any], names: Sequence[str]) -> Figure | None:
    shown = [name for name in names if any("quality" in run["curves"] for run in _runs(facts, name))]
    if not any(len(run["curves"]["quality"]["kimg"]) > 2 for run in facts["runs"] if "quality" in run["curves"]):
        return None  # points, no curves: the table has the best of them
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9.6, 3.4), sharey=True, layout="constrained")
    lowest, ends = math.inf, []
    for axis, unit, scale in zip(axes, ("kimg", "seconds"), (1, 60), strict=True):
        for name in shown:
            i = names.index(name)
            x, y, low, high = _band(
                [run["curves"]["quality"] for run in _runs(facts, name) if "quality" in run["curves"]], unit
            )
            x = x / scale
            lowest = min(lowest, *low)
            axis.plot(x, y, color=COLOURS[i], linestyle=DASHES[i], linewidth=1.6, marker=MARKERS[i], markevery=[-1],
                      label=_name(name) if unit == "kimg" else "")  # fmt: skip
            axis.fill_between(x, low, high, color=COLOURS[i], alpha=0.15, linewidth=0)
            if unit == "kimg":
                ends.append(f"{name} ends at {y[-1]:.3g}")
        axis.set_xlabel("thousand pictures shown (kimg)" if unit == "kimg" else "minutes of training")
        axis.grid()
        axis.margins(x=0.03)
    if lowest > 0:
        _logarithmic(axes[0].yaxis)
    axes[0].set_ylabel("kernel distance × 1000")
    wide = max(map(len, shown)) > LONG
    figure.legend(loc="outside upper left", ncols=2 if wide else 4, frameon=False, fontsize=8, handlelength=4)
    return Figure(
        _svg(figure),
        f"Quality while training, against pictures shown and against minutes. {'; '.join(ends)}.",
        "Quality while training, as 2,000 pictures tell (lower is better): mean over the seeds, and from the best to "
        "the worst of them. Left by pictures shown, right by the clock.",
    )


def _game(facts: Mapping[str, Any], names: Sequence[str]) -> Figure | None:
    shown = [name for name in names if any(run["curves"] for run in _runs(facts, name))]
    if not shown:
        return None
    from matplotlib import pyplot

    rows = [
        ("loss", (("D/loss", "D"), ("G/loss", "G"))),
        ("D's mean output", (("D/real", "on real"), ("D/fake", "on fake"))),
    ]
    moving = [run["curves"] for name in shown for run in _runs(facts, name) if "D/moves" in run["curves"]]
    if any(curves["D/moves"]["mean"] != curves["G/moves"]["mean"] for curves in moving):
        rows.append(("moves a tick", (("D/moves", "D"), ("G/moves", "G"))))
    figure, axes = pyplot.subplots(
        len(rows),
        len(shown),
        figsize=(max(4.0, 2.5 * len(shown)), 2.1 * len(rows)),
        squeeze=False,
        layout="constrained",
    )
    for column, name in enumerate(shown):
        for row, (title, quantities) in enumerate(rows):
            axis = axes[row, column]
            for (quantity, label), dash, colour in zip(quantities, ("-", "--"), COLOURS[:2], strict=True):
                found = [run["curves"][quantity] for run in _runs(facts, name) if quantity in run["curves"]]
                for k, curve in enumerate(found):
                    single = "." if len(curve["kimg"]) == 1 else None  # of which no line could be drawn
                    axis.plot(curve["kimg"], curve["mean"], dash, color=colour, linewidth=1, alpha=0.75,
                              marker=single, label="" if k else label)  # fmt: skip
            axis.grid()
            if row == 0:
                axis.set_title("\n".join(textwrap.wrap(_name(name), LONG)[:2]), fontsize=9)
            if column == 0:
                axis.set_ylabel(title)
            if row == len(rows) - 1:
                axis.set_xlabel("kimg")
            if axis.get_legend_handles_labels()[0]:
                axis.legend(fontsize=7, frameon=False)
    return Figure(
        _svg(figure),
        f"The game of {', '.join(shown)}: losses of D and G, and D's mean outputs on real and on fake pictures.",
        "The game, a line a seed: losses, what D says of real and of fake pictures"
        + (", and how often each player moved." if len(rows) > 2 else "."),
    )


def _aspects(facts: Mapping[str, Any], names: Sequence[str]) -> Figure | None:
    shown = [row["aspect"] for row in facts["strengths"]]
    if not shown:
        return None
    from matplotlib import pyplot

    columns = min(2, len(shown))
    rows = -(-len(shown) // columns)
    height = 0.62 + 0.24 * len(names)
    figure, axes = pyplot.subplots(
        rows, columns, figsize=(4.8 * columns, height * rows), squeeze=False, layout="constrained"
    )
    for axis, key in zip(axes.flat, shown, strict=False):
        floors = []
        for row, name in enumerate(names):
            i = names.index(name)
            own = _runs(facts, name)
            values = [v for run in own if (v := values_of(run, key)) is not None]
            floors += [
                f for run in own if run["evaluation"] and (f := run["evaluation"]["values"].get(key, {}).get("floor"))
            ]
            axis.plot(values, [row] * len(values), MARKERS[i], color=COLOURS[i], markersize=5, alpha=0.85)
        if floors:
            axis.axvline(float(np.mean(floors)), color=INK, linestyle=":", linewidth=1)
        own_labels = axis in axes[:, 0] or max(map(len, names)) <= LONG
        axis.set_yticks(range(len(names)), [_name(name) if own_labels else "" for name in names], fontsize=8)
        axis.set_ylim(len(names) - 0.5, -0.5)
        way = "←" if ASPECTS[key].better == "lower" else "→"
        axis.set_title(f"{ASPECTS[key].title} {way}", fontsize=9, loc="left")
        axis.tick_params(axis="x", labelsize=7)
        axis.locator_params(axis="x", nbins=6)
        axis.grid(axis="x")
    for axis in list(axes.flat)[len(shown) :]:
        axis.set_visible(False)
    return Figure(
        _svg(figure),
        "Strengths and weaknesses: " + " ".join(row["sentence"] for row in facts["strengths"]),
        "What each does well and badly: a mark a seed; the arrow points to where it is better, the dotted line is what "
        "held-out real pictures get.",
    )


def _band(curves: Sequence[Mapping[str, Sequence[float]]], unit: str) -> tuple[np.ndarray, ...]:
    """x, mean, least and most of several curves, as far as all of them go."""
    start, end = max(c[unit][0] for c in curves), min(c[unit][-1] for c in curves)
    grid = np.linspace(start, max(start, end), GRID)
    if len(curves) == 1:
        grid = np.array(curves[0][unit])
    values = np.stack([np.interp(grid, c[unit], c["mean"]) for c in curves])
    return grid, values.mean(0), values.min(0), values.max(0)


def _logarithmic(axis: Any) -> None:
    """A logarithmic axis with plain numbers at 1, 2 and 5."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.axes.set_xscale("log") if axis.axis_name == "x" else axis.axes.set_yscale("log")
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def _name(name: str) -> str:
    """As a label: matplotlib hides those that begin with a line."""
    short = name if len(name) <= 44 else f"{name[:43]}…"
    return f"\u200b{short}" if short.startswith("_") else short


def _svg(figure: Any) -> str:
    """The figure as an element of a page, its ink and colours the page's own."""
    from matplotlib import pyplot

    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    pyplot.close(figure)
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor").replace(FAINT, "var(--faint)")
    for i, colour in enumerate(COLOURS):
        svg = svg.replace(colour, f"var(--c{i})")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    tag, rest = svg.split(">", 1)
    width = float(re.findall(r'viewBox="0 0 ([\d.]+)', tag)[0]) * 4 / 3
    tag = re.sub(r' (width|height)="[^"]*"', "", tag)
    return f'{tag} style="width:{width:.0f}px; --least:{0.8 * width:.0f}px" aria-hidden="true">{rest}'
