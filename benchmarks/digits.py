"""Measures the digits of the default recipe, and how long they take, idle and beside a busy process.

For each seed: runs `ganvas train` with no other argument in a process of its own, then compares 2,000 generated digits,
200 of each class, with the training set in the features of a classifier that is trained on it (that of
`ganvas evaluate`). Its Fréchet distance is no FID; it is read beside its baseline, that of the 2,000 held-out digits.

    python benchmarks/digits.py [--seeds 0-4] [--kimg K] [--busy] [--grids FOLDER] [--json FILE]
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from busy import busy_processes

import ganvas
from ganvas import image_io
from ganvas.data import DataOptions, open_images
from ganvas.evaluation.metrics import compute_moments, frechet_distance
from ganvas.features.classifier import classifier_extractor
from ganvas.features.extractors import Extractor
from ganvas.runs.log import read_jsonl
from ganvas.seeds import parse_seeds

COUNT = 2000
SURE = 0.9
"""A digit is sure if the classifier gives one class this probability or more."""


class Judge:
    """The classifier, and what it says of the real digits."""

    def __init__(self) -> None:
        train, self.held_out = (open_images(DataOptions("digits28", split)) for split in ("train", "test"))
        self.classifier: Extractor = classifier_extractor(train)
        self.reference = compute_moments(self.extract(train.images))
        self.baseline = self.distance(self.extract(self.held_out.images))

    def extract(self, images: np.ndarray) -> np.ndarray:
        """uint8 [n 1 28 28] -> float64 [n f]."""
        return self.classifier.extract(torch.from_numpy(np.array(images))).double().numpy()

    def distance(self, features: np.ndarray) -> float:
        """The Fréchet distance to the training set."""
        return frechet_distance(compute_moments(features), self.reference)

    def measure(self, images: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """The distance over its baseline, and shares: right class, sure of a class, the rarest class."""
        features = self.extract(images)
        assert self.classifier.predict_probabilities is not None
        probabilities = self.classifier.predict_probabilities(features.astype(np.float32))
        predicted = probabilities.argmax(1)
        return {
            "distance / baseline": self.distance(features) / self.baseline,
            "right class": float((predicted == labels).mean()),
            "sure": float((probabilities.max(1) >= SURE).mean()),
            "rarest class": float(np.bincount(predicted, minlength=10).min() / len(images)),
        }


def train(seed: int, kimg: float | None, out: Path) -> tuple[ganvas.Run, float]:
    """`ganvas train` in a process of its own; returns the run and the seconds of the whole command."""
    length = [] if kimg is None else ["--kimg", str(kimg)]
    command = [sys.executable, "-m", "ganvas", "train", "--seed", str(seed), "--out", str(out), "--name", "run"]
    start = time.perf_counter()
    subprocess.run([*command, *length], check=True, capture_output=True)
    return ganvas.Run(out / "run"), time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", default="0-4")
    parser.add_argument("--kimg", type=float)
    parser.add_argument("--busy", action="store_true", help="beside a process that computes all the time")
    parser.add_argument("--grids", type=Path, help="a folder for a grid of each seed")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    judge = Judge()
    labels = np.arange(10).repeat(COUNT // 10)
    assert judge.held_out.labels is not None
    real = judge.measure(judge.held_out.images, judge.held_out.labels)
    print("held out: " + ", ".join(f"{name} {value:.3g}" for name, value in real.items()))
    rows: list[dict[str, Any]] = []
    for seed in parse_seeds(arguments.seeds):
        with tempfile.TemporaryDirectory() as out, busy_processes(int(arguments.busy)):
            run, whole = train(seed, arguments.kimg, Path(out))
            seconds = [line["seconds"] for line in read_jsonl(run.path / "stats.jsonl")][-1]
            generator = ganvas.load(run)
        images = np.concatenate([generator.sample(range(i, COUNT, 10), label=i) for i in range(10)])
        row = {"seed": seed, "seconds": seconds, "whole command": whole} | judge.measure(images, labels)
        rows.append(row)
        print(", ".join(f"{name} {value:.3g}" for name, value in row.items()), flush=True)
        if arguments.grids:
            arguments.grids.mkdir(parents=True, exist_ok=True)
            first = images.reshape(10, -1, *images.shape[1:])[:, :16].reshape(-1, *images.shape[1:])
            image_io.save_image(image_io.make_grid(first, 16, scale=2), arguments.grids / f"digits28-{seed}.webp")
    for name in list(rows[0])[1:]:
        values = [row[name] for row in rows]
        deviation = f" ± {statistics.stdev(values):.2g}" if len(values) > 1 else ""
        print(f"{name}: {statistics.mean(values):.3g}{deviation}, {min(values):.3g} to {max(values):.3g}")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
