"""One move of D, one move of G: the whole algorithm. Read this file first.

A move accumulates gradients and returns what it saw, detached, for somebody else to log. It knows nothing of
optimisers, time, processes or files. "Images" are what is shown to D (`ganvas.networks.roles`): for most families the
pictures themselves.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ganvas.game.objectives import Objective, around, between, slope_off_one, squared_slope
from ganvas.networks.roles import Discriminator, Generator


def _untouched(images: Tensor) -> Tensor:
    return images


@dataclass(frozen=True)
class Game:
    """The two players, what each of them wants, and the lens through which D sees everything.

    Attributes:
        lens: images float [n …] -> the same with noise or augmentation, differentiably.
    """

    G: Generator
    D: Discriminator
    objective: Objective
    lens: Callable[[Tensor], Tensor] = _untouched

    def judge(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """D's logits, float [n], for images seen through the lens."""
        return self.D(self.lens(images), labels)

    def judge_both(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """The same for n reals followed by n fakes of these labels: in one pass, unless D mixes a batch's images."""
        if self.D.apart:
            return torch.cat([self.judge(kind, labels) for kind in images.chunk(2)])
        return self.judge(images, None if labels is None else labels.repeat(2))


@dataclass(frozen=True)
class Penalties:
    """The weight of each gradient penalty in one move; 0 = not in this move.

    Attributes:
        r1, r2: γ of γ/2 · |∇D|² on reals and on fakes.
        gp, dragan: λ of λ · (|∇D| - 1)² between reals and fakes, and around reals.
    """

    r1: float = 0.0
    r2: float = 0.0
    gp: float = 0.0
    dragan: float = 0.0


def train_d(
    game: Game,
    real: Tensor,
    fake: Tensor,
    labels: Tensor | None = None,
    *,
    penalties: Penalties = Penalties(),
    share: float = 1.0,
) -> dict[str, Tensor]:
    """One move of the discriminator: tell real from fake, and keep its slope small, or near one.

    Args:
        real, fake: float32 [n …], in [-1, 1] where they are pictures; fake[i] has the class of real[i]. G gets no
            gradient.
        labels: int64 [n], or None.
        share: what part of the whole batch this is; the gradients of all parts add up to the whole's.

    Returns:
        Detached float [n] tensors: D/loss (without penalties), D/real, D/fake and, where there are penalties,
        D/r1 and D/r2 (|∇D|² without γ/2), D/gp and D/dragan ((|∇D| - 1)² without λ).
    """
    n, p = len(real), penalties
    images = torch.cat([real, fake.detach()]).requires_grad_(p.r1 > 0 or p.r2 > 0)
    logits = game.judge_both(images, labels)
    on_real, on_fake = logits[:n], logits[n:]

    loss = objective = game.objective.d_loss(on_real, on_fake)
    seen = {"D/loss": objective, "D/real": on_real, "D/fake": on_fake}
    if images.requires_grad:
        slope = squared_slope(images, logits)
        loss = loss + p.r1 / 2 * slope[:n] + p.r2 / 2 * slope[n:]
        seen |= {"D/r1": slope[:n], "D/r2": slope[n:]}
    if p.gp > 0:
        seen["D/gp"] = off = _off_one(game, between(real, fake.detach()), labels)
        loss = loss + p.gp * off
    if p.dragan > 0:
        seen["D/dragan"] = off = _off_one(game, around(real), labels)
        loss = loss + p.dragan * off
    (loss.mean() * share).backward(inputs=list(game.D.parameters()))
    return {name: value.detach() for name, value in seen.items()}


def _off_one(game: Game, images: Tensor, labels: Tensor | None) -> Tensor:
    images.requires_grad_()
    return slope_off_one(images, game.judge(images, labels))


def train_g(
    game: Game, real: Tensor, fake: Tensor, labels: Tensor | None = None, *, share: float = 1.0
) -> dict[str, Tensor]:
    """One move of the generator: make D take the fakes for real.

    Args:
        real: float32 [n …], what D compares with where the objective is relative; unused otherwise.
        fake: float32 [n …], G's own output with its graph. D gets no gradient.
        labels: int64 [n], or None.
        share: what part of the whole batch this is.

    Returns:
        Detached float [n]: G/loss.
    """
    on_fake = game.judge(fake, labels)
    on_real = on_fake
    if game.objective.relative:
        with torch.no_grad():
            on_real = game.judge(real, labels)
    loss = game.objective.g_loss(on_real, on_fake)
    (loss.mean() * share).backward(inputs=list(game.G.parameters()))
    return {"G/loss": loss.detach()}


@torch.no_grad()
def look(game: Game, real: Tensor, fake: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
    """Nobody moves: what each player would lose now, as D/loss, D/real, D/fake and G/loss, float [n]."""
    on_real, on_fake = game.judge_both(torch.cat([real, fake]), labels).chunk(2)
    return {
        "D/loss": game.objective.d_loss(on_real, on_fake),
        "D/real": on_real,
        "D/fake": on_fake,
        "G/loss": game.objective.g_loss(on_real, on_fake),
    }
