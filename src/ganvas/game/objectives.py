"""Losses and penalties: pure functions of logits and images, one table.

D returns logits, positive for "real"; a probability exists only inside these formulas (softplus(-l) = -log σ(l)).
Every loss is per sample, float [n]: the mean is taken by the move.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import relu, softplus

from ganvas.errors import GanvasError


@dataclass(frozen=True)
class Objective:
    """What each player minimises.

    Attributes:
        d_loss: (D on real [n], D on fake [n]) -> [n].
        g_loss: (D on real [n], D on fake [n]) -> [n]; reads the reals only where `relative`.
        relative: whether a logit is compared with those of the other kind, so that G too needs D on reals.
    """

    d_loss: Callable[[Tensor, Tensor], Tensor]
    g_loss: Callable[[Tensor, Tensor], Tensor]
    relative: bool = False


def cross_entropy(on_real: Tensor, on_fake: Tensor) -> Tensor:
    """-log D(x) - log(1 - D(G(z))): D's side of the original game (Goodfellow et al. 2014, eq. 1)."""
    return softplus(-on_real) + softplus(on_fake)


def saturating(on_real: Tensor, on_fake: Tensor) -> Tensor:
    """log(1 - D(G(z))): G's side of eq. 1; flat where D is sure, so G learns slowly at first."""
    return -softplus(on_fake)


def non_saturating(on_real: Tensor, on_fake: Tensor) -> Tensor:
    """-log D(G(z)): the generator's loss that Goodfellow et al. 2014 (section 3) train with."""
    return softplus(-on_fake)


def squares_d(on_real: Tensor, on_fake: Tensor) -> Tensor:
    """½(D(x) - 1)² + ½D(G(z))² (Mao et al. 2017, eq. 9)."""
    return 0.5 * ((on_real - 1).square() + on_fake.square())


def squares_g(on_real: Tensor, on_fake: Tensor) -> Tensor:
    """½(D(G(z)) - 1)² (Mao et al. 2017, eq. 9)."""
    return 0.5 * (on_fake - 1).square()


def hinge(on_real: Tensor, on_fake: Tensor) -> Tensor:
    """max(0, 1 - D(x)) + max(0, 1 + D(G(z))) (Lim & Ye 2017; Miyato et al. 2018, eq. 16)."""
    return relu(1 - on_real) + relu(1 + on_fake)


def distance(on_real: Tensor, on_fake: Tensor) -> Tensor:
    """D(G(z)) - D(x): minus the critic's estimate of the Wasserstein distance (Arjovsky et al. 2017, eq. 3)."""
    return on_fake - on_real


def lower(on_real: Tensor, on_fake: Tensor) -> Tensor:
    """-D(G(z)): G's side of the Wasserstein and of the hinge game."""
    return -on_fake


def real_over_fake(on_real: Tensor, on_fake: Tensor) -> Tensor:
    """-log σ(D(x) - D(G(z))): relativistic pairing (Jolicoeur-Martineau 2018; Huang et al. 2024, eq. 2)."""
    return softplus(on_fake - on_real)


def fake_over_real(on_real: Tensor, on_fake: Tensor) -> Tensor:
    """-log σ(D(G(z)) - D(x)): the same with the sides exchanged."""
    return softplus(on_real - on_fake)


def average_hinge_d(on_real: Tensor, on_fake: Tensor) -> Tensor:
    """max(0, 1 - D(x) + mean D(G)) + max(0, 1 + D(G(z)) - mean D(X)) (Jolicoeur-Martineau 2018, appendix D.3)."""
    return relu(1 - (on_real - on_fake.mean())) + relu(1 + (on_fake - on_real.mean()))


def average_hinge_g(on_real: Tensor, on_fake: Tensor) -> Tensor:
    """The same with the sides exchanged."""
    return average_hinge_d(on_fake, on_real)


OBJECTIVES = {
    "minimax": Objective(cross_entropy, saturating),
    "non-saturating": Objective(cross_entropy, non_saturating),
    "least-squares": Objective(squares_d, squares_g),
    "hinge": Objective(hinge, lower),
    "wasserstein": Objective(distance, lower),
    "rpgan": Objective(real_over_fake, fake_over_real, relative=True),
    "rahinge": Objective(average_hinge_d, average_hinge_g, relative=True),
}


def objective(name: str, *, smoothing: float = 0.0) -> Objective:
    """The row of the table; with one-sided label smoothing, where D is a classifier.

    Reals then count as 1 - `smoothing` (Salimans et al. 2016, section 3.4): the cross-entropy gains `smoothing` · D(x).

    Raises:
        GanvasError: there is no such row.
    """
    if name not in OBJECTIVES:
        raise GanvasError(f"'{name}' is not an objective.", expected="one of " + ", ".join(OBJECTIVES))
    row = OBJECTIVES[name]
    if not smoothing:
        return row
    assert row.d_loss is cross_entropy, "only a probability can be smoothed"
    return replace(row, d_loss=lambda on_real, on_fake: cross_entropy(on_real, on_fake) + smoothing * on_real)


def squared_slope(images: Tensor, logits: Tensor) -> Tensor:
    """|∇ₓD(x)|² of each image, summed over channels and pixels: float [n], differentiable once more.

    On reals, times γ/2, this is R1; on fakes, R2 (Mescheder et al. 2018, eq. 9 and 10). `images` must require
    gradients and be float32; D must not mix samples (no batch norm), or the slope of one is that of all.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().flatten(1).sum(dim=1)


def slope_off_one(images: Tensor, logits: Tensor) -> Tensor:
    """(|∇ₓD(x)| - 1)² of each image, the norm taken over channels and pixels: float [n], differentiable once more.

    Between reals and fakes, times λ, this is WGAN-GP's penalty (Gulrajani et al. 2017, eq. 3); around reals, DRAGAN's.
    """
    return ((squared_slope(images, logits) + 1e-12).sqrt() - 1).square()  # √ has no slope at 0


def between(real: Tensor, fake: Tensor) -> Tensor:
    """A point on the line from each real image to its fake, uniformly drawn (Gulrajani et al. 2017, algorithm 1)."""
    where = torch.rand(len(real), *[1] * (real.dim() - 1), dtype=real.dtype, device=real.device)
    return torch.lerp(real, fake, where)


def around(real: Tensor) -> Tensor:
    """Each real image, every pixel raised by U(0, 1) times half the batch's standard deviation (Kodali et al. 2017)."""
    return real + 0.5 * real.std() * torch.rand_like(real)
