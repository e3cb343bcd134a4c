"""Draws curves of stats.jsonl against kimg: losses, logits, gradient norms, learning rates; of one run or several."""

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ganvas.errors import GanvasError
from ganvas.files import atomic_file, make_folder, to_path
from ganvas.runs.folder import Run
from ganvas.runs.log import read_stats

PANELS: dict[str, dict[str, str]] = {
    "Losses": {"D/loss": "D", "G/loss": "G"},
    "Quality: kernel distance × 1000, lower is better": {"quality": "generated to real"},
    "D's mean output (logit)": {"D/real": "on real", "D/fake": "on fake"},
    "Gradient norms": {"D/gradient": "D", "G/gradient": "G"},
    "Squared gradient norm of D, |∇D|²": {"D/r1": "at real (R1)", "D/r2": "at fakes (R2)"},
    "One-centred gradient penalty of D, (|∇D| - 1)²": {"D/gp": "between (GP)", "D/dragan": "around real (DRAGAN)"},
    "Updates a tick": {"D/updates": "D", "G/updates": "G"},
    "Augmentation, growth": {"augment_p": "augmentation p", "growth": "growth"},
    "Learning rates": {"D/lr": "D", "G/lr": "G"},
    "Speed (kimg/s)": {"kimg_per_s": "kimg/s"},
}
"""Title -> {quantity: label}. A panel is left out if no run has any of its quantities."""

_DASHES = ("-", "--", ":", "-.")


def plot(runs: Sequence[Run | Path | str], out: Path | str | None = None) -> Path:
    """Draws the curves of one run, or of several in the same panels, to an image file.

    One run: a colour per quantity. Several: a colour per run, a line style per quantity.

    Args:
        runs: runs, or their folders.
        out: the file of the figure; by default losses.png in the run's folder, or curves.png for several.

    Raises:
        GanvasError: no run, a folder is not a run, has no statistics yet, or `out` has no image suffix.
    """
    from matplotlib.figure import Figure  # without pyplot, which takes longer to import

    if not runs:
        raise GanvasError("No run was named.", fix="ganvas plot runs/00000-digits28-digits28")
    runs = [run if isinstance(run, Run) else Run(to_path(run, "a run, or its folder")) for run in runs]
    out = (
        to_path(out, "the file of the figure")
        if out is not None
        else runs[0].path / "losses.png"
        if len(runs) == 1
        else Path("curves.png")
    )
    found, critics = [], 0
    for run in runs:
        run.metadata  # noqa: B018 - raises if this is not a run
        lines = read_stats(run.path)
        if not lines:
            raise GanvasError(f"{run} has no statistics yet.", fix="train it a little longer.")
        if lines.damaged:
            print(f"Note: {lines.describe_damage(run.path / 'stats.jsonl')}", file=sys.stderr)
        critics += run.config.loss.critic
        found.append((run.path, lines))
    alike = len({path.name for path, _ in found}) < len(found)
    histories = [(str(path) if alike else path.name, lines) for path, lines in found]
    panels = {
        title: quantities
        for title, quantities in PANELS.items()
        if any(name in line for _, lines in histories for line in lines for name in quantities)
        and _is_informative(title, histories)
    }
    d = "critic" if critics == len(found) else "D"
    rows = -(-len(panels) // 2)
    width, height = 11, 2.9 * rows
    figure = Figure(figsize=(width, height))
    margins = {"left": 0.65 / width, "right": 1 - 0.15 / width, "bottom": 0.45 / height, "top": 1 - 0.5 / height}
    gaps = {"wspace": 0.15, "hspace": 0.36}  # fixed: fitting them to the text takes as long as drawing
    axes = figure.subplots(rows, 2, squeeze=False, gridspec_kw=margins | gaps)
    for axis, (title, quantities) in zip(axes.flat, panels.items(), strict=False):
        for i, (run_name, lines) in enumerate(histories):
            for j, (name, label) in enumerate(quantities.items()):
                _draw_curve(axis, lines, name, len(histories), i, j, d if label == "D" else label, run_name)
        axis.set_title(title.replace("D's", f"{d}'s").replace(" of D", f" of {d}"), fontsize=10)
        axis.set_xlabel("kimg", fontsize=8)
        axis.grid(alpha=0.25)
        axis.tick_params(which="both", labelsize=8)
        axis.legend(fontsize=7)
        if "|∇D|" in title:
            axis.set_yscale("log")
    for axis in list(axes.flat)[len(panels) :]:
        axis.set_visible(False)
    figure.suptitle(
        ", ".join(name for name, _ in histories) if len(histories) < 4 else f"{len(histories)} runs",
        fontsize=11,
        y=1 - 0.08 / height,
    )
    make_folder(out.parent)
    try:
        with atomic_file(out) as temporary:
            figure.savefig(temporary, format=out.suffix.lstrip(".") or "png", dpi=110)
    except ValueError as error:
        raise GanvasError(f"{out}: {error}", expected="a name in .png, .svg or .pdf") from error
    return out


def _is_informative(title: str, histories: Sequence[tuple[str, list[dict[str, Any]]]]) -> bool:
    """Whether a panel is worth drawing: updates only where G and D were not always updated together."""
    return title != "Updates a tick" or any(
        line.get("D/updates") != line.get("G/updates") for _, lines in histories for line in lines
    )


def _draw_curve(
    axis: Any, lines: list[dict[str, Any]], name: str, runs: int, i: int, j: int, label: str, run_name: str
) -> None:
    points = [(line["nimg"] / 1000, line[name]) for line in lines if line.get(name) is not None]
    if not points:
        return
    kimg = [x for x, _ in points]
    mean = [y.get("mean", math.nan) if isinstance(y, dict) else y for _, y in points]
    style = {"color": f"C{i}", "linestyle": _DASHES[j % 4]} if runs > 1 else {"color": f"C{j}", "linestyle": _DASHES[j]}
    marker = "o" if len(points) == 1 else None  # a line of one point is invisible
    axis.plot(kimg, mean, linewidth=1.2, marker=marker, label=f"{run_name}: {label}" if runs > 1 else label, **style)
    deviations = [y.get("std", 0.0) if isinstance(y, dict) else 0.0 for _, y in points]
    if runs == 1 and any(deviations):
        low = [y - deviation for y, deviation in zip(mean, deviations, strict=True)]
        high = [y + deviation for y, deviation in zip(mean, deviations, strict=True)]
        axis.fill_between(kimg, low, high, alpha=0.12, linewidth=0, **({"color": f"C{j}"}))
