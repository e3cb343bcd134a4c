"""Ganvas: train, judge, diagnose, compare and use generative adversarial networks.

    run = ganvas.train("digits", kimg=100)            # a run folder under runs/
    images = ganvas.load(run).sample(seeds=range(64)) # uint8 [64 c h w]
    found = ganvas.evaluate(run)                      # numbers, each beside its floor
    print(ganvas.diagnose(run))                       # what goes wrong, why, and what to change
    ganvas.compare(["cnn", "mlp"], data="mnist", kimg=50)  # which is better, and is it luck: one report
    ganvas.stylize("photo.jpg", "painting.jpg").save("out.png")
    with ganvas.watch(G, D) as probe: …               # the same for a training loop of your own

Names are imported when first used, so that the command line answers at once.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from ganvas.api import train
    from ganvas.comparison.comparison import compare
    from ganvas.diagnosis.probe import Probe, watch
    from ganvas.diagnosis.sources import diagnose
    from ganvas.errors import GanvasError
    from ganvas.evaluation.evaluation import evaluate
    from ganvas.runs.folder import Run
    from ganvas.sampling import load
    from ganvas.style.transfer import stylize

_HOMES = {
    "train": "api", "load": "sampling", "evaluate": "evaluation.evaluation", "diagnose": "diagnosis.sources",
    "compare": "comparison.comparison", "watch": "diagnosis.probe", "Probe": "diagnosis.probe", "Run": "runs.folder",
    "GanvasError": "errors", "stylize": "style.transfer",
}  # fmt: skip

__all__ = [
    "GanvasError", "Probe", "Run", "__version__", "compare", "diagnose", "evaluate", "load", "stylize", "train",
    "watch",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ganvas' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"ganvas.{_HOMES[name]}"), name)
