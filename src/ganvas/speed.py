"""The speed of late, from which the time left follows: a machine that becomes busy is not averaged away."""

import time
from collections import deque

WINDOW_SECONDS = 30.0
"""Seconds over which the speed is taken."""


class Speed:
    """Work done a second: over the last RECENT seconds, or since the last mark but one where that is longer ago."""

    def __init__(self) -> None:
        self._marks = deque[tuple[float, float]]()

    def mark(self, done: float) -> None:
        """So much is done now. Pauses count: they delay the end too."""
        now = time.monotonic()
        self._marks.append((now, done))
        while len(self._marks) > 2 and self._marks[1][0] <= now - WINDOW_SECONDS:
            self._marks.popleft()

    @property
    def per_second(self) -> float | None:
        """None before the second mark."""
        if not self._marks:
            return None
        (began, before), (now, done) = self._marks[0], self._marks[-1]
        return (done - before) / (now - began) if now > began else None
