"""The time of an evaluation, part by part, and in comparison with torchmetrics.

    python benchmarks/evaluate_speed.py parts RUN [--count 5000] [--repeats 1] [--beside SRC]

A first evaluation of a run, in an empty cache, and a second one: the seconds of each part. --beside names the src
folder of another checkout of Ganvas with the same function names, which alternates in its own processes and cache.

    python benchmarks/evaluate_speed.py torchmetrics --mnist DIR --cifar TRAIN.zip TEST.zip [--count N] [--repeats 3]

10,000 images against 10,000 others, on MNIST and on CIFAR-10: Fréchet and kernel distance in the eye's features.
torchmetrics gets the same network as its feature module and the same images in passes of the same size; both sides
run in processes of their own, one after the other, the same number of threads, repeated in turn. Peak memory is the
process's. Needs torchmetrics (the dev extra). --beside lets another checkout take torchmetrics' place.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ganvas.data import DataOptions, open_images
from ganvas.data.selection import iterate_batches
from ganvas.evaluation import evaluation, memorisation, metrics, neighbours, pyramids, scales
from ganvas.evaluation.evaluation import evaluate
from ganvas.evaluation.metrics import compute_moments, frechet_distance, kernel_distances
from ganvas.features import classifier, extraction, extractors

SUBSETS, SUBSET_SIZE = 100, 1000

PARTS: dict[str, list[Callable[..., Any]]] = {
    "opening the data": [evaluation._open],
    "generating images": [evaluation._load_all, evaluation._stack_pairs],
    "features": [extraction.extract_features],
    "training the classifier": [classifier._train],
    "Fréchet distances": [compute_moments, frechet_distance, metrics.frechet_infinity],
    "kernel distance": [kernel_distances],
    "precision, recall, density, coverage": [neighbours.nearest_neighbours, neighbours.prdc],
    "1-nearest-neighbour accuracy": [neighbours.two_sample_test],
    "sliced Wasserstein": [pyramids.sliced_wasserstein_distances],
    "fine detail and layout": [scales.fine_detail_errors, scales.layout_distances],
    "MS-SSIM": [pyramids.ms_ssim_diversity],
    "memorisation": [memorisation.compare_with_training],
}
"""The parts of an evaluation: functions of `ganvas.evaluation`."""

COUNTED_ANYWHERE = ("features", "training the classifier")
"""Parts that are counted wherever they are called; the time of others belongs to the part that calls them."""


class Clock:
    """Wraps the functions of PARTS, wherever they are imported, and adds up the seconds of each part."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._inner: list[float] = []
        modules = [module for name, module in sys.modules.items() if name.startswith("ganvas.evaluation")]
        for part, functions in PARTS.items():
            for function in functions:
                for module in modules:
                    for name, value in list(vars(module).items()):
                        if value is function:
                            setattr(module, name, self._timed(part, function))

    def _timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **keywords: Any) -> Any:
            if self._inner and part not in COUNTED_ANYWHERE:
                return function(*arguments, **keywords)
            began = time.perf_counter()
            self._inner.append(0.0)
            try:
                return function(*arguments, **keywords)
            finally:
                seconds = time.perf_counter() - began
                self.seconds[part] += seconds - self._inner.pop()
                if self._inner:
                    self._inner[-1] += seconds

        return run


class EyeModule(nn.Module):
    """The eye as torchmetrics takes a network: uint8 images in, features out."""

    def __init__(self) -> None:
        super().__init__()
        self.eye = extractors.eye_extractor()
        self.num_features = self(torch.zeros(1, 3, 32, 32, dtype=torch.uint8)).shape[1]

    def forward(self, images: Tensor) -> Tensor:
        with torch.inference_mode():
            return self.eye.extract(images).clone()


def load_images(source: Path, split: str, count: int) -> np.ndarray:
    return open_images(DataOptions(str(source), split)).images[:count]  # type: ignore[arg-type]


def measure_with_ganvas(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    eye = extractors.eye_extractor()
    x, y = (
        extraction.extract_features(iterate_batches(side, np.arange(len(side))), eye, count=len(side))
        for side in (a, b)
    )
    [kernel] = kernel_distances([x], y, 0, [(SUBSETS, SUBSET_SIZE)])
    return {"frechet": frechet_distance(compute_moments(x), compute_moments(y)), "kernel": kernel}


def measure_with_torchmetrics(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.kid import KernelInceptionDistance

    module = EyeModule()
    fid = FrechetInceptionDistance(feature=module)
    kid = KernelInceptionDistance(feature=nn.Identity(), subsets=SUBSETS, subset_size=SUBSET_SIZE)
    for real, side in ((True, a), (False, b)):
        for part in iterate_batches(side, np.arange(len(side))):
            known = module(part)
            kid.update(known, real=real)
            fid.inception = _FixedFeatures(known)
            fid.update(part, real=real)
    return {"frechet": float(fid.compute()), "kernel": float(kid.compute()[0])}


class _FixedFeatures(nn.Module):
    """Returns known features, so that both measures of torchmetrics share one feature extraction, as in Ganvas."""

    def __init__(self, features: Tensor) -> None:
        super().__init__()
        self.features = features

    def forward(self, _: Tensor) -> Tensor:
        return self.features


def run_in_process(command: list[str], source: Path, cache: Path | None = None) -> dict[str, Any]:
    """Runs this script with the Ganvas of a src folder; returns the JSON that it prints."""
    environment = {**os.environ, "PYTHONPATH": str(source)}
    if cache is not None:
        environment["GANVAS_CACHE"] = str(cache)
    result = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, *command], env=environment, stdout=subprocess.PIPE, check=True
    )
    return json.loads(result.stdout)


def time_parts(arguments: argparse.Namespace) -> None:
    """Prints the table of a first and a second evaluation: medians of the repeats, of each checkout."""
    found: dict[str, list[dict[str, float]]] = {}
    sources = {"before": arguments.beside, "now": SOURCE} if arguments.beside else {"now": SOURCE}
    for _ in range(arguments.repeats):
        with tempfile.TemporaryDirectory() as caches:
            for which in ("first", "second"):
                for when, source in sources.items():
                    command = ["one-evaluation", str(arguments.run), str(arguments.count)]
                    result = run_in_process(command, source, Path(caches) / when)
                    found.setdefault(f"{which}, {when}", []).append(result)
                    print(f"{which}, {when}: {result['all']:.1f} s", file=sys.stderr)
    print("| seconds | " + " | ".join(found) + " |\n|" + "---|" * (1 + len(found)))
    for part in next(iter(found.values()))[0]:
        medians = [statistics.median(result[part] for result in each) for each in found.values()]
        print(f"| {part} | " + " | ".join(f"{seconds:.1f}" for seconds in medians) + " |")


def time_evaluation(arguments: argparse.Namespace) -> None:
    clock, began = Clock(), time.perf_counter()
    evaluate(arguments.run, count=arguments.count)
    whole = time.perf_counter() - began
    rest = whole - sum(clock.seconds.values())
    print(json.dumps({**clock.seconds, "everything else": rest, "all": whole}))


def compare_with_torchmetrics(arguments: argparse.Namespace) -> None:
    whose = {"ours": ("ours", SOURCE)}
    whose |= {"before": ("ours", arguments.beside)} if arguments.beside else {"torchmetrics": ("theirs", SOURCE)}
    print("| data | who | seconds | peak memory | Fréchet | kernel × 1000 |\n|" + "---|" * 6)
    for data, sources in (("mnist", [arguments.mnist] * 2), ("cifar", arguments.cifar)):
        for repeat in range(arguments.repeats):
            for name, (who, source) in whose.items():
                command = ["one-side", who, data, *map(str, sources), str(arguments.count)]
                result = run_in_process(command, source)
                print(
                    f"| {data} {repeat} | {name} | {result['seconds']:.1f} | {result['peak'] / 1e6:,.0f} MB | "
                    f"{result['frechet']:.6g} | {1000 * result['kernel']:.4g} |",
                    flush=True,
                )


def time_side(arguments: argparse.Namespace) -> None:
    splits = ("train", "test") if arguments.data == "mnist" else ("train", "train")
    both = zip(arguments.sources, splits, strict=True)
    sides = [load_images(source, split, arguments.count) for source, split in both]
    began = time.perf_counter()
    values = (measure_with_ganvas if arguments.who == "ours" else measure_with_torchmetrics)(*sides)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({**values, "seconds": seconds, "peak": peak}))


SOURCE = Path(extraction.__file__).parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(required=True, metavar="parts|torchmetrics")
    table = commands.add_parser("parts")
    table.add_argument("run", type=Path)
    table.add_argument("--count", type=int, default=5000)
    table.add_argument("--repeats", type=int, default=1)
    table.add_argument("--beside", type=Path, metavar="SRC")
    table.set_defaults(command=time_parts)
    rival = commands.add_parser("torchmetrics")
    rival.add_argument("--mnist", type=Path, required=True)
    rival.add_argument("--cifar", type=Path, nargs=2, required=True, metavar=("TRAIN", "TEST"))
    rival.add_argument("--count", type=int, default=10_000)
    rival.add_argument("--repeats", type=int, default=3)
    rival.add_argument("--beside", type=Path, metavar="SRC")
    rival.set_defaults(command=compare_with_torchmetrics)
    one = commands.add_parser("one-evaluation")
    one.add_argument("run", type=Path)
    one.add_argument("count", type=int)
    one.set_defaults(command=time_evaluation)
    side = commands.add_parser("one-side")
    side.add_argument("who")
    side.add_argument("data")
    side.add_argument("sources", type=Path, nargs=2)
    side.add_argument("count", type=int)
    side.set_defaults(command=time_side)
    arguments = parser.parse_args()
    arguments.command(arguments)


if __name__ == "__main__":
    main()
