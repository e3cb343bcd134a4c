"""ganvas.evaluate: quality measures of generated images, each beside its real-data baseline, under one protocol."""

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from ganvas import image_io, user_code
from ganvas.data import DataOptions, ImageSet, open_images
from ganvas.data.imageset import count_smaller
from ganvas.data.options import MIN_SIDE
from ganvas.data.selection import iterate_batches, size_of
from ganvas.data.stacked import NAME as STACKED
from ganvas.devices import select_device
from ganvas.drawing import MAX_TRUNCATION
from ganvas.errors import GanvasError, describe_value
from ganvas.evaluation import independence, measure_groups, modes
from ganvas.evaluation.measures import MEASURES, Value
from ganvas.evaluation.memorisation import Memorisation, compare_with_training
from ganvas.evaluation.reference import Reference
from ganvas.evaluation.reference_features import (
    MAX_PIXEL_IMAGES,
    Memo,
    extract_reference,
    make_sample,
    open_reference_once,
)
from ganvas.evaluation.result import Evaluation, draw_closest_pairs
from ganvas.evaluation.subject import Subject, subject_from_generator, subject_from_images
from ganvas.features.extraction import Extractor, extract_features
from ganvas.files import to_path
from ganvas.progress import progress_bar
from ganvas.pytorch_state import default_state
from ganvas.reading import near_paths
from ganvas.runs import log, lookup, snapshot
from ganvas.runs.card import is_single_file
from ganvas.runs.folder import Run
from ganvas.runs.training_data import find_data, find_run
from ganvas.sampling import load
from ganvas.threads import cpu_threads
from ganvas.values import to_flag, to_number, to_text, to_whole

MIN_IMAGES = 10
"""With fewer images on either side nothing is measured."""

COUNT = 10_000
"""Images on each side, where there are so many."""

FEW = 1_000
"""With fewer images a note says why there are no more."""

LARGEST_SIDE = 512
"""Pixels of the longer side of evaluated images: 2,000 in colours of 512×512 have 1.6 GB, and three sets are held."""

CLOSEST_PAIRS = 8
"""Closest pairs of an evaluated image and a training image in the panel."""


@cpu_threads()
@default_state()
def evaluate(
    what: Run | Path | str,
    *,
    against: str | None = None,
    held_out: str | None = None,
    features: str | Callable[..., Any] | Extractor | None = None,
    weights: Path | str | None = None,
    count: int = COUNT,
    truncation: float = 1.0,
    quick: bool = False,
    device: str = "auto",
    quiet: bool = False,
    memo: Memo | None = None,
) -> Evaluation:
    """Evaluates a run (its newest snapshot), one snapshot, or a set of images, by comparison with real images.

    The real images get the size and the colours of the evaluated ones, but are not made grey for them.

    Args:
        what: a run folder, a snapshot, a generator of the package (pretrained:NAME) or of the hub
            (hf:owner/name@revision), or anything that `--data` accepts.
        against: the real images; by default the training set of the run.
        held_out: real images that were not trained on; by default the test split of `against`, if it has one.
        features: eye, eye-bf16, lite0, classifier, inception, dinov2, MODULE:NAME, FILE.py:NAME; a module, its class,
            or a function that returns one; or an `Extractor`. By default the eye, or another one where D looked
            through the eye (`independence.default_features`).
        weights: the weights of the features' network, if it needs a file.
        count: the largest number of images on each side; no more are evaluated than are held out.
        truncation: see `Sampler.sample_batches`.
        quick: only the distances, precision, recall and the classes.
        device: where to compute.
        quiet: show no progress bars on the terminal.
        memo: results that earlier evaluations computed from the same real images.

    Raises:
        GanvasError: nothing usable at a path, grey images of coloured real ones, training images that have another size
            now, too few images, or missing weights.
    """
    count, truncation = (
        to_whole(count, "--count", MIN_IMAGES),
        to_number(truncation, "--truncation", most=MAX_TRUNCATION),
    )
    quick, quiet = to_flag(quick, "quick"), to_flag(quiet, "quiet")
    images = "real images: anything that --data takes"
    against, held_out = (
        None if given is None else to_text(given, name, images)
        for name, given in (("against", against), ("held_out", held_out))
    )
    weights = None if weights is None else to_path(weights, "the weights of the features: a file, or a folder")
    if not (features is None or isinstance(features, str | Extractor) or callable(features)):
        raise GanvasError(f"features is {describe_value(features)}.", expected="the name of an extractor, or a module")
    if callable(features) and not isinstance(features, nn.Module):
        features = user_code.describe(features)
    device, memo = str(select_device(device)), memo or Memo()
    reference, subject = _open(what, against, held_out, count, truncation, device, memo)
    wanted = min(count, subject.count or count)
    n = min(wanted, len(reference.held_out_rows))
    if len(reference.train_rows) < MIN_IMAGES:
        raise GanvasError(
            f"{reference.train.name} has {len(reference.train_rows)} images to compare with.",
            expected=f"at least {MIN_IMAGES} on each side, better thousands",
            fix="name more real images.",
        )
    if n < MIN_IMAGES:
        raise GanvasError(
            f"{subject.name} and {reference.train.name} leave {n} images to compare.",
            expected=f"at least {MIN_IMAGES} on each side, better thousands",
            fix="evaluate more images."
            if n == wanted
            else f"only {n} real images are held out ({reference.held_out_source}): --held-out names more.",
        )
    labelled = reference.train.classes > 1
    if features is None:
        features = independence.default_features(independence.names_of(subject.d_networks), labelled=labelled)
    real = extract_reference(reference, n, features, weights, device, memo, quick=quick, progress=not quiet)
    with tempfile.TemporaryFile() as file:  # several networks read the images, and memory may not hold them
        images = np.memmap(file, np.uint8, "w+", shape=(n, *subject.shape))
        _load_all(subject, images, not quiet)

        sample = make_sample(
            lambda by: extract_features(iterate_batches(images, np.arange(n)), by, count=n, progress=not quiet),
            np.array(images[:MAX_PIXEL_IMAGES]),
            real.extractor,
            real.classifier,
        )

    groups = [measure_groups.measure_distances, measure_groups.measure_manifolds]
    groups += [] if quick else [measure_groups.measure_two_sample, measure_groups.measure_pixels]
    groups += [] if real.classifier is None else [measure_groups.class_measures(reference.class_shares)]
    values: dict[str, Value] = {}
    for i, group in enumerate(groups):
        baselines = real.baselines.setdefault(i, {})
        values |= measure_groups.measure_group(group, sample, real.held_out, real.train, baselines)
    memorisation, panel = None, None
    changed = subject.trained_on not in ("", reference.train.fingerprint)
    if real.training_features is not None and not changed:
        memorisation = compare_with_training(sample.features, real.training_features, n_pairs=min(CLOSEST_PAIRS, n))
        if real.training_pixels is not None:
            near_copies = real.training_pixels.find(sample.pixels, min(CLOSEST_PAIRS, n))
            memorisation = memorisation.with_near_copies(near_copies)
        panel = _stack_pairs(subject, reference, memorisation)
    protocol = {
        "features": real.extractor.describe(),
        **({} if real.classifier is None else {"classes": real.classifier.describe()}),
        "reference": reference.describe(),
        "subject": {"count": n, **subject.protocol},
        **independence.describe(subject.d_networks, real.extractor),
        "versions": snapshot.package_versions(),
    }
    ordered = {name: values[name] for name in MEASURES if name in values}
    notes = independence.make_notes(protocol, labelled=labelled)
    if changed:
        notes += (
            "The real images are not those that this generator was trained on: copies of them are not looked for."
            if against is not None
            else f"The images of {reference.train.name}, their classes or the names of these have changed since this "
            "generator was trained: it is compared with what is there now, and copies of training images are not "
            "looked for.",
        )
    notes += subject.notes + _make_notes(n, wanted, sample.features.shape[1], reference, real.classifier, changed)
    biased = n <= sample.features.shape[1]
    return Evaluation(subject.name, ordered, memorisation, protocol, notes, panel, biased)


def _open(
    what: Run | Path | str,
    against: str | None,
    held_out: str | None,
    count: int,
    truncation: float,
    device: str,
    kept: Memo,
) -> tuple[Reference, Subject]:
    """The real images and the images to evaluate."""
    if not isinstance(what, Run | str | os.PathLike) or "\0" in str(what):
        raise GanvasError(
            f"{describe_value(what)} cannot be evaluated.",
            expected="a run, or the path of images",
            fix="numpy.save('images.npy', images), then evaluate('images.npy', against=…).",
        )
    path = what.path if isinstance(what, Run) else to_path(what, "a run, or images")
    path = lookup.find_local(path) if lookup.names_generator(path) else path
    in_folder = any((path / name).exists() for name in ("config.json", "card.json", "G.safetensors"))
    if not (in_folder or is_single_file(path)):
        if not path.exists() and (near := near_paths(path)):
            raise GanvasError(f"{what} does not exist.", expected="a run, a snapshot, or real images", fix=near)
        if against is None:
            raise GanvasError(
                f"{what} is neither a run nor a snapshot: what should its images be compared with?"
                if path.exists()
                else f"There is no run and no snapshot {what}.",
                expected="--against, the real images",
                fix="check the path, or add --against and the real images, such as a folder or a zip",
            )
        images = _open_in_own_size(str(what))
        channels = images.channels if images.channels > 1 else None  # real images in colours are not made grey
        options = DataOptions(against, "train", size_of(images), channels)  # type: ignore[arg-type]
        reference = open_reference_once(options, count, kept, held_out)
        subject = subject_from_images(images)
        if subject.shape != reference.train.images.shape[1:]:
            raise GanvasError(
                f"{subject.name} holds images of {_format_shape(subject.shape)}, {reference.train.name} of "
                f"{_format_shape(reference.train.images.shape[1:])}.",
                expected="one number of channels on both sides",
                fix="save both grey, or both in colours.",
            )
        return reference, replace(subject, notes=_note_resizing(images) + _note_resizing(reference.train))
    sampler = load(path, device=device)
    shape = sampler.card.shape
    if against is None:
        trained = find_data(sampler.path, sampler.card.data, shape[:3])
        if trained is None:
            raise GanvasError(
                f"{path} is not in a run folder, which would name its data.", expected="--against, the real images"
            )
        options = trained
    else:
        channels = shape.channels if shape.channels > 1 or _was_made_grey(sampler.path) else None  # as above
        options = DataOptions(against, "train", f"{shape.height}x{shape.width}", channels)  # type: ignore[arg-type]
    reference = open_reference_once(options, count, kept, held_out)
    if (found := reference.train.images.shape[1:]) != shape[:3]:
        drawn = _format_shape(shape[:3])
        if against is not None:
            raise GanvasError(
                f"{against} has images of {_format_shape(found)}; this generator draws {drawn}.",
                expected="one number of channels on both sides",
                fix="name grey images, or a generator that draws colours.",
            )
        raise GanvasError(
            f"{options.source} has images of {_format_shape(found)} now; this generator draws {drawn}.",
            expected="the images that it was trained on",
            fix="put them back, or name real images of any size: --against.",
        )
    return reference, subject_from_generator(sampler, reference.train, truncation)


def _was_made_grey(snapshot: Path) -> bool:
    """Whether the run of a snapshot was asked to train on images as grey ones (`--channels 1`)."""
    run = find_run(snapshot)
    with suppress(GanvasError):  # the snapshots of a damaged run can still be used
        return run is not None and run.config.dataset.channels == 1
    return False


def _open_in_own_size(source: str) -> ImageSet:
    """Images at the size that all of them have, up to LARGEST_SIDE, where 256 pixels are otherwise the most."""
    images = open_images(DataOptions(source))
    sizes = images.metadata["sizes"]
    own = next(iter(sizes))
    if len(sizes) > 1 or own == size_of(images) or count_smaller(sizes, images.resolution):
        return images
    sides = [int(side) for side in own.split("x")]
    factor = min(1.0, LARGEST_SIDE / max(sides))
    return open_images(DataOptions(source, resolution="x".join(str(max(MIN_SIDE, round(factor * s))) for s in sides)))


def _note_resizing(images: ImageSet) -> tuple[str, ...]:
    """A note if the images of a set are not compared at the size that they have."""
    sizes, size = images.metadata["sizes"], size_of(images)
    if set(sizes) == {size}:
        return ()
    own = "several sizes" if len(sizes) > 1 else f"{next(iter(sizes))} pixels"
    return (f"The images of {images.name} have {own} and are resized to {size}, which changes every number.",)


def _load_all(subject: Subject, images: np.ndarray, progress: bool) -> None:
    """Fills uint8 [n c h w] with the first n images of the subject."""
    with progress_bar("Collecting images", len(images), shown=progress) as advance:
        done = 0
        for batch in subject.load_images(np.arange(len(images))):
            images[done : done + len(batch)] = batch.numpy()
            done += len(batch)
            advance(len(batch))


def _stack_pairs(subject: Subject, reference: Reference, memorisation: Memorisation) -> np.ndarray:
    """The closest pairs, an evaluated image and then its nearest training image: uint8 [2p c h w]."""
    pairs = []
    for row, nearest in memorisation.pairs:
        pairs += [next(iter(subject.load_images(np.array([row])))).numpy()[0], reference.train.images[nearest]]
    return np.stack(pairs)


def _make_notes(
    n: int, wanted: int, width: int, reference: Reference, classifier: Extractor | None, changed: bool
) -> tuple[str, ...]:
    """Warnings about n of the wanted images, with `width` features; `changed`: the real ones were not trained on."""
    notes = []
    if n < wanted and (n < FEW or wanted > COUNT):
        notes.append(
            f"{n:,} of {wanted:,} images are evaluated, as many as are held out ({reference.held_out_source}): "
            "--held-out names more."
        )
    if n < measure_groups.MIN_IMAGES_FOR_ERROR:
        least = measure_groups.MIN_IMAGES_FOR_ERROR
        notes.append(f"{n:,} images are too few for standard errors, which need {least}.")
    if n <= width:
        notes.append(
            f"{n:,} images are fewer than the {width:,} features: the Fréchet distance is far above its limit; "
            "read the kernel distance instead."
        )
    if reference.held_out is reference.train:
        notes.append(
            f"{reference.train.name} has no held-out images: the baseline compares its two halves"
            f"{'' if changed else ', both of which the generator may have memorised'}. Name some with --held-out."
        )
    accuracy = None if classifier is None else classifier.facts.get("classifier_accuracy")
    if accuracy is not None and accuracy < 0.9:
        notes.append(
            f"The classifier is correct on only {100 * accuracy:.0f} % of held-out images: "
            "the class measures are no more accurate than that."
        )
    if reference.train.metadata.get("format") == STACKED and n in modes.PERFECT_SAMPLER_KL:
        mean, deviation = modes.PERFECT_SAMPLER_KL[n]
        notes.append(f"For a perfect sampler, KL from uniform is {mean} ± {deviation} at {n:,} images.")
    return tuple(notes)


def _format_shape(shape: tuple[int, ...]) -> str:
    """(c, h, w) as h×w×c."""
    return "×".join(map(str, (*shape[1:], shape[0])))


def save_evaluation(evaluation: Evaluation, run: Run | None, panel: Path | None = None) -> None:
    """Appends the evaluation to the run's metrics.jsonl, and draws its panel to closest.png in the run and to `panel`.

    So closest.png is always of the last evaluation there that looked for copies.
    """
    if run is not None:
        log.append_json(run.path / "metrics.jsonl", evaluation.to_json())
    if (pairs := draw_closest_pairs(evaluation)) is None:
        return
    for file in (None if run is None else run.path / "closest.png", panel):
        if file is not None:
            image_io.save_image(pairs, file)
