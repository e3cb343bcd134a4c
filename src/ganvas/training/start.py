"""From a configuration to a session: the data, the run folder, the processes."""

import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ganvas import interrupts
from ganvas.config import TrainConfig, replace, to_json
from ganvas.data import ImageSet, open_images
from ganvas.errors import GanvasError
from ganvas.networks import Shape
from ganvas.pytorch_state import default_state
from ganvas.runs import folder, log, snapshot
from ganvas.runs.folder import Run
from ganvas.threads import computing
from ganvas.training import distributed, memory
from ganvas.training.estimate import check_fits, described, estimate, threads, timed, trial
from ganvas.training.loop import Session, most_bytes
from ganvas.training.progress import Terminal
from ganvas.training.waiting import warning


@interrupts.interrupting()  # but while the session collects them
@default_state()
def train(
    config: TrainConfig,
    *,
    recipe: str = "custom",
    out: Path | str = "runs",
    name: str | None = None,
    new: bool = False,
    quiet: bool = False,
) -> Run:
    """Trains a GAN, or goes on with the run that this very call started before.

    Args:
        config: every knob.
        recipe: what the run is called after, together with its data.
        out: where runs are kept; the run gets a numbered folder in it.
        name: the folder's name in `out` instead; an existing run there goes on, if it is the same.
        new: start anew, even if the same run exists.
        quiet: print nothing.

    Returns:
        The run. Under torchrun every rank returns it.

    Raises:
        GanvasError: bad data or knobs, another run in the way, a full disk, or non-finite numbers.
        KeyboardInterrupt: Ctrl-C or SIGTERM came, and everything was saved before; a round that would have taken longer
            was given up. Also at a second Ctrl-C, at once: what was saved before is intact.
    """
    _check(config)
    device = distributed.device(config.habits.device)
    if device.type == "cpu":
        memory.keep()
    images = open_images(config.pictures.options(), progress=distributed.leads() and not quiet)
    shape = shape_of(images, config)
    terminal = Terminal(config.total, quiet=quiet or not distributed.leads(), critic=config.play.critic)
    with distributed.together(device):
        cost = estimate(config, shape, device)
        distributed.lead(lambda: check_fits(cost))
        data = {
            "name": images.name,
            "fingerprint": images.fingerprint,
            "images": len(images),
            "shape": shape._asdict(),
            "class_names": list(images.class_names),
        }
        n = config.habits.threads or threads(cost)
        run = distributed.lead(lambda: _find_or_create(Path(out), name, new, recipe, config, data, n))
        with ExitStack() as held, terminal:
            run = distributed.lead(lambda: _hold(run, config, n, held))
            held.enter_context(computing(run.threads or n))
            fresh = distributed.lead(lambda: not run.state.exists())
            speed = trial(cost, config, shape, device) if fresh else None
            told = described(cost, config, speed)
            slow = warning(cost, config, shape, speed) if speed and distributed.leads() else ""
            Session(run, config, images, shape, device, terminal).play(told, slow)
    if config.habits.evaluate_at_end and distributed.leads():
        _evaluated(run, str(device), quiet)
    return run


def _evaluated(run: Run, device: str, quiet: bool) -> None:
    """The numbers of the finished run; trouble with them is told, and leaves the run finished."""
    from rich.console import Console

    from ganvas.evaluation.evaluation import evaluate, write  # brings scikit-learn, which few trainings need
    from ganvas.evaluation.tables import rendered

    try:
        found = evaluate(run, device=device, progress=not quiet)
        write(found, run)
    except GanvasError as error:
        print(f"The run is complete; it could not be evaluated: {error}", file=sys.stderr)
        return
    if not quiet:
        Console(stderr=True).print(rendered(found))


def _check(config: TrainConfig) -> None:
    """Refuses what cannot be played before anything is decoded or written."""
    batch, world = config.optimisation.batch, distributed.world()
    least = 2 if getattr(config.network, "g_norm", "none") == "batch" else 1
    if batch % world or batch < least * world:
        raise GanvasError(
            f"A batch of {batch} cannot be shared equally by {world} processes.",
            expected=f"a multiple of {world}, at least {least * world}",
            fix=f"--batch {max(least, round(batch / world)) * world} would do.",
        )


@default_state()
def plan(config: TrainConfig, tell: Callable[[str], object] = lambda line: None) -> dict[str, Any]:
    """What `train` would do, without doing it: data, sizes, operations, memory, speed, every knob.

    Args:
        tell: is given data, sizes and speed in words, each as soon as it is known.

    Raises:
        GanvasError: what `train` would refuse at its start.
    """
    _check(config)
    device = distributed.device(config.habits.device)
    images = open_images(config.pictures.options())
    shape = shape_of(images, config)
    classes = f"{shape.classes} classes" if shape.classes else "classes not used"
    tell(f"{len(images):,} pictures of {images.name}, {shape.height}×{shape.width}×{shape.channels}, {classes}")
    cost = estimate(config, shape, device)
    check_fits(cost)
    tell(described(cost, config, None))
    with computing(config.habits.threads or threads(cost)):
        speed = trial(cost, config, shape, device)
    slow = warning(cost, config, shape, speed)
    tell("\n".join(filter(None, [timed(config, speed), slow])))
    return {
        "data": {"name": images.name, "images": len(images), **shape._asdict()},
        "parameters": {"G": cost.g_parameters, "D": cost.d_parameters},
        "flops_an_image": {"G": cost.g_flops, "D": cost.d_flops},
        "memory_bytes": {"needed": cost.memory, "free": cost.free, "images_at_a_time": cost.images},
        "disk_bytes": most_bytes(config, cost.g_parameters, cost.d_parameters),
        "images_per_s": speed,
        "seconds": config.total / speed,
        "warning": slow,
        "config": to_json(config),
    }


def shape_of(images: ImageSet, config: TrainConfig) -> Shape:
    """What the data tells the networks.

    Raises:
        GanvasError: the classes are to be learnt and there are not at least two.
    """
    if config.pictures.conditional and images.classes < 2:
        found = "one class" if images.classes else "no classes"
        raise GanvasError(
            f"--conditional was asked, but {images.name} has {found}.",
            expected="pictures of two classes or more",
            fix="put each class in a sub-folder of its own, or leave --conditional out.",
        )
    if config.pictures.balanced and not images.classes:
        raise GanvasError(f"--balanced was asked, but {images.name} has no classes.", fix="leave it out.")
    return Shape(images.channels, *images.resolution, images.classes if config.pictures.conditional else 0)


def _find_or_create(
    out: Path, name: str | None, new: bool, recipe: str, config: TrainConfig, data: dict[str, Any], threads: int
) -> Run:
    fingerprint = data["fingerprint"]
    if name is not None and (out / name / "config.json").exists():
        if new:
            raise GanvasError(f"{out / name} exists already.", fix="choose another --name, or leave --new out.")
        run = Run(out / name)
        folder.check_same(run, config, fingerprint)
        return run
    if name is None and not new:
        for run in folder.runs(out):
            if folder.same(run, config, fingerprint):
                return run
    return folder.create(out, name, recipe, config, data, snapshot.versions(), threads)


def _hold(run: Run, config: TrainConfig, threads: int, held: ExitStack) -> Run:
    """The run, held for this process; its card knows if it is to be longer than it was, or on as many threads."""
    held.enter_context(folder.only_one(run))
    card = run.card
    if config.kimg > run.config.kimg:
        log.event(run.path, "longer", round(run.config.kimg * 1000), kimg=config.kimg)
        card = card | {"config": to_json(replace(run.config, kimg=config.kimg))}
    if run.threads is None or config.habits.threads:
        card = card | {"threads": threads}
    return run if card == run.card else folder.write_card(run, card)
