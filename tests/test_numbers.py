"""Numbers, names and paths that no command takes: NaN, infinite ones, very many digits, ~nobody, pipes, devices."""

import inspect
import math
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from support import BATCH_NORM_IN_D, NARROW, call_cli, tiny

import ganvas
from ganvas.cli import COMMANDS
from ganvas.config import TrainConfig, leaves, replace
from ganvas.errors import GanvasError
from ganvas.runs.folder import Run
from ganvas.schedule import Schedule
from ganvas.style.options import StyleOptions, resolve_options
from ganvas.training.start import train

NOT_FINITE = ["nan", "inf", "-inf", "1e999", "NaN", "Infinity"]
TOO_LARGE = ["9" * 400, "9" * 5000, "-" + "9" * 400]
OTHER_DIGITS = ["²", "½", "१e", "0x10", "1_", "", " "]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    config = replace(tiny(), conditional=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANVAS_CACHE", str(tmp_path_factory.mktemp("cache")))
        return train(config, out=tmp_path_factory.mktemp("runs"), quiet=True)


def numeric_options() -> Iterator[tuple[str, str]]:
    """(command, option) of each number that a command takes."""
    for name, command in COMMANDS.items():
        if name not in ("train", "style"):
            for option, parameter in inspect.signature(command).parameters.items():
                if {int, float} & set(flatten(parameter.annotation)):
                    yield name, option
    for entry in fields(StyleOptions):
        if {"int", "float"} & set(str(entry.type).replace("<class '", "").replace("'>", "").split(" | ")):
            yield "style", entry.name
    knobs = [name for name, _ in leaves(TrainConfig()) if is_numeric(name)]
    yield from (("train", name) for name in [*knobs, "gpus"])


def flatten(kind: Any) -> list[Any]:
    if get_origin(kind) is Literal:
        return []
    return [kind, *(inner for one in get_args(kind) for inner in flatten(one))]


def is_numeric(knob: str) -> bool:
    from ganvas.config.forms import knob_fields

    kinds = {entry.name: entry.type for entry, _ in knob_fields(TrainConfig())}
    return bool({int, float} & set(flatten(kinds[knob])))


ARGUMENTS: dict[str, list[str]] = {
    "sample": ["RUN"],
    "project": ["RUN", "photo.png"],
    "directions": ["RUN"],
    "data": ["digits"],
    "evaluate": ["RUN", "--quick", "--quiet"],
    "compare": ["cnn", "mlp", "--data", "digits", "--quiet"],
    "cache": ["--clean", "--dry-run"],
    "style": ["photo.png", "painting.png", "--quiet"],
    "studio": ["--no-open"],
    "train": ["mlp", "--data", "digits", "--dry-run"],
}
"""What each command needs beside the option."""


def test_every_command_with_a_number_is_in_the_table() -> None:
    assert {command for command, _ in numeric_options()} == ARGUMENTS.keys()
    assert len(list(numeric_options())) > 50


WRONG = [*NOT_FINITE, *TOO_LARGE, *OTHER_DIGITS]


@pytest.mark.parametrize(
    ("command", "option", "values"),
    [
        *((*both, WRONG[i % 4 :: 4]) for i, both in enumerate(numeric_options())),
        *(pytest.param(*both, WRONG, marks=pytest.mark.exhaustive) for both in numeric_options()),
    ],
    ids=lambda part: part if isinstance(part, str) else str(len(part)),
)
def test_number_that_is_none_is_refused_by_name(command: str, option: str, values: list[str], run: Run) -> None:
    arguments = [str(run) if one == "RUN" else one for one in ARGUMENTS[command]]
    if option == "frames":
        arguments += ["--video", "film.gif"]
    flag = f"--{option.replace('_', '-')}"
    for value in values:
        result = call_cli(command, *arguments, f"{flag}={value}", check=None)
        assert result.returncode in (1, 2), f"{flag}={value[:20]}: {result.returncode} {result.stdout}{result.stderr}"
        said = (result.stdout + result.stderr).lower().replace("_", "-")
        assert option.replace("_", "-") in said, said[:500]
        assert len(said) < 3000 or result.returncode == 2  # the parser quotes what it was given


@pytest.mark.parametrize("family", NARROW)
def test_every_knob_refuses_what_is_no_finite_number(family: str) -> None:
    penalty = 0.0 if family in BATCH_NORM_IN_D else 0.1
    config = tiny(family=family, r1=penalty, r2=penalty)
    for name, value in leaves(config):
        schedule = isinstance(value, str) and name in config.schedules()
        if (isinstance(value, int | float | tuple) and not isinstance(value, bool)) or schedule or value is None:
            for wrong in (math.nan, math.inf, -math.inf, 10**400, [math.nan], {"x": 1}, object()):
                with pytest.raises(GanvasError, match=name.replace("_", "[_-]")):
                    replace(config, **{name: wrong})


@pytest.mark.parametrize("text", ["nan", "inf..0", "0..nan", "1e999", "0..1:linear@nan-1", "0..1@0-infk", "९..1e400"])
def test_schedule_of_numbers_that_are_not_finite_is_refused(text: str) -> None:
    with pytest.raises(GanvasError, match="not a schedule"):
        Schedule.parse(text)


SEEDS = [0, 1, 2**31, 2**32 - 1, 2**32, 2**53 + 1, 2**63 - 1]


def test_seeds_up_to_the_largest_and_no_further(run: Run) -> None:
    sampler = ganvas.load(run)
    drawn = sampler.sample(SEEDS, label=0)
    for seed, image in zip(SEEDS, drawn, strict=True):
        assert (sampler.sample([seed], label=0)[0] == image).all()
    assert len(call_cli("sample", run, "--seeds", f"{2**63 - 2}-{2**63 - 1}", "--out", "two.png", check=0).stdout)
    for seed in (-1, 2**63, 2**64, 10**400):
        with pytest.raises(GanvasError, match="seed"):
            sampler.sample([seed])
        call_cli("sample", run, f"--seeds={seed}", "--out", "grid.png", check=1)
        call_cli("train", "mlp", f"--seed={seed}", "--dry-run", check=1)
    for seed in (2**63 - 1, 2**63 - 2):
        trained = train(replace(tiny(kimg=0.04), seed=seed), out="runs", quiet=True)
        assert Run(trained.path).config.seed == seed


@pytest.mark.parametrize("label", ["²", "10", "-1", "9" * 5000, "one\0", "1.0", "", "٣"])
def test_class_that_is_none_is_refused(label: str, run: Run) -> None:
    result = call_cli("sample", run, f"--class={label}", "--out", "grid.png", check=1)
    assert "has no class" in result.stderr


@pytest.mark.parametrize("path", ["~nosuchuser/runs", "~nosuchuser", "x" * 5000, "a\0b", "loop", "pipe", "/dev/zero"])
@pytest.mark.parametrize(
    "arguments",
    [
        ["sample", "PATH"], ["evaluate", "PATH"], ["evaluate", "PATH", "--against", "digits"], ["diagnose", "PATH"],
        ["plot", "PATH"], ["runs", "PATH"], ["runs", "--remove", "PATH"], ["data", "PATH"],
        ["train", "mlp", "--data", "PATH", "--dry-run"], ["train", "PATH", "--dry-run"], ["compare", "PATH", "cnn"],
        ["evaluate", "RUN", "--against", "PATH"], ["evaluate", "RUN", "--held-out", "PATH"],
        ["evaluate", "RUN", "--features", "PATH:x"], ["evaluate", "RUN", "--features", ":x"],
        ["evaluate", "RUN", "--features", "PATH.py:x"],
        ["evaluate", "RUN", "--features", "inception", "--weights", "PATH"],
        ["evaluate", "RUN", "--features", "dinov2", "--weights", "PATH"],
        ["style", "PATH", "PATH"], ["style", "RUN", "PATH", "--network", "vgg19", "--weights", "PATH"],
        ["train", "custom", "--g", "PATH.py:G", "--dry-run"], ["train", "custom", "--d", "PATH:D", "--dry-run"],
        ["train", "mlp", "--objective", "PATH.py:x", "--dry-run"], ["compare", "cnn", "PATH", "--knobs", "batch=8"],
    ],
    ids=lambda arguments: "-".join(arguments),
)  # fmt: skip
def test_path_that_is_none_is_refused(arguments: list[str], path: str, run: Run) -> None:
    if path == "loop":
        Path("loop").symlink_to("loop")
    if path == "pipe":
        import os

        os.mkfifo("pipe")
    given = [one.replace("PATH", path).replace("RUN", str(run)) for one in arguments]
    result = call_cli(*given, check=None)
    assert result.returncode in (1, 2), result.stdout
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x04.", b"PK\x03\x04", b"\x00" * 100, b"\x80\x02}q\x00."])
@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors", "weights.pt", "weights"])
def test_file_that_holds_no_weights_is_refused(name: str, content: bytes, run: Run) -> None:
    Path(name).write_bytes(content)
    from PIL import Image

    Image.new("RGB", (32, 32)).save("photo.png")
    for arguments in (
        ["style", "photo.png", "photo.png", "--network", "squeezenet", "--weights", name, "--quiet"],
        ["evaluate", str(run), "--features", "inception", "--weights", name],
        ["evaluate", str(run), "--features", "torch.nn:Identity", "--weights", name],
    ):
        result = call_cli(*arguments, check=1)
        assert name in result.stderr


def test_style_options_refuse_other_types() -> None:
    for entry in fields(StyleOptions):
        for wrong in ("²", object(), math.nan, [object()]):
            if entry.name in ("init", "style_layers", "content_layers", "device", "weights") and isinstance(wrong, str):
                continue
            with pytest.raises(GanvasError):
                resolve_options(None, {entry.name: wrong})
