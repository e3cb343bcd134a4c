"""A *spec*: a text that names an object of the user's own code, with keyword arguments.

package.module:Name                   looked up as `python -m` does: the working directory first
path/to/file.py:Name                  relative to the working directory
nets.py:Generator(width=64, depth=3)  with keyword arguments, which are Python literals
"""

import ast
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ganvas.errors import GanvasError, did_you_mean
from ganvas.reading import read_bytes
from ganvas.values import expand_user

SESSION = "<session>"
"""The source of an object that no file defines: of a notebook, or inside a function."""

FORM = "MODULE:NAME or FILE.py:NAME, with keyword arguments if it has some: nets.py:Generator(width=64)"

MAX_SOURCE = 2**24
"""Most bytes of a Python file."""

_SPEC = re.compile(r"(?:(?P<source>.+?):)?(?P<name>[^\W\d][\w.-]*)(?P<arguments>\(.*\))?", re.DOTALL)


@dataclass(frozen=True)
class Spec:
    """A parsed spec.

    Attributes:
        source: a module, a file that ends in .py, or `SESSION`; empty for a name alone.
        name: of the object in its source.
        arguments: its keyword arguments.
    """

    source: str
    name: str
    arguments: dict[str, Any] = field(default_factory=dict)


def is_spec(value: object) -> bool:
    """Whether a value names the user's own code: it has a colon before any parenthesis."""
    return isinstance(value, str) and ":" in value.partition("(")[0]


def parse(text: str) -> Spec:
    """Parses a spec, or a name with arguments such as dcgan(g_width=32).

    Raises:
        GanvasError: it has another form, or an argument is no literal.
    """
    match = _SPEC.fullmatch(text.strip())
    if match is None:
        raise GanvasError(f"'{text}' names nothing.", expected=FORM)
    return Spec(match["source"] or "", match["name"], _parse_arguments(text, match["arguments"] or "()"))


def _parse_arguments(text: str, arguments: str) -> dict[str, Any]:
    expected = "keyword arguments that are literals: numbers, texts, lists, True, None"
    try:
        call = ast.parse(f"f{arguments}", mode="eval").body
        if (
            not isinstance(call, ast.Call)
            or not isinstance(call.func, ast.Name)
            or call.args
            or any(keyword.arg is None for keyword in call.keywords)
        ):
            raise GanvasError(f"The arguments of '{text}' have no names.", expected=expected, fix="NAME(width=64)")
        return {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    except (SyntaxError, ValueError) as error:
        raise GanvasError(f"The arguments of '{text}' cannot be read.", expected=expected) from error


def without_folder(text: str) -> str:
    """A spec of a file with the last part of its path alone; another one, and a name, as it is."""
    spec, *arguments = text.partition("(")
    source, colon, name = spec.rpartition(":")
    return "".join([Path(source).name, colon, name, *arguments])


def unknown(what: str, text: Any, known: Iterable[str]) -> GanvasError:
    """The error for a name that is in no table of ours; `what` says where it was given."""
    name = str(text).partition("(")[0]
    if name.endswith(".py"):
        names = ", ".join(names_in(name))
        return GanvasError(what, expected=f"{name}:NAME", fix=f"it defines {names}." if names else "")
    return GanvasError(what, expected=f"one of {', '.join(known)}; or your own, {FORM}", fix=did_you_mean(name, known))


def names_in(file: str) -> Iterator[str]:
    """The classes, functions and variables that a Python file defines, without executing it."""
    with suppress(OSError, SyntaxError, ValueError):
        for node in ast.parse(read_bytes(expand_user(file), MAX_SOURCE)).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                yield node.name
            elif isinstance(node, ast.Assign):
                yield from (target.id for target in node.targets if isinstance(target, ast.Name))
