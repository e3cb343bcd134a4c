"""The losses of style transfer against closed forms and finite differences."""

import math

import pytest
import torch
from torch import Tensor

from ganvas.style.colours import MAX_GAIN, MIN_VARIANCE, luminance, match_palette, palette_statistics, replace_luminance
from ganvas.style.losses import WassersteinDistance, content_distance, gram_distance, moment_sums, total_variation


def gaussian(mean: Tensor, covariance: Tensor) -> Tensor:
    """Statistics per position of features with this distribution."""
    return torch.cat([covariance + torch.outer(mean, mean), mean[:, None]], dim=1)


def random_statistics(channels: int = 4) -> Tensor:
    features = torch.randn(1, channels, 6, 7, dtype=torch.double)
    return moment_sums(features) / 42


def test_moment_sums_equal_the_gram_matrix_and_the_mean_by_hand() -> None:
    features, weights = torch.randn(1, 3, 4, 5), torch.rand(1, 1, 4, 5)
    statistics = moment_sums(features, weights)
    for i in range(3):
        for j in range(3):
            by_hand = sum(
                weights[0, 0, y, x] * features[0, i, y, x] * features[0, j, y, x] for y in range(4) for x in range(5)
            )
            assert statistics[i, j] == pytest.approx(float(by_hand), abs=1e-5)
        assert statistics[i, 3] == pytest.approx(float((features[0, i] * weights[0, 0]).sum()), abs=1e-5)


def test_moment_sums_of_parts_add_up() -> None:
    features = torch.randn(1, 3, 8, 6, dtype=torch.double)
    halves = moment_sums(features[:, :, :5]) + moment_sums(features[:, :, 5:])
    assert torch.allclose(halves, moment_sums(features))


def test_gram_distance_of_scaled_features() -> None:
    """G of s·f is s²·G, so the relative distance is (s² − 1)²."""
    statistics = random_statistics()
    for s in (0.0, 0.5, 1.0, 2.0):
        scaled = torch.cat([statistics[:, :-1] * s**2, statistics[:, -1:] * s], dim=1)
        assert float(gram_distance(scaled, statistics)) == pytest.approx((s**2 - 1) ** 2)


def test_wasserstein_of_gaussians_whose_covariances_commute() -> None:
    """The distance is ‖μ − μ̂‖² + Σ (√λ − √λ̂)²."""
    rotation = torch.linalg.qr(torch.randn(4, 4, dtype=torch.double)).Q
    a, b = torch.tensor([4.0, 1.0, 0.25, 0.01]).double(), torch.tensor([1.0, 9.0, 0.25, 0.04]).double()
    mean, other = torch.randn(4).double(), torch.randn(4).double()
    x, y = (gaussian(m, rotation @ v.diag() @ rotation.T) for m, v in ((mean, a), (other, b)))
    expected = (mean - other).square().sum() + (a.sqrt() - b.sqrt()).square().sum()
    energy = b.sum() + other.square().sum()
    assert float(WassersteinDistance(y)(x)) == pytest.approx(float(expected / energy), rel=1e-9)
    assert float(WassersteinDistance(y)(y)) == pytest.approx(0, abs=1e-12)


def test_wasserstein_is_symmetric_except_for_its_normalisation() -> None:
    """For arbitrary covariances, the distance before normalisation is the same in both directions."""
    x, y = random_statistics(), random_statistics()
    energies = [statistics.diagonal().sum() for statistics in (x, y)]
    assert float(WassersteinDistance(y)(x) * energies[1]) == pytest.approx(
        float(WassersteinDistance(x)(y) * energies[0]), rel=1e-9
    )


def test_total_variation_of_known_images() -> None:
    assert float(total_variation(torch.full((1, 3, 5, 9), 0.3))) == 0
    wide = torch.arange(200.0).expand(1, 1, 200, 200) * 0.01
    assert float(total_variation(wide)) == pytest.approx(2 * 0.01**2, rel=0.01)
    board = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(100, 100)[None, None]
    assert float(total_variation(board)) == pytest.approx(8, rel=0.02)
    edge = torch.zeros(1, 1, 4, 4)
    edge[..., 2:] = 1  # by hand: in 4 rows a horizontal step of 1; in 3 rows both diagonals; the last row is replicated
    assert float(total_variation(edge)) == pytest.approx((4 + 4 * 0.5 * 2) / 16)


@pytest.mark.parametrize("loss", ["gram", "wasserstein", "content", "weighted", "tv"])
def test_gradients_equal_finite_differences(loss: str) -> None:
    target = random_statistics()
    wanted, weights = torch.randn(1, 4, 3, 5, dtype=torch.double), torch.rand(1, 1, 3, 5, dtype=torch.double)
    losses = {
        "gram": lambda f: gram_distance(moment_sums(f) / 15, target),
        "wasserstein": lambda f: WassersteinDistance(target)(moment_sums(f) / 15),
        "content": lambda f: content_distance(f, wanted),
        "weighted": lambda f: WassersteinDistance(target)(moment_sums(f, weights) / weights.sum()),
        "tv": total_variation,
    }
    features = torch.randn(1, 4, 3, 5, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(losses[loss], features)


def test_gradient_of_a_dead_channel_is_finite() -> None:
    """A ReLU that never fires: the root has no derivative at variance 0, so the variance has a lower bound."""
    features = torch.rand(1, 4, 6, 6)
    features[:, 2] = 0
    features.requires_grad_()
    WassersteinDistance(random_statistics().float())(moment_sums(features) / 36).backward()
    assert features.grad is not None
    assert features.grad.isfinite().all()
    assert features.grad.abs().max() < 10


def test_match_palette_gives_the_statistics_of_the_palette() -> None:
    x = torch.rand(1, 3, 30, 30, dtype=torch.double) * 0.4 - 0.2
    y = x.flip(1) * 0.7 + torch.randn(1, 3, 30, 30, dtype=torch.double) * 0.05 + 0.2
    painted = match_palette(x, palette_statistics(x), palette_statistics(y))
    assert torch.allclose(palette_statistics(painted), palette_statistics(y), atol=2e-3)
    rank = luminance(x).flatten().argsort(), luminance(painted).flatten().argsort()
    assert torch.corrcoef(torch.stack(rank).double().argsort(1).double())[0, 1] > 0.5, "light stays lighter than dark"


def test_match_palette_of_muted_colours() -> None:
    """A luminance of std 0.3 and chrominances of std 0.03: products of their variances are far below a variance."""
    x = 0.3 * torch.randn(1, 1, 30, 30) + 0.03 * torch.randn(1, 3, 30, 30)
    x = x.double().clamp(-0.9, 0.9)
    own = palette_statistics(x)
    assert torch.allclose(match_palette(x, own, own), x, atol=1e-6)
    bright = 0.5 * torch.rand(1, 3, 30, 30, dtype=torch.double) - 0.25
    grey = x.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    painted = match_palette(bright, palette_statistics(bright), palette_statistics(grey))
    chrominance = painted - painted.mean(1, keepdim=True)
    assert float(chrominance.square().mean((2, 3)).max()) < 1.01 * MIN_VARIANCE, "a grey palette leaves no colours"


def test_match_palette_limits_the_gain_of_noise() -> None:
    grey = torch.full((1, 3, 20, 20), 0.1) + 0.01 * torch.randn(1, 3, 20, 20)
    loud = torch.rand(1, 3, 20, 20) * 2 - 1
    painted = match_palette(grey, palette_statistics(grey), palette_statistics(loud))
    assert float(painted.std((2, 3)).max()) <= MAX_GAIN * float(grey.std((2, 3)).max()) * 1.01


def test_replace_luminance_keeps_colour_differences() -> None:
    x, light = torch.rand(1, 3, 8, 8) * 0.4 - 0.2, torch.rand(1, 1, 8, 8) * 0.4 - 0.2
    changed = replace_luminance(x, light)
    assert torch.allclose(luminance(changed), light, atol=1e-6)
    assert torch.allclose(changed[:, 0] - changed[:, 2], x[:, 0] - x[:, 2], atol=1e-6)
    assert math.isclose(float(luminance(torch.ones(1, 3, 1, 1))), 1, rel_tol=1e-6)
