"""The trainings of a comparison, each in its own process: one at a time, several in parallel, or on a Ray cluster.

If one process crashes or runs out of memory, this is reported and the others continue.
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

from ganvas.comparison.jobs import Job, Outcome, ended_outcome, interrupted_outcome, lost_outcome
from ganvas.comparison.progress import ProgressDisplay
from ganvas.environment import usable_cores
from ganvas.errors import GanvasError
from ganvas.interrupts import StopRequests, collect_stop_requests
from ganvas.values import to_number

__all__ = ["Job", "Outcome", "train_all"]

_POLL_INTERVAL = 0.05
"""Seconds between two checks of the processes."""


def train_all(
    jobs: Sequence[Job],
    *,
    workers: int = 1,
    ray: str | None = None,
    gpus_per_run: float = 1.0,
    quiet: bool = False,
    meanwhile: Callable[[], object] = lambda: None,
) -> Iterator[Outcome]:
    """Trains each job unless its run has ended; an unfinished run resumes from its saved state.

    A run has ended that is complete, or that --on-failure stopped.

    Trainings continue, and the next ones start, while the caller processes an outcome; by time, they do not where they
    `train_alone`.

    Args:
        jobs: what to train; each in its own folder.
        workers: parallel trainings on this machine; they share its cores.
        ray: "local", or the address of a Ray cluster: train there instead, as many in parallel as it has resources for.
        gpus_per_run: GPUs that each training on the Ray cluster asks for, where the cluster has any; of less than 1,
            several trainings share a GPU.
        quiet: print nothing.
        meanwhile: called once when the first trainings have started, if there are any, or before them where they
            `train_alone`; Ctrl-C ends it.

    Yields:
        The outcome of every job, in the order in which they end. A failed run is an outcome, not an exception.

    Raises:
        GanvasError: `workers` is not positive, or Ray or its cluster is not available.
        KeyboardInterrupt: Ctrl-C or SIGTERM. Every run is saved, and the outcomes of all jobs, also of those that had
            not started, are yielded first. If it comes while the caller processes an outcome, the runs are saved too,
            but no further outcomes are yielded. A second Ctrl-C kills the processes.
    """
    if workers < 1:
        raise GanvasError(f"--workers is {workers}.", expected="1 or more")
    if ray is None:
        yield from _train_locally(jobs, workers, quiet, meanwhile)
    else:
        from ganvas.comparison.cluster import train_on_ray

        yield from train_on_ray(jobs, ray, quiet, meanwhile, gpus_per_run)


def train_alone(jobs: Sequence[Job], workers: int, ray: str | None) -> bool:
    """Whether nothing else is computed during a training: one at a time, by time, on this machine.

    A training that shares the machine with the evaluation of another one has fewer images in its minutes.
    """
    return workers == 1 and ray is None and any(job.config.minutes is not None for job in jobs)


def check_gpu_share(value: object, ray: str | None) -> float:
    """The value of --gpus-per-run.

    Raises:
        GanvasError: it is no number above 0 and at most 1, or there is no Ray cluster to ask.
    """
    share = to_number(value, "--gpus-per-run", 0.0, 1.0, above=True)
    if share != 1.0 and ray is None:
        raise GanvasError("--gpus-per-run was given without --ray.", fix="leave it out, or name a cluster with --ray.")
    return share


def _train_locally(
    jobs: Sequence[Job], workers: int, quiet: bool, meanwhile: Callable[[], object]
) -> Iterator[Outcome]:
    with ProgressDisplay(jobs, bar=workers > 1, quiet=quiet) as display, collect_stop_requests(display.on_stop) as stop:
        trainings = _TrainingThread(jobs, workers, display, quiet, stop)
        trainings.start()
        try:
            trainings.started.wait()
            if not all(map(ended_outcome, jobs)):
                with stop.end_block():
                    meanwhile()
            while (outcome := trainings.next_outcome()) is not None:
                with stop.raise_in_block():
                    yield outcome
        finally:
            trainings.end()
        if stop:
            raise KeyboardInterrupt("stopped; the same command resumes from there")


class _TrainingThread(threading.Thread):
    """Keeps `workers` trainings running and queues their outcomes.

    This is a thread, so that the next training starts when one ends, also while the caller evaluates a run; where
    trainings `train_alone`, one starts only while the caller waits for an outcome.
    """

    def __init__(
        self, jobs: Sequence[Job], workers: int, display: ProgressDisplay, quiet: bool, stop: StopRequests
    ) -> None:
        super().__init__(name="ganvas-trainings", daemon=True)
        # read by this thread: the caller's SimpleQueue.get waits for ever, in Python 3.11 at least, if the handler of
        # a signal takes longer than the rest of the timeout
        self._requests = stop  # Thread has a _stop
        self._waiting, self._running, self._workers = deque(jobs), list[_WorkerProcess](), workers
        self._display, self._quiet = display, quiet or workers > 1
        self._outcomes = SimpleQueue[Outcome | BaseException | None]()
        self._alone = train_alone(jobs, workers, None)
        self._queued, self._taken, self._processed = 0, 0, -1  # numbers of outcomes; -1 until the caller waits for one
        self._stopping, self._at_once = False, False
        self.started = threading.Event()  # set when the first trainings have started

    def next_outcome(self) -> Outcome | None:
        """Waits for the next outcome; None after the last one.

        Raises:
            OSError: a process could not be started.
        """
        while True:
            self._processed = self._taken
            with suppress(Empty):
                outcome = self._outcomes.get(timeout=_POLL_INTERVAL)
                if isinstance(outcome, BaseException):
                    raise outcome
                self._taken += 1
                return outcome

    def end(self) -> None:
        """Lets running trainings save and end, or kills them after a second Ctrl-C, and waits for that."""
        self._stopping = True
        while self.is_alive():
            try:
                self._at_once |= self._requests.immediate
                self.join(_POLL_INTERVAL)
            except KeyboardInterrupt:  # the second Ctrl-C: still leave no process behind
                self._at_once = True

    def run(self) -> None:
        last: BaseException | None = None
        try:
            while self._waiting or self._running:
                self._poll()
                self.started.set()
        except BaseException as error:  # raised in the thread that waits for outcomes
            last = error
            for child in self._running:
                child.stop()
            for child in self._running:
                child.outcome(stopping=True)
        self.started.set()
        self._outcomes.put(last)

    def _poll(self) -> None:
        """Starts waiting jobs up to the number of workers, stops all if requested, and collects those that ended."""
        stopping = self._stopping or bool(self._requests)
        if stopping:
            for child in self._running:
                child.stop(at_once=self._at_once)
            while self._waiting:
                self._queue(interrupted_outcome(self._waiting.popleft()))
        while self._waiting and len(self._running) < self._workers and self._may_start:
            job = self._waiting.popleft()
            if outcome := ended_outcome(job):
                self._queue(self._display.on_end(outcome, already=True))
            else:
                self._display.on_start(job)
                self._running.append(_WorkerProcess(job, self._workers, quiet=self._quiet))
        for child in [child for child in self._running if child.ended]:
            self._running.remove(child)
            self._queue(self._display.on_end(child.outcome(stopping=stopping)))
        self._display.update([child.job for child in self._running])
        if self._running or self._waiting:
            time.sleep(_POLL_INTERVAL)

    @property
    def _may_start(self) -> bool:
        return not self._alone or self._processed == self._queued

    def _queue(self, outcome: Outcome) -> None:
        self._queued += 1
        self._outcomes.put(outcome)


class _WorkerProcess:
    """The process of one job; it uses one of `workers` equal shares of the cores."""

    def __init__(self, job: Job, workers: int, *, quiet: bool) -> None:
        self.job = job
        self._stderr = tempfile.TemporaryFile() if quiet else None  # noqa: SIM115 - closed by `outcome`
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ganvas.comparison.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                env={**os.environ, "OMP_NUM_THREADS": str(_threads_per_worker(workers))},
                start_new_session=True,  # Ctrl-C in the terminal reaches only the parent, which passes it on once
            )
        except OSError:
            if self._stderr:
                self._stderr.close()
            raise
        assert self._process.stdin is not None
        with suppress(OSError):  # it died at once; `outcome` reports that
            request = {"job": job.to_json(), "quiet": quiet, "alone": train_alone([job], workers, None)}
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def stop(self, *, at_once: bool = False) -> None:
        """Lets the training save its state and end; or kills the process."""
        if at_once:
            self._process.kill()
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
            self._process.stdin = None

    def outcome(self, *, stopping: bool) -> Outcome:
        """Waits until the process ends. `stopping`: it was stopped by the user."""
        report, _ = self._process.communicate()
        last_line = _last_line(self._stderr) if self._stderr else ""
        try:
            problem = json.loads(report)["problem"]
            return Outcome(self.job, problem, stopped=stopping)
        except (ValueError, KeyError, TypeError):
            if stopping:
                return interrupted_outcome(self.job)
            return lost_outcome(self.job, _describe_exit(self._process.returncode, last_line))


def _threads_per_worker(workers: int) -> int:
    """The cores of each worker, or OMP_NUM_THREADS if it is smaller. Training uses fewer for a small network."""
    own = os.environ.get("OMP_NUM_THREADS", "")
    cores = usable_cores()
    share = max(1, cores // workers)
    return min(share, int(own)) if own.isdecimal() and int(own) else share


def _describe_exit(status: int, last_line: str) -> str:
    """How a process without a report ended: its exit status, and the last line it wrote."""
    if status == -getattr(signal, "SIGKILL", 9):
        return "Its process was killed, most likely by the system because memory ran out."
    if status < 0:
        return f"Its process was ended by {signal.Signals(-status).name}."
    return f"Its process ended with status {status}{f': {last_line}' if last_line else ''}."


def _last_line(file: IO[bytes]) -> str:
    with file:
        file.seek(0)
        lines = file.read().decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else ""
