"""--gpus N: runs the same command in N processes under torchrun, without its tracebacks.

python -m ganvas.training.launch N train …
"""

import os
import signal
import sys
from collections.abc import Sequence

from ganvas.environment import usable_cores
from ganvas.errors import GanvasError
from ganvas.interrupts import exit_on_signal

KILLED = 9
"""SIGKILL, which Windows does not name."""

SECONDS_TO_END = 20
"""Less than the 30 that torchrun gives the other processes where one has failed."""

SECONDS_TO_SAVE = 600
"""How long torchrun waits after Ctrl-C or SIGTERM until the processes have saved and ended."""


def exec_torchrun(processes: int, device: str, argv: Sequence[str]) -> None:
    """Replaces this process by torchrun with the same command; does not return.

    Args:
        device: that of --device.

    Raises:
        GanvasError: there are fewer GPUs than processes.
    """
    import torch

    gpus = torch.cuda.device_count()
    if processes < 1 or (device != "cpu" and processes > gpus):
        raise GanvasError(
            f"--gpus {processes}: this machine has {gpus} CUDA GPUs.",
            expected=f"a number from 1 to {gpus}" if gpus else "a machine with CUDA GPUs",
            fix="leave --gpus out, or add --device cpu for processes on the CPU.",
        )
    os.execv(sys.executable, [sys.executable, "-m", "ganvas.training.launch", str(processes), "train", *argv])


def _describe_kill(rank: int, number: int) -> str:
    text = f"Rank {rank} was ended by {signal.Signals(number).name}"
    return f"{text}, most likely by the system because memory ran out." if number == KILLED else f"{text}."


@exit_on_signal()  # until torchrun handles signals itself
def main(argv: Sequence[str]) -> int:
    """Runs torchrun; returns the exit status: 0, 1, or 130 after Ctrl-C or SIGTERM."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main as torchrun

    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, usable_cores() // int(argv[0]))))
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(SECONDS_TO_SAVE))
    options = ["--standalone", f"--nproc-per-node={argv[0]}"]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # under nohup
        options.append("--signals-to-handle=SIGTERM,SIGINT,SIGQUIT")
    try:
        torchrun([*options, "-m", "--", "ganvas", *argv[1:]])  # -- before --d
    except ChildFailedError as error:  # a process prints what happened, but for one that was killed
        first = min(failure.timestamp for failure in error.failures.values())
        for rank, failure in error.failures.items():
            if failure.exitcode < 0 and failure.timestamp - first < SECONDS_TO_END:  # later, torchrun has killed it
                print(f"ganvas: {_describe_kill(rank, -failure.exitcode)}", file=sys.stderr)
        return 130 if any(failure.exitcode == 130 for failure in error.failures.values()) else 1
    except SignalException:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
