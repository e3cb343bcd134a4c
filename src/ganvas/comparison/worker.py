"""The process of one training: python -m ganvas.comparison.worker, started by `ganvas.comparison.workers`.

It reads the job as one line of JSON from stdin and writes its outcome as JSON to stdout. The stdin pipe stays open:
when it closes, because the parent stops the training or has died, the training saves its state and ends.
"""

import faulthandler
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress

from filelock import FileLock, Timeout

from ganvas.comparison.jobs import (
    SHARED_MACHINE,
    Job,
    ended_outcome,
    format_crash,
    interrupted_outcome,
    is_out_of_memory,
    saved_nimg,
    was_alone,
)
from ganvas.errors import GanvasError
from ganvas.runs import film
from ganvas.runs.folder import Run
from ganvas.runs.log import append_event, append_text
from ganvas.trackers import processes
from ganvas.training.loop import TrainingStopped
from ganvas.training.start import train

GRACE_SECONDS = 60.0
"""Seconds for ending a round and saving its state; after that the process exits in any case and releases the run."""


def run_job(job: Job, *, quiet: bool, lock_timeout: float = 10.0, alone: bool = True) -> str:
    """Trains a job to its end, from its saved state if there is one.

    Args:
        job: what to train.
        quiet: print nothing.
        lock_timeout: seconds to wait while another process holds the run, such as one that is being stopped.
        alone: whether nothing else of the comparison is computed meanwhile; else the run's events say so.

    Returns:
        What went wrong, in a sentence or two; empty if nothing did.
    """
    try:
        _wait_for_lock(job.run, lock_timeout)
        told = processes.listeners(job.config) + (() if alone else (_SharedMachine(),))
        train(job.config, recipe=job.recipe, out=job.out, name=job.name, quiet=quiet, listeners=told)
        with suppress(GanvasError):  # the run is complete without it
            film.save(job.run)  # its curves are in the report
    except TrainingStopped as stopped:
        ended = ended_outcome(job)
        return ended.problem if ended else stopped.failure
    except GanvasError as error:
        return " ".join(str(error).splitlines())
    except KeyboardInterrupt:
        return interrupted_outcome(job).problem
    except Exception as error:  # a bug in one run must not end the others
        return _describe_crash(error, job.run)
    return ""


class _SharedMachine:
    """Writes into a run that it is trained beside other work of the comparison, before it is."""

    def begin(self, run: Run, report: Callable[[str], object]) -> None:
        if was_alone(run):
            append_event(run.path, SHARED_MACHINE, saved_nimg(run) or 0)

    def written(self) -> None: ...

    def end(self, seconds: float) -> None: ...


def _wait_for_lock(run: Run, timeout: float) -> None:
    """Waits until no process holds the run; if one still does, the training itself reports it."""
    if (run.path / "config.json").exists():
        with suppress(Timeout, OSError), FileLock(run.path / ".lock").acquire(timeout=timeout):
            pass


def _describe_crash(error: Exception, run: Run) -> str:
    """An unexpected exception in one line; its traceback is written to the run's log.txt."""
    text = format_crash(error)
    if is_out_of_memory(error):
        return f"There is not enough memory ({text}). Fix: a smaller --batch or --resolution, or a --microbatch."
    if run.path.is_dir():
        with suppress(GanvasError):
            append_text(run.path / "log.txt", "".join(traceback.format_exception(error)))
            return f"It crashed: {text}. The traceback is in {run.path / 'log.txt'}."
    return f"It crashed: {text}."


def main() -> int:
    """Trains the job on stdin and reports on stdout; the exit status is 0 also if the training failed."""
    report = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # output of other code does not go into the report
    line = b""
    while not line.endswith(b"\n"):
        more = os.read(0, 1 << 16)
        if not more:  # the parent died before it sent the job
            return 1
        line += more
    request = json.loads(line)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored in background jobs of a shell
    threading.Thread(target=_interrupt_on_eof, daemon=True).start()
    problem = run_job(Job.from_json(request["job"]), quiet=request["quiet"], alone=request["alone"])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(BrokenPipeError), report:
        report.write(json.dumps({"problem": problem}))
    return 0


def _interrupt_on_eof() -> None:
    """Interrupts the main thread when stdin closes, and exits the process if it has not ended in time."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(GRACE_SECONDS)
    faulthandler.dump_traceback()  # where it hangs
    os._exit(1)


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    os._exit(status)  # all is written; the interpreter's own end could wait for threads of libraries
