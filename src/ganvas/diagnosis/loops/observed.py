"""The networks of somebody else's loop: their calls are observed, and repeated where a probe needs outputs."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from ganvas.diagnosis.loops.arguments import check_alike, check_batch
from ganvas.diagnosis.loops.batches import MAX_IMAGES, RecentBatches, pieces, reduce
from ganvas.diagnosis.loops.calls import (
    Call,
    CallHook,
    Place,
    autocast_now,
    called_weights,
    eagerly,
    find_images,
    has_batch_norm,
    is_alone,
    last_layer,
    rows_of,
    with_images,
)
from ganvas.diagnosis.loops.labels import label_changes, label_mismatch
from ganvas.diagnosis.loops.outputs import Reader, classes_of, ends_in, mean_per_head, read_classes, reading
from ganvas.diagnosis.loops.problems import find_problems
from ganvas.diagnosis.loops.rows import attribute, tensors_of
from ganvas.diagnosis.loops.targets import passes_of_g, target_signals
from ganvas.diagnosis.loops.wiring import Round, WiringMonitor, backward_pass
from ganvas.diagnosis.probe import Part
from ganvas.diagnosis.signals.samples import MAX_REALS, ReferenceSet, downsample
from ganvas.errors import GanvasError

MAX_CALLS = 16
"""Calls of D or G within a round that are kept, at most."""

MIN_VOTES = 4
"""Rounds after which the directions in which D's loss pushes must agree."""

MIN_REALS, WAIT_STEPS = 500, 200
"""Without the data, fakes are compared with so many reals of the batches, or fewer after so many steps."""


class ObservedNetworks:
    """A `Subject` made of plain modules, the last batches, and the calls of the round.

    Attributes:
        networks: {"D": D, or a list of several, "G": G}.
        calls: {"D" or "G": its calls in a round that is probed}.
        reals: downsampled real images of the first rounds, float32 [n f] each, where the data are not given.
        steps: rounds so far.
        missed: the networks that were stepped before, and not in the last round that was observed.
        seen: how losses, gradients and optimisers were connected in the last round that was observed.
    """

    def __init__(
        self,
        G: nn.Module,
        discriminators: Sequence[nn.Module],
        data: Tensor | None,
        labels: Tensor | None,
        held_out: Tensor | None,
        logits: Reader | None,
    ) -> None:
        D = discriminators[0] if len(discriminators) == 1 else nn.ModuleList(discriminators)
        self.networks: dict[str, nn.Module] = {"D": D, "G": G}
        self.reals: list[Tensor] = []
        self.steps, self.missed = 0, tuple[str, ...]()
        self.calls: dict[str, list[Call]] = {"D": [], "G": []}
        self.seen = Round()
        self._batches = RecentBatches(self._pixels)
        self._discriminators, self._read = discriminators, reading(logits)
        self._data, self._labels, self._held_out = data, labels, held_out
        self._references: ReferenceSet | None = None
        self._recording, self._votes = False, Counter[float]()
        self._used = set[str]()
        self._classes, self._mixed = 1, False
        named = [("G", G), *(("D", one) for one in discriminators)]
        self._hooks = [self._observed_at(name, network) for name, network in named]
        self._wiring = WiringMonitor(self.networks)

    def _observed_at(self, name: str, network: nn.Module) -> Any:
        try:
            return self._observe(network, CallHook(self._keep_call_of(name)))
        except RuntimeError as error:
            raise GanvasError(
                f"{name} is a {type(network).__name__}, whose calls cannot be observed.",
                expected="a torch.nn.Module",
                fix="pass the module from which torch.jit.script made it: both have the same weights",
            ) from error

    def _observe(self, network: nn.Module, hook: CallHook) -> Any:
        return network.register_forward_hook(hook, with_kwargs=True)

    def _as_call(self, network: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        return Call(args, kwargs, network, network.training, autocast_now())

    def _keep_call_of(self, name: str) -> Callable[..., None]:
        def hook(network: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            if self._recording:
                with suppress(Exception):  # it must not end the training
                    call = self._as_call(network, args, kwargs)
                    self.calls[name] = [*self.calls[name], call][-MAX_CALLS:]
                    if name == "D" and call.images is not None:
                        self._keep_output(call, output)
                    elif name == "G":
                        call.heads += [images.detach() for images in tensors_of(output)]

        return hook

    def _keep_output(self, call: Call, output: Any) -> None:
        """Keeps D's logits, and the gradients that will reach them."""
        images = call.images
        assert images is not None
        for i, head in enumerate(self._read(output, images)):
            call.heads.append(head.detach())
            call.sigmoid = call.sigmoid or ends_in(head, "Sigmoid")
            columns = head.dim() > 1 and head.shape[1] > 1
            call.softmax = call.softmax or (columns and ends_in(head, "Softmax", "LogSoftmax"))
            if head.requires_grad:
                head.register_hook(lambda of, i=i: call.gradients.append((backward_pass(), i, of.detach())))

    @property
    def recent(self) -> list[tuple[Tensor, Tensor]]:
        """The (real, fake) batches of the last few rounds, those that are kept at full size."""
        return self._batches.full

    @property
    def recording(self) -> bool:
        """Whether the round is observed."""
        return self._recording

    def add_batch(self, real: Tensor, fake: Tensor) -> bool:
        """Keeps the batch of a round, without its graph; whether its images are of another size than those before."""
        self.steps += 1
        other = bool(self.recent) and self.recent[-1][0].shape[1:] != real.shape[1:]
        if other:
            self.reals, self._references = [], None
            self._batches.clear()
        self._batches.add(real, fake)
        if not self._shows(real) and self._references is None and sum(map(len, self.reals)) < MAX_REALS:
            self.reals.append(downsample(self._pixels(real)).clone())
        return other

    def received(self, real: Any, fake: Any) -> tuple[Tensor, Tensor]:
        """The images of a round, from the arguments of `Probe.step`; raises what `check_batch` does."""
        real, fake = check_batch(real, fake)
        if not self.steps and self._data is not None:
            check_alike(self._data, real)
        return real, fake

    def _shows(self, real: Tensor) -> bool:
        """Whether the data are given, in the size of these reals: networks may grow."""
        return self._data is not None and self._data.shape[1:] == real.shape[1:]

    def _pixels(self, images: Tensor) -> Tensor:
        """Images as their pixels are compared: float [n c h w], or [n …] of other data."""
        return images

    def begin_round(self) -> None:
        """Observes the calls, the gradients and the steps of the round that begins now."""
        self._recording, self.seen = True, Round()
        self._wiring.begin()

    def end_round(self) -> None:
        """Forgets the calls of the round."""
        self._recording, self._mixed = False, False
        self.calls = {"D": [], "G": []}
        self._wiring.end_round()

    @contextmanager
    def repeating(self) -> Iterator[None]:
        """Calls within are repetitions: they are not observed, and compiled networks run as they are written."""
        self._recording = False
        with eagerly():
            yield

    def close(self) -> None:
        """Removes the hooks, and forgets the calls of the round; a second time does no harm."""
        self._recording, self.calls = False, {"D": [], "G": []}
        for hook in self._hooks:
            hook.remove()
        self._wiring.close()

    def loop_signals(self) -> dict[str, float]:
        """How the loop connects losses, gradients and optimisers, and what both losses ask of D's outputs."""
        seen = self._wiring.end()
        if seen is None:
            return {}
        self.seen = seen
        real, fake = self.recent[-1]
        asked = attribute(self.calls["D"], real, [fake, *self._generated()])
        self._mixed = any(one.is_mixed(len(real) + len(fake)) for one in asked)
        self._classes = max((k for one in asked if (k := classes_of(one.call)) is not None), default=self._classes)
        of_losses = seen.of_losses()
        of_g = passes_of_g(asked, seen.reached["G"], of_losses[0])
        values = seen.signals(*of_g) | seen.own_losses(of_g[0]) | target_signals(asked, *of_losses)
        self._votes[values.get("targets/direction", 0.0)] += 1
        values["targets/unread"] = float(self._sign is None)
        if self._wiring.steps["G"]:
            values["G/steps"] = float(self._wiring.steps["G"])
        stepped = {name for name in self.networks if seen.applied(name)}
        self.missed = tuple(name for name, of in self._wiring.stepping.items() if of.last and name not in stepped)
        values |= {f"wiring/{name}/stepped": 1.0 for name in stepped}
        self._used |= {name for name in self.networks if self.calls[name] or seen.reached[name]}
        self._used |= {name for name, steps in seen.counted.items() if steps}
        calls = self.calls["G"]
        if calls and _differs_in_training(self.networks["G"]):
            values["wiring/G/eval"] = float(not any(call.training for call in calls))
        return values

    def used_weights(self) -> dict[str, set[int]]:
        """{network: the ids of the weights that the round used}, also of layers behind which the gradient is cut off.

        Where some were not reached, and others were, the network is called again: those of modules that are not called
        are of blocks that it will grow later.
        """
        used = dict[str, set[int]]()
        for name, reached in self.seen.weights.items():
            others = reached and {id(weight) for weight in self.networks[name].parameters()} - reached
            used[name] = reached | called_weights(self.calls[name]) if others else reached
        return used

    def _generated(self) -> list[Tensor]:
        """What G returned in the round."""
        return [images for call in self.calls["G"] for images in call.heads]

    @property
    def _sign(self) -> float | None:
        """-1 where D's loss asks for higher outputs on fakes; None where that is not clear."""
        higher, lower = self._votes[1.0], self._votes[-1.0]
        if not higher + lower or (higher + lower >= MIN_VOTES and 3 * min(higher, lower) > higher + lower):
            return None
        return -1.0 if lower > higher else 1.0

    def next_step(self, name: str) -> int:
        """In how many rounds, at least one, a network will be stepped, as far as can be known."""
        return self._wiring.stepping[name].next(self.steps) - self.steps

    def problems(self) -> tuple[dict[str, str], tuple[str, ...]]:
        """{what is measured in vain: why}, and how the names of those quantities begin."""
        used = self._used if self._wiring.trains else self.networks
        return find_problems(used, self.calls, self.recent[-1][0], self._generated())

    def images(self) -> tuple[Tensor, Tensor, int]:
        """The last reals and fakes that are kept at full size."""
        return *self._batches.images(), len(self.recent[-1][1])

    def references(self) -> ReferenceSet | None:
        """Of the data, or else of the reals in the batches so far."""
        if self._references is None:
            shown = self._shows(self.recent[-1][0])
            if not shown and sum(map(len, self.reals)) < MIN_REALS and self.steps < WAIT_STEPS:
                return None
            data: Tensor = self._data if shown else torch.cat(self.reals)[:MAX_REALS]  # type: ignore[assignment]
            order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[:MAX_REALS]
            reals = reduce(data, self._pixels, order) if shown else data[order]
            if not bool(torch.isfinite(reals).all(1).any()):
                raise LookupError("the real images hold NaN or infinity")
            if bool((reals == reals[:1]).all()):
                raise LookupError("all real images are equal")
            device = self.recent[-1][1].device
            labels = None if self._labels is None or not shown else self._labels.to(device)[order]
            held_out = None
            if self._held_out is not None and shown:
                rows = torch.arange(min(len(self._held_out), MAX_REALS))
                held_out = reduce(self._held_out, self._pixels, rows).to(device)
            self._references = ReferenceSet.from_images(
                reals.to(device), labels, held_out, complete=shown and len(data) <= MAX_REALS
            )
            self.reals = []
        return self._references

    def d_input(self) -> Tensor:
        """The fakes of the last batch."""
        return self.recent[-1][1]

    def on_real(self) -> Tensor:
        """On the reals of the last batch."""
        real = self.recent[-1][0]
        return self._logits(real, like=real)

    def on_fake(self, fake: Tensor) -> Tensor:
        """As D was called on the fakes of the last batch."""
        return self._logits(fake, like=self.recent[-1][1])

    def on_held_out(self, on_real: Tensor) -> tuple[Tensor, Tensor] | None:
        """Of a D without labels: else the labels of the held-out images would be needed."""
        real = self.recent[-1][0]
        if self._held_out is None or not self._shows(real) or not all(map(is_alone, self.calls["D"])):
            return None
        held_out = pieces(self._held_out[:MAX_IMAGES], len(real))
        on_held_out = [self._logits(part.to(real), like=real) for part in held_out]
        return torch.cat([self._logits(reals, like=real) for reals, _ in self.recent]), torch.cat(on_held_out)

    def g_loss(self, on_real: Tensor) -> None:
        """It is not known."""

    def label_changes(self) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Each network's last call again, with other labels and with other inputs."""
        return label_changes(self.calls, self._first_output)

    def _first_output(self, name: str, call: Call) -> Tensor:
        out, images = call.repeat_reproducibly(), call.images
        if name == "D" and images is not None:
            return mean_per_head(tuple(read_classes(head, self._classes) for head in self._read(out, images)))
        return next(tensors_of(out))

    def more_signals(self, part: Part, *measured: Tensor) -> dict[str, float]:
        """Missing classes of the reals shown; the level and spread of the logits, and the effect of batch norm in D;
        the share of fakes whose labels differ between G and D."""
        if part == "images":
            return self._image_signals()
        return self._logit_signals(*measured) if part == "outputs" else label_mismatch(self.calls, self.recent[-1][1])

    def _image_signals(self) -> dict[str, float]:
        """Of all images that are known; of those of earlier rounds, if they are large, only as they are compared."""
        if self._references is None:
            return {}
        real, fake = self.recent[-1]
        values = self._references.missing_from(self._batches.compared("real")) if self._shows(real) else {}
        if self._batches.reduced:
            values |= self._references.compare(self._batches.compared("fake"), len(fake))
        return values

    def _logit_signals(self, on_real: Tensor, on_fake: Tensor) -> dict[str, float]:
        values = {"D/real": float(on_real.mean()), "D/fake": float(on_fake.mean())}
        several = min(len(on_real), len(on_fake)) > 1
        if several:
            values |= {"D/real/std": float(on_real.std()), "D/fake/std": float(on_fake.std())}
        if several and has_batch_norm(self.networks["D"]):
            real, fake = self.recent[-1]
            both = torch.cat([real, fake])
            together = self._logits(both, like=real)[: len(real)]
            values["D/mixed_batch"] = float(self._mixed)
            values["D/batch_effect"] = float((together - on_real).abs().mean() / on_real.std().clamp_min(1e-6))
        return values

    def _logits(self, images: Tensor, *, like: Tensor) -> Tensor:
        """D's logits of images, float [n] or [n k], its other arguments as in its call on the images `like`."""
        heads: list[Tensor] = []
        problem: Exception | None = None
        for D in self._discriminators:
            try:
                call, place = self._call_on(like, D)
                for head in self._read(with_images(call, place, images).repeat(), images):
                    judged = read_classes(head, self._classes)
                    heads.append(torch.logit(judged.float(), 1e-6) if call.sigmoid else judged)
            except LookupError as error:
                problem = error
        if not heads and problem is not None:
            raise problem
        return (self._sign or 1.0) * mean_per_head(tuple(heads))

    def _call_on(self, images: Tensor, D: nn.Module) -> tuple[Call, Place]:
        """How a D was called on these images; or else its last call; or, where no call was seen, alone."""
        calls = [call for call in self.calls["D"] if call.network is D and call.images is not None]
        for call in calls:
            if place := find_images(call, images):
                return call, place
        if not calls:
            call = Call((images,), {}, D, D.training, sigmoid=last_layer(D) == "sigmoid")
            return call, Place(0, slice(0, len(images)), None, len(images))
        place = rows_of(calls[-1], images, second=images.data_ptr() == self.recent[-1][1].data_ptr())
        if place is None:
            received = next(calls[-1].tensors())[1]
            raise LookupError(
                f"D receives {tuple(received.shape[1:])} and `real` is {tuple(images.shape[1:])}: "
                "pass real= and fake= to probe.step as D receives them"
            )
        return calls[-1], place


def _differs_in_training(network: nn.Module) -> bool:
    """Whether a network computes something else in training mode."""
    kinds = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)
    return any(isinstance(module, kinds) for module in network.modules())
