"""Ganvas: train, judge, diagnose, compare and use generative adversarial networks.

    run = ganvas.train("digits", kimg=100)            # a run folder under runs/
    images = ganvas.load(run).sample(seeds=range(64)) # uint8 [64 c h w]
    found = ganvas.evaluate(run)                      # numbers, each beside its floor

Names are imported when first used, so that the command line answers at once.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from ganvas.api import train
    from ganvas.errors import GanvasError
    from ganvas.judge.evaluate import evaluate
    from ganvas.runs.folder import Run
    from ganvas.sample import load

_HOMES = {"train": "api", "load": "sample", "Run": "runs.folder", "GanvasError": "errors", "evaluate": "judge.evaluate"}

__all__ = ["GanvasError", "Run", "__version__", "evaluate", "load", "train"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ganvas' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"ganvas.{_HOMES[name]}"), name)
