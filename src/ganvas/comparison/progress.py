"""The terminal output while a comparison trains: messages for each run, and a progress bar where several run."""

from collections.abc import Iterable, Sequence

from ganvas.comparison.jobs import Job, Outcome, job_length
from ganvas.progress import ProgressBar, SpeedMeter, make_console
from ganvas.runs.log import current_nimg

_UPDATE_INTERVAL = 0.5
"""Seconds between two updates of the bar."""
_MAX_NAMES = 4
"""Most runs named beside the bar."""


class ProgressDisplay:
    """Prints on stderr which run starts and how it ends. Use as a context manager.

    With `bar`, where the runs themselves print nothing, it also shows their progress and prints when one is complete.
    """

    def __init__(self, jobs: Sequence[Job], *, bar: bool, quiet: bool) -> None:
        self._silent = bar
        self._numbers = {id(job): f"[{number}/{len(jobs)}]" for number, job in enumerate(jobs, 1)}
        self._jobs, self._ended = jobs, set[int]()
        self._console = make_console(quiet=quiet)
        self._speed = SpeedMeter()
        self._bar = ProgressBar(len(jobs), console=self._console, shown=bar and not quiet, interval=_UPDATE_INTERVAL)

    def __enter__(self) -> "ProgressDisplay":
        self._bar.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.__exit__()

    def show_message(self, text: str) -> None:
        """Prints a message above the bar."""
        self._console.print(text, markup=False)

    def on_stop(self) -> None:
        """Prints that the trainings are stopping."""
        own_line = "" if self._silent else "\n"  # the line after a run's own bar
        self.show_message(f"{own_line}Stopping: every run is saved first. A second Ctrl-C ends them at once.")

    def on_start(self, job: Job) -> None:
        """Prints that a job starts."""
        self.show_message(f"{self._numbers[id(job)]} {job}")

    def on_end(self, outcome: Outcome, *, already: bool = False) -> Outcome:
        """Prints how a job ended, or that its run was `already` complete; returns the outcome."""
        self._ended.add(id(outcome.job))
        number = self._numbers[id(outcome.job)]
        if outcome.problem:
            self.show_message(f"{number} {outcome.job}: {outcome.problem}")
        elif already or self._silent:
            self.show_message(f"{number} {outcome.job} is complete{' already' if already else ''}.")
        return outcome

    def update(self, running: Iterable[Job]) -> None:
        """Updates the bar, at most twice a second."""
        if not (self._bar.shown and self._bar.is_due):
            return
        done, names = float(len(self._ended)), []
        for job in running:
            nimg, total = current_nimg(job.run.path), job_length(job)
            done += min(nimg / total, 1.0) if total else 0.0
            names.append(f"{job.name} {nimg / 1000:.1f}/{total / 1000:g}")
        self._speed.update(done)
        left = self._speed.format_time_left(len(self._jobs) - done)
        listed = names[:_MAX_NAMES] + ["…"] * (len(names) > _MAX_NAMES)
        self._bar.update(
            done, f"{len(self._ended)}/{len(self._jobs)} runs", (f"{done / len(self._jobs):4.0%}  left {left}", *listed)
        )
