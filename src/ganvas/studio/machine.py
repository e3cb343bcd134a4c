"""What the studio has to know of the machine that only PyTorch can tell."""

import subprocess
import sys
from functools import cache

SECONDS = 120.0
"""Time that PyTorch may take to be imported."""

_QUESTION = "from ganvas.devices import select_device; print(select_device('auto').type)"


@cache
def trains_on_cpu() -> bool:
    """Whether a training uses the CPU unless it is told otherwise.

    A process of its own finds out, once, because the server does not import PyTorch; where it fails, so it is.
    """
    command = [sys.executable, "-P", "-c", _QUESTION]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return True
    return found.stdout.strip() in ("", "cpu")
