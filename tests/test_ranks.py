"""Several ranks without torchrun, as on several machines: one that is slow, fails or dies; other world sizes.

Nothing ends the other ranks where one fails: they must notice it themselves.
"""

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from subprocess import CompletedProcess
from types import SimpleNamespace

import pytest
import rank_faults
import torch
from support import Fork, run_script_file, tiny

from ganvas.config import TrainConfig, replace, to_json
from ganvas.environment import usable_cores
from ganvas.errors import GanvasError
from ganvas.runs import checkpoint
from ganvas.runs.folder import Run
from ganvas.runs.log import read_jsonl
from ganvas.training import distributed, launch, start
from ganvas.training.start import train

pytestmark = pytest.mark.slow

CONFIG = tiny(kimg=0.2)
RUN = Run(Path("runs/x"))
SECONDS = 20
"""Within which every rank ends that waits for one that failed; torchrun kills them after 30."""


@contextlib.contextmanager
def ranks(configs: Sequence[TrainConfig], faults: Sequence[str] = (), **environment: str) -> Iterator[list[Fork]]:
    """A training process for each configuration, with its fault."""
    commands = [
        [rank_faults.__file__, json.dumps(to_json(config)), "x", *faults[rank : rank + 1]]
        for rank, config in enumerate(configs)
    ]
    with fork_ranks(commands, **environment) as forks:
        yield forks


@contextlib.contextmanager
def fork_ranks(commands: Sequence[list[str]], **environment: str) -> Iterator[list[Fork]]:
    """A process for each script; the store of the rendezvous is here, as that of torchrun is in its agent."""
    store = torch.distributed.TCPStore(  # pyright: ignore[reportPrivateImportUsage]
        "127.0.0.1", 0, is_master=True, wait_for_workers=False
    )
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "TORCHELASTIC_USE_AGENT_STORE": "True"}
    shared |= {"WORLD_SIZE": str(len(commands)), **environment}
    forks = [Fork(command, run_script_file, {**shared, "RANK": str(rank)}) for rank, command in enumerate(commands)]
    try:
        yield forks
    finally:
        for fork in forks:
            fork.process.kill()
        del store


def train_ranks(
    configs: Sequence[TrainConfig], faults: Sequence[str] = (), **environment: str
) -> list[CompletedProcess]:
    with ranks(configs, faults, **environment) as forks:
        return [fork.wait(SECONDS) for fork in forks]


def finish(world: int) -> None:
    for rank, done in enumerate(train_ranks([CONFIG] * world)):
        assert done.returncode == 0, (rank, done.stderr)


def saved_state(run: Run = RUN) -> tuple[dict[str, torch.Tensor], int]:
    tensors, metadata = checkpoint.load(run.state_file)
    return tensors, metadata["nimg"]


def test_saved_signs_of_ada_are_those_of_all_ranks() -> None:
    """Ten updates of 20 images, two of them after the last adjustment; a resumed run gives the signs to every rank."""
    for done in train_ranks([replace(CONFIG, objective="hinge", augment="ada", ada_target=0.6)] * 2):
        assert done.returncode == 0, done.stderr
    tensors, nimg = saved_state()
    assert nimg == 200
    (signs,) = (tensor for name, tensor in tensors.items() if name.endswith("signs"))
    assert signs[1] == 40


@pytest.fixture
def _own_signals() -> Iterator[None]:
    """Where this process itself loses the others, it ignores SIGTERM from then on."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """The last state of two ranks."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with contextlib.chdir(folder):
        for done in train_ranks([CONFIG] * 2, GANVAS_CACHE=str(folder)):
            assert done.returncode == 0, done.stderr
    return saved_state(Run(folder / "runs/x"))[0]


def test_slow_rank_is_waited_for_without_a_word(undisturbed: dict[str, torch.Tensor]) -> None:
    first, second = train_ranks([CONFIG] * 2, ["", "slow"])
    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    assert "Done: 0.2 kimg" in first.stderr
    assert "ganvas:" not in first.stderr
    assert second.stderr == ""
    for name, tensor in saved_state()[0].items():
        assert torch.equal(tensor, undisturbed[name]), name


def test_run_that_lost_a_rank_goes_on_with_one_process_and_ends_with_two(undisturbed: dict[str, torch.Tensor]) -> None:
    first, second = train_ranks([CONFIG] * 2, ["", "exits"])
    assert (first.returncode, second.returncode) == (1, 7)
    assert "Another process of this run has ended without a message, so rank 0 stops too (" in first.stderr
    assert "Fix: the same command resumes from the last saved state." in first.stderr
    assert "Stopping" not in first.stderr
    assert "Traceback" not in first.stderr
    assert saved_state()[1] == 100
    (alone,) = train_ranks([CONFIG], ["terminated"])
    assert alone.returncode == 130, alone.stderr
    assert saved_state()[1] == 160
    finish(2)
    tensors, nimg = saved_state()
    assert nimg == 200
    assert tensors.keys() == undisturbed.keys()
    for network in ("D/", "G/"):  # Adam moves a parameter whose gradient is nearly 0 by the sign of a rounding error
        ours, theirs = (
            torch.cat([of[name].flatten() for name in tensors if name.startswith(network)])
            for of in (tensors, undisturbed)
        )
        assert (ours - theirs).norm() <= 1e-3 * theirs.norm()
    events = [event["event"] for event in read_jsonl(RUN.path / "events.jsonl")]
    assert [event for event in events if not event.startswith("diagnosis")] == [
        "resume", "interrupted", "resume", "done"
    ]  # fmt: skip


@pytest.mark.parametrize("rank", [0, 1])
def test_rank_without_memory_ends_all_and_tells_them_why(rank: int) -> None:
    faults = ["", ""]
    faults[rank] = "no memory"
    done = train_ranks([CONFIG] * 2, faults)
    failed, other = done[rank], done[1 - rank]
    assert (failed.returncode, other.returncode) == (1, 1)
    message = "The GPU has no memory left with 10 images at a time (CUDA out of memory. Tried to allocate 2.00 GiB)"
    assert ("ganvas: rank 1: " if rank else "ganvas: ") + message in failed.stderr
    assert f"Rank {rank}, on " in other.stderr
    assert f"has ended, so rank {1 - rank} stops too. It said: {message}" in other.stderr
    assert "--microbatch 5" in other.stderr
    assert "Traceback" not in failed.stderr + other.stderr
    assert saved_state()[1] == 100
    finish(2)


def test_rank_without_memory_for_its_images_says_so() -> None:
    first, second = train_ranks([CONFIG] * 2, ["", "no memory early"])
    assert (first.returncode, second.returncode) == (1, 1)
    assert "ganvas: rank 1: There is not enough memory (" in second.stderr
    assert "Rank 1, on " in first.stderr
    assert "--microbatch" in first.stderr


@pytest.mark.parametrize("rank", [0, pytest.param(1, marks=pytest.mark.exhaustive)])
def test_death_before_the_first_round_is_noticed(rank: int) -> None:
    faults = ["", ""]
    faults[rank] = "killed early"
    done = train_ranks([CONFIG] * 2, faults)
    assert done[rank].returncode == -9
    assert done[1 - rank].returncode == 1
    assert "Another process of this run has ended without a message" in done[1 - rank].stderr
    assert not RUN.path.exists()


@pytest.mark.exhaustive
@pytest.mark.parametrize("fault", ["exits", "killed"])
def test_death_of_the_main_rank_ends_the_others(fault: str) -> None:
    first, second = train_ranks([CONFIG] * 2, [fault, ""])
    assert first.returncode in (7, -9)
    assert second.returncode == 1
    assert "ganvas: rank 1: Another process of this run has ended without a message, so rank 1 stops" in second.stderr
    assert saved_state()[1] == 100
    finish(2)


@pytest.mark.exhaustive
def test_defect_in_one_rank_is_told_to_the_other() -> None:
    first, second = train_ranks([CONFIG] * 2, ["", "defect"])
    assert (first.returncode, second.returncode) == (1, 1)
    assert "It said: division by zero\nFix: the same command resumes" in first.stderr
    assert "ZeroDivisionError" in second.stderr


def test_request_to_stop_one_rank_stops_all_and_saves() -> None:
    first, second = train_ranks([CONFIG] * 2, ["", "terminated"])
    assert (first.returncode, second.returncode) == (130, 130), first.stderr
    assert first.stderr.count("Stopping: the state is saved first.") == 1
    assert "stopped at 0.16 kimg; the same command resumes from there" in first.stderr
    assert saved_state()[1] == 160


def test_stopped_ranks_wait_until_the_main_one_has_written_all() -> None:
    """torchrun kills what is left half a minute after the first process that was interrupted."""
    with ranks([CONFIG] * 2, ["slow end", "terminated"]) as (first, second):
        assert second.wait(SECONDS).returncode == 130
        assert Path("finished").exists()
        ended = first.wait(SECONDS)
    assert ended.returncode == 130
    assert "Stopping: the state is saved first. The state of 0.1 kimg stays intact." in ended.stderr


def test_rank_that_does_not_answer_is_not_waited_for_for_ever() -> None:
    with ranks([CONFIG] * 2, ["impatient", "silent"]) as (first, second):
        done = first.wait(SECONDS)
        second.process.kill()
        second.wait()
    assert done.returncode == 1
    assert "Another process of this run has not answered for too long, so rank 0 stops" in done.stderr
    assert "look at that machine" in done.stderr


def test_rank_without_the_data_is_not_waited_for() -> None:
    first, second = train_ranks([CONFIG, replace(CONFIG, data="absent.zip")])
    assert (first.returncode, second.returncode) == (1, 1)
    assert "ganvas: rank 1: " in second.stderr
    assert "Rank 1, on " in first.stderr
    assert "absent.zip" in first.stderr
    assert not RUN.path.exists()


@pytest.mark.parametrize(
    ("knobs", "told"),
    [
        ({"batch": 10}, "--batch than rank 0: 10 instead of 20"),
        ({"data": "digits28"}, "set of images than rank 0"),
    ],
    ids=lambda part: " ".join(part) if isinstance(part, dict) else "",
)
def test_rank_with_another_command_is_refused(knobs: dict[str, object], told: str) -> None:
    first, second = train_ranks([CONFIG, replace(CONFIG, **knobs)])
    assert (first.returncode, second.returncode) == (1, 1)
    assert f"Rank 1 has another {told}" in second.stderr
    assert told in first.stderr
    assert not RUN.path.exists()


def test_own_code_of_another_content_is_another_setting() -> None:
    file, images = Path("own.py"), SimpleNamespace(fingerprint="x")
    file.write_text("def brighten(images):\n    return images\n")
    config = replace(CONFIG, augment="own.py:brighten")
    first = start._shared_settings(config, images)  # type: ignore[arg-type]
    assert first == start._shared_settings(config, images)  # type: ignore[arg-type]
    file.write_text("def brighten(images):\n    return images + 0.1\n")
    second = start._shared_settings(config, images)  # type: ignore[arg-type]
    assert [name for name in first if first[name] != second[name]] == ["content of own.py"]


def test_setting_that_another_version_has_is_refused_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "run_on_main", lambda function: {**function(), "--new-knob": 1})
    with pytest.raises(GanvasError, match="another --new-knob than rank 0: None instead of 1"):
        distributed._check_settings({"version of Ganvas": "1"})


def test_dry_run_of_several_processes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(GanvasError, match=r"A dry run is one process\.(.|\n)*leave torchrun out"):
        start.plan(CONFIG)


def test_gpus_on_some_machines_only_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(torch.distributed, "monitored_barrier", lambda timeout: None)
    monkeypatch.setattr(distributed, "all_reduce_any", lambda *flags: [True, True])
    with (
        pytest.raises(GanvasError, match="Rank 0 computes on cpu, and other processes of this run do not"),
        distributed.gradient_group(torch.device("cpu"), {}),
    ):
        pass


@pytest.mark.parametrize("given", ["cuda:0", "cuda:1"])
def test_one_gpu_for_several_processes_of_a_machine_is_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = []
    monkeypatch.setattr(distributed, "select_device", lambda name: chosen.append(name) or torch.device("cpu"))
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(GanvasError, match=f"--device {given} is one GPU, and 2 processes") as caught:
        distributed.local_device(given)
    assert "--device cuda;" in caught.value.fix
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")  # two machines with a process each
    distributed.local_device(given)
    assert chosen == [given]


@pytest.mark.parametrize("fails", [False, True])
def test_gradients_go_over_nccl_between_gpus_which_is_aborted_after_a_failure(
    fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is called, in place of two GPUs."""
    calls = []
    group = SimpleNamespace(abort=lambda: calls.append("abort"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(torch.distributed, "monitored_barrier", lambda timeout: None)
    monkeypatch.setattr(torch.distributed, "new_group", lambda backend, timeout: calls.append(backend) or group)
    monkeypatch.setattr(torch.distributed, "destroy_process_group", lambda one: calls.append(one))
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor, group: calls.append(group))
    monkeypatch.setattr(distributed, "all_reduce_any", lambda *flags: list(flags))
    monkeypatch.setattr(distributed, "run_on_main", lambda function: function())
    with (
        pytest.raises(GanvasError, match="full") if fails else contextlib.nullcontext(),
        distributed.gradient_group(torch.device("cuda:0"), {"--batch": 20}),
    ):
        distributed.all_reduce_sum([torch.ones(1)])
        if fails:
            raise GanvasError("The disk is full.")
    assert calls == ["nccl", group, "abort" if fails else group]
    assert distributed._gradient_group is None


def test_environment_without_an_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(GanvasError, match=r"WORLD_SIZE is 2, but .*\n.*\n.*torchrun"):
        train(CONFIG, quiet=True)


@pytest.mark.usefixtures("_own_signals")
def test_unreachable_processes_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "9"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(distributed, "TIMEOUT", timedelta(seconds=1))
    began = time.monotonic()
    with pytest.raises(GanvasError, match=r"Rank 1 found no connection(.|\n)*GLOO_SOCKET_IFNAME"):
        train(CONFIG, quiet=True)
    assert time.monotonic() - began < SECONDS


@pytest.mark.parametrize(
    ("status", "result", "said"),
    [
        (-9, 1, "Rank 1 was ended by SIGKILL, most likely by the system because memory ran out."),
        (-11, 1, "Rank 1 was ended by SIGSEGV."),
        (130, 130, ""),
        (1, 1, ""),
    ],
)
def test_launcher_names_a_rank_that_was_killed(
    status: int, result: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

    def fail(arguments: list[str]) -> None:
        raise ChildFailedError("ganvas", {1: ProcessFailure(1, os.getpid(), status, "")})

    monkeypatch.setattr("torch.distributed.run.main", fail)
    assert launch.main(["2", "train"]) == result
    assert capsys.readouterr().err == (f"ganvas: {said}\n" if said else "")


@pytest.mark.parametrize(
    ("later", "said"), [(30, ""), (-2, "ganvas: Rank 0 was ended by SIGKILL"), (0, "ganvas: Rank 0")]
)
def test_launcher_names_a_rank_that_was_killed_before_the_others_failed_but_none_that_torchrun_killed(
    later: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

    failures = {rank: ProcessFailure(rank, os.getpid(), status, "") for rank, status in ((0, -9), (1, 1))}
    failures[0].timestamp = failures[1].timestamp + later

    def fail(arguments: list[str]) -> None:
        raise ChildFailedError("ganvas", failures)

    monkeypatch.setattr("torch.distributed.run.main", fail)
    assert launch.main(["2", "train"]) == 1
    told = capsys.readouterr().err
    assert told.startswith(said)
    assert bool(told) is bool(said)


@pytest.mark.parametrize(("ignored", "handled"), [(True, ["--signals-to-handle=SIGTERM,SIGINT,SIGQUIT"]), (False, [])])
def test_launcher_has_torchrun_wait_for_the_saving_and_keeps_nohup(
    ignored: bool, handled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "")  # restored afterwards
        monkeypatch.delenv(name)
    seen: dict[str, str] = {}
    given: list[str] = []

    def keep(arguments: list[str]) -> None:
        seen.update(os.environ)
        given.extend(arguments)

    monkeypatch.setattr("torch.distributed.run.main", keep)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        assert launch.main(["2", "train"]) == 0
    finally:
        signal.signal(signal.SIGHUP, before)
    assert seen["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] == str(launch.SECONDS_TO_SAVE)
    assert [one for one in given if one.startswith("--signals")] == handled
    assert int(seen["OMP_NUM_THREADS"]) == max(1, usable_cores() // 2)
