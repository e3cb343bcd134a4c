"""The process that logs one run to one tracker: python -m ganvas.trackers.worker TRACKER RUN NIMG.

It is started by `processes`, and ends when its stdin closes: because the training has ended, or has died. What it has
to say goes to stdout, one JSON object a line. Whatever a tracker's package does (threads, signals, hooks at exit,
hanging, crashing) it does here.
"""

import json
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import Any

from ganvas import user_code
from ganvas.errors import GanvasError
from ganvas.runs.folder import Run
from ganvas.trackers.follower import Follower
from ganvas.trackers.notes import describe_failure
from ganvas.trackers.record import Record, locked, read_record
from ganvas.trackers.table import make_tracker

LOOK_SECONDS = 1.0
"""Seconds between two looks at the files of a run."""

STATUS_OVERDUE = 3
"""Exit status of a process that took longer for the rest than its limit."""


def log_run(
    name: str, run: Run, ended: threading.Event, say: Any, *, new: bool = False, began_at: int | None = None
) -> None:
    """Logs a run until `ended` is set, and then the rest.

    Args:
        say: called with what the user should know: a dictionary.
        new: begin a new run in the tracker, where there is one already.
        began_at: see `Follower`.

    Raises:
        Exception: anything that the tracker or its package raises.
    """
    with locked(run.path, name):
        record = Record(name) if new else read_record(run.path, name)
        follower = Follower(run, make_tracker(name), record, began_at)
        say({"opened": follower.open()._asdict()})
        while not ended.wait(LOOK_SECONDS):
            follower.catch_up()
        follower.close()


def main(arguments: list[str]) -> int:
    """Logs TRACKER RUN NIMG [--new] [--limit SECONDS]; the exit status is 1 if that failed."""
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what packages print is no message of ours
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the training, which then closes stdin

    def say(message: dict[str, Any]) -> None:
        with suppress(OSError):  # nobody listens any more: the training was killed, or did not wait
            output.write(json.dumps(message) + "\n")
            output.flush()

    name, path, nimg = arguments[:3]
    limit = float(arguments[arguments.index("--limit") + 1]) if "--limit" in arguments else None
    ended = threading.Event()
    threading.Thread(target=_wait_for_end, args=(ended, limit), daemon=True).start()
    try:
        with user_code.quote_loaded():
            new = "--new" in arguments[3:]
            log_run(name, Run(path), ended, say, new=new, began_at=int(nimg))  # type: ignore[arg-type]
        say({"done": True})
        return 0
    except (GanvasError, Exception, SystemExit) as error:  # it is told, and the training does not depend on it
        what, fix = describe_failure(error)
        say({"failed": what, "fix": fix})
        return 1


def _wait_for_end(ended: threading.Event, limit: float | None) -> None:
    """Sets the event when stdin closes, and ends the process if it takes too long after that."""
    while os.read(0, 4096):
        pass
    ended.set()
    if limit is not None:
        time.sleep(limit)
        os._exit(STATUS_OVERDUE)


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(status)  # all is written; what packages do at exit could hang
