"""Training with several processes; every function is a no-op in a single one.

torchrun starts the processes and sets RANK, LOCAL_RANK and WORLD_SIZE. There is no DistributedDataParallel: it
breaks on double backward and on two networks; instead the gradients are averaged by one flat all-reduce before each
update, as StyleGAN3 does (docs/decisions/0003).
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

from ganvas.devices import select_device
from ganvas.errors import GanvasError

Result = TypeVar("Result")

TIMEOUT = timedelta(minutes=10)
"""How long a collective operation waits for the other processes; images are decoded before the processes join."""

_gloo_group: dist.ProcessGroup | None = None  # on the CPU, for flags and objects: it does not wait for a GPU


def rank() -> int:
    """The index of this process, from 0."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """The number of processes that share the run."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main_process() -> bool:
    """Whether this is rank 0, the only process that writes files and prints."""
    return rank() == 0


def local_device(name: str) -> torch.device:
    """The device of this process: as `devices.choose` says, but under torchrun each process gets its own GPU.

    Raises:
        GanvasError: there is no such device, or it is one on which several processes cannot exchange gradients.
    """
    if world_size() > 1 and name in ("auto", "cuda") and torch.cuda.is_available():
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    chosen = select_device("cpu" if world_size() > 1 and name == "auto" else name)
    if world_size() > 1 and chosen.type not in ("cpu", "cuda"):
        raise GanvasError(
            f"{world_size()} processes on the device {chosen}.",
            expected="CUDA GPUs, or --device cpu: gradients are averaged over the processes only there",
            fix="train in one process.",
        )
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    return chosen


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Joins the processes that torchrun started into a process group, within the block.

    Raises:
        GanvasError: another process ended.
    """
    global _gloo_group
    if world_size() == 1:
        yield
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    _gloo_group = dist.new_group(backend="gloo", timeout=TIMEOUT)  # type: ignore[assignment]
    try:
        yield
    except RuntimeError as error:  # what Gloo and NCCL raise when a connection ends
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        raise GanvasError(
            f"Another process of this run has ended, so rank {rank()} stops too ({str(error).splitlines()[0]}).",
            fix="see the message of that process; the same command resumes from the last saved state.",
        ) from error
    finally:
        _gloo_group = None
        dist.destroy_process_group()


def average_gradients(network: nn.Module) -> Tensor:
    """Averages the gradients over the processes in one flat all-reduce, in place.

    Returns:
        The norm of the averaged gradient, a float scalar tensor on the device.
    """
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    if world_size() > 1:
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        flat /= world_size()
        parts = flat.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))
    return torch.nn.utils.get_total_norm(gradients)


def all_reduce_sum(tensors: Iterable[Tensor]) -> None:
    """Sums each tensor over the processes, in place."""
    if world_size() > 1:
        for tensor in tensors:
            dist.all_reduce(tensor)


def all_reduce_mean(value: Tensor) -> Tensor:
    """The mean of a tensor over the processes."""
    if world_size() > 1:
        value = value.clone()
        dist.all_reduce(value)
        value /= world_size()
    return value


def all_reduce_any(*flags: bool) -> list[bool]:
    """For each flag, whether it is set on any process; does not wait for a GPU."""
    if world_size() == 1:
        return list(flags)
    values = torch.tensor(flags, dtype=torch.float32)
    dist.all_reduce(values, op=dist.ReduceOp.MAX, group=_gloo_group)
    return [bool(flag) for flag in values.tolist()]


def run_on_main(function: Callable[[], Result]) -> Result:
    """Calls `function` on the main process and returns its result on every process; the others wait for it.

    Raises:
        GanvasError: `function` raised it on the main process; the other processes exit with status 1 and no message.
    """
    if world_size() == 1:
        return function()
    outcome: list[Any] = [None, None]
    if is_main_process():
        try:
            outcome[0] = function()
        except GanvasError as error:
            outcome[1] = error
    dist.broadcast_object_list(outcome, src=0, group=_gloo_group)
    if outcome[1] is not None:
        if is_main_process():
            raise outcome[1]
        sys.exit(1)  # the main process prints the error
    return outcome[0]
