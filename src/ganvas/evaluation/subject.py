"""What is evaluated: a generator and its seeds, or a set of images."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from ganvas.data import ImageSet
from ganvas.data.selection import assign_classes, iterate_batches, size_of
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
        notes: on how its images, and the real ones, were brought to one size.
    """

    name: str
    shape: tuple[int, int, int]
    count: int | None
    load_images: Callable[[np.ndarray], Iterator[Tensor]]
    protocol: dict[str, Any]
    d_networks: Sequence[Mapping[str, Any]] = ()
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


def subject_from_generator(sampler: Sampler, shares: np.ndarray | None, truncation: float = 1.0) -> Subject:
    """The images of a generator for the seeds 0, 1, 2 …

    Args:
        shares: of each class among the real images, float [classes]; a conditional generator draws the classes in these
            proportions, each seed always the same class.
        truncation: see `Sampler.sample_batches`.
    """
    card = sampler.card
    classes = card.shape.classes

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
    return Subject(str(name), card.shape[:3], None, images, protocol, seen)
