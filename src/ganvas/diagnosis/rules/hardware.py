"""Conditions of the machine rather than of the training: memory that only grows, lower throughput."""

import numpy as np

from ganvas.diagnosis.history import History
from ganvas.diagnosis.rules.conditions import Condition, Detection, three_digits
from ganvas.diagnosis.rules.fixes import Fix

GROWN, MEGABYTES = 1.25, 200
"""By how much memory must have grown: relatively, and in all."""


def growing(history: History) -> Detection | None:
    """Memory that rises steadily: not in one jump, as when something is first needed, and not back again."""
    memory = history["memory"].finite()
    if len(memory) < 12:
        return None
    value = memory.value[len(memory) // 4 :]
    growth, steps = value[-1] - value[0], np.diff(value)
    if value[-1] < GROWN * value[0] or growth < MEGABYTES:
        return None
    if np.mean(steps > 0.2 * growth / len(steps)) < 0.6 or steps.max() > 0.5 * growth:
        return None
    since = float(memory.at[len(memory) // 4])
    rise = f"the process held {three_digits(float(value[0]))} MB, and now holds {three_digits(float(value[-1]))} MB"
    return Detection(since, (rise,))


def slowing(history: History) -> Detection | None:
    """A speed below half of what it was, for a quarter of the time; not where networks grow."""
    speed = history["kimg_per_s"].finite()
    if len(speed) < 16 or "growth" in history:
        return None
    quarter = len(speed) // 4
    before, now = np.median(speed.value[quarter : 2 * quarter]), np.median(speed.value[-quarter:])
    if speed.value[-quarter:].max() > 0.6 * before or now > 0.5 * before:
        return None
    slower = f"{three_digits(1000 * float(now))} images/s, and {three_digits(1000 * float(before))} before"
    return Detection(float(speed.at[-quarter]), (slower,))


GROWING = Condition(
    "memory growth", "warning", "The training holds more and more memory, and will run out of it.", (),
    ("tensors with their graphs are kept, such as losses in a list", "a data loader that keeps what it read"),
    (Fix("keep loss.item() or loss.detach(), never the loss itself", scope="loop"),
     Fix("stop the run (Ctrl-C saves it) and go on with the same command", scope="run")), "", growing,
)  # fmt: skip
SLOWING = Condition(
    "slowing down", "note", "The training is much slower than it was.", (),
    ("something else uses the machine", "thermal throttling", "memory that has run out"),
    (Fix("check what else runs on the machine"),), "", slowing,
)  # fmt: skip
