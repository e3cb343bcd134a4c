"""How a command's typed signature becomes its options: `tyro`, with shorter names of types in the help."""

import inspect
import shutil
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import is_dataclass, replace
from difflib import SequenceMatcher
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from ganvas.cli.output import UsageError
from ganvas.config.forms import leaves
from ganvas.errors import describe_value

Parsed = TypeVar("Parsed")

_REGISTRY = ConstructorRegistry()


def parse(command: Callable[..., Parsed], argv: Sequence[str], *, prog: str, **options: Any) -> Parsed:
    """Calls a function, or makes a dataclass, with the values of `argv`; exits with status 2 if they do not fit.

    Raises:
        UsageError: there is no such option.
    """
    _check_options(argv, set(_options(command, options.get("default"))), prog)
    paragraphs = (inspect.getdoc(command) or "").partition("\n\nArgs:")[0].split("\n\n")
    width = shutil.get_terminal_size().columns  # tyro keeps the end of a line where a space follows it
    filled = (textwrap.fill(" ".join(paragraph.split()), width, subsequent_indent=" ") for paragraph in paragraphs)
    description = "\n\n".join(filled)
    return tyro.cli(command, args=argv, prog=prog, description=description, registry=_REGISTRY, **options)


def _options(command: Callable[..., Any], default: object) -> Iterator[str]:
    """The options that a command has, with their other names, such as --out and -o."""
    for name, parameter in inspect.signature(command).parameters.items():
        value = getattr(default, name, parameter.default)
        if is_dataclass(value):
            yield from (f"--{knob.replace('_', '-')}" for knob, _ in leaves(value))
            continue
        metadata = getattr(parameter.annotation, "__metadata__", ())
        if tyro.conf.Positional not in metadata:
            yield f"--{name.strip('_').replace('_', '-')}"
        for argument in metadata:
            yield from getattr(argument, "aliases", None) or ()


def _check_options(argv: Sequence[str], known: set[str], prog: str) -> None:
    """Refuses an option that a command does not have; tyro may complain first of what follows it.

    Raises:
        UsageError: there is one.
    """
    own = {"--help", *known, *(f"--no-{option[2:]}" for option in known)}
    if "--help" in argv or "-h" in argv:
        return
    for word in argv:
        option = word.partition("=")[0].replace("_", "-")
        if word == "--":
            return
        if not option.startswith("--") or option in own or option.startswith("--tyro-"):
            continue
        alike = {other: SequenceMatcher(None, option.lower(), other).ratio() for other in sorted(known)}
        near = [other for other, ratio in alike.items() if ratio == max(0.72, *alike.values())]
        raise UsageError(
            f"There is no option {word.partition('=')[0]}.",
            expected=f"one of those that {prog} --help lists",
            fix=f"did you mean {' or '.join(near)}?" if near else "",
        )


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
