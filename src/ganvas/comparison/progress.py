"""The terminal output while a comparison trains: messages for each run, and a progress bar where several run."""

import time
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from ganvas.comparison.jobs import Job, Outcome
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
        self._jobs, self._ended, self._last_update = jobs, set[int](), 0.0
        self._console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)
        self._bar = Progress(
            TextColumn("[bold]{task.fields[runs]}[/] runs"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}% "),
            TimeRemainingColumn(),
            TextColumn("{task.fields[now]}", markup=False),
            console=self._console,
            disable=not bar or quiet or not self._console.is_terminal,
        )
        total = sum(job.config.total_images for job in jobs)
        self._task = self._bar.add_task("", total=total, runs=f"0/{len(jobs)}", now="")

    def __enter__(self) -> "ProgressDisplay":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

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
        now = time.monotonic()
        if self._bar.disable or now - self._last_update < _UPDATE_INTERVAL:
            return
        self._last_update = now
        nimg = {id(job): min(current_nimg(job.run.path), job.config.total_images) for job in running}
        done = sum(job.config.total_images for job in self._jobs if id(job) in self._ended)
        names = [f"{job.name} {nimg[id(job)] / 1000:.1f}/{job.config.kimg:g}" for job in self._jobs if id(job) in nimg]
        self._bar.update(
            self._task,
            completed=done + sum(nimg.values()),
            runs=f"{len(self._ended)}/{len(self._jobs)}",
            now="  ".join(names[:_MAX_NAMES]) + ("  …" if len(names) > _MAX_NAMES else ""),
        )
