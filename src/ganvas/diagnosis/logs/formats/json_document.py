"""One JSON document: a history of Keras, pandas in each orientation, a trainer's state, a list of objects."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ganvas.diagnosis.logs import names
from ganvas.diagnosis.logs.formats.json_lines import parse_line
from ganvas.diagnosis.logs.formats.objects import flatten, tabulate_objects, tag_of
from ganvas.diagnosis.logs.numbers import number
from ganvas.diagnosis.logs.rows import Rows, Table
from ganvas.diagnosis.logs.source import MAX_DOCUMENT, Source, refuse_too_large, shown
from ganvas.errors import GanvasError

_YEAR_2000 = 946_684_800
"""In seconds since 1970."""

_DEPTH = 5
"""How deep in a document its rows are searched."""

Objects = list[dict[str, Any]]

_NUMBERED = re.compile(r"(.*?)[ _-]*(\d{1,15})")
_BETWEEN = re.compile(r"[\s,]*(?=\{)")


def read_json_document(source: Source) -> list[Table] | None:
    """From a text that is a single object or list.

    Raises:
        GanvasError: it is too large to be read as a whole, cut off, or has no rows of numbers with names.
    """
    if not looks_like_json(source):
        return None
    if source.size > MAX_DOCUMENT:
        return tabulate_objects(_stream_objects(source))
    value = _parse("".join(source.pieces()).lstrip("\ufeff"))
    if value is None and (source.name.suffix.lower() != ".json" or parse_line(source.head[0])):
        return None  # lines of JSON, or a printed line that begins with a bracket
    if value is None:
        raise _refuse(source, "is no JSON: it is cut off or damaged")
    tables = _find_tables(value, source.name.stem)
    if not tables and isinstance(value, dict):
        return tabulate_objects([value])
    if not tables:
        raise _refuse(source, "is JSON, but no log: it has no numbers with names")
    return tables


def looks_like_json(source: Source) -> bool:
    """Whether a text begins with a bracket and goes on as JSON does: not `[0/25][0/1583] Loss_D: 1.5`."""
    start = " ".join(source.head[:3]).lstrip("\ufeff \t")
    return bool(re.match(r"\{\s*(?:[\"}]|$)|\[\s*(?:[\[{\"\]]|$|[-\d.eE+]+\s*(?:,|\]\s*$))", start))


def _refuse(source: Source, what: str) -> GanvasError:
    return GanvasError(
        f"{shown(source.path)} {what}.",
        expected='{"d_loss": [...], "g_loss": [...]}, or [{"step": 0, "d_loss": 0.7}, ...]',
        fix="save the history of the training in one of these forms.",
    )


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _stream_objects(source: Source) -> Iterator[Mapping[str, Any]]:
    """The objects of a list, in parts.

    Raises:
        GanvasError: it is no list of objects.
    """
    decoder, text, at, begun = json.JSONDecoder(), "", 0, False
    for piece in source.pieces():
        text, at = text[at:] + piece, 0
        if not begun:
            begin = re.match(r"\ufeff?\s*\[\s*(?=\{)", text)
            if begin is None:
                raise refuse_too_large(source)
            begun, at = True, begin.end()
        while match := _BETWEEN.match(text, at):
            try:
                value, at = decoder.raw_decode(text, match.end())
            except ValueError:  # it goes on in the next piece
                break
            yield value
        if len(text) - at > MAX_DOCUMENT:
            raise refuse_too_large(source)


def _find_tables(value: Any, name: str, depth: int = 0) -> list[Table]:
    """The rows in a value, or those in the inner one that has most numbers with known names."""
    if depth > _DEPTH:
        return []
    if isinstance(value, list):
        return _of_list(value, name)
    if not isinstance(value, dict):
        return []
    if objects := _pandas_objects(value):
        return tabulate_objects(objects)
    found = [_of_lists(dict(_lists(value)))]
    found += [_find_tables(inner, key, depth + 1) for key, inner in value.items()]
    return max(found, key=_score)


def _score(tables: list[Table]) -> tuple[int, int]:
    known = {name for table in tables for name in table.columns if names.translate(name)}
    return len(known), sum(map(len, tables))


def _of_list(value: list[Any], name: str) -> list[Table]:
    if value and all(isinstance(item, dict) for item in value):
        return tabulate_objects(value)
    wide = {len(item) if isinstance(item, list) else 0 for item in value}
    if wide == {3} and (number(value[0][0]) or 0) > _YEAR_2000:  # TensorBoard's download: time, step, value
        return tabulate_objects({"step": step, tag_of(name): number_} for _, step, number_ in value)
    return []


def _pandas_objects(value: dict[str, Any]) -> Objects:
    """From pandas.DataFrame.to_json of any orientation that is an object; empty for other objects."""
    if {"columns", "data"} <= value.keys() and isinstance(value["data"], list):  # split
        return [dict(zip(map(str, value["columns"]), row, strict=False)) for row in value["data"]]
    if {"schema", "data"} <= value.keys() and isinstance(value["data"], list):  # table
        return [row for row in value["data"] if isinstance(row, dict)]
    inner = [one for one in value.values() if isinstance(one, dict) and one]
    if not inner or len(inner) < len(value):
        return []
    if all(key.lstrip("-").isdigit() for key in value):  # index
        return inner
    if objects := _numbered_objects(value):
        return objects
    if all(key.lstrip("-").isdigit() for one in inner for key in one):  # columns
        order = dict.fromkeys(key for one in inner for key in one)
        return [{name: column[row] for name, column in value.items() if row in column} for row in order]
    return []


def _numbered_objects(value: dict[str, dict[str, Any]]) -> Objects:
    """From {"epoch_1": {…}, "epoch_2": {…}}: an object for each time; empty for other objects."""
    found = [_NUMBERED.fullmatch(key) for key in value]
    times = {match[1] if match else "" for match in found}
    time = times.pop()
    if times or not names.time_kind(time) or not any(any(True for _ in flatten(one)) for one in value.values()):
        return []
    return [{time: int(match[2]), **one} for match, one in zip(found, value.values(), strict=True) if match]


def _lists(value: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, list[Any]]]:
    """(name, list) of all lists in an object and the objects in it, inner names after the outer ones."""
    for name, inner in value.items():
        if isinstance(inner, Mapping):
            yield from _lists(inner, f"{before}{name}/")
        elif isinstance(inner, list) and inner and not isinstance(inner[0], dict):
            yield before + name, inner


def _of_lists(lists: dict[str, list[Any]]) -> list[Table]:
    """Lists of numbers side by side; a list of [step, number] has its own steps.

    A list that is at most half as long as the longest one, such as a FID after every epoch, is spread over it. So is
    a list of [step, number] beside lists without steps, unless its steps are numbers of their rows.
    """
    pairs = {name: column for name, column in lists.items() if all(_is_pair(item) for item in column)}
    plain = {name: column for name, column in lists.items() if any(number(cell) is not None for cell in column)}
    longest, notes = max(map(len, plain.values()), default=0), []
    found: list[dict[str, float | None]] = [{} for _ in range(longest)]
    for name, column in plain.items():
        short = 2 * len(column) <= longest
        if short and names.time_kind(name):
            continue
        places = [_spread(i + 1, len(column), longest) if short else i for i in range(len(column))]
        for place, cell in zip(places, column, strict=True):
            if cell is None or number(cell) is not None:
                found[place][name] = number(cell)
        if short and any(name in row for row in found):
            notes.append(_spread_note(name, len(column), longest))
    timed = any(names.time_kind(name) and 2 * len(column) > longest for name, column in plain.items())
    for name, column in list(pairs.items()):
        steps = [number(step) for step, _ in column]
        last = max((step for step in steps if step is not None), default=0)
        if timed or not any(map(names.is_quantity, plain)) or last <= 0:
            continue
        of_rows = last < longest <= 2 * last
        for step, cell in column:
            if (at := number(step)) is not None and 0 <= at <= last:
                found[int(at) if of_rows else max(0, _spread(at, last, longest))][name] = number(cell)
        notes += [] if of_rows else [_spread_note(name, len(column), longest)]
        del pairs[name]
    rows = Rows()
    for row in found:
        rows.add(row)
    table = replace(rows.table(), notes=tuple(notes))
    with_steps = (
        tabulate_objects({"step": step, name: value} for step, value in column) for name, column in pairs.items()
    )
    return ([table] if table.columns else []) + [one for some in with_steps for one in some]


def _is_pair(item: Any) -> bool:
    return isinstance(item, list) and len(item) == 2


def _spread(at: float, last: float, rows: int) -> int:
    """The row at which the time `at` of `last` is."""
    return round(at * rows / last) - 1


def _spread_note(name: str, count: int, rows: int) -> str:
    return f"{name}: {count:,} values, spread evenly over the {rows:,} rows"
