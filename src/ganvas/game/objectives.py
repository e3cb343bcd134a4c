"""The losses and gradient penalties, as functions of logits and images, and the table of objectives.

D returns logits, positive for "real"; probabilities occur only inside these formulas (softplus(-l) = -log σ(l)).
Every loss is per sample, float [n]; the update takes the mean.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import relu, softplus

from ganvas import user_code
from ganvas.errors import GanvasError


@dataclass(frozen=True)
class Objective:
    """The losses that D and G minimise.

    Attributes:
        d_loss: (D on real [n], D on fake [n]) -> [n].
        g_loss: (D on real [n], D on fake [n]) -> [n]; reads the reals only where `relative`.
        relative: whether the loss compares logits of reals and fakes, so that G's loss needs D on reals too.
        critic: whether D is a critic, whose logits have no sign or level of their own, and whose loss no fixed zero.
        boundary: the logit of a D that takes an image as likely for real as for fake; no meaning of a critic's or where
            `relative`.
    """

    d_loss: Callable[[Tensor, Tensor], Tensor]
    g_loss: Callable[[Tensor, Tensor], Tensor]
    relative: bool = False
    critic: bool = False
    boundary: float = 0.0


def cross_entropy_d(on_real: Tensor, on_fake: Tensor) -> Tensor:
    """-log D(x) - log(1 - D(G(z))): D's loss of the original GAN (Goodfellow et al. 2014, eq. 1)."""
    return softplus(-on_real) + softplus(on_fake)


def minimax_g(on_real: Tensor, on_fake: Tensor) -> Tensor:
    """log(1 - D(G(z))): G's loss of eq. 1; it saturates where D is confident, so that G learns slowly at first."""
    return -softplus(on_fake)


def non_saturating_g(on_real: Tensor, on_fake: Tensor) -> Tensor:
    """-log D(G(z)): the loss of G that Goodfellow et al. 2014 (section 3) use in practice."""
    return softplus(-on_fake)


def lsgan_d(on_real: Tensor, on_fake: Tensor) -> Tensor:
    """½(D(x) - 1)² + ½D(G(z))² (Mao et al. 2017, eq. 9)."""
    return 0.5 * ((on_real - 1).square() + on_fake.square())


def lsgan_g(on_real: Tensor, on_fake: Tensor) -> Tensor:
    """½(D(G(z)) - 1)² (Mao et al. 2017, eq. 9)."""
    return 0.5 * (on_fake - 1).square()


def hinge_d(on_real: Tensor, on_fake: Tensor) -> Tensor:
    """max(0, 1 - D(x)) + max(0, 1 + D(G(z))) (Lim & Ye 2017; Miyato et al. 2018, eq. 16)."""
    return relu(1 - on_real) + relu(1 + on_fake)


def wasserstein_d(on_real: Tensor, on_fake: Tensor) -> Tensor:
    """D(G(z)) - D(x): minus the critic's estimate of the Wasserstein distance (Arjovsky et al. 2017, eq. 3)."""
    return on_fake - on_real


def wasserstein_g(on_real: Tensor, on_fake: Tensor) -> Tensor:
    """-D(G(z)): G's loss in WGAN, and with the hinge loss."""
    return -on_fake


def rpgan_d(on_real: Tensor, on_fake: Tensor) -> Tensor:
    """-log σ(D(x) - D(G(z))): relativistic pairing GAN (Jolicoeur-Martineau 2018; Huang et al. 2024, eq. 2)."""
    return softplus(on_fake - on_real)


def rpgan_g(on_real: Tensor, on_fake: Tensor) -> Tensor:
    """-log σ(D(G(z)) - D(x)): the same with reals and fakes exchanged."""
    return softplus(on_real - on_fake)


def rahinge_d(on_real: Tensor, on_fake: Tensor) -> Tensor:
    """max(0, 1 - D(x) + mean D(G)) + max(0, 1 + D(G(z)) - mean D(X)) (Jolicoeur-Martineau 2018, appendix D.3)."""
    return relu(1 - (on_real - on_fake.mean())) + relu(1 + (on_fake - on_real.mean()))


def rahinge_g(on_real: Tensor, on_fake: Tensor) -> Tensor:
    """The same with reals and fakes exchanged."""
    return rahinge_d(on_fake, on_real)


OBJECTIVES = {
    "minimax": Objective(cross_entropy_d, minimax_g),
    "non-saturating": Objective(cross_entropy_d, non_saturating_g),
    "least-squares": Objective(lsgan_d, lsgan_g, boundary=0.5),
    "hinge": Objective(hinge_d, wasserstein_g),
    "wasserstein": Objective(wasserstein_d, wasserstein_g, critic=True),
    "rpgan": Objective(rpgan_d, rpgan_g, relative=True),
    "rahinge": Objective(rahinge_d, rahinge_g, relative=True),
}


def get_objective(name: str, *, smoothing: float = 0.0) -> Objective:
    """The objective of that name, with one-sided label smoothing where D is a classifier.

    The target of reals is then 1 - `smoothing` (Salimans et al. 2016, section 3.4): the cross-entropy gains
    `smoothing` · D(x).

    Args:
        name: one of `OBJECTIVES`, or the spec (`ganvas.user_code`) of an `Objective` of the user's own, or of what
            returns one.

    Raises:
        GanvasError: the name is unknown, or names no objective.
    """
    if user_code.is_spec(name):
        return _load_objective(name)
    if name not in OBJECTIVES:
        raise user_code.unknown(f"'{name}' is not an objective.", name, OBJECTIVES)
    row = OBJECTIVES[name]
    if not smoothing:
        return row
    assert row.d_loss is cross_entropy_d, "label smoothing needs a cross-entropy loss"
    return replace(row, d_loss=lambda on_real, on_fake: cross_entropy_d(on_real, on_fake) + smoothing * on_real)


def _load_objective(spec: str) -> Objective:
    value = user_code.load(spec)
    form = "NAME = Objective(d_loss, g_loss), each a function of D's logits (on_real [n], on_fake [n]) -> [n]"
    expected = f"a ganvas.game.objectives.Objective, or what makes one without positional arguments: {form}"
    if not isinstance(value, Objective) and callable(value):
        value = user_code.call(spec, value, expected=expected)
    if not isinstance(value, Objective):
        raise GanvasError(f"{user_code.title(spec)} gives a {type(value).__name__}.", expected=expected)
    user_code.remember(spec, value)  # for `LossConfig.critic`
    return value


def zero_centred_penalty(images: Tensor, logits: Tensor) -> Tensor:
    """|∇ₓD(x)|² of each image, summed over channels and pixels: float [n], differentiable once more.

    Times γ/2, this is R1 on reals and R2 on fakes (Mescheder et al. 2018, eq. 9 and 10). `images` must require
    gradients and be float32. D must not have batch norm, or the gradient of one logit reaches all images.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().flatten(1).sum(dim=1)


def one_centred_penalty(images: Tensor, logits: Tensor) -> Tensor:
    """(|∇ₓD(x)| - 1)² of each image, the norm taken over channels and pixels: float [n], differentiable once more.

    Times λ, this is WGAN-GP's penalty between reals and fakes (Gulrajani et al. 2017, eq. 3), DRAGAN's around reals.
    """
    return ((zero_centred_penalty(images, logits) + 1e-12).sqrt() - 1).square()  # √ is not differentiable at 0


def interpolate(real: Tensor, fake: Tensor) -> Tensor:
    """A random point on the line from each real image to its fake, uniform (Gulrajani et al. 2017, algorithm 1)."""
    weight = torch.rand(len(real), *[1] * (real.dim() - 1), dtype=real.dtype, device=real.device)
    return torch.lerp(real, fake, weight)


def perturb(real: Tensor) -> Tensor:
    """Adds to each pixel U(0, 1) times half the batch's standard deviation, where Kodali et al. 2017 have N(0, cI)."""
    return real + 0.5 * real.std() * torch.rand_like(real)
