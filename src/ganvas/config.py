"""Every knob: frozen, documented dataclasses; JSON in and out; an unknown key is an error.

A knob has one name everywhere: the field here, the key in `config.json`, the keyword of `ganvas.train(...)`, and
(with dashes) the flag of the command line. Field names are therefore unique over all groups.
"""

import dataclasses
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from ganvas.data.options import PictureOptions
from ganvas.errors import GanvasError
from ganvas.schedule import Knob, Schedule

Config = TypeVar("Config")


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """What is shown to the discriminator."""

    data: str = "digits"
    """Pictures to learn: digits, a folder, a zip, an IDX folder, CIFAR-10, .npz, mnist, hf:owner/name …"""
    resolution: str | None = None
    """Height, or HEIGHTxWIDTH; by default the pictures' own where they agree."""
    channels: Literal[1, 3, 4] | None = None
    """1 grey, 3 RGB, 4 RGBA; by default what the pictures have."""
    fit: Literal["crop", "pad", "stretch"] = "crop"
    """How a picture of another shape is brought to the resolution."""
    max_bad: float = 0.05
    """The fraction of unreadable pictures above which training is refused."""
    conditional: bool = False
    """Learn the classes: G draws the class it is asked for, D is told the class it judges."""
    mirror: bool = False
    """Show each picture mirrored half of the time."""
    balanced: bool = False
    """Show every class equally often, whatever its share of the data."""

    def options(self) -> PictureOptions:
        """What the data room needs of it.

        Raises:
            GanvasError: a resolution that cannot be read, or another value out of bounds.
        """
        return PictureOptions(self.data, "train", self.resolution, self.channels, self.fit, self.max_bad)


@dataclass(frozen=True, kw_only=True)
class MLP:
    """Fully connected pair; see `ganvas.networks.mlp`."""

    family: Literal["mlp"] = field(default="mlp", init=False)
    latent: int = 100
    """Numbers in the latent vector z ~ N(0, 1)."""
    g_widths: tuple[int, ...] = (128, 256, 512)
    """Hidden units of the generator, layer by layer."""
    d_widths: tuple[int, ...] = (512, 256)
    """Hidden units of the discriminator, layer by layer."""
    g_norm: Literal["batch", "none"] = "batch"
    """Normalisation after each hidden layer of the generator."""


@dataclass(frozen=True, kw_only=True)
class CNN:
    """Convolutional pair of the courses; see `ganvas.networks.cnn`."""

    family: Literal["cnn"] = field(default="cnn", init=False)
    latent: int = 100
    """Numbers in the latent vector z ~ N(0, 1)."""
    g_width: int = 64
    """Channels of the generator at the largest feature map; doubled at each halving of the size."""
    d_width: int = 64
    """Channels of the discriminator's first layer; doubled at each halving of the size."""


SCHEDULED = ("g_lr", "d_lr", "beta2", "r1", "r2", "ema")
"""The knobs that may move with time."""

Network = MLP | CNN
"""One dataclass a family; the generator and discriminator of that family are built from it."""


@dataclass(frozen=True, kw_only=True)
class Play:
    """The rules of the game. A value written with a schedule may move with time (see `ganvas.schedule`)."""

    objective: str = "rpgan"
    """minimax, non-saturating or rpgan."""
    r1: Knob = 0.0
    """γ of the gradient penalty on real pictures (γ/2 · E|∇D|²); 0 = none."""
    r2: Knob = 0.0
    """γ of the gradient penalty on generated pictures."""
    penalty_every: int = 1
    """Rounds between two penalties; each is then scaled up by that number."""
    shared_fakes: bool = True
    """The fakes of one generator pass serve both moves, as in the course loops; otherwise G draws anew."""


@dataclass(frozen=True, kw_only=True)
class Optimisation:
    """Adam for both players, and the average of the generator that is kept."""

    batch: int = 64
    """Real pictures a round, over all processes."""
    g_lr: Knob = 2e-4
    """Learning rate of the generator."""
    d_lr: Knob = 2e-4
    """Learning rate of the discriminator."""
    beta1: float = 0.0
    """Adam's first-moment decay."""
    beta2: Knob = 0.99
    """Adam's second-moment decay."""
    ema: Knob = 10.0
    """Half-life of the generator's moving average, in kimg; 0 keeps no average."""
    ema_warmup: float = 0.05
    """The half-life never exceeds this fraction of the images seen so far; 0 = it may from the start."""


@dataclass(frozen=True, kw_only=True)
class Habits:
    """How often things are written, and where it runs. May change when a run goes on.

    It is then the same run, but for `threads` and `device`, which may change the last bit of a sum.
    """

    tick_kimg: float = 4.0
    """kimg between two lines of stats.jsonl."""
    snapshot_kimg: float | None = None
    """kimg between two snapshots (weights, grid, state); by default a tenth of the run."""
    keep_kimg: float | None = None
    """Snapshots at multiples of this many kimg are kept for good; by default only the last (and the best)."""
    plot: bool = True
    """Redraw losses.png with each snapshot, in a process of its own."""
    threads: int | None = None
    """CPU threads; by default as many as the networks can keep busy."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything that decides a run."""

    kimg: float = 500.0
    """Length of the run, in thousands of real pictures shown to the discriminator."""
    seed: int = 0
    """Seed of everything random."""
    pictures: Pictures = field(default_factory=Pictures)
    network: Network = field(default_factory=MLP)
    play: Play = field(default_factory=Play)
    optimisation: Optimisation = field(default_factory=Optimisation)
    habits: Habits = field(default_factory=Habits)

    def __post_init__(self) -> None:
        self.pictures.options()
        knobs = dict(leaves(self))
        for name in ("batch", "latent", "penalty_every", "g_width", "d_width"):
            if name in knobs and not knobs[name] > 0:
                _refuse(name, knobs[name], "a number above 0")
        if knobs["threads"] is not None and not knobs["threads"] > 0:
            _refuse("threads", knobs["threads"], "a number above 0, or nothing for the default")
        for name in ("g_widths", "d_widths"):
            if any(width < 1 for width in knobs.get(name, ())):
                _refuse(name, knobs[name], "whole numbers above 0")
        if not 0 <= knobs["ema_warmup"] <= 1:
            _refuse("ema_warmup", knobs["ema_warmup"], "a fraction from 0 to 1")
        for name in ("kimg", "tick_kimg", "snapshot_kimg", "keep_kimg"):
            if knobs[name] is not None and not 1 <= 1000 * knobs[name] < 1e15:
                _refuse(name, knobs[name], "at least one image (0.001) and a finite number")
        if knobs["keep_kimg"] is not None and knobs["keep_kimg"] < 1:
            _refuse("keep_kimg", knobs["keep_kimg"], "1 or more: snapshots are called after whole kimg")
        if not 0 <= self.seed < 2**63:
            _refuse("seed", self.seed, "a whole number from 0 to 2^63 - 1")
        if knobs.get("g_norm") == "batch" and knobs["batch"] < 2:
            _refuse("batch", knobs["batch"], "2 or more: batch norm compares the images of a batch (--g-norm none)")
        for name in SCHEDULED:
            most = 1.0 if name in ("g_lr", "d_lr", "beta2") else None
            schedule = Schedule.of(knobs[name])
            for value in (schedule.start, schedule.end):
                if not value >= 0 or (most is not None and value >= most):
                    _refuse(name, knobs[name], "0 or more" + (f" and below {most:g}" if most else ""))
        if not 0 <= self.optimisation.beta1 < 1:
            _refuse("beta1", self.optimisation.beta1, "0 or more and below 1")

    @property
    def total(self) -> int:
        """Length of the run in images."""
        return round(self.kimg * 1000)

    def schedule(self, knob: str) -> Schedule:
        """The schedule of a knob by its name."""
        return Schedule.of(dict(leaves(self))[knob])

    def snapshot_every(self) -> int:
        """Images between two snapshots."""
        return round(1000 * (self.habits.snapshot_kimg or max(self.kimg / 10, self.habits.tick_kimg)))


def leaves(config: Any) -> Iterator[tuple[str, Any]]:
    """The (name, value) of every knob, groups opened."""
    for entry in dataclasses.fields(config):
        value = getattr(config, entry.name)
        if dataclasses.is_dataclass(value):
            yield from leaves(value)
        else:
            yield entry.name, value


def replace(config: Config, **knobs: Any) -> Config:
    """A copy of `config` with some knobs, named wherever they are, set anew.

    Raises:
        GanvasError: a name is unknown, or a value of the wrong type or out of bounds.
    """
    known = dict(leaves(config))
    for name in knobs:
        if name not in known:
            raise _unknown(name, known)
    return _replace(config, knobs)


def _replace(config: Any, knobs: Mapping[str, Any]) -> Any:
    changed = {}
    for entry in dataclasses.fields(config):
        value = getattr(config, entry.name)
        if dataclasses.is_dataclass(value):
            changed[entry.name] = _replace(value, knobs)
        elif entry.name in knobs and not entry.init:
            raise GanvasError(f"'{entry.name}' cannot be set.", mend="choose a recipe of that family.")
        elif entry.name in knobs:
            changed[entry.name] = _build(entry.type, _plain(entry.name, knobs[entry.name]), entry.name)
    return dataclasses.replace(config, **changed)


def _plain(name: str, value: Any) -> Any:
    """What Python users write for a knob, as JSON would hold it: paths, numpy's numbers, a whole resolution."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if name == "resolution" and isinstance(value, int | tuple | list):
        return "x".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
    return value.item() if hasattr(value, "item") else value


def differences(old: Any, new: Any) -> list[tuple[str, Any, Any]]:
    """(knob, old value, new value) wherever two configurations differ."""
    before, after = dict(leaves(old)), dict(leaves(new))
    names = list(before) + [name for name in after if name not in before]
    return [(n, before.get(n), after.get(n)) for n in names if before.get(n) != after.get(n)]


def to_json(config: Any) -> dict[str, Any]:
    """A configuration as plain dictionaries, lists and numbers."""
    return dataclasses.asdict(config)


def from_json(kind: type[Config], value: Mapping[str, Any]) -> Config:
    """The reverse of `to_json`.

    Raises:
        GanvasError: a key is unknown, or a value has the wrong type.
    """
    return _build(kind, value, getattr(kind, "__name__", "the configuration"))


def _build(kind: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, Mapping):
            raise GanvasError(f"{where} is {value!r}.", expected="a JSON object")
        fields = {entry.name: entry for entry in dataclasses.fields(kind)}
        for name in value:
            if name not in fields:
                raise _unknown(name, fields)
        return kind(**{n: _build(fields[n].type, item, n) for n, item in value.items() if fields[n].init})  # type: ignore[operator]
    options = get_args(kind)
    if get_origin(kind) in (Union, UnionType):
        families = {option().family: option for option in options if dataclasses.is_dataclass(option)}  # type: ignore[operator,attr-defined]
        if families:
            name = value.get("family") if isinstance(value, Mapping) else None
            if name not in families:
                raise GanvasError(f"{where}: '{name}' is not a family.", expected="one of " + ", ".join(families))
            return _build(families[name], value, where)
        for option in options:
            try:
                return _build(option, value, where)
            except GanvasError:
                continue
    elif get_origin(kind) is Literal:
        if value in options:
            return value
    elif get_origin(kind) is tuple:
        if isinstance(value, list | tuple):
            return tuple(_build(options[0], item, where) for item in value)
    elif kind is int:
        if isinstance(value, int | float) and not isinstance(value, bool) and value == int(value):
            return int(value)
    elif kind is float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    elif kind is type(None):
        if value is None:
            return None
    elif isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    raise GanvasError(f"{where} is {value!r}.", expected=f"a value of type {getattr(kind, '__name__', kind)}")


def _refuse(name: str, value: Any, expected: str) -> None:
    raise GanvasError(f"--{name.replace('_', '-')} is {value}.", expected=expected)


def _unknown(name: str, known: Any) -> GanvasError:
    near = get_close_matches(name, list(known), n=1)
    return GanvasError(
        f"'{name}' is not a knob.",
        expected="one of " + ", ".join(sorted(known)),
        mend=f"did you mean '{near[0]}'?" if near else "ganvas train --help explains each.",
    )
