"""A setting has one name, one default and one type on the command line and in Python."""

import collections.abc
import dataclasses
import inspect
import os
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

import ganvas
from ganvas import data, environment
from ganvas.cli import COMMANDS
from ganvas.cli.training import _TrainCommand
from ganvas.config import TrainConfig, leaves
from ganvas.data.cached import cache_contents
from ganvas.latent_space.axes import Directions
from ganvas.runs import cleaning, curves, overview
from ganvas.sampling import Sampler
from ganvas.studio.server import serve
from ganvas.style.options import StyleOptions

PYTHON: dict[str, list[Callable[..., Any]]] = {
    "train": [ganvas.train],
    "sample": [ganvas.load, Sampler.sample, Sampler.sample_grid, Sampler.interpolate],
    "project": [ganvas.project],
    "directions": [ganvas.directions, Directions.save_sheet],
    "plot": [curves.plot],
    "data": [data.inspect],
    "evaluate": [ganvas.evaluate],
    "diagnose": [ganvas.diagnose],
    "compare": [ganvas.compare],
    "log": [ganvas.log_run],
    "style": [ganvas.stylize],
    "studio": [serve],
    "export": [ganvas.export],
    "recipes": [],
    "runs": [overview.list_runs, cleaning.remove, cleaning.clean],
    "cache": [cache_contents.clean],
    "info": [environment.describe],
}
"""The functions that a command offers."""

TERMINAL_ONLY = {
    "train": {"config", "gpus", "dry_run", "json"},  # config: every knob, in Python the keywords of train
    "sample": {
        *("out", "each", "video", "fps", "save_latents", "scale", "class_"),  # files, where Python returns arrays
        *("direction", "amount", "move"),  # in Python directions().move
        *("mix", "layers", "noise"),  # Sampler.mix, and change_noise
    },
    "project": {"out", "json"},
    "directions": {"out", "json"},
    "plot": set[str](),
    "data": {"json"},
    "evaluate": {"panel", "json"},
    "diagnose": {"json"},
    "compare": {"csv", "json"},
    "log": {"json"},
    "style": {"out", "preview", "gif", "quiet", "json"},
    "studio": set[str](),
    "export": {"json"},
    "recipes": {"recipe", "json"},
    "runs": {"remove", "clean", "json"},  # in Python functions
    "cache": {"clean", "json"},
    "info": {"json"},
}
PYTHON_ONLY = {
    "train": {"recipe", "knobs"},
    "sample": {"self", "progress"},
    "evaluate": {"memo"},  # shared by evaluations
    "project": {"quiet", "callback"},
    "directions": {"n", "path", "self"},
    "compare": {"command"},  # the command line passes what was typed
    "style": {"callback", "knobs"},
    "runs": {"runs", "note"},  # the values of --remove; notes go to stderr
    "cache": {"note"},
}
OTHER_DEFAULT = {
    ("sample", "seeds"),  # 0-63; of an interpolation 0-7
    ("sample", "truncation"),  # of a command one or several
    *(("sample", name) for name in ("frames", "easing")),  # of a command those of --video, refused without it
}
OTHER_TYPE = {
    ("sample", "latents"),
    ("compare", "vary"),
    ("compare", "knobs"),
    ("diagnose", "columns"),
}  # KNOB=VALUE, in Python a dictionary


def parameters(function: Callable[..., Any]) -> dict[str, tuple[Any, Any]]:
    """name -> (default, type)."""
    function = inspect.unwrap(function)
    hints = typing.get_type_hints(function, include_extras=False)
    return {name: (p.default, hints.get(name)) for name, p in inspect.signature(function).parameters.items()}


def command_parameters(command: str) -> dict[str, tuple[Any, Any]]:
    return parameters(_TrainCommand if command == "train" else COMMANDS[command])


def plain(default: Any) -> Any:
    """A default, the same for a path and its text, and for nothing in any form."""
    return (
        str(default) if isinstance(default, Path) else None if default in ((), {}, inspect.Parameter.empty) else default
    )


def scalars(kind: Any) -> Iterator[Any]:
    """The types of the values in a union or a container."""
    origin = typing.get_origin(kind)
    if origin is Annotated:
        yield from scalars(typing.get_args(kind)[0])
    elif origin is Literal:
        yield from ({type(value) for value in typing.get_args(kind)})
    elif origin in (typing.Union, types.UnionType) or origin in (
        tuple,
        collections.abc.Sequence,
        collections.abc.Iterable,
    ):
        for part in typing.get_args(kind):
            if part is not Ellipsis:
                yield from scalars(part)
    else:
        yield {os.PathLike: Path}.get(origin or kind, origin or kind)


def test_every_command_has_its_functions_listed() -> None:
    assert COMMANDS.keys() == PYTHON.keys() == TERMINAL_ONLY.keys()


@pytest.mark.parametrize("command", COMMANDS)
def test_names_are_the_same(command: str) -> None:
    in_python = {name for function in PYTHON[command] for name in parameters(function)} - PYTHON_ONLY.get(
        command, set()
    )
    assert command_parameters(command).keys() - TERMINAL_ONLY[command] == in_python


@pytest.mark.parametrize("command", COMMANDS)
def test_defaults_and_types_are_the_same(command: str) -> None:
    own = command_parameters(command)
    for function in PYTHON[command]:
        for name, (default, kind) in parameters(function).items():
            if name not in own or name in TERMINAL_ONLY[command]:
                continue
            if (command, name) not in OTHER_DEFAULT and name != "options":
                assert plain(own[name][0]) == plain(default), name
            if (command, name) not in OTHER_TYPE:
                accepted = set(scalars(kind))
                accepted |= {Path} if str in accepted else set()
                accepted |= {types.NoneType} if (command, name) in OTHER_DEFAULT else set()
                assert set(scalars(own[name][1])) <= accepted, name


def test_knobs_of_training_and_of_style_are_flags_and_keywords() -> None:
    """Both take any field by its name: fields differ from the other options."""
    assert not {name for name, _ in leaves(TrainConfig())} & (command_parameters("train").keys() - {"config"})
    fields = {field.name for field in dataclasses.fields(StyleOptions)}
    assert not fields & (command_parameters("style").keys() | parameters(ganvas.stylize).keys())


def test_device_is_auto_everywhere() -> None:
    functions = [getattr(ganvas, name) for name in ganvas.__all__ if inspect.isfunction(getattr(ganvas, name))]
    for function in [*functions, *COMMANDS.values()]:
        assert parameters(function).get("device", ("auto",))[0] == "auto"
    assert StyleOptions().device == TrainConfig().runtime.device == "auto"
