"""Signals measured on G and D themselves: weight updates, outputs, input gradients, dead channels.

No function changes the networks: no gradient is left behind, no buffer changes, no random number is used up.
"""

import random
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import get_total_norm

from ganvas.devices import widest_float

Logits = Callable[[Tensor], Tensor]
"""Images -> D's logits, float [n], or [n k] of a D that gives k for each image."""


@contextmanager
def preserve_state(*networks: nn.Module) -> Iterator[None]:
    """Forward passes in the block leave the networks and all random numbers as they were.

    Restored are buffers, such as batch statistics, attributes of the modules, such as a counter, and the generators of
    PyTorch, NumPy and Python.
    """
    modules = list({id(module): module for network in networks for module in network.modules()}.values())
    buffers = [
        (module, name, buffer, buffer.clone())
        for module in modules
        for name, buffer in module.named_buffers(recurse=False, remove_duplicate=False)
        if not is_lazy(buffer)
    ]
    attributes = [(module, dict(vars(module))) for module in modules]
    generators = random.getstate(), np.random.get_state()
    used = {weight.device for network in networks for weight in network.parameters() if weight.device.type != "cpu"}
    kind = next((device.type for device in used), "cuda")
    devices = sorted({device.index or 0 for device in used if device.type == kind})
    with torch.random.fork_rng(devices, device_type=kind):
        try:
            yield
        finally:
            random.setstate(generators[0])
            np.random.set_state(generators[1])
            for module, before in attributes:
                now = vars(module)
                for name in [name for name in now if name not in before]:
                    del now[name]
                now.update((name, value) for name, value in before.items() if now.get(name) is not value)
            with torch.no_grad():
                for module, name, buffer, value in buffers:
                    setattr(module, name, buffer.copy_(value))  # it may be another tensor by now


class WeightUpdate:
    """How far an update changes a network's weights: created before the update, measured after it.

    Frozen tensors (requires_grad False) do not count. A loop may freeze all of D while G is updated, as pix2pix does:
    so they are those that are frozen both before and after, and where all are, all count.

    Args:
        earlier: that of an earlier probe, to see whether anything has changed since.
    """

    def __init__(self, network: nn.Module, earlier: "WeightUpdate | None" = None) -> None:
        self._weights = [
            weight
            for weight in network.parameters()
            if not is_lazy(weight) and weight.is_floating_point() and weight.numel()
        ]
        self._before = [weight.detach().clone() for weight in self._weights]
        self._learned = [weight.requires_grad for weight in self._weights]
        sizes = [weight.norm(dtype=widest_float(weight.device)) for weight in self._before]
        self._sizes = torch.stack(sizes) if sizes else torch.empty(0)
        self._earlier = None if earlier is None else earlier._sizes

    def release(self) -> "WeightUpdate":
        """Forgets the copy of the weights, and keeps their sizes, for a later probe."""
        self._weights, self._before, self._learned = [], [], []
        return self

    @property
    def moved(self) -> bool | None:
        """Whether a weight has another size than in the earlier probe; None without one."""
        known = self._earlier is not None and self._earlier.shape == self._sizes.shape
        return not torch.equal(self._earlier, self._sizes) if known else None  # type: ignore[arg-type]

    def measure(self, name: str, used: Collection[int] = ()) -> dict[str, float]:
        """The update since.

        Args:
            name: D or G.
            used: the ids of the weights that the update should change, where that is known: those of blocks that
                networks will grow later are not among them.

        Returns:
            name/update: |Δθ| / |θ| of all weights that count together.
            name/unchanged: the share of the network's tensors, of those that are used, in which no weight changed
                at all; single numbers, such as a critic's last bias, do not count.
            name/moved: whether a weight has changed since the earlier probe.
        """
        if not self._weights:
            return {}
        weights = list(zip(self._weights, self._before, self._learned, strict=True))
        counted = [(now, before) for now, before, learned in weights if learned or now.requires_grad]
        counted = counted or [(now, before) for now, before, _ in weights]
        differences = [now.detach() - before for now, before in counted]
        update = get_total_norm(differences) / get_total_norm([before for _, before in counted]).clamp_min(1e-12)
        of_used = [difference for difference, (now, _) in zip(differences, counted, strict=True) if id(now) in used]
        differences = of_used or differences
        large = [difference for difference in differences if difference.numel() > 1] or differences
        unchanged = torch.stack([difference.count_nonzero() == 0 for difference in large])
        moved = {} if self.moved is None else {f"{name}/moved": float(self.moved)}
        return {f"{name}/update": float(update), f"{name}/unchanged": float(unchanged.float().mean())} | moved


def gradient_norm(network: nn.Module) -> float | None:
    """The norm of all gradients stored in the weights; None where there are none."""
    weights = (weight for weight in network.parameters() if not is_lazy(weight))
    gradients = [weight.grad for weight in weights if weight.grad is not None and not weight.grad.is_sparse]
    return float(get_total_norm(gradients)) if gradients else None


def auc(first: Tensor, second: Tensor) -> float:
    """The area under the ROC curve: how probably a value of `first` exceeds one of `second`, ties counting half.

    Of float [n k] and [m k] the mean over k: several heads have levels of their own, so each is compared with itself.
    """
    first, second = first.reshape(len(first), 1, -1), second.reshape(1, len(second), -1)
    return float(((first > second).float() + 0.5 * (first == second).float()).mean())


def output_signals(on_real: Tensor, on_fake: Tensor) -> dict[str, float]:
    """D's logits, float [n] or [n k] each, on real and generated images.

    Returns:
        D/auc: how often a real is ranked above a fake: ½ for a D at chance, 1 for one that is always right.
        D/sign_real: E[sign D(x)], r_t of ADA (Karras et al. 2020, eq. 1).
    """
    return {"D/auc": auc(on_real, on_fake), "D/sign_real": float(on_real.sign().mean())}


def overfitting_signals(on_train: Tensor, on_fake: Tensor, on_held: Tensor) -> dict[str, float]:
    """D's logits, float [n] or [n k] each, on training, generated and held-out images.

    Returns:
        D/held_auc: how often a training image is ranked above a held-out one: ½ unless D has memorised them.
        D/overfit: r_v of ADA: (E D(train) - E D(held)) / (E D(train) - E D(fake)), where D ranks train above fake.
    """
    signals = {"D/held_auc": auc(on_train, on_held)}
    gap = float(on_train.mean() - on_fake.mean())
    if auc(on_train, on_fake) > 0.6 and gap > 0:
        signals["D/overfit"] = float(on_train.mean() - on_held.mean()) / gap
    return signals


def input_gradients(logits: Logits, fake: Tensor, g_loss: Callable[[Tensor], Tensor] | None = None) -> dict[str, float]:
    """The gradients that reach G through D.

    Args:
        fake: images, float [n …].
        g_loss: logits -> G's loss, of the same shape, where it is known.

    Returns:
        D/input_gradient: mean |∇ D(x)| at fakes, the norm taken over all pixels.
        G/output_gradient: mean |∇ L_G| there, which G learns from; only with `g_loss`.
    """
    fake = fake.detach().requires_grad_()
    with torch.enable_grad():
        output = logits(fake)
        (gradient,) = torch.autograd.grad(output.reshape(len(output), -1).mean(1).sum(), fake)
        norms = gradient.reshape(len(gradient), -1).norm(dim=1)
        signals = {"D/input_gradient": float(norms.mean())}
        if g_loss is not None:
            leaf = output.detach().requires_grad_()
            (outer,) = torch.autograd.grad(g_loss(leaf).sum(), leaf)
            slope = outer.reshape(len(outer), -1).abs().mean(1)
            signals["G/output_gradient"] = float((slope * norms).mean())
    return signals


def label_effect(by_label: Tensor, by_input: Tensor) -> float:
    """How much an output changes with the label, over how much with the input: float [n …] differences each."""
    changes = [change.reshape(len(change), -1).norm(dim=1).mean() for change in (by_label, by_input)]
    return float(changes[0] / changes[1].clamp_min(1e-9))


class ActivationMonitor:
    """Measures dead channels and the drift of batch statistics during the forward passes of its block."""

    def __init__(self, network: nn.Module, name: str) -> None:
        self._network, self._name = network, name
        self._dead: list[Tensor] = []
        self._drift: list[Tensor] = []

    def __enter__(self) -> "ActivationMonitor":
        rectifiers, norms = (nn.ReLU, nn.ReLU6, nn.Hardtanh), nn.modules.batchnorm._BatchNorm
        self._hooks = [
            *(
                m.register_forward_hook(self._on_rectifier)
                for m in self._network.modules()
                if isinstance(m, rectifiers)
            ),
            *(m.register_forward_pre_hook(self._on_norm) for m in self._network.modules() if isinstance(m, norms)),
        ]
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _on_rectifier(self, _: nn.Module, __: Sequence[Tensor], output: Tensor) -> None:
        channels = output.detach().transpose(0, 1).flatten(1) if output.dim() > 1 else output.detach()[None]
        self._dead.append((channels <= 0).all(1).float().mean())

    def _on_norm(self, norm: nn.Module, inputs: Sequence[Tensor]) -> None:
        mean, variance = norm.running_mean, norm.running_var
        if isinstance(mean, Tensor) and isinstance(variance, Tensor):
            batch = inputs[0].detach().transpose(0, 1).flatten(1).mean(1)
            self._drift.append(((batch - mean).abs() / (variance + 1e-5).sqrt()).mean())

    def measure(self) -> dict[str, float]:
        """The worst layer of each kind.

        Returns:
            name/dead: the largest share, over the rectifiers, of channels that were 0 for the whole batch.
            name/drift: the largest mean distance of a batch's means from the running ones, in standard deviations.
        """
        layers = {"dead": self._dead, "drift": self._drift}
        return {f"{self._name}/{name}": float(torch.stack(of).amax()) for name, of in layers.items() if of}
