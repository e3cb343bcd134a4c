"""Training with several processes; every function is a no-op in a single one.

torchrun starts the processes and sets RANK, LOCAL_RANK and WORLD_SIZE. There is no DistributedDataParallel: it
breaks on double backward and on two networks; instead the gradients are averaged by one flat all-reduce before each
update, as StyleGAN3 does (docs/decisions/0003).

The processes join before they open the data. One that fails closes its connections, which ends the others within
seconds wherever they wait for it, and tells them why through the store of the rendezvous.
"""

import json
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ganvas.devices import select_device
from ganvas.errors import GanvasError

Result = TypeVar("Result")

TIMEOUT = timedelta(minutes=10)
"""How long a process waits for the others to join, and for each of their answers."""

OPENING_TIMEOUT = timedelta(hours=6)
"""How long a process waits for the others to decode their images."""

_FAILED = "failed"
"""The key under which the first process that fails tells the others why."""

_store: dist.Store | None = None  # pyright: ignore[reportPrivateImportUsage]
_joined = 0  # how often this process has joined: a store that outlives a training has its keys
_gradient_group: dist.ProcessGroup | None = None  # of NCCL; None is the default group, of Gloo


class LostProcess(GanvasError):
    """Another process of the run has ended, or does not answer."""


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
        GanvasError: there is no such device, or it is one on which several processes cannot exchange gradients, or one
            GPU for several processes.
    """
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if processes > 1 and name.startswith("cuda:"):
        raise GanvasError(
            f"--device {name} is one GPU, and {processes} processes of this machine would share it.",
            expected="a GPU for each process",
            fix="--device cuda; the variable CUDA_VISIBLE_DEVICES chooses among the GPUs.",
        )
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
def process_group() -> Iterator[None]:
    """Joins the processes that torchrun started, within the block, over Gloo: it needs no device, and waits for none.

    Raises:
        GanvasError: not all processes joined, another one failed, or this one has no memory left.
    """
    global _store
    if world_size() == 1:
        yield
        return
    try:
        _join()
        yield
    except (Exception, KeyboardInterrupt) as error:
        explained = _explain(error)
        if not isinstance(explained, LostProcess):
            _tell_others(explained)
        if explained is error:
            raise
        raise explained from error
    finally:
        _store = None
        if dist.is_initialized():
            dist.destroy_process_group()


def _join() -> None:
    global _store, _joined
    _joined += 1
    try:
        with _answers():
            store, own, size = next(dist.rendezvous("env://", timeout=TIMEOUT))  # pyright: ignore[reportPrivateImportUsage]
            _store = dist.PrefixStore(f"ganvas-{_joined}", store)  # pyright: ignore[reportPrivateImportUsage]
            dist.init_process_group("gloo", store=_store, rank=own, world_size=size, timeout=TIMEOUT)
    except ValueError as error:
        raise GanvasError(
            f"WORLD_SIZE is {world_size()}, but this process cannot find the others ({_first_line(error)}).",
            expected="the environment variables that torchrun sets",
            fix="start with torchrun or --gpus, or unset WORLD_SIZE.",
        ) from error


def _explain(error: BaseException) -> BaseException:
    """The error of this process as it is told to the user and to the other processes."""
    if isinstance(error, GanvasError):
        return error
    if isinstance(error, dist.DistError):  # NCCL's, raised later, where the device is waited for
        return _lost(error)
    if isinstance(error, KeyboardInterrupt):  # torchrun ends the processes beside one that failed
        told = _read_failure()
        return error if told is None or told["interrupted"] else _lost(error)
    if isinstance(error, MemoryError | RuntimeError) and "memory" in f"{type(error).__name__} {error}".lower():
        return GanvasError(
            f"There is not enough memory ({_first_line(error)}).",
            expected="the same free memory for every process",
            fix="a smaller --batch, or a --microbatch; the state that was saved last stays intact.",
        )
    return error


@contextmanager
def gradient_group(device: torch.device, settings: Mapping[str, Any]) -> Iterator[None]:
    """Waits until every process is here, and averages gradients within the block: between GPUs over NCCL.

    Args:
        device: of this process.
        settings: what must be the same on every process: name in words -> value, for JSON.

    Raises:
        GanvasError: this process has another kind of device than others, or other settings than the main one.
    """
    global _gradient_group
    if world_size() == 1:
        yield
        return
    with _answers():
        dist.monitored_barrier(timeout=OPENING_TIMEOUT)
    on_gpu = device.type == "cuda"
    if all(all_reduce_any(on_gpu, not on_gpu)):
        raise GanvasError(
            f"Rank {rank()} computes on {device}, and other processes of this run do not.",
            expected="a GPU for every process, or for none",
            fix="--device cpu on every machine, or no more processes than there are GPUs.",
        )
    _check_settings(settings)
    if not on_gpu:
        yield
        return
    _gradient_group = dist.new_group(backend="nccl", timeout=TIMEOUT)  # type: ignore[assignment]
    try:
        yield
    except BaseException:
        with suppress(RuntimeError):
            _gradient_group.abort()  # type: ignore[union-attr] - else NCCL waits for processes that have ended
        raise
    else:
        dist.destroy_process_group(_gradient_group)
    finally:
        _gradient_group = None


def _check_settings(settings: Mapping[str, Any]) -> None:
    ours = json.loads(json.dumps(settings, default=str))
    theirs = run_on_main(lambda: ours)
    for name, value in theirs.items():
        if (own := ours.get(name)) != value:
            raise GanvasError(
                f"Rank {rank()} has another {name} than rank 0: {own} instead of {value}.",
                expected="the same command and the same data on every machine",
                fix="give each machine the same command.",
            )


def average_gradients(network: nn.Module) -> Tensor:
    """Averages the gradients over the processes in one flat all-reduce, in place.

    A parameter that only some processes used, as of a network of the user's own with random depth, has zero on the
    others; what no process used stays without a gradient.

    Returns:
        The norm of the averaged gradient, a float scalar tensor on the device.
    """
    parameters = [p for p in network.parameters() if p.requires_grad or p.grad is not None]
    if world_size() > 1:
        used = torch.tensor([p.grad is not None for p in parameters], device=parameters[0].device)
        own = [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters]
        flat = torch.cat([*own, used.to(own[0].dtype)])
        all_reduce_sum([flat])
        flat /= world_size()
        *parts, used = flat.split([*(p.numel() for p in parameters), len(parameters)])
        absent = [i for i, p in enumerate(parameters) if p.grad is None]
        for p, part in zip(parameters, parts, strict=True):
            if p.grad is not None:
                p.grad.copy_(part.view_as(p))
        share = used.tolist() if absent else []  # waits for the device
        for i in absent:
            if share[i]:
                parameters[i].grad = parts[i].view_as(parameters[i]).clone()
    return torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])


def all_reduce_sum(tensors: Iterable[Tensor]) -> None:
    """Sums each tensor over the processes, in place."""
    if world_size() > 1:
        with _answers():
            for tensor in tensors:
                dist.all_reduce(tensor, group=_gradient_group)


def all_reduce_mean(value: Tensor) -> Tensor:
    """The mean of a tensor over the processes."""
    if world_size() > 1:
        value = value.clone()
        all_reduce_sum([value])
        value /= world_size()
    return value


def broadcast(tensors: Iterable[Tensor]) -> None:
    """Replaces each tensor by that of the main process, in place."""
    if world_size() > 1:
        with _answers():
            for tensor in tensors:
                dist.broadcast(tensor, src=0, group=_gradient_group)


def all_reduce_any(*flags: bool) -> list[bool]:
    """For each flag, whether it is set on any process; does not wait for a GPU."""
    if world_size() == 1:
        return list(flags)
    values = torch.tensor(flags, dtype=torch.float32)
    with _answers():
        dist.all_reduce(values, op=dist.ReduceOp.MAX)
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
    with _answers():
        dist.broadcast_object_list(outcome, src=0)
    if outcome[1] is not None:
        if is_main_process():
            raise outcome[1]
        sys.exit(1)  # the main process prints the error
    return outcome[0]


@contextmanager
def _answers() -> Iterator[None]:
    """Around what waits for the other processes: what Gloo, NCCL and the store raise becomes a LostProcess."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise _lost(error) from error


def _lost(error: BaseException) -> LostProcess:
    """What is said where another process has ended or does not answer."""
    _ignore_sigterm()
    reason, resumes = _first_line(error), "the same command resumes from the last saved state."
    if told := _read_failure():
        return LostProcess(
            f"Rank {told['rank']}, on {told['host']}, has ended, so rank {rank()} stops too. It said: {told['what']}",
            fix=told["fix"] or resumes,
        )
    if not dist.is_initialized():
        return LostProcess(
            f"Rank {rank()} found no connection to the other processes of this run ({reason}).",
            expected=f"{world_size()} processes that reach each other",
            fix="start every machine within ten minutes; where a machine has several networks, GLOO_SOCKET_IFNAME and "
            "NCCL_SOCKET_IFNAME name the one to use, such as eth0.",
        )
    if "timed out" in str(error).lower():
        return LostProcess(
            f"Another process of this run has not answered for too long, so rank {rank()} stops ({reason}).",
            fix=f"look at that machine and at the network; {resumes}",
        )
    return LostProcess(
        f"Another process of this run has ended without a message, so rank {rank()} stops too ({reason}).",
        expected="every process to live: the system kills one where memory runs out",
        fix=resumes,
    )


def _tell_others(error: BaseException) -> None:
    """Leaves for the other processes why this one ends; what another one left first stays."""
    if _store is None:
        return
    what, fix = (error.what, error.fix) if isinstance(error, GanvasError) else (_first_line(error), "")
    interrupted = isinstance(error, KeyboardInterrupt)
    told = {"rank": rank(), "host": socket.gethostname(), "what": what, "fix": fix, "interrupted": interrupted}
    with suppress(RuntimeError):
        _store.compare_set(_FAILED, "", json.dumps(told))


def _read_failure() -> dict[str, Any] | None:
    """What a process that failed has left."""
    with suppress(RuntimeError, ValueError):
        if _store is not None and _store.check([_FAILED]):
            return json.loads(_store.get(_FAILED))
    return None


def _ignore_sigterm() -> None:
    """From here to the end: torchrun ends the processes beside one that failed, before they have said why they end."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _first_line(error: BaseException) -> str:
    line = (str(error).splitlines() or [""])[0]
    text = re.sub(r"^\[\S+\] |\. This is typically .*", "", line).rstrip(".")  # Gloo's place in its source, and advice
    return text or ("it was interrupted" if isinstance(error, KeyboardInterrupt) else type(error).__name__)
