"""Monitors a run: with each tick it probes the networks, if time allows, and reports new findings."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganvas import sampling
from ganvas.config import TrainConfig
from ganvas.data import ImageSet, to_unit
from ganvas.data.selection import assign_classes, class_shares, iterate_batches, open_test_split
from ganvas.diagnosis.diagnosis import Diagnosis, Finding, apply_rules
from ganvas.diagnosis.history import History, NonFinite
from ganvas.diagnosis.signals import networks as signals
from ganvas.diagnosis.signals.samples import MAX_REALS, ReferenceSet, downsample, pixel_signals
from ganvas.diagnosis.sources import facts_of
from ganvas.errors import GanvasError
from ganvas.training.state import TrainState

FAKES = 256
"""Fakes in a probe, always of the same seeds."""

BATCH = 64
"""Images in a forward pass of a probe, at most; so many reals are measured."""

DIGITS = 6
"""Significant digits of what is logged."""

SHARE, FREE = 0.03, 2.0
"""The share of the training time for probes on which no intervention depends; and seconds of them that do not count."""


class HealthMonitor:
    """Probes the networks of a run, and applies the rules to the measurements.

    Attributes:
        history: the measurements; of a resumed run also the earlier ones.
        probe_error: why a probe failed, after which there are no more; empty while they work.
    """

    def __init__(self, config: TrainConfig, images: ImageSet, state: TrainState) -> None:
        self._config, self._images, self._state = config, images, state
        self.history = History("kimg", facts_of(config, len(images), images.classes))
        self.probe_error = ""
        self._test = _test_images(config, images)
        self._updates: dict[str, signals.WeightUpdate] = {}
        self._reported: set[str] = set()
        self._start, self._spent = 0, 0.0
        self._references: ReferenceSet | None = None
        conditional, rng = config.dataset.conditional, np.random.default_rng(0)
        shares = class_shares(images) if conditional else None
        labels = None if shares is None else torch.from_numpy(assign_classes(np.arange(FAKES), shares))
        z = sampling.sample_latents(range(FAKES), config.network.latent)
        self._fakes = _Inputs(z, labels).to(state.device)
        self._real = _select(images, rng.permutation(len(images))[:BATCH], conditional).to(state.device)
        self._held_out: _Inputs | None = None
        if self._test is not None and (self._test.classes >= images.classes or not conditional):
            rows = rng.permutation(len(self._test))[:FAKES]
            self._held_out = _select(self._test, rows, conditional).to(state.device)

    def start_at(self, nimg: int, lines: Iterable[Mapping[str, Any]] = (), seconds: float = 0.0) -> None:
        """Diagnoses only what comes after `nimg` images: those lines of stats.jsonl, and later ones.

        A run resumed after so many seconds has used its share of the time.
        """
        self._start, self._spent = nimg, max(self._spent, SHARE * seconds)
        later = [line for line in lines if line["nimg"] > nimg]
        self.history = History.from_stats(later, self.history.facts)
        self.history.update_facts(non_finite=None, shown=later[-1]["nimg"] - nimg if later else 0)
        self._reported = {finding.name for finding in self.diagnosis().findings}

    def prepare(self, seconds: float) -> None:
        """Copies the weights before a round that may be probed, after so many seconds of training.

        Probes on which interventions depend are never left out: a run must act the same on any machine.
        """
        if self._config.runtime.on_failure == "warn" and self._spent > FREE + SHARE * seconds:
            return
        began, game = time.perf_counter(), self._state.game
        self._updates = {"D": signals.WeightUpdate(game.D), "G": signals.WeightUpdate(game.G)}
        self._spent += time.perf_counter() - began

    def cancel(self) -> None:
        """Discards the copy: the round was given up."""
        self._updates = {}

    def probe(self) -> dict[str, float]:
        """The signals after that round, rounded; the networks are not changed.

        An error is kept in `probe_error`, and ends the probing but not the run.
        """
        if not self._updates or self.history.facts.probe_errors:
            return {}
        began = time.perf_counter()
        try:
            values = self._measure()
        except Exception as error:  # a failing probe must not end the run
            self.probe_error = f"{type(error).__name__}: {error}"
            self.history.update_facts(probe_errors={"networks": self.probe_error})
            return {}
        self._spent += time.perf_counter() - began
        return {name: float(f"{value:.{DIGITS}g}") for name, value in values.items()}

    def _measure(self) -> dict[str, float]:
        game = self._state.game
        values = self._updates["D"].measure("D") | self._updates["G"].measure("G")
        self._updates = {}
        with signals.preserve_state(game.G, game.D), torch.no_grad():
            torch.manual_seed(0)
            values |= self._measure_samples()
            values |= self._measure_outputs()
            if self._fakes.labels is not None:
                values |= self._measure_labels()
        return values

    def _measure_samples(self) -> dict[str, float]:
        """G's images compared with the reals."""
        G, z, labels = self._state.game.G, self._fakes.values, self._fakes.labels
        with signals.ActivationMonitor(G, "G") as activations:
            batches = [G(z[part], None if labels is None else labels[part]) for part in _batches(FAKES)]
        fakes = torch.cat(batches)
        if self._references is None:
            self._references = self._build_references(fakes.device)
        compared = self._references.compare(fakes)
        return pixel_signals(to_unit(self._real.values), fakes) | compared | activations.measure()

    def _build_references(self, device: torch.device) -> ReferenceSet:
        def small(images: ImageSet, rows: np.ndarray) -> Tensor:
            return torch.cat([downsample(to_unit(part)) for part in iterate_batches(images.images, rows)]).to(device)

        training, held_out = self._images, self._test
        rows = np.sort(np.random.default_rng(0).permutation(len(training))[:MAX_REALS])
        labels = None if training.labels is None else torch.from_numpy(training.labels[rows]).to(device)
        others = None if held_out is None else small(held_out, np.arange(min(len(held_out), MAX_REALS)))
        complete = len(training) <= MAX_REALS
        return ReferenceSet.from_images(small(training, rows), labels, others, complete=complete)

    def _measure_outputs(self) -> dict[str, float]:
        """D's outputs, and the gradients that reach G through it."""
        game, n = self._state.game, len(self._real.values)
        z, labels = self._fakes.values[:n], None if self._fakes.labels is None else self._fakes.labels[:n]
        fake = game.G.d_input(z, labels)
        with signals.ActivationMonitor(game.D, "D") as activations:
            on_real = self._logits(self._real)
        on_fake = game.logits(fake, labels)
        values = signals.output_signals(on_real, on_fake) | activations.measure()
        if self._held_out is not None:
            values |= signals.overfitting_signals(on_real, on_fake, self._logits(self._held_out))
        g_loss = partial(game.objective.g_loss, on_real)
        return values | signals.input_gradients(lambda images: game.logits(images, labels), fake, g_loss)

    def _logits(self, inputs: "_Inputs", order: Tensor | None = None) -> Tensor:
        """D's logits, a batch at a time; with the labels in another order."""
        torch.manual_seed(0)  # the same dropout and noise in every call
        game, parts = self._state.game, _batches(len(inputs.values))
        labels = inputs.labels if order is None or inputs.labels is None else inputs.labels[order]
        images = [game.D.d_input(to_unit(inputs.values[part])) for part in parts]
        return torch.cat(
            [game.logits(x, None if labels is None else labels[part]) for x, part in zip(images, parts, strict=True)]
        )

    def _measure_labels(self) -> dict[str, float]:
        """How much the labels change the outputs, relative to z and the image."""
        G, n = self._state.game.G, len(self._real.values)
        z, labels = self._fakes.values[:n], self._fakes.labels
        assert labels is not None
        labels, order = labels[:n], torch.arange(n, device=z.device).roll(1)
        same, on_real = G(z, labels), self._logits(self._real)
        rolled = _Inputs(self._real.values[order], self._real.labels)
        return {
            "G/label_effect": signals.label_effect(G(z, labels[order]) - same, G(z[order], labels) - same),
            "D/label_effect": signals.label_effect(
                self._logits(self._real, order) - on_real, self._logits(rolled) - on_real
            ),
        }

    def record_non_finite(self, nimg: int, quantities: Iterable[str]) -> None:
        """Notes that these quantities were NaN or infinite after `nimg` images."""
        self.history.update_facts(non_finite=NonFinite(nimg / 1000, tuple(quantities)))

    def add_line(self, line: Mapping[str, Any]) -> list[Finding]:
        """Adds a line of stats.jsonl; the failures and warnings that were not reported before."""
        self.history.update_facts(shown=line["nimg"] - self._start)
        self.history.add_line(line)
        new = [f for f in self.diagnosis().findings if f.severity != "note" and f.name not in self._reported]
        self._reported |= {finding.name for finding in new}
        return new

    def diagnosis(self) -> Diagnosis:
        """The diagnosis so far; empty if a rule raises an error."""
        try:
            return apply_rules(self.history)
        except Exception as error:  # a failing rule must not end the run
            self.history.update_facts(probe_errors={"conditions": f"{type(error).__name__}: {error}"})
            return Diagnosis((), {}, self.history.now, self.history.unit, self.history.facts)


@dataclass(frozen=True)
class _Inputs:
    """Images uint8 [n c h w], or latents float32 [n z], and labels int64 [n] or None."""

    values: Tensor
    labels: Tensor | None

    def to(self, device: torch.device) -> "_Inputs":
        return _Inputs(self.values.to(device), None if self.labels is None else self.labels.to(device))


def _select(images: ImageSet, rows: np.ndarray, conditional: bool) -> _Inputs:
    rows = np.sort(rows)
    labels = torch.from_numpy(images.labels[rows]) if conditional and images.labels is not None else None
    return _Inputs(torch.from_numpy(images.images[rows]), labels)


def _batches(n: int) -> list[slice]:
    return [slice(start, min(start + BATCH, n)) for start in range(0, n, BATCH)]


def _test_images(config: TrainConfig, images: ImageSet) -> ImageSet | None:
    """The source's own held-out images, of the size of the training images; None where there are none here."""
    own = config.dataset.options()
    if own.source != "digits" and not Path(own.source.removeprefix("stacked-mnist:")).exists():
        return None  # it would have to be downloaded
    try:
        return open_test_split(own, images)
    except GanvasError:
        return None
