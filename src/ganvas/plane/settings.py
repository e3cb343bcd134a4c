"""What determines a game on points: data, knobs, seed; the games that are offered, and the planted failures."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from ganvas.config import TrainConfig, replace
from ganvas.config.groups import ObjectiveName
from ganvas.errors import GanvasError, describe_value

DATA = ("ring", "grid", "spiral", "moons", "line", "own")
"""The distributions, the last one of which is drawn by the user."""

MAX_POINTS = 200
"""Points of the user's own distribution, at most."""

DIGITS, LARGEST = "0123456789abcdefghijklmnopqrstuvwxyz", 36 * 36 - 1
"""A coordinate is two digits in base 36: 00 is -1, zz is 1."""


@dataclass(frozen=True)
class Knob:
    """A setting of a game.

    Attributes:
        default: its value in the game that is played first; its type is the knob's.
        least, most: bounds of a number.
        choices: of a name.
        restarts: whether another value needs new networks, so that the game begins again.
    """

    default: Any
    least: float = 0.0
    most: float = 0.0
    choices: tuple[str, ...] = ()
    restarts: bool = False


KNOBS = {
    "data": Knob("ring", choices=DATA),
    "points": Knob(""),
    "objective": Knob("non-saturating", choices=get_args(ObjectiveName)),
    "d_lr": Knob(0.002, 1e-6, 0.9),
    "g_lr": Knob(0.002, 1e-6, 0.9),
    "d_steps": Knob(1, 1, 10),
    "g_steps": Knob(1, 1, 10),
    "r1": Knob(0.1, 0.0, 100.0),
    "r2": Knob(0.0, 0.0, 100.0),
    "gp": Knob(0.0, 0.0, 100.0),
    "dragan": Knob(0.0, 0.0, 100.0),
    "clip": Knob(0.0, 0.0, 1.0),
    "spectral_norm": Knob(False, restarts=True),
    "noise": Knob(0.0, 0.0, 1.0),
    "batch": Knob(128, 8, 512),
    "beta1": Knob(0.0, 0.0, 0.99),
    "beta2": Knob(0.99, 0.0, 0.9999),
    "d_width": Knob(64, 2, 128, restarts=True),
    "g_width": Knob(64, 2, 128, restarts=True),
    "latent": Knob(4, 1, 32, restarts=True),
    "seed": Knob(0, 0, 2**31 - 1, restarts=True),
}
"""Every knob by its name, which is that of `ganvas train` where it has one."""

PRESETS: dict[str, dict[str, Any]] = {
    "balanced": {},
    "d_too_strong": {"objective": "minimax", "d_lr": 0.003, "d_steps": 3, "g_lr": 0.00001, "r1": 0.0, "latent": 1},
    "collapse": {"d_lr": 0.001, "g_lr": 0.003, "g_steps": 5, "r1": 0.0, "beta1": 0.5},
    "unbounded_critic": {"objective": "wasserstein", "r1": 0.0, "d_steps": 3, "g_lr": 0.003, "beta1": 0.5},
    "d_too_weak": {"d_lr": 0.000001, "r1": 0.0},
    "rate_too_high": {"d_lr": 0.05, "g_lr": 0.05, "r1": 0.0, "beta1": 0.5},
}
"""Changes of the defaults: a game that goes well, and failures."""

REMEDIES: dict[str, dict[str, Any]] = {
    "d_too_strong": {
        "objective": "non-saturating",
        "d_lr": 0.002,
        "d_steps": 1,
        "g_lr": 0.002,
        "r1": 0.1,
        "latent": 4,
    },
    "collapse": {"d_steps": 2, "g_steps": 1, "g_lr": 0.001},
    "unbounded_critic": {"gp": 1.0},
    "d_too_weak": {"d_lr": 0.005, "d_steps": 4, "r1": 0.1},
    "rate_too_high": {"d_lr": 0.002, "g_lr": 0.002, "r1": 0.1},
}
"""What repairs each planted failure while it is played."""


def encode_points(points: list[tuple[float, float]]) -> str:
    """Points in [-1, 1]² as the text of the knob `points`."""
    numbers = (round((min(1.0, max(-1.0, value)) + 1) / 2 * LARGEST) for point in points for value in point)
    return "".join(DIGITS[number // 36] + DIGITS[number % 36] for number in numbers)


def decode_points(text: str) -> list[tuple[float, float]]:
    """The points of the knob `points`.

    Raises:
        GanvasError: the text is none that `encode_points` gives, or they are too many.
    """
    if len(text) % 4 or len(text) > 4 * MAX_POINTS or set(text) - set(DIGITS):
        raise GanvasError(
            "'points' cannot be read.", expected=f"at most {MAX_POINTS} points of four digits or small letters each"
        )
    values = [int(text[i : i + 2], 36) / LARGEST * 2 - 1 for i in range(0, len(text), 2)]
    return list(zip(values[::2], values[1::2], strict=True))


def parse_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """The value of every knob: those given, as numbers or as text, the others by default.

    Raises:
        GanvasError: a name is unknown, or a value is of another kind or out of bounds.
    """
    if unknown := sorted(given.keys() - KNOBS.keys()):
        raise GanvasError(f"There is no knob {unknown[0][:40]!r}.", expected=f"one of {', '.join(KNOBS)}")
    values = {name: _parse(name, knob, given.get(name, knob.default)) for name, knob in KNOBS.items()}
    decode_points(values["points"])
    return values


def _parse(name: str, knob: Knob, value: Any) -> Any:
    kind = type(knob.default)
    if kind is bool:
        known = {True: True, False: False, "true": True, "false": False, "1": True, "0": False}
        if isinstance(value, bool | str) and value in known:
            return known[value]
        raise GanvasError(f"{name} is {describe_value(value)}.", expected="true or false")
    if kind is str:
        if isinstance(value, str) and (value in knob.choices or not knob.choices):
            return value
        raise GanvasError(f"{name} is {describe_value(value)}.", expected=f"one of {', '.join(knob.choices)}")
    expected = f"a {'whole ' if kind is int else ''}number from {knob.least:g} to {knob.most:g}"
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str) or len(str(value)) > 30:
            raise ValueError
        number = kind(value)
        if number != float(value) or not knob.least <= number <= knob.most:
            raise ValueError
    except (ValueError, OverflowError):
        raise GanvasError(f"{name} is {describe_value(value)}.", expected=expected) from None
    return number


_OWN = ("data", "points", "d_width", "g_width")
"""Knobs that a training on images has in another form."""


def to_config(values: Mapping[str, Any]) -> TrainConfig:
    """The configuration of a training by these knobs.

    Raises:
        GanvasError: two of them exclude each other.
    """
    shared = {name: value for name, value in values.items() if name not in _OWN}
    widths = {"d_widths": (values["d_width"],) * 2, "g_widths": (values["g_width"],) * 2}
    return replace(TrainConfig(), kimg=1e6, g_norm="none", output="linear", ema=0.0, **shared, **widths)


def restarts(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether a change needs new networks."""
    return any(old[name] != new[name] for name, knob in KNOBS.items() if knob.restarts)
