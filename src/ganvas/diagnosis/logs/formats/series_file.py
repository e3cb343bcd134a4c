"""A file for each quantity, whose name is that of the quantity: MLflow's, BigGAN's, those of numpy.savetxt."""

import re
from collections.abc import Collection
from pathlib import Path

from ganvas.diagnosis.logs import names
from ganvas.diagnosis.logs.formats.objects import tag_of
from ganvas.diagnosis.logs.numbers import number
from ganvas.diagnosis.logs.rows import Rows, Table
from ganvas.diagnosis.logs.source import Source

_VALUE = r"(?P<value>[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|[-+]?nan|[-+]?inf(?:inity)?)"
_MLFLOW = re.compile(rf"\d{{10,16}} {_VALUE} (?P<step>\d+)", re.I)
_LINE = re.compile(rf"(?:(?P<step>\d+)(?:\.0+(?:e[-+]?\d+)?)?\s*(?:[:,;\s])\s*)?{_VALUE}", re.I)


def read_mlflow_metric(source: Source) -> list[Table] | None:
    """A metric of MLflow, `timestamp value step` a line; the names of inner folders belong to its name."""
    if not source.head or not all(map(_MLFLOW.fullmatch, source.head[:5])):
        return None
    inner = source.path.as_posix().rpartition("/metrics/")
    return [_read(source, _MLFLOW, inner[2] if inner[1] else source.path.name)]


def read_series_file(source: Source) -> list[Table] | None:
    """`value`, or `step: value`, a line, in a file whose name ends in one that is known."""
    found = [_LINE.fullmatch(line.strip()) for line in source.head[:20] if not line.startswith("#")]
    steps = [match["step"] for match in found if match and match["step"]]
    grows = len(steps) in (0, len(found)) and [*map(int, steps)] == sorted({*map(int, steps)})
    name = name_of(source.name, source.columns)
    return [_read(source, _LINE, name)] if name and found and all(found) and grows else None


def name_of(path: Path, given: Collection[str] = ()) -> str:
    """G_loss of G_loss.log and of run7_G_loss.txt; empty if no end of the name is known."""
    stem = tag_of(path.stem)
    parts = re.split(r"(?<=[ _.-])", stem)
    ends = ["".join(parts[first:]) for first in range(len(parts))]
    known = [end for end in ends if len(names.normalise_name(end)) > 1 and names.is_quantity(end)]
    return stem if stem in given else known[0] if known else ""


def _read(source: Source, pattern: re.Pattern[str], name: str) -> Table:
    rows = Rows()
    for line in source.lines():
        match = pattern.fullmatch(line.strip())
        value = number(match["value"]) if match else None
        if match and value is not None:
            rows.add({name: value} | ({"step": float(match["step"])} if match["step"] else {}))
            rows.note_text(name, match["value"])
        else:
            rows.unread += bool(line.strip()) and not line.startswith("#")
    return rows.table()
