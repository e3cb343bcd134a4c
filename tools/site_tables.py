"""The tables of the documentation site that are made from the code: names, commands, knobs, recipes, conditions."""

import ast
import dataclasses
import inspect
import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from paper_values import SOURCES, Row, Source
from site_lessons import questions

import ganvas
from ganvas.cli import COMMANDS
from ganvas.cli.training import _TrainCommand
from ganvas.config import TrainConfig
from ganvas.config.bounds import find_bound, is_scheduled
from ganvas.config.custom import Network
from ganvas.config.flags import format_flags
from ganvas.config.forms import leaves
from ganvas.diagnosis.rules.table import CONDITIONS
from ganvas.evaluation.measures import MEASURES
from ganvas.game.objectives import OBJECTIVES
from ganvas.progress import format_minutes
from ganvas.recipes import RECIPES
from ganvas.recipes.catalogue import own_knobs
from ganvas.recipes.cpu import describe_time_needed, presets_by_length

ROOT = Path(__file__).resolve().parent.parent


def markdown(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; line ends in cells become spaces, and bars are escaped."""
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    lines += ["| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def field_docs(kind: type) -> dict[str, str]:
    """The text below each field of a class."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(body, ast.ClassDef)
    docs: dict[str, str] = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(doc))):
                docs[name] = inspect.cleandoc(doc)
    return docs


def argument_docs(function: Callable[..., Any]) -> dict[str, str]:
    """The text about each argument in a docstring."""
    _, _, block = (inspect.getdoc(function) or "").partition("\nArgs:\n")
    parts = re.split(r"^    (\w+): ", block.split("\n\n")[0], flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def code(text: object) -> str:
    """The text as code."""
    return f"`{text}`"


def shown(value: Any) -> str:
    """A default value as it is written on the command line; nothing for none."""
    if value is None or value is dataclasses.MISSING or value is inspect.Parameter.empty or value == ():
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return code(" ".join(map(str, value)) if isinstance(value, tuple) else value)


def values(kind: Any) -> str:
    """Which values a field's type takes, in words."""
    if get_origin(kind) is Annotated and find_bound(kind) is None:
        return values(get_args(kind)[0])
    if choices := [choice for one in (kind, *get_args(kind)) if get_origin(one) is Literal for choice in get_args(one)]:
        more = [find for one in get_args(kind) if get_origin(one) is Annotated and (find := find_bound(one))]
        return ", ".join([*map(code, choices), *(bound.expected for bound in more)])
    bound = find_bound(kind)
    words = [bound.expected] if bound else ["yes or no"] if kind is bool else []
    if kind is not bool and is_scheduled(kind):
        words.append("may be a [schedule](#schedules)")
    return "; ".join(words)


def knobs_of(group: type, own: str = "") -> str:
    """The table of a group of knobs."""
    docs = field_docs(group)
    rows = [
        (
            f"{code('--' + field.name.replace('_', '-'))}",
            shown(field.default),
            values(get_type_hints(group, include_extras=True)[field.name]),
            docs.get(field.name, ""),
        )
        for field in dataclasses.fields(group)
        if field.init and not dataclasses.is_dataclass(getattr(field.type, "default_factory", field.default_factory))
        and field.name != own
    ]  # fmt: skip
    return markdown(("knob", "default", "values", "what it is"), rows)


def make_knobs() -> str:
    """Every knob: those of all runs, and those of each family."""
    hints = get_type_hints(TrainConfig)
    is_group = dataclasses.is_dataclass
    groups: list[tuple[str, Any]] = [
        (name, kind) for name, kind in hints.items() if is_group(kind) and name != "network"
    ]
    parts = ["## Length and seed\n", knobs_of(TrainConfig)]
    for name, kind in groups:
        parts += [f"## {name.capitalize()}\n", f"{_summary(kind)}\n", knobs_of(kind)]
    parts.append("## Networks\n\nEach recipe has networks of one family, and their knobs.\n")
    for kind in get_args(Network):
        family = kind.__dataclass_fields__["family"].default
        having = ", ".join(code(name) for name, recipe in RECIPES.items() if isinstance(recipe.config.network, kind))
        parts += [f"### Family {family}\n", f"{_summary(kind)} Recipes: {having}.\n", knobs_of(kind, own="family")]
    return "\n".join(parts)


def _summary(kind: type) -> str:
    """The first paragraph of a docstring, without the module that it refers to."""
    text = (inspect.getdoc(kind) or "").split("\n\n")[0]
    return re.sub(r"; see `ganvas\.[\w.]+`", "", " ".join(text.split()))


def make_commands() -> str:
    """Every command with its options."""
    return "\n".join(_command(name, function) for name, function in COMMANDS.items())


def _command(name: str, function: Callable[..., None]) -> str:
    if name == "train":
        transfer = TrainConfig.__dataclass_fields__["transfer"].default_factory
        rows = [*_option_fields(_TrainCommand, leave_out="config")]
        rows.append(("`--from RUN`", "", field_docs(transfer)["init_from"]))  # pyright: ignore[reportArgumentType]
        rows.append(("`--KNOB VALUE`", "", "Any [knob](knobs.md)."))
        about, usage = inspect.getdoc(_TrainCommand) or "", "ganvas train [RECIPE|RUN] [OPTIONS]"
    else:
        docs, rows, positional = argument_docs(function), [], []
        for parameter in inspect.signature(function).parameters.values():
            if dataclasses.is_dataclass(
                kind := get_args(parameter.annotation)[:1] and get_args(parameter.annotation)[0]
            ):
                rows += _option_fields(kind)
            elif "Positional" in str(parameter.annotation):
                positional.append(_metavar(parameter.annotation))
                rows.append((code(positional[-1]), shown(parameter.default), docs[parameter.name]))
            else:
                rows.append(_option(parameter.name, parameter.default, docs[parameter.name]))
        about = (inspect.getdoc(function) or "").partition("\n\nArgs:")[0]
        usage = " ".join(["ganvas", name, *positional, "[OPTIONS]"])
    return f"## ganvas {name}\n\n```\n{usage}\n```\n\n{about}\n\n" + markdown(("option", "default", "what it is"), rows)


def _option_fields(kind: Any, leave_out: str = "") -> list[tuple[str, str, str]]:
    docs, fields = field_docs(kind), dataclasses.fields(kind)
    return [_option(field.name, field.default, docs[field.name]) for field in fields if field.name != leave_out]


def _option(name: str, default: Any, doc: str) -> tuple[str, str, str]:
    """A row: a flag that is on by default is there to turn it off."""
    flag = code(f"--{'no-' if default is True else ''}{name.replace('_', '-')}")
    return flag, "" if isinstance(default, bool) else shown(default), f"Turns off: {doc}" if default is True else doc


def _metavar(annotation: Any) -> str:
    return next((found for item in get_args(annotation) if (found := getattr(item, "metavar", None))), "VALUE")


def make_recipes() -> str:
    """Every recipe: what it is, whence, its speed, every knob that it sets, its source's values; the families."""
    rows = [
        (code(name), recipe.summary, recipe.source, _length(recipe.config), recipe.cost, describe_time_needed(name))
        for name, recipe in RECIPES.items()
    ]
    headings = (
        "recipe",
        "what it is",
        "follows",
        "data and length",
        "images/s, two CPU cores",
        "until faces look right",
    )
    parts = [
        markdown(headings, rows),
        "\nThe last column is of two CPU cores, where ten minutes do not suffice. It was measured on faces of 64"
        " pixels, of `stylegan` and `msg` 32 (KaoKore; [results](../results.md#cpu-presets-ten-minutes-2026-11-29)).\n",
    ]
    parts.append("\n## What each recipe sets\n\nEvery other knob has its [default](knobs.md).\n")
    for name, recipe in RECIPES.items():
        family = recipe.config.network.family
        flags = format_flags({knob: value for knob, value in own_knobs(recipe.config).items() if value is not None})
        parts.append(f"### {name}\n\nFollows: {recipe.source}. Networks: [{family}](#networks-{family}).\n")
        parts.append(f"```\n{flags}\n```\n")
        for length, knobs in presets_by_length(name):
            runs = f"With `--minutes` {length} on a CPU:" if length else "With `--minutes` on a CPU:"
            parts.append(f"{runs}\n\n```\n{format_flags(knobs)}\n```\n")
        parts.append(_beside(SOURCES[name], recipe.config))
    parts.append("## Networks, and where they differ from the papers\n")
    for kind in get_args(Network):
        family = kind.__dataclass_fields__["family"].default
        about = inspect.getdoc(import_module(f"ganvas.networks.{family}")) or ""
        parts.append(f"### Networks: {family}\n\n{_as_markdown(about)}\n")
    return "\n".join(parts)


def _length(config: TrainConfig) -> str:
    length = format_minutes(config.minutes) if config.minutes else f"{config.kimg:,g} kimg"
    return f"{code(config.dataset.data)}, {length}"


def _beside(source: Source, config: TrainConfig) -> str:
    """The values of a recipe's source beside its own."""
    rows = [
        (row.what, _schedule(row.paper), _schedule(own_value(row, config)), row.why or "the same")
        for row in source.rows
    ]
    parts = [f"Source: {source.seen}\n"]
    if rows:
        parts.append(markdown(("", "source", "ours", "where or why we differ"), rows))
    if source.reported:
        parts.append(f"Reported there: {source.reported}\n")
    return "\n".join(parts)


def _schedule(text: str) -> str:
    """A schedule as code, anything else as it is."""
    return code(text) if ".." in text else text


def own_value(row: Row, config: TrainConfig) -> str:
    """Our value of a row, read from the recipe where knobs say it."""
    if row.ours.startswith(":"):
        return row.ours.removeprefix(":").strip()
    knobs = dict(leaves(config))
    (value,) = {_written(knobs[name]) for name in row.ours.split()}
    return value


def _written(value: Any) -> str:
    """A value of a knob as a reader writes it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    if not isinstance(value, int | float):
        return str(value)
    if 0 < abs(value) < 0.01:
        mantissa, exponent = f"{value:e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:,.10g}"


def _as_markdown(text: str) -> str:
    """A docstring as Markdown: names of the code are code already, and a list needs an empty line before it."""
    return re.sub(r"([^\n])\n- ", r"\1\n\n- ", text, count=0).replace("*", "\\*")


SCOPES = {"any": "", "run": " *(runs of Ganvas)*", "loop": " *(other loops)*"}


def make_diagnoses() -> str:
    """Every condition: severity, what it is, causes, fixes, what it needs, what --on-failure changes."""
    rows = [
        (f"[{row.name}](#{slug(row.name)})", row.severity, sentence(row.summary), "yes" if row.remedy else "")
        for row in CONDITIONS
    ]
    parts = [markdown(("condition", "severity", "what it is", "`--on-failure correct` acts"), rows)]
    for row in CONDITIONS:
        fixes = [(fix.do, SCOPES[fix.scope]) for fix in row.fixes]
        needs = ", ".join(" or ".join(map(code, (n,) if isinstance(n, str) else n)) for n in row.needs)
        parts.append(
            f"## {row.name}\n\n{sentence(row.summary)}"
            + (" A fault of a loop's code: no run of Ganvas can have it." if row.own_loop else "")
            + "\n\n**Causes**\n\n" + "".join(f"- {cause}\n" for cause in row.causes)
            + "\n**Fixes**\n\n" + "".join(f"- {do}{scope}\n" for do, scope in fixes)
            + (f"\nRead from: {needs}." if needs else "")
            + f" Source: {row.source}.\n"
        )  # fmt: skip
    return "\n".join(parts)


def sentence(text: str) -> str:
    return text.replace("{about}", "G or D")


def slug(name: str) -> str:
    return re.sub(r"[^\w-]+", "-", name.lower())


def make_objectives() -> str:
    """Every objective: the losses of D and G, and their sources."""
    rows = [
        (code(name), inspect.getdoc(row.d_loss) or "", inspect.getdoc(row.g_loss) or "")
        for name, row in OBJECTIVES.items()
    ]
    return markdown(("objective", "D's loss", "G's loss"), rows)


def make_measures() -> str:
    """Every quality measure."""
    rows = [
        (
            row.title + (f" ({row.inception_title} with Inception)" if row.inception_title else ""),
            row.better,
            row.source,
            row.meaning,
        )
        for row in MEASURES.values()
    ]
    return markdown(("measure", "better", "source", "what it says"), rows)


def make_python() -> str:
    """Every public name, as instructions for mkdocstrings: functions first, then what they return."""
    names = [name for name in ganvas.__all__ if not name.startswith("_")]
    functions = [name for name in names if name[0].islower()]
    parts = [
        "## Functions\n",
        *map(_member, functions),
        "## Types\n",
        *(_member(n) for n in names if n not in functions),
    ]
    return "\n".join(parts)


def _member(name: str) -> str:
    where = f"ganvas.{ganvas._MODULE_OF[name]}.{name}"
    return f"::: {where}\n    options:\n      heading: ganvas.{name}\n      toc_label: {name}\n"


def make_decisions() -> str:
    """A list of all decisions."""
    files = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))
    return "".join(
        f"- [{f.read_text(encoding='utf-8').split(chr(10))[0].removeprefix('# ')}]({f.name})\n" for f in files
    )


def make_questions() -> str:
    """The questions on the lessons, in English."""
    return questions("en")


def make_questions_fr() -> str:
    """The questions on the lessons, in French."""
    return questions("fr")


TABLES: dict[str, Callable[[], str]] = {
    name.removeprefix("make_"): value for name, value in globals().items() if name.startswith("make_")
}
