"""One training of a comparison: what is to be trained, how far it has come, and what became of it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganvas.config import TrainConfig, from_json, to_json
from ganvas.errors import GanvasError
from ganvas.runs import folder, state
from ganvas.runs.folder import Run

_TAIL = 1 << 16
"""Bytes at the end of stats.jsonl, in which there is a whole line."""


@dataclass(frozen=True)
class Job:
    """One training of a comparison: the run will be `out / name`, of the recipe `recipe`."""

    config: TrainConfig
    recipe: str
    out: Path
    name: str

    @property
    def run(self) -> Run:
        """Where it is, or will be."""
        return Run(self.out / self.name)

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries and strings, for another process."""
        return {"config": to_json(self.config), "recipe": self.recipe, "out": str(self.out), "name": self.name}

    @staticmethod
    def from_json(value: dict[str, Any]) -> "Job":
        """The reverse of `to_json`."""
        return Job(from_json(TrainConfig, value["config"]), value["recipe"], Path(value["out"]), value["name"])

    def __str__(self) -> str:
        return f"{self.recipe}, seed {self.config.seed} ({self.run})"


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes:
        trouble: empty when the run is complete, else what happened in a sentence or two.
        stopped: whether it was asked to stop, and is not complete.
    """

    job: Job
    trouble: str
    stopped: bool = False


def saved(run: Run) -> int | None:
    """The images shown when the state was last saved; None where there is none that can be read."""
    try:
        return state.facts(run.state)["nimg"]
    except (GanvasError, KeyError):
        return None


def complete(job: Job) -> bool:
    """Whether the run is there, of this configuration, and at its end."""
    try:
        return not folder.changed(job.run.config, job.config) and (saved(job.run) or 0) >= job.config.total
    except GanvasError:  # no run yet, or one that the training itself will refuse with its own words
        return False


def reached(run: Run) -> int:
    """The images shown so far, from the last whole line of stats.jsonl; 0 where there is none."""
    try:
        with (run.path / "stats.jsonl").open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - _TAIL))
            lines = file.read().splitlines()
    except OSError:
        return 0
    for line in reversed(lines):
        try:
            return int(json.loads(line)["nimg"])
        except (ValueError, TypeError, KeyError):  # torn: it is being written
            continue
    return 0


def interrupted(job: Job, *, begun: bool = True) -> Outcome:
    """The outcome of a job that was stopped, or was not `begun`, because the user wished to stop."""
    nimg = saved(job.run)
    if nimg is None:
        when = "before its first round was saved" if begun else "before its turn"
        return Outcome(job, f"interrupted {when}; the same command trains it", stopped=True)
    return Outcome(job, f"interrupted at {nimg / 1000:g} kimg; the same command goes on from there", stopped=True)


def lost(job: Job, how: str) -> Outcome:
    """The outcome of a job whose process could not say what happened; `how` it ended."""
    nimg = saved(job.run)
    left = "Nothing was saved yet." if nimg is None else f"The same command goes on from {nimg / 1000:g} kimg."
    return Outcome(job, f"{how} {left}")
