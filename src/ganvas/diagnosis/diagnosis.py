"""Findings from measurements: every rule is applied, causes before their effects."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ganvas.diagnosis.history import Facts, History
from ganvas.diagnosis.rules.conditions import ConditionName
from ganvas.diagnosis.rules.fixes import ProposedFix, propose
from ganvas.diagnosis.rules.losses import with_total
from ganvas.diagnosis.rules.table import CONDITIONS
from ganvas.diagnosis.severity import SEVERITIES, Severity
from ganvas.display import Displayed, Paragraph, Part, Table

_MARKS = {"failure": ("✗", "red"), "warning": ("!", "yellow"), "note": ("·", "cyan")}

Needs = tuple[tuple[str, ...], ...]
"""Quantities that would be needed: of each group one is enough."""


@dataclass(frozen=True, repr=False)
class Finding(Displayed):
    """A condition that was detected.

    Attributes:
        name, severity, summary, causes, source: as in the table (`ganvas.diagnosis.rules.conditions.Condition`).
        about: the network concerned, where the row leaves that open.
        since: when it began, in `unit`.
        evidence: the numbers.
        fixes: those that apply to this training, the most promising first.
    """

    name: ConditionName
    severity: Severity
    summary: str
    about: str
    since: float
    unit: str
    evidence: tuple[str, ...]
    causes: tuple[str, ...]
    fixes: tuple[ProposedFix, ...]
    source: str

    def describe(self) -> str:
        """The summary and its evidence in one line."""
        return f"{self.summary} ({'; '.join(self.evidence)}; since {self.unit} {self.since:g})"

    def advice(self) -> str:
        """The first fix."""
        return str(self.fixes[0]) if self.fixes else "no known fix applies to this configuration"

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "name": self.name, "severity": self.severity, "summary": self.summary, "since": self.since,
            "unit": self.unit, "evidence": list(self.evidence), "causes": list(self.causes),
            "fixes": [{"do": fix.do, "changes": dict(fix.changes), "flags": fix.flags} for fix in self.fixes],
            "source": self.source,
        }  # fmt: skip

    def _line(self) -> str:
        return f"Finding({self.severity}: {self.describe()}; fix: {self.advice()})"

    def _parts(self) -> Iterator[Part]:
        mark, colour = _MARKS[self.severity]
        yield Paragraph(f"{mark} {self.summary}", f"bold {colour}")
        yield Table(list(_lines(self)))


@dataclass(frozen=True, repr=False)
class Diagnosis(Displayed):
    """What was found, the most severe first, and among equals causes before effects.

    Attributes:
        findings: empty if no condition was detected.
        unchecked: for each condition that could not be checked, the quantities it would need.
        now, unit: the time of the diagnosis.
        facts: those of the history.
        probes: how often the networks were measured.
        trainings: each by its name where a log holds several; the findings are then those of all.
    """

    findings: tuple[Finding, ...]
    unchecked: dict[ConditionName, Needs]
    now: float
    unit: str
    facts: Facts = field(default_factory=Facts)
    probes: int = 0
    trainings: "Mapping[str, Diagnosis]" = field(default_factory=dict)

    @property
    def failures(self) -> tuple[Finding, ...]:
        """The findings that do not pass by themselves."""
        return tuple(finding for finding in self.findings if finding.severity == "failure")

    @property
    def healthy(self) -> bool:
        """Whether nothing worse than a note was found."""
        return all(finding.severity == "note" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        several = {"trainings": {name: one.to_json() for name, one in self.trainings.items()}}
        return {
            "healthy": self.healthy, "now": self.now, "unit": self.unit, "probes": self.probes,
            "facts": self.facts.to_json(), "findings": [finding.to_json() for finding in self.findings],
            "unchecked": {name: [list(names) for names in needs] for name, needs in self.unchecked.items()},
            **(several if self.trainings else {}),
        }  # fmt: skip

    def _parts(self) -> Iterator[Part]:
        for name, one in self.trainings.items():
            yield Paragraph(f"{name}:", "bold")
            yield from one._parts()
            yield Paragraph("")
        if self.trainings:
            return
        colour = "red" if self.failures else "green" if self.healthy else "yellow"
        yield Paragraph(verdict(self), f"bold {colour}")
        if self.healthy and self.facts.config:
            yield Paragraph("How good its images are is another question, which ganvas evaluate answers.", "dim")
        for finding in self.findings:
            yield Paragraph("")
            yield from finding._parts()
        if unchecked := _describe_unchecked(self):
            yield Paragraph("")
            yield Paragraph(unchecked, "dim")
        if read := describe_columns(self.facts):
            yield Paragraph("")
            yield Paragraph(read, "dim")


def apply_rules(history: History) -> Diagnosis:
    """Applies every rule of the table to a history."""
    history, findings = with_total(history), []
    for row in CONDITIONS:
        detection = row.detect(history)
        if detection is not None:
            findings.append(
                Finding(
                    name=row.name,
                    severity=detection.severity or row.severity,
                    summary=detection.summary or row.summary.format(about=detection.about),
                    about=detection.about,
                    since=detection.since,
                    unit=history.unit,
                    evidence=detection.evidence,
                    causes=detection.causes or row.causes,
                    fixes=propose(detection.fixes or row.fixes, history.facts, detection.about),
                    source=row.source,
                )
            )
    found = {finding.name for finding in findings}
    unchecked: dict[ConditionName, Needs] = {
        row.name: tuple(tuple(_nearer(name, history) for name in names) for names in needs)
        for row in CONDITIONS
        if row.name not in found and (needs := row.missing(history))
    }
    ranked = sorted(findings, key=_rank)
    return Diagnosis(tuple(ranked), unchecked, history.now, history.unit, history.facts, history.probes)


def _nearer(need: str, history: History) -> str:
    """A need, or what it lacks itself: where optimisers are seen, a step of the network."""
    kind, _, name = need.partition("/")
    stepped = f"wiring/{name[:1]}/stepped"
    return (
        stepped
        if kind == "wiring" and "wiring/optimisers" in history and stepped in NEEDED and stepped not in history
        else need
    )


def combine(trainings: Mapping[str, Diagnosis]) -> Diagnosis:
    """The only one of them, or one of a log that holds several."""
    first = next(iter(trainings.values()))
    if len(trainings) == 1:
        return first
    findings = sorted((finding for one in trainings.values() for finding in one.findings), key=_rank)
    unchecked: dict[ConditionName, Needs] = {}
    for one in trainings.values():
        unchecked |= one.unchecked
    facts = Facts(source=first.facts.source, format=first.facts.format)
    now = max(one.now for one in trainings.values())
    return Diagnosis(tuple(findings), unchecked, now, first.unit, facts, trainings=trainings)


def verdict(diagnosis: Diagnosis) -> str:
    """The diagnosis in one sentence."""
    if diagnosis.failures:
        return f"This training has failed or is failing: {diagnosis.failures[0].name}."
    if warnings := [finding.name for finding in diagnosis.findings if finding.severity == "warning"]:
        if _is_foreign(diagnosis.facts) and "quality regressing" in diagnosis.unchecked:
            return f"This training may be failing: {', '.join(warnings)}. Its losses alone do not prove it."
        return f"This training can continue, with {'a warning' if len(warnings) == 1 else f'{len(warnings)} warnings'}."
    errors = diagnosis.facts.probe_errors
    if what := next((one for one in FOREMOST if one in errors), ""):
        return f"Nothing wrong was found, but {_say_failed(what, errors[what])}"
    if any(finding.name == "too early to judge" for finding in diagnosis.findings):
        return "Nothing is wrong so far, but it is too early to judge."
    if "mode collapse" in diagnosis.unchecked and "quality regressing" not in diagnosis.unchecked:
        return "This training is healthy, as far as its losses and its measured quality show."
    if "mode collapse" in diagnosis.unchecked:
        return "These numbers show nothing wrong, but they say nothing about the images."
    if diagnosis.probes and diagnosis.facts.shown:
        return f"This training is healthy, by {diagnosis.probes} probes over {diagnosis.facts.shown:,.0f} images."
    return "This training is healthy."


FOREMOST = ("conditions", "later rounds", "networks", "images", "outputs", "held-out images", "labels")
"""What a probe could not measure, the part without which it is worth least first."""


def _say_failed(what: str, error: str) -> str:
    """That a part of the probe failed."""
    return f"the {what} could not be {'checked' if what == 'conditions' else 'measured'}: {_plain(error)}"


def _plain(error: str) -> str:
    """An error in one line, without colours: those of Keras have many lines."""
    lines = [line.strip() for line in re.sub(r"\x1b\[[0-9;]*m", "", error).splitlines()]
    text = next((line for line in lines if line), "")
    if text.endswith(":") and len(kept := [line for line in lines if line]) > 1:
        text = f"{text} {kept[1]}"
    return text if len(text) <= MAX_LINE else text[:MAX_LINE] + " …"


MAX_LINE = 300
"""Characters of an error that are shown, at most."""

_ROLES = {"d_loss": "D/loss", "g_loss": "G/loss"}


def describe_columns(facts: Facts) -> str:
    """How the log of another program was read; of a run of ours only what is damaged in it."""
    if not _is_foreign(facts):
        return "\n".join(f"Note: {note}" for note in facts.notes)
    lines = [f"Read from {facts.source} ({facts.format}):"]
    lines += [f"  {name} = {own}" for name, own in facts.columns.items() if not name.endswith("/std")]
    if not {"kimg", "step", "epoch"} & set(facts.columns.values()):
        lines.append("  no step in it: its rows are counted")
    known = set(facts.columns.values())
    missing = [own for own in ("d_loss", "g_loss") if not {role for role in known if role.startswith(_ROLES[own])}]
    if facts.unused:
        some = ", ".join(facts.unused[:12]) + (f" and {len(facts.unused) - 12} more" if len(facts.unused) > 12 else "")
        lines.append(f"  not used: {some}")
    if missing:
        given = ",".join(f"{own}=NAME" for own in missing)
        hint = f"; if one of these is, say so: --columns {given}" if facts.unused else ""
        lines.append(f"  no {' and no '.join(missing)} in it{hint}")
    lines += [f"  {note}" for note in facts.notes]
    if facts.unread:
        lines.append(f"  {facts.unread:,} {'line' if facts.unread == 1 else 'lines'} could not be read")
    if facts.restarts:
        again = "once" if facts.restarts == 1 else f"{facts.restarts:,} times"
        lines.append(f"  time went back {again}: what a resumed training wrote again counts once")
    return "\n".join(lines)


def _is_foreign(facts: Facts) -> bool:
    """Whether the numbers are from the log of another program."""
    return facts.format not in ("", "stats.jsonl")


def _rank(finding: Finding) -> int:
    return SEVERITIES.index(finding.severity)


def _lines(finding: Finding) -> Iterator[tuple[str, str]]:
    """(label, text) of each line below the summary."""
    since = "" if finding.severity == "note" else f" (since {finding.unit} {finding.since:g})"
    yield "evidence", "; ".join(finding.evidence) + since
    if finding.severity == "note":
        return
    if finding.causes:
        yield "causes", "; or ".join(finding.causes)
    for i, fix in enumerate(finding.fixes):
        yield "" if i else "fix", fix.do + (f"  {fix.flags}" if fix.changes else "")


NEEDED = {
    "D/loss": "D's loss",
    "G/loss": "G's loss",
    "D/update": "D's weights",
    "G/update": "G's weights",
    "D/unchanged": "D's weights",
    "G/unchanged": "G's weights",
    "D/auc": "D's outputs on reals and fakes",
    "D/real": "D's outputs on reals",
    "D/held_auc": "D's outputs on held-out images",
    "D/batch_effect": "a D with batch norm",
    "D/label_effect": "a conditional D",
    "G/label_effect": "a conditional G",
    "D/input_gradient": "D's input gradient at fakes",
    "nearest_real": "held-out images, and a training set of at most 2,000",
    "quality": "images",
    "fid": "a FID",
    "kid": "a KID",
    "inception score": "an inception score",
    "D/wasserstein": "a critic",
    "wiring/G/passes": "optimisers of PyTorch, and backward passes that reach G's own weights",
    "wiring/optimisers": "optimisers of PyTorch",
    "wiring/D/stepped": "a step of D in a round that is looked at (every=1 looks at each)",
    "wiring/G/stepped": "a step of G in a round that is looked at (every=1 looks at each)",
    "wiring/D/old": "optimisers of PyTorch, and gradients that backward passes add up in D's weights",
    "wiring/D/both": "optimisers of PyTorch",
    "wiring/G/mixed": "optimisers of PyTorch, and gradients that backward passes add up in G's weights",
    "wiring/G/eval": "a G with batch norm or dropout, in a round that was seen to call it",
    "targets/D/same": "losses of D and G on reals and fakes that are found among D's inputs",
    "targets/sigmoid_twice": "a D that ends in a sigmoid, and that its loss reaches",
}
"""What it takes to measure each quantity, in words; the rest are measured on images."""


LOGGED = ("D/loss", "G/loss", "D/real", "fid", "kid", "inception score")
"""Quantities that logs of other programs have."""


TELLING: tuple[ConditionName, ...] = (
    "mode collapse", "memorisation", "D overfits", "range mismatch", "labels swapped", "missing zero_grad",
)  # fmt: skip
"""Of the conditions that no log shows, those that are named."""


def _describe_unchecked(diagnosis: Diagnosis) -> str:
    """The conditions that could not be checked, with what they would need, and the probes that failed."""
    if not diagnosis.unchecked and not diagnosis.facts.probe_errors:
        return ""
    if _is_foreign(diagnosis.facts):
        return _describe_unchecked_in_log(diagnosis.unchecked)
    by_need: dict[str, list[str]] = {}
    images = "500 real images, or data=" if diagnosis.probes else "images"
    for name, needs in diagnosis.unchecked.items():
        words = [" or ".join(dict.fromkeys(NEEDED.get(one, images) for one in names)) for names in needs]
        by_need.setdefault(" and ".join(dict.fromkeys(words)), []).append(name)
    lines = [f"  {', '.join(names)}: would need {need}" for need, names in by_need.items()]
    failed = (_say_failed(what, error) for what, error in diagnosis.facts.probe_errors.items())
    said = verdict(diagnosis)
    errors = [f"  {words}" for words in failed if words not in said]
    return "\n".join(["Could not be checked:", *lines, *errors]) if lines or errors else ""


def _describe_unchecked_in_log(unchecked: Mapping[ConditionName, Needs]) -> str:
    """What one more column of a log would show, and what no log of numbers shows."""
    in_log: dict[str, list[str]] = {}
    apart: list[str] = []
    for name, needs in unchecked.items():
        words = [[NEEDED[one] for one in names if one in LOGGED and one in NEEDED] for names in needs]
        if all(words):
            in_log.setdefault(" and ".join(" or ".join(dict.fromkeys(of_one)) for of_one in words), []).append(name)
        else:
            apart.append(name)
    lines = [f"  {need} would also show: {', '.join(names)}" for need, names in in_log.items()]
    if apart:
        some = [name for name in TELLING if name in apart]
        others = f"{len(apart)} others: {', '.join(some)} …" if len(apart) > len(some) else ", ".join(apart)
        lines.append(f"  only ganvas.watch(G, D) around the training loop shows {others}")
    return "\n".join(["Not in this log:", *lines])
