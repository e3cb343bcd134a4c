"""Memory: kept between rounds instead of being returned to the system and cleared anew; and how much it was."""

import ctypes
import sys

import torch

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # from glibc's malloc.h


def keep() -> None:
    """Asks glibc to keep freed memory for the next round; does nothing elsewhere.

    Large tensors are otherwise mapped and unmapped in every round, and the kernel clears each page again: 5 to 10 %
    of a CPU round of the course CNN (docs/results.md). The process keeps its largest size until it ends.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    if mallopt(_MMAP_THRESHOLD, 1 << 30) or mallopt(_MMAP_THRESHOLD, 1 << 25):  # older ones take 32 MB at most
        mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)
        mallopt(_TOP_PAD, 1 << 26)


def peak(device: torch.device) -> int | None:
    """Bytes this process held at the most: on the GPU, or of the machine's memory; None where that is not told."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
