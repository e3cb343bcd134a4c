"""Command lines: of a run, and of what a page asks for, checked by the same rules as on the command line."""

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ganvas import recipes, user_code
from ganvas.config import CODE_KNOBS, TrainConfig, differences, leaves, replace
from ganvas.config.flags import to_words
from ganvas.errors import GanvasError
from ganvas.recipes import RECIPES, get_recipe
from ganvas.runs.base import recipe_base
from ganvas.runs.folder import Run
from ganvas.studio import knobs, machine
from ganvas.studio.answers import Refusal, describe

LENGTHS = ("kimg", "minutes")


@dataclass(frozen=True)
class Request:
    """A training that a page asks for, after its knobs were checked.

    Attributes:
        recipe: the recipe that it starts from.
        config: the configuration; None where there are errors.
        errors: one for each knob that is refused, or one for their combination, as a page shows them.
    """

    recipe: str
    config: TrainConfig | None
    errors: list[dict[str, str]] = field(default_factory=list)

    @property
    def words(self) -> list[str]:
        """The words of the command after `ganvas`, without the run's folder."""
        assert self.config is not None
        changed = (name for name, *_ in differences(self._base, self.config))
        return ["train", self.recipe, *flags(self.config, changed)]

    @property
    def preset(self) -> str:
        """What it has of the recipe's preset for minutes on a CPU, in a sentence; empty if nothing."""
        assert self.config is not None
        is_recipe = self._base == get_recipe(self.recipe).config
        return "" if is_recipe else recipes.describe_preset(self.recipe, self.config)

    @cached_property
    def _base(self) -> TrainConfig:
        """What the command starts from."""
        return base_of(self.recipe, dict(leaves(self.config)))


def check(body: Mapping[str, Any], run: Run | None = None) -> Request:
    """The training that a request describes: of a recipe, or like a run, with changes.

    Args:
        body: recipe, data, kimg or minutes, and knobs {name: value}; values may be text, as they were typed.
        run: the run to start from, instead of a recipe.

    Raises:
        Refusal: the body itself is wrong.
    """
    recipe = body.get("recipe") if run is None else nearest_recipe(run)
    if not isinstance(recipe, str) or recipe not in RECIPES:
        raise Refusal(400, f"There is no recipe {recipe!r}.", expected=f"one of {', '.join(RECIPES)}", field="recipe")
    given = body.get("knobs") or {}
    if not isinstance(given, dict):
        raise Refusal(400, "The knobs of the request are no object.", expected="{name: value}", field="knobs")
    given = given | {name: body[name] for name in ("data", *LENGTHS) if body.get(name) not in (None, "")}
    base = base_of(recipe, given) if run is None else run.config
    known = knobs.knobs_of(base)
    values = {name: knobs.parse(known[name], value) if name in known else value for name, value in given.items()}
    values = {name: value for name, value in values.items() if value != ""}
    errors = [error for name, value in values.items() if (error := _refused(base, name, value))]
    if errors:
        return Request(recipe, None, errors)
    try:
        return Request(recipe, replace(base, **values))
    except GanvasError as error:
        return Request(recipe, None, [describe(error) | {"field": knobs.field_of(error, values)}])


def base_of(recipe: str, given: Mapping[str, Any]) -> TrainConfig:
    """What a recipe is on this machine before these knobs: with its preset, if they give minutes on a CPU.

    Args:
        recipe: its name.
        given: the knobs; only minutes, device and init_from count here, and they may be text, or wrong.
    """
    minutes = given.get("minutes")
    with suppress(ValueError):  # `knobs.check` says what is wrong with it
        minutes = float(minutes) if isinstance(minutes, str) else minutes
    device, init_from = given.get("device") or "auto", given.get("init_from") or None
    try:
        return recipe_base(
            recipe, init_from=init_from, minutes=minutes, device=device, auto_is_cpu=machine.trains_on_cpu
        )
    except GanvasError:  # the other generator cannot be used, which its training says
        return get_recipe(recipe).config


def _refused(base: TrainConfig, name: str, value: Any) -> dict[str, str] | None:
    """Why a value is refused; None where it is not."""
    try:
        if user_code.is_spec(value) and name in CODE_KNOBS:
            flag = name.replace("_", "-")
            raise GanvasError(
                f"--{flag} {value} names code of your own, which is not started from a page.",
                expected="one of the names that Ganvas knows",
                fix=f"start it in a terminal: ganvas train … --{flag} {shlex.quote(str(value))}",
            )
        knobs.check(base, name, value)
    except GanvasError as error:
        return describe(error) | {"field": name}
    return None


def command_of(run: Run) -> str:
    """The command that would start this run again, with only what differs from its recipe.

    Raises:
        GanvasError: its config.json cannot be read.
    """
    recipe = nearest_recipe(run)
    return quote(["ganvas", "train", recipe, *flags(run.config, recipes.differing_knobs(recipe, run.config))])


def differing_knobs(run: Run) -> dict[str, Any]:
    """{name: value} of the knobs of a run that differ from its recipe.

    Raises:
        GanvasError: its config.json cannot be read.
    """
    base = get_recipe(nearest_recipe(run)).config
    known = knobs.knobs_of(run.config)
    return {name: new for name, _, new in differences(base, run.config) if name in known}


def nearest_recipe(run: Run) -> str:
    """The recipe of a run; of one without, as from Python, that of its family from which it differs least."""
    config, named = run.config, run.metadata["recipe"]
    alike = [name for name, recipe in RECIPES.items() if recipe.config.network.family == config.network.family]
    if named in alike:
        return named
    return min(alike, key=lambda name: len(differences(RECIPES[name].config, config)))


def flags(config: TrainConfig, names: Iterable[str]) -> list[str]:
    """The words that give these knobs of a configuration."""
    words: list[str] = []
    known, values = knobs.knobs_of(config), dict(leaves(config))
    for name in names:
        value = values[name]
        length = name in LENGTHS and value is None  # the other length says it
        if name in known and not length:
            words += to_words(name, value)
    return words


def quote(words: Sequence[str | Path]) -> str:
    """Words as a line for a shell."""
    return shlex.join(os.fspath(word) for word in words)
