"""How near does each recipe's training come to the machine's matrix product?

The roof of a recipe is the rate of a float32 matrix product (2048×2048 by 2048×2048, the fastest seen beside the
recipe) divided by the operations that a round dispatches for each image: matrix products, convolutions and attention,
forward, backward and double backward. What a network does besides (norms, activations, resampling, the optimiser) is
not counted; a convolution's zeros around the edges are, although nobody multiplies by them: small maps can pass 100 %.

Rounds are those of training on random pictures at the size of the recipe's usual data, fully grown, of as many images
as the trial before a run takes. Each recipe runs in a process of its own; one thread and all, the product and the
rounds, take turns, so that a machine whose speed drifts drifts for all.

    python benchmarks/roof.py [--recipes a,b] [--seconds 4] [--repeats 1] [--json FILE] [--beside OTHER/src]

--beside names the `src` folder of another checkout, such as one of an earlier commit; it is measured as "before", its
processes in turn with ours; the roof is ours.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from ganvas.config import TrainConfig, replace
from ganvas.networks import Shape
from ganvas.recipes import RECIPES
from ganvas.training import estimate, memory
from ganvas.training.state import Players

HERE = Path(__file__).resolve().parent.parent / "src"
USUAL = {"digits": (1, 8, 8), "mnist": (1, 28, 28), "cifar10": (3, 32, 32), "celeba": (3, 64, 64)}
"""Channels, height and width of the data sets that recipes name."""

SIDE = 2048
"""Rows and columns of the matrices."""

SLICE = 0.2
"""Seconds that a turn takes, at least: so many rounds in a row."""


def measure(name: str, seconds: float) -> dict:
    """One recipe in this process: images/s and GEMM operations/s, one list for 1 thread and one for all."""
    memory.keep()
    config = RECIPES[name].config
    shape = Shape(*USUAL[config.pictures.data], 10 if config.pictures.conditional else 0)
    device, every = torch.device("cpu"), torch.get_num_threads()
    cost = estimate.estimate(config, shape, device)
    chosen = chosen_threads(cost, config)
    config = replace(config, batch=trial_batch(config, cost))
    operations = estimate.round_flops(config, shape)
    one_round = rounds_of(config, shape, device)
    many = config.play.penalty_every  # rounds, so that each turn has its share of penalties
    speeds, products = {1: [], every: []}, {1: [], every: []}
    for threads in speeds:
        torch.set_num_threads(threads)
        repeated(one_round, many)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(speeds[1]) < 3:
        for threads in speeds:
            torch.set_num_threads(threads)
            products[threads].append(2 * SIDE**3 / product())
            done, began = 0, time.perf_counter()
            while (taken := time.perf_counter() - began) < SLICE or not done:
                repeated(one_round, many)
                done += many
            speeds[threads].append(done * config.a_round / taken)
    return {
        "operations": operations, "batch": config.optimisation.batch, "threads": chosen, "all": every,
        "one": speeds[1], "many": speeds[every], "gemm_one": products[1], "gemm_many": products[every],
    }  # fmt: skip


def trial_batch(config: TrainConfig, cost: estimate.Estimate) -> int:
    """The images of a trial's round."""
    flops = estimate.PASSES * config.balance.d_steps * (cost.g_flops + cost.d_flops)
    return min(config.optimisation.batch, max(2, round(estimate.TRIAL_FLOPS / flops)))


def chosen_threads(cost: estimate.Estimate, config: TrainConfig) -> int:
    """How many threads a run takes by itself; earlier checkouts want the configuration too."""
    try:
        return estimate.threads(cost)
    except TypeError:
        return estimate.threads(cost, config)  # pyright: ignore[reportCallIssue]


def rounds_of(config: TrainConfig, shape: Shape, device: torch.device) -> Callable[[], None]:
    """Rounds of training at the end of a run, where networks are fully grown, on random pictures."""
    players, n = Players.seat(config, shape, device), config.optimisation.batch
    pictures = torch.randint(0, 256, (n, *shape[:3]), dtype=torch.uint8)
    labels = torch.zeros(n, dtype=torch.long) if shape.classes else None
    batches = [(pictures, labels)] * config.balance.d_steps
    nimg = config.total // config.a_round * config.a_round

    def one_round() -> None:
        nonlocal nimg
        players.round(batches, nimg)
        nimg += config.a_round

    return one_round


def repeated(one_round: Callable[[], None], times: int) -> None:
    for _ in range(times):
        one_round()


def product() -> float:
    """Seconds of a matrix product, the median of three."""
    a, taken = torch.randn(SIDE, SIDE), []
    for _ in range(3):
        began = time.perf_counter()
        torch.mm(a, a)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def in_process(name: str, source: Path, seconds: float) -> dict:
    command = [sys.executable, __file__, "--measure", name, "--seconds", str(seconds)]
    environment = {**os.environ, "PYTHONPATH": str(source)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def pooled(runs: list[dict]) -> dict:
    """The measurements of several processes as one's."""
    lists = {key: [value for run in runs for value in run[key]] for key in runs[0] if isinstance(runs[0][key], list)}
    return {**runs[0], **lists}


def row(name: str, versions: dict[str, dict]) -> str:
    now = versions["now"]
    roofs = {key: max(now[f"gemm_{key}"]) / now["operations"] for key in ("one", "many")}
    cells = [f"`{name}`", str(now["batch"]), f"{now['operations'] / 1e9:.3g}", str(now["threads"])]
    for key in ("one", "many"):
        cells.append(figure(roofs[key]))
        for version in versions.values():
            cells += [spread(version[key]), f"{statistics.median(version[key]) / roofs[key]:.0%}"]
    cells.append(f"{statistics.median(now['many']) / statistics.median(now['one']):.2f}")
    return "| " + " | ".join(cells) + " |"


def title(every: int, versions: list[str]) -> str:
    cells = ["recipe", "batch", "GFLOP/image", "threads"]
    for threads in (1, every):
        cells.append(f"roof, {threads} thr.")
        for version in versions:
            cells += [f"images/s{'' if len(versions) == 1 else ', ' + version}", "of roof"]
    cells.append("gain")
    return "| " + " | ".join(cells) + " |\n|" + "---|" * len(cells)


def spread(values: list[float]) -> str:
    return f"{figure(statistics.median(values))} ({figure(min(values))}–{figure(max(values))})"


def figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", default=",".join(RECIPES))
    parser.add_argument("--seconds", type=float, default=4.0, help="for each recipe, checkout and repeat")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--beside", type=Path)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        print(json.dumps(measure(asked.measure, asked.seconds)))
        return
    sources = {"before": asked.beside.resolve(), "now": HERE} if asked.beside else {"now": HERE}
    results: dict[str, dict[str, dict]] = {}
    for name in asked.recipes.split(","):
        runs = {version: [] for version in sources}
        for _ in range(asked.repeats):
            for version, source in sources.items():
                runs[version].append(in_process(name, source, asked.seconds))
        results[name] = {version: pooled(own) for version, own in runs.items()}
        if len(results) == 1:
            print(title(results[name]["now"]["all"], list(sources)))
        print(row(name, results[name]), flush=True)
        if asked.json:
            asked.json.write_text(json.dumps(results, indent=1) + "\n")
    every = [versions["now"] for versions in results.values()]
    for key, threads in (("gemm_one", 1), ("gemm_many", every[0]["all"])):
        rates = [rate / 1e9 for result in every for rate in result[key]]
        print(f"\nMatrix product, {threads} threads: {spread(rates)} GFLOP/s.")


if __name__ == "__main__":
    main()
