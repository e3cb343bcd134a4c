"""The cost of the monitor: its share of the time, with probes as often as by default.

    python benchmarks/monitor_cost.py --mnist DIR --faces ZIP

Trains a few recipes for some ticks and adds up the time of the probes, from the copy of the weights to the diagnosis.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ganvas.config import replace
from ganvas.diagnosis.probe import NetworkProbe
from ganvas.recipes import get_recipe
from ganvas.runs.log import read_jsonl
from ganvas.training import start

RUNS: dict[str, dict[str, Any]] = {
    "digits": {"data": "digits", "kimg": 400},
    "mlp": {"data": "MNIST", "kimg": 600},
    "cnn-stable": {"data": "MNIST", "kimg": 12},
    "dcgan": {"data": "FACES", "resolution": "64", "kimg": 8, "g_width": 16, "d_width": 16, "batch": 16},
}


def time_calls(method: Callable[..., Any], spent: list[float]) -> Callable[..., Any]:
    """The same method, its seconds added to a list."""

    def wrapper(*arguments: Any, **named: Any) -> Any:
        began = time.perf_counter()
        try:
            return method(*arguments, **named)
        finally:
            spent.append(time.perf_counter() - began)

    return wrapper


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mnist", type=Path, required=True)
    parser.add_argument("--faces", type=Path, required=True)
    arguments = parser.parse_args()
    plain = {name: getattr(NetworkProbe, name) for name in ("prepare", "measure", "new_findings")}
    print("| recipe | probes | seconds of training | a probe | share |")
    print("|---|---|---|---|---|")
    for name, knobs in RUNS.items():
        spent: list[float] = []
        for method, own in plain.items():
            setattr(NetworkProbe, method, time_calls(own, spent))
        data = {"MNIST": str(arguments.mnist), "FACES": str(arguments.faces)}.get(knobs["data"], knobs["data"])
        config = replace(get_recipe(name).config, **(knobs | {"data": data, "plot": False, "evaluate_every": 0.0}))
        with tempfile.TemporaryDirectory() as out:
            run = start.train(config, recipe=name, out=out, quiet=True)
            lines = list(read_jsonl(run.path / "stats.jsonl"))
        probes = sum("signals" in line and bool(line["signals"]) for line in lines)
        seconds = lines[-1]["seconds"]
        each = 1000 * sum(spent) / probes
        print(f"| `{name}` | {probes} | {seconds:.1f} | {each:.0f} ms | {100 * sum(spent) / seconds:.1f} % |")


if __name__ == "__main__":
    main()
