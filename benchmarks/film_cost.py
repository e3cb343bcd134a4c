"""The cost of the film of a training: its share of the time.

    python benchmarks/film_cost.py --mnist DIR --faces ZIP

Trains a few recipes for a minute or two, with snapshots as often as by default, and times the making of training.webp
at the end of each. A longer training has a longer film only up to 60 frames.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from ganvas.config import replace
from ganvas.recipes import base_config
from ganvas.runs import film
from ganvas.runs.log import read_jsonl
from ganvas.training import start

RUNS: dict[str, dict[str, Any]] = {
    "digits28": {"data": "digits28"},
    "mlp-stable": {"data": "MNIST", "minutes": 1},
    "fast": {"data": "FACES", "resolution": "64", "minutes": 2},
    "dcgan": {"data": "FACES", "resolution": "128", "minutes": 2},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mnist", type=Path, required=True)
    parser.add_argument("--faces", type=Path, required=True)
    arguments = parser.parse_args()
    print("| recipe | size | frames | seconds of training | film | share |")
    print("|---|---|---|---|---|---|")
    for name, knobs in RUNS.items():
        data = {"MNIST": str(arguments.mnist), "FACES": str(arguments.faces)}.get(knobs["data"], knobs["data"])
        config = base_config(name, knobs.get("minutes"), on_cpu=True)
        config = replace(config, **(knobs | {"data": data, "plot": False}))
        with tempfile.TemporaryDirectory() as out:
            run = start.train(config, recipe=name, out=out, quiet=True)
            seconds = list(read_jsonl(run.path / "stats.jsonl"))[-1]["seconds"]
            frames = min(len(run.grids), film.MAX_FRAMES)
            began = time.perf_counter()
            film.save(run)
            spent = time.perf_counter() - began
        shape = run.metadata["data"]["shape"]
        size = f"{shape['height']}×{shape['width']}"
        print(f"| `{name}` | {size} | {frames} | {seconds:.0f} | {spent:.2f} s | {100 * spent / seconds:.1f} % |")


if __name__ == "__main__":
    main()
