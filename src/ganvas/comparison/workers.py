"""The trainings of a comparison, each in a process of its own: one at a time, several, or on a Ray cluster.

A process of its own, so that one run's crash, or its death for want of memory, is told of and the others go on.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import IO

from ganvas.comparison.jobs import Job, Outcome, complete, interrupted, lost
from ganvas.comparison.progress import Board
from ganvas.errors import GanvasError
from ganvas.interrupts import Stop, collected

__all__ = ["Job", "Outcome", "train_all"]

_PAUSE = 0.05
"""Seconds between two looks at the processes."""


def train_all(
    jobs: Sequence[Job],
    *,
    workers: int = 1,
    ray: str | None = None,
    quiet: bool = False,
    meanwhile: Callable[[], object] = lambda: None,
) -> Iterator[Outcome]:
    """Trains each job, unless its run is complete; a run that was begun goes on from its saved state.

    Trainings go on, and the next ones begin, while the caller has an outcome in hand.

    Args:
        jobs: what to train; no two of one folder.
        workers: trainings at a time on this machine; they share its cores.
        ray: "local", or the address of a Ray cluster: train there instead, as many at a time as it has room for.
        quiet: print nothing.
        meanwhile: called once when the first trainings have begun, if there are any; Ctrl-C ends it.

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
        yield from _here(jobs, workers, quiet, meanwhile)
    else:
        from ganvas.comparison.cluster import there

        yield from there(jobs, ray, quiet, meanwhile)


def _here(jobs: Sequence[Job], workers: int, quiet: bool, meanwhile: Callable[[], object]) -> Iterator[Outcome]:
    with Board(jobs, bar=workers > 1, quiet=quiet) as board, collected(board.stops) as stop:
        trainings = _Trainings(jobs, workers, board, quiet)
        trainings.start()
        try:
            trainings.begun.wait()
            if any(not complete(job) for job in jobs):
                with stop.raised_once():
                    meanwhile()
            while (outcome := trainings.next_outcome(stop)) is not None:
                with stop.raised():
                    yield outcome
        finally:
            trainings.end(stop)
        if stop:
            raise KeyboardInterrupt("stopped; the same command goes on from there")


class _Trainings(threading.Thread):
    """Keeps `workers` trainings going, whatever the caller of `train_all` does meanwhile, and queues their outcomes.

    A thread, and not the generator itself: while the caller judges one run, the next training begins when one ends.
    """

    def __init__(self, jobs: Sequence[Job], workers: int, board: Board, quiet: bool) -> None:
        super().__init__(name="ganvas-trainings", daemon=True)
        self._waiting, self._running, self._workers = deque(jobs), list[_Child](), workers
        self._board, self._quiet = board, quiet or workers > 1
        self._outcomes = SimpleQueue[Outcome | BaseException | None]()
        self._stopping, self._at_once = False, False
        self.begun = threading.Event()  # set when the first of them were started

    def next_outcome(self, stop: Stop) -> Outcome | None:
        """Waits for one; None after the last.

        Args:
            stop: once it is set, all trainings are asked to save and end.

        Raises:
            OSError: a process could not be started.
        """
        while True:
            self._stopping |= bool(stop)
            with suppress(Empty):
                found = self._outcomes.get(timeout=_PAUSE)
                if isinstance(found, BaseException):
                    raise found
                return found

    def end(self, stop: Stop) -> None:
        """Asks what still runs to save and end, or kills it after a second Ctrl-C, and waits for that."""
        self._stopping = True
        while self.is_alive():
            try:
                self._at_once |= stop.at_once
                self.join(_PAUSE)
            except KeyboardInterrupt:  # the second Ctrl-C: nothing is to be left behind all the same
                self._at_once = True

    def run(self) -> None:
        last: BaseException | None = None
        try:
            while self._waiting or self._running:
                self._look()
                self.begun.set()
        except BaseException as error:  # raised in the thread that waits for outcomes
            last = error
            for child in self._running:
                child.stop()
            for child in self._running:
                child.outcome(told=True)
        self.begun.set()
        self._outcomes.put(last)

    def _look(self) -> None:
        """Starts what there is room for, asks all to end if they are to, and takes note of those that ended."""
        told = self._stopping
        if told:
            for child in self._running:
                child.stop(at_once=self._at_once)
            while self._waiting:
                self._outcomes.put(interrupted(self._waiting.popleft(), begun=False))
        while self._waiting and len(self._running) < self._workers:
            job = self._waiting.popleft()
            if complete(job):
                self._outcomes.put(self._board.ends(Outcome(job, ""), before=True))
            else:
                self._board.begins(job)
                self._running.append(_Child(job, self._workers, quiet=self._quiet))
        for child in [child for child in self._running if child.ended]:
            self._running.remove(child)
            self._outcomes.put(self._board.ends(child.outcome(told=told)))
        self._board.look([child.job for child in self._running])
        if self._running:
            time.sleep(_PAUSE)


class _Child:
    """The process of one job; its share of the cores is one of `workers`."""

    def __init__(self, job: Job, workers: int, *, quiet: bool) -> None:
        self.job = job
        self._words = tempfile.TemporaryFile() if quiet else None  # noqa: SIM115 - closed with the outcome
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ganvas.comparison.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._words,
                env={**os.environ, "OMP_NUM_THREADS": str(_threads(workers))},
                start_new_session=True,  # the terminal's Ctrl-C is for the parent, which passes it on once
            )
        except OSError:
            if self._words:
                self._words.close()
            raise
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
