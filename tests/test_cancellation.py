"""A stop in the middle of a slow round: the round is cancelled, undone bit for bit, and repeated."""

import fcntl
import json
import os
import signal
import sys
import termios
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import slow_training
import torch
from support import BATCH_NORM_IN_D, NARROW, Fork, run_script_file, tiny
from test_run import assert_same_state

from ganvas.config import TrainConfig, replace, to_json
from ganvas.errors import GanvasError
from ganvas.interrupts import StopRequests, collect_stop_requests, raise_on_signal
from ganvas.networks import Shape
from ganvas.runs import checkpoint
from ganvas.runs.folder import Run
from ganvas.runs.log import read_jsonl
from ganvas.training.cancellation import CancellableRounds, Cancelled, cancellable, cancellation_points
from ganvas.training.start import train
from ganvas.training.state import TrainState

CPU = torch.device("cpu")

SLOW_FAMILIES = {"msg", "projected", "r3gan", "stylegan", "vit"}

CASES = [
    *(
        pytest.param(
            family, {"microbatch": 7, "d_steps": 2}, marks=[pytest.mark.exhaustive] if family in SLOW_FAMILIES else []
        )
        for family in NARROW
    ),
    ("cnn", {"objective": "hinge", "augment": "ada", "ada_target": 0.6, "ada_kimg": 0.2, "d_steps": 4}),
    ("cnn", {"loss_change": 1.0, "spectral_norm": True, "gp": 1.0}),
    ("mlp", {"optimiser": "rmsprop", "clip": 0.01, "r1": 0.0, "r2": 0.0, "dropout": 0.5}),
]


NEVER = 10**9


class OverdueAt(StopRequests):
    """Stop requests that become overdue at the n-th query."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.left = n

    @property
    def overdue(self) -> bool:
        self.left -= 1
        return self.left == 0


def build_state_and_batches(config: TrainConfig) -> tuple[TrainState, list[list[tuple[torch.Tensor, torch.Tensor]]]]:
    images = torch.randint(0, 256, (4, config.balance.d_steps, 20, 3, 12, 10), dtype=torch.uint8)
    labels = torch.randint(0, 3, (4, config.balance.d_steps, 20))
    batches = [list(zip(*one, strict=True)) for one in zip(images, labels, strict=True)]
    return TrainState.build(config, Shape(3, 12, 10, 3), CPU), batches


@pytest.mark.slow
@pytest.mark.parametrize(("family", "knobs"), CASES, ids=lambda v: v if isinstance(v, str) else "-".join(v))
def test_round_cancelled_at_any_point_leaves_no_trace(family: str, knobs: dict[str, Any]) -> None:
    """Each round is cancelled in D's first pass, then in G's last, and repeated; another state trains uninterrupted."""
    unpenalised: dict[str, Any] = {"r1": 0.0, "r2": 0.0} if family in BATCH_NORM_IN_D else {}
    config = replace(tiny(family=family, **unpenalised), conditional=True, **knobs)
    one, batches = build_state_and_batches(config)
    two, third = (TrainState.build(config, Shape(3, 12, 10, 3), CPU) for _ in range(2))
    for i, batch in enumerate(batches):
        expected = one.train_round(batch, i * config.images_per_round)
        counter = OverdueAt(NEVER)
        CancellableRounds(third, counter).run(batch, i * config.images_per_round, slow=True)
        for n in (3, NEVER - counter.left):
            before = {name: tensor.clone() for name, tensor in checkpoint.named_tensors(two.parts).items()}
            counts = two.update_counts.copy()
            assert CancellableRounds(two, OverdueAt(n)).run(batch, i * config.images_per_round, slow=True) is None
            after = checkpoint.named_tensors(two.parts)
            assert before.keys() == after.keys()
            for name in before:  # the losses before the first round are nan
                torch.testing.assert_close(after[name], before[name], rtol=0, atol=0, equal_nan=True)
            assert (two.update_counts == counts).all()
            two.game.G.zero_grad()
            two.game.D.zero_grad()
        repeated = CancellableRounds(two, StopRequests()).run(batch, i * config.images_per_round, slow=True)
        assert repeated is not None
        for ours, theirs in zip(expected, repeated, strict=True):
            assert all(torch.equal(ours[name], theirs[name]) for name in ours | theirs)
    assert_same_state(one, two)


def test_copy_of_the_state_is_freed_when_rounds_are_fast() -> None:
    config = replace(tiny(), conditional=True)
    state, (first, second, *_) = build_state_and_batches(config)
    rounds = CancellableRounds(state, StopRequests())
    rounds.run(first, 0, slow=True)
    assert rounds._copy
    rounds.run(second, config.images_per_round, slow=False)
    assert not rounds._copy


def test_cancellation_interrupts_forward_backward_and_double_backward() -> None:
    layers = torch.nn.Sequential(*(torch.nn.Linear(4, 4) for _ in range(5)))
    phases = []

    def count() -> None:
        phases.append(phase)
        if len(phases) == last:
            raise Cancelled

    def run_passes() -> None:
        nonlocal phase
        phase = "forward"
        x = torch.randn(2, 4, requires_grad=True)
        out = layers(x).tanh()
        phase = "backward"
        (gradient,) = torch.autograd.grad(out.sum(), x, create_graph=True)
        phase = "double"
        gradient.square().sum().backward()

    phase, last = "", 0
    with cancellation_points(count):
        run_passes()
    assert [phases.count(name) for name in ("forward", "backward", "double")] >= [6, 6, 6]
    for last in range(1, len(phases) + 1):
        phases.clear()
        with pytest.raises(Cancelled), cancellation_points(count):
            run_passes()
        assert len(phases) == last
    phases.clear()
    run_passes()
    assert not phases, "no hook is left behind"


def test_optional_work_is_skipped_when_a_stop_is_overdue() -> None:
    done = []
    for stop in (
        StopRequests(),
        StopRequests([signal.SIGINT], time.monotonic()),
        StopRequests([signal.SIGINT], time.monotonic() - 60),
    ):
        with cancellable(stop):
            torch.nn.Identity()(torch.zeros(1))
            done.append(stop)
    assert len(done) == 2, "what can be finished in time is finished"


@pytest.mark.parametrize(
    ("error", "expected"),
    [(ValueError("Invalid affine transformation matrix"), KeyboardInterrupt), (GanvasError("a"), GanvasError)],
    ids=["of a library", "of Ganvas"],
)
def test_an_error_into_which_a_library_has_turned_an_interrupt_is_one(
    error: Exception, expected: type[BaseException]
) -> None:
    """As Matplotlib does, whose conversion of arguments in C++ keeps no exception of Python."""

    def convert() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise error from None

    with pytest.raises(expected), raise_on_signal():
        convert()
    with pytest.raises(type(error)), raise_on_signal():
        raise error


def test_only_a_second_ctrl_c_interrupts() -> None:
    notified = []
    with collect_stop_requests(lambda: notified.append(1)) as stop:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert not stop.immediate
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert stop.immediate
    assert stop.signals == [signal.SIGTERM, signal.SIGTERM, signal.SIGINT]
    assert notified == [1]
    with collect_stop_requests() as stop, stop.raise_in_block(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize("ignored", [False, True])
def test_closed_terminal_is_a_request_unless_it_is_ignored(ignored: bool) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else lambda *_: None)
    try:
        with collect_stop_requests() as stop:
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert stop.signals == ([] if ignored else [signal.SIGHUP])


def test_handler_of_c_is_left_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python returns None for it, and takes no None back."""
    found, handled = signal.getsignal, []
    monkeypatch.setattr(signal, "getsignal", lambda number: None if number == signal.SIGTERM else found(number))
    monkeypatch.setattr(signal, "signal", lambda number, handler: handled.append(number))
    with collect_stop_requests():
        pass
    assert signal.SIGINT in handled
    assert signal.SIGTERM not in handled


def test_stop_after_the_last_round_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes while the last lines are written; the requested evaluation would take minutes."""
    monkeypatch.setattr("ganvas.training.loop.Session._finish", lambda *_: signal.raise_signal(signal.SIGTERM))
    monkeypatch.setattr("ganvas.training.start._evaluate_run", lambda *_: pytest.fail("a stop was requested"))
    with pytest.raises(KeyboardInterrupt, match=r"stopped at 0\.2 kimg; the run is complete"):
        train(replace(tiny(), evaluate_at_end=True), quiet=True)


SLOW = {"microbatch": 2, "d_steps": 2, "snapshot_kimg": 100.0, "kimg": 0.2, "tick_kimg": 100.0}
"""Rounds of 40 images in 30 microbatches: four rounds and a bit more."""


def start_slowly(name: str, layer_seconds: float, **knobs: Any) -> Fork:
    config = replace(tiny(family="dcgan", r1=0.0, r2=0.0), **{**SLOW, **knobs})
    return Fork([slow_training.__file__, json.dumps(to_json(config)), name, str(layer_seconds)], run_script_file)


def wait_for(condition: Callable[[], bool], process: Fork) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        assert process.is_running, process.wait()
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.exhaustive)])
def test_stop_in_a_slow_round_takes_seconds_and_the_resumed_run_is_the_same(number: int) -> None:
    run = Run(Path("runs/parts"))
    process = start_slowly("parts", 0.05)  # a round of a minute or so
    wait_for(run.state_file.exists, process)
    time.sleep(0.3)
    requested = time.monotonic()
    process.send_signal(number)
    done = process.wait(60)
    assert time.monotonic() - requested < 10
    assert done.returncode == 130, done.stderr
    announced = "Stopping: the state is saved first. Ctrl-C again ends at once; the state of 0 kimg stays intact."
    assert announced in done.stderr
    assert "stopped at 0 kimg; the same command resumes from there" in done.stderr
    assert checkpoint.load(run.state_file)[1]["nimg"] == 0
    config = replace(tiny(family="dcgan", r1=0.0, r2=0.0), **SLOW)
    train(config, name="parts", quiet=True)
    whole = train(config, name="whole", quiet=True)
    events = [event["event"] for event in read_jsonl(run.path / "events.jsonl")]
    assert events == ["interrupted", "resume", "done"]
    ours, theirs = (checkpoint.load(one.state_file)[0] for one in (run, whole))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def run_in_terminal(command: list[str]) -> None:
    """Runs a script as the first process of a terminal; the last two arguments are its device, and what SIGHUP does."""
    *command, device, action = command
    os.setsid()
    terminal = os.open(device, os.O_RDWR)
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    for stream in range(3):
        os.dup2(terminal, stream)
    signal.signal(signal.SIGHUP, signal.SIG_IGN if action == "ignored" else signal.SIG_DFL)
    sys.argv = command
    run_script_file(command)


@pytest.mark.slow
@pytest.mark.parametrize("action", ["saves", "ignored"])
def test_training_in_a_terminal_that_is_closed(action: str) -> None:
    """It is saved; under nohup it goes on. It cannot print any more."""
    master, terminal = os.openpty()
    os.set_blocking(master, False)
    length = 600 if action == "ignored" else 2000  # the one is trained to its end
    config = replace(tiny(kimg=length / 1000), tick_kimg=0.1, snapshot_kimg=100.0)
    command = [slow_training.__file__, json.dumps(to_json(config)), "a", "0.002", os.ttyname(terminal), action]
    process, run, shown = Fork(command, run_in_terminal, {"TERM": "xterm-256color"}), Run(Path("runs/a")), b""

    def is_trained() -> bool:
        nonlocal shown
        with suppress(BlockingIOError):
            shown += os.read(master, 2**20)  # else it would wait for a reader
        return (run.path / "stats.jsonl").exists()

    wait_for(is_trained, process)
    os.close(terminal)
    os.close(master)
    done = process.wait(120)
    assert b"kimg" in shown
    assert done.returncode == (0 if action == "ignored" else 130), (run.path / "log.txt").read_text()
    nimg = checkpoint.load(run.state_file)[1]["nimg"]
    events = [(event["event"], event.get("signal")) for event in read_jsonl(run.path / "events.jsonl")]
    if action == "ignored":
        assert (nimg, events) == (length, [("done", None)])
    else:
        assert 0 < nimg < length
        assert events == [("interrupted", "SIGHUP")]


@pytest.mark.slow
def test_second_ctrl_c_ends_at_once_and_keeps_the_last_state() -> None:
    run = Run(Path("runs/parts"))
    process = start_slowly("parts", 0.05)
    wait_for(run.state_file.exists, process)
    state = run.state_file.read_bytes()
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    wait_for(lambda: "Stopping" in (run.path / "log.txt").read_text(), process)
    requested = time.monotonic()
    process.send_signal(signal.SIGINT)
    done = process.wait(60)
    assert time.monotonic() - requested < 10
    assert done.returncode == 130
    assert "Traceback" not in done.stderr
    assert run.state_file.read_bytes() == state
    assert not (run.path / "events.jsonl").exists(), "the first stop is not completed"
