"""Trackers for tests: one that writes down what it is told, and some that fail."""

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ganvas.trackers.tracker import Facts, Note, Opened, State


class Recording:
    """Writes every call as a line of `file` in the working directory."""

    rewinds = False

    def __init__(self, file: str = "recorded.jsonl") -> None:
        self._file = Path(file)

    def _write(self, call: str, **arguments: Any) -> None:
        with self._file.open("a") as file:
            file.write(json.dumps({"call": call, **arguments}) + "\n")

    def open(self, facts: Facts, id: str | None, after: int) -> Opened:
        self._write("open", id=id, after=after, config=facts.config, torch="torch" in sys.modules)
        return Opened(id or f"run-{os.getpid()}", str(self._file), "cat shows it.")

    def log_numbers(self, nimg: int, numbers: Mapping[str, float], time: float) -> None:
        self._write("numbers", nimg=nimg, numbers=dict(numbers), time=time)

    def log_image(self, nimg: int, name: str, file: Path, time: float) -> None:
        self._write("image", nimg=nimg, name=name, file=file.name, bytes=file.stat().st_size)

    def log_notes(self, new: Sequence[Note], every: Sequence[Note]) -> None:
        self._write("notes", new=[vars(note) for note in new], every=len(every))

    def log_evaluation(self, nimg: int, numbers: Mapping[str, float], table: str, time: float) -> None:
        self._write("evaluation", nimg=nimg, numbers=dict(numbers), table=table)

    def save(self) -> None:
        pass

    def close(self, state: State) -> None:
        self._write("close", state=state)


class Rewinding(Recording):
    rewinds = True


class FailsToOpen(Recording):
    def open(self, facts: Facts, id: str | None, after: int) -> Opened:
        raise RuntimeError("no such server")


class FailsToLog(Recording):
    def log_numbers(self, nimg: int, numbers: Mapping[str, float], time: float) -> None:
        raise OSError(28, "No space left on device")


class Crashes(Recording):
    def log_numbers(self, nimg: int, numbers: Mapping[str, float], time: float) -> None:
        print("out of luck", file=sys.stderr, flush=True)
        os._exit(7)


class HangsAtFinish(Recording):
    def close(self, state: State) -> None:
        time.sleep(1000)


class HangsAtStart(Recording):
    def open(self, facts: Facts, id: str | None, after: int) -> Opened:
        time.sleep(1000)
        raise AssertionError


class NoTracker:
    rewinds = False
