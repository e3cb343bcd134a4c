"""Calls of the Python API with wrong arguments: GanvasError, or a TypeError that names the argument."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from isolation import Answer, Case, WrongAnswer, call
from prepared import copy_all


@dataclass(frozen=True)
class Call:
    """A public function with arguments that are right.

    Attributes:
        name: how users write it.
        function: given the working folder as `prepared` made it, the function.
        arguments: by name; the first is positional for users, but has this name too.
    """

    name: str
    function: Callable[[], Callable[..., Any]]
    arguments: Callable[[], dict[str, Any]]


def odd_values() -> dict[str, Callable[[], Any]]:
    """Values of every kind, made when they are used."""
    import numpy as np
    import torch

    return {
        "None": lambda: None, "True": lambda: True, "-1": lambda: -1, "0": lambda: 0, "1.5": lambda: 1.5,
        "10**30": lambda: 10**30,
        "nan": lambda: float("nan"), "inf": lambda: float("inf"), "''": lambda: "", "'x'": lambda: "x",
        "'\\0'": lambda: "a\0b",
        "'²'": lambda: "²", "surrogate": lambda: "\udcff", "b''": lambda: b"x", "[]": lambda: [], "[1]": lambda: [1],
        "()": lambda: (), "{}": dict,
        "{'x': 1}": lambda: {"x": 1}, "{1}": lambda: {1}, "range(3)": lambda: range(3), "[[]]": lambda: [[]],
        "['x', None]": lambda: ["x", None],
        "object()": object, "a function": lambda: (lambda *_: 1 / 0), "int": lambda: int, "1j": lambda: 1j,
        "Path('missing')": lambda: Path("missing"),
        "Path('run')": lambda: Path("run"), "Path('.')": lambda: Path(), "np.int64(1)": lambda: np.int64(1),
        "np.float32(2)": lambda: np.float32(2),
        "np.array(3)": lambda: np.array(3), "np.zeros(0)": lambda: np.zeros(0),
        "np.zeros((4, 1, 8, 8))": lambda: np.zeros((4, 1, 8, 8)),
        "uint8 [4 1 8 8]": lambda: np.zeros((4, 1, 8, 8), np.uint8),
        "uint8 [3 20 20]": lambda: np.zeros((3, 20, 20), np.uint8),
        "uint8 [20 20 3]": lambda: np.zeros((20, 20, 3), np.uint8),
        "uint8 [0 1 8 8]": lambda: np.zeros((0, 1, 8, 8), np.uint8),
        "np.array(['x'])": lambda: np.array(["x"]), "objects": lambda: np.array([None, "x"], object),
        "tensor(1.)": lambda: torch.tensor(1.0),
        "tensor([])": lambda: torch.zeros(0), "tensor [4 1 8 8]": lambda: torch.zeros(4, 1, 8, 8),
        "tensor [2 2]": lambda: torch.zeros(2, 2),
        "tensor nan [4 1 8 8]": lambda: torch.full((4, 1, 8, 8), float("nan")),
        "int tensor [4]": lambda: torch.zeros(4, dtype=torch.int64),
        "sparse": lambda: torch.eye(3).to_sparse(), "complex": lambda: torch.zeros(4, dtype=torch.complex64),
        "meta": lambda: torch.zeros(4, device="meta"),
        "Linear": lambda: torch.nn.Linear(2, 2), "an iterator": lambda: iter([1, 2]),
        "nested": lambda: {"a": [{"b": (1, [])}]},
        "a generator": lambda: (i for i in range(3)), "10**19 as text": lambda: "1" + "0" * 19,
        "'0-99999999999'": lambda: "0-99999999999",
    }  # fmt: skip


def networks() -> tuple[Any, Any]:
    """A generator of 6 numbers and a discriminator of images [1 8 8]."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    g = nn.Sequential(nn.Linear(6, 64), nn.Tanh(), nn.Unflatten(1, (1, 8, 8)))
    return g, nn.Sequential(nn.Flatten(), nn.Linear(64, 1))


def images(n: int = 4) -> Any:
    import torch

    return torch.rand(n, 1, 8, 8) * 2 - 1


def watched(**arguments: Any) -> Any:
    """Watches two rounds and diagnoses."""
    import ganvas

    probe = ganvas.watch(**arguments)
    for _ in range(2):
        probe.step(real=images(), fake=images(), d_loss=1.0, g_loss=1.0)
    return repr(probe.close())


def step(**arguments: Any) -> Any:
    """One round with odd arguments, among others."""
    import ganvas

    probe = ganvas.watch(*networks(), report=None, every=1)
    for _ in range(2):
        probe.step(**arguments)
    return repr(probe.close())


def drawn() -> Any:
    import ganvas

    return ganvas.load("run").sample(range(4))


def latents() -> Any:
    """Those of four seeds, in a file too."""
    import ganvas

    found = ganvas.load("run").latents(range(4))
    found.save("latents.npz")
    return found


def projected() -> Any:
    import ganvas

    return ganvas.project("run", ["photo.png"], steps=1, references=0, quiet=True)


def directions() -> Any:
    import ganvas

    return ganvas.directions("run", method="sefa", n=3)


TRAIN = {
    "recipe": "mlp", "data": "images.npz", "kimg": 0.04, "batch": 10, "latent": 6, "g_widths": [8], "d_widths": [8],
    "quiet": True, "threads": 1,
    "plot": False,
}  # fmt: skip


def public(name: str) -> Callable[[], Any]:
    """A public name of ganvas, with parts: "load"."""

    def get() -> Any:
        import ganvas

        return getattr(ganvas, name)

    return get


def method(name: str) -> Callable[[], Any]:
    """A method of a loaded generator."""

    def get() -> Any:
        import ganvas

        return getattr(ganvas.load("run"), name)

    return get


def collected(name: str) -> Callable[[], Any]:
    """As `method`, of one that returns an iterator, which is drawn to its end."""
    return lambda: lambda **arguments: list(method(name)()(**arguments))


def stylized() -> Callable[..., Any]:
    def act(**arguments: Any) -> Any:
        import ganvas

        return repr(ganvas.stylize(**arguments))

    return act


STYLE = {"content": "photo.png", "styles": ["painting.png"], "size": 24, "min_scale": 16, "iterations": 1}
CALLS = [
    Call("ganvas.train", public("train"), lambda: {**TRAIN, "out": "runs", "name": None, "new": False}),
    Call("ganvas.train, knobs", public("train"), lambda: {
        **TRAIN, "resolution": "8", "channels": 1, "fit": "crop", "mirror": False, "conditional": False, "g_lr": 1e-3,
        "seed": 1, "r1": 0.1,
        "objective": "hinge", "augment": "none", "device": "cpu", "tick_kimg": 0.02, "keep_kimg": None,
        "skip_d_below": None, "g_norm": "none",
    }),
    Call("ganvas.TrainConfig", public("TrainConfig"), lambda: {"kimg": 1.0, "minutes": None, "seed": 0}),
    Call("ganvas.Run", public("Run"), lambda: {"path": "run"}),
    Call("ganvas.load", public("load"), lambda: {"run": "run", "device": "cpu"}),
    Call("Sampler.sample", method("sample"), lambda: {"seeds": range(4), "label": None, "truncation": 1.0,
    "progress": False}),
    Call("Sampler.sample_batches", collected("sample_batches"),
    lambda: {"seeds": "0-3", "label": [0, 1, 0, 1], "truncation": 0.7}),
    Call("Sampler.interpolate", collected("interpolate"), lambda: {"seeds": [0, 1], "frames": 2, "label": 0,
    "truncation": 1.0}),
    Call("Sampler.sample_grid", method("sample_grid"), lambda: {"seeds": range(4), "label": None, "columns": 2,
    "truncation": 1.0}),
    Call("Sampler.latents", method("latents"), lambda: {"seeds": range(4), "label": None, "truncation": 1.0}),
    Call("Sampler.draw", method("draw"), lambda: {"latents": latents()}),
    Call("Sampler.interpolate, latents", collected("interpolate"), lambda: {"latents": latents(), "frames": 2,
    "easing": "linear", "loop": False}),
    Call("Sampler.mix", method("mix"), lambda: {"rows": [0, 1], "columns": "2-3", "layers": 1, "label": 0,
    "truncation": 1.0}),
    Call("ganvas.load_latents", public("load_latents"), lambda: {"path": "latents.npz"}),
    Call("Latents.save", lambda: latents().save, lambda: {"path": "again.npz"}),
    Call("Latents.concatenate", lambda: latents().concatenate, lambda: {"parts": [latents(), latents()]}),
    Call("ganvas.project", public("project"), lambda: {
        "run": "run", "photos": ["photo.png"], "label": None, "seed": 0, "steps": 2, "references": 1, "device": "cpu",
        "quiet": True,
    }),
    Call("Projection.save", lambda: projected().save, lambda: {"folder": "place"}),
    Call("ganvas.directions", public("directions"), lambda: {
        "run": "run", "method": "pca", "n": 4, "seed": 0, "device": "cpu",
    }),
    Call("Directions.move", lambda: directions().move, lambda: {"latents": latents(), "direction": 1,
    "amounts": [-1.0, 1], "layers": None}),
    Call("Directions.sheet", lambda: directions().sheet, lambda: {"seed": 0, "label": None, "amounts": [0.0, 1.0],
    "n": 2}),
    Call("Directions.save_sheet", lambda: directions().save_sheet, lambda: {"path": "sheet.png", "seed": 0,
    "label": None}),
    Call("Samples.grid", lambda: drawn().grid, lambda: {"columns": 2, "scale": 1}),
    Call("ganvas.evaluate", public("evaluate"), lambda: {
        "what": "run", "against": None, "held_out": None, "features": None, "weights": None, "count": 40,
        "truncation": 1.0, "quick": True,
        "device": "cpu", "quiet": True,
    }),
    Call("ganvas.diagnose", public("diagnose"), lambda: {"what": "losses.csv", "columns": None}),
    Call("ganvas.compare", public("compare"), lambda: {
        "candidates": ["run", "other"], "data": None, "kimg": None, "minutes": None, "pflop": None, "seeds": 1,
        "vary": None, "knobs": None,
        "out": "compared", "workers": 1, "gpus_per_run": 1.0, "count": 40, "features": None, "weights": None,
        "device": "cpu", "quiet": True,
    }),
    Call("ganvas.stylize", stylized, lambda: {**STYLE, "masks": (), "style_masks": (), "callback": None,
    "options": None}),
    Call("ganvas.stylize, knobs", stylized, lambda: {
        **STYLE, "preset": "preview", "network": "eye", "statistic": "gram", "style_layers": None,
        "content_weight": 0.1, "tv_weight": 0.1,
        "style_weights": (), "style_scale": 1.0, "strength": 1.0, "keep_colours": "none", "palette": True,
        "init": "content", "optimiser": "adam",
        "lr": None, "average": 0.1, "tile": None, "seed": 0, "device": "cpu", "weights": None,
    }),
    Call("ganvas.StyleOptions", public("StyleOptions"), lambda: {"size": 24, "iterations": 1, "style_weights": (1.0,)}),
    Call("ganvas.watch", lambda: watched, lambda: {
        **dict(zip("GD", networks(), strict=True)), "data": images(8), "labels": None, "held_out": images(8),
        "logits": None, "every": 1,
        "report": None, "critic": None,
    }),
    Call("Probe.step", lambda: step, lambda: {"real": images(), "fake": images(), "d_loss": 1.0, "g_loss": 1.0}),
    Call("ganvas.data.DataOptions", lambda: data_options, lambda: {
        "source": "images.npz", "split": "train", "resolution": None, "channels": None, "fit": "crop", "max_bad": 0.05,
    }),
]  # fmt: skip


def data_options(**arguments: Any) -> Any:
    """Opens images with odd options."""
    from ganvas.data import DataOptions, open_images

    return open_images(DataOptions(**arguments), progress=False)


def make(number: int, random: Random, prepared: Path) -> Case:
    """Case `number`: each argument of each call in turn, with an odd value; now and then all right, or one too many."""
    copy_all(prepared)
    latents()
    places = [(one, argument) for one in CALLS for argument in (*one.arguments(), "nosuch")]
    chosen, argument = places[number % len(places)]
    name, value = random.choice(sorted(odd_values().items()))
    right = number % 40 == 39
    if right:
        chosen = CALLS[number // 40 % len(CALLS)]
    what = f"{chosen.name}()" if right else f"{chosen.name}({argument}={name})"
    allowed = {0} if right else {1} if argument == "nosuch" else {0, 1}
    return Case(what, lambda: give(chosen, {} if right else {argument: value()}), frozenset(allowed))


def give(chosen: Call, changed: dict[str, Any]) -> Answer:
    """Status 0, or 1 for an error that users may get."""
    from ganvas.errors import GanvasError

    def act() -> None:
        function = chosen.function()
        try:
            found = function(**{**chosen.arguments(), **changed})
            with contextlib.suppress(ZeroDivisionError):  # of the function among the values
                repr(found)
        except GanvasError as error:
            if not str(error).strip():
                raise WrongAnswer("an error without a word") from error
            raise SystemExit(1) from error
        except TypeError as error:
            own = any(value is int for value in changed.values())  # a function, which takes nothing that is called back
            if not own and not any(name in str(error) for name in changed):
                raise
            raise SystemExit(1) from error
        except KeyboardInterrupt as error:  # of one that may take long
            raise SystemExit(130) from error
        except ZeroDivisionError as error:
            if "lambda" not in str(error.__traceback__ and _last_code(error)):
                raise
            raise SystemExit(1) from error

    return call(act, may_take_long=True)


def _last_code(error: BaseException) -> str:
    """The name of the function that raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else trace.tb_frame.f_code.co_name
