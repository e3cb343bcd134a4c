"""What every test shares: a cache and a working folder of its own, tiny pictures, a tiny run."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ganvas.config import CNN, MLP, Habits, Optimisation, Pictures, Play, TrainConfig


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def pictures(tmp_path: Path) -> Callable[..., Path]:
    """Writes n random pictures as an .npz and returns its path."""

    def write(n: int = 40, height: int = 16, width: int = 16, channels: int = 1, classes: int = 0) -> Path:
        random = np.random.default_rng(0)
        arrays = {"images": random.integers(0, 256, (n, height, width, channels), np.uint8)}
        if classes:
            arrays["labels"] = np.arange(n) % classes
        path = tmp_path / f"pictures-{height}x{width}x{channels}.npz"
        np.savez(path, **arrays)
        return path

    return write


def tiny(data: Path | str = "digits", *, family: str = "mlp", kimg: float = 0.2, **play: object) -> TrainConfig:
    """A configuration that trains in a blink: batches of 20, two snapshots."""
    networks = {
        "mlp": MLP(latent=6, g_widths=(8, 8), d_widths=(8,), g_norm="none"),
        "cnn": CNN(latent=6, g_width=4, d_width=4),
    }
    return TrainConfig(
        kimg=kimg,
        pictures=Pictures(data=str(data)),
        network=networks[family],
        play=Play(**{"r1": 0.1, "r2": 0.1, **play}),  # type: ignore[arg-type]
        optimisation=Optimisation(batch=20, g_lr="1e-3..1e-4:cosine", d_lr=1e-3, ema=0.1),
        habits=Habits(tick_kimg=0.04, snapshot_kimg=0.1, plot=False, device="cpu"),
    )


def ganvas(*arguments: object, check: int | None = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the command line in a process of its own; asserts its exit status unless `check` is None."""
    done = subprocess.run(
        [sys.executable, "-m", "ganvas", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **environment},
    )
    assert check is None or done.returncode == check, done.stderr
    return done
