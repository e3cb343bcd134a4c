"""The diagnosis in a notebook's cell, updated in place while a loop runs there."""

import sys
import time
from typing import Any

from ganvas.display import Displayed

PAUSE = 1.0
"""Seconds between two updates, at least."""


def in_notebook() -> bool:
    """Whether this code runs in the cell of a notebook that shows HTML."""
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")


class LiveDisplay:
    """One place below the cell that shows the newest state of something."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._shown_at = 0.0

    def update(self, shown: Displayed, *, now: bool = False) -> None:
        """Shows it there, at most once a second unless `now`."""
        if now or time.perf_counter() - self._shown_at >= PAUSE:
            from IPython.display import display  # pyright: ignore[reportMissingImports, reportMissingModuleSource]

            if self._handle is None:
                self._handle = display(shown, display_id=True)
            else:
                self._handle.update(shown)
            self._shown_at = time.perf_counter()
