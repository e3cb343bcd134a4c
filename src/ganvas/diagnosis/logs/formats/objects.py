"""Objects of JSON as rows: nested ones, {num, mean, std}, long form, and results of the StyleGAN family."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ganvas.diagnosis.logs import names
from ganvas.diagnosis.logs.numbers import number
from ganvas.diagnosis.logs.rows import Rows, Table

NAME_KEYS = ("name", "metric", "tag", "key", "metric_name")
"""Keys under which a long form has the name of its quantity."""

VALUE_KEYS = ("value", "metric_value", "val")
"""Keys under which a long form has the number."""

_SNAPSHOT = re.compile(r"network-snapshot-(\d+)")


def tabulate_objects(objects: Iterable[Mapping[str, Any] | None]) -> list[Table]:
    """One row an object, or one table a quantity where each object has a single one; None is an unreadable line."""
    rows, series, unread = Rows(), dict[str, Rows](), 0
    for one in objects:
        if one is None:
            unread += 1
        elif named := _long_form(one):
            name, value = named
            clocks = {key: number(inner) for key, inner in one.items() if names.time_kind(key)}
            series.setdefault(name, Rows()).add({name: value, **clocks})
        else:
            rows.add(dict(flatten(one)))
    rows.unread = unread
    tables = [rows.table()] if rows.count or not series else []
    return tables + [own.table() for own in series.values()]


def flatten(value: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, float | None]]:
    """(name, number) of all numbers in an object, inner names after the outer ones; of a mean and a std both."""
    for name, inner in value.items():
        if isinstance(inner, Mapping) and "mean" in inner:
            yield before + name, number(inner["mean"])
            if "std" in inner:
                yield f"{before}{name}/std", number(inner["std"])
        elif isinstance(inner, Mapping):
            yield from flatten(inner, f"{before}{name}/")
        elif name == "snapshot_pkl" and (match := _SNAPSHOT.search(str(inner))):
            yield "kimg", float(match[1])
        elif inner is None or number(inner) is not None:
            yield f"{before}{name}", number(inner)


def tag_of(stem: str) -> str:
    """The tag of a scalar that TensorBoard has saved as `run-RUN-tag-TAG`; any other name as it is."""
    return re.sub(r"^.*\btag[-_]|^.*_tag[-_]", "", stem) or stem


def _long_form(one: Mapping[str, Any]) -> tuple[str, float] | None:
    name = next((one[key] for key in NAME_KEYS if isinstance(one.get(key), str)), None)
    value = next((number(one[key]) for key in VALUE_KEYS if one.get(key) is not None), None)
    return (name, value) if name is not None and value is not None else None
