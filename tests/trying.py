"""A configuration that trains in a blink, and the command line in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

from ganvas.config import CNN, MLP, Habits, Optimisation, Pictures, Play, TrainConfig


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
