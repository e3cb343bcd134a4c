"""Losses against hand-computed values, slopes against analytic gradients."""

import math

import pytest
import torch
from torch import nn

from ganvas.errors import GanvasError
from ganvas.game.moves import Game, train_d, train_g
from ganvas.game.objectives import OBJECTIVES, objective, squared_slope

REAL, FAKE = torch.tensor([2.0, -1.0, 0.0]), torch.tensor([0.5, 3.0, 0.0])


def log_sigmoid(x: float) -> float:
    return -math.log(1 + math.exp(-x))


BY_HAND = {
    "minimax": (
        lambda r, f: -log_sigmoid(r) - log_sigmoid(-f),  # -log D(x) - log(1 - D(G(z)))
        lambda r, f: log_sigmoid(-f),  # log(1 - D(G(z)))
    ),
    "non-saturating": (lambda r, f: -log_sigmoid(r) - log_sigmoid(-f), lambda r, f: -log_sigmoid(f)),
    "rpgan": (lambda r, f: -log_sigmoid(r - f), lambda r, f: -log_sigmoid(f - r)),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_losses_equal_the_formulas_by_hand(name: str) -> None:
    d_loss, g_loss = BY_HAND[name]
    pairs = list(zip(REAL.tolist(), FAKE.tolist(), strict=True))
    assert objective(name).d_loss(REAL, FAKE).tolist() == pytest.approx([d_loss(r, f) for r, f in pairs])
    assert objective(name).g_loss(REAL, FAKE).tolist() == pytest.approx([g_loss(r, f) for r, f in pairs])


@pytest.mark.parametrize("name", OBJECTIVES)
def test_losses_stay_finite_for_huge_logits(name: str) -> None:
    huge = torch.tensor([1e4, -1e4])
    for loss in (objective(name).d_loss(huge, -huge), objective(name).g_loss(huge, -huge)):
        assert torch.isfinite(loss).all()


def test_saturating_and_non_saturating_push_the_same_way() -> None:
    for name in ("minimax", "non-saturating"):
        fake = FAKE.clone().requires_grad_()
        objective(name).g_loss(REAL, fake).sum().backward()
        assert fake.grad is not None
        assert (fake.grad < 0).all(), "more realistic must mean less loss"


def test_unknown_objective_names_the_known_ones() -> None:
    with pytest.raises(GanvasError, match="rpgan"):
        objective("wgan-typo")


class Linear(nn.Module):
    """D(x) = w·x, whose slope is w everywhere."""

    def __init__(self, w: torch.Tensor) -> None:
        super().__init__()
        self.w = nn.Parameter(w)

    def forward(self, x: torch.Tensor, labels: object = None) -> torch.Tensor:
        return (x * self.w).flatten(1).sum(1)


class Quadratic(Linear):
    """D(x) = ½ Σ wᵢ xᵢ², whose slope at x is w·x, elementwise."""

    def forward(self, x: torch.Tensor, labels: object = None) -> torch.Tensor:
        return 0.5 * (x.square() * self.w).flatten(1).sum(1)


def test_slope_of_a_linear_d_is_its_weight_at_every_sample() -> None:
    w = torch.randn(3, 4, 5)
    x = torch.randn(7, 3, 4, 5, requires_grad=True)
    assert torch.allclose(squared_slope(x, Linear(w)(x)), w.square().sum().expand(7))


def test_slope_of_a_quadratic_d_is_per_sample_and_over_all_channels() -> None:
    w = torch.randn(3, 4, 5)
    x = torch.randn(7, 3, 4, 5, requires_grad=True)
    assert torch.allclose(squared_slope(x, Quadratic(w)(x)), (w * x).square().sum(dim=(1, 2, 3)), rtol=1e-5)


@pytest.mark.parametrize(("r1", "r2"), [(0.7, 0.0), (0.0, 0.3), (0.7, 0.3)])
def test_penalty_gradient_of_a_quadratic_d_is_the_analytic_one(r1: float, r2: float) -> None:
    """d/dw of γ/2·mean|w·x|² is γ·mean(w·x²); the loss adds its own gradient, known in closed form too."""
    w = torch.randn(2, 3, 3, dtype=torch.float64)
    real, fake = (torch.randn(5, 2, 3, 3, dtype=torch.float64) for _ in range(2))
    game = Game(nn.Identity(), Quadratic(w), objective("rpgan"))
    seen = train_d(game, real, fake, r1=r1, r2=r2)
    gap = seen["D/fake"] - seen["D/real"]
    of_loss = (torch.sigmoid(gap)[:, None, None, None] * 0.5 * (fake.square() - real.square())).mean(0)
    of_slope = r1 * (w * real.square()).mean(0) + r2 * (w * fake.square()).mean(0)
    (parameter,) = game.D.parameters()
    assert parameter.grad is not None
    assert torch.allclose(parameter.grad, of_loss + of_slope, rtol=1e-10)
    assert torch.allclose(seen["D/r1"], (w * real).square().sum(dim=(1, 2, 3)))
    assert torch.allclose(seen["D/r2"], (w * fake).square().sum(dim=(1, 2, 3)))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_each_move_touches_its_own_player_only(name: str) -> None:
    generator, discriminator = nn.Linear(4, 4), Linear(torch.randn(1, 2, 2))
    game = Game(generator, discriminator, objective(name))
    real = torch.randn(6, 1, 2, 2)
    fake = generator(torch.randn(6, 4)).view(6, 1, 2, 2)
    train_d(game, real, fake, r1=1.0, r2=1.0)
    assert all(p.grad is None for p in generator.parameters())
    of_d = [p.grad.clone() for p in discriminator.parameters() if p.grad is not None]
    assert of_d
    train_g(game, real, fake)  # the same fakes serve both moves
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in generator.parameters())
    assert all(torch.equal(p.grad, was) for p, was in zip(discriminator.parameters(), of_d, strict=True))  # type: ignore[arg-type]


def test_one_step_of_each_player_moves_the_logits_the_right_way() -> None:
    torch.manual_seed(0)
    generator, discriminator = nn.Linear(4, 4), Linear(torch.zeros(1, 2, 2))
    game = Game(generator, discriminator, objective("non-saturating"))
    real, z = torch.randn(64, 1, 2, 2) + 1, torch.randn(64, 4)
    fake = generator(z).view(64, 1, 2, 2)
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
    assert discriminator(generator(z).view(64, 1, 2, 2)).mean() > before
