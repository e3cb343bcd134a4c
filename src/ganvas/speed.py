"""The recent speed, from which the time left is estimated."""

import time
from collections import deque

WINDOW_SECONDS = 30.0
"""Seconds over which the speed is measured."""


class SpeedMeter:
    """Work per second over the last WINDOW_SECONDS, or since the update before the last if that is longer ago."""

    def __init__(self) -> None:
        self._marks = deque[tuple[float, float]]()

    def update(self, done: float) -> None:
        """Records how much work is done by now. Pauses count as time: they delay the end too."""
        now = time.monotonic()
        self._marks.append((now, done))
        while len(self._marks) > 2 and self._marks[1][0] <= now - WINDOW_SECONDS:
            self._marks.popleft()

    @property
    def per_second(self) -> float | None:
        """None before the second update."""
        if not self._marks:
            return None
        (began, before), (now, done) = self._marks[0], self._marks[-1]
        return (done - before) / (now - began) if now > began else None
