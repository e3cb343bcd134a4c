"""A game on points: rounds by the code of a training, and what is seen of it after each: a frame."""

import base64
import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ganvas.diagnosis.diagnosis import Diagnosis, Finding, apply_rules, verdict
from ganvas.diagnosis.history import History, NonFinite
from ganvas.diagnosis.probe import NetworkProbe
from ganvas.diagnosis.rules.table import CONDITIONS
from ganvas.diagnosis.severity import SEVERITIES
from ganvas.diagnosis.signals.networks import preserve_state
from ganvas.diagnosis.sources import facts_of
from ganvas.game.objectives import get_objective
from ganvas.networks import Shape
from ganvas.plane.points import Points
from ganvas.plane.settings import parse_settings, restarts, to_config
from ganvas.plane.subject import PlaneNetworks
from ganvas.training.compilation import EagerUpdates
from ganvas.training.state import TrainState

EDGE = 1.2
"""What is shown: [-EDGE, EDGE]²."""

SIDE, ARROWS = 45, 15
"""Values of D along an edge, and arrows; every SIDE / ARROWS-th value has an arrow."""

SCALE = 2**15 / 4
"""Coordinates of points in a frame are whole numbers, and this is 1."""

PROBE_ROUNDS, PROBES = 20, 500
"""Rounds between two probes, doubled after so many probes: the rules read all of them."""

HELD_PROBES = 10
"""Probes for which a finding stays that is found no more: a game on few points swings around a rule's threshold."""

GP = 1.0
"""Weight of WGAN-GP's penalty in a fix: the 10 that the paper has for images is too much for points (its code: 0.1)."""

SHAPE = Shape(1, 1, 2)


class Play:
    """A game that is played: D and G, the distribution, and what was measured.

    The same settings give the same frames, bit by bit, on one machine. Every round draws from a seed of its own.

    Args:
        given: knobs by name; see `ganvas.plane.settings`.

    Raises:
        GanvasError: a knob is wrong, or two exclude each other.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        places = (torch.arange(SIDE) + 0.5) / SIDE * 2 * EDGE - EDGE
        self._plane = torch.cartesian_prod(-places, places).flip(1)  # from the top down, x before y
        self._begin(parse_settings(given))

    def _begin(self, settings: dict[str, Any]) -> None:
        """New networks, and no rounds played."""
        state = TrainState.build(to_config(settings), SHAPE, torch.device("cpu"))
        self.settings, self._state = settings, state
        self.round = self.nimg = 0
        self._curves: dict[str, float] = {}
        self._watch()

    def _watch(self) -> None:
        """Measures from here on: by other knobs, what was measured before says nothing."""
        self._points = Points(self.settings["data"], self.settings["points"])
        self._subject = PlaneNetworks(self._state.game, self._points, self.settings["latent"])
        facts = facts_of(self._state.config, 0, 0, critic=self._state.game.objective.critic)
        self._probe = NetworkProbe(self._subject, History("step", facts))
        self._began, self._probes = self.nimg, 0
        self._found = apply_rules(self._probe.history)
        self._held: dict[str, tuple[Finding, int]] = {}

    def change(self, given: Mapping[str, Any]) -> None:
        """Goes on with other knobs; with new networks, and from the beginning, where these need it.

        Raises:
            GanvasError: as for a new game; the game is what it was.
        """
        values = parse_settings(given)
        if values == self.settings:
            return
        if restarts(self.settings, values):
            self._begin(values)
            return
        config = to_config(values)
        same = self.settings["objective"] == values["objective"]
        self.settings = values
        if not same:
            self._state.game = dataclasses.replace(self._state.game, objective=get_objective(values["objective"]))
            self._state.updates = EagerUpdates(self._state.game)  # they are bound to a game
        self._state.reconfigure(config)
        self._watch()

    def advance(self, rounds: int) -> None:
        """Plays so many rounds; none after numbers that are not finite."""
        for _ in range(rounds):
            if self._probe.history.facts.non_finite is not None:
                return
            self._play_round()

    def _play_round(self) -> None:
        knobs = self.settings
        every = PROBE_ROUNDS * 2 ** (self._probes // PROBES)
        probes = (self.round + 1) % every == 0
        if probes:
            self._probe.prepare()
        rng = torch.Generator().manual_seed(knobs["seed"] * 1_000_003 + self.round)
        drawn = [self._points.sample(knobs["batch"], rng)[:, None, None] for _ in range(knobs["d_steps"])]
        # a training takes pixels from 0 to 255
        measured, norms = self._state.train_round([((real + 1) * 127.5, None) for real in drawn], self.nimg)
        self.round += 1
        self.nimg += self._state.config.images_per_round
        values = {name: float(value.mean()) for name, value in {**measured, **norms}.items()}
        self._curves = values
        history = self._probe.history
        history.update_facts(shown=self.nimg - self._began)
        broken = tuple(name for name, value in values.items() if not math.isfinite(value))
        if broken:
            history.update_facts(non_finite=NonFinite(self.round, broken))
        if probes or broken:
            self._probes += 1
            history.add(self.round, values)
            history.add(self.round, self._probe.measure() if probes else {})
            self._found = apply_rules(history)
            bad = [finding for finding in self._found.findings if finding.severity != "note"]
            self._held |= {finding.name: (finding, self._probes) for finding in bad}

    @property
    def diagnosis(self) -> Diagnosis:
        """By the rules of the package at the last probe, from what was measured since the last change.

        Failures and warnings stay for HELD_PROBES probes after they are found no more.
        """
        names = {finding.name for finding in self._found.findings}
        held = [
            finding
            for name, (finding, probe) in self._held.items()
            if name not in names and self._probes - probe <= HELD_PROBES
        ]
        ranked = sorted((*self._found.findings, *held), key=lambda finding: SEVERITIES.index(finding.severity))
        return dataclasses.replace(self._found, findings=tuple(map(_for_points, ranked)))

    def describe_diagnosis(self) -> dict[str, Any]:
        """The diagnosis as a page shows it; `checked` of `conditions` could be checked."""
        found = self.diagnosis
        return found.to_json() | {
            "verdict": verdict(found), "conditions": len(CONDITIONS), "checked": len(CONDITIONS) - len(found.unchecked),
        }  # fmt: skip

    def reals(self) -> str:
        """Points of the distribution, as in a frame."""
        return _pack(self._subject.real)

    def frame(self) -> dict[str, Any]:
        """What is seen now; the game goes on as if nobody had looked.

        Returns:
            round, shown: rounds played, points shown to D.
            fake: G's points of fixed latents, int16 [256 2] in units of 1 / SCALE, Base64.
            surface: D's output, uint8 [SIDE SIDE] from `low` to `high`, row by row from the top, Base64; of a
                D trained by cross-entropy its probability of "real", otherwise the logit.
            arrows: the gradient of that output, int8 [ARROWS ARROWS 2] over the largest, Base64.
            curves: losses, outputs of D and norms of gradients in the last round.
            parts, modes, covered, good: how many parts the distribution has, whether they are modes, how many of
                them have a fair share of G's points, and which share of these lies in any.
        """
        game, probable = self._state.game, self._state.config.loss.cross_entropy
        with preserve_state(game.G, game.D):  # spectral normalisation goes on in every forward pass
            with torch.no_grad():
                fake = game.G(self._subject.z).flatten(1)
            plane = self._plane.clone()[:, None, None].requires_grad_()
            logits = game.D(plane, None)
            value = logits.sigmoid() if probable else logits
            (gradient,) = torch.autograd.grad(value.sum(), plane)
        value, gradient = value.detach().nan_to_num(0, 0, 0), gradient.flatten(1).nan_to_num(0, 0, 0)
        low, high = (0.0, 1.0) if probable else (float(value.min()), float(value.max()))
        shades = ((value - low) / max(high - low, 1e-12) * 255).round().to(torch.uint8)
        some = gradient.view(SIDE, SIDE, 2)[
            SIDE // ARROWS // 2 :: SIDE // ARROWS, SIDE // ARROWS // 2 :: SIDE // ARROWS
        ]
        longest = float(some.norm(dim=-1).max())
        arrows = (some / max(longest, 1e-12) * 127).round().to(torch.int8)
        return {
            "round": self.round, "shown": self.nimg, "fake": _pack(fake), "probability": probable,
            "signed": self._state.config.loss.signed_logits,
            "low": low, "high": high, "surface": _encode(shades), "arrows": _encode(arrows), "steepest": longest,
            "curves": self._curves, "probed": self._probes, "ended": self._probe.history.facts.non_finite is not None,
            **self._count(fake),
        }  # fmt: skip

    def _count(self, fake: Tensor) -> dict[str, Any]:
        part, near = self._points.part_of(fake)
        fair = len(fake) / self._points.parts / 5
        counts = part[near].bincount(minlength=self._points.parts)
        return {
            "parts": self._points.parts, "modes": self._points.modes, "covered": int((counts >= max(1, fair)).sum()),
            "good": float(near.float().mean()), "counts": counts.tolist(),
        }  # fmt: skip


def _for_points(finding: Finding) -> Finding:
    """The finding with fixes for a game on points."""
    fixes = (
        dataclasses.replace(fix, changes={**fix.changes, "gp": GP}) if "gp" in fix.changes else fix
        for fix in finding.fixes
    )
    return dataclasses.replace(finding, fixes=tuple(fixes))


def _pack(points: Tensor) -> str:
    whole = (points.nan_to_num(0, 0, 0).clamp(-3.9, 3.9) * SCALE).round().to(torch.int16)
    return _encode(whole)


def _encode(values: Tensor) -> str:
    return base64.b64encode(values.contiguous().numpy().tobytes()).decode()
