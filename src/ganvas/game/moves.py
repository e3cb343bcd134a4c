"""One move of D, one move of G: the whole algorithm. Read this file first.

A move accumulates gradients and returns what it saw, detached, for somebody else to log. It knows nothing of
optimisers, time, processes or files.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ganvas.game.objectives import Objective, squared_slope


@dataclass(frozen=True)
class Game:
    """The two players and what each of them wants."""

    G: nn.Module
    D: nn.Module
    objective: Objective


def train_d(
    game: Game, real: Tensor, fake: Tensor, labels: Tensor | None = None, *, r1: float = 0.0, r2: float = 0.0
) -> dict[str, Tensor]:
    """One move of the discriminator: tell real from fake, and keep its slope near both small.

    Args:
        real, fake: float32 [n c h w] in [-1, 1]; fake[i] has the class of real[i]. G gets no gradient.
        labels: int64 [n], or None.
        r1, r2: γ of the gradient penalty on reals and on fakes (γ/2 · |∇D|²); 0 = not in this move.

    Returns:
        Detached float [n] tensors: D/loss (without penalties), D/real, D/fake and, where there is a penalty on
        either side, D/r1, D/r2 (|∇D|² without γ/2).
    """
    n = len(real)
    images = torch.cat([real, fake.detach()]).requires_grad_(r1 > 0 or r2 > 0)
    logits = game.D(images, None if labels is None else labels.repeat(2))  # both in one pass
    on_real, on_fake = logits[:n], logits[n:]

    loss = objective = game.objective.d_loss(on_real, on_fake)
    seen = {"D/loss": objective, "D/real": on_real, "D/fake": on_fake}
    if images.requires_grad:
        slope = squared_slope(images, logits)
        loss = loss + r1 / 2 * slope[:n] + r2 / 2 * slope[n:]
        seen |= {"D/r1": slope[:n], "D/r2": slope[n:]}
    loss.mean().backward(inputs=list(game.D.parameters()))
    return {name: value.detach() for name, value in seen.items()}


def train_g(game: Game, real: Tensor, fake: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
    """One move of the generator: make D take the fakes for real.

    Args:
        real: float32 [n c h w], what D compares with where the objective is paired; unused otherwise.
        fake: float32 [n c h w], G's own output with its graph. D gets no gradient.
        labels: int64 [n], or None.

    Returns:
        Detached float [n]: G/loss.
    """
    on_fake = game.D(fake, labels)
    on_real = on_fake
    if game.objective.paired:
        with torch.no_grad():
            on_real = game.D(real, labels)
    loss = game.objective.g_loss(on_real, on_fake)
    loss.mean().backward(inputs=list(game.G.parameters()))
    return {"G/loss": loss.detach()}
