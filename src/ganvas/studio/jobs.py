"""Commands as processes of their own: training, evaluation, estimate. A training goes on when the studio ends."""

import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal

from ganvas.errors import GanvasError
from ganvas.files import explain_os_error
from ganvas.reading import parse_json
from ganvas.runs.lock import is_being_trained
from ganvas.studio.answers import Refusal, describe
from ganvas.studio.commands import quote

Kind = Literal["train", "evaluate", "estimate", "compare"]
State = Literal["running", "done", "failed", "stopped"]

PROGRAM = (sys.executable, "-P", "-m", "ganvas")
"""-P: a file named random.py in the working folder is not imported in place of Python's."""

TAIL_BYTES, TAIL_LINES = 2**14, 40
"""How much of the end of a command's output is shown."""

MAX_OUTPUT = 2**24
"""Bytes of output after which the file is emptied; of a result, the most that is read."""

LOOK_SECONDS = 5.0
"""How often the size of the output is looked at."""

ENDING_SECONDS, PAUSE = 20.0, 0.1
"""How long a job that is ending is waited for, and how often it is looked at."""

MAX_ENDED = 50
"""Jobs that have ended and are still listed."""

INTERRUPTED = 130
"""The exit status of a command that Ctrl-C ended."""


@dataclass(eq=False)
class Job:
    """A command that runs or has run.

    Its output goes to files without a name, not to pipes: a command whose reader is killed writes on without harm.

    Attributes:
        path: the run that it is about; of a new one, its folder before the run is in it.
        exit: the exit status; None while it runs.
        stopped: whether it was asked to end.
        last: the end of its output, once it has ended.
    """

    id: str
    kind: Kind
    words: list[str]
    path: Path | None
    began: float
    process: subprocess.Popen[bytes] = field(repr=False)
    out: BinaryIO = field(repr=False)
    err: BinaryIO = field(repr=False)
    ended: float | None = None
    exit: int | None = None
    stopped: bool = False
    result: Any = None
    last: str = field(default="", repr=False)

    @property
    def state(self) -> State:
        if self.ended is None:
            return "running"
        if self.exit == INTERRUPTED or (self.stopped and self.exit != 0):
            return "stopped"
        return "done" if self.exit == 0 else "failed"

    @property
    def ending(self) -> bool:
        """Whether it runs, but was asked to end, or has given its run free."""
        if self.ended is not None or self.stopped or self.path is None or self.kind != "train":
            return self.ended is None and self.stopped
        return (self.path / "state").exists() and not is_being_trained(self.path)

    @property
    def output(self) -> str:
        """The last lines of what it printed; of a progress bar its last state."""
        if self.ended is not None:
            return self.last
        try:
            text = _read_end(self.err, TAIL_BYTES).decode("utf-8", "replace")
        except ValueError:  # it has ended just now
            return self.last
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r\n", "\n")
        lines = [line.rpartition("\r")[2] for line in text.split("\n")]
        return "\n".join(lines[-TAIL_LINES:]).strip("\n")

    def progress(self, key: Callable[[Path], str | None]) -> dict[str, Any]:
        """What it is about and how far it is, without its output; `key` gives the key of a run's folder."""
        there = self.path is not None and (self.path / "config.json").exists()
        return {
            "id": self.id, "kind": self.kind, "state": self.state, "command": quote(["ganvas", *self.words]),
            "run": key(self.path) if there and self.path else None, "began": self.began, "ended": self.ended,
            "exit": self.exit, "stopping": self.stopped and self.ended is None,
        }  # fmt: skip

    def to_json(self, key: Callable[[Path], str | None]) -> dict[str, Any]:
        """As a page shows it, with its output, its result or its error."""
        error = describe(explain(self.output, self.exit)) if self.state == "failed" else None
        return self.progress(key) | {"output": self.output, "result": self.result, "error": error}


class Jobs:
    """The commands that this studio has started.

    Args:
        key: gives the key of a run's folder.
    """

    def __init__(self, key: Callable[[Path], str | None]) -> None:
        self._key = key
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()

    def start(self, kind: Kind, words: Sequence[str], path: Path | None = None, *, most: int | None = None) -> Job:
        """Starts `ganvas WORDS`, with --json, in a session of its own: a signal to the studio does not reach it.

        Args:
            path: the run that it is about, or the empty folder of a new one, which is removed if nothing comes of it.
            most: how many of this kind may run at a time.

        One that is ending is waited for, ENDING_SECONDS at the most.

        Raises:
            Refusal: as many of this kind run already, or one about this run.
            GanvasError: the process cannot be started.
        """
        patience = time.monotonic() + ENDING_SECONDS
        while True:
            with self._lock:
                if (other := self._find_conflict(kind, path, most)) is None:
                    job = _begin(kind, list(words), path)
                    self._jobs[job.id] = job
                    self._forget_oldest()
                    break
            if not other.ending or time.monotonic() > patience:
                raise too_many(f"{_describe(other)} is running already.", kind, most)
            time.sleep(PAUSE)
        threading.Thread(target=_wait, args=[job], name=f"waits for {job.id}", daemon=True).start()
        return job

    def _find_conflict(self, kind: Kind, path: Path | None, most: int | None) -> Job | None:
        """A running job that another one must not run beside: one about the same run first."""
        own = self.running(kind)
        about = [job for job in own if path is not None and job.path == path]
        if about or (most is not None and len(own) >= most):
            return next((job for job in about or own if job.ending), (about or own)[0])
        return None

    def _forget_oldest(self) -> None:
        ended = [job.id for job in self._jobs.values() if job.ended is not None]
        for name in ended[: max(0, len(ended) - MAX_ENDED)]:
            del self._jobs[name]

    def find(self, name: str) -> Job:
        """The job of that id.

        Raises:
            Refusal: there is none.
        """
        if name not in self._jobs:
            raise Refusal(404, f"There is no job {name[:40]!r}.", field="job")
        return self._jobs[name]

    def job_of(self, path: Path) -> Job | None:
        """The running job about a run."""
        return next((job for job in list(self._jobs.values()) if job.path == path and job.ended is None), None)

    def running(self, kind: Kind) -> list[Job]:
        """Those of a kind that run."""
        return [job for job in list(self._jobs.values()) if job.kind == kind and job.ended is None]

    def to_json(self) -> list[dict[str, Any]]:
        """All of them, the newest first."""
        return [job.to_json(self._key) for job in reversed(list(self._jobs.values()))]

    def progress(self) -> list[dict[str, Any]]:
        """How far each of them is, the newest first, as streams tell it: lines of their output are no news there."""
        return [job.progress(self._key) for job in reversed(list(self._jobs.values()))]

    def describe(self, job: Job) -> dict[str, Any]:
        """One of them."""
        return job.to_json(self._key)

    def stop(self, job: Job) -> None:
        """Asks a command to end, as Ctrl-C does: a training saves its state.

        A second SIGTERM, of another studio or of a launcher, changes nothing; a second SIGINT ends it without saving.
        """
        if job.ended is None and not job.stopped:
            job.stopped = True
            job.process.send_signal(signal.SIGTERM)

    def close(self) -> None:
        """Ends what is of no use without the studio; trainings and evaluations go on."""
        for job in self.running("estimate"):
            self.stop(job)


def too_many(what: str, kind: Kind, most: int | None) -> Refusal:
    """The refusal of one more command beside those that run."""
    fix = "wait for it, or stop it; ganvas studio --trainings N allows more at a time."
    return Refusal(
        409, what, expected="one at a time" if most == 1 else f"at most {most} at a time",
        fix=fix if kind == "train" else "wait for it.",
    )  # fmt: skip


def _begin(kind: Kind, words: list[str], path: Path | None) -> Job:
    with ExitStack() as opened:
        try:
            out, err = (opened.enter_context(_append_only(path.parent if path else None)) for _ in range(2))
            process = subprocess.Popen(
                [*PROGRAM, *words, "--json"], stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                start_new_session=True, env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )  # fmt: skip
        except OSError as error:
            raise explain_os_error(error, Path(error.filename or tempfile.gettempdir())) from error
        except ValueError as error:  # a zero byte, or half a character
            raise Refusal(400, "A value has a character that no command can have.", fix="type it again.") from error
        opened.pop_all()  # the job closes them
    return Job(secrets.token_hex(6), kind, words, path, time.time(), process, out, err)


def _append_only(folder: Path | None) -> BinaryIO:
    """A file without a name; what is written goes to its end, also after it was emptied.

    It is on the disk of the runs, which needs space anyway: a training whose output cannot be written fails, and
    the folder for temporary files is often small, and filled by others.
    """
    descriptor, name = tempfile.mkstemp(prefix=".ganvas-output-", dir=folder)
    os.close(descriptor)
    file = open(name, "a+b", buffering=0)  # noqa: SIM115 - the job keeps it open
    with suppress(OSError):  # Windows removes no open file
        os.unlink(name)
    return file  # type: ignore[return-value]


def _wait(job: Job) -> None:
    """Waits for the end of a command; keeps its output bounded meanwhile."""
    while True:
        try:
            status = job.process.wait(timeout=LOOK_SECONDS)
            break
        except subprocess.TimeoutExpired:
            if os.fstat(job.err.fileno()).st_size > MAX_OUTPUT:
                os.ftruncate(job.err.fileno(), 0)
    with suppress(ValueError):
        job.result = parse_json(_read_end(job.out, MAX_OUTPUT) or b"null", finite=False)
    if job.kind in ("train", "compare") and job.path is not None:
        remove_empty(job.path)
    job.exit, job.last = status, job.output
    job.ended = time.time()
    job.out.close()
    job.err.close()


def remove_empty(path: Path) -> None:
    """Removes the folder of a run of which nothing was written."""
    with suppress(OSError):
        if all(file.name == ".lock" for file in path.iterdir()):
            (path / ".lock").unlink(missing_ok=True)
            path.rmdir()


def _read_end(file: BinaryIO, most: int) -> bytes:
    size = os.fstat(file.fileno()).st_size
    return os.pread(file.fileno(), min(size, most), max(0, size - most))


def explain(output: str, status: int | None) -> GanvasError:
    """The error that a command printed: what, expected, fix; of a crash, its last line."""
    _, found, text = f"\n{output}".rpartition("\nganvas: ")
    if found:
        what, _, rest = text.partition("\nExpected: ")
        expected, _, fix = rest.partition("\nFix: ")
        if not rest:
            what, _, fix = what.partition("\nFix: ")
        return GanvasError(what.strip(), expected=expected.strip(), fix=fix.strip())
    if status is not None and status < 0:
        name = signal.Signals(-status).name if -status in set(signal.Signals) else str(-status)
        return GanvasError(
            f"The process was ended by {name}.",
            expected="a process that ends by itself",
            fix="if nobody ended it, the machine ran out of memory: a smaller --batch." if name == "SIGKILL" else "",
        )
    last = (output.strip().splitlines() or [f"The command ended with status {status}."])[-1]
    return GanvasError(last, fix="this is a bug of Ganvas: please report it with the output.")


def _describe(job: Job) -> str:
    what = {
        "train": "The training",
        "evaluate": "An evaluation",
        "estimate": "An estimate",
        "compare": "The comparison",
    }[job.kind]
    return f"{what} of {job.path.name}" if job.path is not None else what
