"""The HTML report: one file, made from the results of a comparison, without scripts or other files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup
from PIL import Image

from ganvas.comparison.summary import COLUMNS, FORMATTERS
from ganvas.display import IMAGE_WIDTH, image_url
from ganvas.reading import open_regular
from ganvas.runs.folder import Run
from ganvas.runs.names import format_kimg, numbered

GRID_WIDTH = IMAGE_WIDTH // 2
"""Width in pixels to which grids are reduced in the report."""

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
    from ganvas.comparison.figures import draw_figures  # imports matplotlib, which takes a second

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
            kind: image_url(folder / f"{kind}.png", width)
            for kind, width in (("classes", 400), ("closest", IMAGE_WIDTH), ("interpolation", IMAGE_WIDTH))
            if folder is not None and (folder / f"{kind}.png").exists()
        }
        over_time = [(format_kimg(nimg), _embed_grid(path)) for nimg, path in numbered(dict.fromkeys(grids))]
        samples.append({"name": name, "seed": first["seed"], "last": last, "over_time": over_time, **extra})
    return samples


def _find_grids(run: Mapping[str, Any]) -> list[Path]:
    """The grids of the run of a row, oldest first."""
    return Run(Path(run["path"])).grids


def _embed_grid(path: Path) -> str:
    """The upper rows of a grid as a data URL; empty where the file cannot be read."""
    try:
        with open_regular(path) as file, Image.open(file) as grid:
            grid = grid.crop((0, 0, grid.width, min(grid.height, round(grid.width * GRID_ROWS / 8))))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return ""
    return image_url(grid, GRID_WIDTH)
