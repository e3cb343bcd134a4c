"""One training of a comparison: its configuration, its progress and its outcome."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganvas.config import TrainConfig, from_json, to_json
from ganvas.errors import GanvasError
from ganvas.runs import folder, log, state_metadata
from ganvas.runs.folder import Run

SHARED_MACHINE = "shared machine"
"""The event of a run that was trained while other trainings or evaluations of its comparison were computed."""


@dataclass(frozen=True)
class Job:
    """One training of a comparison: the recipe `recipe`, trained into the run folder `out / name`."""

    config: TrainConfig
    recipe: str
    out: Path
    name: str

    @property
    def run(self) -> Run:
        """The run, which may not exist yet."""
        return Run(self.out / self.name)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for another process."""
        return {"config": to_json(self.config), "recipe": self.recipe, "out": str(self.out), "name": self.name}

    @staticmethod
    def from_json(value: dict[str, Any]) -> "Job":
        """The reverse of `to_json`."""
        return Job(from_json(TrainConfig, value["config"]), value["recipe"], Path(value["out"]), value["name"])

    def __str__(self) -> str:
        return f"{self.recipe}, seed {self.config.seed} ({self.run})"


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        problem: empty when the run is complete, else what happened, in a sentence or two.
        stopped: whether the user had stopped the comparison by then; the run may be complete all the same.
    """

    job: Job
    problem: str
    stopped: bool = False


def job_length(job: Job) -> int:
    """The length of a job in images; of one by time, as its run was planned last, 0 before that."""
    if job.config.kimg is not None:
        return job.config.total_images
    return folder.planned_images(job.run.path)


def saved_nimg(run: Run) -> int | None:
    """Images shown to D when the state was last saved; None if there is no readable state."""
    try:
        return state_metadata.read_metadata(run.state_file)["nimg"]
    except (GanvasError, KeyError):
        return None


def is_complete(job: Job) -> bool:
    """Whether the run exists with this configuration and its training has finished."""
    try:
        return _is_unchanged(job) and (saved_nimg(job.run) or 0) >= (job_length(job) or math.inf)
    except GanvasError:  # no run yet, or one that the training will refuse with its own message
        return False


def ended_outcome(job: Job) -> Outcome | None:
    """The outcome of a job whose training has ended, as it is complete or --on-failure stopped it; None of another."""
    if is_complete(job):
        return Outcome(job, "")
    try:
        acts = [event for event in log.read_events(job.run.path) if event["event"] in ("stopped", "resume")]
        if (
            acts
            and (acts[-1]["event"], acts[-1]["nimg"]) == ("stopped", saved_nimg(job.run))
            and _is_unchanged(job)
            and job.run.config.runtime.on_failure == job.config.runtime.on_failure
        ):
            return Outcome(job, folder.describe_failure(acts[-1]))
    except GanvasError:  # as above
        pass
    return None


def _is_unchanged(job: Job) -> bool:
    """Whether its run has this configuration and the user's code as it is now."""
    return not folder.differing_knobs(job.run.config, job.config) and not folder.changed_sources(job.run)


def interrupted_outcome(job: Job) -> Outcome:
    """The outcome of a job that the user stopped, or that had no run yet when the user stopped the comparison."""
    if ended_outcome(job):
        return Outcome(job, "", stopped=True)
    nimg = saved_nimg(job.run)
    if nimg is None:
        when = "before its first state was saved" if job.run.path.exists() else "before it started"
        return Outcome(job, f"interrupted {when}; the same command trains it", stopped=True)
    return Outcome(job, f"interrupted at {nimg / 1000:g} kimg; the same command resumes from there", stopped=True)


def was_alone(run: Run) -> bool:
    """Whether no other work of a comparison is known to have been computed during its training.

    What a try noted that was killed before it saved, so that the run began anew, does not count.
    """
    events = [event["event"] for event in log.read_events(run.path)]
    began = len(events) - events[::-1].index("planned") if "planned" in events else 0
    return SHARED_MACHINE not in events[began:]


def format_crash(error: Exception) -> str:
    """An unexpected exception in one line."""
    return ": ".join([type(error).__name__, *str(error).splitlines()[:1]])


def is_out_of_memory(error: Exception) -> bool:
    """Whether main memory, or that of a GPU, was too small."""
    named = isinstance(error, RuntimeError) and "memory" in format_crash(error).lower()
    return named or isinstance(error, MemoryError)


def lost_outcome(job: Job, reason: str) -> Outcome:
    """The outcome of a job whose process ended without a report, for `reason`."""
    nimg = saved_nimg(job.run)
    saved = "Nothing was saved yet." if nimg is None else f"The same command resumes from {nimg / 1000:g} kimg."
    return Outcome(job, f"{reason} {saved}")
