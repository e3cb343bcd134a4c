"""Measures the quality of the default recipe's digits and its training time.

For each seed: runs `ganvas train` with its default arguments, then samples 1,400 digits and compares them with the
397 held-out ones in the feature space of a small classifier (64 features before the logits). This Fréchet distance is
not an FID: it is meaningful only relative to its real-data baseline, the distance of the 1,400 training digits to the
same held-out ones.

    python benchmarks/digits.py [--seeds 0-4] [--kimg K] [--json FILE]
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import ganvas
from ganvas.data import DataOptions, open_images, to_unit
from ganvas.evaluation.metrics import compute_moments, frechet_distance
from ganvas.recipes import RECIPES
from ganvas.runs.log import read_jsonl
from ganvas.seeds import parse_seeds


def train_classifier(images: np.ndarray, labels: np.ndarray) -> nn.Sequential:
    """A small CNN, trained for 60 epochs from a fixed seed; its last layer returns the logits."""
    torch.manual_seed(1234)
    network = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(64 * 4 * 4, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip
    adam = torch.optim.Adam(network.parameters(), 1e-3, weight_decay=1e-4)
    x, y = to_unit(torch.from_numpy(images.copy())), torch.from_numpy(labels.copy())
    for _ in range(60):
        for chosen in torch.randperm(len(x)).split(64):
            adam.zero_grad()
            F.cross_entropy(network(x[chosen]), y[chosen]).backward()
            adam.step()
    return network.eval()


@torch.no_grad()
def extract_features(network: nn.Sequential, images: np.ndarray) -> np.ndarray:
    """uint8 [n 1 8 8] -> float64 [n 64]."""
    return network[:-1](to_unit(torch.from_numpy(images.copy()))).double().numpy()


def feature_distance(a: np.ndarray, b: np.ndarray) -> float:
    """The Fréchet distance between two feature matrices."""
    return frechet_distance(compute_moments(a), compute_moments(b))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", default="0-4")
    parser.add_argument("--kimg", type=float, default=RECIPES["digits"].config.kimg)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    real = open_images(DataOptions("digits", "train"))
    held_out = open_images(DataOptions("digits", "test"))
    assert real.labels is not None
    assert held_out.labels is not None
    network = train_classifier(real.images, real.labels)
    reference = extract_features(network, held_out.images)
    with torch.no_grad():
        predictions = network(to_unit(torch.from_numpy(held_out.images.copy()))).argmax(1).numpy()
    baseline = feature_distance(extract_features(network, real.images), reference)
    accuracy = (predictions == held_out.labels).mean()
    print(f"classifier {100 * accuracy:.1f} % on {len(held_out)} held out; baseline {baseline:.2f}")
    print("seed  seconds  images/s  distance  / baseline  rarest class")
    rows = []
    for seed in parse_seeds(arguments.seeds):
        with tempfile.TemporaryDirectory() as out:
            run = ganvas.train("digits", seed=seed, kimg=arguments.kimg, out=out, quiet=True, plot=False)
            seconds = [line["seconds"] for line in read_jsonl(run.path / "stats.jsonl")][-1]
            samples = ganvas.load(run).sample(seeds=range(len(real)))
        distance = feature_distance(extract_features(network, samples), reference)
        with torch.no_grad():
            classes = network(to_unit(torch.from_numpy(samples))).argmax(1).bincount(minlength=10)
        share = classes.min().item() / len(samples)
        speed = 1000 * arguments.kimg / seconds
        rows.append(
            {"seed": seed, "seconds": seconds, "distance": distance, "baseline": baseline, "rarest_class": share}
        )
        ratio = distance / baseline
        print(f"{seed:4}  {seconds:7.1f}  {speed:8,.0f}  {distance:8.2f}  {ratio:10.2f}  {100 * share:.1f} %")
    ratios = [row["distance"] / baseline for row in rows]
    deviation = statistics.stdev(ratios) if len(ratios) > 1 else float("nan")
    print(f"distance / baseline: mean {statistics.mean(ratios):.2f}, sd {deviation:.2f}, worst {max(ratios):.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
