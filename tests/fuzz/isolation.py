"""Runs cases in worker processes, each case in a scratch folder, with bounds of time and of memory.

A worker runs one case after the other in its own process group; one that passes its bounds is killed and replaced.
"""

import contextlib
import io
import multiprocessing
import os
import resource
import shutil
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from random import Random
from typing import Any, NoReturn

MEMORY_BOUND = 800 * 2**20
"""Bytes by which the memory of a case may grow: the inputs are of a few kilobytes, libraries take up to 400 MB."""

MEMORY_LIMIT = 3 * 2**30
"""Bytes of address space that the system still gives a case, so that none takes the whole machine."""

SECONDS_BOUND = 40.0
"""Seconds of the processor's after which a case hangs, or of a clock's if it has done next to nothing in them: the
machine may be busy. Commands that may take long are interrupted long before."""

IDLE_FRACTION = 0.02
"""The part of a processor that a case which waits for nothing gets on any machine."""

INTERRUPT_AFTER = 10.0
"""Seconds after which a command that may take long gets Ctrl-C."""

PRELOADED = ["torch", "ganvas.cli", "ganvas.training.start", "PIL.Image"]
"""Modules that a process has imported when it begins."""

FAULTS = ("traceback", "hang", "memory", "exit code", "wrong answer")


@dataclass
class Answer:
    """What a case gave: its exit status and what it printed."""

    status: int
    out: str = ""
    err: str = ""
    interrupted: bool = False


@dataclass
class Case:
    """One input.

    Attributes:
        what: the input in words.
        act: gives it to Ganvas; the working folder is the scratch folder.
        allowed: the exit statuses that are right.
        check: what is wrong with the answer, or an empty string; called where the status is right.
    """

    what: str
    act: Callable[[], Answer]
    allowed: frozenset[int] = frozenset({0, 1, 2})
    check: Callable[[Answer], str] = lambda answer: ""


@dataclass
class Outcome:
    """How a case ended: `fault` is one of FAULTS, or empty."""

    kind: str
    number: int
    what: str
    fault: str = ""
    detail: str = ""
    status: int | None = None
    seconds: float = 0.0
    bytes: int = 0
    spent: bool = False
    """Whether the process has grown so much that the next case gets a new one."""


@dataclass(frozen=True)
class Kind:
    """A kind of input: makes case `number` from its own random numbers, in the scratch folder.

    Attributes:
        make: (number, random, folder of what was prepared) -> the case.
        weight: its share of all cases.
    """

    make: Callable[[int, Random, Path], Case]
    weight: float


class WrongAnswer(Exception):
    """Raised by a case that has seen a wrong answer."""


def run_case(
    kind: Kind, name: str, number: int, seed: int, prepared: Path, scratch: Path, begin: Callable[[str], Any]
) -> Outcome:
    """Runs one case in this process, in a new scratch folder; tells `begin` what it is."""
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    os.chdir(scratch)
    os.environ.update(GANVAS_CACHE=str(scratch / "cache"), HOME=str(scratch), TMPDIR=str(scratch))
    case = kind.make(number, Random(f"{seed} {name} {number}"), prepared)
    outcome = Outcome(name, number, case.what)
    begin(case.what)
    before, began = _reset_peak(), time.perf_counter()
    try:
        answer = case.act()
        outcome.status = answer.status
        _judge(case, answer, outcome)
    except WrongAnswer as wrong:
        outcome.fault, outcome.detail = "wrong answer", str(wrong)
    except BaseException as error:  # also one that is no Exception, such as Rust's panic
        outcome.fault, outcome.detail = "traceback", "".join(traceback.format_exception(error, limit=-12))
        del error
    outcome.seconds = time.perf_counter() - began
    outcome.bytes = max(0, _read_peak() - before)
    if not outcome.fault and outcome.bytes > MEMORY_BOUND:
        outcome.fault, outcome.detail = "memory", f"{outcome.bytes / 1e6:,.0f} MB"
    os.chdir(scratch.parent)
    return outcome


def _judge(case: Case, answer: Answer, outcome: Outcome) -> None:
    allowed = case.allowed | {130} if answer.interrupted else case.allowed
    lost = answer.interrupted and answer.err.count("Exception ignored in") and "KeyboardInterrupt" in answer.err
    if "Traceback (most recent call last)" in answer.err and not lost:  # as a thread prints it
        outcome.fault, outcome.detail = "traceback", answer.err[-3000:]
    elif "There is not enough memory" in answer.err:
        outcome.fault, outcome.detail = "memory", answer.err[-1000:]
    elif answer.status not in allowed:
        outcome.fault, outcome.detail = "exit code", f"{answer.status}, not in {sorted(allowed)}: {answer.err[-1000:]}"
    elif wrong := case.check(answer):
        outcome.fault, outcome.detail = "wrong answer", wrong


def call(act: Callable[[], Any], *, may_take_long: bool = False) -> Answer:
    """Calls a function that returns or exits, with streams as a terminal's; sends Ctrl-C if it takes too long."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", errors) for errors in ("strict", "backslashreplace"))
    interrupted, status = [], 0

    def interrupt(*_: Any) -> None:
        interrupted.append(True)
        os.kill(os.getpid(), signal.SIGINT)

    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGALRM, interrupt)
    if may_take_long:
        signal.setitimer(signal.ITIMER_REAL, INTERRUPT_AFTER)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                act()
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    texts = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode("utf-8", "backslashreplace"))  # type: ignore[attr-defined]
    return Answer(status, *texts, interrupted=bool(interrupted))


def _reset_peak() -> int:
    """Starts to measure the peak of this process's memory; returns what it takes now, in bytes."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _read_peak() -> int:
    return _status("VmHWM")


def _status(name: str) -> int:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:  # not Linux: memory is not measured
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), 0)


@dataclass
class _Worker:
    process: Any
    connection: Connection
    task: tuple[str, int] | None = None
    what: str = ""
    deadline: float = field(default=float("inf"))
    began: float = 0.0
    used: float = 0.0

    def start(self, task: tuple[str, int]) -> None:
        """Gives it a case."""
        self.task, self.what, self.began, self.used = task, "", time.monotonic(), self.processor_seconds()
        self.deadline = self.began + SECONDS_BOUND
        self.connection.send(task)

    def hangs(self) -> bool:
        """Whether the case has used up its time, or waits for something that does not come."""
        used = self.processor_seconds() - self.used
        return used > SECONDS_BOUND or used < IDLE_FRACTION * (time.monotonic() - self.began)

    def processor_seconds(self) -> float:
        """Of the process, so far."""
        import psutil

        try:
            times = psutil.Process(self.process.pid).cpu_times()
        except psutil.Error:
            return 0.0
        return times.user + times.system


def run_cases(
    kinds: dict[str, Kind], tasks: Iterable[tuple[str, int]], *, seed: int, workers: int, folder: Path, prepared: Path
) -> Iterator[Outcome]:
    """Runs cases (kind, number) on worker processes; yields their outcomes as they end."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    started = 0

    def start() -> _Worker:
        nonlocal started
        started += 1
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, kinds, seed, folder / f"worker{started}", prepared))
        process.start()
        theirs.close()
        return _Worker(process, ours)

    waiting, pool = iter(tasks), [start() for _ in range(workers)]
    try:
        while True:
            for worker in pool:
                if worker.task is None and (task := next(waiting, None)) is not None:
                    worker.start(task)
            busy = [worker for worker in pool if worker.task is not None]
            if not busy:
                return
            first = min(worker.deadline for worker in busy)
            ready = wait([worker.connection for worker in busy], max(0.0, first - time.monotonic()))
            for worker in busy:
                assert worker.task is not None
                message, ended = None, False
                if worker.connection in ready:
                    try:
                        message = worker.connection.recv()
                    except (EOFError, ConnectionError):
                        worker.process.join()
                        how = f"the process ended with {worker.process.exitcode}"
                        message, ended = Outcome(*worker.task, worker.what, "traceback", how), True
                elif time.monotonic() > worker.deadline and not worker.hangs():
                    worker.deadline += 5.0
                elif time.monotonic() > worker.deadline:
                    how = f"longer than {SECONDS_BOUND:g} s"
                    message, ended = Outcome(*worker.task, worker.what, "hang", how, seconds=SECONDS_BOUND), True
                if isinstance(message, str):
                    worker.what = message
                elif message is not None:
                    if ended or message.spent:
                        _kill(worker)
                        pool[pool.index(worker)] = start()
                    worker.task = None
                    yield message
    finally:
        for worker in pool:
            _kill(worker)


def _kill(worker: _Worker) -> None:
    """Kills a worker and what it has started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(worker.process.pid, signal.SIGKILL)
    worker.process.kill()
    worker.process.join()
    worker.connection.close()


def _work(connection: Connection, kinds: dict[str, Kind], seed: int, scratch: Path, prepared: Path) -> None:
    """The life of a worker: receives (kind, number), sends the outcome."""
    os.setsid()
    restrict()
    size = _status("VmSize")
    while True:
        try:
            name, number = connection.recv()
        except EOFError:
            return
        outcome = run_case(kinds[name], name, number, seed, prepared, scratch / "a" / "b", connection.send)
        outcome.spent = _status("VmSize") > size + MEMORY_LIMIT // 3
        connection.send(outcome)


def restrict() -> None:
    """Takes from this process the network, other programs and most of the memory, and its standard input."""
    limit = _status("VmSize") + MEMORY_LIMIT
    if limit > MEMORY_LIMIT:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**30, 2**30))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.update(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", COLUMNS="120")
    connect, resolve = socket.socket.connect, socket.getaddrinfo

    def offline(sock: socket.socket, address: Any) -> None:
        if sock.family != socket.AF_UNIX:
            raise OSError(101, "Network is unreachable")
        connect(sock, address)

    def unresolved(host: Any, *arguments: Any, **keywords: Any) -> Any:
        if host in (None, "127.0.0.1", "::1", "localhost"):
            return resolve(host, *arguments, **keywords)
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    def replaced(*_: Any) -> NoReturn:
        sys.exit(0)

    socket.socket.connect = offline  # type: ignore[method-assign]
    socket.getaddrinfo = unresolved  # type: ignore[assignment]
    os.execv = replaced

    import psutil
    import torch

    torch.set_num_threads(1)
    memory = psutil.virtual_memory()._replace(available=MEMORY_BOUND // 2)
    psutil.virtual_memory = lambda: memory
