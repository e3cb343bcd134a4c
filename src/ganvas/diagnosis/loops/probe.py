"""Two lines around anyone's training loop: ganvas.watch(G, D), and probe.step(…) once a round.

    with ganvas.watch(G, D) as probe:
        for real in loader:
            …                                            # your updates of D and of G
            probe.step(real=real, fake=fake, d_loss=d_loss, g_loss=g_loss)

It works on plain modules with any optimiser, adds no gradient, changes no buffer and uses up no random number.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from ganvas import devices
from ganvas.diagnosis.budget import PROBES, TimeBudget
from ganvas.diagnosis.diagnosis import Diagnosis, verdict
from ganvas.diagnosis.history import Facts, History
from ganvas.diagnosis.loops.arguments import Images, Loss, Network, as_loss, check_data, check_networks, check_settings
from ganvas.diagnosis.loops.batches import MIN_PAIRS, MIN_TRAINING, PooledMean
from ganvas.diagnosis.loops.calls import last_layer
from ganvas.diagnosis.loops.keras_fit import FitSampler, Latents, fit_callback, losses_in
from ganvas.diagnosis.loops.keras_loop import KerasNetworks
from ganvas.diagnosis.loops.keras_models import KerasModule
from ganvas.diagnosis.loops.live import LiveDisplay, in_notebook
from ganvas.diagnosis.loops.observed import ObservedNetworks
from ganvas.diagnosis.loops.outputs import Reader
from ganvas.diagnosis.probe import MAX_ERRORS, NetworkProbe
from ganvas.diagnosis.signals import networks as signals
from ganvas.display import Displayed, Paragraph, Part
from ganvas.errors import GanvasError

Batch = tuple[Tensor, Tensor]
"""Real and generated images of a round."""

FIRST_LOOKS, EACH_STEPPED = 16, 4
"""Of the first rounds only the wiring is looked at: of so many at most, until each network was stepped in so many."""

MAX_WAIT = 100
"""Rounds that a probe waits for the step of a network, at most."""

LOSS_ROWS = 16
"""Rows of losses between two probes, at most."""

KEPT_LOSSES = 4096
"""Rounds whose losses are kept until they are added to the history, where no probe does so any more."""


class Probe(Displayed):
    """Measures a generator and a discriminator while somebody else's loop trains them.

    Attributes:
        history: everything measured so far.
    """

    def __init__(
        self,
        G: Network,
        D: Network | Sequence[Network] | Mapping[str, Network],
        *,
        data: Images | None = None,
        labels: Images | None = None,
        held_out: Images | None = None,
        logits: Reader | None = None,
        every: int | None = None,
        report: Callable[[str], None] | None = None,
        critic: bool | None = None,
    ) -> None:
        G, discriminators = check_networks(G, D)
        data, labels, held_out = check_data(data, labels, held_out)
        check_settings(every, critic, logits, report)
        images = None if data is None else len(data)
        self.history = History("step", Facts(critic=critic, output_activation=last_layer(G), images=images))
        keras = any(isinstance(network, KerasModule) for network in (G, *discriminators))
        observed = KerasNetworks if keras else ObservedNetworks
        self._observed = observed(G, discriminators, data, labels, held_out, logits)
        self._G, self._data, self._labels = G, data, labels
        self._probe = NetworkProbe(self._observed, self.history)
        self._budget = TimeBudget({"probes": PROBES})
        self._every, self._report = every, report
        self._live = LiveDisplay() if report is tell and in_notebook() else None
        self._steps, self._shown, self._probed_at, self._began = 0, 0, 0, time.perf_counter()
        self._losses: dict[str, list[Tensor]] = {}
        self._failed, self._said = 0, dict[str, str]()
        self._probe_due, self._looks = False, Counter[str]()
        least = {"D/auc": MIN_PAIRS, "D/held_auc": MIN_TRAINING, "D/overfit": MIN_TRAINING}
        self._pooled = {name: PooledMean(n) for name, n in least.items()}
        self._is_critic_given, self._is_negative = critic is not None, False

    @property
    def seconds(self) -> float:
        """The time that probing took."""
        return self._budget.spent["probes"]

    def step(
        self,
        *,
        real: Images,
        fake: Images,
        d_loss: Loss | None = None,
        g_loss: Loss | None = None,
    ) -> None:
        """Call it at the end of each round, after the updates of both networks.

        Args:
            real, fake: the batch as D received it, float [n …]; their graphs are not kept. The tensors of the last
                few rounds are measured later: do not change them in place. Of a Keras D with several inputs a list.
            d_loss, g_loss: the losses of this round, scalars.

        Raises:
            GanvasError: in the first round an argument is of another kind, real and fake are of different sizes or
                on different devices, or `data` differs from real in size or range. Nothing is raised later: what a
                probe could not measure is said at the end.
        """
        given = {"D/loss": ("d_loss", d_loss), "G/loss": ("g_loss", g_loss)}
        try:
            real, fake = self._observed.received(real, fake)
            losses = {key: as_loss(name, loss) for key, (name, loss) in given.items() if loss is not None}
        except GanvasError as error:
            if not self._steps:
                raise
            self._steps += 1
            self._say("rounds", f"step {self._steps}: {error.what}")
            return
        if len(real) and len(fake):
            self._end_step(len(real), losses, (real, fake))

    def callback(self, latents: Latents) -> Any:
        """A Keras callback for the `fit` of a model whose `train_step` updates G and D.

            with ganvas.watch(gan.generator, gan.discriminator, data=images) as probe:
                gan.fit(images, callbacks=[probe.callback(latents=128)])

        The losses are those of the logs with a usual name, such as d_loss and g_loss. Where a step is probed, G draws
        256 images in inference mode and `data` gives as many reals; nothing is drawn elsewhere.

        Args:
            latents: the size of a normal z, or n -> G's input for n images: an array, or a list of several, such as
                [z, labels]. Draw in it from a generator of your own, so that `fit` draws what it would without.

        Raises:
            GanvasError: G and D are no models of Keras, there is no `data`, or `latents` is something else.
        """
        sampler = FitSampler(self._G, self._observed.networks["D"], self._data, self._labels, latents)

        def end_step(steps: int | None, logs: Mapping[str, Any]) -> None:
            with suppress(GanvasError):  # of a loss that is no number
                images = round(len(self._data) / steps) if steps and self._data is not None else 0
                self._end_step(images, losses_in(logs), sampler)

        return fit_callback(end_step)

    def _end_step(self, images: int, losses: Mapping[str, Tensor], batch: Batch | Callable[[], Any]) -> None:
        """Counts a step, and measures it if that is to be; `batch` may be drawn only then."""
        self._steps += 1
        self._shown += images
        for key, loss in losses.items():
            self._losses.setdefault(key, []).append(loss)
        if self._failed < MAX_ERRORS:
            try:
                self._after_round(batch)
                self._failed = 0
            except Exception as error:  # the training goes on
                self._failed += 1
                self._say_what_failed(error)
                if self._failed == MAX_ERRORS:
                    self._give_up()
        elif max(map(len, self._losses.values()), default=0) >= KEPT_LOSSES:
            with suppress(Exception):
                self._flush_losses()
            self._losses = {}

    def _after_round(self, batch: Batch | Callable[[], Any]) -> None:
        """Measures the round, if it was to be probed, and prepares the next one, if that is to be."""
        if not callable(batch) and self._observed.add_batch(*batch):
            self._forget_images()
        self._budget.seconds = time.perf_counter() - self._began
        due = self._is_due()
        with self._budget.spend("probes"):
            if self._probe.prepared:
                if callable(batch):
                    self._observed.add_batch(*self._observed.received(*batch()))
                self._measure()
                due = self._every == 1
            elif self._observed.recording:
                self._look()
            self._observed.end_round()
            self._probe_due = due or self._probe_due
            if self._probe_due and self._is_telling():
                self._probe_due = False
                self._observed.begin_round()
                self._probe.prepare()
            elif self._steps > 1 and not callable(batch) and self._may_look() and self._is_telling():
                self._observed.begin_round()

    def _is_telling(self) -> bool:
        """Whether the next round steps the network that was not stepped in the last one observed, if there is one.

        Where G is stepped in each fifth round only, probes at even distances could miss it for ever.
        """
        waits = [self._observed.next_step(name) for name in self._observed.missed]
        return not waits or min(waits) <= 1 or max(waits) > MAX_WAIT

    def _may_look(self) -> bool:
        """Whether only the wiring of the next round is observed: of the first few, so that short runs are checked."""
        return self._looks["rounds"] < FIRST_LOOKS and min(self._looks["D"], self._looks["G"]) < EACH_STEPPED

    def _look(self) -> None:
        """Adds what is seen of a round without measuring anything."""
        values = self._observed.loop_signals()
        self._count_look(values)
        self.history.add(self._steps, values)

    def _count_look(self, values: Mapping[str, float | None]) -> None:
        self._looks["rounds"] += 1
        self._looks.update(name for name in "DG" if f"wiring/{name}/stepped" in values)

    def _forget_images(self) -> None:
        """Images of another size cannot be compared with the earlier ones."""
        kept = ("D/", "G/", "wiring/", "targets/", "growth")
        columns = {name: column for name, column in self.history.columns.items() if name.startswith(kept)}
        self.history = History(self.history.unit, self.history.facts, columns)
        self._probe.history = self.history
        self.history.add(self._steps, {"growth": 1.0})

    def _say_what_failed(self, error: Exception) -> None:
        self._say("rounds", f"{type(error).__name__}: {error}")

    def _give_up(self) -> None:
        """Nothing more is measured, which is worse than an error in one round; losses are still kept."""
        with suppress(Exception):  # it must not end the training
            self._observed.close()
        self._said = {"later rounds" if what == "rounds" else what: why for what, why in self._said.items()}
        errors = {what: why for what, why in self.history.facts.probe_errors.items() if what != "rounds"}
        self.history.update_facts(probe_errors={**errors, **self._said})

    def _say(self, what: str, why: str) -> None:
        """What could not be measured, and why; of one thing the first reason counts."""
        self._said = {what: why} | self._said
        self.history.update_facts(probe_errors={**self.history.facts.probe_errors, **self._said})

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
        self._flush_losses()
        with self._observed.repeating():
            of_loop = self._measure_loop()
            values = of_loop | self._per_step(self._probe.measure(self._observed.used_weights()))
            problems, vain = self._observed.problems()
        values = {name: value for name, value in values.items() if not name.startswith(vain)}
        self._said = {**{what: why for what, why in self._said.items() if what == "rounds"}, **problems}
        self.history.update_facts(probe_errors={**self.history.facts.probe_errors, **self._said})
        real, _ = self._observed.recent[-1]
        self.history.add(self._steps, values | devices.used_memory(real.device))
        self._infer_critic()
        if self._live is not None:
            self._live.update(self)
        elif self._report is not None:
            for finding in self._probe.update_findings().new:
                self._report(f"ganvas: step {self._steps}: {finding.describe()}")

    def _per_step(self, values: dict[str, float]) -> dict[str, float | None]:
        """Updates as those of one step, where a round has several; D's order of images of enough of them."""
        steps = {f"{name}/update": self._observed.seen.most_steps(name) for name in "DG"}
        measured = {name: value / max(1, steps.get(name, 1)) for name, value in values.items()}
        real, fake = self._observed.recent[-1]
        training = sum(len(reals) for reals, _ in self._observed.recent)
        n = {"D/auc": len(real) * len(fake), "D/held_auc": training, "D/overfit": training}
        return measured | {name: self._pooled[name].add(measured[name], n[name]) for name in n if name in measured}

    def _measure_loop(self) -> dict[str, float | None]:
        """The gradients that are left in the weights, and how losses, gradients and optimisers are connected."""
        try:
            networks = self._observed.networks.items()
            gradients = {f"{name}/gradient": signals.gradient_norm(network) for name, network in networks}
            seen = self._observed.loop_signals()
            gradients |= {f"{name}/gradient": norm for name, norm in self._observed.seen.gradients.items()}
        except Exception as error:
            self._say_what_failed(error)
            return {}
        self._count_look(seen)
        return gradients | seen

    def _flush_losses(self) -> None:
        """Adds the losses since the last probe as a few rows; waits for the device."""
        self.history.update_facts(shown=self._shown or None)
        for name, values in self._losses.items():
            column = torch.stack([value.to(values[-1].device) for value in values]).cpu().double()
            rows = min(LOSS_ROWS, len(column))
            for part, piece in enumerate(column.tensor_split(rows)):
                at = self._steps - len(column) * (1 - (part + 1) / rows)
                self.history.add(at, {name: float(piece.mean())})
            bad = int((~torch.isfinite(column)).sum())
            self.history.add(self._steps, {f"{name}/bad": bad})
            if name == "D/loss" and column.lt(-0.01).double().mean() > 0.1:
                self._is_negative = True
        self._losses = {}
        self._infer_critic()

    def _infer_critic(self) -> None:
        """Whether D's loss is a Wasserstein one: by its gradients, or, where they do not tell, by its sign."""
        linear = self.history["targets/linear"].value
        if not self._is_critic_given and (linear.any() or self._is_negative):
            self.history.update_facts(critic=bool(linear.any() or not len(linear)))

    def diagnosis(self) -> Diagnosis:
        """The diagnosis so far, of all steps until now."""
        try:
            self._flush_losses()
        except Exception as error:
            self._say_what_failed(error)
        return self._probe.diagnosis()

    def _line(self) -> str:
        return f"Probe({self._steps:,} steps, of which {self.seconds:.1f} s of probing: {verdict(self.diagnosis())})"

    def _parts(self) -> Iterator[Part]:
        yield Paragraph(f"{self._steps:,} steps, of which {self.seconds:.1f} s of probing", "dim")
        yield from self.diagnosis()._parts()

    def close(self) -> Diagnosis:
        """Removes the hooks; the final diagnosis."""
        self._observed.close()
        return self.diagnosis()

    def __enter__(self) -> "Probe":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        found = self.close()
        if self._live is not None:
            self._live.update(self, now=True)
        elif self._report is not None:
            self._report(str(found))


def tell(text: str) -> None:
    """Prints a line to stderr."""
    print(text, file=sys.stderr)


def watch(
    G: Network,
    D: Network | Sequence[Network] | Mapping[str, Network],
    *,
    data: Images | None = None,
    labels: Images | None = None,
    held_out: Images | None = None,
    logits: Callable[[Any], Any] | None = None,
    every: int | None = None,
    report: Callable[[str], None] | None = tell,
    critic: bool | None = None,
) -> Probe:
    """Watches G and D in a training loop of your own; see `Probe.step`.

    Args:
        G, D: plain modules or models of Keras 3, trained by any means; of several discriminators of one generator a
            list. D may return logits or, if its last operation is a sigmoid, probabilities: a tensor, or tensors in
            lists, tuples and dicts, of which those with one value (or map) an image are taken.
        data: the training images, float [n …] exactly as D receives them; by default those of the batches.
        labels: their classes, int64 [n]; then missing classes are detected, not only missing cells.
        held_out: images outside the training set: without them overfitting and memorisation cannot be detected.
        logits: D's output -> its judgement of each image, float [n …], where the rule above finds another one.
        every: steps between two probes; by default as often as costs 3 % of the time.
        report: receives each finding when it is first detected, and the final diagnosis; None for silence. By
            default they are printed; in a notebook the diagnosis is shown below the cell and updated in place.
        critic: whether the loss is a Wasserstein one; by default that is inferred from D's loss.

    Raises:
        GanvasError: an argument is of another kind, there is not one label an image, or `every` is below 1.
    """
    return Probe(
        G, D, data=data, labels=labels, held_out=held_out, logits=logits, every=every, report=report, critic=critic
    )
