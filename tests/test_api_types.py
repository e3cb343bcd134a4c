"""Every argument of every public function with values of the wrong type: an answer, or an error that names it."""

import inspect
import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import time_limit, tiny
from torch import nn

import ganvas
from ganvas.config import TrainConfig, leaves, replace
from ganvas.errors import GanvasError
from ganvas.runs.folder import Run
from ganvas.style.options import PRESETS
from ganvas.training import start

WRONG: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "True": lambda: True,
    "-1": lambda: -1,
    "1.5": lambda: 1.5,
    "NaN": lambda: math.nan,
    "infinity": lambda: math.inf,
    "10^400": lambda: 10**400,
    "no text": lambda: "",
    "text": lambda: "²\n",
    "zero byte": lambda: "a\0b",
    "bytes": lambda: b"abc",
    "long": lambda: "x" * 5000,
    "~nobody": lambda: Path("~nosuchuser/x"),
    "list": lambda: [object()],
    "no list": list,
    "dictionary": lambda: {"x": object()},
    "set": lambda: {1.5},
    "object": object,
    "function": lambda: lambda: None,
    "class": lambda: int,
    "0-d array": lambda: np.array(1.5),
    "0-d tensor": lambda: torch.tensor(1.5),
    "truth in a tensor": lambda: torch.tensor(True),
    "array of text": lambda: np.array(["x"]),
    "empty array": lambda: np.zeros((0, 3, 8, 8), np.uint8),
    "empty tensor": lambda: torch.zeros(0),
    "tensor": lambda: torch.ones(2, 2),
    "complex": lambda: torch.zeros(2, 1, 8, 8, dtype=torch.complex64),
    "meta": lambda: torch.zeros(2, device="meta"),
    "generator": lambda: (one for one in ()),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANVAS_CACHE", str(tmp_path_factory.mktemp("cache")))
        config = replace(tiny(), conditional=True)
        return start.train(config, out=tmp_path_factory.mktemp("runs"), quiet=True)


def refuses(call: Callable[..., Any], argument: str, value: Any) -> None:
    """Calls it; anything but an answer, a GanvasError, or a TypeError that names the argument fails."""
    said = argument
    with time_limit(30):
        try:
            answer = call(**{argument: value})
            if isinstance(answer, Iterator):
                next(answer, None)
        except GanvasError as error:
            said = argument if str(error).strip() and len(str(error)) < 8000 else "nothing, or too much"
        except TypeError as error:
            said = str(error)
    assert argument in said


def arguments_of(function: Callable[..., Any], *left_out: str) -> list[str]:
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    parameters = inspect.signature(function).parameters.items()
    return [name for name, parameter in parameters if parameter.kind not in kinds and name not in ("self", *left_out)]


def photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 32, 32), np.uint8)


STYLE = {"size": 32, "iterations": 1, "min_scale": 32}

FUNCTIONS: list[tuple[Callable[..., Any], dict[str, Any], tuple[str, ...]]] = [
    (ganvas.load, {"run": "RUN"}, ()),
    (ganvas.evaluate, {"what": "RUN", "count": 10, "quick": True, "quiet": True}, ("memo",)),
    (ganvas.diagnose, {"what": "RUN"}, ()),
    (ganvas.compare, {"candidates": "RUN", "count": 10, "quiet": True}, ("ray",)),
    (ganvas.stylize, {"content": photo(), "styles": photo(), **STYLE}, ("callback",)),
    (ganvas.watch, {"G": nn.Linear(2, 2), "D": nn.Linear(2, 1)}, ()),
    (ganvas.Run, {"path": "RUN"}, ()),
    (ganvas.Samples, {"images": np.zeros((2, 1, 8, 8), np.uint8)}, ()),
    (start.train, {"config": tiny(kimg=0.02), "quiet": True}, ()),
]


@pytest.fixture(autouse=True)
def _small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """For speed: None is the preset's, of fewer pixels and iterations; and no argument changes a report's figures."""
    monkeypatch.setitem(PRESETS, "standard", {"size": 48, "iterations": 2})
    monkeypatch.setattr("ganvas.comparison.figures.draw_figures", lambda _: {})


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize(("function", "right", "left_out"), FUNCTIONS, ids=lambda v: getattr(v, "__name__", ""))
def test_function(
    function: Callable[..., Any], right: dict[str, Any], left_out: tuple[str, ...], kind: str, run: Run
) -> None:
    right = {name: run.path if isinstance(value, str) else value for name, value in right.items()}
    for argument in arguments_of(function, *left_out):
        value = WRONG[kind]()
        refuses(partial(function, **{name: one for name, one in right.items() if name != argument}), argument, value)


@pytest.mark.parametrize("kind", WRONG)
def test_methods(kind: str, run: Run) -> None:
    sampler = ganvas.load(run)
    samples = sampler.sample(range(4))
    network = nn.Linear(2, 2)
    with ganvas.watch(network, nn.Linear(2, 1), report=None) as probe:
        batch = {"real": torch.zeros(2, 2), "fake": torch.zeros(2, 2)}
        for argument in arguments_of(probe.step):
            refuses(partial(probe.step, **{n: v for n, v in batch.items() if n != argument}), argument, WRONG[kind]())
    small = {"seeds": [0, 1], "frames": 2}
    for method, right in (
        (sampler.sample, {"seeds": [0]}), (sampler.sample_batches, {"seeds": [0]}),
        (sampler.sample_grid, {"seeds": [0]}),
        (sampler.interpolate, small), (sampler.find_class, {}), (samples.grid, {}),
    ):  # fmt: skip
        for argument in arguments_of(method):
            fixed: dict[str, Any] = {name: value for name, value in right.items() if name != argument}
            refuses(partial(method, **fixed), argument, WRONG[kind]())


@pytest.mark.parametrize("kind", WRONG)
def test_latent_space(kind: str, run: Run) -> None:
    sampler = ganvas.load(run)
    latents, found = sampler.latents([0, 1]), ganvas.directions(sampler, method="sefa", n=2)
    moved = {"latents": latents, "direction": 1, "amounts": [0.0, 1.0]}
    for method, right in (
        (sampler.latents, {"seeds": [0]}), (sampler.draw, {"latents": latents}),
        (sampler.interpolate, {"latents": latents, "frames": 2}), (found.move, moved),
        (found.sheet, {"amounts": [0.0], "n": 1}), (found.save_sheet, {"path": "sheet.png"}),
        (latents.save, {"path": "latents.npz"}), (ganvas.load_latents, {}), (latents.concatenate, {}),
        (partial(ganvas.directions, sampler), {"method": "sefa"}),
    ):  # fmt: skip
        for argument in arguments_of(method):
            fixed: dict[str, Any] = {name: value for name, value in right.items() if name != argument}
            refuses(partial(method, **fixed), argument, WRONG[kind]())
    with pytest.raises(GanvasError, match="quiet"):
        ganvas.project(run, [photo()], quiet=torch.ones(2, 2))  # type: ignore[arg-type]


def test_comparison_by_an_array() -> None:
    with pytest.raises(GanvasError, match="features"):
        ganvas.compare(["mlp", "cnn"], kimg=0.01, features=np.zeros(2), quiet=True)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", WRONG)
def test_knobs(kind: str) -> None:
    config = tiny()
    for name, _ in leaves(config):
        refuses(partial(replace, config), name, WRONG[kind]())
    for argument in arguments_of(TrainConfig):
        refuses(TrainConfig, argument, WRONG[kind]())


def test_integers_of_numpy_and_torch_are_numbers(run: Run) -> None:
    sampler = ganvas.load(run)
    expected = sampler.sample([3, 5], label=[1, 2])
    for seeds, label in (
        (np.array([3, 5]), np.array([1, 2])),
        (torch.tensor([3, 5]), torch.tensor([1, 2])),
        ([np.int64(3), torch.tensor(5)], [np.uint8(1), torch.tensor(2)]),
        ((np.int32(3), 5), ("1", np.int64(2))),
    ):
        assert (sampler.sample(seeds, label=label) == expected).all()  # type: ignore[arg-type]
    for label in (np.int64(1), torch.tensor(1), np.array(1), "1"):
        assert (sampler.sample([3], label=label)[0] == expected[0]).all()  # type: ignore[arg-type]
    assert len(sampler.sample(np.empty(0, np.int64))) == 0
    assert replace(tiny(), batch=np.int64(40), seed=torch.tensor(7), g_lr=np.float32(0.5)).seed == 7
    for where in (str(run.path), run.path, run, Path(run.path) / "snapshots" / run.latest_snapshot.name):
        assert ganvas.load(where, device=torch.device("cpu")).sample([3], label=1).shape == (1, 1, 8, 8)  # type: ignore[arg-type]
