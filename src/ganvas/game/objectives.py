"""Losses and penalties: pure functions of logits and images, one table.

D returns logits, positive for "real"; a probability exists only inside these formulas (softplus(-l) = -log σ(l)).
Every loss is per sample, float [n]: the mean is taken by the move.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ganvas.errors import GanvasError


@dataclass(frozen=True)
class Objective:
    """What each player minimises.

    Attributes:
        d_loss: (D on real [n], D on fake [n]) -> [n].
        g_loss: (D on real [n], D on fake [n]) -> [n]; reads the reals only where `paired`.
        paired: whether a fake is judged against the real one at its place in the batch.
    """

    d_loss: Callable[[Tensor, Tensor], Tensor]
    g_loss: Callable[[Tensor, Tensor], Tensor]
    paired: bool


def cross_entropy(on_real: Tensor, on_fake: Tensor) -> Tensor:
    """-log D(x) - log(1 - D(G(z))): D's side of the original game (Goodfellow et al. 2014, eq. 1)."""
    return softplus(-on_real) + softplus(on_fake)


def saturating(on_real: Tensor, on_fake: Tensor) -> Tensor:
    """log(1 - D(G(z))): G's side of eq. 1; flat where D is sure, so G learns slowly at first."""
    return -softplus(on_fake)


def non_saturating(on_real: Tensor, on_fake: Tensor) -> Tensor:
    """-log D(G(z)): the generator's loss that Goodfellow et al. 2014 (section 3) train with."""
    return softplus(-on_fake)


def real_over_fake(on_real: Tensor, on_fake: Tensor) -> Tensor:
    """-log σ(D(x) - D(G(z))): relativistic pairing (Jolicoeur-Martineau 2018; Huang et al. 2024, eq. 2)."""
    return softplus(on_fake - on_real)


def fake_over_real(on_real: Tensor, on_fake: Tensor) -> Tensor:
    """-log σ(D(G(z)) - D(x)): the same with the sides exchanged."""
    return softplus(on_real - on_fake)


OBJECTIVES = {
    "minimax": Objective(cross_entropy, saturating, paired=False),
    "non-saturating": Objective(cross_entropy, non_saturating, paired=False),
    "rpgan": Objective(real_over_fake, fake_over_real, paired=True),
}


def objective(name: str) -> Objective:
    """The row of the table.

    Raises:
        GanvasError: there is no such row.
    """
    if name not in OBJECTIVES:
        raise GanvasError(f"'{name}' is not an objective.", expected="one of " + ", ".join(OBJECTIVES))
    return OBJECTIVES[name]


def squared_slope(images: Tensor, logits: Tensor) -> Tensor:
    """|∇ₓD(x)|² of each image, summed over channels and pixels: float [n], differentiable once more.

    On reals, times γ/2, this is R1; on fakes, R2 (Mescheder et al. 2018, eq. 9 and 10). `images` must require
    gradients and be float32; D must not mix samples (no batch norm), or the slope of one is that of all.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().flatten(1).sum(dim=1)
