"""From what was seen to what is wrong: every row of the table is asked, causes before their effects."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ganvas.diagnosis.history import History
from ganvas.diagnosis.rules.conditions import Cure, Gravity
from ganvas.diagnosis.rules.table import CONDITIONS

_WEIGHT = {"failure": 0, "warning": 1, "note": 2}

_AMOUNTS = frozenset({"r1", "r2", "gp", "noise", "dropout", "ada_target"})
"""Knobs of which more than a cure asks for is as good."""


@dataclass(frozen=True)
class Finding:
    """A condition that was seen.

    Attributes:
        name, gravity, says, causes, cures, source: as in the table (`ganvas.diagnosis.rules.conditions.Condition`).
        about: the player it is about, where the row leaves that open.
        since: when it began, in `unit`.
        evidence: the numbers.
    """

    name: str
    gravity: Gravity
    says: str
    about: str
    since: float
    unit: str
    evidence: tuple[str, ...]
    causes: tuple[str, ...]
    cures: tuple[Cure, ...]
    source: str

    def told(self) -> str:
        """In one line."""
        return f"{self.says} ({'; '.join(self.evidence)}; since {self.unit} {self.since:g})"

    def advice(self) -> str:
        """The first thing to try."""
        first = self.cures[0]
        return first.do + (f" ({first.knobs})" if first.knobs else "")

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "name": self.name, "gravity": self.gravity, "says": self.says, "since": self.since, "unit": self.unit,
            "evidence": list(self.evidence), "causes": list(self.causes),
            "cures": [{"do": cure.do, "knobs": cure.knobs} for cure in self.cures], "source": self.source,
        }  # fmt: skip


@dataclass(frozen=True)
class Diagnosis:
    """What was found, the gravest and most causal first.

    Attributes:
        findings: may be empty: nothing was seen.
        unseen: for each condition that could not be looked for, what would have to be known.
        now, unit: when this was.
        facts: those of the history.
    """

    findings: tuple[Finding, ...]
    unseen: dict[str, list[str]]
    now: float
    unit: str
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def failures(self) -> tuple[Finding, ...]:
        """Those that will not mend themselves."""
        return tuple(finding for finding in self.findings if finding.gravity == "failure")

    @property
    def healthy(self) -> bool:
        """Whether nothing worse than a note was seen."""
        return all(finding.gravity == "note" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "healthy": self.healthy, "now": self.now, "unit": self.unit, "facts": self.facts,
            "findings": [finding.to_json() for finding in self.findings], "unseen": self.unseen,
        }  # fmt: skip

    def __str__(self) -> str:
        from ganvas.diagnosis.tell import plain

        return plain(self)

    def _repr_html_(self) -> str:
        from ganvas.diagnosis.tell import html

        return html(self)


def diagnose(history: History) -> Diagnosis:
    """Asks every row of the table."""
    findings: list[Finding] = []
    for row in CONDITIONS:
        seen = row.seen(history)
        if seen is not None:
            says = row.says.format(about=seen.about)
            cures = tuple(cure for cure in row.cures if not _done(cure, history.facts.get("knobs", {}))) or row.cures
            findings.append(
                Finding(row.name, row.gravity, says, seen.about, seen.since, history.unit, seen.evidence, row.causes,
                        cures, row.source)
            )  # fmt: skip
    found = {finding.name for finding in findings}
    unseen = {row.name: missing for row in CONDITIONS if row.name not in found and (missing := row.missing(history))}
    ranked = sorted(findings, key=lambda finding: _WEIGHT[finding.gravity])
    return Diagnosis(
        tuple(ranked), unseen, history.now, history.unit, {**history.facts, "looks": len(history["D/auc"])}
    )


def _done(cure: Cure, knobs: Mapping[str, Any]) -> bool:
    """Whether all knobs that a cure names are set as it says, or are as much as it asks for."""
    asked = [(flag.replace("-", "_"), *value) for flag, *value in map(str.split, cure.knobs.split("--")[1:])]
    return bool(asked) and all(_is_set(flag, knobs.get(flag), *value) for flag, *value in asked)


def _is_set(flag: str, now: Any, value: str = "") -> bool:
    if not value or isinstance(now, str | bool | None) or ".." in value:  # a schedule is set only as it is written
        return now is True if not value else now == value
    return now >= float(value) if flag in _AMOUNTS else now == float(value)
