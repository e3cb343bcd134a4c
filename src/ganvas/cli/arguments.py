"""How a command's typed signature becomes its options: `tyro`, with shorter names of types in the help."""

import inspect
import shutil
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from ganvas.errors import describe_value

Parsed = TypeVar("Parsed")

_REGISTRY = ConstructorRegistry()


def parse(command: Callable[..., Parsed], argv: Sequence[str], *, prog: str, **options: Any) -> Parsed:
    """Calls a function, or makes a dataclass, with the values of `argv`; exits with status 2 if they do not fit."""
    paragraphs = (inspect.getdoc(command) or "").partition("\n\nArgs:")[0].split("\n\n")
    width = shutil.get_terminal_size().columns  # tyro keeps the end of a line where a space follows it
    filled = (textwrap.fill(" ".join(paragraph.split()), width, subsequent_indent=" ") for paragraph in paragraphs)
    description = "\n\n".join(filled)
    return tyro.cli(command, args=argv, prog=prog, description=description, registry=_REGISTRY, **options)


@_REGISTRY.primitive_rule
def _optional(type_info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """`int | None` is INT in the help, not {None}|INT; the word None is accepted all the same."""
    options = get_args(type_info.type)
    if type_info.type_origin not in (Union, UnionType) or NoneType not in options:
        return None
    others: Any = Union[tuple(option for option in options if option is not NoneType)]  # noqa: UP007
    spec = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(others, type_info.markers))
    if not isinstance(spec, PrimitiveConstructorSpec):
        return None
    return replace(
        spec,
        instance_from_str=lambda words: None if words == ["None"] else spec.instance_from_str(words),
        is_instance=lambda value: value is None or spec.is_instance(value),
        str_from_instance=lambda value: ["None"] if value is None else spec.str_from_instance(value),
        choices=(*spec.choices, "None") if spec.choices else None,
    )


@_REGISTRY.primitive_rule
def _whole_number(type_info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """A whole number, with an error of our own: Python's is about functions and limits of its own."""
    if type_info.type is not int:
        return None

    def parse_value(words: list[str]) -> int:
        try:
            return int(words[0])
        except ValueError:
            digits = f"a number of {len(words[0]):,} digits" if words[0].isdecimal() else describe_value(words[0])
            raise ValueError(f"{digits} is no whole number that can be used") from None

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="INT",
        instance_from_str=parse_value,
        is_instance=lambda value: isinstance(value, int) and not isinstance(value, bool),
        str_from_instance=lambda value: [str(value)],
    )


@_REGISTRY.primitive_rule
def _schedule(type_info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """A number or a schedule (`ganvas.schedule.ScheduleSpec`) is SCHEDULE in the help, not FLOAT|STR."""
    if type_info.type_origin not in (Union, UnionType) or set(get_args(type_info.type)) != {float, str}:
        return None
    number = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(str, type_info.markers))
    assert isinstance(number, PrimitiveConstructorSpec)

    def parse_value(words: list[str]) -> float | str:
        try:
            return float(words[0])
        except ValueError:
            return words[0]

    return replace(
        number,
        metavar="SCHEDULE",
        instance_from_str=parse_value,
        is_instance=lambda value: isinstance(value, float | int | str),
        str_from_instance=lambda value: [str(value)],
    )
