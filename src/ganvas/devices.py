"""Choice of the device, and the used and free memory there."""

import contextlib
import os
from pathlib import Path

import psutil
import torch

from ganvas.errors import GanvasError, describe_value


def select_device(name: str | torch.device) -> torch.device:
    """The device of a name; a GPU always with its index, which torch.cuda.set_device needs.

    Args:
        name: auto (CUDA, else MPS, else the CPU), cpu, mps, cuda (the first one) or cuda:N.

    Raises:
        GanvasError: there is no such device on this machine.
    """
    if isinstance(name, torch.device):
        name = str(name)
    if not isinstance(name, str):
        raise GanvasError(f"device is {describe_value(name)}.", expected="auto, cpu, cuda, cuda:N or mps")
    gpus, mps = torch.cuda.device_count(), torch.backends.mps.is_available()
    if name == "auto":
        name = "cuda" if gpus else "mps" if mps else "cpu"
    try:
        chosen = torch.device(name)
    except RuntimeError:
        raise GanvasError(f"'{name}' is not a device.", expected="auto, cpu, cuda, cuda:N or mps") from None
    absent = (chosen.type == "cuda" and (chosen.index or 0) >= gpus) or (chosen.type == "mps" and not mps)
    if absent or chosen.type not in ("cpu", "cuda", "mps"):
        raise GanvasError(
            f"The device {chosen} does not exist: this machine has {gpus} CUDA GPUs.",
            expected="a device of this machine",
            fix="use --device auto, or start no more processes than there are GPUs.",
        )
    return torch.device("cuda", chosen.index or 0) if chosen.type == "cuda" else chosen


def synchronize(device: torch.device) -> None:
    """Waits until what was started on a GPU is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def used_memory(device: torch.device) -> dict[str, float]:
    """memory: megabytes that this process uses now, on the GPU if `device` is one."""
    held = torch.cuda.memory_allocated(device) if device.type == "cuda" else psutil.Process().memory_info().rss
    return {"memory": round(held / 1e6, 1)}


def free_bytes(device: torch.device) -> int:
    """Free bytes on the device; on the CPU within the container's limit, and shared equally by the local processes."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = psutil.virtual_memory().available
    limit, used = (Path(f"/sys/fs/cgroup/memory.{name}") for name in ("max", "current"))
    with contextlib.suppress(OSError, ValueError):  # no such limit
        free = min(free, int(limit.read_text()) - int(used.read_text()))
    return free // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
