"""Printed lines: text and numbers in turn; lines that differ only in their numbers are understood once."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from ganvas.diagnosis.logs import names
from ganvas.diagnosis.logs.formats import decimal_comma
from ganvas.diagnosis.logs.formats.json_lines import parse_line
from ganvas.diagnosis.logs.formats.objects import flatten
from ganvas.diagnosis.logs.formats.printed_lists import go_on, printed_lists, table_of_lists
from ganvas.diagnosis.logs.formats.printed_names import SETTINGS, is_time_without_name, name_before, sibling_name
from ganvas.diagnosis.logs.numbers import number
from ganvas.diagnosis.logs.rows import Rows, Table
from ganvas.diagnosis.logs.source import TERMINAL, Source

_MAX_PRINTED = 2**14
"""Most characters in a line that is read; longer ones are no lines of a log."""

_LONG_LIST = 4
"""Commas in a line that may be a list of all values of a quantity."""

_MOST_STEPS = 1e15
"""Larger numbers count nothing."""

_BAR = re.compile(
    r"[\[|]?[=>.#\s░▏▎▍▌▋▊▉█━╸╺-]{0,200}(?:[░▏▎▍▌▋▊▉█━╸╺]|={2,}>?|\.{3,})[=>.#\s░▏▎▍▌▋▊▉█━╸╺-]{0,200}[\]|]?"
)
_CLOCK = re.compile(
    r"\b\d{4}[-/.]\d\d[-/.]\d\d\b(?:T(?=\d))?|\b\d\d[-/.]\d\d[-/.]\d{2,4}\b(?= )|\b\d\d/\d\d(?= \d+:\d\d)"
    r"|\b\d+:\d\d(?::\d\d)?(?:[.,]\d+)?\b"
)
_NUMBER = re.compile(
    r"(?<![A-Za-z0-9_.])([-+]?(?:[1-9]\d{0,2}(?:,\d{3})+(?!\d|,\d)(?:\.\d+)?|\d+\.?\d*(?:e[-+]?\d+)?|\.\d+(?:e[-+]?\d+)?"
    r"|nan\b|inf(?:inity)?\b))",
    re.I,
)
_COUNTED = re.compile(r"第\s*(\d+)\s*(?:(轮|代)|步|次)\S*")
_MOST_DROPPED = 50
_OFTEN = 3
"""Lines on which a name without a role is worth to be shown."""

_BARE_ACCURACY = re.compile("acc(?:uracy)?", re.I)


class _Pair(NamedTuple):
    """The number at `place` is a quantity, or a time of so many as the number at `of` says; `label` is its own name."""

    place: int
    name: str
    label: str = ""
    percent: bool = False
    of: int | None = None
    fraction: bool = False


class _Plan(NamedTuple):
    """What the numbers of a line are."""

    times: Sequence[_Pair]
    quantities: Sequence[_Pair]


def read_printed(source: Source) -> list[Table] | None:
    """The lines that have a quantity with a known name; the time holds until the next one.

    Where there is no such line, all lines that have any named number, so that an error can list the names.
    """
    table = _read(source, known_only=True)
    return [table if len(table) else _read(source, known_only=False)]


def _read(source: Source, known_only: bool) -> Table:
    rows, now, lists = Rows(), dict[str, float](), dict[str, list[float]]()
    labels, dropped = dict[str, str](), Counter[str]()
    number_pattern = _NUMBER
    if commas := decimal_comma.writes_commas(map(_plain, source.head)):
        number_pattern = decimal_comma.NUMBER
    given, named = frozenset(source.columns.items()), frozenset(source.columns)
    for line in source.lines():
        if not line or line.isspace():
            continue
        if line.count(",") >= _LONG_LIST and (found := printed_lists(line, named)):
            lists |= {name: go_on(lists.get(name, []), numbers) for name, numbers in found.items()}
            continue
        if len(line) > _MAX_PRINTED:
            rows.unread += 1
            continue
        if line.startswith("{") and (one := parse_line(line)):
            row = dict(flatten(one))
            now |= {kind: value for name, value in row.items() if value and (kind := names.time_kind(name))}
            if any(_is_known(name, named) for name in row):
                rows.add({**now, **{name: value for name, value in row.items() if not names.time_kind(name)}})
            continue
        texts = number_pattern.split(_plain(line))
        plan = _plan(tuple(texts[::2]), given, not known_only)
        if commas:
            counts = {pair.place for pair in plan.times if not pair.fraction}
            texts[1::2] = [decimal_comma.with_point(text, i in counts) for i, text in enumerate(texts[1::2])]
        now = _advance(now, plan.times, texts)
        labels |= {pair.name: pair.label for pair in plan.times if pair.label}
        known = [pair for pair in plan.quantities if _is_known(pair.name, named)]
        if known or (plan.quantities and not known_only):
            row = _row(plan.quantities, texts, rows)
            rows.add({**now, **row})
        else:
            dropped.update({pair.name for pair in plan.quantities})
    table, other = rows.table(), table_of_lists(lists)
    if lists and _worth(other, named) > _worth(table, named):
        table, other = other, table
    dropped.update(dict.fromkeys((name for name in other.columns if not names.time_kind(name)), _OFTEN))
    columns = {labels.get(name, name): column for name, column in table.columns.items()}
    often = (name for name, count in dropped.most_common(_MOST_DROPPED) if count >= _OFTEN and name not in columns)
    notes = (decimal_comma.NOTE,) if commas else ()
    return replace(table, columns=columns, dropped=tuple(often), notes=notes)


def _plain(line: str) -> str:
    """Without colours, progress bars, dates and times of the day; white space is one blank."""
    if "\x1b" in line:
        line = TERMINAL.sub(" ", line)
    if "==" in line or "..." in line or not line.isascii():
        line = _BAR.sub(" ", line)
    if ":" in line or "-" in line:
        line = _CLOCK.sub(" ", line)
    if "第" in line:
        line = _COUNTED.sub(lambda match: f"{'epoch' if match[2] else 'step'} {match[1]} ", line)
    return " ".join(line.split())


def _worth(table: Table, given: frozenset[str]) -> tuple[int, bool, int]:
    """How much is known of a table: quantities, whether their time is, and how many rows."""
    timed = any(map(names.time_kind, table.columns))
    return sum(_is_known(name, given) for name in table.columns), timed, len(table)


def _is_known(name: str, given: frozenset[str]) -> bool:
    return name in given or names.is_quantity(name) or bool(_BARE_ACCURACY.fullmatch(name))


@lru_cache(8192)
def _plan(texts: tuple[str, ...], given: frozenset[tuple[str, str]], any_name: bool) -> _Plan:
    """From the texts around the numbers of a line, and the names that the user has given."""
    own_names = dict(given)
    times: list[_Pair] = []
    quantities: list[_Pair] = []
    settings: list[_Pair] = []
    network, skip = "", -1
    for i in range(len(texts) - 1):
        after = texts[i + 1]
        if i == skip:
            continue
        of = i + 1 if after.strip() == "/" and i + 2 < len(texts) else None
        name = name_before(texts[: i + 1], own_names.keys(), any_name)
        if not names.translate(name) and name not in own_names:
            name = sibling_name(texts[i], after, [pair.name for pair in quantities]) or name
        kind = names.Roles(own_names).time_kind(name) if name else None
        if kind and names.normalise_name(name) in SETTINGS and name not in own_names:
            settings.append(_Pair(i, kind, name))
        elif kind or (not name and is_time_without_name(texts, i)):
            times.append(_Pair(i, kind or "", name, of=of, fraction=kind in ("epoch", "kimg")))
            skip = i + 1 if of else -1
        elif of and name and (pair := names.split_pair(name)):
            quantities += [_Pair(place, own) for place, own in zip((i, of), pair, strict=True)]
            skip = of
        elif name and not re.match(r"[A-Za-zµ]|\s*(?:param|MB|GB|M\b|it/s)", after):
            own = names.translate(name) or ""
            if _BARE_ACCURACY.fullmatch(name):
                name = f"{network} {name}".strip()
            elif own.startswith(("D/", "G/")):
                network = own[0]
            quantities.append(_Pair(i, name, percent=after.startswith("%")))
    if not times and any(_is_known(pair.name, frozenset(own_names)) for pair in quantities):
        times = settings  # "steps: 100" alone is a setting, beside a loss it is the time
    return _Plan(_named(times), quantities)


def _named(times: list[_Pair]) -> list[_Pair]:
    """Unnamed times: of two in a line without an epoch the first is the epoch, the second its batch."""
    if any(pair.name in ("step", "batch", "kimg") for pair in times):
        return [pair for pair in times if pair.name]
    unnamed = [pair for pair in times if not pair.name]
    if len(unnamed) > 1 and not any(pair.name == "epoch" for pair in times):
        first, second = unnamed[:2]
        names_ = {first.place: "epoch", second.place: "batch"}
        return [pair._replace(name=names_.get(pair.place, pair.name)) for pair in times]
    return times


def _advance(now: dict[str, float], times: Sequence[_Pair], texts: list[str]) -> dict[str, float]:
    """The time after a line; a new epoch begins without steps. A batch of so many in a known epoch is a step."""
    if not times:
        return now
    marks: dict[str, float] = {}
    for pair in times:
        value, name = number(texts[2 * pair.place + 1]), pair.name
        if value is None or not 0 <= value < _MOST_STEPS or not (pair.fraction or value.is_integer()):
            continue
        known = now | marks
        name = name or ("batch" if "epoch" in known else "step")
        of = number(texts[2 * pair.of + 1]) if pair.of is not None else None
        if name == "batch" and of and "epoch" in known:
            marks.setdefault("step", known["epoch"] * of + value)
        else:
            marks.setdefault(name, value)
    return marks if "epoch" in marks else now | marks


def _row(pairs: Sequence[_Pair], texts: list[str], rows: Rows) -> Mapping[str, float | None]:
    """{name: number}, the first of each name; a whole number is no loss of a network without the word loss."""
    row: dict[str, float | None] = {}
    for pair in pairs:
        text = texts[2 * pair.place + 1]
        count = text.isdigit() and names.normalise_name(pair.name) in ("d", "g", "generator", "discriminator", "critic")
        if pair.name not in row and not count:
            value = number(text)
            row[pair.name] = value / 100 if pair.percent and value is not None else value
            rows.note_text(pair.name, text + "%" * pair.percent)
    return row
