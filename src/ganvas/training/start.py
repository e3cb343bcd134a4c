"""Starts a training from a configuration: opens the data, finds or creates the run folder, joins the processes."""

import dataclasses
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ganvas import devices, environment, interrupts, user_code
from ganvas.config import TrainConfig, leaves, replace, to_json
from ganvas.config.conflicts import has_single_images
from ganvas.config.custom import features_net_of, is_batch_normed
from ganvas.data import ImageSet, open_images
from ganvas.errors import GanvasError, describe_value
from ganvas.features.frozen import load_frozen, resolve_frozen
from ganvas.files import to_path
from ganvas.game.objectives import get_objective
from ganvas.networks import Shape
from ganvas.pytorch_state import default_state
from ganvas.recipes import describe_preset, suggest_preset
from ganvas.runs import folder, log, snapshot, state_metadata
from ganvas.runs.folder import Run
from ganvas.runs.listeners import Listener, Listeners, check_listeners
from ganvas.runs.lock import lock_run
from ganvas.threads import cpu_threads
from ganvas.training import choices, device_errors, distributed, memory, planning, precision, transfer
from ganvas.training.estimate import (
    check_memory,
    choose_threads,
    estimate_cost,
    format_cost,
    format_speed,
    max_disk_bytes,
    measure_speed,
    play_every_kind_of_round,
)
from ganvas.training.loop import Session
from ganvas.training.planning import Plan, Planner
from ganvas.training.progress import ProgressReporter
from ganvas.training.speed_check import format_speed_warning
from ganvas.values import real_path, to_flag, to_text
from ganvas.version import __version__

OWN_KNOBS = ("data", "device", "threads")
"""Knobs that processes on several machines may have each for itself."""


@interrupts.raise_on_signal()  # the session collects stop requests instead
@distributed.process_group()
@default_state()
@user_code.quote_loaded()
def train(
    config: TrainConfig,
    *,
    recipe: str = "config",
    out: Path | str = "runs",
    name: str | None = None,
    new: bool = False,
    quiet: bool = False,
    listeners: Sequence[Listener] = (),
) -> Run:
    """Trains a GAN, or resumes the run that the same call started before.

    Args:
        config: every knob.
        recipe: the first part of the run's name; the second is that of the data.
        out: the folder of all runs; the run gets a numbered folder in it.
        name: name of the run's folder in `out`, instead of a numbered one; an existing run there is resumed, if its
            configuration is the same.
        new: start a new run, even if the same one exists.
        quiet: print nothing.
        listeners: are told, on the main process, when the run has written something; see `ganvas.runs.listeners`.

    Returns:
        The run, on every process.

    Raises:
        GanvasError: bad data or knobs, the run's configuration differs, a full disk, or non-finite numbers.
        KeyboardInterrupt: on Ctrl-C, SIGTERM or SIGHUP, after everything is saved; a slow round is cancelled. On a
            second Ctrl-C at once: the last saved state stays intact.
    """
    began = planning.now()
    user_code.refuse_while_loading("ganvas.train")
    if not isinstance(config, TrainConfig):
        raise GanvasError(f"config is {describe_value(config)}.", expected="a TrainConfig")
    recipe = to_text(recipe, "recipe", "a name")
    out, name = to_path(out, "the folder of the runs"), None if name is None else to_text(name, "name", "a name")
    if name is not None and (name in ("", "..") or Path(name).name != name):
        raise GanvasError(
            f"--name is {name!r}.", expected="the name of one folder", fix="name the folder of all runs by --out."
        )
    to_path(out / (name or ""), "the folder of the run")
    new, quiet = to_flag(new, "new"), to_flag(quiet, "quiet")
    listeners = check_listeners(listeners)
    _check_batch(config)
    device = distributed.local_device(config.runtime.device)
    precision.check(config.runtime.precision, device)
    if device.type == "cpu":
        memory.keep_freed_memory()
    quiet = quiet or not distributed.is_main_process()
    config, images, shape = _open(config, device, progress=not quiet)
    critic = get_objective(config.loss.objective).critic
    preview = config.runtime.preview
    progress = ProgressReporter(Plan.of(config).total, quiet=quiet, critic=critic, preview=preview)
    cost = estimate_cost(config, shape, device)  # it also finds mistakes in the user's own code
    with Listeners(listeners if distributed.is_main_process() else (), progress.print) as told:
        with distributed.gradient_group(device, _shared_settings(config, images)):
            distributed.run_on_main(lambda: check_memory(cost))
            check_memory(cost)  # of this machine
            data = {
                "name": images.name,
                "fingerprint": images.fingerprint,
                "images": len(images),
                "shape": shape._asdict(),
                "class_names": list(images.class_names),
            }
            n = config.runtime.threads or choose_threads(cost)
            run = distributed.run_on_main(
                lambda: _find_or_create(out, name, new, recipe, config, data, n, progress.print)
            )
            with ExitStack() as stack, progress:
                trained_on = environment.name_devices(device, distributed.world_size())
                run = distributed.run_on_main(lambda: _lock_run(run, config, n, trained_on, stack))
                own = None if distributed.is_main_process() else config.runtime.threads  # of this machine
                stack.enter_context(cpu_threads(own or run.threads or n))
                stack.enter_context(device_errors.explained(config, cost, run))
                fresh = distributed.run_on_main(lambda: not run.state_file.exists())
                if fresh and devices.may_lack_operations(device):
                    play_every_kind_of_round(config, shape, device)
                speed = measure_speed(cost, config, shape, device) if fresh else None
                planner = None
                if config.minutes is not None:
                    planner = _plan_length(Planner(config, began), run, speed)
                    config = planner.planned_config()
                    stack.enter_context(planner.leaving_out_pauses())
                warning = (
                    format_speed_warning(cost, config, shape, speed) if speed and distributed.is_main_process() else ""
                )
                weights = distributed.run_on_main(lambda: transfer.read_weights(config)) if fresh else None
                if weights is not None:
                    run = distributed.run_on_main(partial(_update_lineage, run, weights))
                session = Session(run, config, images, shape, device, cost.peak_bytes, progress, planner, weights, told)
                del weights  # the session needs them only at its beginning
                session.train(format_cost(cost, config, speed), warning)
        if config.runtime.evaluate_at_end and distributed.is_main_process():
            _evaluate_run(run, str(device), quiet)
            session.saver.check_folder()
    return run


def _shared_settings(config: TrainConfig, images: ImageSet) -> dict[str, Any]:
    """What must be the same on every process, by its name; data may have another path on each machine."""
    knobs = {f"--{name.replace('_', '-')}": value for name, value in leaves(config) if name not in OWN_KNOBS}
    code = {f"content of {of}": entry["sha256"] for of, entry in user_code.sources(config.user_specs()).items()}
    return {"version of Ganvas": __version__, **knobs, **code, "set of images": images.fingerprint}


def _plan_length(planner: Planner, run: Run, images_per_s: float | None) -> Planner:
    """Plans a new run by its speed, or continues the saved plan; the main process decides for all."""

    def plan_on_main() -> tuple[Plan, int, int]:
        if images_per_s is None:
            saved = state_metadata.read_metadata(run.state_file)
            if "plan" not in saved:
                raise GanvasError(f"{run.state_file} is not of a run by time.", fix="start a new run: --new.")
            planner.load_state(saved["plan"])
            planner.replay(saved["nimg"], log.read_events(run.path), log.read_stats(run.path))
        else:
            planner.start(images_per_s)
        return planner.plan, planner.tick_interval, planner.snapshot_interval

    planner.plan, planner.tick_interval, planner.snapshot_interval = distributed.run_on_main(plan_on_main)
    return planner


def _evaluate_run(run: Run, device: str, quiet: bool) -> None:
    """Evaluates the finished run, and prints and writes the result; an error is printed, and the run stays complete."""
    from rich.console import Console

    from ganvas.evaluation.evaluation import evaluate, save_evaluation  # imports scikit-learn, which few trainings need

    try:
        result = evaluate(run, device=device, quiet=quiet)
        save_evaluation(result, run)
    except GanvasError as error:
        print(f"The run is complete; it could not be evaluated: {error}", file=sys.stderr)
        return
    if not quiet:
        Console(stderr=True).print(result)


def _check_batch(config: TrainConfig) -> None:
    """Refuses a batch that the processes cannot share equally, before anything is decoded or written."""
    batch, world = config.optimisation.batch, distributed.world_size()
    normed = is_batch_normed(config.network)
    minimum = 2 if normed else 1
    if batch % world or batch < minimum * world:
        why = ": batch norm needs two images on each" if normed and batch >= world else ""
        raise GanvasError(
            f"A batch of {batch} cannot be shared equally by {world} processes.",
            expected=f"a multiple of {world}, at least {minimum * world}{why}",
            fix=f"use --batch {max(minimum, round(batch / world)) * world}.",
        )
    if normed and has_single_images(config.optimisation, world):
        raise GanvasError(
            f"Batch norm with one image in the last microbatch: {batch // world} images, "
            f"{config.optimisation.microbatch} at a time.",
            expected="2 or more images at a time: batch norm normalises over the images of a batch",
            fix=f"use --batch {batch - world}, or another --microbatch.",
        )


@default_state()
@user_code.quote_loaded()
def plan(
    config: TrainConfig,
    report: Callable[[str], object] = lambda line: None,
    *,
    recipe: str = "config",
    run: Run | None = None,
) -> dict[str, Any]:
    """Reports what `train` would do, without training: data, sizes, operations, memory, speed, every knob.

    Args:
        config: every knob.
        report: called with data, sizes and speed as text, each as soon as it is known.
        recipe: its name, for a note about its preset.
        run: the one that `train` would resume; None of a new one.

    Raises:
        GanvasError: `train` would refuse the configuration at its start, or this is one of several processes.
    """
    began = planning.now()
    _check_batch(config)
    if distributed.world_size() > 1:
        raise GanvasError("A dry run is one process.", fix="leave torchrun out, or unset WORLD_SIZE.")
    device = distributed.local_device(config.runtime.device)
    precision.check(config.runtime.precision, device)
    config, images, shape = _open(config, device, progress=True)
    classes = f"{shape.classes} classes" if shape.classes else "classes not used"
    report(f"{len(images):,} images of {images.name}, {shape.height}×{shape.width}×{shape.channels}, {classes}")
    is_new, preset = run is None or not run.state_file.exists(), ""
    if device.type == "cpu":
        preset = describe_preset(recipe, config) or (suggest_preset(recipe, config) if is_new else "")
    for note in filter(None, (preset, *images.notes)):
        report(f"Note: {note}")
    cost = estimate_cost(config, shape, device)
    check_memory(cost)
    report(format_cost(cost, config, None))
    origin = None
    if is_new and (weights := transfer.read_weights(config)) is not None:
        notes = transfer.check_fit(config, shape, weights.origin)
        origin = {**weights.lineage, "notes": notes}
        for note in notes:
            report(f"  {note}")
    with cpu_threads(config.runtime.threads or choose_threads(cost)), device_errors.explained(config, cost):
        speed = measure_speed(cost, config, shape, device)
    planned, length = config, ""
    if config.minutes is not None:
        planner = Planner(config, began)
        planner.start(speed)
        planned, length = planner.planned_config(), f"  {planner.describe()}"
    warning = format_speed_warning(cost, planned, shape, speed)
    report("\n".join(filter(None, [format_speed(planned.total_images, speed), length, warning])))
    return {
        "data": {"name": images.name, "images": len(images), **shape._asdict()},
        "origin": origin,
        "parameters": {"G": cost.g_parameters, "D": cost.d_parameters},
        "flops_per_image": {"G": cost.g_flops, "D": cost.d_flops},
        "memory_bytes": {"needed": cost.peak_bytes, "free": cost.free_bytes, "images_per_pass": cost.images_per_pass},
        "disk_bytes": max_disk_bytes(planned, cost.g_parameters, cost.d_parameters),
        "images_per_s": speed,
        "kimg": planned.kimg,
        "seconds": planned.total_images / speed,
        "warning": warning,
        "config": to_json(config),
    }


def complete(
    config: TrainConfig, report: Callable[[str], object] = lambda note: None, *, device: str | None = None
) -> TrainConfig:
    """The configuration that `train` would write: with a value for what it leaves open.

    Args:
        report: called with each note about the images and about what was chosen.
        device: the one that trains, where it is another machine's: `cpu`, or `cuda` for any GPU.

    Raises:
        GanvasError: the data cannot be opened.
    """
    trained_on = distributed.local_device(config.runtime.device) if device is None else torch.device(device)
    config, images, _ = _open(config, trained_on, progress=True)
    for note in images.notes:
        report(note)
    return config


def _open(config: TrainConfig, device: torch.device, *, progress: bool) -> tuple[TrainConfig, ImageSet, Shape]:
    """Opens the images and completes the configuration; what was chosen is among the notes of the images."""
    config, notes = choices.choose_resolution(transfer.like_origin(config), device, progress=progress)
    images = open_images(config.dataset.options(), progress=progress)
    shape = network_shape(images, config)
    config, more = choices.choose_networks(config, shape, device)
    return config, dataclasses.replace(images, notes=(*images.notes, *notes, *more)), shape


def network_shape(images: ImageSet, config: TrainConfig) -> Shape:
    """The shape of the images, with the number of classes if training is conditional, else 0.

    Raises:
        GanvasError: --conditional with fewer than two classes, or --balanced without classes.
    """
    if config.dataset.conditional and images.classes < 2:
        found = "one class" if images.classes else "no classes"
        raise GanvasError(
            f"--conditional is set, but {images.name} has {found}.",
            expected="images of two classes or more",
            fix="put each class in a sub-folder of its own (`ganvas data` says what was read as classes), or train "
            "with --no-conditional.",
        )
    if config.dataset.balanced and not images.classes:
        raise GanvasError(f"--balanced is set, but {images.name} has no classes.", fix="leave --balanced out.")
    return Shape(images.channels, *images.resolution, images.classes if config.dataset.conditional else 0)


def _note_change(runs: Sequence[Run], config: TrainConfig, fingerprint: str) -> str | None:
    """Why a command that trained one of these runs trains another now, as a sentence; None if it did not."""
    data = config.dataset.data
    for run in runs:
        if folder.is_same_but_code(run, config, fingerprint):
            changed = " and ".join(folder.changed_sources(run))
        elif not folder.differing_knobs(run.config, config) and real_path(run.config.dataset.data) == real_path(data):
            changed = f"the images of {data}"
        else:
            continue
        return f"Note: {changed} changed since {run} was started, so this is a new run."
    return None


def _find_or_create(
    out: Path,
    name: str | None,
    new: bool,
    recipe: str,
    config: TrainConfig,
    data: dict[str, Any],
    threads: int,
    report: Callable[[str], object],
) -> Run:
    fingerprint = data["fingerprint"]
    if name is not None and (out / name / "config.json").exists():
        if new:
            raise GanvasError(f"{out / name} exists already.", fix="choose another --name, or leave --new out.")
        run = Run(out / name)
        if resolve_frozen(wanted := features_net_of(run.config.network))[0] != wanted:
            load_frozen(wanted)  # raises: another network was chosen because its package is missing
        folder.check_same_run(run, config, fingerprint)
        return run
    if name is None and not new:
        for run in (runs := list(folder.list_runs(out))):
            if folder.is_same_run(run, config, fingerprint):
                return run
        if note := _note_change(runs, config, fingerprint):
            report(note)
    lineage = None
    if (weights := transfer.read_weights(config, out)) is not None:
        transfer.check_fit(config, Shape(**data["shape"]), weights.origin)
        lineage = weights.lineage
        if note := transfer.note_growth(config, weights.origin):
            report(note)
    run = folder.create_run(out, name, recipe, config, data, snapshot.package_versions(), threads, lineage)
    folder.check_same_run(run, config, fingerprint)
    return run


def _update_lineage(run: Run, weights: transfer.Weights) -> Run:
    """Writes what is taken over to config.json: an origin that still trains may have saved since the run was made."""
    metadata = run.metadata | {"lineage": weights.lineage}
    return run if metadata == run.metadata else folder.write_metadata(run, metadata)


def _lock_run(run: Run, config: TrainConfig, threads: int, device: str, stack: ExitStack) -> Run:
    """Locks the run for this process; writes its device to config.json, and a longer `kimg` or other threads."""
    stack.enter_context(lock_run(run.path))
    metadata = run.metadata
    if config.kimg is not None and config.total_images > run.config.total_images:
        log.append_event(run.path, "extended", run.config.total_images, kimg=config.kimg)
        metadata = metadata | {"config": to_json(replace(run.config, kimg=config.kimg))}
    if run.threads is None or config.runtime.threads:
        metadata = metadata | {"threads": threads}
    if not run.state_file.exists():  # it begins now
        metadata = metadata | {"device": device}
    return run if metadata == run.metadata else folder.write_metadata(run, metadata)
