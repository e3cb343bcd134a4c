"""The parts of gpu.py that run in separate processes: ceilings, timing and profiling rounds, several ranks."""

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from gpu_report import COMPARED_TENSORS
from safetensors.torch import load_file, save_file

from ganvas import devices
from ganvas.config import TrainConfig, replace
from ganvas.data import Batches, ImageSet
from ganvas.networks import Shape
from ganvas.pytorch_state import default_state
from ganvas.recipes import RECIPES
from ganvas.training import distributed, memory, precision
from ganvas.training.estimate import BACKWARD_OVERHEAD, estimate_cost, round_flops
from ganvas.training.state import TrainState

MEASURED_RECIPES: dict[str, tuple[tuple[int, int, int], dict[str, Any]]] = {
    "cnn-stable": ((1, 28, 28), {}),
    "dcgan": ((3, 64, 64), {}),
    "wgan-gp": ((3, 32, 32), {}),
    "transformer-modern": ((3, 32, 32), {}),
    "stylegan": ((3, 32, 32), {"growth": 1.0}),
    "r3gan-short": ((3, 32, 32), {}),
    "fast": ((3, 64, 64), {"g_width": 64}),
}
"""Recipe -> (channels, height and width of random images; overrides). The style GAN is measured fully grown."""

MODES: dict[str, dict[str, Any]] = {
    "fp32": {"precision": "fp32", "compile": "off"},
    "tf32": {"precision": "tf32", "compile": "off"},
    "bf16": {"precision": "bf16", "compile": "off"},
    "bf16, compiled": {"precision": "bf16", "compile": "on"},
}
"""How rounds are measured: name -> knobs."""

CEILING_DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}

TINY_OVERRIDES: dict[str, dict[str, Any]] = {
    "cnn-stable": {"g_width": 4, "d_width": 4},
    "stylegan": {"width": 8, "latent": 8},
    "r3gan-short": {"width": 16, "blocks": 1, "microbatch": None},
    "fast": {"g_width": 4, "d_width": 8, "pixel_width": 4, "features_net": "eye"},
}
"""Overrides that make recipes small enough for --tiny, which measures only these."""


def configure(recipe: str, batch: int, mode: str, tiny: bool) -> tuple[TrainConfig, ImageSet]:
    """The configuration of a measured recipe, and random images for it."""
    (channels, height, width), knobs = MEASURED_RECIPES[recipe]
    knobs = {**knobs, **MODES[mode], **(TINY_OVERRIDES[recipe] if tiny else {})}
    if tiny:
        height = width = 8
    config = replace(RECIPES[recipe].config, batch=batch, conditional=False, balanced=False, **knobs)
    return config, random_images(1024, channels, height, width)


def measure(recipe: str, batch: int, mode: str, seconds: float, device: torch.device, tiny: bool) -> dict[str, Any]:
    """images/s (median, min and max of five measurements) and peak memory, within so many seconds of this process.

    With them what an image costs: floating-point operations of the updates, and the bytes that an update of the larger
    graph writes and reads again, once each.
    """
    config, images = configure(recipe, batch, mode, tiny)
    shape = Shape(images.channels, *images.resolution, 0)
    cost = estimate_cost(config, shape, device)
    flops = round_flops(config, shape)
    notes: list[str] = []
    _, one_round = build_round(config, images, device, notes.append)

    def timed(n: int) -> float:
        start = time.perf_counter()
        for _ in range(n):
            one_round()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - start

    warm_up = timed(config.loss.penalty_every + 1)  # compiles rounds with penalties and without
    round_seconds = timed(1)
    duration = max(0.0, seconds - (time.time() - psutil.Process().create_time()) - 2) / 5
    n = max(1, int(duration / round_seconds))
    speeds = [config.images_per_round * n / timed(n) for _ in range(5 if n > 1 or tiny else 1)]
    return {
        "images_per_s": statistics.median(speeds),
        "min": min(speeds),
        "max": max(speeds),
        "rounds": n * len(speeds),
        "microbatch": config.optimisation.microbatch,
        "warm_up_seconds": warm_up,
        "flops_per_image": flops,
        "bytes_per_image": 2 * cost.bytes_per_image / BACKWARD_OVERHEAD,
        "notes": notes,
        "peak_bytes": memory.peak_bytes(device),
    }


def measure_ceilings(device: torch.device, tiny: bool) -> list[dict[str, Any]]:
    """TFLOP/s of a large matrix product in each precision, and GB/s of a large copy, reads and writes counted."""
    n, rows = (256 if tiny else 8192), list[dict[str, Any]]()
    for name, dtype in CEILING_DTYPES.items():
        a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
        with precision.arithmetic(name):
            rows.append({"ceiling": name, "unit": "TFLOP/s", "value": 2 * n**3 / _median_seconds(a.matmul, b) / 1e12})
    source = torch.randn(2**20 if tiny else 2**28, device=device)
    target = torch.empty_like(source)
    rate = 2 * source.nbytes / _median_seconds(target.copy_, source) / 1e9
    return [*rows, {"ceiling": "copy", "unit": "GB/s", "value": rate}]


def _median_seconds(function: Callable[[torch.Tensor], object], argument: torch.Tensor) -> float:
    """Seconds of a call: the median of twenty, each waited for, after three others."""
    times = []
    for _ in range(23):
        devices.synchronize(argument.device)
        start = time.perf_counter()
        function(argument)
        devices.synchronize(argument.device)
        times.append(time.perf_counter() - start)
    return statistics.median(times[3:])


def profile(recipe: str, batch: int, mode: str, device: torch.device, tiny: bool) -> list[dict[str, Any]]:
    """The ten kinds of operation that take the most time of the device in a few rounds, with their shares."""
    from torch.profiler import ProfilerActivity, profile

    config, images = configure(recipe, batch, mode, tiny)
    _, one_round = build_round(config, images, device)
    for _ in range(3):
        one_round()
    on_gpu = device.type == "cuda"
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]) as recorded:
        for _ in range(3):
            one_round()
        devices.synchronize(device)
    entries = recorded.key_averages()
    seconds = {e.key: (e.self_device_time_total if on_gpu else e.self_cpu_time_total) / 1e6 for e in entries}
    calls = {e.key: e.count for e in entries}
    total = sum(seconds.values())
    slowest = sorted(seconds, key=seconds.__getitem__, reverse=True)[:10]
    return [{"operation": key, "share": seconds[key] / total, "calls": calls[key]} for key in slowest]


def random_images(n: int, *shape: int) -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 256, (n, *shape), np.uint8)
    return ImageSet("random", pixels, None, (), "random")


def build_round(
    config: TrainConfig, images: ImageSet, device: torch.device, report: Callable[[str], object] = print
) -> tuple[TrainState, Callable[[], None]]:
    """A state with untrained networks, and a function that runs its next round on batches as in `ganvas.train`."""
    state = TrainState.build(config, Shape(images.channels, *images.resolution, 0), device)
    if config.runtime.compile == "on":
        state.compile(report)
    rank, world, batch = distributed.rank(), distributed.world_size(), config.optimisation.batch
    batches = Batches(images, batch=batch, seed=config.seed, rank=rank, world=world, device=device)
    nimg = 0

    def one_round() -> None:
        nonlocal nimg
        state.train_round([next(batches) for _ in range(config.balance.d_steps)], nimg)
        nimg += config.images_per_round

    return state, one_round


RANKS_ROUNDS, RANKS_BATCH = 3, 32
TOLERANCE = 1e-4
"""Gradients count as the same if they differ by less than this fraction of their largest value."""

RANK_RECIPES: dict[str, dict[str, Any]] = {
    "r3gan-short": {"width": 32, "blocks": 1, "microbatch": None, "r1": 1.0, "r2": 1.0},
    "cnn-stable": {"g_width": 16, "d_width": 16},
}


def run_rank(folder: Path, device: torch.device) -> None:
    """Runs one rank; saves the gradients of its first round and the weights after its last."""
    world = distributed.world_size()
    if world > 1:
        store = f"file://{folder.resolve()}/store"
        torch.distributed.init_process_group("gloo", init_method=store, rank=distributed.rank(), world_size=world)
    saved: dict[str, torch.Tensor] = {}
    gradients: list[torch.Tensor] = []
    original = distributed.average_gradients

    def recording(network: torch.nn.Module) -> torch.Tensor:
        norm = original(network)
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]).cpu())
        return norm

    distributed.average_gradients = recording
    for recipe, knobs in RANK_RECIPES.items():
        config = replace(RECIPES[recipe].config, batch=RANKS_BATCH, **knobs)
        state, one_round = build_round(config, random_images(256, 3, 16, 16), device)
        gradients.clear()
        for _ in range(RANKS_ROUNDS):
            one_round()
        weights = [p.detach().flatten() for network in (state.game.G, state.game.D) for p in network.parameters()]
        saved |= {f"{recipe}/d_gradient": gradients[0], f"{recipe}/g_gradient": gradients[1]}
        saved |= {f"{recipe}/weights": torch.cat(weights).cpu()}
    save_file(saved, folder / f"{world}-{distributed.rank()}.safetensors")
    if world > 1:
        torch.distributed.destroy_process_group()


def compare_ranks(folder: Path) -> list[dict[str, Any]]:
    """Compares what one process saved in the folder with what two saved: a row for each recipe."""
    one, first, second = (load_file(folder / f"{name}.safetensors") for name in ("1-0", "2-0", "2-1"))
    rows: list[dict[str, Any]] = []
    for recipe in RANK_RECIPES:
        own = {name: tuple(side[f"{recipe}/{name}"] for side in (one, first, second)) for name in COMPARED_TENSORS}
        row: dict[str, Any] = {"recipe": recipe, "ranks_equal": all(torch.equal(b, c) for _, b, c in own.values())}
        for name, (a, b, _) in own.items():
            row[name] = {"max_difference": (a - b).abs().max().item(), "max_value": a.abs().max().item()}
        gradients = [row[name] for name in COMPARED_TENSORS[:2]]
        same = all(own["max_value"] > 0 and own["max_difference"] < TOLERANCE * own["max_value"] for own in gradients)
        rows.append({**row, "same": same and row["ranks_equal"]})
    return rows


def main(task: str, *words: str) -> None:
    """measure|profile DEVICE RECIPE BATCH MODE SECONDS [tiny], ceilings DEVICE [tiny], or rank DEVICE FOLDER."""
    device, tiny = distributed.local_device(words[0]), "tiny" in words
    with default_state():  # as in ganvas.train
        if task == "rank":
            run_rank(Path(words[1]), device)
        elif task == "ceilings":
            print(json.dumps(measure_ceilings(device, tiny)))
        elif task == "profile":
            print(json.dumps(profile(words[1], int(words[2]), words[3], device, tiny)))
        else:
            print(json.dumps(measure(words[1], int(words[2]), words[3], float(words[4]), device, tiny)))


if __name__ == "__main__":
    main(*sys.argv[1:])
