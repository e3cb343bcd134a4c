"""Operations on any configuration: list its knobs, change them, compare, write to JSON and read back."""

import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from ganvas import user_code
from ganvas.errors import GanvasError, describe_value, did_you_mean
from ganvas.schedule import ScheduleSpec

Config = TypeVar("Config")


def knob_fields(config: Any) -> Iterator[tuple[dataclasses.Field[Any], Any]]:
    """Yields the field and the value of every knob, of all groups."""
    for entry in dataclasses.fields(config):
        value = getattr(config, entry.name)
        if dataclasses.is_dataclass(value):
            yield from knob_fields(value)
        else:
            yield entry, value


def leaves(config: Any) -> Iterator[tuple[str, Any]]:
    """Yields the name and the value of every knob, of all groups."""
    return ((knob.name, value) for knob, value in knob_fields(config))


def replace(config: Config, **knobs: Any) -> Config:
    """Returns a copy of `config` with changed knobs, whichever group they are in.

    One of `kimg` and `minutes` alone replaces the other.

    Raises:
        GanvasError: a name is unknown, or a value of the wrong type or out of bounds.
    """
    known = dict(leaves(config))
    for name in knobs:
        if name not in known:
            raise _unknown(name, known, f" with the {known['family']} family" if "family" in known else "")
    for one, other in (("kimg", "minutes"), ("minutes", "kimg")):
        if knobs.get(one) is not None and other not in knobs and other in known:
            knobs[other] = None
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
    """Converts paths, NumPy's numbers and arrays, resolutions, lists of trackers, and the user's classes and functions
    to JSON's types."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if name == "data" and hasattr(value, "shape"):
        raise GanvasError(
            f"data is {describe_value(value)}.",
            expected="the name or the path of a data set",
            fix="numpy.save('images.npy', images), then data='images.npy'.",
        )
    if name == "resolution" and isinstance(value, int | tuple | list):
        return "x".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
    if name == "log_to" and isinstance(value, list | tuple):
        return (",".join(value) or None) if all(isinstance(one, str) for one in value) else value
    if isinstance(value, str):
        return value
    if name in ("g", "d"):
        return user_code.describe_class(value, name)
    if name in ("objective", "augment") and (callable(value) or hasattr(value, "d_loss")):
        return user_code.describe(value)
    with suppress(RuntimeError):  # a tensor that holds no data
        return value.tolist() if hasattr(value, "tolist") else value
    return value


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
    origin, options = get_origin(kind), get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _build_group(kind, value, where)
    if origin is Annotated:
        return _build(options[0], value, where)
    if origin in (Union, UnionType):
        families = {option.family: option for option in options if dataclasses.is_dataclass(option)}  # type: ignore[attr-defined]
        if families:
            name = value.get("family") if isinstance(value, Mapping) else None
            if not isinstance(name, str) or name not in families:
                raise GanvasError(
                    f"{where}: {describe_value(name)} is not a family.", expected="one of " + ", ".join(families)
                )
            return _build_group(families[name], value, where)
        for option in options:
            try:
                return _build(option, value, where)
            except GanvasError:
                continue
    elif origin is Literal:
        if any(type(value) is type(option) and value == option for option in options):
            return value
    elif origin is tuple:
        if isinstance(value, list | tuple):
            return tuple(_build(options[0], item, where) for item in value)
    elif kind is int or kind is float:
        whole = isinstance(value, int) or (isinstance(value, float) and (kind is float or value.is_integer()))
        if whole and not isinstance(value, bool):
            with suppress(OverflowError):  # a whole number of hundreds of digits
                return kind(value)
    elif isinstance(value, kind):
        return value
    raise GanvasError(f"{where} is {describe_value(value)}.", expected=_describe(kind))


def _build_group(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise GanvasError(f"{where} is {describe_value(value)}.", expected="a JSON object")
    fields = {entry.name: entry for entry in dataclasses.fields(kind)}
    for name in value:
        if name not in fields:
            raise _unknown(name, fields)
    return kind(**{name: _build(fields[name].type, item, name) for name, item in value.items() if fields[name].init})


def _describe(kind: Any) -> str:
    """A type in words."""
    origin, options = get_origin(kind), get_args(kind)
    if kind == ScheduleSpec:
        return "a number, or a schedule such as 1e-3..1e-4:cosine"
    if origin is Annotated:
        return _describe(options[0])
    if origin in (Union, UnionType):
        return " or ".join(map(_describe, options))
    if origin is Literal:
        return "one of " + ", ".join(map(str, options))
    return _IN_WORDS.get(origin or kind, str(kind))


_IN_WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "text",
    tuple: "a list of whole numbers, such as [64, 32]",
    type(None): "None",
}


def _unknown(name: str, known: Iterable[str], where: str = "") -> GanvasError:
    fix = did_you_mean(name, known) or "ganvas train --help explains each."
    return GanvasError(f"'{name}' is not a knob{where}.", expected="one of " + ", ".join(sorted(known)), fix=fix)
