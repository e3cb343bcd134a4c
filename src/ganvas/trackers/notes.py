"""A run's events, configuration and evaluations as text, for trackers."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ganvas.config import leaves
from ganvas.config.flags import format_flags
from ganvas.diagnosis.severity import SEVERITIES
from ganvas.errors import GanvasError
from ganvas.reading import is_number
from ganvas.runs.folder import Run
from ganvas.trackers.tracker import Facts, Note, State

_UNTOLD = ("balance", "planned", "replanned")
"""Events whose numbers are in stats.jsonl, at every tick."""

_FAILURES = ("non-finite", "stopped")
_WARNINGS = ("rollback", "correct", "monitor failed", "evaluation failed", "damaged state")
_STATES: dict[str, State] = {
    "done": "complete", "interrupted": "interrupted", "non-finite": "failed", "stopped": "failed",
}  # fmt: skip


def collect_facts(run: Run) -> Facts:
    """What is known of a run at its start.

    Raises:
        GanvasError: this is no run.
    """
    metadata = run.metadata
    data = {f"data_{name}": metadata["data"][name] for name in ("name", "fingerprint", "images", "shape")}
    config = {**dict(leaves(run.config)), "recipe": metadata["recipe"], **data}
    config |= {f"version_{name}": version for name, version in (metadata.get("versions") or {}).items()}
    if run.origin:
        config["from"] = run.origin
    return Facts(run.path, config, format_table(("knob", "value"), config.items()))


def final_state(events: Iterable[Mapping[str, Any]]) -> State:
    """How a run stands by its last event."""
    last = [event["event"] for event in events if event["event"] in (*_STATES, "resume", "extended")]
    return _STATES.get(last[-1], "unfinished") if last else "unfinished"


def describe_event(event: Mapping[str, Any]) -> Note | None:
    """A line of events.jsonl as text; None for one that only repeats numbers."""
    kind, nimg = event["event"], int(event["nimg"])
    if kind in _UNTOLD:
        return None
    finding = event if kind == "diagnosis" else event.get("finding")
    title = f"{kind} at {nimg / 1000:g} kimg"
    lines = []
    if isinstance(finding, Mapping):
        title = f"{finding.get('name', kind)} at {nimg / 1000:g} kimg" if kind == "diagnosis" else title
        lines += _describe_finding(finding)
    if isinstance(changes := event.get("changes"), Mapping) and kind != "diagnosis":
        lines.append(f"Changed: {format_flags(changes)}")
    told = ("time", "nimg", "event", "finding", "changes")
    if kind != "diagnosis":
        lines += [f"{name}: {_format(value)}" for name, value in event.items() if name not in told]
    severity = "failure" if kind in _FAILURES else "warning" if kind in _WARNINGS else "note"
    if kind == "diagnosis" and (own := event.get("severity")) in SEVERITIES:
        severity = own
    return Note(nimg, kind, severity, title, "\n\n".join([f"**{title}**", *lines]))


def _describe_finding(finding: Mapping[str, Any]) -> list[str]:
    """The summary, the evidence and the fixes of a finding."""
    evidence = "; ".join(map(str, finding.get("evidence") or ()))
    fixes = [fix for fix in finding.get("fixes") or () if isinstance(fix, Mapping)]
    since = f"since {finding.get('unit', 'kimg')} {_format(finding.get('since'))}"
    lines = [f"{finding.get('severity', '')}: {finding.get('summary', '')} ({evidence}; {since})"]
    return lines + [" ".join(filter(None, (f"Fix: {fix.get('do', '')}", fix.get("flags")))) for fix in fixes]


def read_evaluation(row: Mapping[str, Any]) -> tuple[dict[str, float], str]:
    """The numbers of a row of metrics.jsonl, and a table of them with its protocol."""
    values = {name: value for name, value in row.get("values", {}).items() if isinstance(value, Mapping)}
    numbers = {f"evaluation/{name}": value["value"] for name, value in values.items() if is_number(value.get("value"))}
    for name, value in values.items():
        if is_number(value.get("baseline")):
            numbers[f"evaluation/{name}/baseline"] = value["baseline"]
    cells = [
        (value.get("title", name), *(_format(value.get(part)) for part in ("value", "error", "baseline", "ratio")))
        for name, value in values.items()
    ]
    features = row.get("protocol", {}).get("features", {})
    lines = [
        str(row.get("subject", "")),
        format_table(("", "value", "±", "real", "×"), cells),
        f"Features: {features.get('extractor', '?')} ({features.get('weights', '?')})",
        *map(str, row.get("notes", ())),
    ]
    return numbers, "\n\n".join(lines)


def format_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(_format(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _format(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_format, value))
    return "" if value is None else str(value)


def describe_failure(error: BaseException) -> tuple[str, str]:
    """(what happened, the fix) of an error of a tracker, in a line."""
    if isinstance(error, GanvasError):
        return error.what, error.fix
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    return f"{type(error).__name__}: {lines[0][:300]}", ""
