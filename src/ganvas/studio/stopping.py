"""Stops a training or comparison that another program started: the process that holds its lock is asked once."""

import os
import signal
import time
from pathlib import Path

import psutil

from ganvas.runs.lock import is_being_trained
from ganvas.studio.answers import Refusal

LOOKS, PAUSE = 3, 0.15
"""How often, and at what interval in seconds, it is looked who has the lock open: others open it for a moment."""

_asked: set[tuple[int, float]] = set()
"""(process, time of its start) of those that were asked: a second time would end them without saving."""


def stop_holder(path: Path) -> None:
    """Sends SIGTERM to the process that trains a run or makes a comparison; it saves its state, as at Ctrl-C.

    Of several processes under torchrun, all stop with it.

    Another studio may do the same: a second SIGTERM changes nothing, a second SIGINT would end it without saving.

    Raises:
        Refusal: the folder is not locked, or by a process of another user or machine.
    """
    if not is_being_trained(path):
        raise Refusal(409, f"{path.name} is not being trained.", expected="a run or comparison that is going on")
    holders = _find_holders(path)
    if len(holders) != 1:
        raise Refusal(
            409,
            f"The process that trains {path.name} was not found{' for certain' if holders else ''}.",
            expected="a process of this user on this machine",
            fix="press Ctrl-C in its terminal.",
        )
    [process] = holders
    if (which := (process.pid, process.create_time())) not in _asked:
        _asked.add(which)
        process.send_signal(signal.SIGTERM)


def _find_holders(path: Path) -> list[psutil.Process]:
    """The processes of this user that keep the lock open: is_being_trained has it open for 0.05 s at the most."""
    lock, own = (path / ".lock").stat(), os.getuid() if hasattr(os, "getuid") else None
    found: dict[int, psutil.Process] = {}
    for look in range(LOOKS):
        if look:
            time.sleep(PAUSE)
        candidates = found.values() if look else psutil.process_iter()
        found = {one.pid: one for one in list(candidates) if one.pid != os.getpid() and _has_open(one, lock, own)}
    return list(found.values())


def _has_open(process: psutil.Process, file: os.stat_result, user: int | None) -> bool:
    try:
        if user is not None and process.uids().real != user:
            return False
        return any(_is(open_.path, file) for open_ in process.open_files() if open_.path.endswith(".lock"))
    except (psutil.Error, OSError):  # it has just ended, or is not ours
        return False


def _is(path: str, file: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(path), file)
    except OSError:
        return False
