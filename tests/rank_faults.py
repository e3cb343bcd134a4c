"""Trains a configuration as one of several ranks, with a fault in this one, for tests.

Usage: python rank_faults.py CONFIG_JSON NAME [FAULT]
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch

from ganvas.cli import run_reporting_errors
from ganvas.config import TrainConfig, from_json
from ganvas.training import distributed, start
from ganvas.training.loop import Session
from ganvas.training.state import TrainState

AT = 140
"""The images shown before the round that has the fault; the state of 100 is saved."""


def no_memory() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 79.25 GiB in total.")


def defect() -> None:
    raise ZeroDivisionError("division by zero")


FAULTS: dict[str, Callable[[], object]] = {
    "exits": lambda: os._exit(7),
    "exits on rank 1": lambda: os._exit(7) if os.environ["RANK"] == "1" else None,
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "killed early": lambda: None,
    "no memory early": lambda: None,
    "terminated": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "no memory": no_memory,
    "defect": defect,
    "slow": lambda: time.sleep(1.0),
    "silent": lambda: time.sleep(30),
    "impatient": lambda: None,
    "slow end": lambda: None,
}


def install(fault: str) -> None:
    train_round = TrainState.train_round

    def train_with_fault(self: TrainState, batches: Any, nimg: int) -> Any:
        if nimg == AT:
            FAULTS[fault]()
        return train_round(self, batches, nimg)

    TrainState.train_round = train_with_fault  # type: ignore[method-assign]
    if fault == "no memory early":
        start.estimate_cost = lambda *_: no_memory()
    if fault == "killed early":
        start.estimate_cost = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    if fault == "slow end":
        finish = Session._finish

        def finish_slowly(self: Session, stopped: bool) -> None:
            time.sleep(2)
            finish(self, stopped)
            Path("finished").touch()

        Session._finish = finish_slowly  # type: ignore[method-assign]
    if fault == "impatient":
        distributed.TIMEOUT = timedelta(seconds=2)


def main(config: str, name: str, fault: str = "") -> int:
    start.measure_speed = lambda *_: 1000.0  # its rounds would have the fault too
    if fault:
        install(fault)
    return run_reporting_errors(lambda: start.train(from_json(TrainConfig, json.loads(config)), name=name))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
