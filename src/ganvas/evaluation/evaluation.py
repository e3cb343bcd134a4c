"""ganvas.evaluate: numbers, each beside what real pictures get, under one protocol."""

import math
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import nn

from ganvas import image_io
from ganvas.data import PictureOptions, open_images
from ganvas.data.progress import bar
from ganvas.data.stacked import NAME as STACKED
from ganvas.devices import choose
from ganvas.errors import GanvasError
from ganvas.evaluation import features, measures, modes, subject
from ganvas.evaluation.features import Extractor
from ganvas.evaluation.measures import MEASURES, Measure, Value
from ganvas.evaluation.memorisation import Memorisation, compared
from ganvas.evaluation.real import PIXELS, Kept, opened, real_side, side
from ganvas.evaluation.reference import Reference
from ganvas.evaluation.subject import Subject
from ganvas.runs import log, snapshot
from ganvas.runs.folder import Run
from ganvas.sampling import load
from ganvas.threads import computing

LEAST = 10
"""Pictures on each side, under which nothing is measured."""

PAIRS = 8
"""Closest pairs of a picture and a training picture that are shown."""


@dataclass(frozen=True)
class Evaluation:
    """What was found.

    Attributes:
        subject: what was judged.
        values: by the names of `measures.MEASURES`.
        memorisation: what the nearest training pictures tell; None without held-out pictures.
        protocol: everything the numbers depend on: two evaluations compare only where these are equal.
        notes: what the reader should know, a sentence each.
        panel: each row a judged picture and its nearest training picture, uint8 [n c h w]; the closest first.
        frechet_biased: whether there are no more images than features, which biases the Fréchet distance upwards.
    """

    subject: str
    values: dict[str, Value]
    memorisation: Memorisation | None
    protocol: dict[str, Any]
    notes: tuple[str, ...]
    panel: np.ndarray | None = None
    frechet_biased: bool = False

    def measure(self, name: str) -> Measure:
        """The measure, called FID or KID in the features of the official Inception alone."""
        row = MEASURES[name]
        official = self.protocol["features"]["extractor"] == "inception" and name != "score"
        return replace(row, title=row.official) if official and row.official else row

    def ratio(self, name: str) -> float | None:
        """How many times its floor a value is; None where that says nothing."""
        floor = self.values[name].floor
        return self.values[name].value / floor if floor and floor > 0 and self.measure(name).by_ratio else None

    def to_json(self) -> dict[str, Any]:
        """Plain values: a line of metrics.jsonl."""
        rows = {
            name: {
                "title": self.measure(name).title,
                "better": self.measure(name).better,
                **{key: _plain(number) for key, number in asdict(value).items()},
                "ratio": self.ratio(name),
            }
            for name, value in self.values.items()
        }
        copying = None
        if self.memorisation is not None:
            copying = {name: _plain(value) for name, value in vars(self.memorisation).items() if name != "pairs"}
        return {
            "subject": self.subject,
            "values": rows,
            "memorisation": copying,
            "protocol": self.protocol,
            "notes": list(self.notes),
            "frechet_biased": self.frechet_biased,
        }


def _plain(number: float | None) -> float | None:
    """JSON has no infinity."""
    return number if number is not None and math.isfinite(number) else None


def differing(a: Mapping[str, Any], b: Mapping[str, Any], within: str = "") -> list[str]:
    """The parts in which two protocols differ, dotted; numbers of protocols that differ are not to be ranked."""
    found: list[str] = []
    for key in sorted({*a, *b}):
        left, right = a.get(key), b.get(key)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            found += differing(left, right, f"{within}{key}.")
        elif left != right:
            found.append(f"{within}{key}")
    return found


@computing()
def evaluate(
    what: Run | Path | str,
    *,
    against: str | None = None,
    held_out: str | None = None,
    extractor: str | nn.Module | Extractor = "eye",
    weights: Path | str | None = None,
    count: int = 10_000,
    truncation: float = 1.0,
    quick: bool = False,
    device: str = "auto",
    progress: bool = False,
    kept: Kept | None = None,
) -> Evaluation:
    """Judges a run (its newest snapshot), one snapshot, or pictures, by comparison with real ones.

    Args:
        what: a run folder, a snapshot folder, or anything that `--data` takes.
        against: the real pictures; by default those that a run learnt from.
        held_out: real pictures that it did not learn from; by default the test split of `against`, if it has one.
        extractor: eye, eye-bf16, classifier, inception, dinov2, MODULE:FACTORY, a module, or an `Extractor`.
        weights: of the extractor, where it needs a file.
        count: pictures on each side, at most; fewer where fewer are to be had.
        truncation: see `Sampler.images`.
        quick: only the two distances, precision, recall and the classes.
        device: where to compute.
        progress: show bars on the terminal.
        kept: what evaluations before this one computed of the same real pictures.

    Raises:
        GanvasError: nothing usable there, sides of different sizes, too few pictures, or missing weights.
    """
    if count < LEAST:
        raise GanvasError(f"--count is {count}.", expected=f"at least {LEAST}, better 10000")
    place, kept = str(choose(device)), kept or Kept()
    real, judged = _opened(what, against, held_out, count, truncation, place, kept)
    n = min(count, judged.count or count, len(real.held_rows))
    if n < LEAST:
        raise GanvasError(
            f"{judged.name} and {real.images.name} leave {n} pictures to compare.",
            expected=f"at least {LEAST} on each side, better thousands",
        )
    ours = real_side(real, n, extractor, weights, place, kept, quick=quick, progress=progress)
    seen, counting = ours.seen, ours.counting
    with tempfile.TemporaryFile() as file:  # drawn once, looked at by several; memory may not hold them
        drawn = np.memmap(file, np.uint8, "w+", shape=(n, *judged.shape))
        _draw(judged, drawn, progress)

        candidate = side(
            lambda by: features.of(features.chunks(drawn, np.arange(n)), by, count=n, progress=progress),
            np.array(drawn[:PIXELS]),
            seen,
            counting,
        )

    groups = [measures.distances, measures.manifolds]
    groups += [] if quick else [measures.told_apart, measures.textures]
    groups += [] if counting is None else [measures.classes(real.shares)]
    values: dict[str, Value] = {}
    for i, group in enumerate(groups):
        values |= measures.measured(group, candidate, ours.rival, ours.known, ours.floors.setdefault(i, {}))
    copying, panel = None, None
    if ours.originals is not None:
        copying = compared(candidate.features, ours.originals, n_pairs=min(PAIRS, n))
        panel = _panel(judged, real, copying)
    protocol = {
        "features": seen.told(),
        **({} if counting is None else {"classes": counting.told()}),
        "reference": real.told(),
        "judged": {"count": n, **judged.told},
        "versions": snapshot.versions(),
    }
    ordered = {name: values[name] for name in MEASURES if name in values}
    notes = _notes(n, candidate.features.shape[1], real, counting)
    biased = n <= candidate.features.shape[1]
    return Evaluation(judged.name, ordered, copying, protocol, notes, panel, biased)


def _opened(
    what: Run | Path | str,
    against: str | None,
    held_out: str | None,
    count: int,
    truncation: float,
    device: str,
    kept: Kept,
) -> tuple[Reference, Subject]:
    path = what.path if isinstance(what, Run) else Path(what)
    if not any((path / name).exists() for name in ("config.json", "card.json", "G.safetensors")):
        if against is None:
            raise GanvasError(
                f"{what} is neither a run nor a snapshot: what should its pictures be compared with?",
                expected="--against, the real pictures",
                fix=f"ganvas evaluate {what} --against mnist",
            )
        real = opened(PictureOptions(against), count, kept, held_out)
        size = "x".join(map(str, real.images.resolution))
        judged = subject.of_images(open_images(PictureOptions(str(what))))
        if judged.shape != real.images.images.shape[1:]:
            raise GanvasError(
                f"{judged.name} holds pictures of {_told(judged.shape)}, {real.images.name} of "
                f"{_told(real.images.images.shape[1:])}.",
                expected="one size and number of channels on both sides",
                fix=f"resize the one to the other first, for instance to {size}: a resize changes every number.",
            )
        return real, judged
    sampler = load(path, device=device)
    run = subject.run_of(sampler.path)
    shape = sampler.card.shape
    if against is None:
        if run is None:
            raise GanvasError(
                f"{path} lies in no run folder, which would name its data.", expected="--against, the real pictures"
            )
        options = run.config.pictures.options()
    else:
        options = PictureOptions(against, "train", f"{shape.height}x{shape.width}", shape.channels)  # type: ignore[arg-type]
    real = opened(options, count, kept, held_out)
    return real, subject.of_generator(sampler, real.shares, truncation)


def _draw(judged: Subject, drawn: np.ndarray, progress: bool) -> None:
    with bar("Drawing", len(drawn), shown=progress) as advance:
        done = 0
        for part in judged.pictures(np.arange(len(drawn))):
            drawn[done : done + len(part)] = part.numpy()
            done += len(part)
            advance(len(part))


def _panel(judged: Subject, real: Reference, copying: Memorisation) -> np.ndarray:
    pairs = []
    for fake, nearest in copying.pairs:
        pairs += [next(iter(judged.pictures(np.array([fake])))).numpy()[0], real.images.images[nearest]]
    return np.stack(pairs)


def _notes(n: int, width: int, real: Reference, counting: Extractor | None) -> tuple[str, ...]:
    notes = []
    if n <= width:
        notes.append(
            f"{n:,} pictures are fewer than the {width:,} features: the Fréchet distance is far above its limit; "
            "read the kernel distance instead."
        )
    if real.held is real.images:
        notes.append(
            f"{real.images.name} has no held-out pictures: the floor compares its two halves, both of which a "
            "generator may have learnt by heart, and copying cannot be told. Name some by --held-out."
        )
    accuracy = None if counting is None else counting.facts.get("classifier_accuracy")
    if accuracy is not None and accuracy < 0.9:
        notes.append(f"The classifier is right on {100 * accuracy:.0f} % of held-out pictures: trust it no further.")
    if real.images.facts.get("form") == STACKED and n in modes.FLOORS:
        mean, deviation = modes.FLOORS[n]
        notes.append(f"A perfect sampler's classes are {mean} ± {deviation} from uniform at {n:,} pictures.")
    return tuple(notes)


def _told(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, (*shape[1:], shape[0])))


def write(found: Evaluation, run: Run | None, panel: Path | None = None) -> None:
    """Adds the evaluation to the run's metrics.jsonl, and draws its panel: closest.png in the run, or where asked."""
    if run is not None:
        log.append(run.path / "metrics.jsonl", found.to_json())
        panel = panel or run.path / "closest.png"
    if panel is not None and (pairs := closest(found)) is not None:
        image_io.save(pairs, panel)


def closest(found: Evaluation) -> Image.Image | None:
    """Judged pictures above, their nearest training pictures below, the closest first; None where there are none."""
    if found.panel is None:
        return None
    rows = np.concatenate([found.panel[::2], found.panel[1::2]])
    return image_io.grid(rows, len(rows) // 2, row_names=("drawn", "nearest"))
