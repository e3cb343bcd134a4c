"""What gpu.py does in processes of their own: rounds of training, timed, or played by several ranks."""

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
from gpu_report import COMPARED
from safetensors.torch import load_file, save_file

from ganvas.config import TrainConfig, replace
from ganvas.data import Batches, ImageSet
from ganvas.networks import Shape
from ganvas.recipes import RECIPES
from ganvas.training import distributed, memory
from ganvas.training.state import Players

MEASURED: dict[str, tuple[tuple[int, int, int], dict[str, Any]]] = {
    "cnn-stable": ((1, 28, 28), {}),
    "dcgan": ((3, 64, 64), {}),
    "wgan-gp": ((3, 32, 32), {}),
    "transformer-modern": ((3, 32, 32), {}),
    "stylegan": ((3, 32, 32), {"growth": 1.0}),
    "r3gan": ((3, 32, 32), {}),
}
"""Recipe -> (channels, height and width of random pictures, knobs). The style GAN is measured fully grown."""

TINY_KNOBS: dict[str, dict[str, Any]] = {
    "cnn-stable": {"g_width": 4, "d_width": 4},
    "stylegan": {"width": 8, "latent": 8},
    "r3gan": {"width": 16, "blocks": 1, "microbatch": None},
}
"""What makes recipes small enough for --tiny, which measures no others."""


def measure(recipe: str, batch: int, seconds: float, device: torch.device, tiny: bool) -> dict[str, Any]:
    """images/s (median, least and most of five stretches) and peak memory, within so many seconds of this process."""
    (channels, height, width), knobs = MEASURED[recipe]
    knobs = {**knobs, **(TINY_KNOBS[recipe] if tiny else {})}
    if tiny:
        height = width = 8
    config = replace(RECIPES[recipe].config, batch=batch, conditional=False, balanced=False, **knobs)
    images = random_images(1024, channels, height, width)
    _, one_round = rounds(config, images, device)

    def timed(n: int) -> float:
        began = time.perf_counter()
        for _ in range(n):
            one_round()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - began

    timed(2)
    a_round = timed(1)
    stretch = max(0.0, seconds - (time.time() - psutil.Process().create_time()) - 2) / 5
    n = max(1, int(stretch / a_round))
    speeds = [config.a_round * n / timed(n) for _ in range(5 if n > 1 or tiny else 1)]
    return {
        "images_per_s": statistics.median(speeds),
        "least": min(speeds),
        "most": max(speeds),
        "rounds": n * len(speeds),
        "microbatch": config.optimisation.microbatch,
        "peak_bytes": memory.peak(device),
    }


def random_images(n: int, *shape: int) -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 256, (n, *shape), np.uint8)
    return ImageSet("random", pixels, None, (), "random")


def rounds(config: TrainConfig, images: ImageSet, device: torch.device) -> tuple[Players, Callable[[], None]]:
    """Untrained players, and a function that plays their next round, fed as `ganvas.train` feeds it."""
    torch.backends.cudnn.allow_tf32 = False  # as ganvas.train does
    players = Players.seat(config, Shape(images.channels, *images.resolution, 0), device)
    rank, world, batch = distributed.rank(), distributed.world(), config.optimisation.batch
    batches = Batches(images, batch=batch, seed=config.seed, rank=rank, world=world, device=device)
    shown = 0

    def one_round() -> None:
        nonlocal shown
        players.round([next(batches) for _ in range(config.balance.d_steps)], shown)
        shown += config.a_round

    return players, one_round


RANKS_ROUNDS, RANKS_BATCH = 3, 32
SAME = 1e-4
"""Gradients that differ by less than this part of the largest number in them count as the same."""

RANKED: dict[str, dict[str, Any]] = {
    "r3gan": {"width": 32, "blocks": 1, "microbatch": None, "r1": 1.0, "r2": 1.0},
    "cnn-stable": {"g_width": 16, "d_width": 16},
}


def rank(folder: Path, device: torch.device) -> None:
    """One of these processes: the gradients of its first round, and its weights after the last."""
    world = distributed.world()
    if world > 1:
        store = f"file://{folder.resolve()}/store"
        torch.distributed.init_process_group("gloo", init_method=store, rank=distributed.rank(), world_size=world)
    kept: dict[str, torch.Tensor] = {}
    gradients: list[torch.Tensor] = []
    mean = distributed.mean_gradients

    def remembered(network: torch.nn.Module) -> torch.Tensor:
        norm = mean(network)
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]).cpu())
        return norm

    distributed.mean_gradients = remembered
    for recipe, knobs in RANKED.items():
        config = replace(RECIPES[recipe].config, batch=RANKS_BATCH, **knobs)
        players, one_round = rounds(config, random_images(256, 3, 16, 16), device)
        gradients.clear()
        for _ in range(RANKS_ROUNDS):
            one_round()
        weights = [p.detach().flatten() for player in (players.game.G, players.game.D) for p in player.parameters()]
        kept |= {f"{recipe}/d_gradient": gradients[0], f"{recipe}/g_gradient": gradients[1]}
        kept |= {f"{recipe}/weights": torch.cat(weights).cpu()}
    save_file(kept, folder / f"{world}-{distributed.rank()}.safetensors")
    if world > 1:
        torch.distributed.destroy_process_group()


def compared(folder: Path) -> list[dict[str, Any]]:
    """What one process left in the folder against what two did: a row for each recipe."""
    one, first, second = (load_file(folder / f"{name}.safetensors") for name in ("1-0", "2-0", "2-1"))
    rows: list[dict[str, Any]] = []
    for recipe in RANKED:
        own = {name: tuple(side[f"{recipe}/{name}"] for side in (one, first, second)) for name in COMPARED}
        row: dict[str, Any] = {"recipe": recipe, "ranks_equal": all(torch.equal(b, c) for _, b, c in own.values())}
        for name, (a, b, _) in own.items():
            row[name] = {"apart": (a - b).abs().max().item(), "largest": a.abs().max().item()}
        gradients = [row[name] for name in COMPARED[:2]]
        same = all(own["largest"] > 0 and own["apart"] < SAME * own["largest"] for own in gradients)
        rows.append({**row, "same": same and row["ranks_equal"]})
    return rows


def main(what: str, *words: str) -> None:
    """measure DEVICE RECIPE BATCH SECONDS [tiny], or rank DEVICE FOLDER."""
    device = distributed.device(words[0])
    if what == "rank":
        rank(Path(words[1]), device)
    else:
        print(json.dumps(measure(words[1], int(words[2]), float(words[3]), device, "tiny" in words)))


if __name__ == "__main__":
    main(*sys.argv[1:])
