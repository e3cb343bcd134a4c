"""What cases start from: small images, a log, networks of one's own, and two runs of a fraction of a second.

Every case copies what it needs, so that none sees what another has damaged.
"""

import multiprocessing
import os
import shutil
from pathlib import Path

from isolation import PRELOADED

NETWORKS = '''"""A generator and a discriminator of one's own."""

import math

import torch
from torch import nn


class Generator(nn.Module):
    def __init__(self, latent, shape, width=8):
        super().__init__()
        self.size = shape.channels, shape.height, shape.width
        self.layers = nn.Sequential(nn.Linear(latent, width), nn.ReLU(), nn.Linear(width, math.prod(self.size)))

    def forward(self, z):
        return torch.tanh(self.layers(z)).unflatten(1, self.size)


class Discriminator(nn.Module):
    def __init__(self, shape, width=8):
        super().__init__()
        n = shape.channels * shape.height * shape.width
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(n, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, images):
        return self.layers(images)
'''


TRACKER = '''"""A tracker of one's own, which keeps nothing."""


class Silent:
    rewinds = False

    def open(self, facts, id, after):
        return ("silent", "nowhere", "nothing shows it.")

    def ignore(self, *arguments):
        pass

    log_numbers = log_image = log_notes = log_evaluation = save = close = ignore
'''


def prepare(folder: Path) -> None:
    """Makes the folder, in a process of its own: what its libraries keep does not count as memory of a case."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=_prepare, args=(folder,))
    process.start()
    process.join()
    assert process.exitcode == 0, "what the cases start from could not be made"


def _prepare(folder: Path) -> None:
    folder.mkdir(parents=True)
    os.chdir(folder)
    os.environ.update(GANVAS_CACHE=str(folder / "cache"))

    import numpy as np
    import torch
    from PIL import Image

    from ganvas.config import (
        DatasetConfig,
        LossConfig,
        OptimisationConfig,
        RuntimeConfig,
        TrainConfig,
    )  # fmt: skip
    from ganvas.config.families import MLP
    from ganvas.evaluation import evaluation
    from ganvas.training import start

    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    np.savez("images.npz", images=random.integers(0, 256, (40, 8, 8, 1), np.uint8), labels=np.arange(40) % 2)
    Path("photos").mkdir()
    for number in range(4):
        rows = np.linspace(0, 255, 24)[:, None, None] * np.ones((24, 20, 3)) + random.normal(0, 30, (24, 20, 3))
        Image.fromarray(rows.clip(0, 255).astype(np.uint8)).save(f"photos/photo{number}.png")
    shutil.copy("photos/photo0.png", "photo.png")
    shutil.copy("photos/photo1.png", "painting.png")
    Path("nets.py").write_text(NETWORKS)
    Path("trackers.py").write_text(TRACKER)
    Path("losses.csv").write_text("step,d_loss,g_loss\n" + "".join(f"{i},{1 + i % 3 / 9:.3f},0.7\n" for i in range(40)))
    config = TrainConfig(
        kimg=0.2,
        dataset=DatasetConfig(data="images.npz", conditional=True),
        network=MLP(latent=6, g_widths=(8, 8), d_widths=(8,), g_norm="none"),
        loss=LossConfig(r1=0.1, r2=0.1),
        optimisation=OptimisationConfig(batch=20, ema=0.1),
        runtime=RuntimeConfig(tick_kimg=0.02, snapshot_kimg=0.1, keep_kimg=1, threads=1),
    )
    run = start.train(config, name="run", out=folder, quiet=True)
    shutil.copytree(run.latest_snapshot, run.path / "snapshots" / "best")  # so short a run has measured none
    evaluation.save_evaluation(evaluation.evaluate(run, count=40, quick=True, quiet=True), run, None)
    other = TrainConfig(
        kimg=0.1, dataset=DatasetConfig(data="images.npz"), network=config.network, loss=config.loss, seed=1,
        optimisation=config.optimisation,
        runtime=RuntimeConfig(tick_kimg=0.02, plot=False, threads=1, on_failure="rollback"),
    )  # fmt: skip
    start.train(other, name="other", out=folder, quiet=True)


def copy_all(prepared: Path) -> None:
    """Copies everything into the working folder."""
    shutil.copytree(prepared, ".", symlinks=True, dirs_exist_ok=True)
