"""Two lines around anyone's training loop: ganvas.watch(G, D), and probe.step(…) once a round.

    with ganvas.watch(G, D) as probe:
        for real in loader:
            …                                            # your updates of D and of G
            probe.step(real=real, fake=fake, d_loss=d_loss, g_loss=g_loss)

It works on plain modules with any optimiser, adds no gradient, changes no buffer and uses up no random number.
"""

import sys
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from ganvas import devices
from ganvas.diagnosis.budget import PROBES, TimeBudget
from ganvas.diagnosis.diagnosis import Diagnosis, verdict
from ganvas.diagnosis.history import Facts, History
from ganvas.diagnosis.observed import ObservedNetworks
from ganvas.diagnosis.probe import NetworkProbe
from ganvas.diagnosis.signals import networks as signals
from ganvas.diagnosis.signals.calls import last_layer
from ganvas.display import Displayed, Paragraph, Part
from ganvas.errors import GanvasError

LOSS_ROWS = 4
"""Rows of losses between two probes."""


class Probe(Displayed):
    """Measures a generator and a discriminator while somebody else's loop trains them.

    Attributes:
        history: everything measured so far.
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
        report: Callable[[str], None] | None = None,
        critic: bool | None = None,
    ) -> None:
        if data is not None and labels is not None and len(data) != len(labels):
            raise GanvasError(
                f"There are {len(data)} images in `data` and {len(labels)} labels.", expected="one label an image"
            )
        if labels is not None and (data is None or labels.dim() != 1):
            raise GanvasError(
                "There are labels without images." if data is None else f"`labels` are {tuple(labels.shape)}.",
                expected="`data`, and the number of a class for each of its images",
            )
        if every is not None and every < 1:
            raise GanvasError(f"every is {every}.", expected="a number of steps from 1 on")
        images = None if data is None else len(data)
        self.history = History("step", Facts(critic=critic, output_activation=last_layer(G), images=images))
        self._observed = ObservedNetworks(G, D, data, labels, held_out)
        self._probe = NetworkProbe(self._observed, self.history)
        self._budget = TimeBudget({"probes": PROBES})
        self._every, self._report = every, report
        self._steps, self._probed_at, self._began = 0, 0, time.perf_counter()
        self._losses: dict[str, list[Tensor]] = {}

    @property
    def seconds(self) -> float:
        """The time that probing took."""
        return self._budget.spent["probes"]

    def step(
        self,
        *,
        real: Tensor,
        fake: Tensor,
        d_loss: Tensor | float | None = None,
        g_loss: Tensor | float | None = None,
    ) -> None:
        """Call it at the end of each round, after the updates of both networks.

        Args:
            real, fake: the batch as D received it, float [n …]; their graphs are not kept. The tensors of the last
                few rounds are measured later: do not change them in place.
            d_loss, g_loss: the losses of this round, scalars.

        Raises:
            GanvasError: real and fake are of different sizes.
        """
        if real.shape[1:] != fake.shape[1:]:
            raise GanvasError(
                f"Real images are {tuple(real.shape[1:])} and fakes {tuple(fake.shape[1:])}.",
                expected="D's inputs, of one size",
            )
        self._steps += 1
        for name, loss in (("D/loss", d_loss), ("G/loss", g_loss)):
            if loss is not None:
                value = loss.detach() if isinstance(loss, Tensor) else torch.tensor(float(loss))
                self._losses.setdefault(name, []).append(value.float().mean())
        self._observed.add_batch(real, fake)
        self._budget.seconds = time.perf_counter() - self._began
        due = self._is_due()
        with self._budget.spend("probes"):
            if self._probe.prepared:
                self._measure()
                due = self._every == 1
            if due:
                self._probe.prepare()
            self._observed.end_round()

    def _is_due(self) -> bool:
        """Whether to probe the next step: the first ones, and then as many as the share of time allows."""
        if self._steps == 1:  # the first steps show a learning rate that is far too high
            return True
        if self._every is not None:
            return self._steps - self._probed_at >= self._every - 1
        return self._steps == 8 or (self._steps > 8 and self._budget.allows("probes"))

    def _measure(self) -> None:
        """Adds one row to the history, and reports new failures and warnings."""
        self._probed_at = self._steps
        gradients = {f"{name}/gradient": signals.gradient_norm(of) for name, of in self._observed.networks.items()}
        self._flush_losses()
        self._observed.steps = self._steps
        self._observed.replaying = True
        try:
            values = self._probe.measure()
        finally:
            self._observed.replaying = False
        real, _ = self._observed.recent[-1]
        self.history.update_facts(shown=self._steps * len(real))
        self.history.add(self._steps, values | gradients | devices.used_memory(real.device))
        if self._report is not None:
            for finding in self._probe.new_findings():
                self._report(f"ganvas: step {self._steps}: {finding.describe()}")

    def _flush_losses(self) -> None:
        """Adds the losses since the last probe as a few rows; waits for the device."""
        for name, values in self._losses.items():
            column = torch.stack(values).double().cpu()
            for part, piece in enumerate(column.tensor_split(min(LOSS_ROWS, len(column)))):
                at = self._steps - len(column) * (1 - (part + 1) / min(LOSS_ROWS, len(column)))
                self.history.add(at, {name: float(piece.mean())})
            bad = int((~torch.isfinite(column)).sum())
            self.history.add(self._steps, {f"{name}/bad": bad})
        if "D/loss" in self._losses:
            low = torch.stack(self._losses["D/loss"]).lt(-0.01).float().mean()
            if low > 0.1 and self.history.facts.critic is None:
                self.history.update_facts(critic=True)
        self._losses = {}

    def diagnosis(self) -> Diagnosis:
        """The diagnosis so far."""
        return self._probe.diagnosis()

    def _line(self) -> str:
        return f"Probe({self._steps:,} steps, of which {self.seconds:.1f} s of probing: {verdict(self.diagnosis())})"

    def _parts(self) -> Iterator[Part]:
        yield Paragraph(f"{self._steps:,} steps, of which {self.seconds:.1f} s of probing", "dim")
        yield from self.diagnosis()._parts()

    def close(self) -> Diagnosis:
        """Removes the hooks; the final diagnosis."""
        if self._losses and not self._observed.replaying:
            self._flush_losses()
        self._observed.close()
        return self.diagnosis()

    def __enter__(self) -> "Probe":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        found = self.close()
        if self._report is not None:
            self._report(str(found))


def watch(
    G: nn.Module,
    D: nn.Module,
    *,
    data: Tensor | None = None,
    labels: Tensor | None = None,
    held_out: Tensor | None = None,
    every: int | None = None,
    report: Callable[[str], None] | None = lambda text: print(text, file=sys.stderr),
    critic: bool | None = None,
) -> Probe:
    """Watches G and D in a training loop of your own; see `Probe.step`.

    Args:
        G, D: plain modules, trained by any means. D may return logits or, if its last layer is a sigmoid,
            probabilities.
        data: the training images, float [n …] exactly as D receives them; by default those of the batches.
        labels: their classes, int64 [n]; then missing classes are detected, not only missing cells.
        held_out: images outside the training set: without them overfitting and memorisation cannot be detected.
        every: steps between two probes; by default as often as costs 3 % of the time.
        report: receives each finding when it is first detected, and the final diagnosis; None for silence.
        critic: whether the loss is a Wasserstein one; by default that is inferred from D's loss.

    Raises:
        GanvasError: not one label an image, or `every` below 1.
    """
    return Probe(G, D, data=data, labels=labels, held_out=held_out, every=every, report=report, critic=critic)
