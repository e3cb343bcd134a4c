"""`ganvas data`, `ganvas recipes` and `ganvas info`."""

import math
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from ganvas.cli.output import make_console, print_json
from ganvas.config import to_json
from ganvas.config.flags import to_words
from ganvas.data.options import Channels, Fit, Split
from ganvas.errors import GanvasError, did_you_mean
from ganvas.progress import format_minutes
from ganvas.recipes import RECIPES
from ganvas.recipes.catalogue import own_knobs
from ganvas.recipes.cpu import PRESETS, describe_time_needed, presets_by_length

if TYPE_CHECKING:
    from rich.console import Console


def inspect_data(
    source: Annotated[Positional[str], arg(metavar="DATA")],
    split: Split = "train",
    resolution: str | None = None,
    channels: Channels | None = None,
    fit: Fit = "crop",
    max_bad: float = 0.05,
    label_column: str | None = None,
    json: bool = False,
    quiet: bool = False,
) -> None:
    """Report what is in a set of images, and which of its files have problems.

    Args:
        source: Anything that --data takes: a folder, a zip, IDX, CIFAR-10, .npz, mnist, hf:owner/name …
        split: Which part of a data set that has two.
        resolution: Height, or HEIGHTxWIDTH, as the images would be read.
        channels: 1, 3 or 4, as the images would be read.
        fit: How images with another aspect ratio are brought to the resolution.
        max_bad: The fraction of unreadable images above which training is refused.
        label_column: The column of a table (CSV, Parquet, CelebA's list), or the array, whose values are the classes.
        json: Print JSON.
        quiet: Show no progress.
    """
    from ganvas.data import inspect

    report = inspect(
        source,
        split=split,
        resolution=resolution,
        channels=channels,
        fit=fit,
        max_bad=max_bad,
        label_column=label_column,
        quiet=quiet,
    )
    if json:
        print_json(report.to_json())
    else:
        make_console().print(report)
    if not report.count:
        raise GanvasError(f"{source} has no image that can be read: {len(report.bad_files)} files are bad.")


def list_recipes(
    recipe: Annotated[Positional[str], arg(metavar="RECIPE", help_behavior_hint="")] = "", json: bool = False
) -> None:
    """List the recipes, or show what one of them sets.

    Args:
        recipe: Only this one, with the knobs that it sets and its CPU presets; by default all.
        json: Print JSON, with every knob and the CPU presets.
    """
    if recipe and recipe not in RECIPES:
        fix = did_you_mean(recipe, RECIPES) or "ganvas recipes lists them; ganvas runs lists runs."
        raise GanvasError(f"'{recipe}' is no recipe.", expected=f"one of {', '.join(RECIPES)}", fix=fix)
    shown = {recipe: RECIPES[recipe]} if recipe else RECIPES
    if json:
        print_json(
            {
                name: {
                    "summary": r.summary,
                    "source": r.source,
                    "cost": r.cost,
                    "config": to_json(r.config),
                    "cpu_presets": [
                        {"minutes": None if math.isinf(longest) else longest, "knobs": dict(knobs)}
                        for longest, knobs in PRESETS.get(name, ())
                    ],
                    "faces_look_right_after": describe_time_needed(name) or None,
                }
                for name, r in shown.items()
            }
        )
        return
    console = make_console()
    for name, r in shown.items():
        c = r.config
        length = format_minutes(c.minutes) if c.minutes else f"{c.kimg:,g} kimg"
        speed = r.cost.replace(" at ", " images/s at ", 1)
        preset = ", has a CPU preset" if name in PRESETS else ""
        preset += f" (faces: {needed})" if (needed := describe_time_needed(name)) else ""
        console.print(f"[bold]{name}[/]  [dim]{c.dataset.data}, {length}, {speed}{preset}[/]")
        for text, style in ((r.summary, ""), (r.source, "dim")):
            for line in textwrap.wrap(text, console.width - 2):
                console.print(f"  {line}", style=style, markup=False)
    if recipe:
        _print_settings(console, recipe)
        return
    console.print(
        "\nThe speeds are those of two CPU cores. ganvas train RECIPE trains one; with --minutes on a CPU it starts"
        " from its preset. ganvas recipes RECIPE shows what one sets."
    )


def _print_settings(console: "Console", recipe: str) -> None:
    """The knobs that a recipe sets, and those of its presets, as flags."""
    own = {name: value for name, value in own_knobs(RECIPES[recipe].config).items() if value is not None}
    parts: list[tuple[str, Mapping[str, Any]]] = [("It sets", own)]
    for length, knobs in presets_by_length(recipe):
        minutes = f"--minutes {length}" if length else "--minutes"
        parts.append((f"With {minutes} on a CPU it sets", knobs))
    for title, knobs in parts:
        console.print(f"\n{title}", markup=False)
        words = " ".join("\0".join(to_words(*knob)) for knob in knobs.items())  # no line ends before a flag's value
        for line in textwrap.wrap(words, console.width - 2, break_on_hyphens=False):
            console.print("  " + line.replace("\0", " "), markup=False, highlight=False)
    console.print(f"\nThe other knobs have their defaults: ganvas train {recipe} --help", markup=False)


def info(json: bool = False) -> None:
    """Print versions, devices, memory and folders, ready to paste into a bug report.

    Args:
        json: Print JSON.
    """
    from ganvas.environment import describe, render

    found = describe()
    if json:
        print_json(found)
    else:
        print(render(found))
