"""Choice of the device, what it can do, and the used and free memory there."""

import contextlib
import gc
import os
from pathlib import Path

import psutil
import torch

from ganvas.errors import GanvasError, describe_value
from ganvas.pytorch_state import GPU_MODULES

NAMES = "auto, cpu, cuda, cuda:N, xpu, xpu:N or mps"

CONTROL_GROUP = Path("/sys/fs/cgroup")
"""Where Linux tells a container its limits."""

PINNED = frozenset({"cuda"})
"""Kinds of device to which pinned memory is copied without waiting for what the device does."""


def count_gpus() -> dict[str, int]:
    """How many GPUs of each kind there are; `auto` takes the first of the first kind."""
    counts = {kind: module.device_count() for kind, module in GPU_MODULES.items()}
    return {**counts, "mps": int(torch.backends.mps.is_available())}


def select_device(name: str | torch.device) -> torch.device:
    """The device of a name; of CUDA and XPU always with its index, which torch.cuda.set_device needs.

    Args:
        name: auto (CUDA, else XPU, else MPS, else the CPU), cpu, mps, cuda or xpu (the first one), cuda:N or xpu:N.

    Raises:
        GanvasError: there is no such device on this machine.
    """
    if isinstance(name, torch.device):
        name = str(name)
    if not isinstance(name, str):
        raise GanvasError(f"device is {describe_value(name)}.", expected=NAMES)
    gpus = count_gpus()
    if name == "auto":
        name = next((kind for kind, count in gpus.items() if count), "cpu")
    try:
        chosen = torch.device(name)
    except RuntimeError:
        raise GanvasError(f"'{name}' is not a device.", expected=NAMES) from None
    index = chosen.index or 0
    if chosen.type != "cpu" and index >= gpus.get(chosen.type, 0):
        counts = ", ".join(f"{count} of {kind}" for kind, count in gpus.items())
        raise GanvasError(
            f"The device {chosen} does not exist: the GPUs of this machine are {counts}.",
            expected="a device of this machine",
            fix="use --device auto, or start no more processes than there are GPUs.",
        )
    return torch.device(chosen.type, index) if chosen.type in GPU_MODULES else chosen


def empty_caches() -> None:
    """Gives back the memory of GPUs that PyTorch keeps for tensors to come."""
    gc.collect()
    for module in GPU_MODULES.values():
        module.empty_cache()  # nothing, where this process has not used such a GPU
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def widest_float(device: torch.device) -> torch.dtype:
    """float64 where the device can compute with it; float32 on MPS and on those XPUs that cannot."""
    narrow = device.type == "mps" or (device.type == "xpu" and not torch.xpu.get_device_properties(device).has_fp64)
    return torch.float32 if narrow else torch.float64


def upload(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor of the CPU on the device; CUDA copies it from pinned memory and is not waited for.

    MPS and XPU may read ordinary memory after a call that does not wait, when it belongs to something else, and then
    compute with wrong numbers (PyTorch issue 189690).
    """
    if device.type in PINNED:
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def synchronize(device: torch.device) -> None:
    """Waits until what was started on a GPU is done."""
    if device.type in GPU_MODULES:
        GPU_MODULES[device.type].synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def used_memory(device: torch.device) -> dict[str, float]:
    """memory: megabytes that this process uses now, on the GPU if `device` is one."""
    if device.type in GPU_MODULES:
        held = GPU_MODULES[device.type].memory_allocated(device)
    elif device.type == "mps":
        held = torch.mps.current_allocated_memory()
    else:
        held = psutil.Process().memory_info().rss
    return {"memory": round(held / 1e6, 1)}


def peak_memory(device: torch.device) -> int | None:
    """Peak bytes of this process on a GPU; None on the CPU.

    Of MPS PyTorch knows no peak: what the driver has given, which is kept for later use.
    """
    if device.type in GPU_MODULES:
        return GPU_MODULES[device.type].max_memory_allocated(device)
    return torch.mps.driver_allocated_memory() if device.type == "mps" else None


def free_bytes(device: torch.device) -> int:
    """Free bytes on the device; on the CPU within the container's limit, and shared equally by the local processes.

    MPS has the main memory, of which Metal recommends to use a part at most.
    """
    if device.type in GPU_MODULES:
        try:
            return GPU_MODULES[device.type].mem_get_info(device)[0]
        except RuntimeError:  # some drivers of XPU do not say it
            if device.type == "cuda":
                raise
            return torch.xpu.get_device_properties(device).total_memory - torch.xpu.memory_reserved(device)
    free = psutil.virtual_memory().available
    if device.type == "mps":
        return min(free, max(0, torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()))
    with contextlib.suppress(OSError, ValueError, KeyError):  # no such limit
        free = min(free, _free_in_container())
    return free // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def _free_in_container() -> int:
    """Bytes below the limit of the control group (version 2); its cached files, which the kernel drops, count as free.

    Raises:
        OSError, ValueError, KeyError: there is no limit.
    """
    limit, used = (int((CONTROL_GROUP / f"memory.{name}").read_text()) for name in ("max", "current"))
    stat = dict(line.split() for line in (CONTROL_GROUP / "memory.stat").read_text().splitlines())
    return limit - used + int(stat["inactive_file"]) + int(stat["active_file"])


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a GPU had no memory left for a tensor; of MPS it is a RuntimeError that says so."""
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "MPS backend out of memory" in str(error)
    )


def may_lack_operations(device: torch.device) -> bool:
    """Whether PyTorch implements fewer operations on it than on CUDA and the CPU."""
    return device.type in ("mps", "xpu")


def explain_missing_operation(error: BaseException) -> GanvasError | None:
    """What to do where PyTorch has no implementation of an operation for a GPU; None for any other error."""
    text = str(error)
    if not isinstance(error, NotImplementedError) or not any(f"{kind} " in text for kind in ("MPS", "XPU")):
        return None
    kind = "MPS" if "MPS " in text else "XPU"
    operation = next((word.strip("'`\".") for word in text.split() if "aten::" in word), None)
    fallback = (
        f"set the environment variable PYTORCH_ENABLE_{kind}_FALLBACK=1, which computes this operation on the CPU; or "
    )
    return GanvasError(
        f"PyTorch {torch.__version__} cannot compute {operation or 'an operation'} on {kind}.",
        expected="a GPU for which it has all operations that this network needs",
        fix=f"{fallback if operation else ''}--device cpu.",  # what lacks only some sizes does not fall back
    )
