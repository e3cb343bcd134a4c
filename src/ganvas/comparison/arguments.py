"""The arguments of `ganvas.compare`, as they are given: the names of what is compared, and its knobs."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ganvas.errors import GanvasError, describe_value
from ganvas.runs.folder import Run
from ganvas.values import to_text


def name_candidates(candidates: str | os.PathLike[str] | Run | Sequence[str | os.PathLike[str] | Run]) -> list[str]:
    """The names of recipes and the folders of runs, as texts; also of one alone.

    Raises:
        GanvasError: something else is among them.
    """
    several = [candidates] if isinstance(candidates, str | os.PathLike | Run) else candidates
    if not isinstance(several, Sequence) or isinstance(several, bytes):
        raise GanvasError(
            f"candidates is {describe_value(several)}.", expected="recipes and runs: ['cnn', 'runs/00000-mlp-digits']"
        )
    return [
        str(one.path) if isinstance(one, Run) else to_text(one, "A candidate", "a recipe, or the folder of a run")
        for one in several
    ]


def check_knobs(knobs: Any, vary: Any) -> None:
    """Refuses what is no dictionary of knobs, or of lists of their values.

    Raises:
        GanvasError: as said.
    """
    for option, given, example in (("knobs", knobs, "{'batch': 32}"), ("vary", vary, "{'d_lr': [1e-4, 2e-4]}")):
        if not isinstance(given, Mapping | None) or (
            option == "vary" and not all(isinstance(values, list | tuple) for values in (given or {}).values())
        ):
            raise GanvasError(f"{option} is {describe_value(given)}.", expected=f"a dictionary, such as {example}")
