"""`ganvas train`: a recipe or a run, then any knob."""

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.conf import FlagCreatePairsOff, arg

from ganvas import interrupts
from ganvas.cli.arguments import parse
from ganvas.cli.output import print_json
from ganvas.config import TrainConfig, replace, to_json
from ganvas.runs.folder import Run
from ganvas.values import to_whole

MAX_PROCESSES = 4096


@dataclass(frozen=True)
class _TrainCommand:
    """Train a GAN. First give a recipe (see ganvas recipes) or a run folder to resume; then any knob.

    The default recipe is digits28; with --data digits it is digits, with any other fast, which takes ten minutes; with
    --from it is the recipe of that generator, with its networks.
    The same command again resumes the run. Ctrl-C saves the state and ends; a second Ctrl-C ends at once.
    """

    config: Annotated[TrainConfig, arg(name="")]
    out: Path = Path("runs")
    """Folder of the runs; each run has a numbered folder in it."""
    name: str | None = None
    """The run's folder in --out, instead of a numbered one."""
    new: FlagCreatePairsOff[bool] = False
    """Start a new run even if the same run exists."""
    gpus: int | None = None
    """Train with this many processes, one per GPU (with --device cpu: on the CPU), started by torchrun."""
    dry_run: FlagCreatePairsOff[bool] = False
    """Print what would be trained, and stop."""
    json: FlagCreatePairsOff[bool] = False
    """Print one JSON object about the run at the end."""
    quiet: FlagCreatePairsOff[bool] = False
    """Print nothing else."""


def train(argv: Sequence[str]) -> None:
    """Train a GAN, or resume a run: ganvas train [RECIPE|RUN] [--data D] [--kimg N] [--any-knob value]"""
    with interrupts.exit_on_signal():
        from ganvas.runs import lookup
        from ganvas.runs.base import find_base

    argv = [f"--init-{word[2:]}" if word == "--from" or word.startswith("--from=") else word for word in argv]
    named = argv[:1] if argv and not argv[0].startswith("-") else []
    argv = argv[len(named) :]
    if named:
        lookup.check_no_generator(named[0], f"start a new training from it: ganvas train --from {named[0]}")
    data, origin, minutes, device, out, name = (
        next(reversed(_values(argv, knob)), None) for knob in ("data", "init_from", "minutes", "device", "out", "name")
    )
    beside = None if "--new" in argv else os.path.join(out or "runs", name or "")
    with suppress(ValueError):  # the parser says what is wrong with it
        minutes = minutes and float(minutes)
    with interrupts.exit_on_signal():  # it may import PyTorch
        title, config, run = find_base(
            *named, data=data, init_from=origin, minutes=minutes, device=device, beside=beside
        )
    config = _with_given_length(config, argv)
    defaults = _TrainCommand(config, out=run.path.parent, name=run.path.name) if run else _TrainCommand(config)
    command = parse(
        _TrainCommand,
        argv,
        prog="ganvas train RECIPE",
        default=defaults,
        config=(tyro.conf.AvoidSubcommands, tyro.conf.OmitArgPrefixes),
    )
    with interrupts.exit_on_signal():
        from ganvas.trackers import processes
        from ganvas.training import start
        from ganvas.training.loop import TrainingStopped

    if command.gpus is not None:
        to_whole(command.gpus, "--gpus", 1, MAX_PROCESSES)
    if command.dry_run:
        if command.json:
            print_json(start.plan(command.config, run=run))
        else:
            print(_format_dry_run(start.plan(command.config, partial(print, flush=True), recipe=title, run=run)))
        return
    if command.gpus is not None and "WORLD_SIZE" not in os.environ:
        from ganvas.training import launch

        launch.exec_torchrun(command.gpus, command.config.runtime.device, [*named, *argv])
    try:
        run = start.train(
            command.config, recipe=title, out=command.out, name=command.name, new=command.new, quiet=command.quiet,
            listeners=processes.listeners(command.config),
        )  # fmt: skip
    except TrainingStopped as stopped:
        if command.json:
            _print_result(stopped.run, failure=stopped.failure)
        raise
    if command.json:
        _print_result(run)


def _print_result(run: Run, **more: str) -> None:
    if os.environ.get("RANK", "0") == "0":
        snapshot = str(run.latest_snapshot)
        print_json({"run": str(run.path), "snapshot": snapshot, "config": to_json(run.config), **more})


def _format_dry_run(plan: dict[str, Any]) -> str:
    """The end of a dry run's output: the disk space and every knob."""
    config = plan["config"]
    lines = [
        f"  at most {plan['disk_bytes'] / 1e6:,.0f} MB on disk, and the images",
        "",
        *(f"  --{name:14} {json.dumps(value)}" for name, value in config.items() if not isinstance(value, dict)),
    ]
    for group, knobs in config.items():
        if isinstance(knobs, dict):
            lines += [f"\n{group}", *(f"  --{name.replace('_', '-'):14} {json.dumps(v)}" for name, v in knobs.items())]
    return "\n".join(lines)


def _with_given_length(config: TrainConfig, argv: Sequence[str]) -> TrainConfig:
    """The defaults for a command that gives one of kimg and minutes: it replaces the recipe's length of the other kind.

    What is no number changes nothing: the parser says what is wrong with it.

    Raises:
        GanvasError: the length is out of bounds.
    """
    given = {name: values[-1] for name in ("kimg", "minutes") if (values := _values(argv, name))}
    with suppress(ValueError):
        return replace(config, **{name: float(value) for name, value in given.items()}) if len(given) == 1 else config
    return config


def _values(argv: Sequence[str], knob: str) -> list[str]:
    """The values that a command gives for a knob, as --flag VALUE or --flag=VALUE."""
    flag = f"--{knob.replace('_', '-')}"
    return [value for word, value in pairwise(argv) if word == flag] + [
        word.removeprefix(f"{flag}=") for word in argv if word.startswith(f"{flag}=")
    ]
