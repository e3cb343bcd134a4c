"""The HTML report: one file, made from the results of a comparison, without scripts or other files."""

import base64
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup
from PIL import Image

from ganvas.comparison.figures import draw_figures
from ganvas.comparison.summary import COLUMNS, FORMATTERS

MAX_WIDTH = 560
"""Width in pixels to which images are reduced in the report."""

MAX_GRIDS = 5
"""Most image grids that show one training over time."""

GRID_ROWS = 4
"""Rows shown of each image grid, which has 8."""


def render_report(results: Mapping[str, Any], images: Path) -> str:
    """The HTML of the report.

    Args:
        results: `Comparison.results`.
        images: the folder with one folder of images for each evaluation.
    """
    environment = Environment(
        loader=PackageLoader("ganvas.comparison", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["escape_pointer"] = lambda name: name.replace("~", "~0").replace("/", "~1")
    environment.globals["show"] = lambda path, form="number": format_number_at(results, path, form)
    figures = {key: (Markup(f.svg), f.alt, f.caption) for key, f in draw_figures(results).items()}
    return environment.get_template("report.html").render(
        results=results, columns=COLUMNS, figures=figures, samples=_collect_samples(results, images)
    )


def format_number_at(results: Mapping[str, Any], path: str, form: str) -> Markup:
    """The number at a path of the results, such as runs/0/seconds, in an element that names the path.

    Args:
        path: steps separated by /; in a name, / is written ~1 and ~ is written ~0, as in a JSON pointer (RFC 6901).
        form: a key of `FORMATTERS`.
    """
    value: Any = results
    for coded in path.split("/"):
        step = coded.replace("~1", "/").replace("~0", "~")
        value = value[int(step)] if isinstance(value, list) else value[step]
    if value is None:
        return Markup("–")
    return Markup('<span data-path="{}" data-format="{}">{}</span>').format(path, form, FORMATTERS[form](value))


def _collect_samples(results: Mapping[str, Any], images: Path) -> list[dict[str, Any]]:
    """For each candidate with images: the last grid of each seed; and of the first seed, grids over time."""
    samples = []
    for candidate in results["candidates"]:
        name = candidate["name"]
        runs = [run for run in results["runs"] if run["candidate"] == name]
        last = [
            (run["seed"], image) for run in runs if (grids := _find_grids(run)) and (image := _embed_grid(grids[-1]))
        ]
        if not last:
            continue
        first = next(run for run in runs if _find_grids(run))
        grids = _find_grids(first)
        if len(grids) > MAX_GRIDS:
            grids = [grids[round(i * (len(grids) - 1) / (MAX_GRIDS - 1))] for i in range(MAX_GRIDS)]
        folder = images / first["evaluation"]["images"] if first["evaluation"] else None
        extra = {
            kind: _embed_image(folder / f"{kind}.png", max_width=width)
            for kind, width in (("classes", 400), ("closest", MAX_WIDTH), ("interpolation", MAX_WIDTH))
            if folder is not None and (folder / f"{kind}.png").exists()
        }
        over_time = [(int(path.stem.removeprefix("fakes")), _embed_grid(path)) for path in dict.fromkeys(grids)]
        samples.append({"name": name, "seed": first["seed"], "last": last, "over_time": over_time, **extra})
    return samples


def _find_grids(run: Mapping[str, Any]) -> list[Path]:
    return sorted(p for p in Path(run["path"]).glob("fakes*.png") if re.fullmatch(r"fakes\d+", p.stem))


def _embed_grid(path: Path) -> str:
    return _embed_image(path, shown_part=GRID_ROWS / 8, max_width=MAX_WIDTH // 2)


def _embed_image(path: Path, *, shown_part: float = 1.0, max_width: int = MAX_WIDTH) -> str:
    """The upper part of an image as a data URL, reduced to the width; empty where the file cannot be read."""
    try:
        image = Image.open(path).convert("RGB")
    except OSError:
        return ""
    if shown_part < 1 and image.height > image.width * shown_part:
        image = image.crop((0, 0, image.width, round(image.width * shown_part)))
    if image.width > max_width:
        image = image.resize((max_width, round(image.height * max_width / image.width)), Image.Resampling.BOX)
    file = io.BytesIO()
    image.save(file, "WEBP", quality=82, method=6)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
