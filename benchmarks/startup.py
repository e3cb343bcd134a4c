"""Measures how long each command takes to its first byte on standard output, and to its end.

Each command runs in its own process; commands and checkouts alternate, so that drift of the machine's speed affects all
alike. The first repeat fills caches and is not counted.

    python benchmarks/startup.py [--repeats 5] [--beside OTHER/src]

--beside takes the `src` folder of another checkout, such as one of an earlier commit; it is timed as "before".
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

SOURCE = Path(__file__).resolve().parent.parent / "src"
COMMANDS = [
    "--help", "recipes", "train --help", "diagnose RUN", "diagnose log.csv", "plot RUN", "data images", "data digits",
    "sample RUN", "train digits --dry-run", "train digits --kimg 0.064 --new --no-plot --json",
]  # fmt: skip
"""The commands that should respond at once; RUN is a run on digits that is created first."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--beside", type=Path)
    arguments = parser.parse_args()
    sources = {"before": arguments.beside.resolve(), "now": SOURCE} if arguments.beside else {"now": SOURCE}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        create_inputs(folder)
        times = {(command, version): [] for command in COMMANDS for version in sources}
        for repeat in range(arguments.repeats + 1):
            for command in COMMANDS:
                for version, source in sources.items():
                    taken = time_command(command, source, folder)
                    if repeat:
                        times[command, version].append(taken)
    titles = [
        f"{part}, {version}" if len(sources) > 1 else part for part in ("first byte", "total") for version in sources
    ]
    print("| ganvas … |", " | ".join(titles), "|")
    print("|---|", "|".join("---" for _ in titles), "|", sep="")
    for command in COMMANDS:
        cells = [
            format_spread([taken[part] for taken in times[command, version]]) for part in (0, 1) for version in sources
        ]
        print(f"| `{command}` |", " | ".join(cells), "|")
    print(f"\nSeconds: the median of {arguments.repeats}, with minimum and maximum.")


def create_inputs(folder: Path) -> None:
    """Creates a folder of images, a log and a run, with this checkout."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    for i in range(100):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(folder / "images" / f"{i}.png")
    lines = [f"{step},{d:.4f},{g:.4f}" for step, (d, g) in enumerate(rng.random((500, 2)))]
    (folder / "log.csv").write_text("\n".join(["step,d_loss,g_loss", *lines]) + "\n")
    time_command("train digits --kimg 20 --out runs --name run --json", SOURCE, folder)


def time_command(command: str, source: Path, folder: Path) -> tuple[float, float]:
    """Seconds until the first byte on standard output, and until the end."""
    words = command.replace("RUN", "runs/run").split()
    environment = {**os.environ, "PYTHONPATH": str(source), "GANVAS_CACHE": str(folder / "cache")}
    start = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "ganvas", *words], cwd=folder, env=environment, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.read(1)
        first = time.perf_counter() - start
        process.stdout.read()
    if process.returncode:
        raise SystemExit(f"ganvas {command} of {source} failed with {process.returncode}.")
    return first, time.perf_counter() - start


def format_spread(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.2f} ({min(seconds):.2f}–{max(seconds):.2f})"


if __name__ == "__main__":
    main()
