"""The lock of a run folder: one process trains it at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ganvas.errors import GanvasError
from ganvas.files import explain_os_error

WAIT_SECONDS = 0.2
"""Seconds to wait for a lock that `is_being_trained` holds for a moment."""


@contextmanager
def lock_run(run: Path) -> Iterator[None]:
    """Locks a run, by its folder, for this process within the block.

    Raises:
        GanvasError: another process is training it.
    """
    lock = FileLock(file := run / ".lock")
    if file.exists() and not file.is_file():
        raise GanvasError(
            f"{file} is {'a folder' if file.is_dir() else 'no regular file'}, so {run} cannot be locked.",
            expected="an empty file, or none",
            fix="remove it: Ganvas did not write it.",
        )
    try:
        lock.acquire(timeout=WAIT_SECONDS)
    except Timeout:
        raise GanvasError(
            f"Another process is training {run} right now.",
            fix="wait for it, stop it, or start another run with --new.",
        ) from None
    except OSError as error:
        raise explain_os_error(error, run) from error
    try:
        yield
    finally:
        lock.release()


def is_being_trained(run: Path) -> bool:
    """Whether another process holds the lock of the run; False where the lock cannot be read."""
    if not (run / ".lock").exists():
        return False
    try:
        with FileLock(run / ".lock").acquire(timeout=WAIT_SECONDS / 4, poll_interval=0.01):
            return False
    except Timeout:
        return True
    except OSError:
        return False
