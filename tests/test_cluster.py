"""A real Ray cluster of two machines on this one: a run survives the loss of its machine, and Ctrl-C saves."""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from support import tiny

from ganvas.comparison import cluster
from ganvas.comparison.jobs import saved_nimg
from ganvas.comparison.workers import Job, Outcome, train_all
from ganvas.config import replace
from ganvas.errors import GanvasError
from ganvas.runs import checkpoint
from ganvas.runs.folder import Run
from ganvas.runs.log import read_jsonl
from ganvas.training.start import train

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
    pytest.mark.filterwarnings("ignore::FutureWarning:ray"),
]


def job(name: str, **knobs: Any) -> Job:
    return Job(replace(tiny(), **knobs), "digits", Path("runs"), name)


@pytest.fixture(scope="module")
def machines() -> Iterator[Any]:
    """A head without room for runs, and two machines with room for one each."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    small = {"object_store_memory": 100 << 20, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})
    for _ in range(2):
        made.add_node(num_cpus=1, object_store_memory=100 << 20)
    yield made
    made.shutdown()


def machine_of(machines: Any, run: Run) -> Any:
    """The machine that trains a run: one of its processes holds the lock."""
    lock = str((run.path / ".lock").resolve())
    for node in machines.list_all_nodes():
        raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
        if any(file.path == lock for worker in raylet.children() for file in worker.open_files()):
            return node
    return None


def when(there: Callable[[], Any], then: Callable[[], Any]) -> threading.Thread:
    """A thread that does `then` once something is `there`."""

    def wait() -> None:
        deadline = time.monotonic() + 120
        while not there() and time.monotonic() < deadline:
            time.sleep(0.02)
        then()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


@pytest.mark.slow
def test_a_lost_machines_run_is_taken_up_by_another_and_ends_as_if_nothing_had_happened(
    machines: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    moved, run = job("moved", kimg=6.0, snapshot_kimg=0.4), Run(Path("runs/moved"))
    at = []

    def lose() -> None:
        at.append(saved_nimg(run))
        machines.remove_node(machine_of(machines, run), allow_graceful=False)

    loss = when(lambda: saved_nimg(run), lose)
    assert list(train_all([moved], ray=machines.address)) == [Outcome(moved, "")]
    loss.join()
    assert 0 < at[0] < 6000
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err == "[1/1] digits, seed 0 (runs/moved) is complete.\n"
    (resume,) = (line for line in read_jsonl(run.path / "events.jsonl") if line["event"] == "resume")
    assert at[0] <= resume["nimg"] < 6000
    undisturbed, _ = checkpoint.load(train(moved.config, name="undisturbed", quiet=True).state_file)
    for name, tensor in checkpoint.load(run.state_file)[0].items():
        assert torch.equal(tensor, undisturbed[name]), name
    assert not list(Path("runs").glob(".marker-*"))


@pytest.mark.slow
def test_ctrl_c_saves_what_runs_and_names_what_did_not_begin(machines: Any) -> None:
    jobs = [job(name, kimg=400.0, snapshot_kimg=0.4) for name in "abc"]  # more than there is room for
    begun = lambda: any(saved_nimg(one.run) for one in jobs)  # noqa: E731
    stop = when(begun, lambda: os.kill(os.getpid(), signal.SIGINT))
    outcomes = []
    with pytest.raises(KeyboardInterrupt, match="resumes from there"):
        outcomes.extend(train_all(jobs, ray=machines.address, quiet=True))
    stop.join()
    assert {outcome.job.name for outcome in outcomes} == set("abc")
    for outcome in outcomes:
        at = saved_nimg(outcome.job.run)
        if at is not None:
            assert outcome.problem == f"interrupted at {at / 1000:g} kimg; the same command resumes from there"
            events = list(read_jsonl(outcome.job.run.path / "events.jsonl"))
            assert events[-1]["event"] == "interrupted"
            assert events[-1]["nimg"] == at
        else:
            assert outcome.problem == "interrupted before it started; the same command trains it"
    assert "interrupted before it started; the same command trains it" in {outcome.problem for outcome in outcomes}


@pytest.mark.parametrize("address", ["nowhere", "localhost:0", "localhost:99999", "ray://:1"])
def test_an_address_where_no_cluster_is(address: str) -> None:
    pytest.importorskip("ray")
    with pytest.raises(GanvasError, match=r"No Ray cluster answers at .*\n.*ray start --head"):
        list(train_all([job("x")], ray=address))


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(GanvasError, match=r"pip install 'ganvas\[cluster\]'"):
        list(train_all([job("x")], ray="local"))


def test_a_machine_that_does_not_see_the_folder_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cluster, "_SIGHT", 0.0)
    told = cluster._run_remotely(job("x").to_json(), str(tmp_path / "elsewhere" / ".marker-1"))
    assert told.startswith(f"The machine {socket.gethostname()} does not have {tmp_path / 'elsewhere'}.")
    assert not Path("runs").exists()


def test_paths_mean_the_same_everywhere(write_images: Callable[..., Path]) -> None:
    data = write_images()
    sent = cluster._with_absolute_paths(job("x", data=data.name))
    assert sent.config.dataset.data == str(data)
    assert sent.out == Path.cwd() / "runs"
    assert cluster._with_absolute_paths(job("x")).config.dataset.data == "digits"
    assert Job.from_json(sent.to_json()) == sent
