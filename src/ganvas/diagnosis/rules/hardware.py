"""Conditions of the machine rather than of the game: memory that only grows, a training that slows down."""

import numpy as np

from ganvas.diagnosis.history import History
from ganvas.diagnosis.rules.conditions import Condition, Cure, Sighting, told

GROWN, MEGABYTES = 1.25, 200
"""By how much memory must have grown: relatively, and in all."""


def growing(history: History) -> Sighting | None:
    """Memory that rises steadily: not in one jump, as when something is first needed, and not back again."""
    held = history["memory"].finite()
    if len(held) < 12:
        return None
    value = held.value[len(held) // 4 :]
    growth, steps = value[-1] - value[0], np.diff(value)
    if value[-1] < GROWN * value[0] or growth < MEGABYTES:
        return None
    if np.mean(steps > 0.2 * growth / len(steps)) < 0.6 or steps.max() > 0.5 * growth:
        return None
    since = float(held.at[len(held) // 4])
    rise = f"this process held {told(float(value[0]))} MB, and now holds {told(float(value[-1]))} MB"
    return Sighting(since, (rise,))


def slowing(history: History) -> Sighting | None:
    """A speed that is less than half of what it was, for a quarter of the time; networks that grow apart."""
    speed = history["kimg_per_s"].finite()
    if len(speed) < 16 or "growth" in history:
        return None
    quarter = len(speed) // 4
    before, now = np.median(speed.value[quarter : 2 * quarter]), np.median(speed.value[-quarter:])
    if speed.value[-quarter:].max() > 0.6 * before or now > 0.5 * before:
        return None
    slower = f"{told(1000 * float(now))} pictures/s, and {told(1000 * float(before))} before"
    return Sighting(float(speed.at[-quarter]), (slower,))


GROWING = Condition(
    "memory grows", "warning", "The training holds more and more memory, and will run out of it.", (),
    ("tensors with their graphs are kept, such as losses in a list", "a data loader that keeps what it read"),
    (Cure("keep loss.item() or loss.detach(), never the loss itself"),), "", growing,
)  # fmt: skip
SLOWING = Condition(
    "slowing down", "note", "The training is much slower than it was.", (),
    ("something else uses the machine", "heat", "memory that has run out"), (Cure("see what else runs"),), "", slowing,
)  # fmt: skip
