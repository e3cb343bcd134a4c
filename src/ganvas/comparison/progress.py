"""What people see while the runs of a comparison go on: a line for each, and one bar where several run."""

import time
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from ganvas.comparison.jobs import Job, Outcome, reached

_LEAST_WAIT = 0.5
"""Seconds between two looks at the runs."""
_NAMED = 4
"""Runs named beside the bar."""


class Board:
    """Says on stderr which run begins and how it ends. Use as a context manager.

    With `bar` the runs themselves are silent: it also says how far all are, and that one is complete.
    """

    def __init__(self, jobs: Sequence[Job], *, bar: bool, quiet: bool) -> None:
        self._silent = bar
        self._numbers = {id(job): f"[{number}/{len(jobs)}]" for number, job in enumerate(jobs, 1)}
        self._jobs, self._ended, self._looked = jobs, set[int](), 0.0
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
        total = sum(job.config.total for job in jobs)
        self._task = self._bar.add_task("", total=total, runs=f"0/{len(jobs)}", now="")

    def __enter__(self) -> "Board":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        """One message, above the bar."""
        self._console.print(text, markup=False)

    def stops(self) -> None:
        """A stop was asked for."""
        own_line = "" if self._silent else "\n"  # after a run's own bar
        self.say(f"{own_line}Stopping: every run is saved first. Ctrl-C again ends them at once.")

    def begins(self, job: Job) -> None:
        """This one's turn."""
        self.say(f"{self._numbers[id(job)]} {job}")

    def ends(self, outcome: Outcome, *, before: bool = False) -> Outcome:
        """Says how a run ended, or that it was complete `before`; returns the outcome."""
        self._ended.add(id(outcome.job))
        number = self._numbers[id(outcome.job)]
        if outcome.trouble:
            self.say(f"{number} {outcome.job}: {outcome.trouble}")
        elif before or self._silent:
            self.say(f"{number} {outcome.job} is complete{' already' if before else ''}.")
        return outcome

    def look(self, running: Iterable[Job]) -> None:
        """Moves the bar, at most twice a second."""
        now = time.monotonic()
        if self._bar.disable or now - self._looked < _LEAST_WAIT:
            return
        self._looked = now
        at = {id(job): min(reached(job.run), job.config.total) for job in running}
        done = sum(job.config.total for job in self._jobs if id(job) in self._ended)
        names = [f"{job.name} {at[id(job)] / 1000:.1f}/{job.config.kimg:g}" for job in self._jobs if id(job) in at]
        self._bar.update(
            self._task,
            completed=done + sum(at.values()),
            runs=f"{len(self._ended)}/{len(self._jobs)}",
            now="  ".join(names[:_NAMED]) + ("  …" if len(names) > _NAMED else ""),
        )
