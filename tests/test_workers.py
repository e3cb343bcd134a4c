"""Trainings in processes of their own: one's problem is its own, nothing is done twice, and nothing is left behind."""

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
from typing import Any

import psutil
import pytest
from filelock import FileLock
from support import tiny

from ganvas.comparison import worker, workers
from ganvas.comparison.jobs import current_nimg, is_complete, saved_nimg
from ganvas.comparison.workers import Job, Outcome, train_all
from ganvas.config import TrainConfig, replace
from ganvas.errors import GanvasError
from ganvas.runs.folder import Run
from ganvas.runs.log import read_jsonl

LONG = 400.0
"""kimg that no test waits for."""


def job(name: str, config: TrainConfig | None = None, **knobs: Any) -> Job:
    return Job(replace(config or tiny(), **knobs), "digits", Path("runs"), name)


def wait_until(there: Callable[[], Any], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def children() -> list[psutil.Process]:
    """The workers that are there, whoever's they are by now."""
    found = []
    for process in psutil.process_iter():
        try:
            if "ganvas.comparison.worker" in process.cmdline() and process.cwd() == str(Path.cwd()):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.slow
def test_a_failing_run_is_an_outcome_and_the_others_go_on(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [job("bad", data="nowhere"), job("good")]
    bad, good = train_all(jobs)
    assert bad.job is jobs[0]
    assert "nowhere" in bad.problem
    assert "Traceback" not in bad.problem
    assert "\n" not in bad.problem
    assert good == Outcome(jobs[1], "")
    said = capfd.readouterr().err
    assert "[1/2] digits, seed 0 (runs/bad)" in said
    assert said.index("[2/2] digits, seed 0 (runs/good)") < said.index("Training runs/good"), "the run's own words"
    assert current_nimg(jobs[1].run) == saved_nimg(jobs[1].run) == 200

    monkeypatch.setattr(workers.subprocess, "Popen", lambda *_, **__: pytest.fail("a process for nothing"))
    assert list(train_all([jobs[1]], workers=2)) == [good]
    assert "[1/1] digits, seed 0 (runs/good) is complete already." in capfd.readouterr().err
    assert not is_complete(job("good", batch=10)), "another configuration is no finished run"


@pytest.mark.slow
def test_a_killed_run_is_told_and_the_same_call_completes_it(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = subprocess.Popen
    started = []

    def popen(*arguments: Any, **keywords: Any) -> Any:
        started.append(own(*arguments, **keywords))
        return started[-1]

    monkeypatch.setattr(workers.subprocess, "Popen", popen)
    constant = replace(tiny(), g_lr=1e-3)  # a length of its own does not change it
    jobs = [job("killed", constant, kimg=LONG, snapshot_kimg=0.1), job("other", seed=1)]
    outcomes = train_all(jobs, workers=2)
    other = next(outcomes)
    assert other == Outcome(jobs[1], ""), "as they end, not as they were given"
    wait_until(lambda: saved_nimg(jobs[0].run))
    started[0].kill()
    (killed,) = outcomes
    at = saved_nimg(jobs[0].run)
    assert at
    assert killed.problem.startswith("Its process was killed, most likely by the system because memory ran out.")
    assert f"resumes from {at / 1000:g} kimg" in killed.problem
    assert "Training" not in capfd.readouterr().err, "several at a time are silent"

    shorter = Path("runs/killed/config.json")
    card = json.loads(shorter.read_text())
    card["config"]["kimg"] = (at + 40) / 1000
    shorter.write_text(json.dumps(card))
    (again,) = train_all([job("killed", constant, kimg=(at + 40) / 1000, snapshot_kimg=0.1)], quiet=True)
    assert again.problem == ""
    assert saved_nimg(jobs[0].run) == at + 40
    assert [line["nimg"] for line in read_jsonl(jobs[0].run.path / "events.jsonl") if line["event"] == "resume"] == [at]
    assert capfd.readouterr().err == ""


def parent(told: str) -> None:
    """A comparison in a process of its own: one long run, and one whose turn does not come."""
    outcomes = {}
    try:
        for outcome in train_all([job("long", kimg=LONG, snapshot_kimg=10.0), job("waits")], quiet=True):
            outcomes[outcome.job.name] = outcome.problem
    except KeyboardInterrupt:
        outcomes["interrupted"] = "yes"
    Path(told).write_text(json.dumps(outcomes))


@pytest.fixture
def comparison() -> Iterator[ForkServerProcess]:
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["ganvas.comparison.workers"])
    process = processes.Process(target=parent, args=(str(Path("told.json").resolve()),))
    process.start()
    yield process
    process.kill()
    process.join()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_or_killed_parent_leaves_saved_runs_and_no_process(
    comparison: ForkServerProcess, number: int
) -> None:
    run = Run(Path("runs/long"))
    wait_until(lambda: current_nimg(run))
    assert len(children()) == 1
    assert comparison.pid is not None
    os.kill(comparison.pid, number)
    comparison.join(60)
    wait_until(lambda: not children(), 30)
    with FileLock(run.path / ".lock").acquire(timeout=0):
        at = saved_nimg(run)
    assert at
    assert at % 10_000, "saved where it was stopped"
    assert [line["event"] for line in read_jsonl(run.path / "events.jsonl")][-1] == "interrupted"
    if number == signal.SIGINT:
        assert json.loads(Path("told.json").read_text()) == {
            "long": f"interrupted at {at / 1000:g} kimg; the same command resumes from there",
            "waits": "interrupted before it started; the same command trains it",
            "interrupted": "yes",
        }
    assert not Path("runs/waits").exists()


@pytest.mark.slow
def test_a_second_ctrl_c_kills_and_leaves_the_last_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers._WorkerProcess, "stop", Obstinate.stop)
    long = job("long", kimg=LONG, snapshot_kimg=0.1)

    def strike() -> None:
        wait_until(lambda: saved_nimg(long.run))
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.5)

    striking = threading.Thread(target=strike)
    striking.start()
    with pytest.raises(KeyboardInterrupt):
        list(train_all([long], quiet=True))
    striking.join()
    assert not children()
    assert saved_nimg(long.run) is not None
    assert not list(read_jsonl(long.run.path / "events.jsonl")), "it had no time to say that it was stopped"


class Obstinate(workers._WorkerProcess):
    """A training that does not end when it is asked to, but only when it is killed."""

    def stop(self, *, at_once: bool = False) -> None:
        if at_once:
            self._process.kill()


@pytest.mark.slow
def test_a_stop_while_an_outcome_is_in_hand_comes_at_once_and_saves_the_others() -> None:
    jobs = [job("short"), job("long", kimg=LONG, snapshot_kimg=10.0)]
    outcomes = train_all(jobs, workers=2, quiet=True)
    assert next(outcomes) == Outcome(jobs[0], "")
    wait_until(lambda: saved_nimg(jobs[1].run) is not None)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
    outcomes.close()  # type: ignore[attr-defined]
    assert not children()
    assert [line["event"] for line in read_jsonl(jobs[1].run.path / "events.jsonl")] == ["interrupted"]


@pytest.mark.slow
def test_the_next_training_begins_and_ends_while_an_outcome_is_in_hand() -> None:
    jobs = [job("first"), job("second", seed=1)]
    outcomes = train_all(jobs, quiet=True)
    assert next(outcomes) == Outcome(jobs[0], "")
    wait_until(lambda: is_complete(jobs[1]))
    assert list(outcomes) == [Outcome(jobs[1], "")]


@pytest.mark.slow
def test_a_stop_ends_what_is_done_meanwhile_and_every_outcome_comes() -> None:
    jobs, outcomes = [job("long", kimg=LONG, snapshot_kimg=10.0), job("waits")], []

    def meanwhile() -> None:
        assert len(children()) == 1
        wait_until(lambda: current_nimg(jobs[0].run))
        signal.raise_signal(signal.SIGINT)
        pytest.fail("it went on")

    with pytest.raises(KeyboardInterrupt, match="resumes from there"):
        outcomes.extend(train_all(jobs, quiet=True, meanwhile=meanwhile))
    assert [(outcome.job.name, outcome.stopped) for outcome in outcomes] == [("waits", True), ("long", True)]
    assert not children()
    assert saved_nimg(jobs[0].run)


def test_a_process_that_cannot_be_started_is_an_error_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    def popen(*_: Any, **__: Any) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr(workers.subprocess, "Popen", popen)
    with pytest.raises(OSError, match="no more processes"):
        list(train_all([job("x")], quiet=True))


def test_what_a_process_leaves_behind_is_put_into_words(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_the_last_whole_line_says_how_far_a_run_is() -> None:
    run = job("x").run
    assert current_nimg(run) == 0
    run.path.mkdir(parents=True)
    long = json.dumps({"nimg": 80, "x": "y" * 70_000})
    (run.path / "stats.jsonl").write_text('{"nimg": 40}\n' + long + '\n{"nimg": 120}\n{"ni')
    assert current_nimg(run) == 120
    assert saved_nimg(run) is None


def test_a_run_that_is_just_being_freed_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
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
    ("error", "told"),
    [
        (GanvasError("No.", expected="yes", fix="say yes"), "No. Expected: yes Fix: say yes"),
        (KeyboardInterrupt(), "interrupted before its first state was saved; the same command trains it"),
        (MemoryError(), "There is not enough memory (MemoryError: )"),
        (RuntimeError("CUDA out of memory. Tried\nmuch"), "There is not enough memory (RuntimeError: CUDA out"),
        (KeyError("x"), "It crashed: KeyError: 'x'. The traceback is in runs/x/log.txt."),
    ],
)
def test_what_goes_wrong_becomes_a_line(error: BaseException, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(*_: object, **__: object) -> None:
        Path("runs/x").mkdir(parents=True)
        raise error

    monkeypatch.setattr(worker, "train", train)
    assert worker.run_job(job("x"), quiet=True).startswith(told)
    assert Path("runs/x/log.txt").exists() == isinstance(error, KeyError)
