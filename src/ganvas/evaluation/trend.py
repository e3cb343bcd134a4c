"""One cheap number while a GAN trains: which way it goes, and when it was best. Not for publication."""

import time

import numpy as np
import torch

from ganvas import sampling
from ganvas.data import ImageSet
from ganvas.evaluation import features
from ganvas.evaluation.metrics import unbiased_mmd
from ganvas.evaluation.subject import asked, shares
from ganvas.networks import Generator

MAX_IMAGES, LEAST_SAMPLES = 2000, 250
"""Pictures on each side, at most and at the least: always the same seeds, always the same real ones."""

MEASURE = "kernel distance × 1000"


class Trend:
    """The kernel distance × 1000, in the eye's features, of generated pictures to pictures of the training set.

    Unbiased (Bińkowski et al. 2018), so that it says something with few pictures; lower is better.

    Args:
        count: pictures on each side, from LEAST_SAMPLES to SAMPLES; as many as there are, where these are fewer.

    Attributes:
        cost: seconds that a measurement takes, as far as is known: 0 before the first try.
    """

    def __init__(
        self, images: ImageSet, latent: int, conditional: bool, device: torch.device, count: int = MAX_IMAGES
    ) -> None:
        self._images, self._device, self.cost = images, device, 0.0
        count = max(LEAST_SAMPLES, min(MAX_IMAGES, count))
        self._rows = np.sort(np.random.default_rng(0).permutation(len(images))[:count])
        self._extractor = features.eye_extractor(str(device))
        self._z = sampling.latents(range(len(self._rows)), latent)
        parts = shares(images) if conditional else None
        self._labels = None if parts is None else torch.from_numpy(asked(np.arange(len(self._rows)), parts))
        self._real_features: np.ndarray | None = None

    def told(self) -> dict[str, object]:
        """Its protocol."""
        return {"measure": MEASURE, "count": len(self._rows), **self._extractor.describe()}

    def pace(self, generator: Generator) -> float:
        """Seconds that it takes to draw a picture and look at it."""
        for _ in range(2):  # the first pass sets the libraries up
            began = time.perf_counter()
            part = next(sampling.generate(generator, self._z, self._labels, device=self._device))
            with torch.inference_mode():
                self._extractor.look(part)
        return (time.perf_counter() - began) / len(part)

    def measure(self, generator: Generator, seconds: float) -> float | None:
        """The distance; None if it would take more than so many seconds, which the first pictures tell."""
        began = time.perf_counter()
        parts: list[torch.Tensor] = []
        drawn = sampling.generate(generator, self._z, self._labels, device=self._device)
        sides = 1 if self._real_features is not None else 2
        with torch.inference_mode():
            for part in drawn:
                parts.append(self._extractor.look(part))
                if len(parts) == 1:
                    self.cost = (time.perf_counter() - began) * sides * len(self._z) / len(part)
                    if self.cost > seconds:
                        return None
        if self._real_features is None:
            self._real_features = features.extract_set_features(self._images, self._rows, self._extractor)
        self.cost = (time.perf_counter() - began) / sides
        return 1000 * unbiased_mmd(torch.cat(parts).numpy(), self._real_features)
