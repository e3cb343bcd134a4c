"""The trend: one cheap quality measure during training, to find the best snapshot. Not for publication."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ganvas import drawing
from ganvas.data import ImageSet
from ganvas.data.selection import assign_classes, class_shares
from ganvas.evaluation import independence
from ganvas.evaluation.metrics import unbiased_mmd
from ganvas.features.extraction import extract_set_features
from ganvas.features.extractors import load_extractor
from ganvas.networks import Generator

MAX_IMAGES, MIN_IMAGES = 2000, 250
"""The most and the fewest images on each side: always the same seeds and the same real images."""

MEASURE = "kernel distance × 1000"


class Trend:
    """The kernel distance × 1000, by default in the eye's features, between generated images and training images.

    Unbiased (Bińkowski et al. 2018), so it is meaningful with few images; lower is better.

    Args:
        count: images on each side, from MIN_IMAGES to MAX_IMAGES; fewer if the set has fewer.
        d_networks: the frozen networks that G is trained through (`ganvas.runs.card.d_networks_of`).
        features: the name of the extractor; by default the eye, or where D looks through it, lite0 if it is installed.

    Attributes:
        expected_seconds: estimated seconds per measurement; 0 before the first.
    """

    def __init__(
        self,
        images: ImageSet,
        latent: int,
        conditional: bool,
        device: torch.device,
        count: int = MAX_IMAGES,
        *,
        d_networks: Sequence[Mapping[str, Any]] = (),
        features: str | None = None,
    ) -> None:
        self._images, self._device, self.expected_seconds = images, device, 0.0
        count = max(MIN_IMAGES, min(MAX_IMAGES, count))
        self._rows = np.sort(np.random.default_rng(0).permutation(len(images))[:count])
        seen = independence.names_of(d_networks)
        chosen = features or independence.default_features(seen, labelled=False)  # no classifier: it takes long
        self._extractor = load_extractor(chosen, device=str(device))
        self._independence = independence.describe(d_networks, self._extractor)
        self._z = drawing.sample_latents(range(len(self._rows)), latent)
        parts = class_shares(images) if conditional else None
        self._labels = None if parts is None else torch.from_numpy(assign_classes(np.arange(len(self._rows)), parts))
        self._real_features: np.ndarray | None = None

    def describe(self) -> dict[str, Any]:
        """The protocol of its values."""
        return {"measure": MEASURE, "count": len(self._rows), **self._extractor.describe(), **self._independence}

    def seconds_per_image(self, generator: Generator) -> float:
        """Seconds to generate an image and extract its features."""
        for _ in range(2):  # the first pass initialises the libraries
            began = time.perf_counter()
            part = next(drawing.generate(generator, self._z, self._labels, device=self._device))
            with torch.inference_mode():
                self._extractor.extract(part)
        return (time.perf_counter() - began) / len(part)

    def measure(self, generator: Generator, seconds: float) -> float | None:
        """The distance; None if the first batch shows that it would take more than `seconds`."""
        began = time.perf_counter()
        parts: list[torch.Tensor] = []
        drawn = drawing.generate(generator, self._z, self._labels, device=self._device)
        sides = 1 if self._real_features is not None else 2
        with torch.inference_mode():
            for part in drawn:
                parts.append(self._extractor.extract(part))
                if len(parts) == 1:
                    self.expected_seconds = (time.perf_counter() - began) * sides * len(self._z) / len(part)
                    if self.expected_seconds > seconds:
                        return None
        if self._real_features is None:
            self._real_features = extract_set_features(self._images, self._rows, self._extractor)
        self.expected_seconds = (time.perf_counter() - began) / sides
        return 1000 * unbiased_mmd(torch.cat(parts).numpy(), self._real_features)
