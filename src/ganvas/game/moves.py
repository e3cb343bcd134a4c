"""One update of D and one update of G: the whole training algorithm, without the optimisers. Read this file first.

An update accumulates gradients and returns the detached values that may be logged. It does not depend on optimisers,
schedules, processes or files. "Images" are inputs of D (`ganvas.networks.base`): for most families plain images.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ganvas.game.moments import MomentMatching
from ganvas.game.objectives import Objective, interpolate, one_centred_penalty, perturb, zero_centred_penalty
from ganvas.networks.base import Discriminator, Generator


def _identity(images: Tensor) -> Tensor:
    return images


@dataclass(frozen=True)
class Game:
    """The two networks, their objective, and the augmentation of everything that D receives.

    Attributes:
        augment: images float [n …] -> the same shape, with augmentation or noise, differentiable.
        moments: the moment matching in G's loss, for a D with a frozen input; None without it.
    """

    G: Generator
    D: Discriminator
    objective: Objective
    augment: Callable[[Tensor], Tensor] = _identity
    moments: MomentMatching | None = None

    def real_input(self, images: Tensor) -> Tensor:
        """Real images float [n c h w] -> the input of D; augmented here only if a frozen network makes it."""
        return self.D.d_input(self.augment(images) if self.D.frozen_input else images)

    def fake_input(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """Latents float [n z] -> the input of D made of G's images, augmented as the real ones."""
        images = self.G.d_input(z, labels)
        return self.D.d_input(self.augment(images)) if self.D.frozen_input else images

    def logits(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """D's logits, float [n] or [n k], for augmented images."""
        return self.D(images if self.D.frozen_input else self.augment(images), labels)

    def logits_of_both(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """D's logits for n reals followed by n fakes of these labels: in one pass, unless D is batch-dependent."""
        if self.D.batch_dependent:
            real, fake = images.chunk(2)
            return self.logits_of_each(real, fake, labels)
        return self.logits(images, None if labels is None else labels.repeat(2))

    def logits_of_each(self, real: Tensor, fake: Tensor, labels: Tensor | None) -> Tensor:
        """The same in two passes."""
        with parametrize.cached():  # with spectral norm, both halves see the same weights
            return torch.cat([self.logits(half, labels) for half in (real, fake)])


Weight = float | Tensor
"""A float, or a 0-dimensional tensor on the images' device."""


@dataclass(frozen=True)
class Penalties:
    """The weight of each gradient penalty in one update; the float 0 leaves the penalty out, a tensor never does.

    Attributes:
        r1, r2: γ of γ/2 · |∇D|² on reals and on fakes.
        gp, dragan: λ of λ · (|∇D| - 1)² between reals and fakes, and around reals.
    """

    r1: Weight = 0.0
    r2: Weight = 0.0
    gp: Weight = 0.0
    dragan: Weight = 0.0


def train_d(
    game: Game,
    real: Tensor,
    fake: Tensor,
    labels: Tensor | None = None,
    *,
    penalties: Penalties = Penalties(),
    share: float = 1.0,
) -> dict[str, Tensor]:
    """Accumulates the gradients of D's loss, gradient penalties included.

    Args:
        real, fake: float32 [n …], images in [-1, 1]; fake[i] has the class of real[i]. G gets no gradient.
        labels: int64 [n], or None.
        share: the fraction of the whole batch; the gradients of all fractions add up to those of the batch.

    Returns:
        Detached float [n] tensors, or [n k] with k logits an image: D/loss (without penalties), D/real and D/fake
        (logits) and, where there are penalties, D/r1 and D/r2 (|∇D|² without γ/2; with one of them both, unless D is
        batch-dependent), D/gp and D/dragan ((|∇D| - 1)² without λ).
    """
    loss, values = d_loss(game, real, fake, labels, penalties)
    (loss * share).backward(inputs=learnt(game.D))
    return {name: value.detach() for name, value in values.items()}


def d_loss(
    game: Game, real: Tensor, fake: Tensor, labels: Tensor | None, penalties: Penalties
) -> tuple[Tensor, dict[str, Tensor]]:
    """D's mean loss, float [], penalties included; and the values of `train_d`, with their graph."""
    n, p = len(real), penalties
    logits, norms = _logits_and_norms(game, real.detach(), fake.detach(), labels, penalties)
    on_real, on_fake = logits[:n], logits[n:]

    loss = adversarial = game.objective.d_loss(on_real, on_fake)
    values = {"D/loss": adversarial, "D/real": on_real, "D/fake": on_fake}
    for name, weight in (("D/r1", p.r1), ("D/r2", p.r2)):
        if name in norms and _is_on(weight):
            loss = loss + weight / 2 * norms[name]
    values |= norms
    if _is_on(p.gp):
        values["D/gp"] = penalty = _one_centred(game, interpolate(real, fake.detach()), labels)
        loss = loss + p.gp * penalty
    if _is_on(p.dragan):
        values["D/dragan"] = penalty = _one_centred(game, perturb(real), labels)
        loss = loss + p.dragan * penalty
    return loss.mean(), values


def _logits_and_norms(
    game: Game, real: Tensor, fake: Tensor, labels: Tensor | None, p: Penalties
) -> tuple[Tensor, dict[str, Tensor]]:
    """D's logits for the reals and the fakes; and |∇D|² of each: D/r1, D/r2."""
    n, r1, r2 = len(real), _is_on(p.r1), _is_on(p.r2)
    if game.D.batch_dependent and r1 != r2:  # the halves pass apart: only one of them is differentiated twice
        name, half, own = ("D/r1", real, slice(n)) if r1 else ("D/r2", fake, slice(n, None))
        half.requires_grad_()
        logits = game.logits_of_each(real, fake, labels)
        return logits, {name: zero_centred_penalty(half, logits[own])}
    images = torch.cat([real, fake]).requires_grad_(r1 or r2)
    logits = game.logits_of_both(images, labels)
    if not images.requires_grad:
        return logits, {}
    norms = zero_centred_penalty(images, logits)
    return logits, {"D/r1": norms[:n], "D/r2": norms[n:]}


def _is_on(weight: Weight) -> bool:
    """Whether a term is in the loss; a tensor is not read, since that would synchronise with the device."""
    return isinstance(weight, Tensor) or weight > 0


def learnt(network: nn.Module) -> list[Tensor]:
    """The parameters that are trained: a user's own network may have frozen ones."""
    return [p for p in network.parameters() if p.requires_grad]


def _one_centred(game: Game, images: Tensor, labels: Tensor | None) -> Tensor:
    images.requires_grad_()
    return one_centred_penalty(images, game.logits(images, labels))


def train_g(
    game: Game,
    real: Tensor,
    fake: Tensor,
    labels: Tensor | None = None,
    *,
    matching: Weight = 0.0,
    share: float = 1.0,
) -> dict[str, Tensor]:
    """Accumulates the gradients of G's loss.

    Args:
        real: float32 [n …], the reals that a relativistic objective compares with; unused otherwise.
        fake: float32 [n …], the output of G with its graph. D gets no gradient.
        labels: int64 [n], or None.
        matching: the weight of moment matching.
        share: the fraction of the whole batch.

    Returns:
        Detached float [n] or [n k]: G/loss (adversarial); and float [], G/moments where moments are matched.
    """
    loss, values = g_loss(game, real, fake, labels, matching)
    (loss * share).backward(inputs=learnt(game.G))
    return {name: value.detach() for name, value in values.items()}


def g_loss(
    game: Game, real: Tensor, fake: Tensor, labels: Tensor | None, matching: Weight
) -> tuple[Tensor, dict[str, Tensor]]:
    """G's mean loss, float [], moment matching included; and the values of `train_g`, with their graph."""
    on_fake = game.logits(fake, labels)
    on_real = on_fake
    if game.objective.relative:
        with torch.no_grad():
            on_real = game.logits(real, labels)
    adversarial = game.objective.g_loss(on_real, on_fake)
    loss, values = adversarial.mean(), {"G/loss": adversarial}
    if game.moments is not None and _is_on(matching):
        values["G/moments"] = distance = game.moments(fake, labels)
        loss = loss + matching * distance
    return loss, values


@torch.no_grad()
def evaluate_losses(game: Game, real: Tensor, fake: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
    """Evaluates the losses without an update: D/loss, D/real, D/fake and G/loss, float [n]."""
    on_real, on_fake = game.logits_of_both(torch.cat([real, fake]), labels).chunk(2)
    return {
        "D/loss": game.objective.d_loss(on_real, on_fake),
        "D/real": on_real,
        "D/fake": on_fake,
        "G/loss": game.objective.g_loss(on_real, on_fake),
    }
