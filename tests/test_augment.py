"""Augmentations against images changed by hand, their random parameters against the papers, and their gradients."""

from collections.abc import Callable
from functools import partial
from math import cos, exp, log, pi, radians, sin, sqrt

import pytest
import torch
from support import tiny
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.nn.functional import grid_sample, pad

from ganvas.config import replace
from ganvas.errors import GanvasError
from ganvas.game import augment
from ganvas.game.augment import (
    ADJUST_EVERY,
    AUGMENTATIONS,
    Ada,
    ada,
    apply_randomly,
    cutout,
    diffaugment,
    get_augmentation,
    random_transform,
    random_translation,
    recolour,
    rotation,
    scaling,
    translate,
    translation,
    warp,
)
from ganvas.networks import Shape
from ganvas.training.state import TrainState

POLICIES = ["diffaugment", "ada"]
SHAPES = [(5, 1, 8, 8), (5, 3, 16, 16), (5, 4, 9, 14), (3, 3, 4, 4), (3, 1, 4, 33), (1, 3, 7, 5)]
MANY = 20_000


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def close(a: Tensor, b: Tensor, within: float = 1e-5) -> bool:
    return torch.allclose(a, b, rtol=0, atol=within)


def fraction(applied: Tensor) -> float:
    return applied.double().mean().item()


def approx_fraction(p: float, n: int = MANY) -> object:
    """Within four standard deviations of a fraction p of n samples."""
    return pytest.approx(p, abs=4 * sqrt(p * (1 - p) / n) + 1e-12)


def full(value: float, n: int = 2) -> Tensor:
    return torch.full((n,), float(value))


# All augmentations by name


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_p_of_0_changes_nothing(name: str, shape: tuple[int, ...]) -> None:
    images = torch.randn(shape)
    assert get_augmentation(name)(images, 0.0) is images
    assert get_augmentation(name)(images, 0) is images
    assert torch.equal(get_augmentation(name)(images, torch.tensor(0.0)), images)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", POLICIES)
def test_shape_is_kept_and_each_sample_is_augmented_differently(name: str, shape: tuple[int, ...]) -> None:
    images = torch.randn(1, *shape[1:]).expand(shape)
    for p in (0.5, 1.0, torch.tensor(1.0)):
        changed = get_augmentation(name)(images, p)
        assert changed.shape == images.shape
        assert changed.isfinite().all()
    assert all(not torch.equal(changed[0], other) for other in changed[1:])


@pytest.mark.parametrize("name", POLICIES)
def test_seed_repeats_the_result_and_p_may_be_a_tensor(name: str) -> None:
    images = torch.randn(8, 3, 12, 12)
    results = []
    for p in (0.6, torch.tensor(0.6), 0.6):
        torch.manual_seed(3)
        results.append(get_augmentation(name)(images, p))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])
    assert not torch.equal(results[0], get_augmentation(name)(images, 0.6))


@pytest.mark.parametrize("name", POLICIES)
def test_some_samples_stay_bitwise_unchanged(name: str) -> None:
    images = torch.randn(2000, 3, 8, 8)
    changed = get_augmentation(name)(images, 0.1)
    same = (changed == images).flatten(1).all(1)
    # half of the flips change nothing, a quarter of the quarter turns and of the translations (by 0 or 1 pixel)
    no_augmentation = 0.9**4 * 0.925 if name == "diffaugment" else 0.9**9 * 0.95**2 * 0.925**2
    assert fraction(same) == approx_fraction(no_augmentation, len(images))


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("name", POLICIES)
def test_augmentations_do_not_synchronise_with_the_device(name: str, channels: int) -> None:
    """On the meta device, reading a value and mixing in tensors of another device are errors."""
    images = torch.empty(4, channels, 8, 10, device="meta")
    controller = Ada(0.6, 500).to("meta")
    controller.record_logits(torch.empty(4, device="meta"))
    controller.adjust(4)
    assert get_augmentation(name)(images, controller.p).shape == images.shape


def test_unknown_name_lists_the_known_names() -> None:
    with pytest.raises(GanvasError, match="diffaugment"):
        get_augmentation("mixup")


def test_apply_randomly_has_its_frequency_and_keeps_pairs_together() -> None:
    values = apply_randomly(0.3, torch.ones(2, MANY), 5)
    assert torch.equal(values[0], values[1])
    assert set(values[0].tolist()) == {1.0, 5.0}
    assert fraction(values[0] == 1) == approx_fraction(0.3)


# Geometry


@pytest.mark.parametrize("down", [-2, 0, 3])
@pytest.mark.parametrize("right", [-5, 0, 1])
def test_translation_is_by_whole_pixels_and_pads_with_zeros(right: int, down: int) -> None:
    images = torch.rand(2, 3, 6, 9) + 1  # without zeros
    changed = translate(images, full(right), full(down))
    padded = pad(images, (9, 9, 6, 6))
    assert torch.equal(changed, padded[:, :, 6 - down : 12 - down, 9 - right : 18 - right])


def test_each_sample_has_its_own_translation() -> None:
    images = torch.zeros(2, 1, 5, 5)
    images[:, :, 2, 2] = 1
    changed = translate(images, torch.tensor([1.0, -2.0]), torch.tensor([0.0, 1.0]))
    assert changed.nonzero().tolist() == [[0, 0, 2, 3], [1, 0, 3, 0]]


def test_random_translations_reach_an_eighth_of_each_side() -> None:
    right, down = random_translation(torch.empty(MANY, 1, 24, 40))
    assert sorted(set(right.tolist())) == list(range(-5, 6))
    assert sorted(set(down.tolist())) == list(range(-3, 4))


@pytest.mark.parametrize(("height", "width"), [(8, 8), (8, 12), (5, 4)])
def test_cutout_zeroes_half_of_each_side_at_any_position(height: int, width: int) -> None:
    images = torch.ones(MANY, 2, height, width)
    cut = cutout(images, 1.0)
    hole = cut[:, 0] == 0
    assert torch.equal(cut[:, 0], cut[:, 1])
    assert torch.equal(cut[:, 0] == 1, ~hole)
    rows, columns = hole.any(2), hole.any(1)
    assert torch.equal(hole, rows[:, :, None] & columns[:, None, :]), "a hole is a rectangle"
    assert rows.sum(1).max() == (height + 1) // 2
    assert columns.sum(1).max() == (width + 1) // 2
    assert (hole.flatten(1).any(1)).all()
    centre = hole[:, height // 2, width // 2]  # covered from half of all positions on either axis
    assert fraction(centre) == approx_fraction(1 / 4)
    assert fraction(hole[:, 0, 0]) == pytest.approx((1 / 4 + 0.5 / height) * (1 / 4 + 0.5 / width), abs=0.015)


@pytest.mark.parametrize("name", POLICIES)
def test_both_policies_end_with_cutout(name: str) -> None:
    changed = get_augmentation(name)(torch.ones(2000, 3, 8, 8), 1.0)
    assert fraction((changed[:, :, 4, 4] == 0).all(1)) == approx_fraction(1 / 4, 2000)


def test_cutout_has_its_frequency() -> None:
    cut = cutout(torch.ones(MANY, 1, 4, 4), 0.3)
    assert fraction((cut == 0).flatten(1).any(1)) == approx_fraction(0.3)


def test_flips_and_quarter_turns_are_exact() -> None:
    images = torch.randn(2, 3, 7, 7)
    assert close(warp(images, scaling(full(-1), full(1))), images.flip(3))
    for quarter_turns in range(4):
        turned = warp(images, rotation(full(quarter_turns * pi / 2)))
        assert close(turned, images.rot90(quarter_turns, (2, 3)))


def test_quarter_turn_keeps_the_proportions_of_a_non_square_image() -> None:
    images = torch.randn(2, 1, 6, 10)
    assert close(warp(images, rotation(full(pi))), images.flip(2, 3))
    turned = warp(images, rotation(full(pi / 2)))
    assert close(turned[:, :, :, 2:8], images[:, :, :, 2:8].rot90(1, (2, 3)))
    assert close(turned[:, :, :, 1], turned[:, :, :, 3]), "what is missing is reflected"


@pytest.mark.parametrize(("right", "down"), [(2, 0), (-3, 1), (0, -2)])
def test_translation_in_a_warp_pads_by_reflection(right: int, down: int) -> None:
    images = torch.randn(2, 3, 6, 8)
    changed = warp(images, translation(full(-right), full(-down)))  # a map goes from the output to the input
    mirrored = pad(images, (4, 4, 4, 4), mode="reflect")
    assert close(changed, mirrored[:, :, 4 - down : 10 - down, 4 - right : 12 - right])


def ramps(height: int, width: int) -> Tensor:
    """An image whose channels are its coordinates: x and y from the centre, in pixels."""
    x = torch.arange(width, dtype=torch.float64) - (width - 1) / 2
    y = torch.arange(height, dtype=torch.float64) - (height - 1) / 2
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width), torch.zeros(height, width)])[None]


@pytest.mark.parametrize("shape", [(5, 1, 1, 4), (5, 3, 4, 1), (2, 4, 1, 1)], ids=str)
def test_an_image_can_be_a_single_row_or_column(shape: tuple[int, ...]) -> None:
    """As the smallest ones of a network that grows to a wide or a tall image."""
    images = torch.randn(shape, requires_grad=True)
    mirrored = warp(images, scaling(full(-1, len(images)), full(1, len(images))))
    assert close(mirrored, images.flip(3))
    for name in POLICIES:
        changed = get_augmentation(name)(images, 1.0)
        assert changed.shape == shape
        assert changed.isfinite().all()
        (gradient,) = torch.autograd.grad(changed.sum(), images)
        assert gradient.isfinite().all()


def test_warp_samples_at_the_mapped_coordinates() -> None:
    """Bilinear sampling is exact on ramps, so the output is the sampled coordinates."""
    coordinates = ramps(11, 21)
    angle, size, right, down = radians(30), 0.5, 0.7, -1.2
    maps = translation(full(right, 1), full(down, 1)) @ rotation(full(angle, 1)) @ scaling(full(size, 1), full(size, 1))
    read = warp(coordinates, maps.double())
    x, y = coordinates[0, 0], coordinates[0, 1]
    inside = (x.abs() <= 4) & (y.abs() <= 4)  # the reflections are further out
    assert close(read[0, 0][inside], (size * (cos(angle) * x - sin(angle) * y) + right)[inside], 1e-6)
    assert close(read[0, 1][inside], (size * (sin(angle) * x + cos(angle) * y) + down)[inside], 1e-6)


def test_grid_sampling_equals_pytorch() -> None:
    images, grid = torch.randn(3, 2, 6, 5), torch.rand(3, 6, 5, 2) * 4 - 2
    ours, theirs = images.clone().requires_grad_(), images.clone().requires_grad_()
    weights = torch.randn(3, 2, 6, 5)
    sampled = augment._GridSample.apply(ours, grid)
    expected = grid_sample(theirs, grid, padding_mode="reflection", align_corners=True)
    assert torch.equal(sampled, expected)  # type: ignore[arg-type]
    (sampled * weights).sum().backward()  # type: ignore[operator]
    (expected * weights).sum().backward()
    assert torch.equal(ours.grad, theirs.grad)  # type: ignore[arg-type]


HEIGHT, WIDTH = 24, 40


def draw_transforms(p: float) -> tuple[Tensor, Tensor]:
    """ADA's random transforms of MANY images: the linear parts [n 2 2] and the offsets [n 2] of the maps."""
    maps = random_transform(torch.empty(MANY, 3, HEIGHT, WIDTH, dtype=torch.float64), p)
    assert (maps[:, 2] == torch.tensor([0.0, 0.0, 1.0])).all()
    return maps[:, :2, :2], maps[:, :2, 2]


@pytest.mark.parametrize("p", [0.3, 1.0])
def test_ada_flips_scales_and_stretches_follow_the_paper(p: float) -> None:
    linear, _ = draw_transforms(p)
    determinant = torch.linalg.det(linear)
    assert fraction(determinant < 0) == approx_fraction(p / 2)

    size = determinant.abs().log2() / 2
    resized = size.abs() > 1e-9
    assert fraction(resized) == approx_fraction(p)
    assert size[resized].std() == pytest.approx(0.2, rel=0.05)
    assert size[resized].mean() == pytest.approx(0, abs=0.015)

    first, second = torch.linalg.svdvals(linear).unbind(1)
    stretch = (first / second).log2() / 2  # its sign is lost
    stretched = stretch > 1e-9
    assert fraction(stretched) == approx_fraction(p)
    assert stretch[stretched].square().mean().sqrt() == pytest.approx(0.2, rel=0.05)


def test_ada_rotations_and_translations_follow_the_paper() -> None:
    """Measured on the samples without any other transformation."""
    p = 0.3
    linear, offset = draw_transforms(p)
    plain = (linear @ linear.mT - torch.eye(2)).abs().flatten(1).amax(1).lt(1e-9) & (torch.linalg.det(linear) > 0)
    linear, offset = linear[plain], offset[plain]
    angle = torch.atan2(linear[:, 1, 0], linear[:, 0, 0]) / (pi / 2)
    upright = (angle - angle.round()).abs() < 1e-9
    assert fraction(upright) == approx_fraction(1 - p, len(angle)), "one turn or both with probability p"
    for quarter_turns in range(4):
        expected = (1 - p) * (quarter_turns == 0) + p / 4
        assert fraction(angle[upright].round() % 4 == quarter_turns) == approx_fraction(expected, int(upright.sum()))

    shift = (linear.mT @ offset[:, :, None])[upright, :, 0]  # after the quarter turn
    drifts = (shift - shift.round()).abs().gt(1e-9).any(1)
    assert fraction(drifts) == approx_fraction(p, len(shift))
    steps = shift[~drifts].round().abs()
    assert steps.amax(0).tolist() == [WIDTH / 8, HEIGHT / 8]
    assert fraction(steps.sum(1) > 0) == approx_fraction(p * (1 - 1 / 10 * 1 / 6), len(steps))
    expected = [side * sqrt(1 / 64 + p / 192) for side in (WIDTH, HEIGHT)]
    assert shift[drifts].std(0).tolist() == pytest.approx(expected, rel=0.06)


def test_ada_transforms_compose_in_the_order_of_the_paper() -> None:
    """There is a rotation on either side of the stretch, and scaling also scales the translations before it."""
    linear, offset = draw_transforms(1.0)
    for turned in (linear @ linear.mT, linear.mT @ linear):  # diagonal without a rotation after, or before, the stretch
        assert fraction(turned[:, 0, 1].abs() > 0.01) > 0.8
    squared = exp(2 * (0.2 * log(2)) ** 2)  # E[s²] of a lognormal s: of the size, and of the stretch
    expected = (HEIGHT**2 + WIDTH**2) * (squared**2 / 64 + 1 / 192)  # the drift comes after both, steps before
    assert offset.square().sum(1).mean() == pytest.approx(expected, rel=0.04)


# Colour


def test_each_colour_factor_has_its_effect() -> None:
    images = torch.randn(2, 3, 5, 4)
    mean = images.mean(1, keepdim=True)
    one, none = full(1), full(0)
    assert torch.equal(recolour(images, one, one, none, shift=none), images)
    assert close(recolour(images, one, one, shift=full(0.4)), images + 0.4)
    assert close(recolour(images, full(1.5), full(1.5), shift=none), images * 1.5)
    assert close(recolour(images, one, full(0.2), shift=none), mean + 0.2 * (images - mean))
    flipped = recolour(images, full(-1), one, shift=none)
    assert close(flipped.mean(1, keepdim=True), -mean)
    assert close(flipped + mean, images - mean), "a luma flip keeps the colours"


def test_hue_rotates_about_the_grey_axis() -> None:
    images = torch.randn(2, 3, 5, 4)
    one, none = full(1), full(0)
    third = recolour(images, one, one, full(2 * pi / 3), shift=none)
    assert close(third, images.roll(1, 1)), "red becomes green, green blue, blue red"
    turned = recolour(images, one, one, full(0.7), shift=none)
    assert close(turned.mean(1), images.mean(1))
    assert close(turned.square().sum(1), images.square().sum(1))
    assert not close(turned, images, 0.1)
    assert close(recolour(turned, one, one, full(-0.7), shift=none), images)


def test_grey_image_is_recoloured_like_a_colour_image_without_chroma() -> None:
    grey = torch.randn(2, 1, 5, 4)
    luma, chroma, hue, shift = torch.randn(4, 2)
    coloured = recolour(grey.expand(-1, 3, -1, -1), luma, chroma, hue, shift=shift)
    assert close(recolour(grey, luma, chroma, hue, shift=shift).expand(-1, 3, -1, -1), coloured)


def test_alpha_is_warped_but_not_recoloured() -> None:
    images = torch.randn(2, 4, 5, 4)
    luma, chroma, hue, shift = torch.randn(4, 2)
    changed = recolour(images, luma, chroma, hue, shift=shift)
    assert torch.equal(changed[:, 3:], images[:, 3:])
    assert close(changed[:, :3], recolour(images[:, :3], luma, chroma, hue, shift=shift))
    assert close(warp(images, scaling(full(-1), full(1)))[:, 3], images[:, 3].flip(2))


def test_each_sample_has_its_own_colour_factors() -> None:
    images = torch.randn(3, 3, 5, 4)
    luma, chroma, hue, shift = torch.randn(4, 3)
    together = recolour(images, luma, chroma, hue, shift=shift)
    for i in range(3):
        alone = recolour(images[i : i + 1], luma[i : i + 1], chroma[i : i + 1], hue[i : i + 1], shift=shift[i : i + 1])
        assert close(together[i : i + 1], alone)


def measure_colours(
    policy: Callable[[Tensor, float], Tensor], p: float, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Tensor]:
    """Luma, chroma, hue and shift of each of many samples, measured on an image of black, grey and red."""
    for name in ("warp", "translate", "cutout"):
        monkeypatch.setattr(augment, name, lambda images, *_: images)
    probe = torch.tensor([[0.0, 0, 0], [0.5, 0.5, 0.5], [2 / 3, -1 / 3, -1 / 3]], dtype=torch.float64)
    out = policy(probe.T[None, :, :, None].expand(MANY, -1, -1, 1), p)[..., 0]  # [n rgb pixel]
    red = out[..., 2] - out[..., 0]
    across = torch.tensor([[1.0, -0.5, -0.5], [0, sqrt(3) / 2, -sqrt(3) / 2]], dtype=torch.float64)
    x, y = red @ across.T.unbind(1)[0], red @ across.T.unbind(1)[1]
    assert red.sum(1).abs().max() < 1e-9
    return {
        "luma": (out[..., 1] - out[..., 0]).mean(1) / 0.5,
        "chroma": torch.hypot(x, y),
        "hue": torch.atan2(y, x),
        "shift": out[..., 0].mean(1),
        "mean": probe.mean(),
    }


@pytest.mark.parametrize("p", [0.3, 1.0])
def test_ada_colour_factors_follow_the_paper(p: float, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = measure_colours(ada, p, monkeypatch)
    contrast = measured["luma"].abs()
    draws = {
        "brightness": (measured["shift"] / measured["luma"], 0.2),
        "contrast": (contrast.log2(), 0.5),
        "saturation": ((measured["chroma"] / contrast).log2(), 1.0),
        "hue": (measured["hue"], pi / sqrt(3)),
    }
    assert fraction(measured["luma"] < 0) == approx_fraction(p / 2)
    applied = {name: value.abs() > 1e-9 for name, (value, _) in draws.items()}
    for name, (value, deviation) in draws.items():
        assert fraction(applied[name]) == approx_fraction(p), name
        assert value[applied[name]].std() == pytest.approx(deviation, rel=0.04), name
        assert value[applied[name]].mean() == pytest.approx(0, abs=0.06 * deviation), name
    assert fraction(applied["brightness"] & applied["hue"]) == approx_fraction(p * p), "drawn independently"


@pytest.mark.parametrize("p", [0.3, 1.0])
def test_diffaugment_colour_factors_follow_the_paper(p: float, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = measure_colours(diffaugment, p, monkeypatch)
    draws = {
        "brightness": (measured["shift"] - (1 - measured["luma"]) * measured["mean"], 0, 0.5),
        "contrast": (measured["luma"], 1, 0.5),
        "saturation": (measured["chroma"] / measured["luma"], 1, 1),
    }
    for name, (value, middle, reach) in draws.items():
        applied = (value - middle).abs() > 1e-9
        assert fraction(applied) == approx_fraction(p), name
        assert value.min() == pytest.approx(middle - reach, abs=0.01), name
        assert value.max() == pytest.approx(middle + reach, abs=0.01), name
        assert value[applied].std() == pytest.approx(reach / sqrt(3), rel=0.04), name


def test_diffaugment_contrast_keeps_the_mean_of_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augment, "uniform", lambda images, low, high: full(0.0 if low < 0 else high, len(images)))
    monkeypatch.setattr(augment, "cutout", lambda images, p: images)
    images = torch.randn(4, 3, 6, 6) + torch.arange(4.0)[:, None, None, None]
    with_alpha = torch.cat([images, torch.ones(4, 1, 6, 6)], dim=1)
    changed = diffaugment(with_alpha, 1.0)[:, :3]  # contrast 1.5, saturation 2, no brightness, no translation
    assert close(changed.mean((1, 2, 3)), images.mean((1, 2, 3)))
    assert close(changed.mean(1).flatten(1).std(1), 1.5 * images.mean(1).flatten(1).std(1))


# Gradients


@pytest.mark.parametrize("shape", [(2, 1, 4, 5), (2, 3, 5, 4), (1, 4, 4, 4)], ids=str)
@pytest.mark.parametrize("name", POLICIES)
def test_first_and_second_order_gradients_equal_finite_differences(name: str, shape: tuple[int, ...]) -> None:
    def fixed(images: Tensor) -> Tensor:
        torch.manual_seed(5)
        return get_augmentation(name)(images, 0.8) ** 2  # squared: otherwise the second order would be 0

    images = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    assert not torch.equal(fixed(images), images**2)
    assert gradcheck(fixed, (images,))
    assert gradgradcheck(fixed, (images,), fast_mode=True)


@pytest.mark.parametrize("name", POLICIES)
def test_gradient_penalty_through_the_augmentation_has_gradients_for_d(name: str) -> None:
    images = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(3, 4, 4, dtype=torch.float64, requires_grad=True)

    def penalty(weights: Tensor) -> Tensor:
        torch.manual_seed(5)
        logits = (weights * get_augmentation(name)(images, 1.0)).tanh().sum()
        (gradient,) = torch.autograd.grad(logits, images, create_graph=True)
        return gradient.square().sum()

    assert penalty(weights) > 0
    assert gradcheck(penalty, (weights,))


# The controller

BATCH = 64


def update_four_times(controller: Ada, correct: float) -> None:
    """Four updates in which this fraction of the reals is classified as real."""
    for _ in range(ADJUST_EVERY):
        controller.record_logits(torch.where(torch.arange(BATCH) < correct * BATCH, 3.0, -0.1))
    controller.adjust(ADJUST_EVERY * BATCH)


def test_p_rises_while_d_is_overconfident_and_falls_otherwise_by_the_same_step() -> None:
    controller = Ada(target=0.6, kimg=500)
    step = 4 * BATCH / 500_000
    assert controller.p == 0
    for k in range(1, 4):
        update_four_times(controller, 0.85)  # r_t = 0.7
        assert controller.p.item() == pytest.approx(k * step)
    update_four_times(controller, 0.75)  # r_t = 0.5
    assert controller.p.item() == pytest.approx(2 * step)
    assert controller.signs.tolist() == [0, 0]


def test_p_rises_to_1_in_kimg_and_stays_a_probability() -> None:
    controller = Ada(target=0.6, kimg=2.56)  # ten steps
    update_four_times(controller, 0.0)
    assert controller.p == 0
    for k in range(1, 13):
        update_four_times(controller, 1.0)
        assert controller.p.item() == pytest.approx(min(1, k / 10))
    update_four_times(controller, 0.0)
    assert controller.p.item() == pytest.approx(0.9)


def test_only_signs_of_logits_count_and_without_them_p_stays() -> None:
    controller = Ada(target=0.5, kimg=1)
    controller.record_logits(torch.tensor([100.0, -1e-3, -1e-3, -1e-3]))
    assert controller.signs.tolist() == [-2, 4]
    controller.signs += torch.tensor([6.0, 4.0])  # another process: (4, 8) is exactly on target
    controller.adjust(8)
    assert controller.p == 0
    controller.p.fill_(0.5)
    controller.adjust(8)
    assert controller.p == 0.5


def test_several_logits_an_image_count_as_so_many_signs() -> None:
    logits = torch.tensor([[-1.0, 1, 1], [-1, 1, 1]])  # r_t is 1/3: the sum of the signs, 2, is as many as the images
    by_image, flat = Ada(0.6, 1), Ada(0.6, 1)
    for controller, recorded in ((by_image, logits), (flat, logits.flatten())):
        controller.p.fill_(0.5)
        controller.record_logits(recorded)
        assert controller.signs.tolist() == [2, 6]
        controller.adjust(8)
    assert by_image.p == flat.p
    assert flat.p.item() == pytest.approx(0.492)


def test_signs_are_taken_from_the_boundary_of_the_objective() -> None:
    """D(x) of a least-squares D at chance lies around 0.5, which is no reason for more augmentation."""
    config = replace(tiny(), objective="least-squares", augment="ada", ada_target=0.6, r1=0.0, r2=0.0)
    state = TrainState.build(config, Shape(1, 8, 8), torch.device("cpu"))
    assert state.ada is not None
    for parameter in state.game.D.parameters():
        parameter.requires_grad_(False).zero_()
    list(state.game.D.parameters())[-1].fill_(0.5)
    for parameter in state.game.D.parameters():
        parameter.requires_grad_()
    state.train_round([(torch.randint(0, 256, (20, 1, 8, 8), dtype=torch.uint8), None)], 0)
    assert state.ada.signs.tolist() == [0, 20]


def test_gradient_does_not_flow_into_the_controller() -> None:
    controller = Ada(0.6, 500)
    controller.record_logits(torch.randn(4, requires_grad=True))
    controller.adjust(4)
    assert not controller.p.requires_grad
    assert not list(controller.parameters())


def test_resumed_controller_equals_uninterrupted_controller() -> None:
    classified_real = [1.0] * 18 + [0.7] * 22  # r_t 1, then 0.4; the fifth adjustment sees two updates of each

    def run(controller: Ada, updates: range) -> list[Tensor]:
        history = []
        for update in updates:
            controller.record_logits(torch.where(torch.arange(BATCH) < classified_real[update] * BATCH, 1.0, -1.0))
            if (update + 1) % ADJUST_EVERY == 0:
                controller.adjust(ADJUST_EVERY * BATCH)
            history.append(controller.p.clone())
        return history

    uninterrupted = torch.stack(run(Ada(0.5, 3), range(40)))
    interrupted = Ada(0.5, 3)
    before = run(interrupted, range(18))  # the signs of two updates must survive as well as p
    resumed = Ada(0.5, 3)
    resumed.load_state_dict({name: value.clone() for name, value in interrupted.state_dict().items()})
    assert torch.equal(torch.stack(before + run(resumed, range(18, 40))), uninterrupted)
    assert uninterrupted.argmax() == 19, "five steps up, then down"
    assert uninterrupted[-1] == 0


def test_augmentations_take_p_of_the_controller() -> None:
    controller = Ada(0.6, 500)
    controller.p.fill_(0.3)
    cut = partial(cutout, p=controller.p)
    assert fraction((cut(torch.ones(MANY, 1, 4, 4)) == 0).flatten(1).any(1)) == approx_fraction(0.3)
