"""Two Gloo ranks on the CPU, under torchrun, train like one process; also as two nodes; a failing rank ends the run.

What ranks do without torchrun where one fails is in test_ranks.py.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import rank_faults
import slow_training
import torch
from safetensors.torch import load_file
from support import Fork, run_cli, run_script_file, run_torchrun, tiny
from test_ranks import fork_ranks

from ganvas.config import replace, to_json
from ganvas.runs import checkpoint
from ganvas.runs.folder import Run
from ganvas.runs.log import read_jsonl
from ganvas.training.start import train

pytestmark = pytest.mark.slow


QUIET = {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
"""Without torchrun's own warnings."""


def torchrun(*arguments: str, ranks: int = 2, **environment: str) -> subprocess.CompletedProcess[str]:
    command = ["torchrun", "--standalone", f"--nproc-per-node={ranks}", *arguments]
    return Fork(command, run_torchrun, QUIET | environment).wait()


GRADIENTS = """
import json, os, sys, torch
from ganvas.config import TrainConfig, from_json
from ganvas.data import Batches, open_images
from ganvas.networks import Shape
from ganvas.training import distributed
from ganvas.training.state import TrainState
from safetensors.torch import save_file

config = from_json(TrainConfig, json.loads(sys.argv[1]))
images = open_images(config.dataset.options(), progress=False)
with distributed.process_group():
    state = TrainState.build(config, Shape(images.channels, *images.resolution), torch.device("cpu"))
    gradients = {}
    def keep(optimiser, network, lr, beta2):
        norm = distributed.average_gradients(network)
        side = "D" if network is state.game.D else "G"
        gradients.update({f"{side}/{n}": p.grad.clone().contiguous() for n, p in network.named_parameters()})
        optimiser.zero_grad()
        return norm
    state._step = keep
    ranks = {"rank": distributed.rank(), "world": distributed.world_size()}
    batches = Batches(images, batch=config.optimisation.batch, seed=0, mirror=True, **ranks)
    state.train_round([next(batches)], 0)
    save_file(gradients, f"{sys.argv[2]}-{distributed.rank()}.safetensors")
"""


UNEVEN = """
import json
import torch
from ganvas.training import distributed

with distributed.process_group():
    network = torch.nn.ModuleDict({name: torch.nn.Linear(1, 1, bias=False) for name in "abcd"})
    for name in ("ab", "bc")[distributed.rank()]:
        network[name](torch.ones(1, 1)).sum().backward()
    norm = distributed.average_gradients(network)
    found = [None if p.grad is None else p.grad.item() for p in network.parameters()]
    print(json.dumps({"gradients": found, "norm": float(norm)}))
"""


def test_gradients_of_layers_that_one_rank_alone_used_are_averaged_with_zero() -> None:
    """Packed without the others they had equal sizes, and each was averaged with that of another layer."""
    Path("uneven.py").write_text(UNEVEN)
    with fork_ranks([["uneven.py"]] * 2) as forks:
        for done in [fork.wait(60) for fork in forks]:
            assert done.returncode == 0, done.stderr
            found = json.loads(done.stdout)
            assert found["gradients"] == [0.5, 1.0, 0.5, None]
            assert found["norm"] == pytest.approx(1.5**0.5)


@pytest.mark.parametrize("family", [pytest.param("mlp", marks=pytest.mark.exhaustive), "cnn"])
def test_gradients_of_two_ranks_equal_one_process_with_both_penalties(
    family: str, write_images: Callable[..., Path]
) -> None:
    config = replace(tiny(write_images(40, 16, 16, 3), family=family), r1=1.0, r2=1.0, mirror=True)
    Path("gradients.py").write_text(GRADIENTS)
    arguments = ["gradients.py", json.dumps(to_json(config))]
    alone = Fork([*arguments, "one"], run_script_file).wait()
    assert alone.returncode == 0, alone.stderr
    with fork_ranks([[*arguments, "two"]] * 2) as both:
        for done in [rank.wait(60) for rank in both]:
            assert done.returncode == 0, done.stderr
    one, first, second = (load_file(f"{name}.safetensors") for name in ("one-0", "two-0", "two-1"))
    assert any(name.startswith("D/") for name in one)
    assert any(name.startswith("G/") for name in one)
    for name in one:
        assert torch.equal(first[name], second[name])
        assert (one[name] - first[name]).abs().max() < 1e-6, name
    # the bias of D's last layer cancels in a relativistic loss: its gradient is zero but for rounding
    zero = {name for name in one if one[name].abs().max() == 0}
    assert zero <= {"D/head.linear.bias"}


MOMENTS = """
import torch
from ganvas.config import replace
from ganvas.data import Batches, open_images
from ganvas.networks import Shape
from ganvas.recipes import get_recipe
from ganvas.runs import checkpoint
from ganvas.training import distributed, moment_fitting
from ganvas.training.state import TrainState
from safetensors.torch import save_file

small = {"latent": 4, "g_width": 4, "d_width": 8, "pixel_width": 4, "batch": 8, "features_net": "eye"}
config = replace(get_recipe("fast").config, kimg=0.04, **small)
moment_fitting.IMAGES, eigh = 48, torch.linalg.eigh

def eigh_of_another_processor(matrix):
    values, vectors = eigh(matrix)
    return values, -vectors

if distributed.rank():
    torch.linalg.eigh = eigh_of_another_processor
images = open_images(config.dataset.options(), progress=False)
with distributed.process_group():
    state = TrainState.build(config, Shape(1, 8, 8), torch.device("cpu"))
    moment_fitting.fit_moments(state, images, 0)
    batches = Batches(images, batch=8, seed=0, rank=distributed.rank(), world=distributed.world_size())
    for i in range(4):
        state.train_round([next(batches)], 8 * i)
    parts = {name: part for name, part in state.parts.items() if name in ("G", "moments")}
    tensors = checkpoint.named_tensors(parts)
    learnt = {f"G/{name}" for name, _ in state.game.G.named_parameters()}
    tensors = {name: t.contiguous() for name, t in tensors.items() if name in learnt or name.startswith("moments/")}
    save_file(tensors, f"rank-{distributed.rank()}.safetensors")
"""


def test_two_ranks_share_the_moments_of_their_fakes() -> None:
    """In the basis of the first: that of each could be another one."""
    Path("moments.py").write_text(MOMENTS)
    with fork_ranks([["moments.py"]] * 2) as both:
        for done in [rank.wait(60) for rank in both]:
            assert done.returncode == 0, done.stderr
    first, second = load_file("rank-0.safetensors"), load_file("rank-1.safetensors")
    assert any(name.startswith("G/") for name in first)
    assert all(torch.equal(first[name], second[name]) for name in first)
    mass = first["moments/groups.0.mass"]
    assert float(mass) == pytest.approx(4 * (1 - 0.9**4))  # each rank counts its four fakes


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Run]:
    """A command without a name, and the run that two ranks of one node have trained with it."""
    folder = tmp_path_factory.mktemp("two")
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), np.uint8)
    np.savez(folder / "data.npz", images=images)
    flags = ["-m", "ganvas", "train", "digits", "--data", str(folder / "data.npz"), "--kimg", "0.4", "--batch", "20",
             "--no-plot", "--objective", "non-saturating", "--tick-kimg", "0.1", "--snapshot-kimg", "0.2",
             "--device", "cpu", "--out", str(folder)]  # fmt: skip
    both = torchrun(*flags, "--name", "two", GANVAS_CACHE=str(folder))
    assert both.returncode == 0, both.stderr
    assert both.stderr.count("Done: 0.4 kimg") == 1, "only rank 0 writes"
    return flags, Run(folder / "two")


def test_two_ranks_train_and_resume_like_one_process(two_ranks: tuple[list[str], Run]) -> None:
    flags, two = two_ranks
    Path("command.py").write_text("from ganvas.cli import main\n\nmain()\n")
    with fork_ranks([["command.py", *flags[2:], "--name", "two"]] * 2) as both:
        again = [rank.wait(60) for rank in both]
    assert [done.returncode for done in again] == [0, 0], again
    assert "".join(done.stderr for done in again).count("is complete") == 1, "only rank 0 writes"
    run_cli(*flags[2:], "--name", "one")
    runs = [two.path.parent / "one", two.path]
    one_names, two_names = (sorted(p.name for p in run.rglob("*")) for run in runs)
    assert one_names == two_names
    for a, b in zip(*(list(read_jsonl(run / "stats.jsonl")) for run in runs), strict=True):
        assert a.keys() - {"signals"} == b.keys() - {"signals"}  # probes are timed: a slow machine makes fewer
        assert a["D/loss"]["num"] == b["D/loss"]["num"]
        assert a["D/loss"]["mean"] == pytest.approx(b["D/loss"]["mean"], rel=1e-3)
    one_state, two_state = (checkpoint.load(Run(run).state_file)[0] for run in runs)
    for name, tensor in one_state.items():
        assert torch.allclose(tensor, two_state[name], atol=1e-4), name


@pytest.mark.exhaustive
def test_two_ranks_with_a_frozen_network_resume_to_the_same_bits() -> None:
    config = replace(tiny(family="projected", r1=0.0, r2=0.0), moments=0.1, augment="translation", watch=False)
    for name, fault in (("whole", ""), ("parts", "exits on rank 1"), ("parts", "")):
        done = torchrun(rank_faults.__file__, json.dumps(to_json(config)), name, fault)
        assert (done.returncode == 0) == (not fault), done.stderr
    whole, parts = (checkpoint.load(Run(Path("runs") / name).state_file)[0] for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert any(name.startswith("moments/") for name in whole)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert [event["event"] for event in read_jsonl(Path("runs/parts/events.jsonl"))] == ["resume", "done"]


def torchrun_in(folder: Path, command: list[str]) -> None:
    """torchrun in a working folder of its own, as on a machine without a shared disk."""
    folder.mkdir(exist_ok=True)
    os.chdir(folder)
    run_torchrun(command)


def torchrun_on_two_nodes(*arguments: str, apart: bool = False) -> list[subprocess.CompletedProcess[str]]:
    """A torchrun with one process at each of two loopback addresses; each in a folder of its own, if `apart`."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    options = ["--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}"]
    nodes = [
        Fork(
            ["torchrun", *options, f"--local-addr=127.0.0.{node}", *arguments],
            partial(torchrun_in, Path(f"node{node}")) if apart else run_torchrun,
            QUIET,
        )
        for node in (1, 2)
    ]
    return [node.wait(120) for node in nodes]


def test_two_nodes_without_a_shared_disk_train_the_same_as_two_ranks_of_one_node(
    two_ranks: tuple[list[str], Run],
) -> None:
    (*flags, _), two = two_ranks  # without the folder of the runs
    nodes = torchrun_on_two_nodes(*flags, "runs", "--name", "nodes", apart=True)
    assert [node.returncode for node in nodes] == [0, 0], nodes
    assert "".join(node.stderr for node in nodes).count("Done: 0.4 kimg") == 1
    (path,) = Path.cwd().glob("node*/runs")  # of rank 0
    ours, theirs = (checkpoint.load(run.state_file)[0] for run in (Run(path / "nodes"), two))
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert torch.equal(ours[name], tensor), name


@pytest.mark.exhaustive
def test_death_on_one_node_ends_the_other() -> None:
    config = json.dumps(to_json(tiny()))
    nodes = torchrun_on_two_nodes(rank_faults.__file__, config, "x", "exits on rank 1")
    assert all(node.returncode for node in nodes), nodes
    assert "".join(node.stderr for node in nodes).count("has ended without a message, so rank 0 stops too") == 1
    assert checkpoint.load(Run(Path("runs/x")).state_file)[1]["nimg"] == 100


def test_error_on_rank_0_ends_all_ranks_without_a_traceback(write_images: Callable[..., Path]) -> None:
    flags = ["-m", "ganvas", "train", "digits", "--kimg", "0.2", "--name", "x", "--no-plot", "--device", "cpu"]
    train(tiny(), name="x", quiet=True)
    refused = torchrun(*flags)
    assert refused.returncode != 0
    assert "has another configuration" in refused.stderr
    assert refused.stderr.count("has another configuration") == 1
    assert "ganvas/training" not in refused.stderr, "a traceback of Ganvas"


def test_dead_rank_ends_the_run_with_a_message_and_a_usable_state() -> None:
    died = torchrun(rank_faults.__file__, json.dumps(to_json(tiny())), "x", "exits on rank 1")
    assert died.returncode != 0
    assert died.stderr.count("ganvas: Another process of this run has ended without a message, so rank 0 stops") == 1
    assert "Stopping" not in died.stderr, "nothing is saved after the death"
    assert checkpoint.load(Path("runs/x/state/latest.safetensors"))[1]["nimg"] == 100


@pytest.mark.exhaustive
def test_two_ranks_cancel_a_slow_round_together_and_repeat_it() -> None:
    config = replace(
        tiny(family="dcgan", r1=0.0, r2=0.0), microbatch=2, d_steps=2, snapshot_kimg=100.0, tick_kimg=100.0
    )
    script = [slow_training.__file__, json.dumps(to_json(config))]
    run = Run(Path("runs/parts"))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    process = subprocess.Popen([*command, *script, "parts", "0.05"], stderr=subprocess.PIPE, text=True, env=env)
    deadline = time.monotonic() + 120
    while not run.state_file.exists():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    time.sleep(1.0)
    requested = time.monotonic()
    process.send_signal(signal.SIGTERM)  # torchrun passes it on
    _, errors = process.communicate(timeout=60)
    assert time.monotonic() - requested < 10, errors
    assert errors.count("Stopping: the state is saved first.") == 1, errors
    assert errors.count("stopped at 0 kimg") == 2, "one of each rank"
    for name in ("parts", "whole"):
        done = torchrun(*script, name, "0")
        assert done.returncode == 0, done.stderr
    assert [event["event"] for event in read_jsonl(run.path / "events.jsonl")] == ["interrupted", "resume", "done"]
    ours, theirs = (checkpoint.load(Run(Path("runs") / name).state_file)[0] for name in ("parts", "whole"))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
