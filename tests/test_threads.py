"""Threads: how many, how they wait while the machine is busy, and that nothing of the caller's changes."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest
import torch
from support import tiny

from ganvas import threads
from ganvas.config import replace
from ganvas.runs import folder
from ganvas.threads import cpu_threads
from ganvas.training import start

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells how long a thread waits")


@pytest.fixture(autouse=True)
def two_threads(monkeypatch: pytest.MonkeyPatch):
    for name in threads.USER_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def names() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_number_is_set_in_the_block_and_the_callers_comes_back() -> None:
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
def test_one_watch_for_nested_blocks_and_none_afterwards() -> None:
    with cpu_threads():
        with cpu_threads():
            assert sum(thread.name == "ganvas-threads" for thread in threading.enumerate()) == 1
        assert "ganvas-threads" in names()
    assert "ganvas-threads" not in names()


def test_one_thread_waits_for_nobody() -> None:
    with cpu_threads(1):
        assert "ganvas-threads" not in names()


def test_what_the_user_set_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOMP_SPINCOUNT", "1000")
    with cpu_threads():
        assert "ganvas-threads" not in names()


@linux
def test_threads_sleep_while_the_machine_is_busy_and_spin_again_when_it_is_idle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The delays are made up: Idleness, then a thread that waits half of the time, then idleness again."""
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
        assert "ganvas-threads-extra" not in names()
        waiting = 0.5
        wait_until(lambda: "ganvas-threads-extra" in names())
        waiting = 0.0
        wait_until(lambda: "ganvas-threads-extra" not in names())
        waiting = 0.5
        wait_until(lambda: "ganvas-threads-extra" in names())
    wait_until(lambda: "ganvas-threads-extra" not in names())


BUSY = """
import os, subprocess, sys, threading, time, torch
from ganvas.threads import computing
torch.set_num_threads(2)
neighbours = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * os.cpu_count())]
x, end = torch.ones(1 << 16), time.monotonic() + 30
try:
    with computing():
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
def test_real_neighbours_are_noticed() -> None:
    environment = {name: value for name, value in os.environ.items() if name not in threads.USER_VARIABLES}
    found = subprocess.run([sys.executable, "-c", BUSY], env=environment, capture_output=True, text=True, timeout=120)
    assert found.stdout.strip() == "True", found.stderr


def test_the_numbers_do_not_depend_on_how_threads_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    x = torch.randn(300, 300)

    def computed() -> torch.Tensor:
        with cpu_threads():
            return (x @ x).softmax(1).sum(0)

    plain = computed()
    monkeypatch.setattr(threads, "BUSY_SHARE", -1.0)
    monkeypatch.setattr(threads, "CHECK_SECONDS", 0.001)
    with cpu_threads():
        wait_until(lambda: "ganvas-threads-extra" in names() or not sys.platform.startswith("linux"))
        assert torch.equal(computed(), plain)


def test_a_resumed_run_keeps_its_threads_unless_others_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int | None] = []

    def seen(n: int | None = None):
        asked.append(n)
        return cpu_threads(n)

    monkeypatch.setattr(start, "cpu_threads", seen)
    run = start.train(replace(tiny(), g_lr=1e-3, d_lr=1e-3, kimg=0.4, threads=2), name="run", quiet=True)
    assert run.threads == 2
    longer = start.train(replace(tiny(), g_lr=1e-3, d_lr=1e-3, kimg=0.8), name="run", quiet=True)
    assert longer.threads == 2
    other = start.train(replace(tiny(), g_lr=1e-3, d_lr=1e-3, kimg=1.2, threads=1), name="run", quiet=True)
    assert other.threads == 1
    assert asked == [2, 2, 1]
    unrecorded = other.metadata.copy()
    del unrecorded["threads"]  # by an older version
    folder.write_metadata(other, unrecorded)
    assert start.train(replace(tiny(), g_lr=1e-3, d_lr=1e-3, kimg=1.6), name="run", quiet=True).threads == 1
