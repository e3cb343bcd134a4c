"""The networks of somebody else's loop: their calls are observed, and repeated where a probe needs outputs."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ganvas.diagnosis.probe import Part
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
from ganvas.diagnosis.signals.samples import MAX_REALS, ReferenceSet, downsample

MAX_IMAGES = 256
"""Images of each kind in a probe, at most: those of the last few steps."""

MAX_CALLS = 16
"""Calls of D or G within a round that are kept, at most."""

MIN_REALS, WAIT_STEPS = 500, 200
"""Without the data, fakes are compared with so many reals of the batches, or fewer after so many steps."""


class ObservedNetworks:
    """A `Subject` made of two plain modules, the last batches, and the calls of the round.

    Attributes:
        networks: {"D": D, "G": G}.
        recent: the (real, fake) batches of the last few rounds.
        calls: {"D" or "G": its calls in this round}.
        reals: downsampled real images of the first rounds, float32 [n f] each, where the data are not given.
        replaying: whether calls are not observed: they are repetitions.
        steps: rounds so far.
    """

    def __init__(
        self, G: nn.Module, D: nn.Module, data: Tensor | None, labels: Tensor | None, held_out: Tensor | None
    ) -> None:
        self.networks: dict[str, nn.Module] = {"D": D, "G": G}
        self.recent: list[tuple[Tensor, Tensor]] = []
        self.reals: list[Tensor] = []
        self.replaying, self.steps = False, 0
        self._data, self._labels, self._held_out = data, labels, held_out
        self._references: ReferenceSet | None = None
        self.calls: dict[str, list[Call]] = {"D": [], "G": []}
        self._hooks = [
            network.register_forward_pre_hook(CallHook(self._keep_call_of(name)), with_kwargs=True)
            for name, network in self.networks.items()
        ]

    def _keep_call_of(self, name: str) -> Callable[..., None]:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if not self.replaying and args and isinstance(args[0], Tensor):
                self.calls[name] = [*self.calls[name], (args, kwargs)][-MAX_CALLS:]

        return hook

    def add_batch(self, real: Tensor, fake: Tensor) -> None:
        """Keeps the batch of a round, without its graph."""
        self.recent = [*self.recent, (real.detach(), fake.detach())][-max(1, -(-MAX_IMAGES // len(real))) :]
        if self._data is None and self._references is None and sum(map(len, self.reals)) < MAX_REALS:
            self.reals.append(downsample(real).clone())

    def end_round(self) -> None:
        """Forgets the calls of the round."""
        self.calls = {"D": [], "G": []}

    def close(self) -> None:
        """Removes the hooks."""
        for hook in self._hooks:
            hook.remove()

    def images(self) -> tuple[Tensor, Tensor, int]:
        """The last 256 reals and fakes."""
        real, fake = (torch.cat(part)[-MAX_IMAGES:] for part in zip(*self.recent, strict=True))
        return real, fake, len(self.recent[-1][1])

    def references(self) -> ReferenceSet | None:
        """Of the data, or else of the reals in the batches so far."""
        if self._references is None:
            data = self._data if self._data is not None else torch.cat(self.reals)[:MAX_REALS]
            if self._data is None and len(data) < MIN_REALS and self.steps < WAIT_STEPS:
                return None
            device = self.recent[-1][1]
            order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[:MAX_REALS]
            labels = None if self._labels is None else self._labels.to(device.device)[order]
            held_out = None if self._held_out is None else self._held_out[:MAX_REALS].to(device)
            self._references = ReferenceSet.from_images(
                data[order].to(device), labels, held_out, complete=self._data is not None and len(data) <= MAX_REALS
            )
            self.reals = []
        return self._references

    def d_input(self) -> Tensor:
        """The fakes of the last batch."""
        return self.recent[-1][1]

    def on_real(self) -> Tensor:
        """On the reals of the last batch."""
        real = self.recent[-1][0]
        return self._logits(real, self._call_on(real, 0))

    def on_fake(self, fake: Tensor) -> Tensor:
        """As D was called on the fakes of the last batch."""
        return self._logits(fake, self._call_on(self.recent[-1][1], 1))

    def on_held_out(self, on_real: Tensor) -> tuple[Tensor, Tensor] | None:
        """Of a D without labels: else the labels of the held-out images would be needed."""
        real = self.recent[-1][0]
        like = self._call_on(real, 0)
        if self._held_out is None or labels_of(like) is not None:
            return None
        on_held_out = self._logits(self._held_out[:MAX_IMAGES].to(real), like)
        return self._logits(torch.cat([reals for reals, _ in self.recent]), like), on_held_out

    def g_loss(self, on_real: Tensor) -> None:
        """It is not known."""

    def label_changes(self) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Each network's last call again, with every other argument permuted."""
        for name, calls in self.calls.items():
            if not calls or labels_of(calls[-1]) is None:
                continue
            (images, *others), kwargs = calls[-1]
            if len(images) < 2:  # there is nothing to permute
                continue
            order, network = torch.arange(len(images)).roll(1), self.networks[name]
            same = call_reproducibly(network, (images, *others), kwargs)
            permuted = {key: permute(value, order) for key, value in kwargs.items()}
            by_label = call_reproducibly(network, (images, *(permute(value, order) for value in others)), permuted)
            by_input = call_reproducibly(network, (permute(images, order), *others), kwargs)
            yield name, by_label - same, by_input - same

    def more_signals(self, part: Part, *measured: Tensor) -> dict[str, float]:
        """Missing classes of the reals shown; the level and spread of the logits, and the effect of batch norm in D;
        the share of fakes whose labels differ between G and D."""
        if part == "images":
            shown = self._data is not None and self._references is not None
            return self._references.missing_from(measured[0]) if shown else {}  # type: ignore[union-attr]
        return self._logit_signals(*measured) if part == "outputs" else self._label_mismatch()

    def _logit_signals(self, on_real: Tensor, on_fake: Tensor) -> dict[str, float]:
        values = {"D/real": float(on_real.mean()), "D/fake": float(on_fake.mean())}
        values |= {"D/real/std": float(on_real.std()), "D/fake/std": float(on_fake.std())}
        if has_batch_norm(self.networks["D"]):
            real, fake = self.recent[-1]
            both = torch.cat([real, fake])
            together = self._logits(both, self._call_on(real, 0))[: len(real)]
            values["D/mixed_batch"] = float(any(len(args[0]) == len(both) for args, _ in self.calls["D"]))
            values["D/batch_effect"] = float((together - on_real).abs().mean() / on_real.std().clamp_min(1e-6))
        return values

    def _call_on(self, images: Tensor, half: int) -> Call:
        """How D was called on these images; or else its last call."""
        if not self.calls["D"]:
            raise LookupError("D was not called in this round, or not with images as its first argument")
        return self._exact_call_on(images, half) or self.calls["D"][-1]

    def _exact_call_on(self, images: Tensor, half: int) -> Call | None:
        """How D was called on these very images, alone or in that half of a batch of both."""
        n = len(images)
        for args, kwargs in self.calls["D"]:
            if args[0].data_ptr() == images.data_ptr() and len(args[0]) == n:
                return args, kwargs
        for args, kwargs in self.calls["D"]:
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
        out = call(self.networks["D"], args, {key: repeat_to(len(images), n, value) for key, value in kwargs.items()})
        out = out.reshape(len(images), -1).mean(1).float()
        return torch.logit(out, 1e-6) if last_layer(self.networks["D"]) == "sigmoid" else out

    def _label_mismatch(self) -> dict[str, float]:
        """labels/mismatch: the share of fakes that D received with another label than G."""
        fake = self.recent[-1][1]
        d_call = self._exact_call_on(fake, 1)
        d_labels = None if d_call is None else labels_of(d_call)
        candidates = [labels_of(call) for call in self.calls["G"] if len(call[0][0]) == len(fake)]
        shares = [
            float((g_labels != d_labels).reshape(len(fake), -1).any(1).float().mean())
            for g_labels in candidates
            if g_labels is not None and d_labels is not None and g_labels.shape == d_labels.shape
        ]
        return {"labels/mismatch": min(shares)} if shares else {}  # which call generated these fakes is not known
