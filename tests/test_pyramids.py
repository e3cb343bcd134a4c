"""Pyramids against their inverse and SciPy's filter, MS-SSIM against torchmetrics, on constructed images."""

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve

from ganvas.errors import GanvasError
from ganvas.evaluation import pyramids
from ganvas.evaluation.pyramids import (
    laplacian_pyramid,
    ms_ssim,
    ms_ssim_diversity,
    sliced_wasserstein_distances,
)


def sliced_wasserstein_distance(real: np.ndarray, fake: np.ndarray, **settings: int) -> dict[int, float]:
    return sliced_wasserstein_distances(real, [fake], **settings)[0]  # pyright: ignore[reportArgumentType]


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def smooth(n: int, side: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Each image is a wave with its own direction, length and phase."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    u, v, phase = random.uniform(-1, 1, (3, n, channels, 1, 1)) * np.array([9, 9, 3])[:, None, None, None, None]
    return np.rint(127.5 + 100 * np.sin(u * x + v * y + phase)).astype(np.uint8)


def test_pyramid_equals_burt_and_adelsons_and_is_invertible() -> None:
    image = torch.from_numpy(noise(1, 1, 17, 22)).float()
    fine, middle, coarse = laplacian_pyramid(image, 3)
    assert (middle.shape, coarse.shape) == ((1, 1, 9, 11), (1, 1, 5, 6))
    kernel = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256

    def up(small: np.ndarray, like: torch.Tensor) -> np.ndarray:
        sparse = np.zeros(like.shape[2:])
        sparse[::2, ::2] = small
        return convolve(sparse, 4 * kernel, mode="mirror")

    half = convolve(image[0, 0].numpy(), kernel, mode="mirror")[::2, ::2]
    np.testing.assert_allclose(fine[0, 0].numpy(), image[0, 0].numpy() - up(half, image), atol=1e-3)
    np.testing.assert_allclose(up(coarse[0, 0].numpy(), middle) + middle[0, 0].numpy(), half, atol=1e-3)


@pytest.mark.parametrize(
    ("size", "sides"), [((64, 64), [64, 32, 16]), ((40, 33), [33, 17]), ((28, 28), [28]), ((8, 9), [8])], ids=str
)
def test_levels_end_at_16_or_at_the_size_of_the_image(size: tuple[int, int], sides: list[int]) -> None:
    found = sliced_wasserstein_distance(
        noise(4, 2, *size), noise(4, 2, *size, seed=1), seed=0, patches=4, projections=8
    )
    assert list(found) == sides


def test_distance_is_the_mean_difference_of_the_sorted_projections(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a constant 8×8 image every patch is one number, repeated."""
    greys = noise(40, 1, 1, 1)
    other = np.concatenate([greys[:20], greys[:20] // 2])
    real, fake = (np.broadcast_to(g, (40, 1, 8, 8)) for g in (greys, other))
    a, b = (np.sort((g.ravel() - g.mean()) / g.std()) for g in (greys, other))
    directions = np.random.default_rng(1).standard_normal((20_000, 49))
    sums = np.abs((directions / np.linalg.norm(directions, axis=1, keepdims=True)).sum(axis=1)).mean()
    expected = 1e3 * np.abs(a - b).mean() * sums
    found = sliced_wasserstein_distance(real, fake, seed=0, patches=3, projections=4000)
    assert found == {8: pytest.approx(expected, rel=0.05)}
    monkeypatch.setattr(pyramids, "PIXELS_PER_PASS", 7 * 64)
    monkeypatch.setattr(pyramids, "DIRECTIONS_PER_PASS", 999)
    assert sliced_wasserstein_distance(real, fake, seed=0, patches=3, projections=4000)[8] == pytest.approx(
        found[8], rel=1e-5
    )


def test_distance_of_a_set_from_itself_is_0_and_only_the_differing_level_grows() -> None:
    real, same = smooth(200, 32), smooth(200, 32, seed=1)
    grain = np.random.default_rng(2).choice([-20, 20], real.shape)
    settings = {"seed": 0, "patches": 16, "projections": 64}
    assert set(sliced_wasserstein_distance(real, real, **settings).values()) == {0}
    baseline = sliced_wasserstein_distance(real, same, **settings)
    grainy = sliced_wasserstein_distance(real, (same + grain).clip(0, 255).astype(np.uint8), **settings)
    assert grainy[32] > 5 * baseline[32]
    assert grainy[16] < 2 * baseline[16] + 30
    collapsed = sliced_wasserstein_distance(real, same[:1].repeat(200, axis=0), **settings)
    assert collapsed[16] > 5 * baseline[16]
    assert sliced_wasserstein_distance(real, same, **settings) == baseline
    assert sliced_wasserstein_distance(real, same, **{**settings, "seed": 1}) != baseline


def test_distances_of_several_sets_equal_those_of_each_alone() -> None:
    real, *fakes = (smooth(50, 32, seed=seed) for seed in range(4))
    together = sliced_wasserstein_distances(real, fakes, seed=0, patches=8, projections=40)
    assert together == [sliced_wasserstein_distance(real, fake, seed=0, patches=8, projections=40) for fake in fakes]


def test_distance_with_a_constant_channel_is_finite() -> None:
    images = noise(5, 4, 16, 16)
    images[:, 3] = 255
    found = sliced_wasserstein_distance(images, images[::-1].copy(), seed=0, patches=4, projections=8)
    assert np.isfinite(list(found.values())).all()


@pytest.mark.parametrize("scales", [1, 2, 3])
def test_ms_ssim_agrees_with_torchmetrics(scales: int) -> None:
    ssim = pytest.importorskip("torchmetrics.functional.image").structural_similarity_index_measure
    side = 12 * 2 ** (scales - 1)
    a = torch.from_numpy(smooth(6, side))
    b = torch.from_numpy((0.8 * smooth(6, side) + 0.2 * noise(6, 3, side, side)).astype(np.uint8))
    expected, x, y = torch.ones(6), a.double(), b.double()
    weights = torch.tensor(pyramids.WEIGHTS[:scales])
    weights *= sum(pyramids.WEIGHTS) / weights.sum()
    for scale, weight in enumerate(weights):
        last = scale == scales - 1
        settings = {"data_range": 255.0, "reduction": "none"}
        if last:
            whole = ssim(x, y, return_full_image=True, **settings)[1]
            value = whole[..., 5:-5, 5:-5].mean((1, 2, 3))  # windows that lie inside
        else:
            value = ssim(x, y, return_contrast_sensitivity=True, **settings)[1]
            value = value if value.dim() == 1 else value.mean((1, 2, 3))
        expected = expected * value.clamp(min=0) ** weight
        x, y = torch.nn.functional.avg_pool2d(x, 2), torch.nn.functional.avg_pool2d(y, 2)
    assert ms_ssim(a, b).numpy() == pytest.approx(expected.numpy(), rel=1e-4)


def test_five_scales_agree_with_torchmetrics_except_for_borders() -> None:
    theirs = pytest.importorskip("torchmetrics.functional.image").multiscale_structural_similarity_index_measure
    a, b = smooth(2, 192), (0.7 * smooth(2, 192) + 0.3 * noise(2, 3, 192, 192)).astype(np.uint8)
    a, b = torch.from_numpy(a), torch.from_numpy(b)
    expected = [theirs(x[None].double(), y[None].double(), data_range=255.0).item() for x, y in zip(a, b, strict=True)]
    assert ms_ssim(a, b).tolist() == pytest.approx(expected, rel=5e-3)


def test_ms_ssim_of_equal_inverted_and_tiny_images() -> None:
    for side in (8, 9, 10, 11, 21, 22, 28):
        image = torch.from_numpy(noise(3, 1, side, side + 1))
        assert ms_ssim(image, image).tolist() == pytest.approx([1, 1, 1], abs=1e-5)
        assert (ms_ssim(image, 255 - image) == 0).all()
        assert (ms_ssim(image, image.flip(0))[[0, 2]] < 0.7).all()


def test_ms_ssim_diversity_grows_with_collapse_and_pairs_no_image_with_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    images = smooth(60, 32)
    real = ms_ssim_diversity(images, seed=0, pairs=200)
    collapsed = ms_ssim_diversity(np.concatenate([images[:30], images[:1].repeat(30, axis=0)]), seed=0, pairs=200)
    assert ms_ssim_diversity(images[:1].repeat(9, axis=0), seed=0, pairs=20) == pytest.approx(1)
    assert real + 0.1 < collapsed < 0.9
    two = np.stack([images[0], 255 - images[0]])
    assert ms_ssim_diversity(two, seed=0, pairs=50) == 0
    monkeypatch.setattr(pyramids, "PIXELS_PER_PASS", 7 * 64)
    assert ms_ssim_diversity(images, seed=0, pairs=200) == pytest.approx(real, rel=1e-5)


def test_bad_input_is_refused() -> None:
    good = noise(4, 3, 16, 16)
    for wrong in (good.astype(np.float32), good[0], good[:1], noise(4, 3, 16, 7)):
        with pytest.raises(GanvasError, match="uint8"):
            ms_ssim_diversity(wrong, seed=0)
        with pytest.raises(GanvasError, match="uint8"):
            sliced_wasserstein_distance(good, wrong, seed=0)
    for wrong in (good[:3], noise(4, 3, 16, 17)):
        with pytest.raises(GanvasError, match="equal numbers and sizes"):
            sliced_wasserstein_distance(good, wrong, seed=0)
