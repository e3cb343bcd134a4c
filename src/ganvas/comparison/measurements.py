"""Measurements of one run: progress, cost, evaluation, diagnosis, curves; and sample images."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ganvas import image_io, user_code
from ganvas.data import DataOptions
from ganvas.data.cached.cache_files import hash_file
from ganvas.devices import select_device
from ganvas.diagnosis.diagnosis import verdict
from ganvas.diagnosis.sources import diagnose
from ganvas.errors import GanvasError
from ganvas.evaluation.evaluation import MIN_IMAGES, evaluate
from ganvas.evaluation.modes import predict_classes
from ganvas.evaluation.reference import Reference
from ganvas.evaluation.reference_features import Memo, counting_classifier_once, extract_reference, open_reference_once
from ganvas.evaluation.result import draw_closest_pairs
from ganvas.features.extractors import load_extractor
from ganvas.files import make_folder, write_json
from ganvas.networks import Shape
from ganvas.reading import read_json
from ganvas.runs import snapshot
from ganvas.runs.card import read_card
from ganvas.runs.folder import Run
from ganvas.runs.log import read_events, read_stats
from ganvas.sampling import load
from ganvas.threads import cpu_threads
from ganvas.training.estimate import estimate_cost, round_flops

CURVE_NAMES = ("D/loss", "G/loss", "D/real", "D/fake", "quality", "D/updates", "G/updates", "D/gradient", "G/gradient")
"""Quantities of stats.jsonl that are kept as curves over images shown and seconds."""

MAX_POINTS = 200
"""Most points of a curve: more cannot be distinguished in the figure."""

CLASS_SEARCH_IMAGES = 400
"""Generated images that are searched for each class."""

IMAGES_PER_CLASS, MAX_CLASSES = 8, 10
"""Most images of a class, and most classes, in the grid of classes."""

INTERPOLATION_LATENTS, INTERPOLATION_STEPS = 5, 8
"""Latents of the interpolation, and images from one latent to the next."""


@dataclass(frozen=True)
class EvaluationSettings:
    """How images are evaluated: the same for all runs."""

    count: int = 10_000
    features: str = "eye"
    weights: str | None = None
    device: str = "auto"

    def check(self) -> None:
        """Checks, before any training, what the evaluation after it needs.

        Raises:
            GanvasError: too few images, or the extractor, its weights or the device is missing.
        """
        if self.count < MIN_IMAGES:
            raise GanvasError(f"--count is {self.count}.", expected=f"at least {MIN_IMAGES}, better 10000")
        device = str(select_device(self.device))
        if self.features != "classifier" or self.weights is not None:
            load_extractor(self.features, weights=None if self.weights is None else Path(self.weights), device=device)


def estimate_run_cost(run: Run) -> dict[str, Any]:
    """Parameters and operations of a run's networks; the same for all seeds of a candidate."""
    shape = Shape(**run.metadata["data"]["shape"])
    cost = estimate_cost(run.config, shape, torch.device("cpu"))
    return {
        "parameters": {"G": cost.g_parameters, "D": cost.d_parameters},
        "flops_per_image": {"G": cost.g_flops, "D": cost.d_flops, "training": round_flops(run.config, shape)},
    }


def read_device(run: Run) -> str | None:
    """What its training ended on; None of a run that has not ended, or of an older version."""
    ends = [event.get("device") for event in read_events(run.path) if event["event"] == "done"]
    return ends[-1] if ends and isinstance(ends[-1], str) else None


def diagnose_run(run: Run) -> dict[str, Any]:
    """The diagnosis: its verdict, and the name and beginning (in `unit`) of each failure and warning."""
    try:
        diagnosis = diagnose(run)
    except GanvasError as error:
        return {"verdict": error.what, "failures": [], "warnings": []}
    findings = {
        severity: [
            {"name": f.name, "since": f.since, "unit": f.unit} for f in diagnosis.findings if f.severity == severity
        ]
        for severity in ("failure", "warning")
    }
    return {"verdict": verdict(diagnosis), "failures": findings["failure"], "warnings": findings["warning"]}


def read_curves(run: Run) -> dict[str, dict[str, list[float]]]:
    """quantity -> kimg, seconds and mean; points that are not finite are left out.

    So is a quality by which no best snapshot was chosen: its features are those of D's own network.
    """
    lines = read_stats(run.path)
    curves = {}
    for name in (name for name in CURVE_NAMES if name != "quality" or read_trend(run) is not None):
        points = [(line["nimg"] / 1e3, line.get("seconds", 0.0), _mean(line[name])) for line in lines if name in line]
        points = _subsample([p for p in points if np.isfinite(p).all()])
        if points:
            curves[name] = dict(zip(("kimg", "seconds", "mean"), map(list, zip(*points, strict=True)), strict=True))
    return curves


def read_trend(run: Run) -> dict[str, Any] | None:
    """The protocol of the quality that was measured during training; None if no best snapshot was chosen by it."""
    card = read_card(run.best_snapshot) if run.best_snapshot and run.best_quality else None
    return card["quality"] if card else None


@cpu_threads()
def prepare_real_images(options: DataOptions, settings: EvaluationSettings, real_cache: Memo) -> None:
    """Computes what `evaluate_run` needs of the real images, before there is a run to evaluate.

    Raises:
        GanvasError: as `evaluate_run`.
    """
    real = open_reference_once(options, settings.count, real_cache)
    n, device = min(settings.count, len(real.held_out_rows)), str(select_device(settings.device))
    extract_reference(real, n, settings.features, settings.weights, device, real_cache).prepare()


def read_evaluation(run: Run, settings: EvaluationSettings, folder: Path, real_cache: Memo) -> dict[str, Any] | None:
    """The evaluation of the newest snapshot that `evaluate_run` saved in `folder`.

    None if there is none, or if its real images are neither those of the training nor those that are there now.

    Raises:
        GanvasError: there is no snapshot yet, or the data have changed and cannot be opened.
    """
    with suppress(OSError, ValueError, KeyError, TypeError):
        value = read_json(folder / _cache_key(run, settings) / "evaluation.json")
        against = value["protocol"]["reference"]["fingerprint"]
        if against == run.metadata["data"]["fingerprint"]:
            return value
        now = open_reference_once(run.config.dataset.options(), settings.count, real_cache)
        return value if against == now.train.fingerprint else None
    return None


def real_side(evaluation: Mapping[str, Any]) -> str:
    """What an evaluation depends on beside its run, as JSON: features, classifier, real images.

    Equal for all evaluations of one comparison against the same data, unless some of them were made earlier, before
    the held-out images changed or the classifier was trained again.
    """
    protocol = evaluation["protocol"]
    parts = [protocol.get(part) for part in ("features", "classes", "reference")]
    return json.dumps([*parts, evaluation.get("held_out")], sort_keys=True)


def evaluate_run(
    run: Run, settings: EvaluationSettings, folder: Path, *, real_cache: Memo | None = None, progress: bool = False
) -> dict[str, Any]:
    """Evaluates a run's newest snapshot; saves the evaluation and sample images.

    Args:
        folder: where they are saved, for `read_evaluation`; nothing is written into the run.
        real_cache: what was computed of the real images before.
        progress: show progress bars.

    Returns:
        The evaluation as JSON, with the name of the folder of its images as `images`, and the fingerprint of the
        held-out images as `held_out`.

    Raises:
        GanvasError: there is no snapshot yet, its data are missing, or there are too few images.
    """
    real_cache, folder = real_cache or Memo(), folder / _cache_key(run, settings)
    make_folder(folder)
    evaluation = evaluate(
        run, count=settings.count, features=settings.features, weights=settings.weights,
        device=settings.device, quiet=not progress, memo=real_cache,
    )  # fmt: skip
    if (pairs := draw_closest_pairs(evaluation)) is not None:
        image_io.save_image(pairs, folder / "closest.png")
    else:
        (folder / "closest.png").unlink(missing_ok=True)  # of an earlier evaluation
    real = open_reference_once(run.config.dataset.options(), settings.count, real_cache)
    _save_images(run, folder, real, real_cache, settings.device)
    value = {**evaluation.to_json(), "images": folder.name, "held_out": real.held_out.fingerprint}
    write_json(folder / "evaluation.json", value)
    return value


def _save_images(run: Run, folder: Path, real: Reference, real_cache: Memo, device: str) -> None:
    """Saves images of the newest snapshot: classes.png (where the data have classes) and interpolation.png."""
    sampler = load(run, device=device)
    label = 0 if sampler.card.shape.classes else None
    parts = sampler.interpolate(range(INTERPOLATION_LATENTS), frames=INTERPOLATION_STEPS, label=label)
    frames = np.concatenate([part.numpy() for part in parts])[: INTERPOLATION_STEPS * (INTERPOLATION_LATENTS - 1)]
    image_io.save_image(image_io.make_grid(frames, 2 * INTERPOLATION_STEPS), folder / "interpolation.png")
    classifier = counting_classifier_once(real, real_cache)
    if classifier is None or classifier.predict_probabilities is None or real.train.classes > 100:
        return
    images = sampler.sample(range(CLASS_SEARCH_IMAGES))
    with torch.inference_mode():
        features = torch.cat([classifier.extract(part) for part in torch.from_numpy(images).split(64)]).numpy()
    probabilities = classifier.predict_probabilities(features)
    if probabilities.ndim > 2:
        return
    names = real.train.class_names or tuple(map(str, range(real.train.classes)))
    image_io.save_image(
        _class_grid(images, predict_classes(probabilities)[0], names[:MAX_CLASSES]), folder / "classes.png"
    )


def _class_grid(images: np.ndarray, classes: np.ndarray, names: Sequence[str]) -> Image.Image:
    """The first images of each class, one class per row, in the order of their seeds; missing images are white."""
    white = np.full_like(images[0], 255)
    rows = []
    for c in range(len(names)):
        own = images[classes == c][:IMAGES_PER_CLASS]
        rows += [*own, *[white] * (IMAGES_PER_CLASS - len(own))]
    return image_io.make_grid(np.stack(rows), IMAGES_PER_CLASS, row_names=names)


def _cache_key(run: Run, settings: EvaluationSettings) -> str:
    """A hash of the snapshot, its data and the settings; the images and the classifier of the data are not opened."""
    weights = hash_file(run.latest_snapshot / "G.safetensors")
    own = user_code.is_spec(settings.features)
    file = None if settings.weights is None else Path(settings.weights)
    facts: Mapping[str, Any] = {
        "snapshot": weights, "data": run.metadata["data"]["fingerprint"],
        **asdict(settings), **snapshot.package_versions(),
        **({"code": user_code.digest(settings.features)} if own else {}),
        **({"weights": hash_file(file)} if file is not None and file.is_file() else {}),
    }  # fmt: skip
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _mean(value: Any) -> float:
    mean = value.get("mean") if isinstance(value, dict) else value
    return float(mean) if isinstance(mean, int | float) else float("nan")


def _subsample(points: list[tuple[float, ...]]) -> list[tuple[float, ...]]:
    """At most MAX_POINTS evenly spaced points, including the first and the last."""
    if len(points) <= MAX_POINTS:
        return points
    return [points[i] for i in np.linspace(0, len(points) - 1, MAX_POINTS).round().astype(int)]
