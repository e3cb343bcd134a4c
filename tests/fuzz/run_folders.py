"""Damage to run folders: each file, each damage, each command that reads runs."""

import json
import shutil
from collections.abc import Callable
from itertools import product
from pathlib import Path
from random import Random

import damage
from command_lines import run_command
from isolation import Answer, Case
from prepared import copy_all

COMMANDS: dict[str, list[str]] = {
    "sample": ["sample", "run", "--seeds", "0-3", "--out", "grid.png"],
    "sample, best": ["sample", "run/snapshots/best", "--seeds", "0-1", "--video", "walk.gif", "--frames", "2"],
    "sample, direction": ["sample", "run", "--direction", "pca:1", "--video", "moved.webp", "--frames", "2"],
    "project": ["project", "run", "photo.png", "--steps", "2", "--references", "1", "--out", "place", "--json"],
    "directions": ["directions", "run", "--method", "sefa", "--json"],
    "plot": ["plot", "run"],
    "plot of two": ["plot", "run", "other", "--out", "curves.png"],
    "evaluate": ["evaluate", "run", "--quick", "--count", "40", "--quiet", "--json"],
    "diagnose": ["diagnose", "run", "--json"],
    "diagnose, file": ["diagnose", "run/stats.jsonl"],
    "compare": ["compare", "run", "other", "--count", "40", "--quiet"],
    "runs": ["runs", ".", "--json"],
    "runs, one": ["runs", "run"],
    "runs --clean": ["runs", ".", "--clean"],
    "runs --remove": ["runs", ".", "--remove", "run"],
    "train": ["train", "run", "--quiet", "--json"],
    "train, longer": ["train", "run", "--kimg", "0.26", "--quiet"],
    "train --dry-run": ["train", "run", "--dry-run", "--json"],
}
"""A command line for each way in which a run is read."""

LONG = ("train", "compare", "evaluate", "project", "sample", "directions")


def make(number: int, random: Random, prepared: Path) -> Case:
    """Case `number`: one of all combinations of file, damage and command, each once before any twice."""
    copy_all(prepared)
    folders = prepared / "run", prepared / "other" / "state"
    files = sorted(
        path.relative_to(prepared).as_posix() for folder in folders for path in folder.rglob("*") if path.is_file()
    )
    combinations = list(product(files, (*damage.JSON_BYTES, *damage.FILES), COMMANDS))
    Random(number // len(combinations)).shuffle(combinations)
    file, how, command = combinations[number % len(combinations)]
    if random.random() < 0.04:
        return whole_folder(random)
    damage.damage(Path(file), how, random)
    argv = COMMANDS[command]
    if file.startswith("other/"):  # the run with the states for --on-failure rollback
        argv = [{"run": "other", "other": "run"}.get(word, word) for word in argv]
    run = run_command(argv, may_take_long=argv[0] in LONG)
    return Case(f"ganvas {' '.join(argv)}; {file} is {how}", run, frozenset({0, 1}), checker(argv))


def whole_folder(random: Random) -> Case:
    """The run folder itself is another thing, or a folder within it is."""
    argv = random.choice(list(COMMANDS.values()))
    folder = Path(random.choice(["run", "run/snapshots", "run/state", "run/snapshots/best", "other"]))
    how = random.choice(list(damage.FILES))
    shutil.rmtree(folder)
    damage.FILES[how](folder)
    run = run_command(argv, may_take_long=argv[0] in LONG)
    return Case(f"ganvas {' '.join(argv)}; the folder {folder} is {how}", run, frozenset({0, 1}), checker(argv))


def checker(argv: list[str]) -> Callable[[Answer], str]:
    """What must hold after a command."""

    def check(answer: Answer) -> str:
        if answer.status and not answer.err.strip():
            return "it failed without a word"
        if answer.status == 0 and "--json" in argv:
            try:
                json.loads(answer.out)
            except ValueError:
                return f"standard output is not JSON: {answer.out[:300]!r}"
        if answer.status == 0 and argv[0] == "train" and "--dry-run" not in argv:
            return check_complete(Path(argv[1]))
        return ""

    return check


def check_complete(path: Path) -> str:
    """A run whose training ended with status 0 is complete, and its generator can be used."""
    from ganvas.errors import GanvasError
    from ganvas.runs.folder import Run
    from ganvas.sampling import load

    try:
        state = Run(path).progress()["state"]
        images = load(Run(path)).sample(range(2))
    except GanvasError as error:
        return f"training ended with status 0, but: {error}"
    return "" if state == "complete" and images.shape == (2, 1, 8, 8) else f"training ended with status 0: {state}"
