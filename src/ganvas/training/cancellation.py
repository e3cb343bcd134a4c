"""Cancels a slow round, or optional work, in the middle when a stop is requested.

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

from ganvas.interrupts import StopRequests
from ganvas.runs import checkpoint
from ganvas.training import distributed
from ganvas.training.state import Batch, Quantities, TrainState

SLOW_ROUND_SECONDS = 2.0
"""If a round takes longer, the next one can be cancelled; shorter ones are finished."""


class Cancelled(KeyboardInterrupt):
    """Work was cancelled because of a stop request. Not an Exception, so that no `except Exception` catches it."""


@contextmanager
def cancellation_points(check: Callable[[], None]) -> Iterator[None]:
    """Calls `check` after each module's forward pass and within its backward passes; an exception from it ends them."""

    def on_gradient(gradient: Tensor) -> None:
        check()
        if gradient.requires_grad:  # a gradient penalty differentiates it once more
            gradient.register_hook(on_gradient)

    def on_forward(module: Any, arguments: Any, output: Any) -> None:
        check()
        for tensor in output if isinstance(output, tuple | list) else (output,):
            if isinstance(tensor, Tensor) and tensor.requires_grad:
                tensor.register_hook(on_gradient)

    hook = register_module_forward_hook(on_forward)
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def cancellable(stop: StopRequests) -> Iterator[None]:
    """Ends the block at the next module's pass when a stop request is overdue."""

    def check() -> None:
        if stop.overdue:
            raise Cancelled

    with suppress(Cancelled), cancellation_points(check):
        yield


class CancellableRounds:
    """Runs rounds that a stop request can cancel, where they are slow.

    Before a slow round its training state is copied, on the device; cancelling puts the copy back, and the round is
    trained from its beginning when the run is resumed. A round that is not slow frees the copy.

    Attributes:
        seconds: of the last round; infinite before the first.
    """

    def __init__(self, state: TrainState, stop: StopRequests) -> None:
        self._state, self._stop = state, stop
        self._copy: dict[str, Tensor] = {}
        self.seconds = math.inf

    def run(self, batches: Sequence[Batch], nimg: int, *, slow: bool) -> tuple[Quantities, Quantities] | None:
        """As `TrainState.train_round`; None if the round was cancelled, and the state is as before.

        Args:
            slow: whether it can be cancelled; the same on every process.
        """
        began = time.perf_counter()
        result = self._run_cancellable(batches, nimg) if slow else self._state.train_round(batches, nimg)
        self.seconds = time.perf_counter() - began
        if not slow:
            self._copy.clear()
        return result

    def _run_cancellable(self, batches: Sequence[Batch], nimg: int) -> tuple[Quantities, Quantities] | None:
        state, update_counts = self._state, self._state.update_counts.copy()
        tensors = checkpoint.named_tensors(state.parts)
        self._copy = {n: self._copy[n].copy_(t) if n in self._copy else t.clone() for n, t in tensors.items()}
        try:
            with self._cancellation_points():
                return state.train_round(batches, nimg)
        except Cancelled:
            checkpoint.restore(state.parts, self._copy)
            state.update_counts = update_counts
            return None

    @contextmanager
    def _cancellation_points(self) -> Iterator[None]:
        """Several processes must leave a round at the same place, so they agree before each microbatch only.

        So do compiled updates, which have no hooks inside.
        """
        if distributed.world_size() == 1 and not self._state.is_compiled:
            with cancellation_points(self._check):
                yield
            return
        previous, self._state.before_microbatch = self._state.before_microbatch, self._check
        try:
            yield
        finally:
            self._state.before_microbatch = previous

    def _check(self) -> None:
        if distributed.all_reduce_any(self._stop.overdue)[0]:
            raise Cancelled
