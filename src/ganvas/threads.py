"""CPU threads: how many a computation gets, and how they wait for each other.

OpenMP's threads spin for some milliseconds at the end of every parallel loop, so that the next one begins at once.
Where another process has taken the core of one of them, the others spin for nothing, loop after loop: small networks
train up to fifty times slower beside one busy neighbour a core (docs/results.md). Sleeping at once instead costs a
quarter of their speed on an idle machine. So threads spin while the machine is idle and sleep while it is busy, and
their number, on which the last bit of a sum may depend, stays as it is (docs/decisions/0015).
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

CHOSEN_BY_USER = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
"""Environment variables that say how threads wait: where one is set, nothing here changes it."""

EVERY = 0.25
"""Seconds between two looks at how long this process has waited for a core."""

BUSY, IDLE = 0.1, 0.08
"""The part of the time that the computing thread waits for a core: above the one the machine is busy, below the other
it is idle again. Sleeping threads of an idle machine measure up to 0.07, spinning ones beside a neighbour 0.3."""

PATIENCE = 12
"""Looks in a row that must find the machine idle before threads spin again."""

_ABOVE_GRAIN = 1 << 18
"""Numbers that PyTorch adds up in parallel: its threads share loops of more than 32,768."""

_entered = threading.Lock()
_watch: "_Watch | None" = None


@contextmanager
def computing(n: int | None = None) -> Iterator[None]:
    """Computes with n CPU threads in the block (by default PyTorch's number), which sleep while the machine is busy.

    May be nested; also a decorator. The caller's number of threads is set again at the end.
    """
    global _watch
    before = torch.get_num_threads()
    torch.set_num_threads(before if n is None else n)
    with _entered:
        own = _Watch() if _watch is None and _can_watch() else None
        _watch = own or _watch
    if own:
        own.start()
    try:
        yield
    finally:
        torch.set_num_threads(before)
        if own:
            own.stop()
            with _entered:
                _watch = None


def _can_watch() -> bool:
    """Whether there are threads that wait, the system tells how long they do, and the user has not decided."""
    waits = torch.get_num_threads() > 1 and not any(name in os.environ for name in CHOSEN_BY_USER)
    return waits and _delay_file(threading.get_native_id()).exists()


def _delay_file(thread: int) -> Path:
    return Path(f"/proc/self/task/{thread}/schedstat")


class _Watch(threading.Thread):
    """Looks a few times a second how long the thread that made it has waited for a core, and has threads sleep or spin.

    libgomp spins for a moment only while its threads are more than the cores (`gomp_throttled_spin_count_var`). An
    extra thread that has entered a parallel loop of its own, and then sleeps, brings their number over that.
    """

    def __init__(self) -> None:
        super().__init__(name="ganvas-threads", daemon=True)
        self._waited = _delay_file(threading.get_native_id())
        self._ended = threading.Event()
        self._released: threading.Event | None = None

    def stop(self) -> None:
        """Ends the watch; threads spin again."""
        self._ended.set()
        self.join()

    def run(self) -> None:
        quiet, delay, now = 0, self._delay(), time.monotonic()
        while not self._ended.wait(EVERY):
            last, began = delay, now
            delay, now = self._delay(), time.monotonic()
            share = (delay - last) / (now - began)
            quiet = quiet + 1 if share < IDLE else 0
            if share > BUSY and self._released is None:
                self._sleep_soon()
            elif quiet >= PATIENCE:
                self._spin()
        self._spin()

    def _delay(self) -> float:
        """Seconds that the computing thread was ready to run and had no core."""
        try:
            return int(self._waited.read_text().split()[1]) / 1e9
        except (OSError, ValueError, IndexError):  # the thread has ended
            return 0.0

    def _sleep_soon(self) -> None:
        entered, released = threading.Event(), threading.Event()

        def hold() -> None:
            torch.ones(_ABOVE_GRAIN).sum()
            entered.set()
            released.wait()

        threading.Thread(target=hold, name="ganvas-threads-extra", daemon=True).start()
        entered.wait()
        self._released = released

    def _spin(self) -> None:
        if self._released is not None:
            self._released.set()
            self._released = None
