"""Command lines: every command and every option of it, with good, odd and impossible values.

The options are read from the signatures that the command line itself is made of, so that a new one is tried too.
"""

import dataclasses
import json
import math
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from random import Random
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from damage import FILES
from isolation import Answer, Case, call
from prepared import copy_all

BASES: dict[str, list[str]] = {
    "sample": ["run", "--seeds", "0-3", "--out", "grid.png"],
    "project": ["run", "photo.png", "--steps", "3", "--references", "0", "--out", "place"],
    "directions": ["run", "--out", "directions.png"],
    "plot": ["run", "--out", "curves.png"],
    "data": ["images.npz", "--quiet"],
    "evaluate": ["run", "--quick", "--count", "40", "--quiet"],
    "diagnose": ["losses.csv"],
    "compare": ["run", "other", "--count", "40", "--quiet"],
    "log": ["run", "--to", "trackers.py:Silent"],
    "style": ["photo.png", "painting.png", "--size", "24", "--min-scale", "16", "--iterations", "1", "--quiet"],
    "studio": [".", "--no-open", "--port", "0"],
    "export": ["run", "--to", "hub", "--licence", "mit", "--out", "exported"],
    "recipes": [],
    "runs": ["."],
    "cache": [],
    "info": [],
}
"""A command line for each command that ends with status 0; that of train depends on the family."""

LONG = ("train", "compare", "evaluate", "style", "studio", "sample", "project")
"""Commands for which a valid value may ask for hours, or that only Ctrl-C ends: they get it."""

INTEGERS = [
    "0", "1", "-1", "2", "7", "3.5", "1e3", "nan", "inf", "²", "٣", "1_0", "0x10", "", " ", "None", "True", "one",
    "9" * 19, "9223372036854775807", "9223372036854775808", "9" * 30, "9" * 5000, "-9" + "0" * 20, "1000000", "1,2",
]  # fmt: skip
NUMBERS = [
    "0", "1", "0.5", "-1", "1e-320", "1e308", "-0.0", "nan", "inf", "-inf", "1e400", "", " ", "²", "1,5", "1_0", "None",
    "half", "9" * 400, "0..1:linear", "1..nan", "0..1@0.5-0.1", "1..2:nosuch", "..", "0.5..", "1e-9",
]  # fmt: skip
TEXTS = [
    "", " ", "x", "²", "🎨", "nan", "0", "-1", "0-7", "7-0", "0-99999999999", "1,2,,3", "0-3:", "-", "--", "None",
    "a" * 300,
    "a\nb", "<script>alert(1)</script>", "\udcff", "{}", "[", "x=", "=x", "x=1,y", "mlp:latent=", "nets.py:Generator",
    "nets.py:", ":Generator", ":x", "nosuch.py:X", "os:system", "json", "hf:", "hf:x/y", "mnist", "pretrained:",
    "pretrained:digits", "pretrained:../x", "https://", "http://127.0.0.1:9/x.safetensors#sha256=" + "0" * 64,
    "cuda:99", "cpu", "digits",
    "16", "8x8", "0x0", "99999x1", "tanh", "wgan", "custom", "stacked-mnist:", "stacked-mnist:images.npz",
]  # fmt: skip
PATHS = [
    "pretrained:digits", "pretrained:", "pretrained:digits/x", "http://127.0.0.1:9/x.safetensors#sha256=" + "0" * 64,
    "missing", "missing/in/missing.png", ".", "..", "photos", "photo.png", "images.npz", "losses.csv", "nets.py", "run",
    "run/config.json", "run/snapshots/best", "other", "", " ", "~nosuchuser/x", "a" * 300, "a" * 250 + ".png",
    "/proc/x.png",
    "x.png", "x.gif", "x.webp", "x.jpg", "x.txt", "x.html", "x", "x.PNG", "ä/ö.png", "🎨.png", "\udcff.png", "a\nb.png",
    "-x.png", "images\udcff.npz",
    "photo.png/x.png", "special/a FIFO", "special/an endless device", "special/a folder", "special/a dangling link",
    "special/a link to itself", "special/a socket", "special/sink",
]  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Knob:
    """An option of a command: its flag and its type, and the arguments before it."""

    command: str
    flag: str
    type: Any
    base: tuple[str, ...]


def run_command(argv: list[str], *, may_take_long: bool = False) -> Callable[[], Answer]:
    """A function that runs the command line in this process."""

    def run() -> Answer:
        from ganvas.cli import main

        before, sys.argv = sys.argv, ["ganvas", *argv]
        try:
            return call(main, may_take_long=may_take_long)
        finally:
            sys.argv = before

    return run


@cache
def knobs() -> list[Knob]:
    """Every option of every command; those of train for each family of networks."""
    from ganvas.cli import COMMANDS

    found = []
    for command, function in COMMANDS.items():
        if command == "train":
            found += _train_knobs()
            continue
        for name, kind in get_type_hints(function, include_extras=True).items():
            if name == "return":
                continue
            plain = get_args(kind)[0] if get_origin(kind) is Annotated else kind
            fields = dataclasses.fields(plain) if dataclasses.is_dataclass(plain) else ()
            hints = get_type_hints(plain) if fields else {}
            for flag, own in [(f.name, hints[f.name]) for f in fields] or [(name.rstrip("_"), kind)]:
                found.append(Knob(command, "--" + flag.replace("_", "-"), own, tuple(BASES[command])))
    return found


def _train_knobs() -> Iterator[Knob]:
    from ganvas.cli.training import _TrainCommand
    from ganvas.config import TrainConfig
    from ganvas.config.forms import knob_fields
    from ganvas.recipes import RECIPES

    seen = set()
    for name, recipe in RECIPES.items():
        config = recipe.config
        for field, _ in knob_fields(config):
            family = config.network.family if field in dataclasses.fields(config.network) else ""
            if field.init and (family, field.name) not in seen:
                seen.add((family, field.name))
                yield Knob("train", "--" + field.name.replace("_", "-"), field.type, train_base(name))
    assert dataclasses.fields(TrainConfig)
    for name, kind in get_type_hints(_TrainCommand, include_extras=True).items():
        if name != "config":
            yield Knob("train", "--" + name.replace("_", "-"), kind, train_base("mlp"))


@cache
def train_base(recipe: str) -> tuple[str, ...]:
    """The shortest training of a recipe, with its narrowest networks."""
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from support import NARROW

    from ganvas.config import leaves
    from ganvas.recipes import RECIPES

    flags = ["--data", "images.npz", "--kimg", "0.04", "--batch", "10", "--no-plot", "--quiet", "--threads", "1"]
    family = RECIPES[recipe].config.network.family
    if family == "custom":
        flags += ["--g", "nets.py:Generator", "--d", "nets.py:Discriminator"]
    else:
        default, narrow = type(NARROW[family])(), NARROW[family]
        usual = dict(leaves(default))
        for name, value in leaves(narrow):
            if value != usual[name]:
                words = map(str, value) if isinstance(value, tuple) else [str(value)]
                flags += ["--" + name.replace("_", "-"), *words]
    return (recipe, *flags)


def values(knob: Knob, random: Random) -> list[str]:
    """Words for an option: mostly of its type, sometimes of any."""
    kinds = set(_plain_types(knob.type))
    if bool in kinds:
        return [] if random.random() < 0.8 else [random.choice(TEXTS)]
    choices = [str(choice) for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind)]
    pool: list[str] = choices * 2
    pool += INTEGERS if int in kinds else []
    pool += NUMBERS if float in kinds else []
    pool += TEXTS if str in kinds or choices else []
    pool += (
        PATHS
        if Path in kinds or knob.flag in ("--data", "--against", "--held-out", "--init", "--what", "--source")
        else []
    )
    several = "tuple" in str(knob.type)
    words = [random.choice(pool or TEXTS) for _ in range(random.choice([0, 1, 1, 2, 3]) if several else 1)]
    if knob.flag in ("--threads", "--workers"):  # a valid number of them would start as many
        words = [word if word.strip() not in ("7", "1000000") else "2" for word in words]
    return words


def _plain_types(kind: Any) -> Iterator[Any]:
    """The types within unions, tuples and annotations."""
    if get_origin(kind) is Literal or not get_args(kind):
        yield kind
    else:
        for part in get_args(kind):
            if isinstance(part, type) or get_args(part):
                yield from _plain_types(part)


def make(number: int, random: Random, prepared: Path) -> Case:
    """Case `number`: each option in turn, with another value each time; sometimes another option or argument too."""
    copy_all(prepared)
    make_special_files()
    found = [knob for knob in knobs() if knob.flag != "--ray"]  # which would start a cluster
    knob = found[number % len(found)]
    if number % 25 == 0:
        return whole_command(number // 25, random)
    chosen = values(knob, random)
    argv = [*knob.base]
    if knob.command == "train" and random.random() < 0.6 and "--dry-run" not in knob.flag:
        argv += ["--dry-run"]
    positional = bool(_positional(knob))
    if positional:
        argv = [*chosen, *argv[1:]] if len(chosen) < 2 else chosen
    else:
        argv += [knob.flag, *chosen] if random.random() < 0.8 or len(chosen) != 1 else [f"{knob.flag}={chosen[0]}"]
    changed = False
    if random.random() < 0.2:
        other = random.choice([one for one in found if one.command == knob.command])
        if not _positional(other):
            argv, changed = [*argv, other.flag, *values(other, random)], True
    if random.random() < 0.05:
        argv, changed = random.sample(argv, len(argv)), True
    if random.random() < 0.3 and "--json" in {one.flag for one in found if one.command == knob.command}:
        argv += ["--json"]
    argv = [knob.command, *argv]
    single = None if changed or positional or len(chosen) != 1 else chosen[0]
    return Case(
        f"ganvas {' '.join(map(ascii, argv))}",
        run_command(argv, may_take_long=knob.command in LONG),
        frozenset(statuses(knob, single)),
        checker(argv),
    )


def whole_command(number: int, random: Random) -> Case:
    """A command line without a mistake, or one of the forms that no command has."""
    forms: list[tuple[list[str], int]] = [
        ([], 2), (["--help"], 0), (["--version"], 0), (["nosuch"], 2), (["-x"], 2), ([""], 2), (["\udcff"], 2),
        *[([command, *base], 0) for command, base in BASES.items()],
        *[([command, "--help"], 0) for command in (*BASES, "train")],
        *[([command, *base, "--nosuch"], 2) for command, base in BASES.items()],
        *[(["train", *train_base(recipe)], 0) for recipe in ("mlp", "cnn", "dcgan", "sngan", "custom")],
    ]  # fmt: skip
    argv, status = forms[number % len(forms)]
    run = run_command(argv, may_take_long=bool(argv) and argv[0] in LONG)
    return Case(f"ganvas {' '.join(map(ascii, argv))}", run, frozenset({status}), checker(argv))


def _positional(knob: Knob) -> bool:
    """Whether the option has a place instead of a flag."""
    return "_Positional" in repr(knob.type) or "Positional" in repr(getattr(knob.type, "__metadata__", ""))


def statuses(knob: Knob, value: str | None) -> set[int]:
    """The exit statuses that an option with one value may have, with nothing else wrong."""
    kinds = set(_plain_types(knob.type)) - {NoneType}
    if value is None or (value.startswith("-") and not value[1:2].isdigit()):
        return {0, 1, 2}
    if kinds == {int} and not _is_number(value, int) and value != "None":
        return {2}
    if kinds == {float} and value != "None":
        if not _is_number(value, float):
            return {2}
        if not math.isfinite(float(value)):
            return {1, 2}
    return {0, 1, 2}


def _is_number(text: str, kind: type) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True


def make_special_files() -> None:
    """What is no regular file, and a device that takes everything: nothing may replace them."""
    shutil.copy("images.npz", "images\udcff.npz")
    folder = Path("special")
    folder.mkdir()
    for name, make_file in FILES.items():
        make_file(folder / name)
    try:
        os.mknod(folder / "sink", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except OSError:
        shutil.copy("photo.png", folder / "sink")


def kinds_of_files() -> dict[str, int]:
    return {str(path): stat.S_IFMT(path.lstat().st_mode) for path in Path("special").iterdir()}


def checker(argv: list[str]) -> Callable[[Answer], str]:
    """What must hold after a command: words for a failure, JSON where it is asked for, special files as they were."""
    before = kinds_of_files()

    def check(answer: Answer) -> str:
        if answer.status and not (answer.err + answer.out).strip():
            return f"status {answer.status} without a word"
        if answer.status == 0 and answer.err.startswith("ganvas: "):
            return f"status 0 after an error: {answer.err[:300]}"
        if answer.status == 0 and "--json" in argv and "--help" not in argv:
            try:
                for line in answer.out.splitlines() if argv[0] == "style" else [answer.out]:
                    json.loads(line)
            except ValueError:
                return f"standard output is not JSON: {answer.out[:300]!r}"
        after = kinds_of_files()
        changed = [path for path, kind in before.items() if after.get(path) != kind]
        return f"no longer what they were: {', '.join(changed)}" if changed else ""

    return check
