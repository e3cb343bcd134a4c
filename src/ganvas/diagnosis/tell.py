"""A diagnosis in words: for a terminal, for a notebook, for a log."""

import html as escaping
from collections.abc import Iterator

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from ganvas.diagnosis.diagnosis import Diagnosis, Finding

_MARKS = {"failure": ("✗", "red"), "warning": ("!", "yellow"), "note": ("·", "cyan")}


def verdict(diagnosis: Diagnosis) -> str:
    """The whole in one sentence."""
    if diagnosis.failures:
        return f"This training has failed, or will: {diagnosis.failures[0].name}."
    if warnings := [finding.name for finding in diagnosis.findings if finding.gravity == "warning"]:
        return f"This training goes on, with {'a warning' if len(warnings) == 1 else f'{len(warnings)} warnings'}."
    if any(finding.name == "too early to judge" for finding in diagnosis.findings):
        return "Nothing is wrong so far, but it is too early to judge."
    if diagnosis.unseen.get("mode collapse"):
        return "Nothing wrong can be seen in these numbers; of the pictures they say nothing."
    looks, seen = diagnosis.facts.get("looks"), diagnosis.facts.get("seen")
    return "This training is healthy" + (
        f", as far as {looks} looks in {seen:,.0f} pictures tell." if looks and seen else "."
    )


def rendered(diagnosis: Diagnosis) -> Group:
    """For a terminal, by rich."""
    colour = "red" if diagnosis.failures else "green" if diagnosis.healthy else "yellow"
    parts: list[Text | Table] = [Text(verdict(diagnosis), style=f"bold {colour}")]
    for finding in diagnosis.findings:
        mark, colour = _MARKS[finding.gravity]
        says = Text.assemble((f"{mark} ", colour), (finding.says, "bold"))
        body = Table.grid(padding=(0, 2))
        body.add_column(no_wrap=True, style="dim")
        for label, text in _body(finding, ours="knobs" in diagnosis.facts):
            body.add_row(f"    {label}", Text(text))
        parts += [Text(""), says, body]
    if told := _unseen(diagnosis):
        parts += [Text(""), Text(told, style="dim")]
    return Group(*parts)


def _body(finding: Finding, *, ours: bool) -> Iterator[tuple[str, str]]:
    """(label, text) of each line below the sentence; knobs only for a training of ours."""
    since = "" if finding.gravity == "note" else f" (since {finding.unit} {finding.since:g})"
    yield "seen", "; ".join(finding.evidence) + since
    if finding.gravity == "note":
        return
    if finding.causes:
        yield "why", "; or ".join(finding.causes)
    for i, cure in enumerate(finding.cures):
        yield "" if i else "try", cure.do + (f"  {cure.knobs}" if cure.knobs and ours else "")


NEEDED = {
    "D/loss": "D's loss",
    "G/loss": "G's loss",
    "D/update": "D's weights",
    "G/update": "G's weights",
    "D/still": "D's weights",
    "G/still": "G's weights",
    "D/auc": "D's outputs on reals and fakes",
    "D/real": "D's outputs on reals",
    "D/held_auc": "D's outputs on held-out pictures",
    "D/company": "a D with batch norm",
    "D/labels": "a D that is told classes",
    "G/labels": "a G that is told classes",
    "G/slope": "D's slope at fakes",
    "nearest": "held-out pictures, and a training set of at most 2,000",
    "quality": "pictures",
    "fid": "a FID",
    "kid": "a KID",
}
"""What each quantity would take, in words; the rest are of pictures."""


def _unseen(diagnosis: Diagnosis) -> str:
    """What could not be looked for, and what would be needed."""
    if not diagnosis.unseen and not diagnosis.facts.get("blind"):
        return ""
    by_need: dict[str, list[str]] = {}
    for name, needs in diagnosis.unseen.items():
        words = [" or ".join(dict.fromkeys(NEEDED.get(n, "pictures") for n in need.split(" or "))) for need in needs]
        by_need.setdefault(" and ".join(dict.fromkeys(words)), []).append(name)
    lines = [f"  {', '.join(names)}: would need {need}" for need, names in by_need.items()]
    blind = [f"  the {what} could not be looked at: {why}" for what, why in diagnosis.facts.get("blind", {}).items()]
    return "\n".join(["Could not be looked for:", *lines, *blind])


def plain(diagnosis: Diagnosis, width: int = 110) -> str:
    """As text without colour."""
    console = Console(width=width, no_color=True, force_terminal=False, highlight=False)
    with console.capture() as captured:
        console.print(rendered(diagnosis))
    return captured.get().rstrip()


def html(diagnosis: Diagnosis) -> str:
    """For a notebook."""
    rows = []
    for finding in diagnosis.findings:
        mark, colour = _MARKS[finding.gravity]
        lines = _body(finding, ours="knobs" in diagnosis.facts)
        body = "<br>".join(f"{label:6}{escaping.escape(text)}" for label, text in lines)
        head = f"<b style='color:{colour}'>{mark}</b> <b>{escaping.escape(finding.says)}</b>"
        rows.append(f"<p style='margin:.6em 0'>{head}<br><span style='white-space:pre-wrap'>{body}</span></p>")
    unseen = escaping.escape(_unseen(diagnosis))
    tail = f"<pre style='opacity:.6'>{unseen}</pre>" if unseen else ""
    return f"<div><b>{escaping.escape(verdict(diagnosis))}</b>{''.join(rows)}{tail}</div>"
