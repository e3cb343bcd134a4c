"""Keeps a training loop's pictures at marks of its time; sampling does not count. Needs NumPy only.

The scripts of the tutorials' loops use it. They are called as `SCRIPT pictures.npy FOLDER SEED MARK...`, marks in
minutes, and write FOLDER/MARK.npy, uint8 [n c h w], and a line of FOLDER/marks.jsonl for each.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

GENERATED = 2000
"""Pictures at each mark."""


class Marks:
    """The clock of a loop. Make it right before the first round.

    Attributes:
        images: real pictures shown so far.
    """

    def __init__(self, folder: Path, minutes: list[float], sample: Callable[[int], np.ndarray]) -> None:
        """`sample` makes n pictures, uint8 [n c h w]."""
        self.folder, self.minutes, self.sample = folder, list(minutes), sample
        self.images = 0
        self.start, self.paused, self.paused_cpu = time.perf_counter(), 0.0, 0.0

    def after_round(self, images: int) -> bool:
        """Call it after each round with the number of its real pictures. Returns whether the time is over."""
        self.images += images
        now, cpu = time.perf_counter(), time.process_time()
        seconds = now - self.start - self.paused
        if self.minutes and seconds >= 60 * self.minutes[0]:
            mark = self.minutes.pop(0)
            np.save(self.folder / f"{mark:g}.npy", self.sample(GENERATED))
            line = {
                "minutes": mark, "seconds": round(seconds, 1), "cpu_seconds": round(cpu - self.paused_cpu, 1),
                "images": self.images,
            }  # fmt: skip
            with (self.folder / "marks.jsonl").open("a") as file:
                file.write(json.dumps(line) + "\n")
            self.paused += time.perf_counter() - now
            self.paused_cpu += time.process_time() - cpu
        return not self.minutes


def read_arguments() -> tuple[np.ndarray, Path, int, list[float]]:
    """The pictures, uint8 [n c h w], the folder for the results, the seed, and the marks in minutes."""
    pictures, folder, seed, *minutes = sys.argv[1:]
    return np.load(pictures), Path(folder), int(seed), [float(mark) for mark in minutes]
