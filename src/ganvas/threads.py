"""CPU threads: how many a computation gets, and how they wait for each other.

OpenMP's threads spin for some milliseconds at the end of every parallel loop, so that the next one begins at once.
If another process occupies the core of one of them, the others spin in vain in every loop: small networks train up to
fifty times slower beside one busy process per core (docs/results.md). Sleeping at once instead costs a quarter of
their speed on an idle machine. So threads spin while the machine is idle and sleep while it is busy; their number, on
which the last bit of a sum may depend, does not change (docs/decisions/0015).
"""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch

Part = TypeVar("Part")

USER_VARIABLES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
"""Environment variables that decide how threads wait: if one is set, nothing here changes it."""

CHECK_SECONDS = 0.25
"""Seconds between two checks of how long this process has waited for a core."""

BUSY_SHARE, IDLE_SHARE = 0.1, 0.08
"""Fractions of the time that the computing thread waits for a core: above the first the machine is busy, below the
second it is idle again. Measured: up to 0.07 with sleeping threads on an idle machine, 0.3 with spinning threads
beside a busy process."""

IDLE_CHECKS = 12
"""Consecutive checks that must find the machine idle before threads spin again."""

_PARALLEL_SIZE = 1 << 18
"""Elements of a sum that PyTorch computes in parallel: its threads share loops of more than 32,768."""

_lock = threading.Lock()
_monitor: "_LoadMonitor | None" = None


@contextmanager
def cpu_threads(n: int | None = None) -> Iterator[None]:
    """Uses n CPU threads in the block (by default PyTorch's number), which sleep while the machine is busy.

    May be nested; also a decorator. The caller's number of threads is restored at the end.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(before if n is None else n)
    try:
        with _monitored():
            yield
    finally:
        torch.set_num_threads(before)


def monitored(parts: Iterator[Part]) -> Iterator[Part]:
    """The same parts; while they are computed one after the other, threads sleep while the machine is busy.

    Their number stays that of the caller, which may change between two parts.
    """
    with _monitored():
        yield from parts


@contextmanager
def _monitored() -> Iterator[None]:
    """Threads sleep in the block while the machine is busy, unless those of an outer block do."""
    global _monitor
    with _lock:
        own = _LoadMonitor() if _monitor is None and _can_monitor() else None
        _monitor = own or _monitor
    if own:
        own.start()
    try:
        yield
    finally:
        if own:
            own.stop()
            with _lock:
                _monitor = None


def _can_monitor() -> bool:
    """Whether there are several threads, the system reports how long they wait, and the user set no variable."""
    waits = torch.get_num_threads() > 1 and not any(name in os.environ for name in USER_VARIABLES)
    return waits and _delay_file(threading.get_native_id()).exists()


def _delay_file(thread: int) -> Path:
    return Path(f"/proc/self/task/{thread}/schedstat")


class _LoadMonitor(threading.Thread):
    """Checks a few times a second how long its creator has waited for a core, and makes threads sleep or spin.

    libgomp spins for a moment only while its threads are more than the cores (`gomp_throttled_spin_count_var`). An
    extra thread that has entered a parallel loop of its own, and then sleeps, brings their number over that.
    """

    def __init__(self) -> None:
        super().__init__(name="ganvas-threads", daemon=True)
        self._schedstat = _delay_file(threading.get_native_id())
        self._ended = threading.Event()
        self._released: threading.Event | None = None

    def stop(self) -> None:
        """Ends the monitor; threads spin again."""
        self._ended.set()
        # parts that were left over may be collected when Python ends, which waits for no thread, or in this one
        if not sys.is_finalizing() and threading.current_thread() is not self:
            self.join()

    def run(self) -> None:
        quiet, delay, now = 0, self._read_delay(), time.monotonic()
        while not self._ended.wait(CHECK_SECONDS):
            last, began = delay, now
            delay, now = self._read_delay(), time.monotonic()
            share = (delay - last) / (now - began)
            quiet = quiet + 1 if share < IDLE_SHARE else 0
            if share > BUSY_SHARE and self._released is None:
                self._let_threads_sleep()
            elif quiet >= IDLE_CHECKS:
                self._let_threads_spin()
        self._let_threads_spin()

    def _read_delay(self) -> float:
        """Seconds so far in which the computing thread was ready to run and had no core."""
        try:
            return int(self._schedstat.read_text().split()[1]) / 1e9
        except (OSError, ValueError, IndexError):  # the thread has ended
            return 0.0

    def _let_threads_sleep(self) -> None:
        entered, released = threading.Event(), threading.Event()

        def hold() -> None:
            torch.ones(_PARALLEL_SIZE).sum()
            entered.set()
            released.wait()

        threading.Thread(target=hold, name="ganvas-threads-extra", daemon=True).start()
        entered.wait()
        self._released = released

    def _let_threads_spin(self) -> None:
        if self._released is not None:
            self._released.set()
            self._released = None
