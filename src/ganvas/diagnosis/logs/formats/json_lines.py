"""Lines of JSON: stats.jsonl and metric-*.jsonl of the StyleGAN family, MMEngine, pandas, and dicts of Python."""

import ast
import json
import re
from collections.abc import Iterator
from typing import Any

from ganvas.diagnosis.logs.formats.objects import tabulate_objects
from ganvas.diagnosis.logs.numbers import WRAPPER
from ganvas.diagnosis.logs.rows import Table
from ganvas.diagnosis.logs.source import Source

_FIRST = 20
"""Lines of which half must be objects, or the first where the others are damaged ones."""

_BEGINNING = re.compile(r"\s*(?:\{|\[[^\]]*\]?\s*$)")
"""A line that may be of JSON, or a part of one: not `[0/25][0/1583] Loss_D: 1.5`."""

_NUMPY = re.compile(rf"{WRAPPER}[^)]*?\)+")
_NOT_FINITE = re.compile(r"(?<=[:\s])(-?)(nan|inf)\b")


def read_json_lines(source: Source) -> list[Table] | None:
    """One object a line; other lines are counted as unread."""
    head = source.head[:_FIRST]
    objects = [parse_line(line) is not None for line in head]
    begun = all(map(_BEGINNING.match, head))  # above printed lines an object is a setting
    if objects and ((objects[0] and begun) or 2 * sum(objects) >= len(objects)):
        return tabulate_objects(_objects(source))
    return None


def _objects(source: Source) -> Iterator[dict[str, Any] | None]:
    return (parse_line(line) for line in source.lines() if line.strip())


def parse_line(line: str) -> dict[str, Any] | None:
    """The object of a line, as JSON or as Python prints it; None of another line."""
    line = line.strip()
    if not (line.startswith("{") and line.endswith("}")):
        return None
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        value = _python_dict(line)
    return value if isinstance(value, dict) else None


def _python_dict(line: str) -> Any:
    """The value of a dict that Python has printed, also with np.float32(0.69) or nan in it; None if it is none."""
    if "'" not in line or len(line) > 100_000:
        return None
    try:
        return ast.literal_eval(_NOT_FINITE.sub(r"'\1\2'", _NUMPY.sub(r"\1", line)))
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
