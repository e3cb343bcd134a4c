"""MLflow's metric files: `timestamp value step` a line, the name of the file is that of the quantity."""

import re

from ganvas.diagnosis.logs.numbers import number
from ganvas.diagnosis.logs.rows import Rows, Table
from ganvas.diagnosis.logs.source import Source

_LINE = re.compile(r"\d{10,16} (?P<value>[-+.\deE]+|nan|[-+]?inf(?:inity)?|NaN) (?P<step>\d+)")


def read_mlflow_metric(source: Source) -> list[Table] | None:
    """One quantity; in a folder of them the names of inner folders belong to it."""
    if not source.head or not all(map(_LINE.fullmatch, source.head[:5])):
        return None
    name, rows = source.path.as_posix().rpartition("/metrics/")[2], Rows()
    name = name if "/metrics/" in source.path.as_posix() else source.path.name
    for line in source.lines():
        match = _LINE.fullmatch(line.strip())
        value = number(match["value"]) if match else None
        if match and value is not None:
            rows.add({"step": float(match["step"]), name: value})
            rows.note_text(name, match["value"])
        else:
            rows.unread += bool(line.strip())
    return [rows.table()]
