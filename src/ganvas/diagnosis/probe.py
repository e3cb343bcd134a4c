"""The probe: measures a generator and a discriminator during a training, and reports what is wrong, each once.

What is probed is a `Subject`: the networks of a run of Ganvas (`ganvas.training.monitor.subject`), or those of somebody
else's loop, whose calls are observed and repeated (`ganvas.diagnosis.loops.probe`).
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from ganvas.diagnosis.diagnosis import Diagnosis, Finding, apply_rules
from ganvas.diagnosis.history import History
from ganvas.diagnosis.signals import networks as signals
from ganvas.diagnosis.signals.samples import ReferenceSet, pixel_signals
from ganvas.pytorch_state import default_state

MAX_ERRORS = 3
"""Errors of a part of the probe in a row, before it is no longer tried."""

Part = Literal["images", "outputs", "held-out images", "labels"]
"""A part of a probe. An error in one leaves the others as they are."""


class FindingChanges(NamedTuple):
    """Failures and warnings that have begun or ended.

    Attributes:
        begun: those that were not there before.
        ended: the names of those that are no longer there.
        new: those of `begun` that were never there.
    """

    begun: list[Finding]
    ended: list[str]
    new: list[Finding]


class Subject(Protocol):
    """What is probed. The methods are called in this order, without gradients; random numbers are the caller's again
    afterwards, and so are the networks' buffers.

    Attributes:
        networks: {"D": the discriminator, "G": the generator}.
    """

    networks: dict[str, nn.Module]

    def images(self) -> tuple[Tensor, Tensor, int]:
        """Real and generated images, float [n …] each, and how many of the latter, from the end, are of one update."""
        ...

    def references(self) -> ReferenceSet | None:
        """Real images to compare the generated ones with; None while there are too few."""
        ...

    def d_input(self) -> Tensor:
        """Generated images as D receives them, float [n …]."""
        ...

    def on_real(self) -> Tensor:
        """D's logits on real images, float [n]."""
        ...

    def on_fake(self, fake: Tensor) -> Tensor:
        """D's logits on these generated images, or images near them, float [n]."""
        ...

    def on_held_out(self, on_real: Tensor) -> tuple[Tensor, Tensor] | None:
        """D's logits on training and on held-out images, float [n] each; None where none were held out."""
        ...

    def g_loss(self, on_real: Tensor) -> Callable[[Tensor], Tensor] | None:
        """Logits on generated images -> G's loss, float [n] each; None where it is not known."""
        ...

    def label_changes(self) -> Iterator[tuple[str, Tensor, Tensor]]:
        """(network, change of its output with other labels, with other inputs), of those that receive labels."""
        ...

    def more_signals(self, part: Part, *measured: Tensor) -> dict[str, float]:
        """What only this subject can measure, at the end of each part.

        Args:
            measured: the real images of "images", D's logits on reals and on fakes of "outputs".
        """
        ...


class NetworkProbe:
    """Measures a subject from before an update to after it, and applies the rules to its history.

    Attributes:
        history: the measurements so far.
        errors: {part: the error} of the parts that failed in the last probe that tried them.
    """

    def __init__(self, subject: Subject, history: History) -> None:
        self.history = history
        self.errors: dict[str, str] = {}
        self._subject, self._counts = subject, dict[str, int]()
        self._updates: dict[str, signals.WeightUpdate] = {}
        self._earlier: dict[str, signals.WeightUpdate] = {}
        self._present: set[str] = set()
        self._reported: set[str] = set()

    @property
    def prepared(self) -> bool:
        """Whether the weights before the update are known."""
        return bool(self._updates)

    def prepare(self) -> None:
        """Copies the weights before an update that is to be probed."""
        networks = self._subject.networks.items()
        self._updates = {name: signals.WeightUpdate(network, self._earlier.get(name)) for name, network in networks}

    def cancel(self) -> None:
        """Discards the copy: there was no update."""
        self._updates = {}

    def measure(self, used: Mapping[str, Collection[int]] | None = None) -> dict[str, float]:
        """The signals after that update; the networks are not changed.

        An error ends neither the training nor the other parts; it is kept in `errors` and in the history's facts.

        Args:
            used: {network: the ids of the weights that the update should change}, where they are known.
        """
        updates, self._updates = self._updates, {}
        known = used or {}
        values = {
            name: value
            for network, of in updates.items()
            for name, value in of.measure(network, known.get(network, ())).items()
        }
        self._earlier = {network: of.release() for network, of in updates.items()}
        parts: dict[Part, Callable[[], dict[str, float]]] = {
            "images": self._measure_images,
            "outputs": self._measure_outputs,
            "labels": self._measure_labels,
        }
        with signals.preserve_state(*self._subject.networks.values()), torch.no_grad():
            for part, measure in parts.items():
                values |= self._try(part, measure)
        self.history.update_facts(probe_errors=dict(self.errors))
        return values

    def _try(self, part: Part, measure: Callable[[], dict[str, float]]) -> dict[str, float]:
        """What a part measures; nothing where it fails, or has failed too often."""
        if self._counts.get(part, 0) >= MAX_ERRORS:
            return {}
        try:
            values = measure()
        except Exception as error:
            self.errors[part] = f"{type(error).__name__}: {error}"
            self._counts[part] = self._counts.get(part, 0) + 1
            return {}
        self.errors.pop(part, None)
        self._counts[part] = 0
        return values

    def _measure_images(self) -> dict[str, float]:
        with signals.ActivationMonitor(self._subject.networks["G"], "G") as activations:
            real, fake, of_one_update = self._subject.images()
        with default_state(random=False):
            references = self._subject.references()
            compared = {} if references is None else references.compare(fake, of_one_update)
            more = self._subject.more_signals("images", real)
            return pixel_signals(real, fake) | compared | activations.measure() | more

    def _measure_outputs(self) -> dict[str, float]:
        """D's outputs, and the gradients that reach G through it."""
        subject = self._subject
        fake = subject.d_input()
        with signals.ActivationMonitor(subject.networks["D"], "D") as activations:
            on_real = subject.on_real()
        on_fake = subject.on_fake(fake)
        values = signals.output_signals(on_real, on_fake) | activations.measure()
        values |= self._try("held-out images", lambda: self._compare_held_out(on_real, on_fake))
        values |= signals.input_gradients(subject.on_fake, fake, subject.g_loss(on_real))
        return values | subject.more_signals("outputs", on_real, on_fake)

    def _compare_held_out(self, on_real: Tensor, on_fake: Tensor) -> dict[str, float]:
        """How D's outputs on training images differ from those on held-out ones."""
        if compared := self._subject.on_held_out(on_real):
            on_training, on_held_out = compared
            return signals.overfitting_signals(on_training, on_fake, on_held_out)
        return {}

    def _measure_labels(self) -> dict[str, float]:
        """How much the labels change the outputs, relative to the other inputs."""
        changes = self._subject.label_changes()
        effects = {f"{name}/label_effect": signals.label_effect(label, other) for name, label, other in changes}
        return effects | self._subject.more_signals("labels")

    def diagnosis(self) -> Diagnosis:
        """The diagnosis so far; empty if a rule raises an error, which must not end the training, and is said."""
        errors = {part: error for part, error in self.history.facts.probe_errors.items() if part != "conditions"}
        if len(errors) < len(self.history.facts.probe_errors):
            self.history.update_facts(probe_errors=errors)
        try:
            return apply_rules(self.history)
        except Exception as error:
            self.history.update_facts(probe_errors={**errors, "conditions": f"{type(error).__name__}: {error}"})
            return Diagnosis((), {}, self.history.now, self.history.unit, self.history.facts)

    def update_findings(self) -> FindingChanges:
        """Which failures and warnings have begun or ended since the last call."""
        found = {finding.name: finding for finding in self.diagnosis().findings if finding.severity != "note"}
        begun = [finding for name, finding in found.items() if name not in self._present]
        ended = sorted(self._present - found.keys())
        new = [finding for finding in begun if finding.name not in self._reported]
        self._present = set(found)
        self._reported |= self._present
        return FindingChanges(begun, ended, new)

    def restart(self, history: History) -> None:
        """Continues with another history; what it shows already is not reported."""
        self.history = history
        findings = self.diagnosis().findings
        self._present = {finding.name for finding in findings if finding.severity != "note"}
        self._reported = {finding.name for finding in findings}
