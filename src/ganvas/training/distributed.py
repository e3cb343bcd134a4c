"""Ranks, and what they must agree on; all of it a no-op in a single process.

torchrun starts the processes and sets RANK, LOCAL_RANK and WORLD_SIZE. There is no DistributedDataParallel: it
breaks on double backward and on two networks; instead the gradients are averaged by one flat all-reduce after each
move, as StyleGAN3 does (docs/decisions/0003).
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ganvas.devices import choose
from ganvas.errors import GanvasError

Result = TypeVar("Result")

PATIENCE = timedelta(minutes=10)
"""How long a rank waits for the others before it takes them for dead; pictures are decoded before they join."""

_control: dist.ProcessGroup | None = None  # Gloo on the CPU: small agreements that must not stall a GPU


def rank() -> int:
    """This process's number, from 0."""
    return int(os.environ.get("RANK", "0"))


def world() -> int:
    """How many processes share the run."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def leads() -> bool:
    """Whether this process is the one that writes."""
    return rank() == 0


def device(name: str) -> torch.device:
    """The device this process computes on: `devices.choose`, but under torchrun each rank takes its own GPU.

    Raises:
        GanvasError: the device is not there.
    """
    if world() > 1 and name in ("auto", "cuda") and torch.cuda.is_available():
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    chosen = choose("cpu" if world() > 1 and name == "auto" else name)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    return chosen


@contextmanager
def together(device: torch.device) -> Iterator[None]:
    """Joins the processes that torchrun started, for the length of the block."""
    global _control
    if world() == 1:
        yield
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    _control = dist.new_group(backend="gloo", timeout=PATIENCE)  # type: ignore[assignment]
    try:
        yield
    except RuntimeError as error:  # what Gloo and NCCL raise when a connection ends
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        raise GanvasError(
            f"Another process of this run has ended, so rank {rank()} stops too ({str(error).splitlines()[0]}).",
            fix="look for that process's own message; the same command goes on from the last saved state.",
        ) from error
    finally:
        _control = None
        dist.destroy_process_group()


def mean_gradients(network: nn.Module) -> Tensor:
    """Averages the gradients over the processes in one flat all-reduce, in place.

    Returns:
        The norm of the averaged gradient, a float scalar tensor on the device.
    """
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    if world() > 1:
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        flat /= world()
        parts = flat.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))
    return torch.nn.utils.get_total_norm(gradients)


def add(tensors: Iterable[Tensor]) -> None:
    """Sums each tensor over the processes, in place."""
    if world() > 1:
        for tensor in tensors:
            dist.all_reduce(tensor)


def mean(value: Tensor) -> Tensor:
    """The mean of a tensor over the processes."""
    if world() > 1:
        value = value.clone()
        dist.all_reduce(value)
        value /= world()
    return value


def any_of(*flags: bool) -> list[bool]:
    """Of each flag, whether it is up on any process; does not wait for a GPU."""
    if world() == 1:
        return list(flags)
    up = torch.tensor(flags, dtype=torch.float32)
    dist.all_reduce(up, op=dist.ReduceOp.MAX, group=_control)
    return [bool(flag) for flag in up.tolist()]


def lead(act: Callable[[], Result]) -> Result:
    """What `act` returns on rank 0, on every rank; the others wait for it.

    Raises:
        GanvasError: `act` raised it on rank 0; the other ranks leave without a word, so that none is left waiting.
    """
    if world() == 1:
        return act()
    outcome: list[Any] = [None, None]
    if leads():
        try:
            outcome[0] = act()
        except GanvasError as error:
            outcome[1] = error
    dist.broadcast_object_list(outcome, src=0, group=_control)
    if outcome[1] is not None:
        if leads():
            raise outcome[1]
        sys.exit(1)  # rank 0 has the word
    return outcome[0]
