"""How much slower is each verb on a busy machine? Idle, and beside one and two processes that never rest.

    python benchmarks/busy.py --mnist DIR --photo FILE --painting FILE [--beside SRC] [--repeats 3] [--only VERB …]

Whole commands, start-up included, in a process of their own each; of the repeats the median, and the factor to the
idle one. --beside names the src folder of another checkout of Ganvas, which takes its turns in between. A command that
is not done after --limit seconds is ended, and counts as that long at the least (>).
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

NEIGHBOURS = (0, 1, 2)
OURS = Path(__file__).resolve().parent.parent / "src"


def commands(arguments: argparse.Namespace, run: Path, out: Path) -> dict[str, list[str]]:
    """By title, the words of each command; `run` is there, and `out` is empty."""
    mnist, train = str(arguments.mnist), ["--new", "--quiet", "--no-plot", "--out", str(out)]
    preview = ["--size", "160", "--preset", "preview", "--quiet", "-o", str(out / "styled.png")]
    return {
        "train digits, 40 kimg": ["train", "digits", "--kimg", "40", *train],
        "train mlp, 40 kimg": ["train", "mlp", "--data", mnist, "--kimg", "40", *train],
        "train cnn, 2 kimg": ["train", "cnn", "--data", mnist, "--kimg", "2", *train],
        "train stylegan, 3 kimg": ["train", "stylegan", "--data", mnist, "--width", "64", "--kimg", "3", *train],
        "train --dry-run": ["train", "cnn", "--data", mnist, "--dry-run"],
        "sample, 2,000 pictures": ["sample", str(run), "--seeds", "0-1999", "--out", str(out / "grid.png")],
        "evaluate, 2,000 pictures": ["evaluate", str(run), "--count", "2000"],
        "style, 160 pixels": ["style", str(arguments.photo), str(arguments.painting), *preview],
        "diagnose": ["diagnose", str(run)],
        "plot": ["plot", str(run), "--out", str(out / "curves.png")],
        "data": ["data", mnist],
    }


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    """So many processes that compute without rest."""
    started = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        time.sleep(0.2)
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def ganvas(words: list[str], source: Path, home: Path, limit: float) -> float:
    """Seconds of a command of the checkout at `source`; infinite where it was ended at the limit."""
    cache = home / f"cache-{abs(hash(source))}"
    environment = {**os.environ, "PYTHONPATH": str(source), "GANVAS_CACHE": str(cache)}
    began = time.perf_counter()
    with suppress(subprocess.TimeoutExpired):
        subprocess.run(
            [sys.executable, "-m", "ganvas", *words], env=environment, timeout=limit, check=True, capture_output=True
        )
        return time.perf_counter() - began
    return float("inf")


def row(title: str, took: dict[int, list[float]], limit: float) -> dict[str, Any]:
    """Medians, spreads and factors of one command of one checkout."""
    middle = {count: statistics.median(seconds) for count, seconds in took.items()}

    def told(count: int) -> str:
        low, high = min(took[count]), max(took[count])
        if middle[count] == float("inf"):
            return f"> {limit:.0f}"
        factor = f" = {middle[count] / middle[0]:.1f} ×" if count else ""
        return f"{middle[count]:.1f} ({low:.1f}–{high:.1f}){factor}"

    return {"command": title, "seconds": took, "cells": [told(count) for count in NEIGHBOURS]}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mnist", type=Path, required=True)
    parser.add_argument("--photo", type=Path, required=True)
    parser.add_argument("--painting", type=Path, required=True)
    parser.add_argument("--beside", type=Path, help="the src folder of another checkout")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--limit", type=float, default=180)
    parser.add_argument("--only", nargs="*", default=[], help="beginnings of commands")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    for name in ("mnist", "photo", "painting"):
        setattr(arguments, name, getattr(arguments, name).resolve())
    sources = {"now": OURS} if arguments.beside is None else {"before": arguments.beside.resolve(), "now": OURS}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        made = ["--name", "run", "--out", str(home), "--g-width", "16", "--d-width", "16", "--quiet", "--no-plot"]
        ganvas(["train", "cnn-stable", "--data", str(arguments.mnist), "--kimg", "8", *made], OURS, home, 600)
        print("| command | checkout | idle, s | one neighbour, s | two neighbours, s |\n|" + "---|" * 5)
        for title, words in commands(arguments, home / "run", home / "out").items():
            if arguments.only and not title.startswith(tuple(arguments.only)):
                continue
            took: dict[str, dict[int, list[float]]] = {own: {count: [] for count in NEIGHBOURS} for own in sources}
            for source in sources.values():  # what is cached on first use is cached
                ganvas(words, source, home, 600)
            for _ in range(arguments.repeats):
                for count in NEIGHBOURS:
                    for name, source in sources.items():
                        with neighbours(count):
                            took[name][count].append(ganvas(words, source, home, arguments.limit))
            for name, own in took.items():
                rows.append({"checkout": name, **row(title, own, arguments.limit)})
                print(f"| {title} | {name} | {' | '.join(rows[-1]['cells'])} |", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
