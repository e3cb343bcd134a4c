"""The report: one HTML file, drawn from the facts of a comparison alone; no server, no other file."""

import base64
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup
from PIL import Image

from ganvas.comparison.figures import figures
from ganvas.comparison.summary import COLUMNS, FORMS

WIDEST = 560
"""Pixels of a picture in the report."""

TIMES = 5
"""Grids that show a training through time."""

ROWS_SHOWN = 4
"""Rows of such a grid."""


def render(facts: Mapping[str, Any], judged: Path) -> str:
    """The page.

    Args:
        facts: `Comparison.facts`.
        judged: the folder with the pictures of each evaluation.
    """
    environment = Environment(
        loader=PackageLoader("ganvas.comparison", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["step"] = lambda name: name.replace("~", "~0").replace("/", "~1")
    environment.globals["show"] = lambda path, form="number": shown(facts, path, form)
    drawn = {key: (Markup(f.svg), f.alt, f.caption) for key, f in figures(facts).items()}
    return environment.get_template("report.html").render(
        facts=facts, columns=COLUMNS, figures=drawn, pictures=_pictures(facts, judged)
    )


def shown(facts: Mapping[str, Any], path: str, form: str) -> Markup:
    """The number at a path of the facts, such as runs/0/seconds, marked with it, so that any can be looked up.

    A / or ~ in a name is ~1 or ~0, as in a JSON pointer (RFC 6901).
    """
    value: Any = facts
    for coded in path.split("/"):
        step = coded.replace("~1", "/").replace("~0", "~")
        value = value[int(step)] if isinstance(value, list) else value[step]
    if value is None:
        return Markup("–")
    return Markup('<span data-of="{}" data-form="{}">{}</span>').format(path, form, FORMS[form](value))


def _pictures(facts: Mapping[str, Any], judged: Path) -> list[dict[str, Any]]:
    """For each entrant with pictures: each seed's last grid; of the first, grids through time too."""
    found = []
    for entrant in facts["entrants"]:
        name = entrant["name"]
        runs = [run for run in facts["runs"] if run["entrant"] == name]
        last = [(run["seed"], image) for run in runs if (grids := _grids(run)) and (image := _grid(grids[-1]))]
        if not last:
            continue
        first = next(run for run in runs if _grids(run))
        grids = _grids(first)
        chosen = (
            [grids[round(i * (len(grids) - 1) / (TIMES - 1))] for i in range(TIMES)] if len(grids) > TIMES else grids
        )
        folder = judged / first["evaluation"]["pictures"] if first["evaluation"] else None
        extra = {
            kind: _embedded(folder / f"{kind}.png", widest=widest)
            for kind, widest in (("classes", 400), ("closest", WIDEST), ("walk", WIDEST))
            if folder is not None and (folder / f"{kind}.png").exists()
        }  # fmt: skip
        found.append(
            {"name": name, "seed": first["seed"], "last": last, **extra,
             "through_time": [(int(path.stem.removeprefix("fakes")), _grid(path)) for path in dict.fromkeys(chosen)]}
        )  # fmt: skip
    return found


def _grids(run: Mapping[str, Any]) -> list[Path]:
    return sorted(p for p in Path(run["path"]).glob("fakes*.png") if re.fullmatch(r"fakes\d+", p.stem))


def _grid(path: Path) -> str:
    return _embedded(path, rows=ROWS_SHOWN / 8, widest=WIDEST // 2)


def _embedded(path: Path, *, rows: float = 1.0, widest: int = WIDEST) -> str:
    """A picture as part of the page: its upper part, no wider than that; empty where it cannot be read."""
    try:
        image = Image.open(path).convert("RGB")
    except OSError:
        return ""
    if rows < 1 and image.height > image.width * rows:
        image = image.crop((0, 0, image.width, round(image.width * rows)))
    if image.width > widest:
        image = image.resize((widest, round(image.height * widest / image.width)), Image.Resampling.BOX)
    file = io.BytesIO()
    image.save(file, "WEBP", quality=82, method=6)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
