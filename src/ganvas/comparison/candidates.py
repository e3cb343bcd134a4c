"""The candidates of a comparison: recipes to be trained with every seed, with varied knobs, and existing runs."""

import dataclasses
import itertools
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganvas import recipes
from ganvas.config import TrainConfig, differences, leaves, replace
from ganvas.config.custom import features_net_of
from ganvas.config.flags import to_words
from ganvas.errors import GanvasError
from ganvas.files import make_folder, to_path
from ganvas.reading import parse_json
from ganvas.recipes import RECIPES
from ganvas.runs import lookup
from ganvas.runs.base import find_base, trains_on_cpu
from ganvas.runs.card import d_networks_of, read_card
from ganvas.runs.folder import Run, differing_knobs

MAX_NAME_LENGTH = 80
"""Most characters of a candidate's name in a folder name."""

MAX_KNOBS_IN_NAME = 3
"""Most differing knobs that a candidate's name lists; further ones are only counted."""

COMPARED_RUNTIME_KNOBS = frozenset({"precision", "compile", "on_failure", "max_recoveries"})
"""Runtime knobs that change what is measured of a training, so that runs which differ in one are two candidates."""


@dataclass(frozen=True)
class Candidate:
    """A configuration that is compared, trained with one or more seeds.

    Attributes:
        name: unique in the comparison.
        recipe: the name of the recipe on which it is based.
        config: all knobs; the seed is ignored.
        runs: the existing runs; empty for a candidate that is to be trained.
        sized: whether the user gives it a resolution.
    """

    name: str
    recipe: str
    config: TrainConfig
    runs: tuple[Run, ...] = ()
    sized: bool = False

    def kind_of_device(self, auto: str) -> str:
        """`cpu`, or `cuda` for any GPU: what trains it; this machine need not have one.

        Args:
            auto: what the device `auto` is on the machines that train: `auto` where that is this one, else a name.
        """
        name = self.config.runtime.device
        return "cpu" if trains_on_cpu(auto if name == "auto" else name) else "cuda"

    def complete(
        self,
        kimg: float | None,
        minutes: float | None,
        auto: str = "auto",
        report: Callable[[str], object] = lambda note: None,
    ) -> "Candidate":
        """The candidate, trained for so many thousand images or minutes, with a value for what it leaves open.

        Args:
            auto: as for `kind_of_device`.
            report: called with each note about its images and about what was chosen.
        """
        from ganvas.training import start  # imports torch, which reading a comparison does not need

        config = replace(self.config, kimg=kimg, minutes=minutes)
        with suppress(GanvasError):  # its training says the same
            config = start.complete(config, report, device=self.kind_of_device(auto))
        return dataclasses.replace(self, config=config)

    def trained_through(self) -> set[str]:
        """The names of the frozen networks that its G is, or will be, trained through; "" among them for none."""
        from ganvas.evaluation import independence  # these import torch, which reading a comparison does not need
        from ganvas.features.frozen import resolve_frozen
        from ganvas.training.transfer import find_origin

        names = {resolve_frozen(features_net_of(self.config.network))[0]}
        with suppress(GanvasError):  # its training says the same
            if not self.runs and (origin := find_origin(self.config)) is not None:
                names |= independence.names_of(origin.d_networks)
        for run in self.runs:
            with suppress(GanvasError):  # its evaluation says the same
                recorded = read_card(run.latest_snapshot).get("d_networks")
                names |= independence.names_of(d_networks_of(recorded, run.config.network))
        return names

    @property
    def command(self) -> str:
        """The command that trains it, without the seed; empty if its recipe no longer exists."""
        if self.recipe not in RECIPES:
            return ""
        knobs = recipes.differing_knobs(self.recipe, self.config)
        unsaid = {"seed", "minutes" if self.config.minutes is None else "kimg"}
        flags = [word for knob, value in knobs.items() if knob not in unsaid for word in to_words(knob, value)]
        return shlex.join(["ganvas", "train", self.recipe, *flags])


def complete_all(
    candidates: Sequence[Candidate], lengths: Mapping[str, Mapping[str, Any]], auto: str, *, quiet: bool
) -> list[Candidate]:
    """Completes each candidate with its length (`Candidate.complete`); prints each note once, unless `quiet`."""
    notes: list[str] = []
    completed = [one.complete(**lengths[one.name], auto=auto, report=notes.append) for one in candidates]
    for text in () if quiet else dict.fromkeys(notes):
        print(f"Note: {text}", file=sys.stderr)
    return completed


def make_comparison_folder(out: Path | str | None, compared: Sequence[str]) -> Path:
    """Creates the folder of a comparison: `out`, or one in comparisons/ with the names of what is compared.

    Raises:
        GanvasError: `out` is the name of a report rather than of a folder, or the folder cannot be written.
    """
    path = to_path("comparisons" if out is None else out, "the folder of the comparison")
    if out is None:
        path /= slug("-vs-".join(compared))
    elif path.suffix.lower() in (".html", ".htm", ".json", ".csv") and not path.is_dir():
        raise GanvasError(
            f"{out} is a file's name, and --out is the folder of the comparison, with its runs.",
            expected="a folder; the report is report.html in it",
            fix=f"--out {path.with_suffix('')}" + (", and --csv FILE for a table." if path.suffix == ".csv" else "."),
        )
    make_folder(path)
    return path


def slug(name: str) -> str:
    """The name with only those characters that every file system accepts."""
    short = re.sub(r"[^A-Za-z0-9._=-]+", "-", name).strip("-.") or "unnamed"
    return short if len(short) <= MAX_NAME_LENGTH else short[: MAX_NAME_LENGTH - 4].rstrip("-.") + "-etc"


def unique_slugs(candidates: Sequence[Candidate]) -> dict[str, str]:
    """Candidate's name -> unique part of a folder name."""
    slugs: dict[str, str] = {}
    for candidate in candidates:
        short = slug(candidate.name)
        options = itertools.chain([short], (f"{short}-{i}" for i in itertools.count(2)))
        slugs[candidate.name] = next(option for option in options if option not in slugs.values())
    return slugs


def parse_candidates(
    names: Sequence[str],
    *,
    knobs: Mapping[str, Any] | None = None,
    vary: Mapping[str, Sequence[Any]] | None = None,
    decided: Mapping[str, str] | None = None,
    minutes: float | None = None,
    auto: str = "auto",
    note: Callable[[str], object] = lambda text: None,
) -> list[Candidate]:
    """The candidates: recipes in the given order, then runs.

    Args:
        names: recipes, optionally with knobs of their own ("cnn:g_width=64,batch=32",
            "custom:g=nets.py:Generator(width=64)"), and run folders; runs differing
            only in the seed are one candidate.
        knobs: set for every recipe, such as `{"data": "mnist", "kimg": 100}`.
        vary: knob -> values: each recipe gives one candidate for each combination of values.
        decided: knob -> the option of the comparison that sets it, so that no recipe may.
        minutes: the budget of each training, if it is one of time.
        auto: as for `Candidate.kind_of_device`.
        note: called with a line about each run that is left out.

    Raises:
        GanvasError: no names, a name that is neither recipe nor run, or a wrong knob or value.
    """
    if not names:
        raise GanvasError(
            "Nothing was named to compare.",
            expected="recipes, or run folders",
            fix="ganvas compare cnn transformer --data mnist --kimg 100",
        )
    for name in names:
        lookup.check_no_generator(name, f"ganvas evaluate {name} measures it.")
    runs = [Run(Path(name)) for name in names if _is_run(name)]
    texts = list(dict.fromkeys(name for name in names if not _is_run(name)))
    if runs and not texts and vary:
        raise GanvasError("--vary varies recipes; only runs were named.", fix="name a recipe, such as cnn.")
    for knob, values in (vary or {}).items():
        if twice := [value for i, value in enumerate(values) if value in values[:i]]:
            raise GanvasError(f"--vary {knob} names {twice[0]} twice.", fix="name each value once.")
    decided = decided or {}
    new = [one for text in texts for one in _expand_recipe(text, knobs or {}, vary or {}, decided, minutes, auto)]
    return _make_names_unique([*new, *_group_runs(runs, note)])


def _is_run(name: str) -> bool:
    try:
        if (Path(name) / "config.json").exists():
            return True
        exists = Path(name).exists()
    except OSError:  # too long for a path
        return False
    if exists and name not in RECIPES:
        Run(Path(name)).metadata  # noqa: B018 - raises an error that says what is wrong with the folder
    return False


def _expand_recipe(
    text: str,
    knobs: Mapping[str, Any],
    vary: Mapping[str, Sequence[Any]],
    decided: Mapping[str, str],
    minutes: float | None,
    auto: str,
) -> Iterable[Candidate]:
    name, _, assignments = text.partition(":")
    fixed = parse_knobs(_split_commas(assignments)) if assignments else {}
    if clash := [knob for knob in (*knobs, *fixed, *vary) if knob in decided]:
        raise GanvasError(
            f"{clash[0]} is set as a knob, and {decided[clash[0]]} decides it.", fix="leave one of them out."
        )
    if twice := [knob for knob in vary if knob in knobs or knob in fixed]:
        raise GanvasError(
            f"--vary varies {twice[0]}, which is also set, to {fixed.get(twice[0], knobs.get(twice[0]))}.",
            expected="each knob either set or varied",
            fix="leave one of them out.",
        )
    for values in itertools.product(*vary.values()):
        own = dict(zip(vary, values, strict=True))
        given = {**knobs, **fixed, **own}
        device = given.get("device", "auto")
        of = {"minutes": minutes or given.get("minutes"), "device": auto if device == "auto" else device}
        _, base, _ = find_base(name, init_from=given.get("init_from"), **of)
        suffix = " ".join(f"{knob}={value}" for knob, value in own.items())
        sized = given.get("resolution") is not None
        yield Candidate(f"{name} {suffix}".strip(), name, replace(base, **given), sized=sized)


def _group_runs(runs: Sequence[Run], note: Callable[[str], object]) -> list[Candidate]:
    """One candidate for all runs that differ only in the seed; of equal ones, the first."""
    groups: list[list[Run]] = []
    for run in runs:
        for group in groups:
            first = group[0]
            same_source = all(run.metadata.get(k) == first.metadata.get(k) for k in ("recipe", "data", "sources"))
            if same_source and not _differ_beside_seed(first.config, run.config):
                if equal := [other for other in group if other.config.seed == run.config.seed]:
                    note(f"Note: {run} is left out: it has the configuration and the seed of {equal[0]}.")
                else:
                    group.append(run)
                break
        else:
            groups.append([run])
    return [Candidate(g[0].metadata["recipe"], g[0].metadata["recipe"], g[0].config, tuple(g)) for g in groups]


def _differ_beside_seed(one: TrainConfig, other: TrainConfig) -> bool:
    """Whether two configurations differ in more than the seed and what does not change a training."""
    runtime = COMPARED_RUNTIME_KNOBS.intersection(knob for knob, *_ in differences(one, other))
    return bool(runtime or differing_knobs(replace(one, seed=0), replace(other, seed=0)))


def _make_names_unique(candidates: list[Candidate]) -> list[Candidate]:
    """The candidates with unique names: to equal names, the knobs that differ are added, or a number."""
    named: list[Candidate] = []
    for candidate in candidates:
        namesakes = [other for other in candidates if other.name == candidate.name]
        name = candidate.name
        if len(namesakes) > 1:
            differing = dict.fromkeys(
                knob
                for other in namesakes
                for knob, *_ in differences(candidate.config, other.config)
                if knob != "seed"
            )
            own = dict(leaves(candidate.config))
            settings = [f"{knob}={own.get(knob)}" for knob in differing]
            more = f" and {len(settings) - MAX_KNOBS_IN_NAME} more" if len(settings) > MAX_KNOBS_IN_NAME else ""
            name = f"{name} {' '.join(settings[:MAX_KNOBS_IN_NAME])}{more}".strip()
        taken = {other.name for other in named}
        options = itertools.chain([name], (f"{name} ({i})" for i in itertools.count(2)))
        name = next(option for option in options if option not in taken)
        named.append(dataclasses.replace(candidate, name=name))
    return named


def parse_knobs(texts: Sequence[str]) -> dict[str, Any]:
    """Parses "batch=32" to {"batch": 32}.

    Raises:
        GanvasError: a text is not of this form.
    """
    knobs = {}
    for text in texts:
        knob, equals, value = text.partition("=")
        if not _parse_knob_name(knob) or not equals or not value:
            raise GanvasError(f"'{text}' does not set a knob.", expected="knob=value", fix="--knobs batch=32")
        knobs[_parse_knob_name(knob)] = _parse_value(value)
    return knobs


def parse_vary(texts: Sequence[str]) -> dict[str, list[Any]]:
    """Parses "objective=non-saturating,rpgan" to {"objective": ["non-saturating", "rpgan"]}.

    Raises:
        GanvasError: a text is not of this form.
    """
    vary: dict[str, list[Any]] = {}
    for text in texts:
        knob, equals, values = text.partition("=")
        options = [_parse_value(value) for value in _split_commas(values) if value]
        if not _parse_knob_name(knob) or not equals or not options:
            raise GanvasError(
                f"'{text}' does not vary a knob.",
                expected="knob=value,value",
                fix="--vary objective=non-saturating,rpgan",
            )
        vary.setdefault(_parse_knob_name(knob), []).extend(options)
    return vary


def _split_commas(text: str) -> list[str]:
    """The parts between commas, except for those in brackets: g=nets.py:G(width=64,depth=3),batch=32."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _parse_knob_name(text: str) -> str:
    return text.strip().lstrip("-").replace("-", "_")


def _parse_value(text: str) -> Any:
    """A knob's value, parsed as JSON; else the text itself, such as an objective or a schedule."""
    try:
        return parse_json(text, finite=False)
    except ValueError:
        return text


def list_differing_knobs(candidates: Sequence[Candidate]) -> list[dict[str, Any]]:
    """The knobs that differ between candidates, in the order of the configuration.

    Without the seed, and without the runtime knobs that do not change a training.
    """
    if len(candidates) < 2:
        return []
    first = candidates[0].config
    differing = {name for c in candidates[1:] for name, *_ in differences(first, c.config)}
    ignored = {name for name, _ in leaves(first.runtime)} - COMPARED_RUNTIME_KNOBS | {"seed"}
    knobs = {c.name: dict(leaves(c.config)) for c in candidates}
    ordered = dict.fromkeys(name for own in knobs.values() for name in own)
    return [
        {"knob": name, "values": {c: own.get(name) for c, own in knobs.items()}}
        for name in ordered
        if name in differing and name not in ignored
    ]
