"""What the studio has to know of the machine that only PyTorch can tell."""

import subprocess
import sys
import threading

SECONDS = 120.0
"""Time that PyTorch may take to be imported."""

_QUESTION = "from ganvas.devices import select_device; print(select_device('auto').type)"


_kind: list[str] = []
_turn = threading.Lock()


def trains_on_cpu() -> bool:
    """Whether a training uses the CPU unless it is told otherwise; True where that cannot be found out.

    A process of its own finds it out, once, because the server does not import PyTorch.
    """
    with _turn:
        if not _kind:
            command = [sys.executable, "-P", "-c", _QUESTION]
            try:
                found = subprocess.run(
                    command, capture_output=True, text=True, timeout=SECONDS, stdin=subprocess.DEVNULL, check=True
                )
            except (OSError, subprocess.SubprocessError):
                return True
            _kind.append(found.stdout.strip())
        return _kind[0] == "cpu"
