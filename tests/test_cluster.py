"""A real Ray cluster of two nodes on this machine: a run survives the loss of its node, and Ctrl-C saves."""

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
from ganvas.comparison.workers import Job, Outcome, check_gpu_share, train_all
from ganvas.config import TrainConfig, replace
from ganvas.config.families import Projected
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
    """A head node without CPUs for runs, and two nodes with a CPU and a GPU, which is only declared, for a run each."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    small = {"object_store_memory": 100 << 20, "include_dashboard": False}
    ray_cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})
    for _ in range(2):
        ray_cluster.add_node(num_cpus=1, num_gpus=1, object_store_memory=100 << 20)
    yield ray_cluster
    ray_cluster.shutdown()


def machine_of(machines: Any, run: Run) -> Any:
    """The node that trains a run: one of its processes holds the lock."""
    lock = str((run.path / ".lock").resolve())
    for node in machines.list_all_nodes():
        raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
        if any(file.path == lock for worker in raylet.children() for file in worker.open_files()):
            return node
    return None


def start_when(condition: Callable[[], Any], action: Callable[[], Any]) -> threading.Thread:
    """A thread that calls `action` once `condition` is true."""

    def wait() -> None:
        deadline = time.monotonic() + 120
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.02)
        action()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


@pytest.mark.exhaustive
def test_run_of_a_lost_machine_resumes_on_another_and_equals_an_undisturbed_run(
    machines: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    moved, run = job("moved", kimg=6.0, snapshot_kimg=0.4), Run(Path("runs/moved"))
    at = []

    def remove_machine() -> None:
        at.append(saved_nimg(run))
        machines.remove_node(machine_of(machines, run), allow_graceful=False)

    removal = start_when(lambda: saved_nimg(run), remove_machine)
    assert list(train_all([moved], ray=machines.address)) == [Outcome(moved, "")]
    removal.join()
    assert 0 < at[0] < 6000
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err == "[1/1] digits, seed 0 (runs/moved) is complete.\n"
    (resume,) = (line for line in read_jsonl(run.path / "events.jsonl") if line["event"] == "resume")
    assert at[0] <= resume["nimg"] < 6000
    undisturbed, _ = checkpoint.load(train(moved.config, name="undisturbed", quiet=True).state_file)
    for name, tensor in checkpoint.load(run.state_file)[0].items():
        assert torch.equal(tensor, undisturbed[name]), name
    assert not list(Path("runs").glob(".marker-*"))


@pytest.mark.slow
def test_ctrl_c_saves_started_runs_and_names_the_others(machines: Any) -> None:
    jobs = [job(name, kimg=4000.0, snapshot_kimg=0.4) for name in "abc"]  # more than the two nodes can run at once
    started = lambda: any(saved_nimg(one.run) for one in jobs)  # noqa: E731
    stop = start_when(started, lambda: os.kill(os.getpid(), signal.SIGINT))
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
            began = outcome.job.run.path.exists()  # on a busy machine the second one may not have saved yet
            when = "its first state was saved" if began else "it started"
            assert outcome.problem == f"interrupted before {when}; the same command trains it"
    assert "interrupted before it started; the same command trains it" in {outcome.problem for outcome in outcomes}


@pytest.mark.slow
def test_training_takes_its_share_of_a_gpu(machines: Any) -> None:
    import ray

    taken: list[float] = []

    def watch_resources() -> None:
        deadline = time.monotonic() + 60
        while not any(taken) and time.monotonic() < deadline:
            taken.append(ray.cluster_resources()["GPU"] - ray.available_resources().get("GPU", 0.0))
            time.sleep(0.05)

    shares = job("shares", kimg=1.0, device="auto")
    outcomes = train_all([shares], ray=machines.address, gpus_per_run=0.25, quiet=True, meanwhile=watch_resources)
    assert list(outcomes) == [Outcome(shares, "")]
    assert taken[-1] == 0.25


@pytest.mark.parametrize(
    ("gpus", "device", "asked"),
    [(2.0, "auto", 0.5), (2.0, "cuda", 0.5), (2.0, "cpu", 0), (0.0, "auto", 0), (None, "cuda", 0)],
)
def test_training_asks_for_a_gpu_where_there_is_one(gpus: float | None, device: str, asked: float) -> None:
    there = {"CPU": 4.0} | ({} if gpus is None else {"GPU": gpus})
    found = cluster._resources(job("x", device=device), there, gpus_per_run=0.5)
    assert found == {"num_cpus": 1, "num_gpus": asked}


def test_share_of_a_gpu_is_refused_without_a_cluster_or_above_one() -> None:
    assert check_gpu_share(1, None) == 1.0
    assert check_gpu_share(0.25, "auto") == 0.25
    with pytest.raises(GanvasError, match="--gpus-per-run was given without --ray"):
        check_gpu_share(0.5, None)
    for wrong in (0, 2, float("nan"), "half"):
        with pytest.raises(GanvasError, match="--gpus-per-run is"):
            check_gpu_share(wrong, "auto")


@pytest.mark.parametrize("address", ["nowhere", "localhost:0", "localhost:99999", "ray://:1"])
def test_address_without_a_cluster_is_refused(address: str) -> None:
    pytest.importorskip("ray")
    with pytest.raises(GanvasError, match=r"No Ray cluster answers at .*\n.*ray start --head"):
        list(train_all([job("x")], ray=address))


def test_missing_ray_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(GanvasError, match=r"pip install 'ganvas\[cluster\]'"):
        list(train_all([job("x")], ray="local"))


def test_machine_without_the_shared_folder_reports_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cluster, "_VISIBILITY_TIMEOUT", 0.0)
    message = cluster._run_remotely(job("x").to_json(), str(tmp_path / "elsewhere" / ".marker-1"))
    assert message.startswith(f"The machine {socket.gethostname()} does not have {tmp_path / 'elsewhere'}.")
    assert not Path("runs").exists()


def test_jobs_are_sent_with_absolute_paths(write_images: Callable[..., Path]) -> None:
    data = write_images()
    sent = cluster._with_absolute_paths(job("x", data=data.name))
    assert sent.config.dataset.data == str(data)
    assert sent.out == Path.cwd() / "runs"
    assert cluster._with_absolute_paths(job("x")).config.dataset.data == "digits"
    assert Job.from_json(sent.to_json()) == sent


def test_jobs_are_sent_with_the_absolute_paths_of_code_and_of_an_earlier_run() -> None:
    Path("first").mkdir()
    fast = replace(
        TrainConfig(network=Projected(features_net="own.py:net")), init_from="first", log_to="wandb,own.py:T"
    )
    sent = cluster._with_absolute_paths(Job(fast, "fast", Path("runs"), "x")).config
    own = Path.cwd() / "own.py"
    assert isinstance(sent.network, Projected)
    assert sent.network.features_net == f"{own}:net"
    assert sent.transfer.init_from == str(Path.cwd() / "first")
    assert sent.runtime.log_to == f"wandb,{own}:T"
    elsewhere = job("x", init_from="pretrained:digits28")
    assert cluster._with_absolute_paths(elsewhere).config.transfer.init_from == "pretrained:digits28"
