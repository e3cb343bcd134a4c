"""ganvas.compare: many trainings on one budget, judged alike; and one report."""

import csv
import io
import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ganvas.comparison import budget, measurements, ranking, summary
from ganvas.comparison.candidates import Entrant, entrants, slug, slugs
from ganvas.comparison.importers import Foreign, foreign
from ganvas.comparison.measurements import Settings
from ganvas.comparison.workers import Job, Outcome, train_all
from ganvas.config import differences, leaves, replace, to_json
from ganvas.data import open_images
from ganvas.errors import GanvasError
from ganvas.evaluation.real import Kept
from ganvas.files import make_folder, write_json, write_text
from ganvas.recipes import RECIPES
from ganvas.runs import snapshot
from ganvas.runs.folder import Run

PAUSE = 15.0
"""Seconds between two reports, at the least: each takes a few to draw."""


@dataclass(frozen=True)
class Comparison:
    """What was found.

    Attributes:
        path: the folder with report.html, report.json, report.csv and the trainings.
        facts: all of it as plain values, which the report is drawn from: title, verdict, strengths, budget, settings,
            entrants, runs (one row each), differs, foreign, commands, versions.
    """

    path: Path
    facts: dict[str, Any]

    @property
    def report(self) -> Path:
        """The report, one file."""
        return self.path / "report.html"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return self.facts

    def __str__(self) -> str:
        return f"{self.facts['verdict']['sentence']}\n{self.report}"


def compare(
    what: Sequence[str | Path | Run],
    *,
    data: str | None = None,
    kimg: float | None = None,
    minutes: float | None = None,
    pflop: float | None = None,
    seeds: int = 3,
    vary: Sequence[tuple[str, Sequence[Any]]] = (),
    out: Path | str | None = None,
    workers: int = 1,
    ray: str | None = None,
    count: int = 10_000,
    extractor: str = "eye",
    weights: str | None = None,
    device: str = "auto",
    quiet: bool = False,
    command: str = "",
    knobs: Mapping[str, Any] | None = None,
) -> Comparison:
    """Trains recipes on one budget, judges them and runs that are there alike, and writes one report.

        ganvas.compare(["cnn", "transformer"], data="mnist", kimg=100)
        ganvas.compare(["runs/00000-cnn-mnist", "runs/00001-wgan-mnist"])

    The same call again goes on: finished trainings are not repeated, unfinished ones are taken up where they were
    saved. The report is written anew as trainings end.

    Args:
        what: recipes, run folders (of ours; or StyleGAN's, or torch-fidelity's JSON, which are shown and not ranked).
        data: what the recipes learn from; by default each its own.
        kimg, minutes, pflop: the budget of each training, at most one of them: thousands of pictures, minutes (turned
            into pictures by a trial of the speed), or 10¹⁵ operations; by default each recipe's own kimg.
        seeds: trainings of each recipe, with the seeds 0, 1, 2 …
        vary: (knob, values): each recipe competes once for each combination.
        out: the folder of the comparison; by default comparisons/ and the names.
        workers, ray: see `ganvas.comparison.workers.train_all`.
        count, extractor, weights, device: see `ganvas.evaluate`.
        quiet: print nothing.
        command: what the report says to repeat it by.
        knobs: set for every recipe: `{"batch": 32}`.

    Raises:
        GanvasError: nothing to compare, wrong knobs, or another comparison in the folder.
        KeyboardInterrupt: interrupted; trainings are saved, and the report tells what is done.
    """
    names = [str(w.path if isinstance(w, Run) else w) for w in what]
    read = {name: foreign(Path(name)) for name in names}
    strangers = [found for found in read.values() if found is not None]
    ours = [name for name in names if read[name] is None]
    asked = budget.asked(kimg, minutes, pflop)
    competing = (
        entrants(ours, knobs={**(knobs or {}), **({} if data is None else {"data": data})}, vary=vary)
        if ours or not names
        else []
    )
    if len(competing) + len(strangers) < 2:
        raise GanvasError(
            f"{' '.join(names)} alone cannot be compared.",
            expected="two or more",
            fix="name another recipe or run, or --vary a knob.",
        )
    if seeds < 1:
        raise GanvasError(f"--seeds is {seeds}.", expected="1 or more", fix="--seeds 3 is a beginning.")
    if (asked or data is not None or knobs) and all(entrant.runs for entrant in competing):
        raise GanvasError(
            "A budget, --data and --set are for recipes; only runs were named.",
            expected="runs as they are",
            fix="leave those out, or name a recipe, such as cnn.",
        )
    title = " against ".join(e.name for e in competing) or " against ".join(s.name for s in strangers)
    settings = Settings(count, extractor, weights, device)
    settings.check()
    path = Path(out) if out is not None else Path("comparisons") / _short(title)
    make_folder(path)
    plan = _planned(path, competing, asked, seeds)
    made = _Making(path, title, competing, strangers, plan, asked, settings, quiet, command)
    return made.all(workers, ray)


class _Making:
    """A comparison in the making: rows come in one by one."""

    def __init__(
        self,
        path: Path,
        title: str,
        competing: list[Entrant],
        strangers: list[Foreign],
        plan: list[tuple[Entrant, Job]],
        asked: "budget.Budget | None",
        settings: Settings,
        quiet: bool,
        command: str,
    ) -> None:
        self.path, self.title, self.competing, self.strangers, self.plan = path, title, competing, strangers, plan
        self.asked, self.settings, self.quiet, self.command = asked, settings, quiet, command
        self.rows: dict[tuple[str, str], dict[str, Any]] = {}
        self.costs: dict[str, dict[str, Any]] = {}
        self.kept = Kept()

    def all(self, workers: int, ray: str | None) -> Comparison:
        """Everything trained, judged and written."""
        owner = {job.run.path: entrant for entrant, job in self.plan}
        for entrant in self.competing:
            for run in entrant.runs:
                self.add(entrant, run, shown=not self.quiet)
        written = -math.inf
        if self.rows and self.plan:
            self.write()
            written = time.monotonic()
        jobs, at_once = [job for _, job in self.plan], {"workers": workers, "ray": ray, "quiet": self.quiet}
        with closing(train_all(jobs, **at_once, meanwhile=self.prepare)) as outcomes:  # type: ignore[type-var]
            try:
                for ended, outcome in enumerate(outcomes, 1):
                    last = ended == len(self.plan)  # others train beside the judging, and show bars of their own
                    self.add(owner[outcome.job.run.path], outcome.job.run, outcome, shown=last and not self.quiet)
                    if not last and time.monotonic() > written + PAUSE:
                        self.write()
                        written = time.monotonic()
            except KeyboardInterrupt:
                outcomes.close()  # what trains is saved first  # type: ignore[attr-defined]
                told = f"; {self.write().report} tells what is done" if self.rows else ""
                raise KeyboardInterrupt(f"stopped; the same command goes on{told}") from None
        return self.write()

    def prepare(self) -> None:
        """What judging needs of the real pictures, while the first trainings go on; trouble is told by the judging."""
        for options in dict.fromkeys(entrant.config.pictures.options() for entrant in self.competing):
            with suppress(GanvasError):
                measurements.prepare(options, self.settings, self.kept)

    def add(self, entrant: Entrant, run: Run, outcome: Outcome | None = None, *, shown: bool = False) -> None:
        """One training's row: whatever of it can be known, and what went wrong. A stopped one is not judged."""
        trouble, seed = (outcome.trouble, outcome.job.config.seed) if outcome else ("", None)
        row: dict[str, Any] = {
            "entrant": entrant.name, "seed": seed, "path": str(run.path), "state": "failed", "trouble": trouble,
            "budget": asdict(self.asked) if self.asked and not entrant.runs else None,
            "nimg": 0, "seconds": 0, "flops": None, "images_per_s": None, "peak_bytes": None,
            "data": {"name": "", "fingerprint": ""}, "evaluation": None, "curves": {},
            "health": {"verdict": "", "failures": [], "warnings": []},
        }  # fmt: skip
        self.rows[entrant.name, str(run.path)] = row
        try:
            row["seed"] = run.config.seed
            row["data"] = {key: run.card["data"][key] for key in ("name", "fingerprint", "images", "shape")}
            row |= measurements.progress(run)
            if trouble:
                row |= {"trouble": trouble, "state": row["state"] if row["state"] != "complete" else "failed"}
            if outcome and outcome.stopped:
                return
            if entrant.name not in self.costs:
                self.costs[entrant.name] = measurements.cost(run)
            row["flops"] = self.costs[entrant.name]["flops_an_image"]["training"] * row["nimg"]
            row |= {"health": measurements.health(run), "curves": measurements.curves(run)}
            row["evaluation"] = measurements.judged(
                run, self.settings, self.path / "judged", kept=self.kept, shown=shown
            )
        except (GanvasError, KeyError) as error:  # a run that cannot be judged stays in the report as such
            row["trouble"] = row["trouble"] or str(error).splitlines()[0]

    def write(self) -> Comparison:
        """The report of what is known now."""
        from ganvas.comparison.report import render

        names = [e.name for e in self.competing]
        order = {name: i for i, name in enumerate(names)}
        runs = sorted(self.rows.values(), key=lambda row: (order[row["entrant"]], row["seed"] or 0, row["path"]))
        found = ranking.judge(names, runs)
        entrants = [self._told(entrant) for entrant in self.competing]
        summaries, columns = summary.summarised(entrants, runs, found.measure)
        facts = {
            "title": self.title,
            "verdict": found.to_json(),
            "strengths": ranking.strengths(names, runs),
            "summaries": summaries,
            "columns": columns,
            "best": summary.best(summaries, bool(found.order)),
            "budget": asdict(self.asked) if self.asked else None,
            "settings": asdict(self.settings),
            "entrants": entrants,
            "runs": runs,
            "differs": _differing(self.competing),
            "datasets": list({run["data"]["fingerprint"]: run["data"] for run in runs if run["data"]["name"]}.values()),
            "foreign": [asdict(stranger) for stranger in self.strangers],
            "repeat": {"command": self.command, "versions": snapshot.versions()},
        }  # fmt: skip
        facts = _finite(facts)
        write_json(self.path / "report.json", facts)
        write_text(self.path / "report.csv", table(facts))
        write_text(self.path / "report.html", render(facts, self.path / "judged"))
        return Comparison(self.path, facts)

    def _told(self, entrant: Entrant) -> dict[str, Any]:
        """An entrant as plain values."""
        known = RECIPES.get(entrant.recipe)
        costs = self.costs.get(entrant.name, {"parameters": None, "flops_an_image": None})
        what = known.what if known else ""
        return {
            "name": entrant.name,
            "recipe": entrant.recipe,
            "what": what,
            "command": entrant.command,
            "config": to_json(entrant.config),
            **costs,
        }


def table(facts: Mapping[str, Any]) -> str:
    """The runs as CSV, one a line: cost, state, and every measure with its floor and error."""
    names = list(dict.fromkeys(n for run in facts["runs"] if run["evaluation"] for n in run["evaluation"]["values"]))
    plain = ("entrant", "seed", "path", "state", "trouble", "nimg", "seconds", "flops", "images_per_s", "peak_bytes")
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*plain, "doctor", *(f"{n}{part}" for n in names for part in ("", "_floor", "_error"))])
    for run in facts["runs"]:
        values = run["evaluation"]["values"] if run["evaluation"] else {}
        numbers = [values.get(n, {}).get(part) for n in names for part in ("value", "floor", "error")]
        writer.writerow([*(run[name] for name in plain), run["health"]["verdict"], *numbers])
    return file.getvalue()


def _planned(
    path: Path, competing: Sequence[Entrant], asked: "budget.Budget | None", seeds: int
) -> list[tuple[Entrant, Job]]:
    """The trainings; lengths found by a trial are kept, so that the same command again means the same trainings."""
    told = path / "plan.json"
    request = {
        "budget": asdict(asked) if asked else None,
        "entrants": {e.name: _finite(to_json(replace(e.config, seed=0))) for e in competing if not e.runs},
    }
    request = json.loads(json.dumps(request))
    try:
        before = json.loads(told.read_text(encoding="utf-8"))
        before = {"request": before["request"], "kimg": dict(before["kimg"])}
    except (OSError, ValueError, KeyError, TypeError):  # none yet, or no plan of ours
        before = None
    if before is not None and before["request"] != request:
        raise GanvasError(
            f"{path} holds another comparison.", expected="the same command as before", fix="choose another --out."
        )
    if before is None:
        for options in dict.fromkeys(e.config.pictures.options() for e in competing if not e.runs):
            open_images(options)  # a wrong name is told now, and not by every training
        kimg = {e.name: (budget.within(e.config, asked) if asked else e.config).kimg for e in competing if not e.runs}
        before = {"request": request, "kimg": kimg}
        write_json(told, before)
    folders = slugs(competing)

    def job(entrant: Entrant, seed: int) -> Job:
        kimg = before["kimg"][entrant.name]
        config = replace(entrant.config, kimg=kimg, seed=seed, plot=False)  # the report has the curves
        return Job(config, entrant.recipe, path / "runs", f"{folders[entrant.name]}-seed{seed}")

    return [(e, job(e, seed)) for seed in range(seeds) for e in competing if not e.runs]


def _differing(competing: Sequence[Entrant]) -> list[dict[str, Any]]:
    """The knobs that are not the same for all, in the order of the configuration; habits and the seed apart."""
    if len(competing) < 2:
        return []
    first = competing[0].config
    names = {name for e in competing[1:] for name, *_ in differences(first, e.config)}
    habits = {name for name, _ in leaves(first.habits)} | {"seed"}
    knobs = {e.name: dict(leaves(e.config)) for e in competing}
    ordered = dict.fromkeys(name for own in knobs.values() for name in own)
    return [
        {"knob": name, "values": {e: own.get(name) for e, own in knobs.items()}}
        for name in ordered
        if name in names and name not in habits
    ]


def _finite(value: Any) -> Any:
    """The same as JSON can hold it: numbers that are not finite become null, paths words."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return [_finite(item) for item in value]
    return value if value is None or isinstance(value, str | int | bool) else str(value)


def _short(title: str) -> str:
    return slug(title.replace(" against ", "-vs-"))
