"""Operations on any configuration: list its knobs, change them, compare, write to JSON and read back."""

import dataclasses
import os
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from ganvas import user_code
from ganvas.errors import GanvasError

Config = TypeVar("Config")


def leaves(config: Any) -> Iterator[tuple[str, Any]]:
    """Yields the (name, value) of every knob, of all groups."""
    for entry in dataclasses.fields(config):
        value = getattr(config, entry.name)
        if dataclasses.is_dataclass(value):
            yield from leaves(value)
        else:
            yield entry.name, value


def replace(config: Config, **knobs: Any) -> Config:
    """Returns a copy of `config` with changed knobs, whichever group they are in.

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
            raise GanvasError(f"'{entry.name}' cannot be set.", fix="choose a recipe of that family.")
        elif entry.name in knobs:
            changed[entry.name] = _build(entry.type, _plain(entry.name, knobs[entry.name]), entry.name)
    return dataclasses.replace(config, **changed)


def _plain(name: str, value: Any) -> Any:
    """Converts paths, NumPy numbers, resolutions, and the user's classes and functions to the types that JSON has."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if name == "resolution" and isinstance(value, int | tuple | list):
        return "x".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
    if name in ("g", "d", "objective", "augment") and (callable(value) or hasattr(value, "d_loss")):
        return user_code.describe(value)
    return value.item() if hasattr(value, "item") else value


def differences(old: Any, new: Any) -> list[tuple[str, Any, Any]]:
    """The (knob, old value, new value) of every difference between two configurations."""
    before, after = dict(leaves(old)), dict(leaves(new))
    names = list(before) + [name for name in after if name not in before]
    return [(n, before.get(n), after.get(n)) for n in names if before.get(n) != after.get(n)]


def to_json(config: Any) -> dict[str, Any]:
    """Converts a configuration to dictionaries, lists and numbers."""
    return dataclasses.asdict(config)


def from_json(kind: type[Config], value: Mapping[str, Any]) -> Config:
    """The inverse of `to_json`.

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
    literal = get_origin(kind) is Literal
    expected = (
        f"one of {', '.join(map(str, options))}" if literal else f"a value of type {getattr(kind, '__name__', kind)}"
    )
    raise GanvasError(f"{where} is {value!r}.", expected=expected)


def _unknown(name: str, known: Any) -> GanvasError:
    near = get_close_matches(name, list(known), n=1)
    return GanvasError(
        f"'{name}' is not a knob.",
        expected="one of " + ", ".join(sorted(known)),
        fix=f"did you mean '{near[0]}'?" if near else "ganvas train --help explains each.",
    )
