"""Trainings in worker processes: isolated failures, no repeated work, no processes left behind."""

import io
import json
import multiprocessing
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from filelock import FileLock
from support import time_limit, tiny

from ganvas.comparison import worker, workers
from ganvas.comparison.jobs import (
    SHARED_MACHINE,
    ended_outcome,
    interrupted_outcome,
    is_complete,
    saved_nimg,
    was_alone,
)
from ganvas.comparison.workers import Job, Outcome, train_all
from ganvas.config import TrainConfig, replace
from ganvas.errors import GanvasError
from ganvas.runs.folder import Run
from ganvas.runs.log import append_event, current_nimg, read_jsonl

LONG = 400.0
"""kimg, longer than any test waits."""


def job(name: str, config: TrainConfig | None = None, **knobs: Any) -> Job:
    return Job(replace(config or tiny(), **knobs), "digits", Path("runs"), name)


def wait_until(condition: Callable[[], Any], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.02)


def worker_processes() -> list[psutil.Process]:
    """The running worker processes, including orphans."""
    found = []
    for process in psutil.process_iter():
        try:
            if "ganvas.comparison.worker" in process.cmdline() and process.cwd() == str(Path.cwd()):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.slow
def test_failing_run_is_an_outcome_and_the_next_one_runs_while_the_caller_handles_it(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [job("bad", data="nowhere"), job("good")]
    outcomes = train_all(jobs)
    bad = next(outcomes)
    wait_until(lambda: is_complete(jobs[1]))
    (good,) = outcomes
    assert bad.job is jobs[0]
    assert "nowhere" in bad.problem
    assert "Traceback" not in bad.problem
    assert "\n" not in bad.problem
    assert good == Outcome(jobs[1], "")
    printed = capfd.readouterr().err
    assert "[1/2] digits, seed 0 (runs/bad)" in printed
    assert printed.index("[2/2] digits, seed 0 (runs/good)") < printed.index("Training runs/good"), "its output"
    assert current_nimg(jobs[1].run.path) == saved_nimg(jobs[1].run) == 200

    monkeypatch.setattr(workers.subprocess, "Popen", lambda *_, **__: pytest.fail("an unneeded process was started"))
    assert list(train_all([jobs[1]], workers=2)) == [good]
    assert "[1/1] digits, seed 0 (runs/good) is complete already." in capfd.readouterr().err
    assert not is_complete(job("good", batch=10)), "a run of another configuration is not complete"


@pytest.mark.parametrize("length", [{"minutes": 1.0}, {"kimg": 1.0}], ids=["minutes", "kimg"])
def test_only_a_training_by_time_waits_for_the_callers_work(
    length: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    started, seen = list[str](), list[int]()

    class Immediate:
        """A training that is complete when it has started."""

        ended = True

        def __init__(self, job: Job, workers: int, *, quiet: bool) -> None:
            self.job = job
            started.append(job.name)

        def outcome(self, *, stopping: bool) -> Outcome:
            return Outcome(self.job, "")

    def work() -> None:
        if "minutes" in length:
            time.sleep(0.1)
        else:
            wait_until(lambda: len(started) == 2)
        seen.append(len(started))

    monkeypatch.setattr(workers, "_WorkerProcess", Immediate)
    monkeypatch.setattr(workers, "_POLL_INTERVAL", 0.005)

    for _ in train_all([job("a", **length), job("b", **length)], quiet=True, meanwhile=work):
        work()
    assert seen == ([0, 1, 2] if "minutes" in length else [2, 2, 2])


@pytest.mark.parametrize(
    ("length", "workers_", "alone"), [("minutes", 1, True), ("minutes", 2, False), ("kimg", 1, False)]
)
def test_process_of_a_training_knows_whether_it_has_the_machine_to_itself(
    length: str, workers_: int, alone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = io.BytesIO()
    monkeypatch.setattr(workers.subprocess, "Popen", lambda *_, **__: SimpleNamespace(stdin=sent))
    knobs: dict[str, Any] = {length: 1.0}
    workers._WorkerProcess(job("x", **knobs), workers_, quiet=False)
    assert json.loads(sent.getvalue())["alone"] is alone


def test_run_that_shared_the_machine_says_so() -> None:
    for name in ("alone", "shared"):
        assert worker.run_job(job(name, kimg=0.04), quiet=True, alone=name == "alone") == ""
        assert was_alone(job(name).run) == (name == "alone")


def test_machine_shared_by_a_try_that_saved_nothing_does_not_count() -> None:
    one = job("x", minutes=1.0)
    one.run.path.mkdir(parents=True)
    for event in ("planned", SHARED_MACHINE):
        append_event(one.run.path, event, 0)
    assert not was_alone(one.run)
    append_event(one.run.path, "planned", 0)
    assert was_alone(one.run)
    worker._SharedMachine().begin(one.run, print)
    assert not was_alone(one.run), "it shares it again"


def test_run_of_a_comparison_has_a_film() -> None:
    one = job("x", kimg=2.0, snapshot_kimg=1.0)
    assert worker.run_job(one, quiet=True) == ""
    assert one.run.film == Path("runs/x/training.webp")
    assert not (one.run.path / "losses.png").exists(), "the report has its curves"


def test_training_that_is_stopped_by_a_failure_has_ended(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    knobs = {"g_lr": 0.0, "tick_kimg": 0.1, "snapshot_kimg": 0.2}
    one = job("x", tiny(kimg=1.2), on_failure="stop", **knobs)
    assert ended_outcome(one) is None
    problem = worker.run_job(one, quiet=True)
    progress = one.run.progress()
    assert problem == progress["problem"] == f"stopped by --on-failure at {progress['nimg'] / 1000:g} kimg"
    assert (progress["state"], is_complete(one)) == ("failed", False)
    assert was_alone(one.run)
    problem = worker.run_job(one, quiet=True, alone=False)
    assert not was_alone(one.run)

    progress = one.run.progress()
    monkeypatch.setattr(workers.subprocess, "Popen", lambda *_, **__: pytest.fail("it was trained again"))
    assert list(train_all([one], meanwhile=lambda: pytest.fail("nothing is trained"))) == [Outcome(one, problem)]
    assert f"[1/1] digits, seed 0 (runs/x): {problem}" in capfd.readouterr().err
    assert interrupted_outcome(one) == Outcome(one, "", stopped=True)
    assert ended_outcome(job("x", tiny(kimg=1.2), on_failure="rollback", **knobs)) is None
    append_event(one.run.path, "resume", progress["nimg"])
    assert ended_outcome(one) is None, "somebody trains it on"


@pytest.mark.slow
def test_killed_run_is_an_outcome_and_the_same_call_completes_it(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = subprocess.Popen
    started = []

    def popen(*arguments: Any, **keywords: Any) -> Any:
        started.append(own(*arguments, **keywords))
        return started[-1]

    monkeypatch.setattr(workers.subprocess, "Popen", popen)
    constant = replace(tiny(), g_lr=1e-3)  # independent of the length of the run
    jobs = [job("killed", constant, kimg=LONG, snapshot_kimg=0.1), job("other", seed=1)]
    outcomes = train_all(jobs, workers=2)
    other = next(outcomes)
    assert other == Outcome(jobs[1], ""), "in the order in which they end"
    wait_until(lambda: saved_nimg(jobs[0].run))
    started[0].kill()
    (killed,) = outcomes
    at = saved_nimg(jobs[0].run)
    assert at
    assert killed.problem.startswith("Its process was killed, most likely by the system because memory ran out.")
    assert f"resumes from {at / 1000:g} kimg" in killed.problem
    assert "Training" not in capfd.readouterr().err, "parallel trainings print nothing"

    shorter = Path("runs/killed/config.json")
    card = json.loads(shorter.read_text())
    card["config"]["kimg"] = (at + 40) / 1000
    shorter.write_text(json.dumps(card))
    (again,) = train_all([job("killed", constant, kimg=(at + 40) / 1000, snapshot_kimg=0.1)], quiet=True)
    assert again.problem == ""
    assert saved_nimg(jobs[0].run) == at + 40
    assert [line["nimg"] for line in read_jsonl(jobs[0].run.path / "events.jsonl") if line["event"] == "resume"] == [at]
    assert capfd.readouterr().err == ""


def run_comparison(path: str) -> None:
    """A comparison in a separate process: one long run, and one that does not start."""
    outcomes = {}
    try:
        for outcome in train_all([job("long", kimg=LONG, snapshot_kimg=10.0), job("waits")], quiet=True):
            outcomes[outcome.job.name] = outcome.problem
    except KeyboardInterrupt:
        outcomes["interrupted"] = "yes"
    Path(path).write_text(json.dumps(outcomes))


@pytest.fixture
def comparison() -> Iterator[ForkServerProcess]:
    processes = multiprocessing.get_context("forkserver")
    process = processes.Process(target=run_comparison, args=(str(Path("outcomes.json").resolve()),))
    process.start()
    yield process
    process.kill()
    process.join()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_stopped_or_killed_parent_leaves_saved_runs_and_no_process(comparison: ForkServerProcess, number: int) -> None:
    run = Run(Path("runs/long"))
    wait_until(lambda: current_nimg(run.path))
    assert len(worker_processes()) == 1
    assert comparison.pid is not None
    os.kill(comparison.pid, number)
    comparison.join(180)  # a worker has worker.GRACE_SECONDS, and fsync waits for a busy disk
    assert not comparison.is_alive(), [process.status() for process in worker_processes()]
    wait_until(lambda: not worker_processes())
    with FileLock(run.path / ".lock").acquire(timeout=0):
        at = saved_nimg(run)
    assert at
    assert at % 10_000, "saved at the interruption"
    assert [line["event"] for line in read_jsonl(run.path / "events.jsonl")][-1] == "interrupted"
    if number == signal.SIGINT:
        assert json.loads(Path("outcomes.json").read_text()) == {
            "long": f"interrupted at {at / 1000:g} kimg; the same command resumes from there",
            "waits": "interrupted before it started; the same command trains it",
            "interrupted": "yes",
        }
    assert not Path("runs/waits").exists()


@pytest.mark.slow
def test_second_ctrl_c_kills_and_keeps_the_last_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers._WorkerProcess, "stop", Unstoppable.stop)
    long = job("long", kimg=LONG, snapshot_kimg=0.1)

    def interrupt_twice() -> None:
        wait_until(lambda: saved_nimg(long.run))
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGINT)

    interrupting = threading.Thread(target=interrupt_twice)
    interrupting.start()
    with pytest.raises(KeyboardInterrupt):
        list(train_all([long], quiet=True))
    interrupting.join()
    assert not worker_processes()
    assert saved_nimg(long.run) is not None
    events = [line["event"] for line in read_jsonl(long.run.path / "events.jsonl")]
    assert events == ["shared machine"], "killed before it could log the interruption"


class Unstoppable(workers._WorkerProcess):
    """A training that ignores requests to stop and ends only when it is killed."""

    def stop(self, *, at_once: bool = False) -> None:
        if at_once:
            self._process.kill()


@pytest.mark.slow
def test_interrupt_between_outcomes_stops_at_once_and_saves_the_others() -> None:
    jobs = [job("complete"), job("long", kimg=LONG, snapshot_kimg=10.0)]
    assert worker.run_job(jobs[0], quiet=True) == ""
    outcomes = train_all(jobs, workers=2, quiet=True)
    assert next(outcomes) == Outcome(jobs[0], "")
    wait_until(lambda: saved_nimg(jobs[1].run) is not None)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
    outcomes.close()  # type: ignore[attr-defined]
    assert not worker_processes()
    events = [line["event"] for line in read_jsonl(jobs[1].run.path / "events.jsonl")]
    assert events == ["shared machine", "interrupted"]


@pytest.mark.slow
def test_stop_whose_message_takes_longer_than_a_wait_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers.ProgressDisplay, "on_stop", lambda _: time.sleep(4 * workers._POLL_INTERVAL))
    long = job("long", kimg=LONG, snapshot_kimg=10.0)

    def stop() -> None:
        wait_until(lambda: current_nimg(long.run.path))
        os.kill(os.getpid(), signal.SIGTERM)

    stopping = threading.Thread(target=stop)
    stopping.start()
    with time_limit(60), pytest.raises(KeyboardInterrupt, match="resumes from there"):
        list(train_all([long], quiet=True))
    stopping.join()
    assert saved_nimg(long.run)


@pytest.mark.slow
def test_interrupt_ends_meanwhile_and_every_outcome_is_returned() -> None:
    jobs, outcomes = [job("long", kimg=LONG, snapshot_kimg=10.0), job("waits")], []

    def meanwhile() -> None:
        assert len(worker_processes()) == 1
        wait_until(lambda: current_nimg(jobs[0].run.path))
        signal.raise_signal(signal.SIGINT)
        pytest.fail("not interrupted")

    with pytest.raises(KeyboardInterrupt, match="resumes from there"):
        outcomes.extend(train_all(jobs, quiet=True, meanwhile=meanwhile))
    assert [(outcome.job.name, outcome.stopped) for outcome in outcomes] == [("waits", True), ("long", True)]
    assert not worker_processes()
    assert saved_nimg(jobs[0].run)


def test_process_that_cannot_be_started_raises_in_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    def popen(*_: Any, **__: Any) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr(workers.subprocess, "Popen", popen)
    with pytest.raises(OSError, match="no more processes"):
        list(train_all([job("x")], quiet=True))


def test_exit_descriptions_and_threads_per_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "because memory ran out" in workers._describe_exit(-signal.SIGKILL, "")
    assert workers._describe_exit(-signal.SIGSEGV, "") == "Its process was ended by SIGSEGV."
    assert workers._describe_exit(3, "no such library") == "Its process ended with status 3: no such library."
    with pytest.raises(GanvasError, match="--workers is 0"):
        next(train_all([], workers=0))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert workers._threads_per_worker(1) == 1
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert workers._threads_per_worker(1) == max(1, len(os.sched_getaffinity(0)))
    assert workers._threads_per_worker(1000) == 1


def test_last_complete_line_gives_the_progress_of_a_run() -> None:
    run = job("x").run
    assert current_nimg(run.path) == 0
    run.path.mkdir(parents=True)
    long = json.dumps({"nimg": 80, "x": "y" * 70_000})
    (run.path / "stats.jsonl").write_text('{"nimg": 40}\n' + long + '\n{"nimg": 120}\n{"ni')
    assert current_nimg(run.path) == 120
    assert saved_nimg(run) is None


def test_worker_waits_for_the_lock_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    held = FileLock("runs/x/.lock", thread_local=False)
    free = []
    monkeypatch.setattr(worker, "train", lambda *_, **__: free.append(not held.is_locked))
    assert worker.run_job(job("x"), quiet=True) == ""
    Path("runs/x").mkdir(parents=True)
    Path("runs/x/config.json").touch()
    held.acquire()
    threading.Timer(0.3, held.release).start()
    assert worker.run_job(job("x"), quiet=True) == ""
    held.acquire()
    assert worker.run_job(job("x"), quiet=True, lock_timeout=0.0) == ""
    assert free == [True, True, False]
    held.release()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (GanvasError("No.", expected="yes", fix="say yes"), "No. Expected: yes Fix: say yes"),
        (KeyboardInterrupt(), "interrupted before its first state was saved; the same command trains it"),
        (MemoryError(), "There is not enough memory (MemoryError)"),
        (RuntimeError("CUDA out of memory. Tried\nmuch"), "There is not enough memory (RuntimeError: CUDA out"),
        (KeyError("x"), "It crashed: KeyError: 'x'. The traceback is in runs/x/log.txt."),
    ],
)
def test_errors_become_one_line(error: BaseException, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(*_: object, **__: object) -> None:
        Path("runs/x").mkdir(parents=True)
        raise error

    monkeypatch.setattr(worker, "train", train)
    assert worker.run_job(job("x"), quiet=True).startswith(expected)
    assert Path("runs/x/log.txt").exists() == isinstance(error, KeyError)
