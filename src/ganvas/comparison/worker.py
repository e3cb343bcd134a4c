"""The process of one training: python -m ganvas.comparison.worker, started by `ganvas.comparison.workers`.

The job comes as a JSON line on stdin, what became of it goes to stdout as JSON. The pipe on stdin stays open: when it
closes, by wish of the parent or because the parent died, the training saves and ends.
"""

import json
import os
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress

from filelock import FileLock, Timeout

from ganvas.comparison.jobs import Job, complete, interrupted
from ganvas.errors import GanvasError
from ganvas.runs.folder import Run
from ganvas.runs.log import write_text
from ganvas.training.start import train

GRACE = 60.0
"""Seconds for giving up a round and for the saving; then the process ends all the same, and frees the run."""


def play(job: Job, *, quiet: bool, patience: float = 10.0) -> str:
    """Trains a job to its end, from its saved state if there is one.

    Args:
        job: what to train.
        quiet: print nothing.
        patience: seconds to wait while another process holds the run: one that is being stopped, or died just now.

    Returns:
        Nothing, or what went wrong, in a sentence or two.
    """
    try:
        _wait_for(job.run, patience)
        train(job.config, recipe=job.recipe, out=job.out, name=job.name, quiet=quiet)
    except GanvasError as error:
        return " ".join(str(error).splitlines())
    except KeyboardInterrupt:
        return "" if complete(job) else interrupted(job).trouble
    except Exception as error:  # a bug of ours in one run must not end the others
        return _crash(error, job.run)
    return ""


def _wait_for(run: Run, patience: float) -> None:
    """Waits until nobody holds the run; whoever still does is named by the training itself."""
    if (run.path / "config.json").exists():
        with suppress(Timeout, OSError), FileLock(run.path / ".lock").acquire(timeout=patience):
            pass


def _crash(error: Exception, run: Run) -> str:
    """What an exception that was meant for nobody says in a line; its traceback goes into the run's log.txt."""
    told = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "memory" in told.lower()):
        return f"There is not enough memory ({told}). Fix: a smaller --batch or --resolution."
    if run.path.is_dir():
        with suppress(GanvasError):
            write_text(run.path / "log.txt", "".join(traceback.format_exception(error)))
            return f"It crashed: {told}. The traceback is in {run.path / 'log.txt'}."
    return f"It crashed: {told}."


def main() -> int:
    """Trains the job on stdin and reports on stdout; exit status 0, whatever became of the run."""
    report = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what others print is no report
    line = b""
    while not line.endswith(b"\n"):
        more = os.read(0, 1 << 16)
        if not more:  # the parent died before it said what to do
            return 1
        line += more
    order = json.loads(line)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    threading.Thread(target=_stop_when_told, daemon=True).start()
    trouble = play(Job.from_json(order["job"]), quiet=order["quiet"])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(BrokenPipeError), report:
        report.write(json.dumps({"trouble": trouble}))
    return 0


def _stop_when_told() -> None:
    """Interrupts the main thread when stdin closes, and ends the process if that does not help."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(GRACE)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
