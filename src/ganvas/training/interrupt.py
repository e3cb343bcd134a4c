"""A stop in the middle of long work: where it is looked for, and what a round that is given up leaves behind.

Python handles a signal between two of its own instructions, and a backward pass is one call of C++ that may take a
minute on a CPU. So each module's output gets a hook, which the backward pass calls: there the signal is handled, and
the pass can be ended by an exception. Hooks change no number.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from torch import Tensor
from torch.nn.modules.module import register_module_forward_hook

from ganvas.interrupts import Stop
from ganvas.runs import checkpoint
from ganvas.training import distributed
from ganvas.training.state import Batch, Players, Seen

SLOW = 2.0
"""Seconds of a round from which on the next one can be given up; shorter ones are finished."""


class Stopped(KeyboardInterrupt):
    """A stop was asked for, and what was in hand is given up. Not an Exception, so that no fallback takes it."""


@contextmanager
def checked(check: Callable[[], None]) -> Iterator[None]:
    """Calls `check` after each module's forward pass and within its backward passes; what it raises ends them."""

    def visit(gradient: Tensor) -> None:
        check()
        if gradient.requires_grad:  # a penalty differentiates it once more
            gradient.register_hook(visit)

    def after(module: Any, arguments: Any, output: Any) -> None:
        check()
        for tensor in output if isinstance(output, tuple | list) else (output,):
            if isinstance(tensor, Tensor) and tensor.requires_grad:
                tensor.register_hook(visit)

    hook = register_module_forward_hook(after)
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def optional(stop: Stop) -> Iterator[None]:
    """Work that is left unfinished, from the next module's pass on, where a stop is overdue."""

    def check() -> None:
        if stop.overdue:
            raise Stopped

    with suppress(Stopped), checked(check):
        yield


class Rounds:
    """Rounds of the game that a stop can end in the middle, where they are slow.

    Before a slow round the players' state is copied, on their device; a round that is given up puts it back, and is
    played from its beginning when the run is resumed.

    Attributes:
        seconds: of the last round; infinite before the first.
    """

    def __init__(self, players: Players, stop: Stop) -> None:
        self._players, self._stop = players, stop
        self._copy: dict[str, Tensor] = {}
        self.seconds = math.inf

    def play(self, batches: Sequence[Batch], nimg: int, *, slow: bool) -> tuple[Seen, Seen] | None:
        """`Players.round`; None where it was given up, and the players are as before.

        Args:
            slow: whether it can be given up; the same on every rank.
        """
        began = time.perf_counter()
        seen = self._slow(batches, nimg) if slow else self._players.round(batches, nimg)
        self.seconds = time.perf_counter() - began
        return seen

    def _slow(self, batches: Sequence[Batch], nimg: int) -> tuple[Seen, Seen] | None:
        players, moved = self._players, self._players.moved.copy()
        now = checkpoint.tensors(players.parts)
        self._copy = {n: self._copy[n].copy_(t) if n in self._copy else t.clone() for n, t in now.items()}
        try:
            with self._checked():
                return players.round(batches, nimg)
        except Stopped:
            checkpoint.restore(players.parts, self._copy)
            players.moved = moved
            return None

    @contextmanager
    def _checked(self) -> Iterator[None]:
        """Ranks have to leave a round at the same place, and agree on it between microbatches only."""
        if distributed.world() == 1:
            with checked(self._check):
                yield
            return
        idle, self._players.between = self._players.between, self._check
        try:
            yield
        finally:
            self._players.between = idle

    def _check(self) -> None:
        if distributed.any_of(self._stop.overdue)[0]:
            raise Stopped
