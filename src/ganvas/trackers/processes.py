"""A process for each tracker beside a training: started, listened to, and ended, by force where it hangs.

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
from ganvas.runs.listeners import Listener
from ganvas.trackers.table import check_installed
from ganvas.trackers.tracker import Opened

KILL_SECONDS = 1.0
"""Seconds between asking a process to end and ending it by force."""


class TrackerProcess:
    """One process that logs a run to one tracker.

    Attributes:
        name: the tracker.
        opened: the tracker's run; None before it is known.
        failure, fix: why it ended early; empty while it has not.
    """

    def __init__(self, name: str, run: Run, *, new: bool = False) -> None:
        self.name, self.opened, self.failure, self.fix = name, None, "", ""
        self._run, self._done, self._told = run, False, False
        self._errors: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        try:
            check_installed(name)
            command = [sys.executable, "-P", "-m", "ganvas.trackers.worker", name, str(run.path)]
            self._process = subprocess.Popen(
                command + ["--new"] * new,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True, encoding="utf-8",
                start_new_session=True,
            )  # fmt: skip
        except GanvasError as error:
            self._process, self.failure, self.fix = None, error.what, error.fix
        except OSError as error:
            self._process, self.failure = None, f"Its process could not be started ({error.strerror or error})."
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

    def wait(self, seconds: float | None, limit: float = 0.0) -> None:
        """Waits for the end, and brings it about after so many seconds, of a limit for several processes."""
        if self._process is None:
            return
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.failure = self.failure or f"It did not finish within {limit:.0f} s."
        finally:
            self._kill()
        if self.ended:
            self._reader.join(KILL_SECONDS)
            assert self._process.stdout is not None
            if not self._reader.is_alive():
                self._process.stdout.close()
            self._errors.close()

    def _kill(self) -> None:
        """Ends the process and those that it has started, if it is still there."""
        assert self._process is not None
        if self._process.poll() is not None:
            return
        for number in (signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)):
            with suppress(OSError):
                os.killpg(self._process.pid, number) if hasattr(os, "killpg") else self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(KILL_SECONDS)
                return


class Trackers:
    """Logs a run to several trackers while it is trained: a listener of the training.

    Attributes:
        processes: one for each tracker, from the beginning on.
    """

    def __init__(self, names: Sequence[str], *, new: bool = False) -> None:
        self._names, self._new = names, new
        self.processes: list[TrackerProcess] = []
        self._reported: set[tuple[str, str]] = set()

    def begin(self, run: Run, report: Callable[[str], object]) -> None:
        """Starts the processes; each logs first what the run has written already."""
        self._run, self._report = run, report
        self.processes = [TrackerProcess(name, run, new=self._new) for name in self._names]
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
        """Waits until all is logged, for so many seconds together; what hangs is ended by force."""
        deadline = None if seconds is None else time.monotonic() + seconds
        for process in self.processes:
            process.close_input()
        try:
            for process in self.processes:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                process.wait(left, seconds or 0.0)
        except BaseException:  # a second Ctrl-C
            for process in self.processes:
                process.wait(0.0)
            raise
        self.written()


def listeners(config: TrainConfig) -> tuple[Listener, ...]:
    """The listeners of a training, for its knob `log_to`."""
    names = config.runtime.log_to
    return () if names is None else (Trackers(parse_trackers(names)),)
