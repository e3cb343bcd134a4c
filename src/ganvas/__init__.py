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
    from ganvas.compare.comparison import compare
    from ganvas.doctor.reading import diagnose
    from ganvas.doctor.watch import Probe, watch
    from ganvas.errors import GanvasError
    from ganvas.judge.evaluate import evaluate
    from ganvas.runs.folder import Run
    from ganvas.sample import load
    from ganvas.style.transfer import stylize

_HOMES = {
    "train": "api", "load": "sample", "evaluate": "judge.evaluate", "diagnose": "doctor.reading",
    "compare": "compare.comparison", "watch": "doctor.watch", "Probe": "doctor.watch", "Run": "runs.folder",
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
