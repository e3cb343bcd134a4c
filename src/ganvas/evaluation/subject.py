"""What is evaluated: a generator and its seeds, or a set of images."""

import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from ganvas.data import ImageSet
from ganvas.data.selection import assign_classes, class_shares, iterate_batches, size_of
from ganvas.runs.card import d_networks_of
from ganvas.runs.training_data import find_run
from ganvas.sampling import Sampler


@dataclass(frozen=True)
class Subject:
    """Images to evaluate, numbered from 0.

    Attributes:
        name: shown to users.
        shape: (c, h, w).
        count: the number of images; None for a generator.
        load_images: rows int64 [n] -> those images, uint8 [m c h w] at a time.
        protocol: its part of a protocol.
        d_networks: the frozen networks that G was trained through (`ganvas.runs.card.d_networks_of`); none for images.
        trained_on: the fingerprint of the images that G was trained on; empty for images.
        notes: on how its images, and the real ones, were brought to one size, and on classes of other names.
    """

    name: str
    shape: tuple[int, int, int]
    count: int | None
    load_images: Callable[[np.ndarray], Iterator[Tensor]]
    protocol: dict[str, Any]
    d_networks: Sequence[Mapping[str, Any]] = ()
    trained_on: str = ""
    notes: tuple[str, ...] = ()


def subject_from_images(images: ImageSet) -> Subject:
    """The images of a set in a fixed random order: sets are often sorted, and only a part may be used."""
    order = np.random.default_rng(0).permutation(len(images))
    return Subject(
        images.name,
        images.images.shape[1:],
        len(images),
        lambda rows: iterate_batches(images.images, order[rows]),
        {"images": images.name, "size": size_of(images), "fingerprint": images.fingerprint},
    )


def subject_from_generator(sampler: Sampler, real: ImageSet, truncation: float = 1.0) -> Subject:
    """The images of a generator for the seeds 0, 1, 2 …

    Args:
        real: a conditional generator draws its classes in the shares that those of the same names have here, each seed
            always the same class; all equally often where a class has another name.
        truncation: see `Sampler.sample_batches`.
    """
    card = sampler.card
    classes = card.shape.classes
    shares, other = share_by_name(real, card.class_names) if classes else (None, "")

    def images(rows: np.ndarray) -> Iterator[Tensor]:
        label = None
        if classes:
            label = assign_classes(rows, np.full(classes, 1 / classes) if shares is None else shares).tolist()
        return sampler.sample_batches(rows.tolist(), label=label, truncation=truncation)

    protocol = {
        "seeds": "from 0 on",
        "weights": card.weights,
        "truncation": truncation,
        **({"classes": "uniform" if shares is None else "in the real shares"} if classes else {}),
    }
    run = find_run(sampler.path)
    name = sampler.name if run is None else f"{run} at {card.nimg / 1000:g} kimg"
    seen = d_networks_of(card.d_networks, card.network)
    fingerprint, notes = card.data["fingerprint"], ()
    if other:
        why = f"{real.name} has classes that this generator does not have, such as {other}"
        notes = (f"{why}: all classes of the generator are drawn equally often.",)
    return Subject(str(name), card.shape[:3], None, images, protocol, seen, fingerprint, notes)


def share_by_name(real: ImageSet, names: Sequence[str]) -> tuple[np.ndarray | None, str]:
    """The shares that a generator's classes, which have these names, have among real images, float [len(names)].

    Returns:
        None without labels; also if the images have a class with none of the names, which is then given.
    """
    shares = class_shares(real)
    if shares is None:
        return None, ""
    places = {unicodedata.normalize("NFC", name): i for i, name in enumerate(names)}  # as Sampler.find_class
    present = [(name, share) for name, share in zip(real.class_names, shares, strict=True) if share]
    found = [places.get(unicodedata.normalize("NFC", name), -1) for name, _ in present]
    if -1 in found:
        return None, present[found.index(-1)][0]
    return np.bincount(found, [share for _, share in present], len(names)), ""
