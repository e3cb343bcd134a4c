"""Ganvas: train, evaluate, diagnose, compare and use generative adversarial networks.

    run = ganvas.train("digits", kimg=100)            # a run folder under runs/
    images = ganvas.load(run).sample(seeds=range(64)) # uint8 [64 c h w]
    found = ganvas.evaluate(run)                      # numbers, each beside its real-data baseline
    print(ganvas.diagnose(run))                       # what goes wrong, why, and what to change
    ganvas.compare(["cnn", "mlp"], data="mnist", kimg=50)  # which is better, and is it significant: one report
    ganvas.project(run, "photo.jpg").save("place")    # where a photo lies in the latent space
    ganvas.directions(run).sheet()                    # along which pictures change in ways that mean something
    ganvas.export(run, to="onnx", out="digits.onnx")   # for programs without Ganvas, checked against our own images
    ganvas.stylize("photo.jpg", "painting.jpg").save("out.png")
    ganvas.log_run(run, to="tensorboard")             # or train(log_to=…): also wandb, trackio, mlflow
    with ganvas.watch(G, D) as probe: …               # the same for a training loop of your own

Names are imported when first used, so that the command line answers at once.
"""

from typing import TYPE_CHECKING, Any

from ganvas.version import __version__

if TYPE_CHECKING:
    from ganvas.api import train
    from ganvas.comparison.comparison import Comparison, compare
    from ganvas.config import TrainConfig
    from ganvas.diagnosis.diagnosis import Diagnosis, Finding
    from ganvas.diagnosis.loops.probe import Probe, watch
    from ganvas.diagnosis.sources import diagnose
    from ganvas.errors import GanvasError
    from ganvas.evaluation.evaluation import evaluate
    from ganvas.evaluation.measures import Value
    from ganvas.evaluation.result import Evaluation
    from ganvas.exporting.exported import Exported
    from ganvas.exporting.formats import export
    from ganvas.latent_space.axes import Directions, directions
    from ganvas.latent_space.projection import Projection, project
    from ganvas.latents import Latents, load_latents
    from ganvas.runs.folder import Run
    from ganvas.samples import Samples
    from ganvas.sampling import Sampler, load
    from ganvas.style.images import StyleImage
    from ganvas.style.options import StyleOptions
    from ganvas.style.transfer import Iterate, stylize
    from ganvas.trackers.finished import Logged, log_run

_MODULES = {
    "api": ["train"],
    "comparison.comparison": ["Comparison", "compare"],
    "config": ["TrainConfig"],
    "diagnosis.diagnosis": ["Diagnosis", "Finding"],
    "diagnosis.loops.probe": ["Probe", "watch"],
    "diagnosis.sources": ["diagnose"],
    "errors": ["GanvasError"],
    "evaluation.evaluation": ["evaluate"],
    "evaluation.measures": ["Value"],
    "evaluation.result": ["Evaluation"],
    "exporting.exported": ["Exported"],
    "exporting.formats": ["export"],
    "latent_space.axes": ["Directions", "directions"],
    "latent_space.projection": ["Projection", "project"],
    "latents": ["Latents", "load_latents"],
    "runs.folder": ["Run"],
    "samples": ["Samples"],
    "sampling": ["Sampler", "load"],
    "style.options": ["StyleOptions"],
    "style.images": ["StyleImage"],
    "style.transfer": ["Iterate", "stylize"],
    "trackers.finished": ["Logged", "log_run"],
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Comparison", "Diagnosis", "Directions", "Evaluation", "Exported", "Finding", "GanvasError", "Iterate",
    "Latents", "Logged", "Probe", "Projection", "Run", "Sampler", "Samples", "StyleImage", "StyleOptions",
    "TrainConfig", "Value", "__version__", "compare", "diagnose", "directions", "evaluate", "export", "load",
    "load_latents", "log_run", "project", "stylize", "train", "watch",
]  # fmt: skip


if not TYPE_CHECKING:  # a type checker knows the names above, and no others

    def __getattr__(name: str) -> Any:
        if name not in _MODULE_OF:
            raise AttributeError(f"module 'ganvas' has no attribute {name!r}")
        from importlib import import_module

        value = getattr(import_module(f"ganvas.{_MODULE_OF[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
