"""Quality against time: how good are pictures after some minutes on two CPU cores? `fast`, its rivals, two tutorials.

A cell is one training of one method on one set, for some minutes by the clock, from one seed, on two threads (one on
the sets of transfers) and in a process of its own. At marks of its time 2,000 pictures are kept: of recipes, those of
the seeds 0 to 1999 by the average of G in the snapshot nearest to the mark. They are judged afterwards
(benchmarks/minutes_parts/judges.py). A complete cell is one file, RESULTS/SET-METHOD-MINUTES-SEED.json, and is skipped;
an interrupted one starts anew.

    python benchmarks/minutes.py --list                       # what is there, what is missing, what it would take
    python benchmarks/minutes.py --set kaokore --method fast  # the planned cells that fit; --only 'mnist-*' likewise
    python benchmarks/minutes.py --set mnist --method dcgan --minutes 10 --seed 3   # any cell, planned or not
    python benchmarks/minutes.py --set photos/ --method fast --minutes 10 --seed 0  # any other pictures
    python benchmarks/minutes.py --report                     # writes docs/reports/minutes from the cells that exist

The data folder (--data, or GANVAS_TEST_DATA) holds kaokore-faces-128.zip, cifar10-train.zip, mnist/ with the four IDX
files, and weights/ with the two judges' weights; for pictures of one's own, the weights alone. Nothing else should run
meanwhile: the load is part of the result. On two cores two cells of one thread may run at a time, of different sets.
"""

import argparse
import functools
import os
import platform
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from minutes_parts import methods
from minutes_parts.cells import JUDGING_MINUTES, PLAN, Cell, choose, read_results
from minutes_parts.judges import JUDGES, Panel
from minutes_parts.marks import GENERATED
from minutes_parts.report import write_report
from minutes_parts.sets import SETS, add_set, open_pictures

import ganvas
from ganvas import GanvasError, image_io
from ganvas.config import to_json
from ganvas.files import write_json
from ganvas.runs.log import read_events

ROOT = Path(__file__).resolve().parent.parent
GRIDS_AT = (3, 10, 30)
"""Minutes whose grids are kept, besides the last."""

KNOBS = ("network", "loss", "balance", "optimisation")
"""The groups of a run's configuration that a cell keeps: a recipe of that name may have others later."""

GRID = (8, 8)
"""Rows and columns of a grid."""


@functools.cache
def open_panel(set_name: str, data: Path) -> Panel:
    """The set and its judges, once in a process."""
    return Panel(open_pictures(set_name, data), data / "weights")


def measure(cell: Cell, data: Path, results: Path, work: Path) -> dict[str, Any]:
    """Trains, samples, judges, and writes the cell's file."""
    torch.set_num_threads(SETS[cell.set_name].threads)  # of the judges
    panel = open_panel(cell.set_name, data)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    machine = methods.describe_machine()
    start = time.monotonic()
    command, drawn = methods.train(cell.method, panel.pictures, cell.minutes, cell.seed, work)
    machine |= {"load after": round(os.getloadavg()[0], 2), "seconds of the process": round(time.monotonic() - start)}
    marks, grids = [], {}
    for one in drawn:
        generated = one.load_pictures()
        values = {name: _round(value) for name, value in panel.measure(generated).items()}
        marks.append(
            {"minutes": one.minutes, "seconds": one.seconds, "cpu_seconds": one.cpu_seconds, "images": one.images}
            | values
        )
        if one is drawn[-1] or one.minutes in GRIDS_AT:
            grids[f"{one.minutes:g}"] = save_grid(generated, results / "grids" / f"{cell.name}-at-{one.minutes:g}.webp")
    result = {
        "set": cell.set_name, "method": cell.method, "minutes": cell.minutes, "seed": cell.seed,
        "protocol": {
            "command": command, "threads": panel.pictures.threads, "generated": GENERATED,
            "reals": len(panel.pictures.reals), "trained on": len(panel.pictures.train), "judges": JUDGES,
        },
        "machine": machine | {
            "python": platform.python_version(), "torch": torch.__version__, "ganvas": ganvas.__version__,
        },
        "floors": {name: _round(value) for name, value in panel.floors.items()},
        "marks": marks,
        "grids": grids,
    }  # fmt: skip
    if (folder := work / "run").exists():
        result |= describe_run(ganvas.Run(folder))
    write_json(cell.file(results), result)
    shutil.rmtree(work)
    return result


def describe_run(run: ganvas.Run) -> dict[str, Any]:
    """Its knobs, without those of data and machine; its seconds as --minutes counts them; and its diagnosis."""
    knobs = {name: group for name, group in to_json(run.config).items() if name in KNOBS}
    elapsed = next((event.get("elapsed") for event in read_events(run.path) if event["event"] == "done"), None)
    findings = ganvas.diagnose(run).findings
    diagnosis = [f"{finding.severity}: {finding.describe()}" for finding in findings]
    return {"knobs": knobs, "elapsed": elapsed, "diagnosis": diagnosis}


def _round(value: Any) -> Any:
    """Six digits of a number."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def grid_scale(side: int) -> int:
    """How many times pictures of this side are enlarged in a grid."""
    return 2 if side < 48 else 1


def save_grid(pictures: np.ndarray, path: Path) -> str:
    """The first 64, eight in a row; the path relative to the results."""
    grid = image_io.make_grid(pictures[:64], GRID[1], scale=grid_scale(pictures.shape[2]))
    image_io.save_image(grid, path, quality=85)
    return f"grids/{path.name}"


def list_cells(results: Path) -> str:
    """The plan, what is there of it, and the time of the rest."""
    lines, left = [], 0.0
    for cell in PLAN:
        there = cell.file(results).exists()
        left += 0 if there else cell.minutes + JUDGING_MINUTES
        lines.append(f"{'there  ' if there else 'missing'}  {cell.minutes:4g} min  {cell.name}")
    planned = {cell.name for cell in PLAN}
    lines += [f"extra    {one.stem}" for one in sorted(results.glob("*.json")) if one.stem not in planned]
    return "\n".join([*lines, f"{left / 60:.1f} hours for what is missing, about"])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--set", help=f"{', '.join(SETS)}, or a file or folder of pictures, as for `ganvas train --data`"
    )
    parser.add_argument(
        "--resolution", help="of pictures of one's own; without it as `ganvas train` chooses it on a CPU"
    )
    parser.add_argument("--conditional", action="store_true", help="of pictures of one's own: by class")
    parser.add_argument(
        "--few", type=int, metavar="N", help="of pictures of one's own: train on N, compare with the others"
    )
    parser.add_argument("--method", choices=methods.METHODS)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--only", metavar="PATTERN", help="planned cells whose names fit, such as 'kaokore-*-30-0'")
    parser.add_argument("--list", action="store_true", help="only list the planned cells")
    parser.add_argument("--report", action="store_true", help="only write the report")
    parser.add_argument("--data", type=Path, default=os.environ.get("GANVAS_TEST_DATA"))
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results" / "minutes")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "reports" / "minutes", help="of the report")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "minutes", help="of runs while they last")
    arguments = parser.parse_args()
    if arguments.list:
        print(list_cells(arguments.results))
        return
    if arguments.report:
        print(write_report(read_results(arguments.results), arguments.results, arguments.out))
        return
    set_name = arguments.set
    if set_name is not None and set_name not in SETS:
        try:
            set_name = add_set(Path(set_name), arguments.resolution, arguments.few, conditional=arguments.conditional)
        except GanvasError as error:
            parser.error(str(error))
    elif arguments.resolution or arguments.conditional or arguments.few:
        parser.error("--resolution, --conditional and --few are of pictures of one's own; the sets have theirs")
    cells = choose(set_name, arguments.method, arguments.minutes, arguments.seed, arguments.only)
    if not cells:
        parser.error("no planned cell fits; --list shows them, and all four options together name any cell")
    if arguments.data is None:
        parser.error("--data, or GANVAS_TEST_DATA, must name the data folder")
    for number, cell in enumerate(cells, 1):
        if cell.file(arguments.results).exists():
            print(f"{cell.name} is there")
        elif not methods.suits(cell.method, cell.set_name):
            parser.error(f"{cell.method} is not for {cell.set_name}")
        else:
            print(f"{cell.name}: {number} of {len(cells)}, {cell.minutes:g} minutes and the judging …", flush=True)
            last = measure(cell, arguments.data, arguments.results, arguments.work / cell.name)["marks"][-1]
            print("  " + ", ".join(f"{name} {value}" for name, value in last.items()), flush=True)


if __name__ == "__main__":
    main()
