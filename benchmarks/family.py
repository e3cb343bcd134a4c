"""Trains every recipe on real data within a time budget; measures quality, speed and memory.

Each recipe is trained through the command line, in its own process, for as many images as its dry run says fit the
budget. Then 2,000 images of the untrained generator (its weight average, as for the trained one) and of the last
snapshot are compared with 2,000 held-out real ones. The features are those of a small classifier, trained by this
script, for MNIST, and of a fixed random convolutional network elsewhere. This Fréchet distance is not an FID: it is
meaningful only relative to its real-data baseline, the distance of 2,000 training images to the held-out ones.

    python benchmarks/family.py --mnist DIR --cifar TRAIN.zip TEST.zip --faces ZIP [--only cnn msg] [--seconds 600]
                                [--seeds 0-2] [--out FOLDER]

Writes one line per run to FOLDER/family.jsonl and keeps the runs there; --table prints them as Markdown.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from minutes_parts.judges import distance
from PIL import Image, ImageDraw, ImageFont
from torch import nn
from torch.nn import functional as F

import ganvas
from ganvas import image_io
from ganvas.data import DataOptions, ImageSet, open_images, to_unit
from ganvas.runs.log import read_jsonl
from ganvas.seeds import parse_seeds

MAX_COUNT = 2000
"""Images on each side of a distance, if there are as many."""


CASES: dict[str, tuple[str, str]] = {
    "mlp": ("mnist", ""),
    "mlp-stable": ("mnist", ""),
    "cnn": ("mnist", ""),
    "cnn-sigmoid": ("mnist", ""),
    "cnn-stable": ("mnist", ""),
    "transformer": ("mnist", ""),
    "transformer-stable": ("mnist", ""),
    "transformer-modern": ("cifar", "--token-width 128 --d-width 24 --batch 16 --g-lr 4e-4 --d-lr 4e-4"),
    "dcgan": ("faces64", "--g-width 16 --d-width 16 --batch 16 --ema 5"),
    "wgan": ("cifar", "--g-width 32 --d-width 32 --batch 16"),
    "wgan-gp": ("cifar", "--g-width 32 --d-width 32 --batch 16 --g-lr 4e-4 --d-lr 4e-4 --ema 5"),
    "wgan-conditional": ("cifar", "--g-width 32 --d-width 32 --batch 16 --g-lr 4e-4 --d-lr 4e-4 --ema 5"),
    "sngan": ("cifar", "--g-width 32 --d-width 32 --batch 16 --ema 5"),
    "stylegan": ("faces32", "--width 32 --batch 8 --g-lr 2e-3 --d-lr 2e-3"),
    "msg": ("faces32", "--width 32 --batch 16"),
    "r3gan-short": (
        "cifar",
        "--width 16 --blocks 1 --batch 16 --g-lr 1e-3..2e-4:cosine --d-lr 1e-3..2e-4:cosine --r1 0.5 --r2 0.5 "
        "--beta2 0.99 --ema 5",
    ),
}
"""Recipe -> (data, overrides that make it small enough for two CPU cores within the budget)."""


class EvaluationData:
    """A training set, its held-out part, and a feature extractor to compare images with."""

    def __init__(self, name: str, arguments: argparse.Namespace) -> None:
        size = {"faces64": "64", "faces32": "32"}.get(name)
        self.source = {"mnist": arguments.mnist, "cifar": arguments.cifar[0]}.get(name, arguments.faces)
        self.flags = ["--data", str(self.source), *(["--resolution", size] if size else [])]
        train = open_images(DataOptions(str(self.source), "train", size))
        if name == "mnist":
            test = open_images(DataOptions(str(self.source), "test")).images
        elif name == "cifar":
            test = open_images(DataOptions(str(arguments.cifar[1]))).images
        else:  # no held-out part: the baseline compares two halves, and both are trained on
            test = train.images[::2]
        real = train.images[1::2] if "faces" in name else train.images
        self.network = (
            load_or_train_classifier(train, arguments.out / "classifier.pt")
            if name == "mnist"
            else build_random_features(train)
        )
        self.count = min(MAX_COUNT, len(test))
        self.reference = self.extract_features(test[: self.count])
        self.baseline = distance(self.extract_features(real[: self.count]), self.reference)

    @torch.no_grad()
    def extract_features(self, images: np.ndarray) -> np.ndarray:
        """uint8 [n c h w] -> float64 [n f]."""
        parts = torch.from_numpy(np.array(images)).split(250)
        return torch.cat([self.network[:-1](to_unit(part)) for part in parts]).double().numpy()

    @torch.no_grad()
    def class_fractions(self, images: np.ndarray) -> list[float]:
        """The fraction of images that the classifier assigns to each class."""
        parts = torch.from_numpy(images).split(250)
        predictions = torch.cat([self.network(to_unit(part)).argmax(1) for part in parts])
        return (predictions.bincount(minlength=10) / len(predictions)).tolist()


def load_or_train_classifier(images: ImageSet, path: Path) -> nn.Sequential:
    """A small CNN, trained for two epochs on the digits from a fixed seed; 64 features before its logits."""
    torch.manual_seed(1234)
    network = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(64, 64, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64 * 49, 64), nn.ReLU(),
        nn.Linear(64, 10),
    )  # fmt: skip
    if path.exists():
        network.load_state_dict(torch.load(path, weights_only=True))
        return network.eval()
    assert images.labels is not None
    adam = torch.optim.Adam(network.parameters(), 1e-3, weight_decay=1e-4)
    x, y = torch.from_numpy(images.images.copy()), torch.from_numpy(images.labels.copy())
    for _ in range(2):
        for chosen in torch.randperm(len(x)).split(128):
            adam.zero_grad()
            F.cross_entropy(network(to_unit(x[chosen])), y[chosen]).backward()
            adam.step()
    torch.save(network.state_dict(), path)
    return network.eval()


def build_random_features(images: ImageSet) -> nn.Sequential:
    """Three random convolutions from a fixed seed, averaged over the image: 128 features."""
    torch.manual_seed(1234)
    layers: list[nn.Module] = []
    for before, after in ((images.channels, 32), (32, 64), (64, 128)):
        convolution = nn.Conv2d(before, after, 3, padding=1)
        nn.init.orthogonal_(convolution.weight, gain=2**0.5)
        layers += [convolution, nn.LeakyReLU(0.2), nn.AvgPool2d(2)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Identity()).eval()


def train_recipe(
    recipe: str, data: EvaluationData, seed: int, arguments: argparse.Namespace
) -> tuple[dict[str, Any], int]:
    """Trains within the budget; returns the result of the dry run and the peak memory of the process in bytes."""
    command = [
        sys.executable,
        "-m",
        "ganvas",
        "train",
        recipe,
        *data.flags,
        *CASES[recipe][1].split(),
        "--seed",
        str(seed),
    ]
    planned = json.loads(subprocess.run([*command, "--dry-run", "--json"], capture_output=True, check=True).stdout)
    kimg = max(1, round(planned["images_per_s"] * arguments.seconds / 1000))
    length = [
        "--kimg",
        str(kimg),
        "--keep-kimg",
        str(kimg),
        "--tick-kimg",
        str(max(0.5, kimg / 100)),
        "--snapshot-kimg",
        str(max(1, kimg / 10)),
    ]
    output = ["--out", str(arguments.out), "--name", f"{recipe}-{seed}", "--no-plot", "--quiet"]
    process = subprocess.Popen([*command, *length, *output])
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{recipe} failed")
    return planned, usage.ru_maxrss * 1024


def measure_recipe(recipe: str, data: EvaluationData, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Trains and evaluates one run; returns its line of family.jsonl."""
    planned, memory = train_recipe(recipe, data, seed, arguments)
    run = ganvas.Run(arguments.out / f"{recipe}-{seed}")
    seconds = list(read_jsonl(run.path / "stats.jsonl"))[-1]["seconds"]
    samples = {
        name: ganvas.load(snapshot).sample(seeds=range(data.count))
        for name, snapshot in (("start", run.path / "snapshots" / "000000"), ("end", run.latest_snapshot))
    }
    distances = {name: distance(data.extract_features(images), data.reference) for name, images in samples.items()}
    kimg = run.progress()["nimg"] / 1000
    line = {
        "recipe": recipe, "data": CASES[recipe][0], "overrides": CASES[recipe][1], "seed": seed,
        "kimg": kimg, "seconds": seconds, "images_per_s": 1000 * kimg / seconds,
        "trial_images_per_s": planned["images_per_s"], "parameters": planned["parameters"], "memory": memory,
        "estimated": planned["memory_bytes"]["needed"], "baseline": data.baseline, **distances,
    }  # fmt: skip
    if CASES[recipe][0] == "mnist":
        line["rarest_class"] = min(data.class_fractions(samples["end"]))
    return line


def format_table(lines: list[dict[str, Any]]) -> str:
    """The lines as Markdown."""
    rows = [
        "| recipe | data | overrides | seed | kimg | seconds | images/s | memory "
        "| start | end | baseline | rarest class |",
        "|" + "---|" * 12,
    ]
    for line in lines:
        rarest = f"{100 * line['rarest_class']:.1f} %" if "rarest_class" in line else ""
        rows.append(
            f"| `{line['recipe']}` | {line['data']} | {line['overrides']} | {line['seed']} | {line['kimg']:g} | "
            f"{line['seconds']:.0f} | {line['images_per_s']:,.0f} | {line['memory'] / 1e6:,.0f} MB | "
            f"{line['start']:.3g} | {line['end']:.3g} | {line['baseline']:.3g} | {rarest} |"
        )
    return "\n".join(rows)


def draw_sheet(lines: list[dict[str, Any]], out: Path, path: Path) -> None:
    """Draws a row of images for each recipe, from the run of its first seed: latent seeds 0, 1, 2 …, not selected."""
    font, cell, columns = ImageFont.load_default(size=15), 56, 14
    runs = {line["recipe"]: out / f"{line['recipe']}-{line['seed']}" for line in reversed(lines)}
    recipes = [recipe for recipe in CASES if recipe in runs]
    canvas = Image.new("RGB", (150 + columns * (cell + 2), len(recipes) * (cell + 6)), "white")
    for row, recipe in enumerate(recipes):
        top = row * (cell + 6)
        ImageDraw.Draw(canvas).text((4, top + cell // 2), recipe, fill="black", font=font, anchor="lm")
        for column, image in enumerate(ganvas.load(ganvas.Run(runs[recipe])).sample(seeds=range(columns))):
            drawn = image_io.to_pil(image).convert("RGB")
            resize = Image.Resampling.NEAREST if drawn.width < 32 else Image.Resampling.LANCZOS
            canvas.paste(drawn.resize((cell, cell), resize), (150 + column * (cell + 2), top))
    image_io.save_image(canvas, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mnist", type=Path)
    parser.add_argument("--cifar", type=Path, nargs=2, metavar=("TRAIN", "TEST"))
    parser.add_argument("--faces", type=Path)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--out", type=Path, default=Path("family"))
    parser.add_argument("--sheet", type=Path, help="also draw a row of images of each recipe into this file")
    parser.add_argument("--table", action="store_true", help="only print the runs that exist")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    file = arguments.out / "family.jsonl"
    if not arguments.table:
        opened: dict[str, EvaluationData] = {}
        for recipe in arguments.only:
            data = CASES[recipe][0]
            if data not in opened:
                opened[data] = EvaluationData(data, arguments)
            for seed in parse_seeds(arguments.seeds):
                line = measure_recipe(recipe, opened[data], seed, arguments)
                with file.open("a") as log:
                    log.write(json.dumps(line) + "\n")
                print(json.dumps(line), flush=True)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    print(format_table(lines))
    if arguments.sheet:
        draw_sheet(lines, arguments.out, arguments.sheet)


if __name__ == "__main__":
    main()
