"""The sheet of all recipes: a row of pictures of each after ten minutes on two CPU cores, and the numbers beside it.

The trainings are cells of benchmarks/minutes.py, with its judges and its protocol: seed 0 of each recipe, on its set of
the sheet. Those that are there are not repeated. A row shows the pictures of the seeds 0, 1, 2 …, not selected.

    python benchmarks/family.py            # trains what is missing, draws docs/images/family.png, prints the table
    python benchmarks/family.py --before   # also the cells of the recipes as the sheet had narrowed them before
    python benchmarks/family.py --table    # trains and draws nothing
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

from minutes import GRID, ROOT, grid_scale, measure
from minutes_parts.cells import SHEET, Cell
from minutes_parts.methods import BEFORE
from minutes_parts.sets import SETS
from PIL import Image, ImageDraw, ImageFont

from ganvas import image_io

MINUTES, SEED = 10, 0
COLUMNS, SIDE, NAMES = 14, 56, 150
"""Pictures in a row; their side, and the width of the names, in pixels."""

COLUMN_NAMES = ("VGG-19", "SqueezeNet", "eye", "classifier", "rarest class")


def cell_of(recipe: str, *, before: bool = False) -> Cell:
    """The cell that a row of the sheet, or its earlier version, is made of."""
    return Cell(SHEET[recipe], f"{recipe}-before" if before else recipe, MINUTES, SEED)


def format_table(results: Path) -> str:
    """The cells that are there as Markdown, each recipe's earlier version below it."""
    lines = ["| recipe | set | kimg | " + " | ".join(COLUMN_NAMES) + " |", "|" + "---|" * (3 + len(COLUMN_NAMES))]
    floors: dict[str, dict[str, float]] = {}
    for recipe in SHEET:
        for before in (False, True):
            file = cell_of(recipe, before=before).file(results)
            if not file.exists() or (before and recipe not in BEFORE):
                continue
            cell = json.loads(file.read_text(encoding="utf-8"))
            floors[cell["set"]] = cell["floors"]
            name = f"`{recipe}`" + (" before" if before else "")
            lines.append(_row(name, cell["set"], f"{cell['marks'][-1]['images'] / 1000:.0f}", cell["marks"][-1]))
    lines += [_row("*real against real*", name, "", values) for name, values in floors.items()]
    return "\n".join(lines)


def _row(name: str, set_name: str, kimg: str, values: dict[str, Any]) -> str:
    shown = (f"{values[key]:,.0f}" if values.get(key, 0) >= 100 else f"{values[key]:.3g}" if key in values else ""
             for key in COLUMN_NAMES)  # fmt: skip
    return f"| {name} | {set_name} | {kimg} | " + " | ".join(shown) + " |"


def draw_sheet(results: Path, path: Path) -> None:
    """A row of the first pictures of each recipe whose cell is there."""
    rows = [recipe for recipe in SHEET if cell_of(recipe).file(results).exists()]
    canvas = Image.new("RGB", (NAMES + COLUMNS * (SIDE + 2), len(rows) * (SIDE + 6)), "white")
    font = ImageFont.load_default(size=15)
    for row, recipe in enumerate(rows):
        top = row * (SIDE + 6)
        ImageDraw.Draw(canvas).text((4, top + SIDE // 2), recipe, fill="black", font=font, anchor="lm")
        for column, picture in enumerate(first_pictures(cell_of(recipe), results)):
            canvas.paste(picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS), (NAMES + column * (SIDE + 2), top))
    image_io.save_image(canvas, path)


def first_pictures(cell: Cell, results: Path) -> list[Image.Image]:
    """The first pictures of a cell's last grid."""
    grids = json.loads(cell.file(results).read_text(encoding="utf-8"))["grids"]
    grid = Image.open(results / grids[f"{MINUTES:g}"]).convert("RGB")
    side = int(SETS[cell.set_name].resolution or (28 if cell.set_name == "mnist" else 32))
    cells = [divmod(number, GRID[1]) for number in range(COLUMNS)]
    return image_io.cut_grid(grid, cells, GRID, side, side, scale=grid_scale(side))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=SHEET, default=list(SHEET))
    parser.add_argument("--before", action="store_true", help="also train the recipes as they were narrowed before")
    parser.add_argument("--table", action="store_true", help="only print the table of what is there")
    parser.add_argument("--data", type=Path, default=os.environ.get("GANVAS_TEST_DATA"))
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results" / "minutes")
    parser.add_argument("--sheet", type=Path, default=ROOT / "docs" / "images" / "family.png")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "minutes", help="of runs while they last")
    arguments = parser.parse_args()
    if not arguments.table:
        if arguments.data is None:
            parser.error("--data, or GANVAS_TEST_DATA, must name the data folder")
        cells = [cell_of(recipe) for recipe in arguments.only]
        if arguments.before:
            cells += [cell_of(recipe, before=True) for recipe in arguments.only if recipe in BEFORE]
        for cell in cells:
            if not cell.file(arguments.results).exists():
                print(f"{cell.name} …", flush=True)
                measure(cell, arguments.data, arguments.results, arguments.work / cell.name)
        draw_sheet(arguments.results, arguments.sheet)
    print(format_table(arguments.results))


if __name__ == "__main__":
    main()
