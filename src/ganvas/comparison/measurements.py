"""What one run shows: how far it came, at what cost, how good, how healthy; and pictures of it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ganvas import image_io
from ganvas.data import PictureOptions
from ganvas.devices import choose
from ganvas.diagnosis.diagnosis import verdict
from ganvas.diagnosis.sources import diagnose
from ganvas.errors import GanvasError
from ganvas.evaluation import features
from ganvas.evaluation.evaluation import LEAST, closest, evaluate
from ganvas.evaluation.modes import decided
from ganvas.evaluation.real import Kept, counted, opened, real_side
from ganvas.evaluation.reference import Reference
from ganvas.files import make_folder, write_json
from ganvas.networks import Shape
from ganvas.runs import snapshot
from ganvas.runs.folder import Run
from ganvas.runs.log import read_lines
from ganvas.sampling import load
from ganvas.threads import computing
from ganvas.training.estimate import estimate, round_flops

CURVES = ("D/loss", "G/loss", "D/real", "D/fake", "quality", "D/moves", "G/moves", "D/gradient", "G/gradient")
"""Quantities of stats.jsonl that are kept against pictures and seconds."""

POINTS = 200
"""Of a curve, at most: more could not be seen."""

SEARCHED = 400
"""Pictures among which each class is looked for."""

A_CLASS, CLASSES = 8, 10
"""Pictures of a class that are shown, and classes, at most."""

STOPS, STEPS = 5, 8
"""Latents of the interpolation, and pictures from one to the next."""


@dataclass(frozen=True)
class Settings:
    """How pictures are judged: the same for all."""

    count: int = 10_000
    extractor: str = "eye"
    weights: str | None = None
    device: str = "auto"

    def check(self) -> None:
        """Refuses before any training what the judging would refuse after it.

        Raises:
            GanvasError: too few pictures, or an extractor, its weights or a device that are not there.
        """
        if self.count < LEAST:
            raise GanvasError(f"--count is {self.count}.", expected=f"at least {LEAST}, better 10000")
        device = str(choose(self.device))
        if self.extractor != "classifier":
            features.named(self.extractor, weights=None if self.weights is None else Path(self.weights), device=device)


def progress(run: Run) -> dict[str, Any]:
    """How far a run came and what it took; works on half-written ones.

    Returns:
        state (complete, unfinished or failed), trouble, nimg, seconds, images_per_s, peak_bytes.
    """
    lines = list(read_lines(run.path / "stats.jsonl"))
    events = list(read_lines(run.path / "events.jsonl"))
    nimg, seconds = (lines[-1].get(key, 0) for key in ("nimg", "seconds")) if lines else (0, 0)
    bad = [event for event in events if event.get("event") == "non-finite"]
    done = [event for event in events if event.get("event") == "done"]
    total = run.config.total
    state, trouble = "complete", ""
    if nimg < total and bad:
        state, trouble = (
            "failed",
            f"{', '.join(bad[-1]['quantities'])} no longer finite at {bad[-1]['nimg'] / 1e3:g} kimg",
        )
    elif nimg < total:
        state, trouble = "unfinished", f"{nimg / 1e3:g} of {total / 1e3:g} kimg"
    return {
        "state": state,
        "trouble": trouble,
        "nimg": nimg,
        "seconds": seconds,
        "images_per_s": nimg / seconds if seconds else None,
        "peak_bytes": done[-1].get("peak_bytes") if done else None,
    }


def cost(run: Run) -> dict[str, Any]:
    """What its networks cost: parameters and operations; the same for all its seeds."""
    shape = Shape(**run.card["data"]["shape"])
    device = torch.device("cpu")
    found = estimate(run.config, shape, device)
    return {
        "parameters": {"G": found.g_parameters, "D": found.d_parameters},
        "flops_an_image": {"G": found.g_flops, "D": found.d_flops, "training": round_flops(run.config, shape)},
    }


def health(run: Run) -> dict[str, Any]:
    """The doctor's word on it."""
    try:
        found = diagnose(run)
    except GanvasError as error:
        return {"verdict": str(error).splitlines()[0], "failures": [], "warnings": []}
    told = {
        gravity: [f"{f.name} since {f.since:g} {f.unit}" for f in found.findings if f.gravity == gravity]
        for gravity in ("failure", "warning")
    }
    return {"verdict": verdict(found), "failures": told["failure"], "warnings": told["warning"]}


def curves(run: Run) -> dict[str, dict[str, list[float]]]:
    """quantity -> kimg, seconds and mean, finite numbers only."""
    lines = [line for line in read_lines(run.path / "stats.jsonl") if "nimg" in line]
    found = {}
    for name in CURVES:
        points = [(line["nimg"] / 1e3, line.get("seconds", 0.0), _mean(line[name])) for line in lines if name in line]
        points = _thinned([p for p in points if np.isfinite(p).all()])
        if points:
            found[name] = dict(zip(("kimg", "seconds", "mean"), map(list, zip(*points, strict=True)), strict=True))
    return found


@computing()
def prepare(options: PictureOptions, settings: Settings, kept: Kept) -> None:
    """Computes what `judged` needs of the real pictures, before there is a run to judge.

    Raises:
        GanvasError: as `judged`.
    """
    real = opened(options, settings.count, kept)
    n, device = min(settings.count, len(real.held_rows)), str(choose(settings.device))
    real_side(real, n, settings.extractor, settings.weights, device, kept).prepare()


def judged(
    run: Run, settings: Settings, folder: Path, *, kept: Kept | None = None, shown: bool = False
) -> dict[str, Any]:
    """The evaluation of its newest snapshot, and where pictures of it lie; found again if it was made before.

    Args:
        folder: for what was found; nothing is written into the run.
        kept: what was computed of the real pictures before.
        shown: show progress.

    Raises:
        GanvasError: no snapshot yet, its data are gone, or too few pictures.
    """
    kept, folder = kept or Kept(), folder / _key(run, settings)
    try:
        return json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        make_folder(folder)
    found = evaluate(
        run, count=settings.count, extractor=settings.extractor, weights=settings.weights,
        device=settings.device, progress=shown, kept=kept,
    )  # fmt: skip
    if (pairs := closest(found)) is not None:
        image_io.save(pairs, folder / "closest.png")
    _draw(run, folder, opened(run.config.pictures.options(), settings.count, kept), kept)
    value = {**found.to_json(), "pictures": folder.name}
    write_json(folder / "evaluation.json", value)
    return value


def _draw(run: Run, folder: Path, real: Reference, kept: Kept) -> None:
    """Pictures of the newest snapshot: classes.png (where the data have classes) and walk.png."""
    sampler = load(run)
    label = 0 if sampler.card.shape.classes else None
    frames = np.concatenate([p.numpy() for p in sampler.walk(range(STOPS), frames=STEPS, label=label)])
    image_io.save(image_io.grid(frames[: STEPS * (STOPS - 1)], 2 * STEPS), folder / "walk.png")
    looker = counted(real, kept)
    if looker is None or looker.probabilities is None or real.images.classes > 100:
        return
    drawn = sampler.sample(range(SEARCHED))
    with torch.inference_mode():
        features = torch.cat([looker.look(part) for part in torch.from_numpy(drawn).split(64)]).numpy()
    chances = looker.probabilities(features)
    if chances.ndim > 2:
        return
    names = real.images.class_names or tuple(map(str, range(real.images.classes)))
    image_io.save(_by_class(drawn, decided(chances)[0], names[:CLASSES]), folder / "classes.png")


def _by_class(drawn: np.ndarray, chosen: np.ndarray, names: Sequence[str]) -> Image.Image:
    """The first pictures of each class, a class a row, in the order of their seeds; where there are none, paper."""
    paper = np.full_like(drawn[0], 255)
    rows = []
    for c in range(len(names)):
        own = drawn[chosen == c][:A_CLASS]
        rows += [*own, *[paper] * (A_CLASS - len(own))]
    return image_io.grid(np.stack(rows), A_CLASS, row_names=names)


def _key(run: Run, settings: Settings) -> str:
    """Names everything that the numbers depend on."""
    weights = hashlib.sha256((run.snapshot / "G.safetensors").read_bytes()).hexdigest()
    facts: Mapping[str, Any] = {
        "snapshot": weights, "data": run.card["data"]["fingerprint"], **asdict(settings), **snapshot.versions(),
    }  # fmt: skip
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _mean(value: Any) -> float:
    mean = value.get("mean") if isinstance(value, dict) else value
    return float(mean) if isinstance(mean, int | float) else float("nan")


def _thinned(points: list[tuple[float, ...]]) -> list[tuple[float, ...]]:
    """At most POINTS of them, evenly, the last one among them."""
    if len(points) <= POINTS:
        return points
    return [points[i] for i in np.linspace(0, len(points) - 1, POINTS).round().astype(int)]
