"""The signs of a game's health that are read off the players themselves: steps, outputs, slopes, what lies idle.

Every function looks without touching: no gradient is left behind, no buffer moves, no random number is used up.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

Judge = Callable[[Tensor], Tensor]
"""Images -> D's logits, float [n]."""


@contextmanager
def undisturbed(*players: nn.Module) -> Iterator[None]:
    """Forward passes in the block leave buffers, such as batch statistics, and random numbers as they were."""
    homes = {id(module): module for player in players for module in player.modules()}.values()
    kept = [
        (home, name, buffer, buffer.clone())
        for home in homes
        for name, buffer in home.named_buffers(recurse=False, remove_duplicate=False)
    ]
    devices = {buffer.device.index or 0 for player in players for buffer in player.parameters() if buffer.is_cuda}
    with torch.random.fork_rng(devices=sorted(devices)):
        try:
            yield
        finally:
            with torch.no_grad():
                for home, name, buffer, value in kept:
                    setattr(home, name, buffer.copy_(value))  # it may be another tensor by now


class Steps:
    """How far a player's weights move: take it before a step, and ask after it."""

    def __init__(self, player: nn.Module) -> None:
        self._weights = [weight for weight in player.parameters() if weight.numel()]
        self._before = [weight.detach().clone() for weight in self._weights]

    def taken(self, name: str) -> dict[str, float]:
        """The step since.

        Returns:
            name/update: |Δθ| / |θ| of all weights together.
            name/still: the share of the player's tensors in which no weight moved at all.
        """
        now = [weight.detach() for weight in self._weights]
        if not now:
            return {}
        steps = [after - before for after, before in zip(now, self._before, strict=True)]
        update = get_total_norm(steps) / get_total_norm(self._before).clamp_min(1e-12)
        still = torch.stack([step.count_nonzero() == 0 for step in steps])
        return {f"{name}/update": float(update), f"{name}/still": float(still.float().mean())}


def gradient(player: nn.Module) -> float | None:
    """The norm of all gradients that lie there; None where there are none."""
    there = [weight.grad for weight in player.parameters() if weight.grad is not None]
    return float(get_total_norm(there)) if there else None


def above(first: Tensor, second: Tensor) -> float:
    """The probability that a value of `first` lies above one of `second`, ties counting half: the area under ROC."""
    first, second = first.flatten()[:, None], second.flatten()[None]
    return float(((first > second).float() + 0.5 * (first == second).float()).mean())


def outputs(on_real: Tensor, on_fake: Tensor) -> dict[str, float]:
    """What D says, float [n] each, of real and generated pictures.

    Returns:
        D/auc: how often a real is placed above a fake: ½ for one that cannot tell, 1 for one that always can.
        D/sign_real: E[sign D(x)], r_t of ADA (Karras et al. 2020, eq. 1).
    """
    return {"D/auc": above(on_real, on_fake), "D/sign_real": float(on_real.sign().mean())}


def by_heart(on_learnt: Tensor, on_fake: Tensor, on_held: Tensor) -> dict[str, float]:
    """What D says, float [n] each, of pictures learnt from, generated, and held out.

    Returns:
        D/held_auc: how often a picture learnt from is placed above a held-out one: ½ unless D knows them by heart.
        D/overfit: r_v of ADA: (E D(learnt) - E D(held)) / (E D(learnt) - E D(fake)), where D tells kinds apart at all.
    """
    seen = {"D/held_auc": above(on_learnt, on_held)}
    gap = float(on_learnt.mean() - on_fake.mean())
    if above(on_learnt, on_fake) > 0.6 and gap > 0:
        seen["D/overfit"] = float(on_learnt.mean() - on_held.mean()) / gap
    return seen


def slopes(judge: Judge, fake: Tensor, g_loss: Callable[[Tensor], Tensor] | None = None) -> dict[str, float]:
    """What reaches G through D.

    Args:
        fake: images, float [n …].
        g_loss: logits [n] -> G's loss [n], where it is known.

    Returns:
        G/slope: mean |∇ D(x)| at fakes, the norm taken over all pixels.
        G/pull: mean |∇ L_G| there, what G learns from; only with `g_loss`.
    """
    fake = fake.detach().requires_grad_()
    with torch.enable_grad():
        logits = judge(fake).reshape(len(fake), -1).mean(1)
        (slope,) = torch.autograd.grad(logits.sum(), fake)
        norms = slope.flatten(1).norm(dim=1)
        seen = {"G/slope": float(norms.mean())}
        if g_loss is not None:
            leaf = logits.detach().requires_grad_()
            (outer,) = torch.autograd.grad(g_loss(leaf).sum(), leaf)
            seen["G/pull"] = float((outer.abs() * norms).mean())
    return seen


def obedience(by_label: Tensor, by_chance: Tensor) -> float:
    """How much changes with the labels, over how much changes without them: float [n …] differences each."""
    changes = [change.reshape(len(change), -1).norm(dim=1).mean() for change in (by_label, by_chance)]
    return float(changes[0] / changes[1].clamp_min(1e-9))


class Inside:
    """Watches the insides of a player during the forward passes of its block: dead channels, drifting statistics."""

    def __init__(self, player: nn.Module, name: str) -> None:
        self._player, self._name = player, name
        self._dead: list[Tensor] = []
        self._drift: list[Tensor] = []

    def __enter__(self) -> "Inside":
        rectifiers, norms = (nn.ReLU, nn.ReLU6, nn.Hardtanh), nn.modules.batchnorm._BatchNorm
        self._hooks = [
            *(m.register_forward_hook(self._rectified) for m in self._player.modules() if isinstance(m, rectifiers)),
            *(m.register_forward_pre_hook(self._normed) for m in self._player.modules() if isinstance(m, norms)),
        ]
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _rectified(self, _: nn.Module, __: Sequence[Tensor], output: Tensor) -> None:
        channels = output.detach().transpose(0, 1).flatten(1) if output.dim() > 1 else output.detach()[None]
        self._dead.append((channels <= 0).all(1).float().mean())

    def _normed(self, norm: nn.Module, given: Sequence[Tensor]) -> None:
        mean, variance = norm.running_mean, norm.running_var
        if isinstance(mean, Tensor) and isinstance(variance, Tensor):
            batch = given[0].detach().transpose(0, 1).flatten(1).mean(1)
            self._drift.append(((batch - mean).abs() / (variance + 1e-5).sqrt()).mean())

    def told(self) -> dict[str, float]:
        """What was seen.

        Returns:
            name/dead: the largest share, over the rectifiers, of channels that were 0 for the whole batch.
            name/drift: the largest mean distance of a batch's means from the running ones, in standard deviations.
        """
        seen = {"dead": self._dead, "drift": self._drift}
        return {f"{self._name}/{name}": float(torch.stack(of).amax()) for name, of in seen.items() if of}
