"""ganvas.compare: trains recipes on one budget, evaluates all runs in the same way and writes one report."""

import dataclasses
import math
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ganvas import user_code
from ganvas.comparison import budget, ranking, summary
from ganvas.comparison.arguments import check_knobs, name_candidates
from ganvas.comparison.candidates import (
    Candidate,
    complete_all,
    list_differing_knobs,
    make_comparison_folder,
    parse_candidates,
    unique_slugs,
)
from ganvas.comparison.images import check_on_images, share_size
from ganvas.comparison.importers import ImportedRun, import_run
from ganvas.comparison.jobs import ended_outcome
from ganvas.comparison.measurements import EvaluationSettings
from ganvas.comparison.rows import Rows
from ganvas.comparison.workers import Job, Outcome, check_gpu_share, train_all, train_alone
from ganvas.config import replace, to_json
from ganvas.data import DataOptions, open_images
from ganvas.display import Displayed, InlineImage, Paragraph, Part, Table
from ganvas.errors import GanvasError
from ganvas.evaluation import independence
from ganvas.evaluation.evaluation import MIN_IMAGES
from ganvas.files import write_json, write_text
from ganvas.pytorch_state import default_state
from ganvas.reading import read_json
from ganvas.recipes import RECIPES
from ganvas.runs import snapshot
from ganvas.runs.folder import Run
from ganvas.runs.lock import lock_comparison
from ganvas.values import real_path, to_flag, to_text, to_whole

MAX_SHOWN = 8
"""Candidates whose images a notebook shows."""

REPORT_INTERVAL = 15.0
"""Seconds between two reports, at least: each takes a few seconds to draw."""


@dataclass(frozen=True, repr=False)
class Comparison(Displayed):
    """The result of a comparison.

    Attributes:
        path: the folder with report.html, report.json, report.csv and the trainings.
        results: the content of report.json, from which the report is drawn: title, verdict, aspects, summaries,
            columns, best, budget, settings, candidates, runs (one row each), differing_knobs, datasets, imported,
            reproduce.
    """

    path: Path
    results: dict[str, Any]

    @property
    def report(self) -> Path:
        """The path of report.html."""
        return self.path / "report.html"

    def to_json(self) -> dict[str, Any]:
        """`results`."""
        return self.results

    def _parts(self) -> Iterator[Part]:
        verdict, columns = self.results["verdict"], self.results["columns"]
        names = [candidate["name"] for candidate in self.results["candidates"]]
        summaries = dict(zip(names, self.results["summaries"], strict=True))
        ranked = [*verdict["order"], *(name for name in names if name not in verdict["order"])]
        yield Paragraph(verdict["sentence"], "bold")
        rows = [(columns[key], *(summary.format_mean(summaries[name], key) for name in ranked)) for key in columns]
        yield Table(rows, ("", *ranked))
        yield Paragraph(str(self.report), link=self.report)
        for name in ranked[:MAX_SHOWN]:
            runs = [run for run in self.results["runs"] if run["candidate"] == name]
            grids = [(run["seed"], grid) for run in runs for grid in Run(Path(run["path"])).grids[-1:]]
            for seed, grid in grids[:1]:
                yield InlineImage(grid, f"{name}, seed {seed}", width=280)


@default_state()
def compare(
    candidates: Sequence[str | Path | Run],
    *,
    data: str | None = None,
    kimg: float | None = None,
    minutes: float | None = None,
    pflop: float | None = None,
    seeds: int = 3,
    vary: Mapping[str, Sequence[Any]] | None = None,
    knobs: Mapping[str, Any] | None = None,
    out: Path | str | None = None,
    workers: int = 1,
    ray: str | None = None,
    gpus_per_run: float = 1.0,
    count: int = 10_000,
    features: str | None = None,
    weights: Path | str | None = None,
    device: str = "auto",
    quiet: bool = False,
    command: str = "",
) -> Comparison:
    """Trains recipes on one budget, evaluates them and existing runs in the same way, and writes one report.

        ganvas.compare(["cnn", "transformer"], data="mnist", kimg=100)
        ganvas.compare(["runs/00000-cnn-mnist", "runs/00001-wgan-mnist"])

    The same call again continues: finished trainings are not repeated, unfinished ones resume from their saved state.
    The report is updated as trainings end.

    Args:
        candidates: recipes and run folders; also StyleGAN run folders and JSON files of torch-fidelity, which are
            reported but not ranked.
        data: what the recipes are trained on, at one size for all; by default each recipe's own data.
        kimg, minutes, pflop: the budget of each training, at most one of them: thousands of images, minutes, or 10¹⁵
            operations; by default each recipe's own length. Minutes on a CPU start from the recipes' CPU presets.
        seeds: trainings of each recipe, with the seeds 0, 1, 2 …
        vary: knob -> values, as `{"d_lr": [1e-4, 2e-4]}`: each recipe is trained once for each combination of values.
        knobs: set for every recipe: `{"batch": 32}`.
        out: the folder of the comparison; by default comparisons/ and the candidates' names.
        workers, ray, gpus_per_run: see `ganvas.comparison.workers.train_all`.
        count, features, weights, device: see `ganvas.evaluate`. By default the features are the eye's, or of another
            network where a D looked through the eye; the same for all.
        quiet: print nothing.
        command: the command that the report gives to repeat the comparison.

    Raises:
        GanvasError: fewer than two candidates, wrong knobs, a recipe that does not fit its images, or another
            comparison in the folder.
        KeyboardInterrupt: interrupted; trainings are saved, and the report contains what is finished.
    """
    user_code.refuse_while_loading("ganvas.compare")
    seeds, workers = to_whole(seeds, "--seeds", 1, 10_000), to_whole(workers, "--workers", 1, 1000)
    gpus_per_run = check_gpu_share(gpus_per_run, ray)
    count, quiet = to_whole(count, "--count", MIN_IMAGES), to_flag(quiet, "quiet")
    check_knobs(knobs, vary)
    names = name_candidates(candidates)
    data = None if data is None else to_text(data, "data", "the name or the path of a data set")
    by_name = {name: import_run(Path(name)) for name in names}
    imported = [run for run in by_name.values() if run is not None]
    ours = [name for name in names if by_name[name] is None]
    limit = budget.parse_budget(kimg, minutes, pflop)
    decided = {"seed": "--seeds"} | (dict.fromkeys(("kimg", "minutes"), f"the budget of {limit}") if limit else {})
    if data is not None and "data" in (knobs or {}):
        raise GanvasError("--data and the knob data were given together.", fix="leave one of them out.")
    all_knobs = {**(knobs or {}), **({} if data is None else {"data": data})}
    note = (lambda text: None) if quiet else partial(print, file=sys.stderr)
    auto = "auto" if ray in (None, "local") else "cuda"  # the machines of a cluster may have GPUs
    own = []
    if ours or not names:
        own = parse_candidates(ours, knobs=all_knobs, vary=vary, decided=decided, minutes=minutes, auto=auto, note=note)
    if len(own) + len(imported) < 2:
        several = len(names) > 1
        raise GanvasError(
            f"{' and '.join(names)} are one candidate: they differ at most in the seed."
            if several
            else f"{names[0]} alone cannot be compared.",
            expected="two or more",
            fix="name another recipe or run, or --vary a knob.",
        )
    if (limit or data is not None or knobs) and all(candidate.runs for candidate in own):
        raise GanvasError(
            "A budget, --data and --knobs apply to recipes, but only runs were named.",
            expected="runs without these options",
            fix="leave those out, or name a recipe, such as cnn.",
        )
    compared = [c.name for c in own] or [run.name for run in imported]
    chosen = "eye" if features is None else to_text(features, "features", "an extractor's name")
    weights = None if weights is None else to_text(weights, "weights", "a path")
    settings = EvaluationSettings(count, chosen, weights, device)
    settings.check()
    own = share_size(own, limit, auto, note)
    opened = [check_on_images(candidate, limit, auto) for candidate in own]
    if features is None:
        settings = dataclasses.replace(settings, features=_default_features(own, opened))
        settings.check()
    elif settings.features == "classifier":
        _check_classes(opened)
    path = make_comparison_folder(out, compared)
    with lock_comparison(path):
        plan = _make_plan(path, own, limit, seeds, auto, quiet)
        planned = {candidate.name: candidate for candidate, _ in plan}
        own = [planned.get(candidate.name, candidate) for candidate in own]
        rows = Rows(path / "evaluations", settings, limit)
        builder = _ComparisonBuilder(path, " against ".join(compared), own, imported, plan, rows, quiet, command)
        return builder.run({"workers": workers, "ray": ray, "gpus_per_run": gpus_per_run})


@dataclass
class _ComparisonBuilder:
    """Trains and evaluates the candidates, and writes the report."""

    path: Path
    title: str
    candidates: list[Candidate]
    imported: list[ImportedRun]
    plan: list[tuple[Candidate, Job]]
    rows: Rows
    quiet: bool
    command: str

    def run(self, options: Mapping[str, Any]) -> Comparison:
        """Trains, with these options of `train_all`, and evaluates everything and writes the final report."""
        owner = {job.run.path: candidate for candidate, job in self.plan}
        for candidate in self.candidates:
            for run in candidate.runs:
                self.rows.add(candidate, run, progress=not self.quiet)
        written = -math.inf
        if self.rows.by_run and self.plan:
            self.write_report()
            written = time.monotonic()
        jobs = [job for _, job in self.plan]
        alone = train_alone(jobs, options["workers"], options["ray"])
        with closing(train_all(jobs, **options, quiet=self.quiet, meanwhile=self.prepare_real_images)) as outcomes:  # type: ignore[type-var]
            try:
                for ended, outcome in enumerate(outcomes, 1):
                    last = ended == len(self.plan)
                    progress = (last or alone) and not self.quiet  # while others train, their own bars are shown
                    self.rows.add(owner[outcome.job.run.path], outcome.job.run, outcome, progress=progress)
                    if not last and time.monotonic() > written + REPORT_INTERVAL:
                        self.write_report()
                        written = time.monotonic()
                self.rows.renew_evaluations(progress=not self.quiet)
            except KeyboardInterrupt:
                outcomes.close()  # saves the running trainings first  # type: ignore[attr-defined]
                for candidate, job in self.plan:  # those that were not asked for yet
                    if (candidate.name, str(job.run.path)) not in self.rows.by_run and ended_outcome(job):
                        self.rows.add(candidate, job.run, Outcome(job, "", stopped=True), progress=False)
                partial = f"; finished trainings are in {self.write_report().report}" if self.rows.by_run else ""
                raise KeyboardInterrupt(f"stopped; the same command continues{partial}") from None
        return self.write_report()

    def prepare_real_images(self) -> None:
        """Computes what evaluation needs of the real images."""
        for options in dict.fromkeys(candidate.config.dataset.options() for candidate in self.candidates):
            self.rows.prepare_real_images(options)

    def write_report(self) -> Comparison:
        """Writes report.json, report.csv and report.html from the rows collected so far."""
        from ganvas.comparison.report import render_report

        names = [c.name for c in self.candidates]
        order = {name: i for i, name in enumerate(names)}
        rows = self.rows.by_run.values()
        runs = sorted(rows, key=lambda row: (order[row["candidate"]], row["seed"] or 0, row["path"]))
        verdict = ranking.rank(names, runs)
        candidates = [self._describe_candidate(candidate) for candidate in self.candidates]
        summaries, columns = summary.summarise(candidates, runs, verdict.metric)
        results = {
            "title": self.title,
            "verdict": verdict.to_json(),
            "aspects": ranking.compare_aspects(names, runs),
            "summaries": summaries,
            "columns": columns,
            "best": summary.best_candidates(summaries, bool(verdict.order), runs),
            "budget": asdict(self.rows.limit) if self.rows.limit else None,
            "settings": asdict(self.rows.settings),
            "candidates": candidates,
            "runs": runs,
            "differing_knobs": list_differing_knobs(self.candidates),
            "datasets": list({run["data"]["fingerprint"]: run["data"] for run in runs if run["data"]["name"]}.values()),
            "imported": [asdict(run) for run in self.imported],
            "reproduce": {"command": self.command, "versions": snapshot.package_versions()},
        }  # fmt: skip
        results = _json_safe(results)
        write_json(self.path / "report.json", results)
        write_text(self.path / "report.csv", summary.format_csv(results))
        write_text(self.path / "report.html", render_report(results, self.path / "evaluations"))
        return Comparison(self.path, results)

    def _describe_candidate(self, candidate: Candidate) -> dict[str, Any]:
        """A candidate as plain values for report.json."""
        recipe = RECIPES.get(candidate.recipe)
        costs = self.rows.costs.get(candidate.name, {"parameters": None, "flops_per_image": None})
        return {
            "name": candidate.name,
            "recipe": candidate.recipe,
            "summary": recipe.summary if recipe else "",
            "command": candidate.command,
            "config": to_json(candidate.config),
            **costs,
        }


def _default_features(candidates: Sequence[Candidate], data: Iterable[DataOptions]) -> str:
    """The extractor for all candidates: the eye, or another one if a D looks through it."""
    seen = {name for candidate in candidates for name in candidate.trained_through()}
    labelled = False
    if "eye" in seen:
        with suppress(GanvasError):  # data of a run that are missing are reported later
            labelled = all(open_images(options).classes > 1 for options in dict.fromkeys(data))
    return independence.default_features(seen, labelled=labelled)


def _check_classes(data: Iterable[DataOptions]) -> None:
    """Refuses images without classes, which no classifier can be trained on; missing data are reported later."""
    for options in dict.fromkeys(data):
        images = None
        with suppress(GanvasError):
            images = open_images(options)
        if images is not None and images.classes < 2:
            raise GanvasError(
                f"{images.name} has no classes, so there is no classifier whose features could be compared.",
                fix="--features eye, or a set with classes.",
            )


def _make_plan(
    path: Path, candidates: Sequence[Candidate], limit: budget.Budget | None, seeds: int, auto: str, quiet: bool
) -> list[tuple[Candidate, Job]]:
    """The trainings to run; their candidates have the length that the budget allows.

    plan.json keeps the lengths: the same command means the same trainings. Where only runs are compared, it keeps
    their places too: a later command may add runs to them, and other runs are another comparison.
    """
    file = path / "plan.json"
    recipes = [c for c in candidates if not c.runs]
    candidate_configs = {c.name: to_json(replace(c.config, seed=0)) for c in recipes}
    request = _json_safe({"budget": asdict(limit) if limit else None, "candidates": candidate_configs})
    found = () if recipes else (real_path(run.path) for candidate in candidates for run in candidate.runs)
    runs = {os.path.relpath(place, real_path(path)) for place in found}
    earlier: set[str] = set()
    try:
        saved = read_json(file)
        saved = {"request": dict(saved["request"]), "lengths": dict(saved["lengths"])}
        earlier = set(saved["request"].pop("runs", []))  # older versions kept none
    except (OSError, ValueError, KeyError, TypeError):  # no plan yet, or not a readable one
        saved = None
    if saved is not None and (saved["request"] != request or not earlier <= runs):
        raise GanvasError(
            f"{path} holds another comparison.",
            expected="the same command as before, with the same runs or more, and the same sizes of images; another "
            "version, or another kind of device, may choose others",
            fix="choose another --out.",
        )
    known = saved is not None and earlier == runs
    if saved is None:
        limited = {
            c.name: budget.apply_budget(c.config, limit, c.kind_of_device(auto)) if limit else c.config for c in recipes
        }
        lengths = {name: {"kimg": config.kimg, "minutes": config.minutes} for name, config in limited.items()}
        saved = {"request": request, "lengths": lengths}
    if not known:
        write_json(file, {**saved, "request": {**request, **({"runs": sorted(runs)} if runs else {})}})
    folders = unique_slugs(candidates)

    def job(candidate: Candidate, seed: int) -> Job:
        config = replace(candidate.config, seed=seed, plot=False)  # the report contains the curves
        return Job(config, candidate.recipe, path / "runs", f"{folders[candidate.name]}-seed{seed}")

    planned = complete_all(recipes, saved["lengths"], auto, quiet=quiet)
    return [(candidate, job(candidate, seed)) for seed in range(seeds) for candidate in planned]


def _json_safe(value: Any) -> Any:
    """The same value for JSON: numbers that are not finite become null, paths and other objects become strings."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _json_safe(item) for key, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return [_json_safe(item) for item in value]
    return value if value is None or isinstance(value, str | int | bool) else str(value)
