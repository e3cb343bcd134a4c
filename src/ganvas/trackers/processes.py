"""A process for each tracker beside a training: started, listened to, and waited for.

The training's own process imports no tracker and sends none anything: each reads the run's folder by itself.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, BinaryIO, TextIO

from ganvas.config import TrainConfig
from ganvas.config.trackers import parse_trackers
from ganvas.errors import GanvasError
from ganvas.runs.folder import Run
from ganvas.runs.listeners import END_SECONDS, Listener
from ganvas.runs.log import current_nimg
from ganvas.trackers.table import check_installed
from ganvas.trackers.tracker import Opened
from ganvas.trackers.worker import STATUS_OVERDUE

LIMIT_SECONDS = END_SECONDS
"""Seconds that a process may take for the rest after the end of a training; then it ends itself, wherever it hangs."""

KILL_SECONDS = 1.0
"""Seconds between asking a process to end and ending it by force."""


class TrackerProcess:
    """One process that logs a run to one tracker.

    Args:
        new: begin a new run in the tracker.
        limit: seconds that it may take for the rest after `close_input`; None for any.

    Attributes:
        name: the tracker.
        opened: the tracker's run; None before it is known.
        failure, fix: why it ended early; empty while it has not.
    """

    def __init__(self, name: str, run: Run, *, new: bool = False, limit: float | None = None) -> None:
        self.name, self.failure, self.fix = name, "", ""
        self.opened: Opened | None = None
        self._done = False
        self._errors: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        try:
            check_installed(name)
            command = [
                sys.executable,
                "-P",
                "-m",
                "ganvas.trackers.worker",
                name,
                str(run.path),
                str(current_nimg(run.path)),
            ]
            self._process = subprocess.Popen(
                [*command, *(["--new"] if new else []), *([] if limit is None else ["--limit", str(limit)])],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True, encoding="utf-8",
                start_new_session=True,
            )  # fmt: skip
        except (GanvasError, OSError) as error:
            self._process = None
            self._errors.close()
            if isinstance(error, GanvasError):
                self.failure, self.fix = error.what, error.fix
            else:
                self.failure = f"Its process could not be started ({error.strerror or error})."
        else:
            assert self._process.stdout is not None
            self._reader = threading.Thread(target=self._listen, args=(self._process.stdout,), daemon=True)
            self._reader.start()

    def _listen(self, output: TextIO) -> None:
        """Reads what the process says, until its end."""
        with suppress(ValueError, OSError):
            for line in output:
                message: dict[str, Any] = json.loads(line)
                if "opened" in message:
                    self.opened = Opened(**message["opened"])
                elif "failed" in message:
                    self.failure, self.fix = message["failed"], message["fix"]
                self._done = self._done or "done" in message

    @property
    def ended(self) -> bool:
        """Whether it has ended; then also why, if that was too early."""
        if self._process is None or self.failure:
            return True
        if self._process.poll() is None:
            return False
        self._reader.join(KILL_SECONDS)
        if self._process.returncode == STATUS_OVERDUE and not self._done:
            self.failure = self.failure or "It took too long to finish."
        if not (self._done or self.failure):
            self.failure = f"Its process ended with status {self._process.returncode}{self._last_words()}."
        return True

    def _last_words(self) -> str:
        with suppress(OSError, ValueError):
            self._errors.seek(0, os.SEEK_END)
            self._errors.seek(max(0, self._errors.tell() - 4096))
            lines = self._errors.read().decode("utf-8", "replace").split("\n")
            if said := [line.strip() for line in lines if line.strip()]:
                return f": {said[-1][:300]}"
        return ""

    def close_input(self) -> None:
        """Says that nothing more will be written."""
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()

    def wait(self, seconds: float | None) -> bool:
        """Waits for the end, for so many seconds; returns whether it has ended."""
        if self._process is None:
            return True
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        self._reader.join(KILL_SECONDS)
        assert self._process.stdout is not None
        if self.ended and not self._reader.is_alive():
            self._process.stdout.close()
            self._errors.close()
        return True

    def kill(self, why: str) -> None:
        """Ends the process and those that it has started, if it is still there."""
        if self._process is None or self._process.poll() is not None:
            return
        self.failure = self.failure or why
        for number in (signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)):
            with suppress(OSError):
                os.killpg(self._process.pid, number) if hasattr(os, "killpg") else self._process.terminate()
            if self.wait(KILL_SECONDS):
                return


class Trackers:
    """Logs a run to several trackers while it is trained: a listener of the training.

    Args:
        names: of the trackers.
        new: begin a new run in each.
        limit: see `TrackerProcess`.

    Attributes:
        processes: one for each tracker, from the beginning on.
    """

    def __init__(self, names: Sequence[str], *, new: bool = False, limit: float | None = None) -> None:
        self._names, self._new, self._limit = names, new, limit
        self.processes: list[TrackerProcess] = []
        self._reported: set[tuple[str, str]] = set()

    def begin(self, run: Run, report: Callable[[str], object]) -> None:
        """Starts the processes; each logs first what the run has written already."""
        self._run, self._report = run, report
        self.processes = [TrackerProcess(name, run, new=self._new, limit=self._limit) for name in self._names]
        self.written()

    def written(self) -> None:
        """Reports what the processes have said, each thing once."""
        for process in self.processes:
            if process.opened is not None and self._is_news(process, "opened"):
                self._report(f"Logged to {process.name}: {process.opened.where}\n  {process.opened.look}")
            if process.ended and process.failure and self._is_news(process, "failed"):
                self._report(self._describe_failure(process))

    def _is_news(self, process: TrackerProcess, what: str) -> bool:
        news = (process.name, what) not in self._reported
        self._reported.add((process.name, what))
        return news

    def _describe_failure(self, process: TrackerProcess) -> str:
        then = f"ganvas log {self._run} --to {process.name} logs what is missing."
        fix = f"{process.fix} Then {then}" if process.fix else then
        return f"Warning: the run is not logged to {process.name}. {process.failure}\n  Fix: {fix}"

    def end(self, seconds: float | None) -> None:
        """Waits until all is logged, for so many seconds together. What is not done then goes on, up to the limit."""
        began = time.monotonic()
        for process in self.processes:
            process.close_input()
        try:
            for process in self.processes:
                left = None if seconds is None else max(0.0, began + seconds - time.monotonic())
                if process.wait(left):
                    continue
                if self._limit is not None and time.monotonic() - began >= self._limit:
                    process.kill(f"It did not finish within {self._limit:g} s.")
                else:
                    self._report(f"Note: the rest is still being logged to {process.name}.")
        except BaseException:  # Ctrl-C
            if self._limit is None:
                for process in self.processes:
                    process.kill("It was interrupted.")
            raise
        self.written()


def listeners(config: TrainConfig) -> tuple[Listener, ...]:
    """The listeners of a training, for its knob `log_to`."""
    names = config.runtime.log_to
    return () if names is None else (Trackers(parse_trackers(names), limit=LIMIT_SECONDS),)
