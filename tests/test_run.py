"""The training loop and the run folder: exact resuming, interruption without loss, and errors."""

import json
import multiprocessing
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slow_training
import torch
from safetensors.torch import load_file
from support import BATCH_NORM_IN_D, NARROW, Fork, run_cli, run_script_file, tiny

import ganvas as ganvas_package
from ganvas import environment
from ganvas.cli import main
from ganvas.config import TrainConfig, replace, to_json
from ganvas.data import to_unit
from ganvas.errors import GanvasError
from ganvas.networks import Shape
from ganvas.runs import checkpoint, snapshot
from ganvas.runs.folder import Run
from ganvas.runs.log import read_jsonl
from ganvas.training.start import plan, train
from ganvas.training.state import TrainState
from ganvas.training.stats import Stats

CPU = torch.device("cpu")


def lines(run: Run) -> list[dict[str, object]]:
    """stats.jsonl without what depends on the clock: under --on-failure warn, probes run as time allows."""
    return [
        {k: v for k, v in line.items() if k not in ("kimg_per_s", "seconds", "memory", "signals", "quality", "best")}
        for line in read_jsonl(run.path / "stats.jsonl")
    ]


def weights(run: Run) -> dict[str, torch.Tensor]:
    return checkpoint.load(run.state_file)[0]


def assert_same_run(one: Run, two: Run) -> None:
    assert lines(one) == lines(two)
    a, b = weights(one), weights(two)
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name
    assert [p.name for p in one.snapshots] == [p.name for p in two.snapshots]
    for p, q in zip(one.snapshots, two.snapshots, strict=True):
        assert (p / "G.safetensors").read_bytes() == (q / "G.safetensors").read_bytes()


def assert_same_state(one: TrainState, two: TrainState) -> None:
    a, b = checkpoint.named_tensors(one.parts), checkpoint.named_tensors(two.parts)
    assert a.keys() == b.keys()
    assert {name.split("/")[0] for name in a} == one.parts.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


RESUMED: list[tuple[str, dict[str, Any]]] = [
    *((family, {}) for family in NARROW),
    ("cnn", {"shared_fakes": False}),
    ("cnn", {"optimiser": "rmsprop", "clip": 0.01, "r1": 0.0, "r2": 0.0}),
    ("cnn", {"microbatch": 7, "noise": "0.2..0", "spectral_norm": True}),
    ("cnn", {"d_steps": 2, "g_steps": 2, "gp": 10.0}),
    ("cnn", {"loss_change": 1.0}),
    ("cnn", {"objective": "hinge", "augment": "ada", "ada_target": 0.6, "ada_kimg": 0.2}),
    ("mlp", {"dropout": 0.5, "dragan": 10.0}),
    ("stylegan", {"growth": "0..1"}),  # in the middle of a fade
]


@pytest.mark.parametrize(("family", "knobs"), RESUMED, ids=lambda v: v if isinstance(v, str) else "-".join(v))
def test_resumed_state_equals_uninterrupted_state_bit_for_bit(family: str, knobs: dict[str, Any]) -> None:
    """Compares the whole state: weights, average, moments, controllers. With mirroring, labels and a lazy penalty."""
    unpenalised: dict[str, Any] = {"r1": 0.0, "r2": 0.0} if family in BATCH_NORM_IN_D else {}
    config = replace(tiny(family=family, **unpenalised), conditional=True, mirror=True, penalty_every=2, **knobs)
    # in rounds; ADA changes p after the fourth and the eighth, and the last stage is faded in after the sixth
    total, middle = (8, 5) if {"ada_target", "growth"} & knobs.keys() else (5, 3)
    steps = config.balance.d_steps
    images = torch.randint(0, 256, (total, steps, 20, 3, 12, 10), dtype=torch.uint8)
    labels = torch.randint(0, 3, (total, steps, 20))
    shape = Shape(3, 12, 10, 3)

    def train_rounds(state: TrainState, rounds: range) -> TrainState:
        for i in rounds:
            state.train_round(list(zip(images[i], labels[i], strict=True)), config.images_per_round * i)
        return state

    uninterrupted = train_rounds(TrainState.build(config, shape, CPU), range(total))
    first = train_rounds(TrainState.build(config, shape, CPU), range(middle))
    recovery = {"done": 0, "since": 0, "best": 1e9, "changes": {}}
    saved = {"nimg": 40, "seconds": 1.5, "recovery": recovery}
    checkpoint.save(Path("state/x.safetensors"), first.parts, saved)
    tensors, facts = checkpoint.load(Path("state/x.safetensors"))
    second = TrainState.build(replace(config, seed=99), shape, CPU)  # other weights, overwritten below
    second.reconfigure(config)
    checkpoint.restore(second.parts, tensors)
    train_rounds(second, range(middle, total))

    assert facts == saved
    assert_same_state(uninterrupted, second)


def test_run_writes_all_its_files() -> None:
    run = train(replace(tiny(), plot=True), recipe="digits", quiet=True)
    names = {p.name for p in run.path.iterdir()} - {".lock"}
    assert names == {
        "config.json", "log.txt", "stats.jsonl", "events.jsonl", "reals.png", "losses.png", "state", "snapshots",
        "fakes000000.png", "fakes000000.100.png", "fakes000000.200.png", "training.webp",
    }  # fmt: skip
    assert run.path.name == "00000-digits-digits"
    assert run.config == replace(tiny(), plot=True)
    assert run.metadata["data"]["images"] == 1400
    assert lines(run)[-1]["nimg"] == 200
    quantities = {"D/loss", "G/loss", "D/real", "D/fake", "D/r1", "D/r2", "D/gradient", "G/gradient", "D/lr", "G/lr"}
    assert quantities <= lines(run)[-1].keys()
    (done,) = read_jsonl(run.path / "events.jsonl")
    assert done["event"] == "done"
    assert 50e6 < done["peak_bytes"] < 50e9
    assert re.fullmatch(r"1 × cpu: .+, \d+ cores", done["device"])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_peak_memory_is_that_of_the_process_and_not_of_the_one_that_started_it() -> None:
    peak = "import torch; from ganvas.training import memory; print(memory.peak_bytes(torch.device('cpu')))"
    large = "import os, sys; data = b'x' * 600_000_000; os.execv(sys.executable, [sys.executable, '-c', sys.argv[1]])"
    done = subprocess.run([sys.executable, "-c", large, peak], capture_output=True, text=True, check=True, timeout=300)
    assert 20e6 < int(done.stdout) < 500e6


def test_repeated_command_leaves_a_finished_run_unchanged() -> None:
    run = train(tiny(), quiet=True)
    before = run.state_file.stat().st_mtime_ns
    assert train(tiny(), quiet=True).path == run.path
    assert run.state_file.stat().st_mtime_ns == before
    assert train(tiny(), quiet=True, new=True).path.name.startswith("00001-")
    assert train(replace(tiny(), seed=1), quiet=True).path.name.startswith("00002-")


@pytest.mark.slow
def test_new_run_logs_how_it_differs_from_an_unfinished_one() -> None:
    long = replace(tiny(kimg=40.0))
    process = start_training(long, "first")
    wait_for(Path("runs/first/stats.jsonl"), process)
    process.send_signal(signal.SIGINT)
    process.wait(60)
    log = (train(replace(tiny(), batch=10), recipe="config", quiet=True).path / "log.txt").read_text()
    assert "runs/first is unfinished: kimg is 40.0 there and 0.2 here; batch is 20 there and 10 here" in log
    again = train(replace(tiny(), batch=5), name="third", recipe="config", quiet=True)
    assert "runs/first is unfinished" in (again.path / "log.txt").read_text(), "the finished run is ignored"


def test_another_configuration_of_a_named_run_is_refused() -> None:
    run = train(tiny(), name="mine", quiet=True)
    assert run.path == Path("runs/mine")
    with pytest.raises(GanvasError, match=r"batch is 20 there and 10 here.*beta1 is 0.0 there and 0.5 here"):
        train(replace(tiny(), batch=10, beta1=0.5), name="mine", quiet=True)
    with pytest.raises(GanvasError, match=r"kimg may grow only where .*: g_lr\)"):
        train(replace(tiny(), kimg=0.3), name="mine", quiet=True)
    train(replace(tiny(), tick_kimg=0.02, snapshot_kimg=0.05), name="mine", quiet=True)  # runtime knobs may change


def test_extended_run_equals_a_long_run_without_schedules() -> None:
    constant = replace(tiny(), g_lr=1e-3)
    long = replace(constant, kimg=0.4)
    train(constant, name="grown", quiet=True)
    assert_same_run(train(long, name="grown", quiet=True), train(long, name="long", quiet=True))


@pytest.mark.slow
def test_extended_length_is_stored_in_the_run() -> None:
    train(replace(tiny(), g_lr=1e-3), name="grown", quiet=True)
    process = start_training(replace(tiny(), g_lr=1e-3, kimg=40.0), "grown")
    wait_for_more(Path("runs/grown/stats.jsonl"), process)
    process.send_signal(signal.SIGINT)
    process.wait(60)
    run = Run(Path("runs/grown"))
    assert run.config.kimg == 40.0
    assert 0.2 < list(read_jsonl(run.path / "stats.jsonl"))[-1]["nimg"] / 1000 < 40


def test_older_formats_of_run_and_snapshot_are_refused() -> None:
    run = train(tiny(), name="old", quiet=True)
    for path in (run.path / "config.json", run.latest_snapshot / "card.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "format": 1}))
    for read in (lambda: Run(run.path).config, lambda: train(tiny(), name="old", quiet=True)):
        with pytest.raises(
            GanvasError, match=r"older version of Ganvas, in run format 1\.\nExpected: run format 2\nFix"
        ):
            read()
    with pytest.raises(GanvasError, match="in snapshot format 1"):
        snapshot.load(run.latest_snapshot)


def test_empty_folder_is_used_and_a_folder_with_other_files_is_refused() -> None:
    Path("runs/mine").mkdir(parents=True)
    train(tiny(), name="mine", quiet=True)
    Path("runs/other").mkdir()
    Path("runs/other/thesis.tex").write_text("x")
    with pytest.raises(GanvasError, match="is not a run, and is not empty"):
        train(tiny(), name="other", quiet=True)


def test_train_converts_knobs_of_other_types(write_images: Callable[..., Path]) -> None:
    flags = {"batch": np.int64(20), "kimg": 1, "device": "cpu", "plot": False, "quiet": True}
    run = ganvas_package.train("digits", data=write_images(), resolution=8, **flags)
    assert run.config.dataset.resolution == "8"
    assert ganvas_package.train("digits", data=write_images(), resolution=(8, 8), **flags).path != run.path
    with pytest.raises(GanvasError, match="kimg is '1'"):
        ganvas_package.train("digits", kimg="1")  # pyright: ignore[reportArgumentType]
    with pytest.raises(GanvasError, match=r"batch is 2\.5"):
        ganvas_package.train("digits", batch=2.5)  # pyright: ignore[reportArgumentType]


def test_leftovers_of_an_interrupted_replacement_are_cleaned() -> None:
    from ganvas.files import clean_leftovers

    for name in ("000010", ".000012.old-77", ".000010.old-77", ".000014.tmp-77"):
        Path("snapshots", name).mkdir(parents=True)
    Path("snapshots/.x.json.tmp-77").write_text("half")
    clean_leftovers(Path("snapshots"))
    assert sorted(p.name for p in Path("snapshots").iterdir()) == ["000010", "000012"]


@pytest.mark.slow
def test_snapshots_after_the_saved_state_are_removed() -> None:
    from ganvas.runs.snapshot import prune

    config = replace(tiny(kimg=8.0), batch=100, snapshot_kimg=1.0, keep_kimg=1.0, tick_kimg=4.0)
    run = train(config, name="x", quiet=True)
    prune(run.snapshots, 7000, keep=None)
    assert [p.name for p in run.snapshots] == ["000007"]


def test_changed_images_are_refused(write_images: Callable[..., Path]) -> None:
    config = tiny(write_images(40))
    train(config, name="mine", quiet=True)
    write_images(41)
    with pytest.raises(GanvasError, match=r"images of .*mine have changed"):
        train(config, name="mine", quiet=True)


def test_conditional_needs_classes(write_images: Callable[..., Path]) -> None:
    with pytest.raises(GanvasError, match="no classes"):
        train(replace(tiny(write_images()), conditional=True), quiet=True)
    with pytest.raises(GanvasError, match="one class"):
        train(replace(tiny(write_images(classes=1)), conditional=True), quiet=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.slow
def test_interrupted_and_resumed_run_equals_the_uninterrupted_run(number: int) -> None:
    config = replace(tiny(), kimg=4.0, snapshot_kimg=100.0, tick_kimg=1.0)
    whole = train(config, name="whole", quiet=True)
    process = start_training(config, "parts")
    wait_for(Path("runs/parts/stats.jsonl"), process)
    process.send_signal(number)
    done = process.wait(60)
    assert done.returncode == 130, done.stderr
    parts = Run(Path("runs/parts"))
    _, facts = checkpoint.load(parts.state_file)
    assert 0 < facts["nimg"] < 4000, "the run must be interrupted before its end"
    assert "the same command resumes from there" in done.stderr
    train(config, name="parts", quiet=True)
    assert [e["event"] for e in read_jsonl(parts.path / "events.jsonl")] == ["interrupted", "resume", "done"]
    assert weights(whole).keys() == weights(parts).keys()
    assert all(torch.equal(weights(whole)[k], weights(parts)[k]) for k in weights(whole))


def test_a_new_run_because_of_other_images_says_so(
    write_images: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_images(12, 8, 8)
    config = replace(tiny(data), kimg=0.02)
    first = train(config)
    train(replace(config, data=str(write_images(12, 8, 8, 3))))
    train(replace(config, seed=1))
    assert "changed since" not in capsys.readouterr().err
    write_images(13, 8, 8)
    assert train(config).path != first.path
    assert f"Note: the images of {data} changed since {first} was started, so this is a new run." in (
        capsys.readouterr().err
    )


def modification_time(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


@pytest.mark.exhaustive
def test_run_killed_twenty_times_equals_the_uninterrupted_run(write_images: Callable[..., Path]) -> None:
    """After kill -9 at random instants no file is damaged, and the resumed run equals the uninterrupted one."""
    config = replace(tiny(write_images(60, 8, 8)), kimg=40.0, tick_kimg=0.1, snapshot_kimg=0.4)
    whole = train(config, name="whole", quiet=True)
    processes = multiprocessing.get_context("forkserver")  # its children have imported everything
    random = torch.Generator().manual_seed(0)
    run, log, state = (
        Run(Path("runs/killed")),
        Path("runs/killed/log.txt"),
        Path("runs/killed/state/latest.safetensors"),
    )
    reached = []
    for kill in range(20):
        awaited = state if kill % 3 == 2 else log  # every third kill comes after a state was saved
        was = modification_time(awaited)
        process = processes.Process(target=slow_training.train, args=(json.dumps(to_json(config)), "killed"))
        process.start()
        while modification_time(awaited) == was:
            assert process.is_alive(), "the run ended before it was struck"
            time.sleep(0.005)
        time.sleep(torch.rand(1, generator=random).item() * 0.4)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL, "the run ended before it was struck"
        reached.append(checkpoint.load(state)[1]["nimg"] if state.exists() else 0)  # never half-written
        for path in run.snapshots:
            load_file(path / "G.safetensors")
            json.loads((path / "card.json").read_text())
        if kill == 10:  # also a truncated line, as after a power failure
            for name in ("stats.jsonl", "events.jsonl"):
                with (run.path / name).open("ab") as file:
                    file.write(b'{"nimg": 1, "torn')
    assert reached == sorted(reached)
    assert len(set(reached)) > 2, "the kills must hit different states"
    assert_same_run(whole, train(config, name="killed", quiet=True))
    assert [p for p in run.path.rglob(".*") if p.name != ".lock"] == []


def start_training(config: TrainConfig, name: str) -> Fork:
    """Train in a separate process, slowed down so that it can be interrupted."""
    return Fork([slow_training.__file__, json.dumps(to_json(config)), name], run_script_file)


def wait_for(path: Path, process: Fork) -> None:
    deadline = time.monotonic() + 60
    while not path.exists() and process.is_running:
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.02)


def wait_for_more(path: Path, process: Fork) -> None:
    size = path.stat().st_size
    while path.stat().st_size <= size:
        assert process.is_running, process.wait()
        time.sleep(0.02)


def test_second_process_cannot_train_the_same_run() -> None:
    from ganvas.runs.lock import lock_run

    run = train(tiny(), name="mine", quiet=True)
    with lock_run(run.path), pytest.raises(GanvasError, match="Another process"):
        train(tiny(), name="mine", quiet=True)


@pytest.mark.parametrize(("network", "quantity"), [("D", "loss"), ("G", "gradient")])
def test_non_finite_numbers_stop_the_run(network: str, quantity: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted NaN in D's loss or in G's gradient."""
    train_round = TrainState.train_round

    def with_planted_nan(self: TrainState, batches: Any, nimg: int) -> object:
        stats, norms = train_round(self, batches, nimg)
        if nimg == 140:
            target = stats if quantity == "loss" else norms
            target[f"{network}/{quantity}"] = target[f"{network}/{quantity}"] * float("nan")
        return stats, norms

    with monkeypatch.context() as patch:
        patch.setattr(TrainState, "train_round", with_planted_nan)
        with pytest.raises(
            GanvasError,
            match=rf"{quantity} of {network} .* at 0.14 kimg .*state of 0.1 kimg stays intact",
        ):
            train(tiny(), name="mine", quiet=True)
    run = Run(Path("runs/mine"))
    assert run.metadata["device"] == environment.name_devices(torch.device("cpu"), 1)
    assert checkpoint.load(run.state_file)[1]["nimg"] == 100
    assert ganvas_package.load(run).sample(seeds=[0]).shape == (1, 1, 8, 8)
    assert_same_run(train(tiny(), name="mine", quiet=True), train(tiny(), name="whole", quiet=True))


def test_divergence_stops_the_run_with_an_error() -> None:
    with pytest.raises(GanvasError, match="no longer a finite number"):
        train(replace(tiny(kimg=20.0), g_lr=0.99, d_lr=0.99, r1="1e30", objective="minimax"), quiet=True)


def run_with_small_files(limit: int, command: list[str]) -> None:
    """Runs the command line where no file may have more bytes than `limit`."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    main()


@pytest.mark.slow
def test_full_disk_gives_an_error_and_damages_nothing() -> None:
    """The operating system refuses files larger than half of a state, so the first state cannot be written."""
    run_cli("train", "digits", "--kimg", 0.2, "--name", "enough", "--no-plot")
    limit = Path("runs/enough/state/latest.safetensors").stat().st_size // 2
    flags = ["train", "digits", "--kimg", "0.2", "--seed", "1", "--name", "full", "--no-plot"]
    full = Fork(["ganvas", *flags], partial(run_with_small_files, limit)).wait(120)
    assert full.returncode == 1, full.stderr
    assert "The disk is full" in full.stderr
    assert "Traceback" not in full.stderr
    assert not list(Path("runs/full").rglob(".*.tmp-*"))
    run_cli(*flags)  # with enough space, the same command succeeds


@pytest.mark.slow
def test_snapshots_are_pruned_except_every_keep_kimg() -> None:
    config = replace(tiny(kimg=10.0), batch=100, snapshot_kimg=1.0, tick_kimg=5.0)
    last = train(config, name="last", quiet=True)
    assert [p.name for p in last.snapshots] == ["000010"]
    kept = train(replace(config, keep_kimg=4.0), name="kept", quiet=True)
    assert [p.name for p in kept.snapshots] == ["000000", "000004", "000008", "000010"]


def test_plan_describes_the_training_without_training() -> None:
    lines: list[str] = []
    found = plan(tiny(), lines.append)
    assert "parameters" in lines[1]
    assert found["data"] == {"name": "digits", "images": 1400, "channels": 1, "height": 8, "width": 8, "classes": 0}
    assert found["parameters"]["D"] == 64 * 8 + 8 + 8 + 1
    assert not Path("runs").exists()


def test_weight_average_follows_with_the_stated_half_life() -> None:
    from ganvas.training import ema

    network = torch.nn.BatchNorm1d(1)
    average = ema.frozen_copy(network)
    assert network.running_mean is not None
    assert average.running_mean is not None
    torch.nn.init.constant_(network.weight, 3.0)
    network.running_mean += 5
    for _ in range(4):
        ema.update(average, network, images=25, half_life=100)
    assert average.weight.item() == pytest.approx(2.0)  # half-way from 1 to 3
    assert average.running_mean.item() == 5
    ema.update(average, network, images=25, half_life=0)
    assert average.weight.item() == 3.0


def test_stats_are_exact_over_rounds_of_different_sizes() -> None:
    stats = Stats(CPU)
    stats.add({"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([0.0, 0.0])}, 0)
    stats.add({"a": torch.tensor([6.0, 7.0]), "b": torch.tensor([0.0, 4.0])}, 2)
    stats.add({"c": torch.tensor(5.0)}, 2)
    summary = stats.summarise()
    assert summary["a"] == {
        "num": 4,
        "mean": 4.0,
        "std": pytest.approx(torch.tensor([1.0, 2, 6, 7]).std(correction=0).item()),
    }
    assert summary["b"]["mean"] == 1.0
    assert summary["c"] == {"num": 1, "mean": 5.0, "std": 0.0}
    assert stats.summarise() == {}
    assert stats.first_non_finite() is None
    stats.add({"a": torch.tensor([1.0, float("inf")]), "b": torch.tensor([0.0, 0.0])}, 40)
    stats.add({"a": torch.tensor([1.0, float("nan")]), "b": torch.tensor([float("nan"), 0.0])}, 42)
    assert stats.first_non_finite() == (40, ["a"])


@pytest.mark.slow
def test_training_brings_generated_images_closer_to_the_data() -> None:
    """The mean of generated digits comes much closer to the data's mean image than before training."""
    run = train(replace(tiny(kimg=20.0), snapshot_kimg=20.0, tick_kimg=2.0), quiet=True)
    from ganvas.data import DataOptions, open_images

    mean = to_unit(torch.from_numpy(open_images(DataOptions("digits")).images.copy())).mean(0)
    after = to_unit(torch.from_numpy(ganvas_package.load(run).sample(seeds=range(200)))).mean(0)
    torch.manual_seed(0)
    untrained = TrainState.build(run.config, Shape(1, 8, 8), CPU).game.G(torch.randn(200, 6)).mean(0).detach()
    assert (after - mean).square().mean() < 0.2 * (untrained - mean).square().mean()


def test_public_functions_work_after_all_modules_are_imported() -> None:
    first = ganvas_package.train("digits", kimg=0.2, batch=20, device="cpu", plot=False, quiet=True)
    again = ganvas_package.train(first, quiet=True)
    assert again.path == first.path
    assert ganvas_package.load(first).sample(seeds=range(3)).shape == (3, 1, 8, 8)
    with pytest.raises(ganvas_package.GanvasError, match="did you mean 'batch'"):
        ganvas_package.train("digits", bacth=3)  # pyright: ignore[reportCallIssue]
    assert all(hasattr(ganvas_package, name) for name in ganvas_package.__all__)


def test_images_that_are_enlarged_are_counted(
    write_images: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    train(replace(tiny(write_images(40, 8, 8), kimg=0.04), resolution=16), name="x")
    assert (
        "Note: Images smaller than 16x16, which are enlarged: 40; --resolution changes this." in capsys.readouterr().err
    )
    train(tiny(write_images(40, 16, 16), kimg=0.04), name="y")
    told = capsys.readouterr().err
    assert "enlarged" not in told
    assert "Note: Few images: 40." in told


@pytest.mark.parametrize("name", ["a/b", "..", ".", "", "a/", "/a"])
def test_a_name_is_that_of_one_folder(name: str) -> None:
    with pytest.raises(GanvasError, match="--name is"):
        train(tiny(), name=name, quiet=True)
