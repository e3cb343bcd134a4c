"""What a run says at its start: notes about its data and configuration, its sizes and its cost; and at its end."""

import os
import shlex
import subprocess
from pathlib import Path

from ganvas import networks, user_code
from ganvas.config import TrainConfig
from ganvas.data import ImageSet
from ganvas.data.imageset import count_smaller
from ganvas.recipes import describe_preset, suggest_preset
from ganvas.runs.folder import Run
from ganvas.training import distributed, precision
from ganvas.training.estimate import max_disk_bytes
from ganvas.training.state import TrainState

MAX_SKIPPED = 10
"""Files that could not be read and are listed, at most."""


def describe(
    run: Run,
    config: TrainConfig,
    images: ImageSet,
    state: TrainState,
    cost: str,
    length: str,
    resumed_at: int | None,
) -> str:
    """The announcement of a run, with its length in words; of one that is resumed, with the images shown so far."""
    g, d = (networks.count_parameters(network) for network in (state.game.G, state.game.D))
    (h, w), classes = images.resolution, state.game.G.shape.classes
    preset, recipe = "", run.metadata["recipe"]
    if state.device.type == "cpu":
        preset = describe_preset(recipe, run.config) or (suggest_preset(recipe, config) if resumed_at is None else "")
    lines = [f"Note: {note}" for note in (preset, *images.notes, *config.warnings()) if note]
    if small := count_smaller(images.metadata.get("sizes", {}), images.resolution):
        lines.append(f"Note: Images smaller than {h}x{w}, which are enlarged: {small:,}; --resolution changes this.")
    lines += [f"Skipped {file}: {reason}" for file, reason in images.skipped[:MAX_SKIPPED]]
    if len(images.skipped) > MAX_SKIPPED:
        lines.append(f"… and {len(images.skipped) - MAX_SKIPPED} more; ganvas data lists them all.")
    start = "Training" if resumed_at is None else f"Resuming from {resumed_at / 1000:g} kimg:"
    mirrored = " mirrored at random," if config.dataset.mirror else ""
    kind = precision.describe(state.precision)
    processes = f" × {distributed.world_size()} processes" if distributed.world_size() > 1 else ""
    film = ", and their film" if config.runtime.plot else ""
    grids = 1 + round(config.total_images / config.snapshot_every())
    disk = max_disk_bytes(config, g, d) / 1e6
    lines += [
        f"{start} {run}",
        f"  {len(images):,} images of {images.name}, {h}×{w}×{images.channels},{mirrored} "
        f"{f'{classes} classes' if classes else 'classes not used'}",
        cost,
        f"  {user_code.title(config.loss.objective)}; {length} on {state.device}{processes}{kind}",
        f"  at most {disk:,.0f} MB on disk, and the grids (fakes*.png, at most {grids}){film}",
    ]
    return "\n".join(lines)


def describe_results(run: Run, fakes: Path) -> str:
    """What a training has made, and the commands that follow it, ready to be copied into a shell."""
    path = str(run) if not str(run).startswith("-") else os.path.join(os.curdir, str(run))
    quoted = subprocess.list2cmdline([path]) if os.name == "nt" else shlex.quote(path)
    lines = {
        "Generated images": fakes,
        **({"Their film": run.film} if run.film else {}),
        "More images": f"ganvas sample {quoted}",
        "How good they are": f"ganvas evaluate {quoted}",
        "What goes wrong": f"ganvas diagnose {quoted}",
    }
    return "\n".join(f"  {name + ':':19} {text}" for name, text in lines.items())
