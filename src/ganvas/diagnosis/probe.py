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
from typing import Any

import torch
from torch import Tensor, nn

from ganvas import devices
from ganvas.diagnosis.diagnosis import Diagnosis, apply_rules, verdict
from ganvas.diagnosis.history import Facts, History
from ganvas.diagnosis.signals import networks as signals
from ganvas.diagnosis.signals.calls import (
    Call,
    CallHook,
    call,
    call_reproducibly,
    has_batch_norm,
    labels_of,
    last_layer,
    permute,
    repeat_to,
    select_rows,
)
from ganvas.diagnosis.signals.samples import MAX_REALS, ReferenceSet, downsample, pixel_signals
from ganvas.display import Displayed, Paragraph, Part
from ganvas.errors import GanvasError
from ganvas.pytorch_state import default_state

SHARE = 0.03
"""Of the loop's time, for probing."""

MAX_IMAGES = 256
"""Images of each kind in a probe, at most: those of the last few steps."""

MAX_CALLS = 16
"""Calls of D or G within a round that are kept, at most."""

MAX_ERRORS = 3
"""Errors of a measurement, such as on the smaller last batch of an epoch, before it is no longer tried."""

LOSS_ROWS = 4
"""Rows of losses between two probes."""


class Probe(Displayed):
    """Measures a generator and a discriminator while somebody else's loop trains them.

    Attributes:
        history: everything measured so far.
        seconds: the time that probing took.
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
        self.seconds = 0.0
        self._networks = {"D": D, "G": G}
        self._data, self._labels, self._held_out, self._every, self._report = data, labels, held_out, every, report
        self._references: ReferenceSet | None = None
        self._calls: dict[str, list[Call]] = {"D": [], "G": []}
        self._hooks = [
            network.register_forward_pre_hook(CallHook(self._keep_call_of(name)), with_kwargs=True)
            for name, network in self._networks.items()
        ]
        self._steps, self._probed_at, self._began = 0, 0, time.perf_counter()
        self._updates: dict[str, signals.WeightUpdate] = {}
        self._losses: dict[str, list[Tensor]] = {}
        self._reals: list[Tensor] = []
        self._recent: list[tuple[Tensor, Tensor]] = []
        self._reported: set[str] = set()
        self._errors: dict[str, str] = {}
        self._error_counts: dict[str, int] = {}
        self._probing = False

    def _keep_call_of(self, name: str) -> Callable[..., None]:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if not self._probing and args and isinstance(args[0], Tensor):
                self._calls[name] = [*self._calls[name], (args, kwargs)][-MAX_CALLS:]

        return hook

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
        self._recent = [*self._recent, (real.detach(), fake.detach())][-max(1, -(-MAX_IMAGES // len(real))) :]
        if self._data is None and self._references is None and sum(map(len, self._reals)) < MAX_REALS:
            self._reals.append(downsample(real).clone())
        began = time.perf_counter()
        due = self._is_due(began)
        if self._updates:
            self._measure()
            due = self._every == 1
        if due:
            self._updates = {name: signals.WeightUpdate(network) for name, network in self._networks.items()}
        self._calls = {"D": [], "G": []}
        self.seconds += time.perf_counter() - began

    def _is_due(self, now: float) -> bool:
        """Whether to probe the next step: the first ones, and then as many as the share of time allows."""
        if self._steps == 1:  # the first steps show a learning rate that is far too high
            return True
        if self._every is not None:
            return self._steps - self._probed_at >= self._every - 1
        return self._steps == 8 or (self._steps > 8 and self.seconds < SHARE * (now - self._began))

    def _measure(self) -> None:
        """Adds one row to the history."""
        self._probed_at = self._steps
        values: dict[str, float | None] = {}
        for name, update in self._updates.items():
            values |= update.measure(name)
            values[f"{name}/gradient"] = signals.gradient_norm(self._networks[name])
        self._updates = {}
        self._flush_losses()
        real, fake = (torch.cat(part) for part in zip(*self._recent, strict=True))
        real, fake = real[-MAX_IMAGES:], fake[-MAX_IMAGES:]
        self._probing = True
        try:
            with signals.preserve_state(*self._networks.values()), torch.no_grad():
                for what, measure in (
                    ("images", lambda: self._measure_images(real, fake)),
                    ("outputs", self._measure_outputs),
                    ("labels", self._measure_labels),
                ):
                    if self._error_counts.get(what, 0) < MAX_ERRORS:
                        try:
                            values |= measure()
                            self._errors.pop(what, None)
                        except Exception as error:  # a failing probe must not end the training
                            self._errors[what] = f"{type(error).__name__}: {error}"
                            self._error_counts[what] = self._error_counts.get(what, 0) + 1
        finally:
            self._probing = False
        self.history.update_facts(shown=self._steps * len(self._recent[-1][0]), probe_errors=dict(self._errors))
        self.history.add(self._steps, values | devices.used_memory(real.device))
        self._report_new_findings()

    def _measure_images(self, real: Tensor, fake: Tensor) -> dict[str, float]:
        with default_state(random=False):
            return pixel_signals(real, fake) | self._measure_samples(real, fake)

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

    def _measure_samples(self, real: Tensor, fake: Tensor) -> dict[str, float]:
        if self._references is None:
            data = self._data if self._data is not None else torch.cat(self._reals)[:MAX_REALS]
            if len(data) < min(MAX_REALS, 500) and self._data is None and self._steps < 200:
                return {}  # too few reals to compare fakes with
            order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[:MAX_REALS]
            labels = None if self._labels is None else self._labels.to(fake.device)[order]
            held_out = None if self._held_out is None else self._held_out[:MAX_REALS].to(fake)
            self._references = ReferenceSet.from_images(
                data[order].to(fake), labels, held_out, complete=self._data is not None and len(data) <= MAX_REALS
            )
            self._reals = []
        values = self._references.compare(fake, len(self._recent[-1][1]))
        return values | self._references.missing_from(real) if self._data is not None else values

    def _measure_outputs(self) -> dict[str, float]:
        real, fake = self._recent[-1]
        D, call_on = self._networks["D"], self._call_on
        with signals.ActivationMonitor(D, "D") as activations:
            on_real = self._logits(real, call_on(real, 0))
        on_fake = self._logits(fake, call_on(fake, 1))
        on_held = None
        if self._held_out is not None and labels_of(call_on(real, 0)) is None:  # else their labels would be needed
            on_held = self._logits(self._held_out[:MAX_IMAGES].to(real), call_on(real, 0))
            training = torch.cat([reals for reals, _ in self._recent])
            on_training = self._logits(training, call_on(real, 0))
        values = signals.output_signals(on_real, on_fake) | activations.measure()
        if on_held is not None:
            values |= signals.overfitting_signals(on_training, on_fake, on_held)
        values |= {"D/real": float(on_real.mean()), "D/fake": float(on_fake.mean())}
        values |= {"D/real/std": float(on_real.std()), "D/fake/std": float(on_fake.std())}
        values |= signals.input_gradients(lambda images: self._logits(images, call_on(fake, 1)), fake)
        if has_batch_norm(D):
            both = torch.cat([real, fake])
            together = self._logits(both, call_on(real, 0))[: len(real)]
            values["D/mixed_batch"] = float(any(len(args[0]) == len(both) for args, _ in self._calls["D"]))
            values["D/batch_effect"] = float((together - on_real).abs().mean() / on_real.std().clamp_min(1e-6))
        return values

    def _call_on(self, images: Tensor, half: int) -> Call:
        """How D was called on these images; or else its last call."""
        if not self._calls["D"]:
            raise LookupError("D was not called in this round, or not with images as its first argument")
        return self._exact_call_on(images, half) or self._calls["D"][-1]

    def _exact_call_on(self, images: Tensor, half: int) -> Call | None:
        """How D was called on these very images, alone or in that half of a batch of both."""
        n = len(images)
        for args, kwargs in self._calls["D"]:
            if args[0].data_ptr() == images.data_ptr() and len(args[0]) == n:
                return args, kwargs
        for args, kwargs in self._calls["D"]:
            if len(args[0]) == 2 * n:
                rows = slice(half * n, (half + 1) * n)
                return tuple(select_rows(value, rows, 2 * n) for value in args), {
                    key: select_rows(value, rows, 2 * n) for key, value in kwargs.items()
                }
        return None

    def _logits(self, images: Tensor, like: Call) -> Tensor:
        """D's logits of images, float [n], its other arguments as in a call."""
        args, kwargs = like
        n = len(args[0])
        args = (images, *(repeat_to(len(images), n, value) for value in args[1:]))
        out = call(self._networks["D"], args, {key: repeat_to(len(images), n, value) for key, value in kwargs.items()})
        out = out.reshape(len(images), -1).mean(1).float()
        return torch.logit(out, 1e-6) if last_layer(self._networks["D"]) == "sigmoid" else out

    def _measure_labels(self) -> dict[str, float]:
        """Whether the labels have an effect: each network's last call again, with every other argument permuted."""
        values: dict[str, float] = {}
        for name, calls in self._calls.items():
            if not calls or labels_of(calls[-1]) is None:
                continue
            (images, *others), kwargs = calls[-1]
            if len(images) < 2:  # there is nothing to permute
                continue
            order, network = torch.arange(len(images)).roll(1), self._networks[name]
            same = call_reproducibly(network, (images, *others), kwargs)
            permuted = {key: permute(value, order) for key, value in kwargs.items()}
            by_label = call_reproducibly(network, (images, *(permute(value, order) for value in others)), permuted)
            by_input = call_reproducibly(network, (permute(images, order), *others), kwargs)
            values[f"{name}/label_effect"] = signals.label_effect(by_label - same, by_input - same)
        return values | self._measure_label_mismatch()

    def _measure_label_mismatch(self) -> dict[str, float]:
        """labels/mismatch: the share of fakes that D received with another label than G."""
        fake = self._recent[-1][1]
        d_call = self._exact_call_on(fake, 1)
        d_labels = None if d_call is None else labels_of(d_call)
        candidates = [labels_of(call) for call in self._calls["G"] if len(call[0][0]) == len(fake)]
        shares = [
            float((g_labels != d_labels).reshape(len(fake), -1).any(1).float().mean())
            for g_labels in candidates
            if g_labels is not None and d_labels is not None and g_labels.shape == d_labels.shape
        ]
        return {"labels/mismatch": min(shares)} if shares else {}  # which call generated these fakes is not known

    def _report_new_findings(self) -> None:
        """Failures and warnings, each once, when they are first detected."""
        if self._report is None:
            return
        for finding in self.diagnosis().findings:
            if finding.severity != "note" and finding.name not in self._reported:
                self._reported.add(finding.name)
                self._report(f"ganvas: step {self._steps}: {finding.describe()}")

    def diagnosis(self) -> Diagnosis:
        """The diagnosis so far."""
        return apply_rules(self.history)

    def _line(self) -> str:
        return f"Probe({self._steps:,} steps, of which {self.seconds:.1f} s of probing: {verdict(self.diagnosis())})"

    def _parts(self) -> Iterator[Part]:
        yield Paragraph(f"{self._steps:,} steps, of which {self.seconds:.1f} s of probing", "dim")
        yield from self.diagnosis()._parts()

    def close(self) -> Diagnosis:
        """Removes the hooks; the final diagnosis."""
        if self._losses and not self._probing:
            self._flush_losses()
        for hook in self._hooks:
            hook.remove()
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
