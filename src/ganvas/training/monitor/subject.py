"""The networks of a run as a subject of the probe: fixed latents and reals, called as the run calls them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from ganvas import drawing
from ganvas.config import DatasetConfig
from ganvas.data import ImageSet, digits, to_unit
from ganvas.data.selection import assign_classes, class_shares, iterate_batches, number_as, open_test_split
from ganvas.diagnosis.probe import Part
from ganvas.diagnosis.signals.samples import MAX_REALS, ReferenceSet, downsample
from ganvas.errors import GanvasError
from ganvas.pytorch_state import seed_generators
from ganvas.training.state import TrainState
from ganvas.values import expand_user

FAKES = 256
"""Fakes in a probe, always of the same seeds."""

BATCH = 64
"""Images in a forward pass of a probe, at most; so many reals are measured."""


@dataclass(frozen=True)
class _Inputs:
    """Images uint8 [n c h w], or latents float32 [n z], and labels int64 [n] or None."""

    values: Tensor
    labels: Tensor | None

    def to(self, device: torch.device) -> "_Inputs":
        return _Inputs(self.values.to(device), None if self.labels is None else self.labels.to(device))

    def batches(self, size: int = BATCH) -> Iterator[tuple[Tensor, Tensor | None]]:
        for start in range(0, len(self.values), size):
            part = slice(start, start + size)
            yield self.values[part], None if self.labels is None else self.labels[part]


class RunNetworks:
    """A `Subject`: the networks of a run, their augmentation and objective, 256 latents and 64 reals."""

    def __init__(self, data: DatasetConfig, images: ImageSet, state: TrainState) -> None:
        self._images, self._game, self._test = images, state.game, _test_images(data, images)
        self.networks: dict[str, nn.Module] = {"D": state.game.D, "G": state.game.G}
        self._references: ReferenceSet | None = None
        conditional, rng = data.conditional, np.random.default_rng(0)
        shares = class_shares(images) if conditional else None
        labels = None if shares is None else torch.from_numpy(assign_classes(np.arange(FAKES), shares))
        z = drawing.sample_latents(range(FAKES), state.config.network.latent)
        self._fakes = _Inputs(z, labels).to(state.device)
        own = images.labels if conditional else None
        self._real = _select(images, rng.permutation(len(images))[:BATCH], own).to(state.device)
        self._held_out: _Inputs | None = None
        if self._test is not None:
            numbers = number_as(self._test, images) if conditional else None
            known = np.arange(len(self._test)) if numbers is None else np.flatnonzero(numbers >= 0)
            if len(known):
                rows = known[rng.permutation(len(known))[:FAKES]]
                self._held_out = _select(self._test, rows, numbers).to(state.device)

    def images(self) -> tuple[Tensor, Tensor, int]:
        """64 reals, and G's images of the fixed latents."""
        seed_generators(0, self._real.values.device)
        fakes = torch.cat([self._game.G(z, labels) for z, labels in self._fakes.batches()])
        return to_unit(self._real.values), fakes, FAKES

    def references(self) -> ReferenceSet:
        """Of up to 2,000 training images, and the held-out ones of the source."""
        if self._references is None:
            self._references = self._build_references(self._real.values.device)
        return self._references

    def _build_references(self, device: torch.device) -> ReferenceSet:
        def small(images: ImageSet, rows: np.ndarray) -> Tensor:
            return torch.cat([downsample(to_unit(part)) for part in iterate_batches(images.images, rows)]).to(device)

        training, held_out = self._images, self._test
        rows = np.sort(np.random.default_rng(0).permutation(len(training))[:MAX_REALS])
        labels = None if training.labels is None else torch.from_numpy(training.labels[rows]).to(device)
        others = None if held_out is None else small(held_out, np.arange(min(len(held_out), MAX_REALS)))
        complete = len(training) <= MAX_REALS
        return ReferenceSet.from_images(small(training, rows), labels, others, complete=complete)

    @property
    def _latents(self) -> tuple[Tensor, Tensor | None]:
        """As many of the latents, and their labels, as there are reals."""
        return next(self._fakes.batches(len(self._real.values)))

    def d_input(self) -> Tensor:
        """G's images as D receives them."""
        seed_generators(0, self._real.values.device)
        return self._game.fake_input(*self._latents)

    def on_real(self) -> Tensor:
        """On the reals."""
        return self._logits(self._real)

    def on_fake(self, fake: Tensor) -> Tensor:
        """With the labels that G was given."""
        return self._game.logits(fake, self._latents[1])

    def on_held_out(self, on_real: Tensor) -> tuple[Tensor, Tensor] | None:
        """On the reals, and on held-out images of the source."""
        return None if self._held_out is None else (on_real, self._logits(self._held_out))

    def g_loss(self, on_real: Tensor) -> Callable[[Tensor], Tensor]:
        """The objective's."""
        return partial(self._game.objective.g_loss, on_real)

    def _logits(self, inputs: _Inputs, order: Tensor | None = None) -> Tensor:
        """D's logits, a batch at a time; with the labels in another order."""
        seed_generators(0, self._real.values.device)  # the same dropout and noise in every call
        if order is not None and inputs.labels is not None:
            inputs = _Inputs(inputs.values, inputs.labels[order])
        return torch.cat([self._game.logits(self._game.real_input(to_unit(x)), y) for x, y in inputs.batches()])

    def label_changes(self) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Of both networks, where training is conditional."""
        z, labels = self._latents
        if labels is None:
            return
        G, real, order = self._game.G, self._real, torch.arange(len(z), device=z.device).roll(1)
        same, on_real = G(z, labels), self._logits(real)
        yield "G", G(z, labels[order]) - same, G(z[order], labels) - same
        rolled = _Inputs(real.values[order], real.labels)
        yield "D", self._logits(real, order) - on_real, self._logits(rolled) - on_real

    def more_signals(self, part: Part, *measured: Tensor) -> dict[str, float]:
        """None: the loop logs them in every round."""
        return {}


def _select(images: ImageSet, rows: np.ndarray, labels: np.ndarray | None) -> _Inputs:
    rows = np.sort(rows)
    chosen = None if labels is None else torch.from_numpy(labels[rows])
    return _Inputs(torch.from_numpy(images.images[rows]), chosen)


def _test_images(data: DatasetConfig, images: ImageSet) -> ImageSet | None:
    """The source's own held-out images, of the size of the training images; None where there are none here."""
    own = data.options()
    if own.source not in digits.NAMES and not expand_user(own.source.removeprefix("stacked-mnist:")).exists():
        return None  # it would have to be downloaded
    try:
        return open_test_split(own, images)
    except GanvasError:
        return None
