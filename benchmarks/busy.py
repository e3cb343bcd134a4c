"""Measures how much slower each command is on a busy machine: idle, and next to one and two busy processes.

    python benchmarks/busy.py --mnist DIR --photo FILE --painting FILE [--beside SRC] [--repeats 3] [--only VERB …]

Each command runs whole, start-up included, in its own process. Reported are the median of the repeats and the ratio to
the idle machine. --beside takes the src folder of another checkout of Ganvas, which is measured alternately. A command
that takes longer than --limit seconds is ended and reported as such (>).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

BUSY_PROCESSES = (0, 1, 2)
SOURCE = Path(__file__).resolve().parent.parent / "src"


def commands(arguments: argparse.Namespace, run: Path, out: Path) -> dict[str, list[str]]:
    """Title -> arguments of each command; `run` is an existing run, `out` an empty folder."""
    mnist, train = str(arguments.mnist), ["--new", "--quiet", "--no-plot", "--out", str(out)]
    preview = ["--size", "160", "--preset", "preview", "--quiet", "-o", str(out / "styled.png")]
    return {
        "train digits, 40 kimg": ["train", "digits", "--kimg", "40", *train],
        "train mlp, 40 kimg": ["train", "mlp", "--data", mnist, "--kimg", "40", *train],
        "train cnn, 2 kimg": ["train", "cnn", "--data", mnist, "--kimg", "2", *train],
        "train stylegan, 3 kimg": ["train", "stylegan", "--data", mnist, "--width", "64", "--kimg", "3", *train],
        "train --dry-run": ["train", "cnn", "--data", mnist, "--dry-run"],
        "sample, 2,000 images": ["sample", str(run), "--seeds", "0-1999", "--out", str(out / "grid.png")],
        "evaluate, 2,000 images": ["evaluate", str(run), "--count", "2000"],
        "style, 160 pixels": ["style", str(arguments.photo), str(arguments.painting), *preview],
        "diagnose": ["diagnose", str(run)],
        "plot": ["plot", str(run), "--out", str(out / "curves.png")],
        "data": ["data", mnist],
    }


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Keeps `count` processes computing during the block."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        time.sleep(0.2)
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def run_ganvas(words: list[str], source: Path, folder: Path, limit: float) -> float:
    """Runs a command of the checkout at `source`; returns its seconds, or infinity if it reached the limit."""
    cache = folder / f"cache-{abs(hash(source))}"
    environment = {**os.environ, "PYTHONPATH": str(source), "GANVAS_CACHE": str(cache)}
    start = time.perf_counter()
    with suppress(subprocess.TimeoutExpired):
        subprocess.run(
            [sys.executable, "-m", "ganvas", *words], env=environment, timeout=limit, check=True, capture_output=True
        )
        return time.perf_counter() - start
    return float("inf")


def summarise(title: str, seconds: dict[int, list[float]], limit: float) -> dict[str, Any]:
    """Medians, ranges and ratios of one command of one checkout."""
    medians = {count: statistics.median(values) for count, values in seconds.items()}

    def format_cell(count: int) -> str:
        low, high = min(seconds[count]), max(seconds[count])
        if medians[count] == float("inf"):
            return f"> {limit:.0f}"
        ratio = f" = {medians[count] / medians[0]:.1f} ×" if count else ""
        return f"{medians[count]:.1f} ({low:.1f}–{high:.1f}){ratio}"

    return {"command": title, "seconds": seconds, "cells": [format_cell(count) for count in BUSY_PROCESSES]}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mnist", type=Path, required=True)
    parser.add_argument("--photo", type=Path, required=True)
    parser.add_argument("--painting", type=Path, required=True)
    parser.add_argument("--beside", type=Path, help="the src folder of another checkout")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--limit", type=float, default=180)
    parser.add_argument("--only", nargs="*", default=[], help="titles, or their beginnings, of the commands to run")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    for name in ("mnist", "photo", "painting"):
        setattr(arguments, name, getattr(arguments, name).resolve())
    sources = {"now": SOURCE} if arguments.beside is None else {"before": arguments.beside.resolve(), "now": SOURCE}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        options = ["--name", "run", "--out", str(root), "--g-width", "16", "--d-width", "16", "--quiet", "--no-plot"]
        run_ganvas(["train", "cnn-stable", "--data", str(arguments.mnist), "--kimg", "8", *options], SOURCE, root, 600)
        print("| command | checkout | idle, s | one busy process, s | two busy processes, s |\n|" + "---|" * 5)
        for title, words in commands(arguments, root / "run", root / "out").items():
            if arguments.only and not title.startswith(tuple(arguments.only)):
                continue
            seconds: dict[str, dict[int, list[float]]] = {
                version: {count: [] for count in BUSY_PROCESSES} for version in sources
            }
            for source in sources.values():  # fills the caches
                run_ganvas(words, source, root, 600)
            for _ in range(arguments.repeats):
                for count in BUSY_PROCESSES:
                    for name, source in sources.items():
                        with busy_processes(count):
                            seconds[name][count].append(run_ganvas(words, source, root, arguments.limit))
            for name, own in seconds.items():
                rows.append({"checkout": name, **summarise(title, own, arguments.limit)})
                print(f"| {title} | {name} | {' | '.join(rows[-1]['cells'])} |", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
