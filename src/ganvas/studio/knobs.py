"""The knobs of a configuration as a page shows them: types, choices, defaults and help from the dataclasses."""

import ast
import dataclasses
import inspect
import textwrap
import threading
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from ganvas.config import TrainConfig, replace
from ganvas.config.bounds import check_bounds, find_bound, is_scheduled
from ganvas.config.groups import DatasetConfig
from ganvas.errors import GanvasError

Kind = Literal["number", "integer", "bool", "choice", "text", "schedule", "list"]

_KINDS: dict[Any, Kind] = {bool: "bool", int: "integer", float: "number", str: "text", Path: "text", tuple: "list"}


@dataclasses.dataclass(frozen=True)
class Knob:
    """A setting of a training.

    Attributes:
        name: of the field; `flag` on the command line.
        group: the field of `TrainConfig` that holds it; "training" for its own fields.
        type: what a page shows for it.
        choices: the values of a choice; without code of the user's own, which no page starts.
        default: the value in the recipe, or in the run.
        help: the text under its field.
        optional: whether it may be left empty.
        expected: its bound in words; else empty.
    """

    name: str
    flag: str
    group: str
    type: Kind
    choices: tuple[Any, ...]
    default: Any
    help: str
    optional: bool
    expected: str

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def knobs_of(config: TrainConfig) -> dict[str, Knob]:
    """{name: knob} of a configuration, with its values as defaults; in the order of its groups."""
    return {knob.name: knob for group, part in groups(config) for knob in knobs_in(group, part)}


def groups(config: TrainConfig) -> Iterator[tuple[str, Any]]:
    """(name, dataclass) of each group of knobs, first the configuration itself, whose own fields are "training"."""
    yield "training", config
    for entry in dataclasses.fields(config):
        if dataclasses.is_dataclass(value := getattr(config, entry.name)):
            yield entry.name, value


def parse(knob: Knob, value: Any) -> Any:
    """The value of what was typed; text that is none is returned as it is, so that the configuration refuses it."""
    if not isinstance(value, str) or knob.type == "text":
        return None if value == "" and knob.optional else value
    text = value.strip()
    if knob.optional and text in ("", "None"):
        return None
    if knob.type == "bool":
        return {"true": True, "false": False}.get(text.lower(), text)
    if knob.type == "list":
        words = text.strip("[]()").replace(",", " ").split()
        return [_number(word) for word in words]
    named = {str(choice): choice for choice in knob.choices}
    return named.get(text, text) if knob.type == "choice" else _number(text)


def check(config: TrainConfig, name: str, value: Any) -> None:
    """Checks the type and the bound of one knob, whatever the others are.

    Raises:
        GanvasError: there is no such knob in this family, or the value is refused.
    """
    for _, group in groups(config):
        if name in {entry.name for entry in dataclasses.fields(group)}:
            changed = replace(group, **{name: value})
            check_bounds(changed)
            if isinstance(changed, DatasetConfig):
                changed.options()
            return
    replace(config, **{name: value})  # names the knobs that there are
    raise AssertionError(f"{name} is a knob outside of the groups")


_parsing = threading.Lock()
"""Two threads that parse at once may fail with a SystemError in Python 3.11, which counts their depth together."""


@cache
def descriptions(group: type) -> Mapping[str, str]:
    """{field: the text under it} of a dataclass."""
    with _parsing:
        [node] = ast.parse(textwrap.dedent(inspect.getsource(group))).body
    assert isinstance(node, ast.ClassDef)
    texts, name = {}, ""
    for line in node.body:
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
            name = line.target.id
        elif isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and name:
            texts[name] = " ".join(str(line.value.value).split())
    return texts


def knobs_in(group: str, part: Any) -> Iterator[Knob]:
    """The knobs of one dataclass, with its values as defaults."""
    texts = descriptions(type(part))
    for entry in dataclasses.fields(part):
        value = getattr(part, entry.name)
        if dataclasses.is_dataclass(value) or not entry.init:
            continue
        kind, choices, optional = _describe(entry.type)
        if is_scheduled(entry.type):
            kind = "schedule"
        bound = find_bound(entry.type)
        flag = f"--{entry.name.replace('_', '-')}"
        yield Knob(
            entry.name, flag, group, kind, choices, list(value) if isinstance(value, tuple) else value,
            texts.get(entry.name, ""), optional, bound.expected if bound else "",
        )  # fmt: skip


def _describe(kind: Any) -> tuple[Kind, tuple[Any, ...], bool]:
    """(type, choices, whether None is allowed) of a field's type."""
    origin, options = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _describe(options[0])
    if origin is Literal:
        return "choice", options, False
    if origin in (Union, UnionType):
        parts = [_describe(option) for option in options if option is not NoneType]
        named = tuple(choice for _, choices, _ in parts for choice in choices)
        own: Kind = "choice" if named else parts[0][0]
        return own, named, NoneType in options
    return _KINDS[origin or kind], (), False


def _number(text: str) -> Any:
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            continue
    return text


def field_of(error: GanvasError, names: Mapping[str, Any]) -> str:
    """The first of these knobs that a message names by its flag; empty where it names none."""
    text = f"{error.what} {error.fix} "
    places = {name: text.find(f"--{name.replace('_', '-')} ") for name in names}
    named = [name for name in names if places[name] >= 0]
    return min(named, key=lambda name: places[name], default="")
