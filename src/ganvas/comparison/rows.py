"""The rows of a comparison, one for each run: all that is measured of it, or why it is not."""

from collections.abc import Hashable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ganvas.comparison import measurements
from ganvas.comparison.budget import Budget
from ganvas.comparison.candidates import Candidate
from ganvas.comparison.jobs import Outcome, format_crash, is_out_of_memory, was_alone
from ganvas.comparison.measurements import EvaluationSettings
from ganvas.data import DataOptions
from ganvas.errors import GanvasError
from ganvas.evaluation.reference_features import Memo, identify
from ganvas.runs.folder import Run

CRASHES = (RuntimeError, MemoryError, OSError)
"""Errors in one evaluation that must not end the others, such as a GPU without enough memory."""

STOPPED = "the comparison was stopped before its evaluation; the same command evaluates it"
"""The problem of a run that was complete before the user stopped the comparison."""


@dataclass
class Rows:
    """The rows collected so far.

    Attributes:
        folder: where evaluations are saved.
        settings: how all runs are evaluated.
        limit: the budget of each new training.
        by_run: the name of a candidate and the path of a run -> its row.
        costs: a candidate's name -> the cost of its networks.
        evaluated: the paths of the runs that are evaluated in this call; the evaluations of the others were read.
        real_cache: what was computed of the real images.
    """

    folder: Path
    settings: EvaluationSettings
    limit: Budget | None
    by_run: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    costs: dict[str, dict[str, Any]] = field(default_factory=dict)
    evaluated: set[str] = field(default_factory=set)
    real_cache: Memo = field(default_factory=Memo)

    def prepare_real_images(self, options: DataOptions) -> None:
        """Computes what evaluation needs of the real images; errors are raised later."""
        with suppress(GanvasError, *CRASHES):
            measurements.prepare_real_images(options, self.settings, self.real_cache)

    def add(self, candidate: Candidate, run: Run, outcome: Outcome | None = None, *, progress: bool) -> None:
        """Adds one run's row: all that can be measured, and any problem.

        After the user has stopped the comparison nothing is evaluated, but earlier evaluations are read.
        """
        problem, seed = (outcome.problem, outcome.job.config.seed) if outcome else ("", None)
        row: dict[str, Any] = {
            "candidate": candidate.name, "seed": seed, "path": str(run.path), "state": "failed", "problem": problem,
            "budget": asdict(self.limit) if self.limit and not candidate.runs else None,
            "nimg": 0, "seconds": 0, "flops": None, "images_per_s": None, "peak_bytes": None, "device": None,
            "alone": True,
            "data": {"name": "", "fingerprint": ""}, "evaluation": None, "curves": {}, "trend": None,
            "diagnosis": {"verdict": "", "failures": [], "warnings": []},
        }  # fmt: skip
        self.by_run[candidate.name, str(run.path)] = row
        stopped = outcome is not None and outcome.stopped
        with _note_problems(row, run):
            row["seed"] = run.config.seed
            row["data"] = {key: run.metadata["data"][key] for key in ("name", "fingerprint", "images", "shape")}
            row |= {**run.progress(), "device": measurements.read_device(run), "alone": was_alone(run)}
            if row["state"] != "complete":  # where all of it will be trained, and beside what, is not known
                row |= {"images_per_s": None, "peak_bytes": None}
            if problem:
                row |= {"problem": problem, "state": row["state"] if row["state"] != "complete" else "failed"}
            if stopped and problem:
                return
            if candidate.name not in self.costs:
                self.costs[candidate.name] = measurements.estimate_run_cost(run)
            row["flops"] = self.costs[candidate.name]["flops_per_image"]["training"] * row["nimg"]
            row |= {"diagnosis": measurements.diagnose_run(run), "curves": measurements.read_curves(run)}
            row["trend"] = measurements.read_trend(run)
            row["evaluation"] = measurements.read_evaluation(run, self.settings, self.folder, self.real_cache)
            if row["evaluation"] is None and stopped:
                row["problem"] = row["problem"] or STOPPED
            elif row["evaluation"] is None:
                self._evaluate(row, run, progress)

    def renew_evaluations(self, *, progress: bool) -> None:
        """Repeats those earlier evaluations whose real images or classifier are not those of the others any more."""
        by_data: dict[Hashable, list[tuple[Run, dict[str, Any]]]] = {}
        for row in self.by_run.values():
            run = Run(Path(row["path"]))
            with _note_problems(row, run):
                if row["evaluation"]:
                    data = identify(run.config.dataset.options()), run.metadata["data"]["fingerprint"]
                    by_data.setdefault(data, []).append((run, row))
        for own in by_data.values():
            sides = [measurements.real_side(row["evaluation"]) for _, row in own]
            new = {side for side, (run, _) in zip(sides, own, strict=True) if str(run.path) in self.evaluated}
            if len(set(sides)) == 1:
                continue
            for side, (run, row) in zip(sides, own, strict=True):
                if side not in new:
                    with _note_problems(row, run):
                        self._evaluate(row, run, progress)

    def _evaluate(self, row: dict[str, Any], run: Run, progress: bool) -> None:
        try:
            row["evaluation"] = measurements.evaluate_run(
                run, self.settings, self.folder, real_cache=self.real_cache, progress=progress
            )
        except KeyboardInterrupt:
            row["problem"] = row["problem"] or ("" if row["evaluation"] else STOPPED)
            raise
        self.evaluated.add(str(run.path))


@contextmanager
def _note_problems(row: dict[str, Any], run: Run) -> Iterator[None]:
    """An error in the block becomes the row's problem: the report lists such a run with the reason."""
    try:
        yield
    except (GanvasError, KeyError) as error:
        row["problem"] = row["problem"] or str(error).splitlines()[0]
    except CRASHES as error:
        advice = "a smaller --count, or --device cpu" if is_out_of_memory(error) else f"ganvas evaluate {run} says more"
        row["problem"] = row["problem"] or f"Its evaluation ended, {format_crash(error).rstrip('.')}. Fix: {advice}."
