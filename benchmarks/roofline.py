"""Compares the training speed of each recipe with the machine's roofline.

The roofline of a recipe is the rate of a float32 matrix product (2048×2048 by 2048×2048, the fastest measured next to
the recipe) divided by the operations of a training round for each image: matrix products, convolutions and attention,
forward, backward and double backward. Norms, activations, resampling and the optimiser are not counted. The zero
padding of convolutions is counted although it is not multiplied, so small feature maps can exceed 100 %.

The rounds train on random images of the size of the recipe's usual data, with fully grown networks and the batch of the
trial that precedes a run. Each recipe runs in its own process. One thread and all threads, matrix product and rounds
alternate, so that drift of the machine's speed affects all alike.

    python benchmarks/roofline.py [--recipes a,b] [--seconds 4] [--repeats 1] [--json FILE] [--beside OTHER/src]

--beside takes the `src` folder of another checkout, such as one of an earlier commit. It is measured as "before", its
processes alternating with those of this checkout; the roofline is that of this checkout.
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
from ganvas.training.choices import choose_networks
from ganvas.training.state import TrainState

SOURCE = Path(__file__).resolve().parent.parent / "src"
USUAL_SHAPES = {"digits": (1, 8, 8), "mnist": (1, 28, 28), "cifar10": (3, 32, 32), "celeba": (3, 64, 64)}
"""Channels, height and width of the recipes' default data sets."""

MATRIX_SIDE = 2048
"""Rows and columns of the matrices."""

MIN_SECONDS = 0.2
"""Minimum duration of each measurement of consecutive rounds, in seconds."""


def measure(name: str, seconds: float) -> dict:
    """Measures a recipe in this process: images/s and matrix-product operations/s, with 1 thread and with all."""
    memory.keep_freed_memory()
    config = RECIPES[name].config
    shape = Shape(*USUAL_SHAPES[config.dataset.data], 10 if config.dataset.conditional else 0)
    device, all_threads = torch.device("cpu"), torch.get_num_threads()
    config, _ = choose_networks(config, shape, device)
    cost = estimate.estimate_cost(config, shape, device)
    chosen = estimate.choose_threads(cost)
    config = replace(config, batch=trial_batch(config, cost))
    operations = estimate.round_flops(config, shape)
    one_round = build_round(config, shape, device)
    rounds = config.loss.penalty_every  # so that each measurement has its share of gradient penalties
    speeds, products = {1: [], all_threads: []}, {1: [], all_threads: []}
    for threads in speeds:
        torch.set_num_threads(threads)
        repeat(one_round, rounds)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(speeds[1]) < 3:
        for threads in speeds:
            torch.set_num_threads(threads)
            products[threads].append(2 * MATRIX_SIDE**3 / time_matmul())
            done, start = 0, time.perf_counter()
            while (taken := time.perf_counter() - start) < MIN_SECONDS or not done:
                repeat(one_round, rounds)
                done += rounds
            speeds[threads].append(done * config.images_per_round / taken)
    return {
        "operations": operations, "batch": config.optimisation.batch, "threads": chosen, "all": all_threads,
        "one": speeds[1], "many": speeds[all_threads], "gemm_one": products[1], "gemm_many": products[all_threads],
    }  # fmt: skip


def trial_batch(config: TrainConfig, cost: estimate.CostEstimate) -> int:
    """The batch of a trial."""
    flops = estimate.PASSES_PER_ROUND * config.balance.d_steps * (cost.g_flops + cost.d_flops)
    return min(config.optimisation.batch, max(2, round(estimate.TRIAL_FLOPS / flops)))


def build_round(config: TrainConfig, shape: Shape, device: torch.device) -> Callable[[], None]:
    """A function that runs one training round on random images, as at the end of a run with fully grown networks."""
    state, n = TrainState.build(config, shape, device), config.optimisation.batch
    images = torch.randint(0, 256, (n, *shape[:3]), dtype=torch.uint8)
    labels = torch.zeros(n, dtype=torch.long) if shape.classes else None
    batches = [(images, labels)] * config.balance.d_steps
    total = 0 if config.kimg is None else config.total_images
    nimg = total // config.images_per_round * config.images_per_round

    def one_round() -> None:
        nonlocal nimg
        state.train_round(batches, nimg)
        nimg += config.images_per_round

    return one_round


def repeat(one_round: Callable[[], None], times: int) -> None:
    for _ in range(times):
        one_round()


def time_matmul() -> float:
    """Median duration of three matrix products, in seconds."""
    a, taken = torch.randn(MATRIX_SIDE, MATRIX_SIDE), []
    for _ in range(3):
        start = time.perf_counter()
        torch.mm(a, a)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def measure_in_process(name: str, source: Path, seconds: float) -> dict:
    command = [sys.executable, __file__, "--measure", name, "--seconds", str(seconds)]
    environment = {**os.environ, "PYTHONPATH": str(source)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def pool(runs: list[dict]) -> dict:
    """Concatenates the measurements of several processes."""
    lists = {key: [value for run in runs for value in run[key]] for key in runs[0] if isinstance(runs[0][key], list)}
    return {**runs[0], **lists}


def format_row(name: str, versions: dict[str, dict]) -> str:
    now = versions["now"]
    rooflines = {key: max(now[f"gemm_{key}"]) / now["operations"] for key in ("one", "many")}
    cells = [f"`{name}`", str(now["batch"]), f"{now['operations'] / 1e9:.3g}", str(now["threads"])]
    for key in ("one", "many"):
        cells.append(format_number(rooflines[key]))
        for version in versions.values():
            cells += [format_spread(version[key]), f"{statistics.median(version[key]) / rooflines[key]:.0%}"]
    cells.append(f"{statistics.median(now['many']) / statistics.median(now['one']):.2f}")
    return "| " + " | ".join(cells) + " |"


def format_header(threads_in_all: int, versions: list[str]) -> str:
    cells = ["recipe", "batch", "GFLOP/image", "threads"]
    for threads in (1, threads_in_all):
        cells.append(f"roofline, {threads} thr.")
        for version in versions:
            cells += [f"images/s{'' if len(versions) == 1 else ', ' + version}", "of roofline"]
    cells.append("speed-up")
    return "| " + " | ".join(cells) + " |\n|" + "---|" * len(cells)


def format_spread(values: list[float]) -> str:
    return f"{format_number(statistics.median(values))} ({format_number(min(values))}–{format_number(max(values))})"


def format_number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", default=",".join(RECIPES))
    parser.add_argument("--seconds", type=float, default=4.0, help="for each recipe, checkout and repeat")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--beside", type=Path)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, arguments.seconds)))
        return
    sources = {"before": arguments.beside.resolve(), "now": SOURCE} if arguments.beside else {"now": SOURCE}
    results: dict[str, dict[str, dict]] = {}
    for name in arguments.recipes.split(","):
        runs = {version: [] for version in sources}
        for _ in range(arguments.repeats):
            for version, source in sources.items():
                runs[version].append(measure_in_process(name, source, arguments.seconds))
        results[name] = {version: pool(processes) for version, processes in runs.items()}
        if len(results) == 1:
            print(format_header(results[name]["now"]["all"], list(sources)))
        print(format_row(name, results[name]), flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    current = [versions["now"] for versions in results.values()]
    for key, threads in (("gemm_one", 1), ("gemm_many", current[0]["all"])):
        rates = [rate / 1e9 for result in current for rate in result[key]]
        print(f"\nMatrix product, {threads} threads: {format_spread(rates)} GFLOP/s.")


if __name__ == "__main__":
    main()
