"""The doctor at the table: a look at the players with each tick that can afford one, and what is seen anew."""

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
from ganvas.diagnosis.diagnosis import Diagnosis, Finding, diagnose
from ganvas.diagnosis.history import History
from ganvas.diagnosis.signals import networks as signals
from ganvas.diagnosis.signals.samples import KEPT, Gallery, pixels, shrunk
from ganvas.diagnosis.sources import facts
from ganvas.errors import GanvasError
from ganvas.evaluation.features import chunks
from ganvas.evaluation.reference import test_split
from ganvas.evaluation.subject import asked, shares
from ganvas.training.state import Players

SHOWN = 256
"""Fakes of a look, always of the same seeds."""

JUDGED = 64
"""Pictures of each kind that D is asked about in a look, at most."""

DIGITS = 6
"""Significant digits of what is logged."""

SHARE, FREE = 0.03, 2.0
"""Of the training time that looks may take where they decide nothing; and seconds of them that are not counted."""


class Doctor:
    """Looks at the players of a run.

    Attributes:
        history: what was seen; of a resumed run also what was seen before.
    """

    def __init__(self, config: TrainConfig, images: ImageSet, players: Players) -> None:
        self._config, self._images, self._players = config, images, players
        self.history = History("kimg", facts(config, len(images)))
        self._test = _test_pictures(config, images)
        self._steps: dict[str, signals.Steps] = {}
        self._told: set[str] = set()
        self._begun, self._spent = 0, 0.0
        self._gallery: Gallery | None = None
        conditional, rng = config.pictures.conditional, np.random.default_rng(0)
        parts = shares(images) if conditional else None
        asked_for = None if parts is None else torch.from_numpy(asked(np.arange(SHOWN), parts))
        z = sampling.latents(range(SHOWN), config.network.latent)
        self._fakes = _Shown(z, asked_for).to(players.device)
        self._real = _some(images, rng.permutation(len(images))[:JUDGED], conditional).to(players.device)
        self._held: _Shown | None = None
        if self._test is not None and (self._test.classes >= images.classes or not conditional):
            self._held = _some(self._test, rng.permutation(len(self._test))[:SHOWN], conditional).to(players.device)

    def begin(self, nimg: int, lines: Iterable[Mapping[str, Any]] = (), seconds: float = 0.0) -> None:
        """Judges only what came after `nimg` images: those lines of stats.jsonl, and what is to come.

        A run that goes on after so many seconds has had its share of looks.
        """
        self._begun, self._spent = nimg, max(self._spent, SHARE * seconds)
        self.history.facts.pop("non_finite", None)
        later = [line for line in lines if line["nimg"] > nimg]
        self.history = History.of_stats(later, self.history.facts)
        self.history.facts["seen"] = later[-1]["nimg"] - nimg if later else 0
        self._told = {finding.name for finding in self.diagnosis().findings}

    def arm(self, seconds: float) -> None:
        """Before the round that may be looked at, after so many seconds of training.

        Looks on which acts are founded are never left out: a run must act the same on any machine.
        """
        if self._config.habits.on_failure == "warn" and self._spent > FREE + SHARE * seconds:
            return
        began, game = time.perf_counter(), self._players.game
        self._steps = {"D": signals.Steps(game.D), "G": signals.Steps(game.G)}
        self._spent += time.perf_counter() - began

    def disarm(self) -> None:
        """The round was not played."""
        self._steps = {}

    def look(self) -> dict[str, float]:
        """What is seen after that round, rounded; nothing of the players is changed.

        Whatever goes wrong is kept in the history's facts (`blind`), and nothing is looked at any more.
        """
        if not self._steps or "blind" in self.history.facts:
            return {}
        began = time.perf_counter()
        try:
            seen = self._seen()
        except Exception as error:  # a look is not worth a run
            self.history.facts["blind"] = {"players": f"{type(error).__name__}: {error}"}
            return {}
        self._spent += time.perf_counter() - began
        return {name: float(f"{value:.{DIGITS}g}") for name, value in seen.items()}

    def _seen(self) -> dict[str, float]:
        game = self._players.game
        seen = self._steps["D"].taken("D") | self._steps["G"].taken("G")
        self._steps = {}
        with signals.undisturbed(game.G, game.D), torch.no_grad():
            torch.manual_seed(0)
            seen |= self._pictures()
            seen |= self._outputs()
            if self._fakes.labels is not None:
                seen |= self._obedience()
        return seen

    def _pictures(self) -> dict[str, float]:
        """G's pictures beside the reals."""
        G, z, labels = self._players.game.G, self._fakes.images, self._fakes.labels
        with signals.Inside(G, "G") as inside:
            drawn = [G(z[part], None if labels is None else labels[part]) for part in _parts(SHOWN)]
        fakes = torch.cat(drawn)
        if self._gallery is None:
            self._gallery = self._hang(fakes.device)
        return pixels(to_unit(self._real.images), fakes) | self._gallery.compare(fakes) | inside.told()

    def _hang(self, device: torch.device) -> Gallery:
        def small(images: ImageSet, rows: np.ndarray) -> Tensor:
            return torch.cat([shrunk(to_unit(part)) for part in chunks(images.images, rows)]).to(device)

        learnt, held = self._images, self._test
        rows = np.sort(np.random.default_rng(0).permutation(len(learnt))[:KEPT])
        labels = None if learnt.labels is None else torch.from_numpy(learnt.labels[rows]).to(device)
        others = None if held is None else small(held, np.arange(min(len(held), KEPT)))
        return Gallery.of(small(learnt, rows), labels, others, complete=len(learnt) <= KEPT)

    def _outputs(self) -> dict[str, float]:
        """What D says, and what reaches G through it."""
        game, n = self._players.game, len(self._real.images)
        z, labels = self._fakes.images[:n], None if self._fakes.labels is None else self._fakes.labels[:n]
        fake = game.G.shown(z, labels)
        with signals.Inside(game.D, "D") as inside:
            on_real = self._judged(self._real)
        on_fake = game.judge(fake, labels)
        seen = signals.outputs(on_real, on_fake) | inside.told()
        if self._held is not None:
            seen |= signals.by_heart(on_real, on_fake, self._judged(self._held))
        pull = partial(game.objective.g_loss, on_real)
        return seen | signals.slopes(lambda images: game.judge(images, labels), fake, pull)

    def _judged(self, shown: "_Shown", order: Tensor | None = None) -> Tensor:
        """D's logits, a batch at a time; with the labels in another order."""
        torch.manual_seed(0)  # dropout and noise alike in every call
        game, parts = self._players.game, _parts(len(shown.images))
        labels = shown.labels if order is None or shown.labels is None else shown.labels[order]
        views = [game.D.view(to_unit(shown.images[part])) for part in parts]
        return torch.cat(
            [game.judge(v, None if labels is None else labels[p]) for v, p in zip(views, parts, strict=True)]
        )

    def _obedience(self) -> dict[str, float]:
        """What the labels change, beside what z and the picture change."""
        G, n = self._players.game.G, len(self._real.images)
        z, labels = self._fakes.images[:n], self._fakes.labels
        assert labels is not None
        labels, order = labels[:n], torch.arange(n, device=z.device).roll(1)
        same, on_real = G(z, labels), self._judged(self._real)
        moved = _Shown(self._real.images[order], self._real.labels)
        return {
            "G/labels": signals.obedience(G(z, labels[order]) - same, G(z[order], labels) - same),
            "D/labels": signals.obedience(self._judged(self._real, order) - on_real, self._judged(moved) - on_real),
        }

    def saw(self, line: Mapping[str, Any]) -> list[Finding]:
        """Adds a line of stats.jsonl; the failures and warnings that were not told before."""
        self.history.facts["seen"] = line["nimg"] - self._begun
        self.history.add_line(line)
        fresh = [f for f in self.diagnosis().findings if f.gravity != "note" and f.name not in self._told]
        self._told |= {finding.name for finding in fresh}
        return fresh

    def diagnosis(self) -> Diagnosis:
        """What is known by now; nothing, if the doctor itself fails."""
        try:
            return diagnose(self.history)
        except Exception as error:  # a diagnosis is not worth a run
            self.history.facts["blind"] = {"numbers": f"{type(error).__name__}: {error}"}
            return Diagnosis((), {}, self.history.now, self.history.unit, self.history.facts)


@dataclass(frozen=True)
class _Shown:
    """Pictures uint8 [n c h w], or latents float32 [n z], and labels int64 [n] or None."""

    images: Tensor
    labels: Tensor | None

    def to(self, device: torch.device) -> "_Shown":
        return _Shown(self.images.to(device), None if self.labels is None else self.labels.to(device))


def _some(images: ImageSet, rows: np.ndarray, conditional: bool) -> _Shown:
    rows = np.sort(rows)
    labels = torch.from_numpy(images.labels[rows]) if conditional and images.labels is not None else None
    return _Shown(torch.from_numpy(images.images[rows]), labels)


def _parts(n: int) -> list[slice]:
    """A batch at a time."""
    return [slice(start, min(start + JUDGED, n)) for start in range(0, n, JUDGED)]


def _test_pictures(config: TrainConfig, images: ImageSet) -> ImageSet | None:
    """The source's own held-out pictures, as large as those learnt from; None where there are none here."""
    own = config.pictures.options()
    if own.source != "digits" and not Path(own.source.removeprefix("stacked-mnist:")).exists():
        return None  # it would have to be downloaded
    try:
        return test_split(own, images)
    except GanvasError:
        return None
