"""An evaluation as people read it."""

from typing import TYPE_CHECKING

from ganvas.evaluation.evaluation import Evaluation

if TYPE_CHECKING:
    from rich.console import Group

_WAY = {"lower": "↓", "higher": "↑", "as real": "="}


def rendered(found: Evaluation) -> "Group":
    """The table, what copying was found, the notes, and the protocol."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, title=found.subject, title_justify="left")
    for title, side in (
        ("", "left"),
        ("", "left"),
        ("value", "right"),
        ("±", "right"),
        ("real", "right"),
        ("×", "right"),
    ):
        table.add_column(title, justify=side)  # type: ignore[arg-type]
    for name, value in found.values.items():
        row, ratio = found.measure(name), found.ratio(name)
        table.add_row(
            row.title,
            _WAY[row.better],
            number(value.value),
            "" if value.error is None else number(value.error),
            "" if value.floor is None else number(value.floor),
            "" if ratio is None else number(ratio),
        )
    lines = [Text("value ± standard error; real: held-out real pictures in its place; ×: value / real\n", "dim")]
    copying = found.memorisation
    if copying is not None:
        lines.append(
            Text(
                f"Nearest training pictures: {copying.ratio:.2f} × as far as those of held-out pictures; "
                f"{100 * copying.copies:.1f} % are nearer than all but the nearest 1 % of held-out ones; "
                f"authenticity {100 * copying.authenticity:.0f} %"
                + ("" if copying.c_t is None else f"; C_T {copying.c_t:.1f}")
            )
        )
    lines += [Text(f"Note: {note}", "yellow") for note in found.notes]
    lines.append(Text(told(found), "dim"))
    return Group(table, *lines)


def told(found: Evaluation) -> str:
    """The protocol in a few lines."""
    eyes, real, judged = (found.protocol[part] for part in ("features", "reference", "judged"))
    counted = found.protocol.get("classes", {})
    accuracy = counted.get("classifier_accuracy")
    right = f", right on {100 * accuracy:.1f} % of held-out pictures" if accuracy is not None else ""
    lines = [
        f"Features: {eyes['extractor']} ({eyes['weights']}), pictures {eyes['resize']}.",
        f"Judged: {judged['count']:,} pictures"
        + "".join(f", {name} {value}" for name, value in judged.items() if name not in ("count", "fingerprint"))
        + ".",
        f"Real: {real['count']:,} of {real['data']} ({real['fingerprint'][:8]}); "
        f"held out: {judged['count']:,} of {real['held_out']}.",
        *([f"Classes: the data's own classifier ({counted['weights']}){right}."] if counted else []),
        "Versions: " + ", ".join(f"{name} {version}" for name, version in found.protocol["versions"].items()) + ".",
    ]
    return "\n".join(lines)


def number(x: float) -> str:
    """Three significant digits, or more before the point; tiny ones with an exponent."""
    if x == 0 or x != x:
        return f"{x:g}"
    if abs(x) >= 100:
        return f"{x:,.0f}"
    return f"{x:.3g}" if abs(x) < 1e-3 else f"{x:#.3g}"
