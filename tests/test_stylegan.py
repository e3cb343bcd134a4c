"""The small StyleGAN: layers by hand, exact growth, noise, classes, gradients."""

import copy
import math

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor
from torch.nn import functional as F

from ganvas.config.families import StyleGAN
from ganvas.networks import count_parameters, stylegan
from ganvas.networks.base import Shape
from ganvas.networks.equalised import EqualisedConv2d, EqualisedLinear, minibatch_stddev, pixel_norm
from ganvas.networks.layers import avg_downsample, resolutions, stage_widths, upsample

SMALL = StyleGAN(latent=8, mapping_layers=2, width=8)
SIZES = [(8, 8), (28, 28), (25, 40), (48, 64), (32, 32), (8, 65), (128, 8)]
GROWTHS = (0.0, 0.01, 0.77, 1.0)


def pair(shape: Shape, config: StyleGAN = SMALL) -> tuple[stylegan.Generator, stylegan.Discriminator]:
    """A pair with fixed weights, in evaluation mode, with nonzero noise strength and class embeddings."""
    torch.manual_seed(0)
    generator, discriminator = stylegan.Generator(config, shape).eval(), stylegan.Discriminator(config, shape)
    for layer in generator.layers:
        assert isinstance(layer, stylegan.SynthesisLayer)
        torch.nn.init.normal_(layer.noise_strength)
    torch.nn.init.normal_(generator.w_avg.value)
    if discriminator.head.embedding is not None:
        torch.nn.init.normal_(discriminator.head.embedding.weight)
    return generator, discriminator


def test_parameter_counts() -> None:
    generator, discriminator = pair(Shape(3, 32, 32), StyleGAN())
    assert (count_parameters(generator), count_parameters(discriminator)) == (4_520_076, 4_448_129)
    generator, discriminator = pair(Shape(1, 28, 28, 10), StyleGAN())
    assert (count_parameters(generator), count_parameters(discriminator)) == (4_535_940, 4_448_897)


@pytest.mark.parametrize(
    ("size", "channels", "classes"),
    [
        *((size, 3, 3) for size in SIZES),
        *((SIZES[2], *both) for both in [(1, 0), (4, 0), (1, 3)]),
    ],
)
def test_any_size_channels_and_classes_at_any_growth(size: tuple[int, int], channels: int, classes: int) -> None:
    shape = Shape(channels, *size, classes)
    generator, discriminator = pair(shape)
    generator.train()
    z, labels = torch.randn(2, 8), torch.tensor([0, 2]) if classes else None
    for growth in GROWTHS:
        generator.grow(growth)
        discriminator.grow(growth)
        d_input = generator.d_input(z, labels)
        assert d_input.shape == discriminator.d_input(torch.randn(2, *shape[:3])).shape
        assert d_input.shape[2:] == generator.sizes[generator.stage]
        assert discriminator(d_input, labels).shape == (2,)
        assert generator(z, labels).shape == generator.truncated(z, labels, 0.5).shape == (2, *shape[:3])


def test_resolutions_and_channels() -> None:
    assert resolutions(Shape(1, 32, 32)) == [(4, 4), (8, 8), (16, 16), (32, 32)]
    assert resolutions(Shape(1, 25, 40)) == [(2, 3), (4, 5), (7, 10), (13, 20), (25, 40)]
    assert stage_widths(256, 3, 9) == [256, 256, 256, 128, 64, 32, 16, 8, 8]
    assert stage_widths(4, 3, 5) == [4] * 5


@pytest.mark.parametrize("size", SIZES)
def test_avg_downsample_inverts_upsample_exactly(size: tuple[int, int]) -> None:
    for small, large in zip(resolutions(Shape(3, *size)), resolutions(Shape(3, *size))[1:], strict=False):
        x = torch.randn(2, 3, *small)
        assert upsample(x, large).shape[2:] == large
        assert torch.equal(avg_downsample(upsample(x, large)), x)


def test_avg_downsample_of_an_odd_side_averages_existing_pixels() -> None:
    x = torch.arange(6.0).view(1, 1, 2, 3)
    assert torch.equal(avg_downsample(x), torch.tensor([[[[2.0, 3.5]]]]))  # (0 1 3 4) / 4 and (2 5) / 2


def test_growth_sets_stage_and_alpha() -> None:
    generator, _ = pair(Shape(1, 32, 32))
    found = {}
    for twelfth in range(13):
        generator.grow(twelfth / 12)
        found[twelfth] = (generator.stage, generator.alpha)
    stages = {0: (0, 1), 1: (1, 0.5), 2: (1, 1), 3: (1, 1), 4: (1, 1), 5: (2, 0.5), 6: (2, 1), 7: (2, 1), 8: (2, 1)}
    assert found == stages | {9: (3, 0.5), 10: (3, 1), 11: (3, 1), 12: (3, 1)}


@pytest.mark.parametrize("size", [(16, 16), (25, 40)])
@torch.no_grad()
def test_fade_starts_at_the_previous_stage_and_ends_at_the_new_stage(size: tuple[int, int]) -> None:
    shape = Shape(3, *size)
    generator, discriminator = pair(shape)
    z, real = torch.randn(4, 8), torch.randn(4, *shape[:3])
    last = len(generator.sizes) - 1

    def at(growth: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """D's input from G, G's images, D's logits of that input, and of reals."""
        generator.grow(growth)
        discriminator.grow(growth)
        d_input = generator.d_input(z)
        return d_input, generator(z), discriminator(d_input), discriminator(discriminator.d_input(real))

    for stage in range(last):
        d_input, full, on_fake, on_real = at(stage / last)
        d_input_of_reals = discriminator.d_input(real)
        assert generator.stage == stage
        for network in (generator, discriminator):
            network.stage, network.alpha = stage + 1, 0.0
        assert torch.equal(generator.d_input(z), upsample(d_input, generator.sizes[stage + 1]))
        assert torch.equal(generator(z), full)
        assert torch.equal(discriminator.d_input(real), upsample(d_input_of_reals, generator.sizes[stage + 1]))
        assert torch.equal(discriminator(generator.d_input(z)), on_fake)
        assert torch.equal(discriminator(discriminator.d_input(real)), on_real)
        above = at((stage + 2e-4) / last)
        assert generator.stage == stage + 1
        for found, expected in zip(above[1:], (full, on_fake, on_real), strict=True):
            assert not torch.equal(found, expected)
            assert torch.allclose(found, expected, atol=0.02)

        half, middle = at((stage + 0.25) / last), at((stage + 0.5) / last)
        assert generator.alpha == 1
        assert not torch.allclose(half[0], middle[0], atol=0.1)
        almost = at((stage + 0.4999) / last)
        for found, expected in zip(almost, middle, strict=True):
            assert torch.allclose(found, expected, atol=0.02)
        for constant in ((stage + 0.9) / last, (stage + 1) / last):
            assert all(torch.equal(found, expected) for found, expected in zip(at(constant), middle, strict=True))
        new = copy.deepcopy(generator)
        torch.nn.init.zeros_(new.to_rgb[stage].weight)  # type: ignore[arg-type]
        assert torch.equal(new.d_input(z), generator.d_input(z))


def test_growth_is_kept_by_saved_weights_and_copies() -> None:
    shape = Shape(1, 32, 32)
    generator, discriminator = pair(shape)
    z = torch.randn(2, 8)
    for network, other in zip((generator, discriminator), pair(shape), strict=True):
        for growth in (0.4567891, 1 / 3, 0.0):
            network.grow(growth)
            weights = {name: tensor.detach().contiguous() for name, tensor in network.state_dict().items()}
            other.load_state_dict(load(save(weights)))
            for copied in (other, copy.deepcopy(network)):
                assert (copied.stage, copied.alpha) == (network.stage, network.alpha)
                assert float(copied.growth) == pytest.approx(growth)
    generator.grow(0.4)
    copied = copy.deepcopy(generator)
    assert torch.equal(copied(z), generator(z))
    copied.load_state_dict(pair(shape)[0].state_dict())
    assert (copied.stage, copied.alpha) == (3, 1)
    assert generator.alpha == pytest.approx(0.4)


def test_adain_gives_each_channel_the_mean_and_standard_deviation_of_the_style() -> None:
    x, style = 3 + 2 * torch.randn(3, 5, 7, 9), torch.randn(3, 10)
    y = stylegan.adain(x, style)
    assert torch.allclose(y.mean((2, 3)), style[:, 5:], atol=1e-5)
    assert torch.allclose(y.std((2, 3), correction=0), (1 + style[:, :5]).abs(), atol=1e-4)


@pytest.mark.parametrize(("n", "group"), [(8, 4), (6, 3), (2, 2), (1, 1), (5, 1)])
def test_minibatch_stddev_equals_the_value_by_hand(n: int, group: int) -> None:
    x = torch.randn(n, 3, 2, 5)
    y = minibatch_stddev(x)
    assert torch.equal(y[:, :3], x)
    for first in range(0, n, group):
        expected = x[first : first + group].numpy().std(axis=0).mean()
        found = y[first : first + group, 3]
        assert torch.allclose(found, torch.full_like(found, float(expected)), atol=1e-3 if group == 1 else 1e-6)
    x = torch.randn(n, 1, 1, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(minibatch_stddev, x)


def test_equalised_layers_are_scaled_in_the_forward_pass() -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 1000)
    for lr in (1.0, 0.01):
        linear = EqualisedLinear(1000, 500, gain=3.0, lr=lr)
        assert linear.weight.std().item() == pytest.approx(1 / lr, rel=0.02)
        assert linear(x).std().item() == pytest.approx(3, rel=0.02)
        torch.nn.init.constant_(linear.bias, 2.0)
        assert torch.allclose(linear(x) - x @ linear.weight.t() * (3 * lr / 1000**0.5), torch.tensor(2 * lr), atol=1e-4)
    conv = EqualisedConv2d(6, 5, 3)
    expected = F.conv2d(x.view(64, 10, 10, 10)[:, :6], conv.weight, padding=1) * math.sqrt(2 / 1.04 / 54)
    assert torch.allclose(conv(x.view(64, 10, 10, 10)[:, :6]), expected, atol=1e-5)
    assert torch.allclose(pixel_norm(x).square().mean(1), torch.ones(64))


@torch.no_grad()
def test_evaluation_is_deterministic_and_training_draws_noise() -> None:
    generator, _ = pair(Shape(1, 16, 16), StyleGAN(latent=8, mapping_layers=2, width=8, mixing_prob=0.0))
    z = torch.randn(2, 8)
    expected = generator(z)
    assert torch.equal(generator(z), expected)
    assert torch.allclose(generator(z[:1]), expected[:1], atol=1e-4)
    generator.train()
    assert not torch.allclose(generator(z), generator(z), atol=0.1)
    for layer in generator.layers:
        layer.noise_strength.zero_()  # type: ignore[operator]
    assert torch.equal(generator(z), generator(z))
    assert not torch.allclose(generator.eval()(z), expected, atol=0.1)


@torch.no_grad()
def test_style_mixing_uses_another_style_from_a_random_layer_on() -> None:
    generator, _ = pair(Shape(1, 32, 32), StyleGAN(latent=8, mapping_layers=2, width=8, mixing_prob=0.75))
    w = generator.map_latent(torch.randn(4000, 8))
    mixed = generator._mix_styles(w, None)
    assert torch.allclose(mixed[-1].std(dim=0), w.std(dim=0), rtol=0.1)  # the other styles have the same distribution
    own = (mixed == w).all(dim=2)  # [layers n]
    assert len(own) == 8
    assert own[0].all()
    assert (own[:-1] | ~own[1:]).all()  # never switches back
    assert 1 - own[-1].float().mean().item() == pytest.approx(0.75, abs=0.03)
    firsts = torch.bincount(own.sum(dim=0), minlength=9)
    assert firsts[0] == 0
    assert (firsts[1:8] / 3000 - 1 / 7).abs().max() < 0.03
    generator.grow(0)
    assert len(generator._mix_styles(w, None)) == 2


@torch.no_grad()
def test_truncation_interpolates_from_the_mean_image_to_each_image() -> None:
    generator, _ = pair(Shape(1, 16, 16))
    z = torch.randn(3, 8)
    full, mean, between = (generator.truncated(z, None, psi) for psi in (1.0, 0.0, 0.5))
    assert torch.equal(full, generator(z))
    assert torch.allclose(mean, mean[:1].expand_as(mean), atol=1e-5)
    assert 0.01 < between.std(dim=0).mean() < full.std(dim=0).mean()

    generator, _ = pair(Shape(1, 16, 16, 3))
    labels = torch.tensor([0, 1, 1])
    mean = generator.truncated(z, labels, 0.0)
    assert torch.allclose(mean[1], mean[2], atol=1e-5)
    assert not torch.allclose(mean[0], mean[1], atol=0.1)
    assert torch.equal(generator.truncated(z, labels, 1.0), generator(z, labels))


def test_w_avg_follows_each_class_in_training_only() -> None:
    z, labels = torch.randn(3, 8), torch.tensor([0, 2, 2])
    for classes, given, rows in ((0, None, {0: [0, 1, 2]}), (3, labels, {0: [0], 2: [1, 2]})):
        generator, _ = pair(Shape(1, 8, 8, classes))
        before = generator.w_avg.value.clone()
        generator(z, given)
        assert torch.equal(generator.w_avg.value, before)
        generator.train()
        generator.d_input(z, given)
        expected, w = before.clone(), generator.map_latent(z, given).detach()
        for row, members in rows.items():
            expected[row] = 0.995 * before[row] + 0.005 * w[members].mean(dim=0)
        assert torch.allclose(generator.w_avg.value, expected, atol=1e-6)


@torch.no_grad()
def test_class_affects_both_networks() -> None:
    generator, discriminator = pair(Shape(1, 16, 16, 3))
    z = torch.randn(1, 8)
    one, two = (generator(z, torch.tensor([label])) for label in (0, 1))
    assert not torch.allclose(one, two, atol=0.1)
    assert discriminator(one, torch.tensor([0])) != discriminator(one, torch.tensor([1]))


@pytest.mark.parametrize("growth", [0.0, 0.2, 0.6, 1.0])
def test_gradient_penalty_reaches_exactly_the_weights_of_d_in_use(growth: float) -> None:
    _, discriminator = pair(Shape(3, 16, 16, 2))
    discriminator.grow(growth)
    images = discriminator.d_input(torch.randn(8, 3, 16, 16)).requires_grad_()
    logits = discriminator(images, torch.tensor([0, 1]).repeat(4))
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    gradient.square().sum().backward(inputs=list(discriminator.parameters()))
    stage = discriminator.stage
    used = {f"from_rgb.{stage}.", "final.", "head."} | {f"blocks.{s}." for s in range(1, stage + 1)}
    if discriminator.alpha < 1:
        used.add(f"from_rgb.{stage - 1}.")
    for name, weight in discriminator.named_parameters():
        # D is piecewise linear after minibatch stddev, so biases there do not affect its gradient
        if name.endswith("weight"):
            assert (weight.grad is not None) == name.startswith(tuple(used)), name
            if weight.grad is not None:
                assert weight.grad.isfinite().all()
                assert weight.grad.abs().amax() > 0, name


@pytest.mark.parametrize("growth", [0.0, 0.2, 0.6, 1.0])
def test_exactly_the_weights_of_g_in_use_get_gradients(growth: float) -> None:
    generator, discriminator = pair(Shape(3, 16, 16, 2))
    generator.train().grow(growth)
    discriminator.grow(growth)
    labels = torch.tensor([0, 1, 0, 1])
    discriminator(generator.d_input(torch.randn(4, 8), labels), labels).sum().backward()
    stage = generator.stage
    used = {"mapping.", "constant", "latent_input.", f"to_rgb.{stage}."} | {
        f"layers.{i}." for i in range(2 * stage + 2)
    }
    if generator.alpha < 1:
        used.add(f"to_rgb.{stage - 1}.")
    for name, weight in generator.named_parameters():
        assert (weight.grad is not None) == name.startswith(tuple(used)), name
        if weight.grad is not None:
            assert weight.grad.isfinite().all()
            assert weight.grad.abs().amax() > 0, name
