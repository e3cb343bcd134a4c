"""How long does the command line take to answer? The first useful byte, and the whole, of each verb.

Each verb runs in a process of its own; verbs and checkouts take turns, so that a machine whose speed drifts drifts for
all. The first useful byte is the first on standard output; the first repeat fills caches and is not counted.

    python benchmarks/startup.py [--repeats 5] [--beside OTHER/src]

--beside names the `src` folder of another checkout, such as one of an earlier commit; it is timed as "before".
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

HERE = Path(__file__).resolve().parent.parent / "src"
VERBS = [
    "--help", "recipes", "train --help", "diagnose RUN", "diagnose log.csv", "plot RUN", "data pictures", "data digits",
    "sample RUN", "train digits --dry-run", "train digits --kimg 0.064 --new --no-plot --json",
]  # fmt: skip
"""All that answer at once; RUN is a run of the digits that is made first."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--beside", type=Path)
    asked = parser.parse_args()
    sources = {"before": asked.beside.resolve(), "now": HERE} if asked.beside else {"now": HERE}
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        prepare(place)
        times = {(verb, which): [] for verb in VERBS for which in sources}
        for repeat in range(asked.repeats + 1):
            for verb in VERBS:
                for which, source in sources.items():
                    taken = timed(verb, source, place)
                    if repeat:
                        times[verb, which].append(taken)
    titles = [f"{part}, {which}" if len(sources) > 1 else part for part in ("first byte", "total") for which in sources]
    print("| ganvas … |", " | ".join(titles), "|")
    print("|---|", "|".join("---" for _ in titles), "|", sep="")
    for verb in VERBS:
        cells = [spread([taken[part] for taken in times[verb, which]]) for part in (0, 1) for which in sources]
        print(f"| `{verb}` |", " | ".join(cells), "|")
    print(f"\nSeconds: the median of {asked.repeats}, and the least to the most.")


def prepare(place: Path) -> None:
    """A folder of pictures, a log and a run, made by this checkout."""
    rng = np.random.default_rng(0)
    (place / "pictures").mkdir()
    for i in range(100):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(place / "pictures" / f"{i}.png")
    lines = [f"{step},{d:.4f},{g:.4f}" for step, (d, g) in enumerate(rng.random((500, 2)))]
    (place / "log.csv").write_text("\n".join(["step,d_loss,g_loss", *lines]) + "\n")
    timed("train digits --kimg 20 --out made --name run --json", HERE, place)


def timed(verb: str, source: Path, place: Path) -> tuple[float, float]:
    """Seconds until the first byte on standard output, and until the end."""
    words = verb.replace("RUN", "made/run").split()
    environment = {**os.environ, "PYTHONPATH": str(source), "GANVAS_CACHE": str(place / "cache")}
    began = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "ganvas", *words], cwd=place, env=environment, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.read(1)
        first = time.perf_counter() - began
        process.stdout.read()
    if process.returncode:
        raise SystemExit(f"ganvas {verb} of {source} failed with {process.returncode}.")
    return first, time.perf_counter() - began


def spread(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.2f} ({min(seconds):.2f}–{max(seconds):.2f})"


if __name__ == "__main__":
    main()
