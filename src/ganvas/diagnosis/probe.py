"""Two lines around anyone's training loop: ganvas.watch(G, D), and probe.step(…) once a round.

    with ganvas.watch(G, D) as probe:
        for real in loader:
            …                                            # your steps of D and of G
            probe.step(real=real, fake=fake, d_loss=d_loss, g_loss=g_loss)

It works on plain modules with any optimiser, adds no gradient, moves no buffer and uses up no random number.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ganvas import devices
from ganvas.diagnosis.diagnosis import Diagnosis, diagnose
from ganvas.diagnosis.history import History
from ganvas.diagnosis.signals import networks as signals
from ganvas.diagnosis.signals.calls import (
    Call,
    Ear,
    alike,
    called,
    for_as_many,
    labels_of,
    last_layer,
    normalised,
    part_of,
    shuffled,
)
from ganvas.diagnosis.signals.samples import KEPT, Gallery, pixels, shrunk
from ganvas.errors import GanvasError

SHARE = 0.03
"""Of the loop's time, for looking."""

SHOWN = 256
"""Pictures of each kind in a look, at most: those of the last few steps."""

CALLS = 16
"""Of D or G within a round, remembered at most."""

TRIES = 3
"""Failures of a look, such as at the odd last batch of an epoch, before it is no longer tried."""

ROWS = 4
"""Lines of losses between two looks."""


class Probe:
    """Watches a generator and a discriminator while somebody else trains them.

    Attributes:
        history: everything seen so far.
        spent: seconds that looking took.
    """

    def __init__(
        self,
        G: nn.Module,
        D: nn.Module,
        *,
        data: Tensor | None = None,
        labels: Tensor | None = None,
        held_out: Tensor | None = None,
        every: int | None = None,
        tell: Callable[[str], None] | None = None,
        **facts: Any,
    ) -> None:
        if data is not None and labels is not None and len(data) != len(labels):
            raise GanvasError(
                f"There are {len(data)} pictures in `data` and {len(labels)} labels.", expected="one label a picture"
            )
        if labels is not None and (data is None or labels.dim() != 1):
            raise GanvasError(
                "There are labels without pictures." if data is None else f"`labels` are {tuple(labels.shape)}.",
                expected="`data`, and one number of a class for each of its pictures",
            )
        if every is not None and every < 1:
            raise GanvasError(f"every is {every}.", expected="a number of steps from 1 on")
        known = {} if data is None else {"images": len(data)}
        self.history = History("step", {"g_ends_in": last_layer(G), **known, **facts})
        self.spent = 0.0
        self._players = {"D": D, "G": G}
        self._data, self._labels, self._held, self._every, self._tell = data, labels, held_out, every, tell
        self._gallery: Gallery | None = None
        self._calls: dict[str, list[Call]] = {"D": [], "G": []}
        self._hooks = [
            player.register_forward_pre_hook(Ear(self._remember(name)), with_kwargs=True)
            for name, player in self._players.items()
        ]
        self._steps, self._looked, self._began = 0, 0, time.perf_counter()
        self._armed: dict[str, signals.Steps] = {}
        self._losses: dict[str, list[Tensor]] = {}
        self._reals: list[Tensor] = []
        self._recent: list[tuple[Tensor, Tensor]] = []
        self._told: set[str] = set()
        self._failed: dict[str, str] = {}
        self._failures: dict[str, int] = {}
        self._looking = False

    def _remember(self, name: str) -> Callable[..., None]:
        def hook(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
            if not self._looking and given and isinstance(given[0], Tensor):
                self._calls[name] = [*self._calls[name], (given, named)][-CALLS:]

        return hook

    def step(
        self,
        *,
        real: Tensor,
        fake: Tensor,
        d_loss: Tensor | float | None = None,
        g_loss: Tensor | float | None = None,
    ) -> None:
        """Call it at the end of each round, after both optimisers' steps.

        Args:
            real, fake: the batch as D was shown it, float [n …]; nothing is kept of their graphs. The tensors of the
                last few rounds are looked at later: do not change them in place.
            d_loss, g_loss: the losses of this round, scalars.

        Raises:
            GanvasError: real and fake are of different sizes.
        """
        if real.shape[1:] != fake.shape[1:]:
            raise GanvasError(
                f"Real pictures are {tuple(real.shape[1:])} and fakes {tuple(fake.shape[1:])}.",
                expected="what D is shown, of one size",
            )
        self._steps += 1
        for name, loss in (("D/loss", d_loss), ("G/loss", g_loss)):
            if loss is not None:
                value = loss.detach() if isinstance(loss, Tensor) else torch.tensor(float(loss))
                self._losses.setdefault(name, []).append(value.float().mean())
        self._recent = [*self._recent, (real.detach(), fake.detach())][-max(1, -(-SHOWN // len(real))) :]
        if self._data is None and self._gallery is None and sum(map(len, self._reals)) < KEPT:
            self._reals.append(shrunk(real).clone())
        began = time.perf_counter()
        due = self._due(began)
        if self._armed:
            self._look()
            due = self._every == 1
        if due:
            self._armed = {name: signals.Steps(player) for name, player in self._players.items()}
        self._calls = {"D": [], "G": []}
        self.spent += time.perf_counter() - began

    def _due(self, now: float) -> bool:
        """Whether the next step is one to look at: the first ones, and then as often as its share of time allows."""
        if self._steps == 1:  # the first steps show a learning rate that is far too high
            return True
        if self._every is not None:
            return self._steps - self._looked >= self._every - 1
        return self._steps == 8 or (self._steps > 8 and self.spent < SHARE * (now - self._began))

    def _look(self) -> None:
        """One row of the history."""
        self._looked = self._steps
        seen: dict[str, float | None] = {}
        for name, steps in self._armed.items():
            seen |= steps.taken(name)
            seen[f"{name}/gradient"] = signals.gradient(self._players[name])
        self._armed = {}
        self._flush()
        real, fake = (torch.cat(part) for part in zip(*self._recent, strict=True))
        real, fake = real[-SHOWN:], fake[-SHOWN:]
        self._looking = True
        try:
            with signals.undisturbed(*self._players.values()), torch.no_grad():
                for what, about in (
                    ("pictures", lambda: pixels(real, fake) | self._look_at_pictures(real, fake)),
                    ("outputs", self._look_at_outputs),
                    ("labels", self._look_at_labels),
                ):
                    if self._failures.get(what, 0) < TRIES:
                        try:
                            seen |= about()
                            self._failed.pop(what, None)
                        except Exception as error:  # a look is not worth a run
                            self._failed[what] = f"{type(error).__name__}: {error}"
                            self._failures[what] = self._failures.get(what, 0) + 1
        finally:
            self._looking = False
        self.history.facts["seen"] = self._steps * len(self._recent[-1][0])
        self.history.facts["blind"] = dict(self._failed)
        self.history.add(self._steps, seen | devices.memory(real.device))
        self._report()

    def _flush(self) -> None:
        """The losses since the last look, as a few lines: waits for the device."""
        for name, values in self._losses.items():
            column = torch.stack(values).double().cpu()
            for part, piece in enumerate(column.tensor_split(min(ROWS, len(column)))):
                at = self._steps - len(column) * (1 - (part + 1) / min(ROWS, len(column)))
                self.history.add(at, {name: float(piece.mean())})
            bad = int((~torch.isfinite(column)).sum())
            self.history.add(self._steps, {f"{name}/bad": bad})
        if "D/loss" in self._losses:
            low = torch.stack(self._losses["D/loss"]).lt(-0.01).float().mean()
            if low > 0.1:
                self.history.facts.setdefault("critic", True)
        self._losses = {}

    def _look_at_pictures(self, real: Tensor, fake: Tensor) -> dict[str, float]:
        if self._gallery is None:
            data = self._data if self._data is not None else torch.cat(self._reals)[:KEPT]
            if len(data) < min(KEPT, 500) and self._data is None and self._steps < 200:
                return {}  # too few reals have passed by to hold fakes against
            order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[:KEPT]
            labels = None if self._labels is None else self._labels.to(fake.device)[order]
            held = None if self._held is None else self._held[:KEPT].to(fake)
            self._gallery = Gallery.of(
                data[order].to(fake), labels, held, complete=self._data is not None and len(data) <= KEPT
            )
            self._reals = []
        seen = self._gallery.compare(fake, len(self._recent[-1][1]))
        return seen | self._gallery.absent(real) if self._data is not None else seen

    def _look_at_outputs(self) -> dict[str, float]:
        real, fake = self._recent[-1]
        D, call = self._players["D"], self._call_on
        with signals.Inside(D, "D") as inside:
            on_real = self._judge(real, call(real, 0))
        on_fake = self._judge(fake, call(fake, 1))
        on_held = None
        if self._held is not None and labels_of(call(real, 0)) is None:  # else we would have to know what to tell
            on_held = self._judge(self._held[:SHOWN].to(real), call(real, 0))
            learnt = torch.cat([shown for shown, _ in self._recent])
            on_learnt = self._judge(learnt, call(real, 0))
        seen = signals.outputs(on_real, on_fake) | inside.told()
        if on_held is not None:
            seen |= signals.by_heart(on_learnt, on_fake, on_held)
        seen |= {"D/real": float(on_real.mean()), "D/fake": float(on_fake.mean())}
        seen |= {"D/real/std": float(on_real.std()), "D/fake/std": float(on_fake.std())}
        seen |= signals.slopes(lambda images: self._judge(images, call(fake, 1)), fake)
        if normalised(D):
            both = torch.cat([real, fake])
            together = self._judge(both, call(real, 0))[: len(real)]
            seen["D/mixed"] = float(any(len(given[0]) == len(both) for given, _ in self._calls["D"]))
            seen["D/company"] = float((together - on_real).abs().mean() / on_real.std().clamp_min(1e-6))
        return seen

    def _call_on(self, images: Tensor, half: int) -> Call:
        """How D was called on these images; or else its last call."""
        if not self._calls["D"]:
            raise LookupError("D was not called in this round, or not with pictures as its first argument")
        return self._own_call(images, half) or self._calls["D"][-1]

    def _own_call(self, images: Tensor, half: int) -> Call | None:
        """How D was called on these very images, alone or in that half of a batch of both."""
        n = len(images)
        for given, named in self._calls["D"]:
            if given[0].data_ptr() == images.data_ptr() and len(given[0]) == n:
                return given, named
        for given, named in self._calls["D"]:
            if len(given[0]) == 2 * n:
                own = slice(half * n, (half + 1) * n)
                return tuple(part_of(v, own, 2 * n) for v in given), {
                    k: part_of(v, own, 2 * n) for k, v in named.items()
                }
        return None

    def _judge(self, images: Tensor, call: Call) -> Tensor:
        """D's logits of images, its other arguments as in a call."""
        given, named = call
        n = len(given[0])
        given = (images, *(for_as_many(len(images), n, value) for value in given[1:]))
        out = called(
            self._players["D"], given, {key: for_as_many(len(images), n, value) for key, value in named.items()}
        )
        out = out.reshape(len(images), -1).mean(1).float()
        return torch.logit(out, 1e-6) if last_layer(self._players["D"]) == "sigmoid" else out

    def _look_at_labels(self) -> dict[str, float]:
        """Whether anything changes with the labels: the same call again with every other argument shuffled."""
        seen: dict[str, float] = {}
        for name, calls in self._calls.items():
            if not calls or labels_of(calls[-1]) is None:
                continue
            (images, *others), named = calls[-1]
            if len(images) < 2:  # with whom could labels be changed?
                continue
            order, player = torch.arange(len(images)).roll(1), self._players[name]
            same = alike(player, (images, *others), named)
            others_named = {key: shuffled(value, order) for key, value in named.items()}
            by_label = alike(player, (images, *(shuffled(value, order) for value in others)), others_named)
            by_chance = alike(player, (shuffled(images, order), *others), named)
            seen[f"{name}/labels"] = signals.obedience(by_label - same, by_chance - same)
        return seen | self._told_otherwise()

    def _told_otherwise(self) -> dict[str, float]:
        """labels/differ: the share of fakes of which D was told another label than G."""
        fake = self._recent[-1][1]
        call = self._own_call(fake, 1)
        told = None if call is None else labels_of(call)
        drawn = [labels_of(call) for call in self._calls["G"] if len(call[0][0]) == len(fake)]
        shares = [
            float((asked_for != told).reshape(len(fake), -1).any(1).float().mean())
            for asked_for in drawn
            if asked_for is not None and told is not None and asked_for.shape == told.shape
        ]
        return {"labels/differ": min(shares)} if shares else {}  # which of them drew these, nobody says

    def _report(self) -> None:
        """New failures and warnings, each once, as soon as they are seen."""
        if self._tell is None:
            return
        for finding in self.diagnosis().findings:
            if finding.gravity != "note" and finding.name not in self._told:
                self._told.add(finding.name)
                self._tell(f"ganvas: step {self._steps}: {finding.told()}")

    def diagnosis(self) -> Diagnosis:
        """What is known by now."""
        return diagnose(self.history)

    def close(self) -> Diagnosis:
        """Takes its hooks off; the last word."""
        if self._losses and not self._looking:
            self._flush()
        for hook in self._hooks:
            hook.remove()
        return self.diagnosis()

    def __enter__(self) -> "Probe":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        found = self.close()
        if self._tell is not None:
            self._tell(str(found))


def watch(
    G: nn.Module,
    D: nn.Module,
    *,
    data: Tensor | None = None,
    labels: Tensor | None = None,
    held_out: Tensor | None = None,
    every: int | None = None,
    tell: Callable[[str], None] | None = lambda text: print(text, file=sys.stderr),
    **facts: Any,
) -> Probe:
    """Watches G and D in a training loop of your own; see `Probe.step`.

    Args:
        G, D: plain modules, trained by whatever means. D may return logits or, if its last layer is a sigmoid,
            probabilities.
        data: the pictures learnt from, float [n …] exactly as D is shown them; by default those that pass by.
        labels: their classes, int64 [n]; then missing classes are named, not only cells.
        held_out: pictures never learnt from: without them nothing can be said of overfitting and memorisation.
        every: steps between two looks; by default as often as costs 3 % of the time.
        tell: what is done with a finding when it is first seen, and with the last word; None for silence.
        facts: what else is known: critic=True for a Wasserstein loss, total=steps.

    Raises:
        GanvasError: not one label a picture, or `every` below 1.
    """
    return Probe(G, D, data=data, labels=labels, held_out=held_out, every=every, tell=tell, **facts)
