"""The trainings of a comparison, each in a process of its own: one at a time, several, or on a Ray cluster.

A process of its own, so that one run's crash, or its death for want of memory, is told of and the others go on.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import IO

from ganvas.compare.board import Board
from ganvas.compare.jobs import Job, Outcome, complete, interrupted, lost
from ganvas.errors import GanvasError
from ganvas.signals import collected

__all__ = ["Job", "Outcome", "train_all"]

_PAUSE = 0.05
"""Seconds between two looks at the processes."""


def train_all(
    jobs: Sequence[Job], *, workers: int = 1, ray: str | None = None, quiet: bool = False
) -> Iterator[Outcome]:
    """Trains each job, unless its run is complete; a run that was begun goes on from its saved state.

    Args:
        jobs: what to train; no two of one folder.
        workers: trainings at a time on this machine; they share its cores.
        ray: "local", or the address of a Ray cluster: train there instead, as many at a time as it has room for.
        quiet: print nothing.

    Yields:
        The outcome of every job, as they end. A failed run is an outcome, not an error.

    Raises:
        GanvasError: `workers` is no positive number, or Ray or its cluster is not there.
        KeyboardInterrupt: Ctrl-C or SIGTERM came. Every run was saved, and the outcomes of all jobs, also of those not
            begun, were yielded before. If it came while the caller had an outcome in hand, the runs are saved too, and
            no more is yielded. A second Ctrl-C kills.
    """
    if workers < 1:
        raise GanvasError(f"--workers {workers} trains nothing.", expected="1 or more")
    if ray is None:
        yield from _here(jobs, workers, quiet)
    else:
        from ganvas.compare.cluster import there

        yield from there(jobs, ray, quiet)


def _here(jobs: Sequence[Job], workers: int, quiet: bool) -> Iterator[Outcome]:
    waiting, running, told = deque(jobs), list[_Child](), False
    with Board(jobs, bar=workers > 1, quiet=quiet) as board, collected(board.stops) as stop:
        try:
            while waiting or running:
                if stop and not told:
                    told = True
                    for child in running:
                        child.stop()
                if told:
                    while waiting:
                        with stop.raised():
                            yield interrupted(waiting.popleft(), begun=False)
                elif waiting and len(running) < workers:
                    job = waiting.popleft()
                    if complete(job):
                        with stop.raised():
                            yield board.ends(Outcome(job, ""), before=True)
                    else:
                        board.begins(job)
                        running.append(_Child(job, workers, quiet=quiet or workers > 1))
                    continue
                for child in [child for child in running if child.ended]:
                    running.remove(child)
                    with stop.raised():
                        yield board.ends(child.outcome(told=told))
                board.look([child.job for child in running])
                time.sleep(_PAUSE)
        finally:
            for child in running:
                child.stop(at_once=stop.at_once)
            for child in running:
                child.outcome(told=True)
        if stop:
            raise KeyboardInterrupt("stopped; the same command goes on from there")


class _Child:
    """The process of one job; its share of the cores is one of `workers`."""

    def __init__(self, job: Job, workers: int, *, quiet: bool) -> None:
        self.job = job
        self._words = tempfile.TemporaryFile() if quiet else None  # noqa: SIM115 - closed with the outcome
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ganvas.compare.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            env={**os.environ, "OMP_NUM_THREADS": str(_threads(workers))},
            start_new_session=True,  # the terminal's Ctrl-C is for the parent, which passes it on once
        )
        assert self._process.stdin is not None
        with suppress(OSError):  # it died at once; `outcome` tells
            self._process.stdin.write(json.dumps({"job": job.to_json(), "quiet": quiet}).encode() + b"\n")
            self._process.stdin.flush()

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def stop(self, *, at_once: bool = False) -> None:
        """Asks it to save and end; or kills it."""
        if at_once:
            self._process.kill()
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
            self._process.stdin = None

    def outcome(self, *, told: bool) -> Outcome:
        """Waits for its end. `told`: it had been asked to stop."""
        report, _ = self._process.communicate()
        words = _last_line(self._words) if self._words else ""
        try:
            trouble = json.loads(report)["trouble"]
            return Outcome(self.job, trouble, stopped=told and bool(trouble))
        except (ValueError, KeyError, TypeError):
            return interrupted(self.job) if told else lost(self.job, _death(self._process.returncode, words))


def _threads(workers: int) -> int:
    """The cores of a worker; less, if the user said so. Few of them keep a small network busy: training sees to it."""
    own = os.environ.get("OMP_NUM_THREADS", "")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = max(1, cores // workers)
    return min(share, int(own)) if own.isdecimal() and int(own) else share


def _death(status: int, words: str) -> str:
    """How a process ended that left no report: its exit status, and the last line it wrote."""
    if status == -getattr(signal, "SIGKILL", 9):
        return "Its process was killed, most likely by the system for want of memory."
    if status < 0:
        return f"Its process was ended by {signal.Signals(-status).name}."
    return f"Its process ended with status {status}{f': {words}' if words else ''}."


def _last_line(file: IO[bytes]) -> str:
    with file:
        file.seek(0)
        lines = file.read().decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else ""
