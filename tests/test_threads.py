"""CPU threads: their number, how they wait on a busy machine, and the unchanged state of the caller."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest
import torch
from support import tiny

import ganvas
from ganvas import threads
from ganvas.config import replace
from ganvas.latent_space.pictures import Request
from ganvas.runs import folder
from ganvas.threads import cpu_threads
from ganvas.training import start

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux reports how long a thread waits")


@pytest.fixture(autouse=True)
def two_threads(monkeypatch: pytest.MonkeyPatch):
    for name in threads.USER_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def thread_names() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_number_of_threads_is_set_in_the_block_and_restored() -> None:
    with cpu_threads(1):
        assert torch.get_num_threads() == 1
        with cpu_threads():
            assert torch.get_num_threads() == 1
        with cpu_threads(2):
            assert torch.get_num_threads() == 2
        assert torch.get_num_threads() == 1
    with pytest.raises(ZeroDivisionError), cpu_threads(1):
        _ = 1 // 0
    assert torch.get_num_threads() == 2


@linux
def test_nested_blocks_share_one_monitor_thread() -> None:
    with cpu_threads():
        with cpu_threads():
            assert sum(thread.name == "ganvas-threads" for thread in threading.enumerate()) == 1
        assert "ganvas-threads" in thread_names()
    assert "ganvas-threads" not in thread_names()


def test_one_thread_needs_no_monitor() -> None:
    with cpu_threads(1):
        assert "ganvas-threads" not in thread_names()


def test_variables_of_the_user_switch_the_monitor_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOMP_SPINCOUNT", "1000")
    with cpu_threads():
        assert "ganvas-threads" not in thread_names()


@linux
def test_threads_sleep_while_the_machine_is_busy_and_spin_again_when_it_is_idle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With simulated delays: an idle machine, a thread that waits half of the time, an idle machine again."""
    monkeypatch.setattr(threads, "CHECK_SECONDS", 0.01)
    waiting, waited = 0.0, 0.0

    def delay(_: threads._LoadMonitor) -> float:
        nonlocal waited
        waited += waiting * (time.monotonic() - delay.last)
        delay.last = time.monotonic()
        return waited

    delay.last = time.monotonic()
    monkeypatch.setattr(threads._LoadMonitor, "_read_delay", delay)
    with cpu_threads():
        time.sleep(0.2)
        assert "ganvas-threads-extra" not in thread_names()
        waiting = 0.5
        wait_until(lambda: "ganvas-threads-extra" in thread_names())
        waiting = 0.0
        wait_until(lambda: "ganvas-threads-extra" not in thread_names())
        waiting = 0.5
        wait_until(lambda: "ganvas-threads-extra" in thread_names())
    wait_until(lambda: "ganvas-threads-extra" not in thread_names())


BUSY = """
import os, subprocess, sys, threading, time, torch
from ganvas.threads import cpu_threads
torch.set_num_threads(2)
neighbours = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * os.cpu_count())]
x, end = torch.ones(1 << 16), time.monotonic() + 30
try:
    with cpu_threads():
        while time.monotonic() < end and not any(t.name == "ganvas-threads-extra" for t in threading.enumerate()):
            x.mul_(1.0)
        print(time.monotonic() < end)
finally:
    for neighbour in neighbours:
        neighbour.kill()
        neighbour.wait()
"""


@linux
@pytest.mark.slow
def test_load_of_other_processes_is_detected() -> None:
    environment = {name: value for name, value in os.environ.items() if name not in threads.USER_VARIABLES}
    found = subprocess.run([sys.executable, "-c", BUSY], env=environment, capture_output=True, text=True, timeout=120)
    assert found.stdout.strip() == "True", found.stderr


def test_results_do_not_depend_on_how_threads_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    x = torch.randn(300, 300)

    def compute() -> torch.Tensor:
        with cpu_threads():
            return (x @ x).softmax(1).sum(0)

    plain = compute()
    monkeypatch.setattr(threads, "BUSY_SHARE", -1.0)
    monkeypatch.setattr(threads, "CHECK_SECONDS", 0.001)
    with cpu_threads():
        wait_until(lambda: "ganvas-threads-extra" in thread_names() or not sys.platform.startswith("linux"))
        assert torch.equal(compute(), plain)


@linux
def test_pictures_that_come_one_after_the_other_are_computed_under_a_monitor() -> None:
    drawn = ganvas.load("pretrained:digits")
    for parts in (
        drawn.sample_batches(range(130)),
        drawn.draw_batches(drawn.latents(range(130))),
        drawn.interpolate("0,1", frames=65),
        Request("0", direction="sefa:0").film(drawn, frames=33, easing="smooth", loop=True),
    ):
        assert "ganvas-threads" not in thread_names()
        next(parts)
        assert "ganvas-threads" in thread_names()
        torch.set_num_threads(1)  # between two parts it is the caller's own
        assert len(list(parts)) > 0
        assert torch.get_num_threads() == 1
        torch.set_num_threads(2)
        assert "ganvas-threads" not in thread_names()


def test_resumed_run_keeps_its_threads_unless_others_are_requested(monkeypatch: pytest.MonkeyPatch) -> None:
    requested: list[int | None] = []

    def record(n: int | None = None):
        requested.append(n)
        return cpu_threads(n)

    monkeypatch.setattr(start, "cpu_threads", record)
    run = start.train(replace(tiny(), g_lr=1e-3, d_lr=1e-3, kimg=0.04, threads=2), name="run", quiet=True)
    assert run.threads == 2
    longer = start.train(replace(tiny(), g_lr=1e-3, d_lr=1e-3, kimg=0.08), name="run", quiet=True)
    assert longer.threads == 2
    other = start.train(replace(tiny(), g_lr=1e-3, d_lr=1e-3, kimg=0.12, threads=1), name="run", quiet=True)
    assert other.threads == 1
    assert requested == [2, 2, 1]
    unrecorded = other.metadata.copy()
    del unrecorded["threads"]  # as an older version writes it
    folder.write_metadata(other, unrecorded)
    assert start.train(replace(tiny(), g_lr=1e-3, d_lr=1e-3, kimg=0.16), name="run", quiet=True).threads == 1
