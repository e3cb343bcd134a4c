"""Losses against hand-computed values, gradient penalties against analytic gradients."""

import math

import pytest
import torch
from support import tiny
from torch import nn

from ganvas import networks
from ganvas.config import LossConfig
from ganvas.errors import GanvasError
from ganvas.game.moves import Game, Penalties, evaluate_losses, train_d, train_g
from ganvas.game.objectives import (
    OBJECTIVES,
    get_objective,
    interpolate,
    one_centred_penalty,
    perturb,
    zero_centred_penalty,
)
from ganvas.networks import Discriminator, Generator, Shape

REAL, FAKE = torch.tensor([2.0, -1.0, 0.0]), torch.tensor([0.5, 3.0, 0.0])
MEAN_REAL, MEAN_FAKE = 1 / 3, 3.5 / 3


def log_sigmoid(x: float) -> float:
    return -math.log(1 + math.exp(-x))


BY_HAND = {
    "minimax": (
        lambda r, f: -log_sigmoid(r) - log_sigmoid(-f),  # -log D(x) - log(1 - D(G(z)))
        lambda r, f: log_sigmoid(-f),  # log(1 - D(G(z)))
    ),
    "non-saturating": (lambda r, f: -log_sigmoid(r) - log_sigmoid(-f), lambda r, f: -log_sigmoid(f)),
    "rpgan": (lambda r, f: -log_sigmoid(r - f), lambda r, f: -log_sigmoid(f - r)),
    "least-squares": (lambda r, f: ((r - 1) ** 2 + f**2) / 2, lambda r, f: (f - 1) ** 2 / 2),
    "hinge": (lambda r, f: max(0, 1 - r) + max(0, 1 + f), lambda r, f: -f),
    "wasserstein": (lambda r, f: f - r, lambda r, f: -f),
    "rahinge": (
        lambda r, f: max(0, 1 - (r - MEAN_FAKE)) + max(0, 1 + (f - MEAN_REAL)),
        lambda r, f: max(0, 1 - (f - MEAN_REAL)) + max(0, 1 + (r - MEAN_FAKE)),
    ),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_losses_equal_the_formulas_by_hand(name: str) -> None:
    d_loss, g_loss = BY_HAND[name]
    pairs = list(zip(REAL.tolist(), FAKE.tolist(), strict=True))
    assert get_objective(name).d_loss(REAL, FAKE).tolist() == pytest.approx([d_loss(r, f) for r, f in pairs])
    assert get_objective(name).g_loss(REAL, FAKE).tolist() == pytest.approx([g_loss(r, f) for r, f in pairs])


@pytest.mark.parametrize("name", OBJECTIVES)
def test_losses_stay_finite_for_huge_logits(name: str) -> None:
    huge = torch.tensor([1e4, -1e4])
    for loss in (get_objective(name).d_loss(huge, -huge), get_objective(name).g_loss(huge, -huge)):
        assert torch.isfinite(loss).all()


def test_saturating_and_non_saturating_losses_have_the_same_gradient_sign() -> None:
    for name in ("minimax", "non-saturating"):
        fake = FAKE.clone().requires_grad_()
        get_objective(name).g_loss(REAL, fake).sum().backward()
        assert fake.grad is not None
        assert (fake.grad < 0).all(), "more realistic must mean less loss"


def test_error_for_an_unknown_objective_lists_the_known_ones() -> None:
    with pytest.raises(GanvasError, match="rpgan"):
        get_objective("wgan-typo")


class Linear(Discriminator):
    """D(x) = w·x, whose gradient is w everywhere."""

    def __init__(self, w: torch.Tensor) -> None:
        super().__init__()
        self.w = nn.Parameter(w)

    def forward(self, x: torch.Tensor, labels: object = None) -> torch.Tensor:
        return (x * self.w).flatten(1).sum(1)


class LinearGenerator(Generator):
    """z float [n 4] -> images float [n 1 2 2]."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, z: torch.Tensor, labels: object = None) -> torch.Tensor:
        return self.linear(z).view(-1, 1, 2, 2)


class Quadratic(Linear):
    """D(x) = ½ Σ wᵢ xᵢ², whose gradient at x is w·x, elementwise."""

    def forward(self, x: torch.Tensor, labels: object = None) -> torch.Tensor:
        return 0.5 * (x.square() * self.w).flatten(1).sum(1)


def test_squared_gradient_norm_of_a_linear_d_is_that_of_its_weight() -> None:
    w = torch.randn(3, 4, 5)
    x = torch.randn(7, 3, 4, 5, requires_grad=True)
    assert torch.allclose(zero_centred_penalty(x, Linear(w)(x)), w.square().sum().expand(7))


def test_squared_gradient_norm_is_per_sample_and_over_all_channels() -> None:
    w = torch.randn(3, 4, 5)
    x = torch.randn(7, 3, 4, 5, requires_grad=True)
    assert torch.allclose(zero_centred_penalty(x, Quadratic(w)(x)), (w * x).square().sum(dim=(1, 2, 3)), rtol=1e-5)


@pytest.mark.parametrize(("r1", "r2"), [(0.7, 0.0), (0.0, 0.3), (0.7, 0.3)])
def test_penalty_gradient_of_a_quadratic_d_equals_the_closed_form(r1: float, r2: float) -> None:
    """d/dw of γ/2·mean|w·x|² is γ·mean(w·x²); the loss adds its own gradient, also known in closed form."""
    w = torch.randn(2, 3, 3, dtype=torch.float64)
    real, fake = (torch.randn(5, 2, 3, 3, dtype=torch.float64) for _ in range(2))
    game = Game(nn.Identity(), Quadratic(w), get_objective("rpgan"))  # type: ignore[arg-type]
    stats = train_d(game, real, fake, penalties=Penalties(r1=r1, r2=r2))
    gap = stats["D/fake"] - stats["D/real"]
    loss_gradient = (torch.sigmoid(gap)[:, None, None, None] * 0.5 * (fake.square() - real.square())).mean(0)
    penalty_gradient = r1 * (w * real.square()).mean(0) + r2 * (w * fake.square()).mean(0)
    (parameter,) = game.D.parameters()
    assert parameter.grad is not None
    assert torch.allclose(parameter.grad, loss_gradient + penalty_gradient, rtol=1e-10)
    assert torch.allclose(stats["D/r1"], (w * real).square().sum(dim=(1, 2, 3)))
    assert torch.allclose(stats["D/r2"], (w * fake).square().sum(dim=(1, 2, 3)))


def test_a_penalty_that_is_off_has_no_part_in_the_loss_where_its_norm_overflows() -> None:
    w, real, fake = torch.ones(1, 2, 2), torch.randn(4, 1, 2, 2), torch.full((4, 1, 2, 2), 1e19)
    game = Game(nn.Identity(), Quadratic(w), get_objective("wasserstein"))  # type: ignore[arg-type]
    stats = train_d(game, real, fake, penalties=Penalties(r1=1.0))
    assert stats["D/r2"].isinf().all()
    (parameter,) = game.D.parameters()
    assert parameter.grad is not None
    assert parameter.grad.isfinite().all()


@pytest.mark.parametrize(("r1", "r2"), [(0.7, 0.0), (0.0, 0.3)])
def test_one_penalty_of_a_batch_dependent_d_has_no_second_derivatives_of_the_other_half(r1: float, r2: float) -> None:
    torch.manual_seed(0)
    _, discriminator = networks.build(tiny(family="stylegan").network, Shape(3, 8, 8, 0))
    game = Game(nn.Identity(), discriminator, get_objective("non-saturating"))  # type: ignore[arg-type]
    real, fake = torch.randn(4, 3, 8, 8), torch.randn(4, 3, 8, 8)

    def update(penalties: Penalties) -> tuple[int, dict[str, torch.Tensor]]:
        discriminator.zero_grad()
        with networks.FlopCounter() as counter:
            values = train_d(game, real, fake, penalties=penalties)
        gradients = {name: p.grad for name, p in discriminator.named_parameters() if p.grad is not None}
        return counter.total, values | gradients

    flops, found = update(Penalties(r1=r1, r2=r2))
    # a tensor is never off: the penalties of both halves are in the graph
    more, expected = update(Penalties(r1=torch.tensor(r1), r2=torch.tensor(r2)))
    assert expected.keys() - found.keys() == ({"D/r2"} if r1 else {"D/r1"})
    for name, value in found.items():
        assert torch.allclose(value, expected[name], rtol=1e-4, atol=1e-6), name
    assert flops < 0.8 * more


@pytest.mark.parametrize("name", OBJECTIVES)
def test_each_update_gives_gradients_to_its_own_network_only(name: str) -> None:
    generator, discriminator = LinearGenerator(), Linear(torch.randn(1, 2, 2))
    game = Game(generator, discriminator, get_objective(name))
    real = torch.randn(6, 1, 2, 2)
    fake = generator(torch.randn(6, 4))
    train_d(game, real, fake, penalties=Penalties(r1=1.0, r2=1.0))
    assert all(p.grad is None for p in generator.parameters())
    d_gradients = [p.grad.clone() for p in discriminator.parameters() if p.grad is not None]
    assert d_gradients
    train_g(game, real, fake)  # the same fakes serve both updates
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in generator.parameters())
    assert all(torch.equal(p.grad, was) for p, was in zip(discriminator.parameters(), d_gradients, strict=True))  # type: ignore[arg-type]


def test_one_step_of_each_network_moves_the_logits_in_the_right_direction() -> None:
    torch.manual_seed(0)
    generator, discriminator = LinearGenerator(), Linear(torch.zeros(1, 2, 2))
    game = Game(generator, discriminator, get_objective("non-saturating"))
    real, z = torch.randn(64, 1, 2, 2) + 1, torch.randn(64, 4)
    fake = generator(z)
    train_d(game, real, fake)
    with torch.no_grad():
        for p in discriminator.parameters():
            p -= 0.1 * p.grad  # type: ignore[operator]
    assert discriminator(real).mean() > discriminator(fake).mean()
    before = discriminator(fake).mean()
    train_g(game, real, fake)
    with torch.no_grad():
        for p in generator.parameters():
            p -= 0.1 * p.grad  # type: ignore[operator]
    assert discriminator(generator(z)).mean() > before


def test_signs_of_the_wasserstein_losses() -> None:
    """D's loss falls as D(real) - D(fake) grows; G's loss falls as D(fake) grows."""
    d_loss, g_loss = get_objective("wasserstein").d_loss(REAL, FAKE), get_objective("wasserstein").g_loss(REAL, FAKE)
    assert -d_loss.mean() == pytest.approx(float(REAL.mean() - FAKE.mean()))
    assert g_loss.tolist() == (-FAKE).tolist()
    assert [name for name in OBJECTIVES if LossConfig(objective=name).critic] == ["wasserstein"]  # type: ignore[arg-type]


def test_smoothing_is_cross_entropy_with_softened_real_labels() -> None:
    target = torch.full_like(REAL, 0.9)
    expected = nn.functional.binary_cross_entropy_with_logits(REAL, target, reduction="none")
    expected += nn.functional.binary_cross_entropy_with_logits(FAKE, torch.zeros_like(FAKE), reduction="none")
    assert torch.allclose(get_objective("non-saturating", smoothing=0.1).d_loss(REAL, FAKE), expected)


@pytest.mark.parametrize("name", ["gp", "dragan"])
def test_gradient_penalty_of_a_linear_critic_equals_the_closed_form(name: str) -> None:
    """λ(|w| - 1)², whose gradient is 2λ(|w| - 1)·w/|w|, wherever it is taken; the norm is over all of C, H, W."""
    w = torch.randn(2, 3, 3, dtype=torch.float64)
    real, fake = (torch.randn(5, 2, 3, 3, dtype=torch.float64) for _ in range(2))
    game = Game(nn.Identity(), Linear(w), get_objective("wasserstein"))  # type: ignore[arg-type]
    stats = train_d(game, real, fake, penalties=Penalties(**{name: 10.0}))
    norm = w.norm()
    assert torch.allclose(stats[f"D/{name}"], (norm - 1).square().expand(5))
    (parameter,) = game.D.parameters()
    expected = (fake - real).mean(0) + 20 * (norm - 1) * w / norm
    assert torch.allclose(parameter.grad, expected, rtol=1e-9)  # type: ignore[arg-type]


def test_constant_critic_has_a_finite_penalty_and_gradient() -> None:
    x = torch.randn(3, 1, 2, 2, requires_grad=True)
    constant = Linear(torch.zeros(1, 2, 2))
    penalty = one_centred_penalty(x, constant(x))
    assert torch.allclose(penalty, torch.ones(3), atol=1e-5)
    penalty.sum().backward()
    assert torch.isfinite(constant.w.grad).all()  # type: ignore[arg-type]


def test_interpolates_lie_between_their_pair_and_perturbed_points_near_the_reals() -> None:
    real, fake = torch.zeros(500, 1, 2, 2), torch.ones(500, 1, 2, 2)
    points = interpolate(real, fake).flatten(1)
    assert torch.equal(points, points[:, :1].expand(-1, 4)), "one number for all pixels of an image"
    assert 0 <= points.min() < 0.02
    assert 0.98 < points.max() <= 1
    assert points.std() == pytest.approx(math.sqrt(1 / 12), abs=0.03)
    assert interpolate(torch.zeros(3, 7), torch.ones(3, 7)).shape == (3, 7)
    wide = 3 * torch.randn(500, 1, 2, 2)
    step = perturb(wide) - wide
    assert step.min() >= 0
    assert step.max() == pytest.approx(1.5, abs=0.1)


def test_gradients_of_microbatches_add_up_to_those_of_the_batch() -> None:
    w = torch.randn(2, 3, 3, dtype=torch.float64)
    real, fake = (torch.randn(5, 2, 3, 3, dtype=torch.float64) for _ in range(2))
    gradients = []
    for parts in ([slice(0, 5)], [slice(0, 2), slice(2, 4), slice(4, 5)]):
        game = Game(nn.Identity(), Quadratic(w.clone()), get_objective("rpgan"))  # type: ignore[arg-type]
        for part in parts:
            share = len(real[part]) / 5
            train_d(game, real[part], fake[part], penalties=Penalties(r1=1.0, r2=0.5), share=share)
        gradients.append(game.D.w.grad)  # type: ignore[union-attr]
    assert torch.allclose(*gradients, rtol=1e-12)  # type: ignore[misc]


def test_evaluate_losses_computes_no_gradient_and_equals_training() -> None:
    game = Game(nn.Identity(), Quadratic(torch.randn(1, 2, 2)), get_objective("rpgan"))  # type: ignore[arg-type]
    real, fake = torch.randn(6, 1, 2, 2), torch.randn(6, 1, 2, 2)
    evaluated = evaluate_losses(game, real, fake)
    assert all(p.grad is None for p in game.D.parameters())
    trained = train_d(game, real, fake)
    assert torch.allclose(evaluated["D/loss"], trained["D/loss"])
    assert torch.allclose(evaluated["G/loss"], get_objective("rpgan").g_loss(trained["D/real"], trained["D/fake"]))


class Counting(Linear):
    """Records the number of images in each forward pass."""

    def __init__(self, batch_dependent: bool) -> None:
        super().__init__(torch.randn(1, 2, 2))
        self.batch_dependent, self.passes = batch_dependent, []

    def forward(self, x: torch.Tensor, labels: object = None) -> torch.Tensor:
        self.passes.append(len(x))
        return super().forward(x, labels)


@pytest.mark.parametrize(("batch_dependent", "passes"), [(False, [12]), (True, [6, 6])])
def test_reals_and_fakes_share_a_pass_unless_d_is_batch_dependent(batch_dependent: bool, passes: list[int]) -> None:
    discriminator = Counting(batch_dependent)
    game = Game(nn.Identity(), discriminator, get_objective("hinge"))  # type: ignore[arg-type]
    train_d(game, torch.randn(6, 1, 2, 2), torch.randn(6, 1, 2, 2), penalties=Penalties(r1=1.0))
    assert discriminator.passes == passes
