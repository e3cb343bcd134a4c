"""stats.jsonl of Ganvas itself: its quantities already have their names."""

from collections.abc import Mapping

from ganvas.diagnosis.history import Facts, History, numbers
from ganvas.diagnosis.logs.formats.json_lines import parse_line
from ganvas.diagnosis.logs.source import MAX_DOCUMENT, Source
from ganvas.errors import GanvasError


def is_own(source: Source) -> bool:
    """Whether the first object is a line of ours: its time is nimg, and D's loss has a mean."""
    first = next(filter(None, map(parse_line, source.head[:20])), {}) if source.size <= MAX_DOCUMENT else {}
    return isinstance(first.get("nimg"), int | float) and any(
        isinstance(first.get(name), Mapping) for name in ("D/loss", "G/loss")
    )


def read_own(source: Source) -> History:
    """The history.

    Raises:
        GanvasError: a line has something else than a number.
    """
    lines = [line for line in map(parse_line, source.lines()) if line and isinstance(line.get("nimg"), int | float)]
    columns = {name: name for line in lines for name, _ in numbers(line)}
    try:
        return History.from_stats(lines, Facts(source=source.path.name, format="stats.jsonl", columns=columns))
    except (TypeError, ValueError) as error:
        raise GanvasError(
            f"{source.path} is damaged: {error}.", expected="the stats.jsonl of a run", fix="remove the line."
        ) from error
