"""How long does judging take, against torchmetrics used directly with the same network?

10,000 pictures against 10,000 others, on MNIST and on CIFAR-10: Fréchet and kernel distance in the eye's features.
torchmetrics gets the same network as its feature module and the same pictures in passes of the same size; both sides
run in processes of their own, one after the other, the same number of threads, repeated in turn. Peak memory is the
process's. Needs torchmetrics (the dev extra).

    python benchmarks/evaluate_speed.py --mnist DIR --cifar TRAIN.zip TEST.zip [--count 10000] [--repeats 3]
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ganvas.data import PictureOptions, open_images
from ganvas.judge import features
from ganvas.judge.metrics import frechet, kernel, moments

SUBSETS, SIZE = 100, 1000


class Module(nn.Module):
    """The eye as torchmetrics takes a network: uint8 pictures in, features out."""

    def __init__(self) -> None:
        super().__init__()
        self.eye = features.the_eye()
        self.num_features = self(torch.zeros(1, 3, 32, 32, dtype=torch.uint8)).shape[1]

    def forward(self, images: Tensor) -> Tensor:
        with torch.inference_mode():
            return self.eye.look(images).clone()


def pictures(source: Path, split: str, count: int) -> np.ndarray:
    return open_images(PictureOptions(str(source), split)).images[:count]  # type: ignore[arg-type]


def ours(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    eye = features.the_eye()
    x, y = (features.of(features.chunks(side, np.arange(len(side))), eye, count=len(side)) for side in (a, b))
    distance = kernel(x, y, 0, SUBSETS, SIZE)
    return {"frechet": frechet(moments(x), moments(y)), "kernel": distance[0]}


def theirs(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.kid import KernelInceptionDistance

    module = Module()
    fid = FrechetInceptionDistance(feature=module)
    kid = KernelInceptionDistance(feature=nn.Identity(), subsets=SUBSETS, subset_size=SIZE)
    for real, side in ((True, a), (False, b)):
        for part in features.chunks(side, np.arange(len(side))):
            seen = module(part)
            kid.update(seen, real=real)
            fid.inception = _Given(seen)
            fid.update(part, real=real)
    return {"frechet": float(fid.compute()), "kernel": float(kid.compute()[0])}


class _Given(nn.Module):
    """Features that are known already: so that torchmetrics' two measures look at the pictures once, as ours do."""

    def __init__(self, seen: Tensor) -> None:
        super().__init__()
        self.seen = seen

    def forward(self, _: Tensor) -> Tensor:
        return self.seen


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mnist", type=Path, required=True)
    parser.add_argument("--cifar", type=Path, nargs=2, required=True, metavar=("TRAIN", "TEST"))
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--side", nargs=2, metavar=("DATA", "WHO"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        data, who = arguments.side
        sources = {"mnist": [(arguments.mnist, "train"), (arguments.mnist, "test")],
                   "cifar": [(source, "train") for source in arguments.cifar]}[data]  # fmt: skip
        sides = [pictures(source, split, arguments.count) for source, split in sources]
        began = time.perf_counter()
        values = (ours if who == "ours" else theirs)(*sides)
        seconds = time.perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({**values, "seconds": seconds, "peak": peak}))
        return
    print("| data | who | seconds | peak memory | Fréchet | kernel × 1000 |\n|" + "---|" * 6)
    for data in ("mnist", "cifar"):
        for repeat in range(arguments.repeats):
            for who in ("ours", "torchmetrics"):
                command = [sys.executable, *sys.argv, "--side", data, who]
                told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                print(
                    f"| {data} {repeat} | {who} | {told['seconds']:.1f} | {told['peak'] / 1e6:,.0f} MB | "
                    f"{told['frechet']:.6g} | {1000 * told['kernel']:.4g} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
