"""The locks of the folders of runs and comparisons: one process trains in them at a time."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ganvas.errors import GanvasError
from ganvas.files import explain_os_error

WAIT_SECONDS = 0.2
"""Seconds to wait for a lock that `is_being_trained` holds for a moment."""


def lock_run(run: Path) -> AbstractContextManager[None]:
    """Locks a run, by its folder, for this process within the block.

    Raises:
        GanvasError: another process is training it.
    """
    fix = "wait for it, stop it, or start another run with --new."
    return _lock(run, GanvasError(f"Another process is training {run} right now.", fix=fix))


def lock_comparison(folder: Path) -> AbstractContextManager[None]:
    """Locks a comparison, by its folder, for this process within the block.

    Raises:
        GanvasError: another process is making it.
    """
    fix = "wait for it, stop it, or choose another --out."
    return _lock(folder, GanvasError(f"Another process is making the comparison {folder} right now.", fix=fix))


@contextmanager
def _lock(folder: Path, refusal: GanvasError) -> Iterator[None]:
    lock = FileLock(file := folder / ".lock")
    if file.exists() and not file.is_file():
        raise GanvasError(
            f"{file} is {'a folder' if file.is_dir() else 'no regular file'}, so {folder} cannot be locked.",
            expected="an empty file, or none",
            fix="remove it: Ganvas did not write it.",
        )
    try:
        lock.acquire(timeout=WAIT_SECONDS)
    except Timeout:
        raise refusal from None
    except OSError as error:
        raise explain_os_error(error, folder) from error
    try:
        yield
    finally:
        lock.release()


def is_being_trained(run: Path) -> bool:
    """Whether another process holds the lock of a run or comparison; False where the lock cannot be read."""
    if not (run / ".lock").exists():
        return False
    try:
        with FileLock(run / ".lock").acquire(timeout=WAIT_SECONDS / 4, poll_interval=0.01):
            return False
    except Timeout:
        return True
    except OSError:
        return False
