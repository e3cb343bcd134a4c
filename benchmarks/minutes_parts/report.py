"""The report of the cells that exist: tables, curves of quality against time, time to equal quality, pictures."""

import os
import statistics
from itertools import groupby
from pathlib import Path
from typing import Any

from minutes_parts.curves import best_point, first_to_reach, mean_curve
from minutes_parts.judges import JUDGES
from minutes_parts.methods import SPEED

from ganvas.files import write_text

Cells = list[dict[str, Any]]
Groups = dict[tuple[str, float], Cells]
"""(method, minutes) -> its cells, one for each seed."""

ANOTHER_PROCESSOR = "†"

ONE_SPEED = 1.25
"""Processors whose measured speeds differ by a larger factor are different ones, whatever their names."""

OWN = "fast"
IN_EVERY_TABLE = {"minutes", "seconds", "cpu_seconds", "images", *JUDGES}

INTRODUCTION = """# Quality against minutes

`python benchmarks/minutes.py` on two threads (one where it says so); from {count} cells, each a training of its own
from one seed. At marks of a training's time 2,000 generated pictures are compared with 2,000 real ones (or all that
there are): Fréchet distances, lower is better, to be read beside the row *real against real*, the distance of one
half of the real pictures to the other: 1,000 against 1,000, by which it is about twice that of 2,000 against 2,000.
They are no FID. Values are means over seeds ± standard deviation. Seconds are of training by the clock: start-up,
sampling and judging do not count. Of a recipe's `--minutes` decoding, the trial of its speed, the first statistics and
snapshots are a part, but not of these seconds: its last mark is 2 to 5 % (of three minutes, 3 to 8 %) before its end.

- **VGG-19** (relu3_1) and **SqueezeNet** (fire9) were trained on ImageNet's labels, **as the network was that D of
  `fast` looks through**: in part they see what it sees. The **eye** (relu4_2) has learned none of these labels; it has
  seen CIFAR-10 and MNIST.
- The other methods are recipes of this package with their CPU presets; `…-before` has the knobs that
  narrowed them before there were presets, as below. `tutorial-dcgan` is the network and loop of PyTorch's DCGAN
  tutorial at full width, which works at 64×64 and is resized for other sizes, `tutorial-keras` Keras' (faces) and
  TensorFlow's (digits), compiled: as their readers run them, but with pictures decoded before the clock starts. On
  colour sets recipes mirror at random (`--mirror`), the tutorials do not, as written.
- Numbers rank what networks see. The pictures below are of the first 64 seeds, not selected.

Machine: {machines}. Load of the last minute before a cell: {load}.
"""


def write_report(results: Cells, folder: Path, out: Path) -> Path:
    """Writes report.md and its figures into `out`; `folder` holds the cells and their grids. Returns the file."""
    out.mkdir(parents=True, exist_ok=True)
    relative = Path(os.path.relpath(folder, out)).as_posix()
    parts = [_introduction(results)]
    for name, cells in _by_set(results).items():
        groups = group(cells)
        plot_curves(name, groups, out / f"{name}.svg")
        heading = f"## {name}\n\n{describe_set(cells)}"
        parts += [heading, table(groups), f"![Quality against time, {name}]({name}.svg)", equal_quality(groups)]
        parts.append(show_grids(groups, relative))
    write_text(out / "report.md", "\n\n".join(part.strip() for part in parts if part) + "\n")
    return out / "report.md"


def _by_set(results: Cells) -> dict[str, Cells]:
    return {name: list(cells) for name, cells in groupby(results, key=lambda cell: cell["set"])}


def group(cells: Cells) -> Groups:
    """The cells of one set by method and minutes.

    Raises:
        SystemExit: seeds of one group have unlike knobs, as the recipe has changed between them: they have no mean.
    """
    groups: Groups = {}
    for cell in cells:
        groups.setdefault((cell["method"], cell["minutes"]), []).append(cell)
    for (method, minutes), seeds in groups.items():
        if any(cell.get("knobs") != seeds[0].get("knobs") for cell in seeds):
            names = f"{seeds[0]['set']}-{method}-{minutes:g}"
            raise SystemExit(f"The cells {names}-* are of unlike knobs: delete and repeat those of the older recipe.")
    return groups


def _introduction(results: Cells) -> str:
    if not results:
        return "# Quality against minutes\n\nNo cell is complete yet."
    machines = sorted({f"{c['machine']['cores']} cores of {c['machine']['processor']}" for c in results})
    loads = [cell["machine"]["load before"] for cell in results]
    return INTRODUCTION.format(
        count=len(results), machines="; ".join(machines), load=f"{min(loads):.1f} to {max(loads):.1f}"
    )


def describe_set(cells: Cells) -> str:
    """How many pictures are trained on and compared with, what was asked of each method, and what is wrong with it."""
    protocol = cells[0]["protocol"]
    commands = dict.fromkeys((cell["method"], cell["protocol"]["command"]) for cell in cells)
    asked = "\n".join(f"- `{method}`: `{command}`" for method, command in commands)
    wrong = [
        f"- `ganvas diagnose`, `{cell['method']}`, {cell['minutes']:g} min, seed {cell['seed']}: {finding}"
        for cell in cells
        for finding in cell.get("diagnosis", [])
    ]
    asked = "\n".join([asked, *wrong])
    threads = "" if protocol["threads"] > 1 else " One thread."
    return f"Trained on {protocol['trained on']:,} pictures, compared with {protocol['reals']:,}.{threads}\n\n{asked}"


def table(groups: Groups) -> str:
    """What each method has reached at the end of its minutes."""
    ends = {key: [cell["marks"][-1] for cell in cells] for key, cells in groups.items()}
    extras = list(dict.fromkeys(name for marks in ends.values() for mark in marks for name in mark))
    names = [*JUDGES, *(name for name in extras if name not in IN_EVERY_TABLE)]
    floors = next(iter(groups.values()))[0]["floors"]
    lines = [
        "| method | minutes | seeds | kimg | CPU s | " + " | ".join(names) + " |",
        "|" + "---|" * (5 + len(names)),
        "| *real against real* | | | | | " + " | ".join(_number(floors.get(name)) for name in names) + " |",
    ]
    for (method, minutes), marks in ends.items():
        costs = [
            mean_and_spread([m["images"] / 1000 for m in marks]),
            mean_and_spread([m["cpu_seconds"] for m in marks]),
        ]
        values = [mean_and_spread([mark.get(name) for mark in marks]) for name in names]
        lines.append(f"| `{method}` | {minutes:g} | {len(marks)} | " + " | ".join([*costs, *values]) + " |")
    return "\n".join(lines)


def mean_and_spread(values: list[float | None]) -> str:
    """`17.5 ± 0.6`: the mean, and the standard deviation of two or more."""
    known = [value for value in values if value is not None]
    spread = f" ± {_number(statistics.stdev(known))}" if len(known) > 1 else ""
    return _number(statistics.mean(known)) + spread if known else ""


def _number(value: float | None) -> str:
    """Three digits, and more before the point."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def equal_quality(groups: Groups) -> str:
    """How long `fast` takes to what each other method has reached at its best, and how far it is after its minutes."""
    own = {minutes: cells for (method, minutes), cells in groups.items() if method == OWN}
    lines = []
    all_own = [cell for cells in own.values() for cell in cells]
    for (method, minutes), cells in groups.items():
        length = f"{minutes:g} min" if _on_one_processor(all_own, cells) else f"{minutes:g} min {ANOTHER_PROCESSOR}"
        for judge in JUDGES:
            curve, curves = mean_curve(cells, judge), [mean_curve(runs, judge) for runs in own.values()]
            if method == OWN or not curve or not curves:
                continue
            best = best_point(curve)
            reached = first_to_reach(curves, best.value)
            sign = "≤ " if reached and reached.at_most else ""
            took = f"{sign}{_number(reached.seconds)}" if reached else "not reached"
            ratio = f"{sign}{reached.seconds / best.seconds:.3g}" if reached else ""
            ends = ", ".join(f"{one[-1].value / best.value:.2f}" for one in curves)
            lines.append(
                f"| `{method}`, {length} | {judge} | {_number(best.value)} | {_number(best.seconds)} | {took} | "
                f"{ratio} | {ends} |"
            )
    if not lines:
        return ""
    lengths = ", ".join(f"{minutes:g}" for minutes in own)
    marked = any(ANOTHER_PROCESSOR in line for line in lines)
    return "\n".join([
        f"The time that `{OWN}` takes to the best that others reach in their minutes, in whichever of its runs is "
        f"first (≤: already at its first mark); and the distance of `{OWN}` after {lengths} minutes over that best"
        f"{f' ({ANOTHER_PROCESSOR}: on another processor, so that times compare roughly)' * marked}:\n",
        f"| method | judge | its best | after s | `{OWN}` after s | times | distances |\n|---|---|---|---|---|---|---|",
        *lines,
    ])  # fmt: skip


def _on_one_processor(ours: Cells, theirs: Cells) -> bool:
    """Whether both are of the same processors, by their names, and by their speed where it was measured."""
    names, others = ({cell["machine"]["processor"] for cell in cells} for cells in (ours, theirs))
    speeds = [cell["machine"][SPEED] for cell in (*ours, *theirs) if SPEED in cell["machine"]]
    return names == others and max(speeds, default=0.0) <= ONE_SPEED * min(speeds, default=0.0)


def show_grids(groups: Groups, relative: str) -> str:
    """Side by side the pictures of the first seed of each method, at each mark whose grid was kept."""
    shown = []
    for (method, minutes), cells in groups.items():
        for mark, path in cells[0]["grids"].items():
            end = "" if float(mark) == minutes else f" of {minutes:g}"
            title = f"`{method}`, {mark}{end} min"
            shown.append((title, f'<img src="{relative}/{path}" width="260" alt="{title}">'))
    rows = [shown[i : i + 3] for i in range(0, len(shown), 3)]
    lines = []
    for row in rows:
        head = "| " + " | ".join(title for title, _ in row) + " |"
        lines.append("\n".join([head, "|" + "---|" * len(row), "| " + " | ".join(image for _, image in row) + " |"]))
    return "\n\n".join(lines)


def plot_curves(name: str, groups: Groups, path: Path) -> None:
    """One panel a judge: the mean over seeds of each method and length, on logarithmic axes."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams |= {"svg.hashsalt": name, "svg.fonttype": "none"}  # the same file for the same numbers
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(JUDGES), figsize=(11, 3.3), layout="constrained")
    colours = {method: f"C{number}" for number, method in enumerate(dict.fromkeys(method for method, _ in groups))}
    floors = next(iter(groups.values()))[0]["floors"]
    for axis, judge in zip(axes, JUDGES, strict=True):
        for (method, minutes), cells in groups.items():
            curve = mean_curve(cells, judge)
            times = [point.seconds / 60 for point in curve]
            label = f"{method}, {minutes:g} min" + (f" × {len(cells)}" if len(cells) > 1 else "")
            style = "-" if method == OWN else "--"
            axis.plot(times, [point.value for point in curve], style, marker="o", markersize=3, color=colours[method],
                      label=label)  # fmt: skip
        axis.axhline(floors[judge], color="grey", linewidth=0.8, linestyle=":")
        axis.set(xscale="log", yscale="log", title=judge, xlabel="minutes of training")
        axis.set_xticks([1, 3, 10, 30], ["1", "3", "10", "30"])
        axis.minorticks_off()
        axis.grid(alpha=0.25)
    axes[0].set_ylabel("Fréchet distance")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", fontsize=7)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
