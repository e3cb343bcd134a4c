"""What a run says at its start: notes about its data and configuration, its sizes and its cost; and where it ends."""

import math
import os
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from ganvas import networks, user_code
from ganvas.config import TrainConfig
from ganvas.config.custom import describe_incomplete_groups, images_per_group
from ganvas.data import ImageSet
from ganvas.data.imageset import count_smaller
from ganvas.data.inspection import describe_few
from ganvas.errors import GanvasError
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
    """The announcement of a run, with its length in words; of one that is resumed, with the images shown so far.

    Args:
        config: what trains; of a run by time with the planned length, where that of `run` has the time.
    """
    g, d = (networks.count_parameters(network) for network in (state.game.G, state.game.D))
    (h, w), classes = images.resolution, state.game.G.shape.classes
    preset, recipe = "", run.metadata["recipe"]
    if state.device.type == "cpu":
        preset = describe_preset(recipe, run.config) or (
            suggest_preset(recipe, run.config) if resumed_at is None else ""
        )
    shared = notes_on_processes(config, distributed.world_size())
    few = describe_few(len(images))
    lines = [f"Note: {note}" for note in (preset, *images.notes, few, *config.warnings(), *shared) if note]
    told = any("enlarged" in note for note in images.notes)  # where the size was chosen
    sizes, fit = images.metadata.get("sizes", {}), config.dataset.fit
    if not told and (small := count_smaller(sizes, images.resolution, fit)):
        lines.append(f"Note: Images smaller than {h}x{w}, which are enlarged: {small:,}; --resolution changes this.")
    lines += [f"Skipped {file}: {reason}" for file, reason in images.skipped[:MAX_SKIPPED]]
    if len(images.skipped) > MAX_SKIPPED:
        lines.append(f"… and {len(images.skipped) - MAX_SKIPPED} more; ganvas data lists them all.")
    start = "Training" if resumed_at is None else f"Resuming from {resumed_at / 1000:g} kimg:"
    mirrored = " mirrored at random," if config.dataset.mirror else ""
    kind = precision.describe(state.precision)
    processes = f" × {distributed.world_size()} processes" if distributed.world_size() > 1 else ""
    film = ", and their film" if config.runtime.plot else ""
    most = "at most" if run.config.minutes is None else "about"  # its speed may change
    rounds = math.ceil(config.total_images / config.images_per_round)
    grids = 1 + math.ceil(rounds * config.images_per_round / config.snapshot_every())
    disk = max_disk_bytes(config, g, d) / 1e6
    lines += [
        f"{start} {run}",
        f"  {len(images):,} image{'s' * (len(images) != 1)} of {images.name}, {h}×{w}×{images.channels},{mirrored} "
        f"{f'{classes} classes' if classes else 'classes not used'}",
        cost,
        f"  {user_code.title(config.loss.objective)}; {length} on {state.device}{processes}{kind}",
        f"  at most {disk:,.0f} MB on disk, and the grids (fakes*.png, {most} {grids}){film}",
    ]
    return "\n".join(lines)


def notes_on_processes(config: TrainConfig, processes: int) -> Iterator[str]:
    """What of a batch that several processes share is computed over the share of each alone; what they cannot do."""
    share, group = config.optimisation.batch // processes, images_per_group(config.network)
    if processes > 1 and config.loss.objective == "rahinge":
        yield f"the rahinge objective compares with the mean over {share} images, the share of each process."
    if processes > 1 and share % group and not config.optimisation.batch % group:
        yield describe_incomplete_groups(f"{share} images on each process are", group)
    if processes > 1 and config.runtime.on_failure == "rollback":
        yield "numbers that are not finite end the training: several processes do not go back from them."


def quote(run: Run) -> str:
    """The path of a run, ready to be copied into a command in a shell."""
    path = str(run) if not str(run).startswith("-") else os.path.join(os.curdir, str(run))
    return subprocess.list2cmdline([path]) if os.name == "nt" else shlex.quote(path)


def describe_results(run: Run, fakes: Path, *, stopped: bool = False) -> str:
    """What a training has made, and the commands that follow it, ready to be copied into a shell.

    Args:
        fakes: the newest grid; a training that is stopped in haste draws none.
        stopped: before its end: one of the commands resumes it.
    """
    quoted = quote(run)
    resumes = stopped and distributed.world_size() == 1  # else the command that started the processes does
    lines = {
        **({"To resume": f"ganvas train {quoted}"} if resumes else {}),
        **({"Generated images": fakes} if fakes.exists() else {}),
        **({"Their film": run.film} if run.film else {}),
        "More images": f"ganvas sample {quoted}",
        "How good they are": f"ganvas evaluate {quoted}",
        "What goes wrong": f"ganvas diagnose {quoted}",
    }
    return "\n".join(f"  {name + ':':19} {text}" for name, text in lines.items())


def explain_non_finite(run: Run, nimg: int, names: Sequence[str], saved: str) -> GanvasError:
    """The error of a run that numbers end which are not finite.

    Args:
        nimg: where they came.
        names: the quantities, as in stats.jsonl: D/loss.
        saved: what is known of the state on disk, in words.
    """
    network, quantity = names[0].split("/")
    if "D/fake" in names and "D/real" not in names:  # D is sound: it is G that has given such images
        network, quantity = "G", "output"
    return GanvasError(
        f"The {quantity} of {network} is no longer a finite number, at {nimg / 1000:g} kimg "
        f"(first in {', '.join(names)}); {run} stopped, and {saved}.",
        expected="finite losses and gradients",
        fix=f"ganvas diagnose {quote(run)} says what went wrong; start a run with a smaller --{network.lower()}-lr, or "
        "with gradient penalties (--r1 --r2).",
    )
