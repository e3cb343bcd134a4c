"""Formats an evaluation for a terminal, as plain text, and as HTML."""

import html as escaping
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ganvas.evaluation.evaluation import Evaluation
from ganvas.evaluation.measures import format_number

if TYPE_CHECKING:
    from rich.console import Group

_ARROWS = {"lower": "↓", "higher": "↑", "as real": "="}
_COLUMNS = ("", "", "value", "±", "real", "×")
_LEGEND = "value ± standard error; real: the baseline, held-out real images in its place; ×: value / real"


def render(evaluation: Evaluation) -> "Group":
    """The table, the memorisation test, the notes and the protocol, for rich."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, title=evaluation.subject, title_justify="left")
    for i, title in enumerate(_COLUMNS):
        table.add_column(title, justify="left" if i < 2 else "right")
    for row in _rows(evaluation):
        table.add_row(*row)
    lines = [Text(f"{_LEGEND}\n", "dim")]
    if evaluation.memorisation is not None:
        lines.append(Text(str(evaluation.memorisation)))
    lines += [Text(f"Note: {note}", "yellow") for note in evaluation.notes]
    lines.append(Text(format_protocol(evaluation), "dim"))
    return Group(table, *lines)


def _rows(evaluation: Evaluation) -> Iterator[tuple[str, ...]]:
    """The cells of each row of the table."""
    for name, value in evaluation.values.items():
        measure, ratio = evaluation.get_measure(name), evaluation.ratio_to_baseline(name)
        numbers = (value.value, value.error, value.baseline, ratio)
        yield measure.title, _ARROWS[measure.better], *("" if x is None else format_number(x) for x in numbers)


def format_protocol(evaluation: Evaluation) -> str:
    """The protocol in a few lines."""
    features, reference, subject = (evaluation.protocol[part] for part in ("features", "reference", "subject"))
    classes = evaluation.protocol.get("classes", {})
    accuracy = classes.get("classifier_accuracy")
    correct = f", correct on {100 * accuracy:.1f} % of held-out images" if accuracy is not None else ""
    lines = [
        f"Features: {features['extractor']} ({features['weights']}), images {features['resize']}.",
        f"Evaluated: {subject['count']:,} images"
        + "".join(f", {name} {value}" for name, value in subject.items() if name not in ("count", "fingerprint"))
        + ".",
        f"Real: {reference['count']:,} of {reference['data']} ({reference['fingerprint'][:8]}); "
        f"held out: {subject['count']:,} of {reference['held_out']}.",
        *([f"Classes: the data's own classifier ({classes['weights']}){correct}."] if classes else []),
        "Versions: "
        + ", ".join(f"{name} {version}" for name, version in evaluation.protocol["versions"].items())
        + ".",
    ]
    return "\n".join(lines)


def plain(evaluation: Evaluation, width: int = 110) -> str:
    """The same as text without colour, at most `width` characters wide."""
    from rich.console import Console

    console = Console(width=width, color_system=None, force_terminal=False, force_jupyter=False, highlight=False)
    with console.capture() as captured:
        console.print(render(evaluation))
    return "\n".join(line.rstrip() for line in captured.get().rstrip().splitlines())


def html(evaluation: Evaluation) -> str:
    """The same for a notebook."""
    align = ["left", "left", *["right"] * (len(_COLUMNS) - 2)]

    def cells(tag: str, row: tuple[str, ...]) -> str:
        return "".join(
            f"<{tag} style='text-align:{side}'>{escaping.escape(cell)}</{tag}>"
            for side, cell in zip(align, row, strict=True)
        )

    rows = "".join(f"<tr>{cells('td', row)}</tr>" for row in _rows(evaluation))
    texts = [_LEGEND]
    if evaluation.memorisation is not None:
        texts.append(str(evaluation.memorisation))
    texts += [f"Note: {note}" for note in evaluation.notes]
    paragraphs = "".join(f"<p style='margin:.4em 0'>{escaping.escape(text)}</p>" for text in texts)
    protocol = escaping.escape(format_protocol(evaluation))
    return (
        f"<div><b>{escaping.escape(evaluation.subject)}</b><table><tr>{cells('th', _COLUMNS)}</tr>{rows}</table>"
        f"{paragraphs}<pre style='opacity:.6'>{protocol}</pre></div>"
    )
