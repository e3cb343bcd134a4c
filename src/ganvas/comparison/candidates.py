"""Who competes: recipes to be trained on every seed, varied if asked, and runs that are there already."""

import itertools
import json
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganvas.config import TrainConfig, differences, leaves, replace
from ganvas.errors import GanvasError
from ganvas.recipes import RECIPES, recipe
from ganvas.runs.folder import Run, changed

LONGEST = 80
"""Letters of a name that is part of a folder's."""

KNOBS_IN_A_NAME = 3
"""Differing knobs that a name lists before it only counts them."""


@dataclass(frozen=True)
class Entrant:
    """One side of a comparison: a configuration, whatever the seed.

    Attributes:
        name: what people call it; no two are called the same.
        recipe: the recipe it came from.
        config: every knob; its seed counts for nothing.
        runs: those that are there already, one a seed or more; empty for one that is to be trained.
    """

    name: str
    recipe: str
    config: TrainConfig
    runs: tuple[Run, ...] = ()

    @property
    def command(self) -> str:
        """What trains it, but for the seed; empty where its recipe is not in the table any more."""
        if self.recipe not in RECIPES:
            return ""
        knobs = differences(RECIPES[self.recipe].config, self.config)
        return shlex.join(["ganvas", "train", self.recipe, *(w for k in knobs if k[0] != "seed" for w in _flag(*k))])


def _flag(knob: str, _: Any, value: Any) -> list[str]:
    """A knob as the command line takes it."""
    name = knob.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    return [f"--{name}", *map(str, value if isinstance(value, tuple | list) else [value])]


def slug(name: str) -> str:
    """A name that every file system takes."""
    short = re.sub(r"[^A-Za-z0-9._=-]+", "-", name).strip("-.") or "unnamed"
    return short if len(short) <= LONGEST else short[: LONGEST - 4].rstrip("-.") + "-etc"


def slugs(found: Sequence[Entrant]) -> dict[str, str]:
    """Each entrant's name -> a part of a folder's name, no two alike."""
    told: dict[str, str] = {}
    for entrant in found:
        short = slug(entrant.name)
        candidates = itertools.chain([short], (f"{short}-{i}" for i in itertools.count(2)))
        told[entrant.name] = next(own for own in candidates if own not in told.values())
    return told


def entrants(
    what: Sequence[str], *, knobs: dict[str, Any] | None = None, vary: Sequence[tuple[str, Sequence[Any]]] = ()
) -> list[Entrant]:
    """Those that compete, in the order named.

    Args:
        what: names of recipes, with knobs of their own if need be ("cnn:g_width=64,batch=32"), and run folders; runs
            that differ in nothing but the seed are one entrant.
        knobs: set for every recipe, such as `{"data": "mnist", "kimg": 100}`.
        vary: (knob, values): each recipe competes once for each combination.

    Raises:
        GanvasError: nothing was named, a name is neither recipe nor run, or a knob or value is wrong.
    """
    if not what:
        raise GanvasError(
            "Nothing was named to compare.",
            expected="recipes, or run folders",
            fix="ganvas compare cnn transformer --data mnist --kimg 100",
        )
    runs = [Run(Path(name)) for name in what if _is_run(name)]
    recipes = list(dict.fromkeys(name for name in what if not _is_run(name)))
    if runs and not recipes and vary:
        raise GanvasError("--vary varies recipes; only runs were named.", fix="name a recipe, such as cnn.")
    found = [e for name in recipes for e in _varied(name, knobs or {}, vary)]
    return _told_apart([*found, *_grouped(runs)])


def _is_run(name: str) -> bool:
    try:
        if (Path(name) / "config.json").exists():
            return True
        there = Path(name).exists()
    except OSError:  # too long for a path
        return False
    if there and name not in RECIPES:
        Run(Path(name)).card  # noqa: B018 - says what is wrong with it
    return False


def _varied(what: str, knobs: dict[str, Any], vary: Sequence[tuple[str, Sequence[Any]]]) -> Iterable[Entrant]:
    name, _, given = what.partition(":")
    fixed = parsed_set(given.split(",")) if given else {}
    base = replace(recipe(name).config, **{**knobs, **fixed})
    for values in itertools.product(*(options for _, options in vary)):
        own = dict(zip((knob for knob, _ in vary), values, strict=True))
        told = " ".join(f"{knob}={value}" for knob, value in own.items())
        yield Entrant(f"{name} {told}".strip(), name, replace(base, **own))


def _grouped(runs: Sequence[Run]) -> list[Entrant]:
    """Runs of one configuration, whatever the seed, as one entrant."""
    groups: list[list[Run]] = []
    for run in {run.path.resolve(): run for run in runs}.values():
        config = replace(run.config, seed=0)
        for group in groups:
            first = group[0]
            alike = run.card["recipe"] == first.card["recipe"] and run.card["data"] == first.card["data"]
            if alike and not changed(replace(first.config, seed=0), config):
                group.append(run)
                break
        else:
            groups.append([run])
    return [Entrant(g[0].card["recipe"], g[0].card["recipe"], g[0].config, tuple(g)) for g in groups]


def _told_apart(found: list[Entrant]) -> list[Entrant]:
    """The same with names of their own: what differs is added to names that are shared."""
    named: list[Entrant] = []
    for entrant in found:
        rivals = [other for other in found if other.name == entrant.name]
        name = entrant.name
        if len(rivals) > 1:
            differing = dict.fromkeys(
                knob for other in rivals for knob, *_ in differences(entrant.config, other.config) if knob != "seed"
            )
            own = dict(leaves(entrant.config))
            told = [f"{knob}={own.get(knob)}" for knob in differing]
            more = f" and {len(told) - KNOBS_IN_A_NAME} more" if len(told) > KNOBS_IN_A_NAME else ""
            name = f"{name} {' '.join(told[:KNOBS_IN_A_NAME])}{more}".strip()
        taken = {other.name for other in named}
        candidates = itertools.chain([name], (f"{name} ({i})" for i in itertools.count(2)))
        name = next(candidate for candidate in candidates if candidate not in taken)
        named.append(Entrant(name, entrant.recipe, entrant.config, entrant.runs))
    return named


def parsed_set(texts: Sequence[str]) -> dict[str, Any]:
    """Reads "batch=32" as {"batch": 32}.

    Raises:
        GanvasError: it is not of this form.
    """
    found = {}
    for text in texts:
        knob, equals, value = text.partition("=")
        if not _knob(knob) or not equals or not value:
            raise GanvasError(f"'{text}' sets nothing.", expected="knob=value", fix="--set batch=32")
        found[_knob(knob)] = _value(value)
    return found


def parsed_vary(texts: Sequence[str]) -> list[tuple[str, list[Any]]]:
    """Reads "objective=non-saturating,rpgan" as ("objective", ["non-saturating", "rpgan"]).

    Raises:
        GanvasError: it is not of this form.
    """
    found = []
    for text in texts:
        knob, equals, values = text.partition("=")
        options = [_value(value) for value in values.split(",") if value]
        if not _knob(knob) or not equals or not options:
            raise GanvasError(
                f"'{text}' does not say what to vary.",
                expected="knob=value,value",
                fix="--vary objective=non-saturating,rpgan",
            )
        found.append((_knob(knob), options))
    return found


def _knob(text: str) -> str:
    return text.strip().lstrip("-").replace("-", "_")


def _value(text: str) -> Any:
    """A knob's value as JSON has it; what is no JSON is a word, such as an objective or a schedule."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
