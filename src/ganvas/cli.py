"""The door: one verb per function; the typed signature is the command line, the docstring is the help.

Exit codes: 0 done, 1 failed, 2 usage, 130 interrupted (state saved). With --json, one JSON object goes to stdout
and everything else to stderr.
"""

import inspect
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.conf import Positional, arg

from ganvas.config import TrainConfig, to_json
from ganvas.errors import GanvasError
from ganvas.recipes import RECIPES
from ganvas.runs.folder import resolve


@dataclass(frozen=True)
class _TrainCommand:
    """Train a GAN. Give first a recipe (ganvas recipes), or a run folder to go on with; then any knob.

    Without a recipe: digits; with other --data: cnn-stable.
    The same command again goes on with the run. Ctrl-C finishes the round and saves.
    """

    config: Annotated[TrainConfig, arg(name="")]
    out: Path = Path("runs")
    """Where runs are kept; each has a numbered folder in it."""
    name: str | None = None
    """The run's folder in --out, instead of a numbered one."""
    new: bool = False
    """Start anew even if the same run exists."""
    gpus: int | None = None
    """Share the work among this many processes, one a GPU (with --device cpu: on the CPU), by torchrun."""
    dry_run: bool = False
    """Say what would be trained, and stop."""
    json: bool = False
    """Print one JSON object about the run at the end."""
    quiet: bool = False
    """Print nothing else."""


def train(argv: Sequence[str]) -> None:
    """Train a GAN, or go on with a run: ganvas train [RECIPE|RUN] [--data D] [--kimg N] [--any-knob value]"""
    argv = list(argv)
    first = argv.pop(0) if argv and not argv[0].startswith("-") else _usual_recipe(argv)
    title, config, run = resolve(first)
    defaults = _TrainCommand(config, out=run.path.parent, name=run.path.name) if run else _TrainCommand(config)
    command = tyro.cli(
        _TrainCommand,
        args=argv,
        default=defaults,
        prog=f"ganvas train {first}",
        config=(tyro.conf.AvoidSubcommands, tyro.conf.OmitArgPrefixes),
    )
    from ganvas.training import start

    if command.dry_run:
        plan, told = start.plan(command.config)
        print(json.dumps(plan) if command.json else _plan(plan, told))
        return
    if command.gpus is not None and "WORLD_SIZE" not in os.environ:
        from ganvas.training import launch

        launch.become_torchrun(command.gpus, command.config, [first, *argv])
    run = start.train(
        command.config, recipe=title, out=command.out, name=command.name, new=command.new, quiet=command.quiet
    )
    if command.json and os.environ.get("RANK", "0") == "0":
        print(json.dumps({"run": str(run.path), "snapshot": str(run.snapshot), "config": to_json(run.config)}))


def _plan(plan: dict[str, Any], told: str) -> str:
    """What a dry run tells people."""
    data, config = plan["data"], plan["config"]
    classes = f"{data['classes']} classes" if data["classes"] else "classes not used"
    shape = "×".join(str(data[side]) for side in ("height", "width", "channels"))
    lines = [
        f"{data['images']:,} pictures of {data['name']}, {shape}, {classes}",
        told,
        f"  at most {plan['disk_bytes'] / 1e6:,.0f} MB on disk, and the pictures",
        "",
        *(f"  --{name:14} {json.dumps(value)}" for name, value in config.items() if not isinstance(value, dict)),
    ]
    for group, knobs in config.items():
        if isinstance(knobs, dict):
            lines += [f"\n{group}", *(f"  --{name.replace('_', '-'):14} {json.dumps(v)}" for name, v in knobs.items())]
    return "\n".join(lines)


def sample(
    run: Positional[Path],
    seeds: str = "0-63",
    out: Path | None = None,
    each: Path | None = None,
    class_: Annotated[str | None, arg(name="class")] = None,
    truncation: float = 1.0,
    interpolate: str | None = None,
    video: Path | None = None,
    frames: int = 25,
    columns: int | None = None,
    scale: int | None = None,
    device: str = "cpu",
) -> None:
    """Draw pictures from a trained generator.

    Args:
        run: A run folder (its newest snapshot is used), or one snapshot.
        seeds: Which pictures, such as 0-7,12; the same seed is always the same picture.
        out: The grid's file; by default grid.png in the working folder. With classes, one class a row.
        each: Write every picture to this folder instead, unenlarged: seed00000.png …
        class_: Draw this class only, by its name or number.
        truncation: Below 1: more typical, less varied.
        interpolate: Walk from seed to seed along great circles and back: 0,7,12.
        video: The walk's file: .gif, .webp or .png (animated).
        frames: Pictures between two seeds of a walk.
        columns: Columns of the grid.
        scale: Enlarge each pixel to this many; by default so that tiny pictures can be seen.
        device: Where to compute: auto, cpu, cuda …
    """
    from ganvas import canvas
    from ganvas.sample import load, parse_seeds

    if scale is not None and not 1 <= scale <= 256:
        raise GanvasError(f"--scale is {scale}.", expected="a whole number from 1 to 256")
    drawn = load(run, device=device)
    label = drawn.label(class_) if class_ is not None else None
    if (interpolate is None) != (video is None):
        raise GanvasError("A walk needs both --interpolate and --video.", mend="--interpolate 0,7,12 --video walk.gif")
    if interpolate is not None and video is not None:
        path = parse_seeds(interpolate)
        pictures = drawn.walk(path, frames=frames, label=label, truncation=truncation)
        n = canvas.save_walk((image for part in pictures for image in part.numpy()), video)
        print(f"{n} pictures in {video}")
        return
    chosen = parse_seeds(seeds)
    if each is not None:
        images = (i for part in drawn.images(chosen, label=label, truncation=truncation) for i in part.numpy())
        for seed, image in zip(chosen, images, strict=True):
            canvas.save(canvas.picture(image, scale or 1), each / f"seed{seed:05d}.png")
        print(f"{len(chosen)} pictures in {each}")
        return
    out = out or Path("grid.png")
    images, across, names = drawn.arranged(chosen, label=label, truncation=truncation, columns=columns)
    canvas.save(canvas.grid(images, across, row_names=names, scale=scale), out)
    print(f"{len(images)} pictures in {out}")


def plot(runs: Positional[tuple[Path, ...]], out: Path | None = None) -> None:
    """Draw the curves of one run, or of several over each other.

    Args:
        runs: Run folders.
        out: The picture's file; by default losses.png in the run's folder, or curves.png for several.
    """
    from ganvas.runs.curves import plot as draw

    if not runs:
        raise GanvasError("No run was named.", mend="ganvas plot runs/00000-digits-digits")
    print(draw(runs, out or (runs[0] / "losses.png" if len(runs) == 1 else Path("curves.png"))))


def data(
    source: Positional[str],
    split: str = "train",
    resolution: str | None = None,
    channels: int | None = None,
    fit: str = "crop",
    json: bool = False,
) -> None:
    """Say what is in a set of pictures, and what is wrong with it, by name.

    Args:
        source: Anything that --data takes: a folder, a zip, IDX, CIFAR-10, .npz, mnist, hf:owner/name …
        split: train or test.
        resolution: Height, or HEIGHTxWIDTH, as it would be trained.
        channels: 1, 3 or 4, as it would be trained.
        fit: crop, pad or stretch.
        json: Print JSON.
    """
    from ganvas.data import PictureOptions
    from ganvas.data import inspect as examine

    report = examine(PictureOptions(source, split, resolution, channels, fit))  # type: ignore[arg-type]
    if json:
        _print_json(report.to_json())
    else:
        from rich.console import Console

        Console().print(report.render())


def evaluate(
    what: Positional[str],
    against: str | None = None,
    held_out: str | None = None,
    features: str = "eye",
    weights: Path | None = None,
    count: int = 10_000,
    truncation: float = 1.0,
    quick: bool = False,
    device: str = "auto",
    panel: Path | None = None,
    json: bool = False,
) -> None:
    """Measure a run's pictures, or any pictures, against real ones; each number beside its floor.

    Args:
        what: A run (its newest snapshot), one snapshot, or pictures: a folder, a zip …
        against: The real pictures, anything that --data takes; by default those a run learnt from.
        held_out: Real pictures it did not learn from; by default the test split, where there is one.
        features: eye (no download), classifier, inception (the true FID), dinov2, or MODULE:FACTORY of your own.
        weights: The file, or for dinov2 the folder, of weights that the features need.
        count: Pictures on each side, at most.
        truncation: Below 1: more typical, less varied.
        quick: Only the distances, precision and recall, and the classes.
        device: Where to compute: auto, cpu, cuda …
        panel: Where to draw the closest pairs (picture, nearest training picture); for a run, closest.png in it.
        json: Print JSON.
    """
    from ganvas.judge import evaluate as judge
    from ganvas.runs.folder import Run

    found = judge.evaluate(
        what, against=against, held_out=held_out, extractor=features, weights=weights, count=count,
        truncation=truncation, quick=quick, device=device, progress=True,
    )  # fmt: skip
    run = Run(Path(what))
    judge.write(found, run if (run.path / "config.json").exists() else None, panel)
    if json:
        _print_json(found.to_json())
        return
    from rich.console import Console

    from ganvas.judge.tables import rendered

    Console().print(rendered(found))


def diagnose(what: Positional[Path], json: bool = False) -> None:
    """Say why a training fails, with evidence and what to change; of a run, or of anyone's log.

    Args:
        what: A run, or a log: stats.jsonl, JSONL, CSV, Keras' history, lines of text, TensorBoard's events.
        json: Print JSON.
    """
    from ganvas.doctor.reading import diagnose as judge

    found = judge(what)
    if json:
        _print_json(found.to_json())
        return
    from rich.console import Console

    from ganvas.doctor.tell import rendered

    Console(highlight=False).print(rendered(found))


def recipes(json: bool = False) -> None:
    """List the recipes.

    Args:
        json: Print JSON, with every knob.
    """
    if json:
        _print_json(
            {
                name: {"what": r.what, "source": r.source, "cost": r.cost, "config": to_json(r.config)}
                for name, r in RECIPES.items()
            }
        )
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title, plain in (("recipe", True), ("what it is, and after whom", False), ("data", True), ("kimg", True)):
        table.add_column(title, no_wrap=plain)
    table.add_column("images/s, two CPU cores")
    for name, r in RECIPES.items():
        c = r.config
        table.add_row(f"[bold]{name}[/]", f"{r.what}\n[dim]{r.source}[/]", c.pictures.data, f"{c.kimg:g}", r.cost)
    Console().print(table)


def _usual_recipe(argv: Sequence[str]) -> str:
    """The recipe when none is named: `digits`, but for other pictures the one that suits any."""
    given = [value for flag, value in pairwise(argv) if flag == "--data"]
    given += [word.removeprefix("--data=") for word in argv if word.startswith("--data=")]
    return "cnn-stable" if given and given[-1] != "digits" else "digits"


VERBS: dict[str, Callable[..., None]] = {
    "train": train,
    "sample": sample,
    "plot": plot,
    "data": data,
    "evaluate": evaluate,
    "diagnose": diagnose,
    "recipes": recipes,
}


def main() -> None:
    """Opens the door: runs the verb of the command line and exits with its status."""
    sys.exit(told(lambda: _run(sys.argv[1:])))


def told(act: Callable[[], Any]) -> int:
    """Runs `act`; tells a user's trouble without a traceback. Returns the exit status."""
    try:
        status = act()
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except GanvasError as error:
        who = f"rank {os.environ['RANK']}: " if os.environ.get("RANK", "0") != "0" else ""
        print(f"ganvas: {who}{error}", file=sys.stderr)
        return 1
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "memory" not in f"{type(error).__name__} {error}".lower():
            raise
        first = (str(error).splitlines() or [""])[0]
        print(
            f"ganvas: There is not enough memory. {first}\nTo mend it: a smaller --batch or --resolution.",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt as interrupt:
        print(f"ganvas: {str(interrupt) or 'interrupted'}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone, as in `ganvas … | head`: nothing is wrong
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _run(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print("usage: ganvas VERB …\n")
        for name, verb in VERBS.items():
            print(f"  {name:9} {(inspect.getdoc(verb) or '').splitlines()[0]}")
        print("\nganvas VERB --help says more of one; ganvas --version says which Ganvas this is.")
        return 0 if argv else 2
    if argv[0] == "--version":
        from ganvas import __version__

        print(f"ganvas {__version__}")
        return 0
    if argv[0] not in VERBS:
        print(f"ganvas: '{argv[0]}' is not a verb. Expected one of {', '.join(VERBS)}.", file=sys.stderr)
        return 2
    verb = VERBS[argv[0]]
    if verb is train:
        train(argv[1:])
    else:
        tyro.cli(verb, args=argv[1:], prog=f"ganvas {argv[0]}")
    return 0


def _print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False))
