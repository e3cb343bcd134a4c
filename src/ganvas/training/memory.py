"""Memory: glibc's settings that speed training up, and the peak of this process."""

import ctypes
import sys
from contextlib import suppress
from pathlib import Path

import torch

from ganvas import devices

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # from glibc's malloc.h


def keep_freed_memory() -> None:
    """Asks glibc to keep freed memory for the next round; does nothing elsewhere.

    Large tensors are otherwise mapped and unmapped in every round, and the kernel clears each page again: 5 to 10 %
    of a CPU round of the classic CNN (docs/results.md). The process keeps its largest size until it ends.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    if mallopt(_MMAP_THRESHOLD, 1 << 30) or mallopt(_MMAP_THRESHOLD, 1 << 25):  # older versions take 32 MB at most
        mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)
        mallopt(_TOP_PAD, 1 << 26)


def peak_bytes(device: torch.device) -> int | None:
    """Peak bytes of this process: on the GPU, or in main memory; None on Windows, which does not report it."""
    if device.type != "cpu":
        return devices.peak_memory(device)
    if sys.platform.startswith("linux"):
        with suppress(OSError, StopIteration):  # ru_maxrss is never below the peak of the process that started this one
            lines = Path("/proc/self/status").read_text().splitlines()
            return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmHWM:")))
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
