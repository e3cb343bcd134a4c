"""R3GAN: the paper's sizes and initialisation, any image size, resampling, and second derivatives."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganvas.config import differences, leaves
from ganvas.config.families import R3GAN
from ganvas.game.objectives import zero_centred_penalty
from ganvas.networks import Shape, count_parameters
from ganvas.networks.casting import Conv2d
from ganvas.networks.layers import stage_widths
from ganvas.networks.r3gan import Discriminator, Downsample, Generator, ResidualBlock, Upsample, groups
from ganvas.recipes import get_recipe

SMALL = R3GAN(latent=6, width=8, blocks=1, group_size=4)
BINOMIAL = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]], dtype=torch.float64) / 16


def pair(config: R3GAN, shape: Shape) -> tuple[Generator, Discriminator]:
    return Generator(config, shape), Discriminator(config, shape)


def randomise(network: nn.Module) -> nn.Module:
    """The network with random weights and biases instead of zeros."""
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    return network


@pytest.mark.parametrize(("classes", "g", "d"), [(10, 20_781_952, 21_280_512), (0, 20_732_160, 20_683_776)])
def test_networks_have_the_published_parameter_counts(classes: int, g: int, d: int) -> None:
    generator, discriminator = pair(R3GAN(), Shape(3, 32, 32, classes))
    assert (count_parameters(generator), count_parameters(discriminator)) == (g, d)


@pytest.mark.parametrize(
    "size", [(8, 8), (8, 23), (25, 40), (28, 28), (32, 32), (48, 64), (65, 64), (8, 65), (128, 8), (16, 256)]
)
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("classes", [0, 3])
def test_any_size_channels_and_classes(size: tuple[int, int], channels: int, classes: int) -> None:
    generator, discriminator = pair(SMALL, Shape(channels, *size, classes))
    labels = torch.tensor([0, 2]) if classes else None
    images = generator(torch.randn(2, 6), labels)
    assert images.shape == (2, channels, *size)
    assert discriminator(images, labels).shape == (2,)
    assert max(generator.basis.shape[2:]) <= 4
    assert generator.basis.shape == discriminator.pooling.shape


def test_width_is_constant_up_to_32_and_then_halves() -> None:
    assert stage_widths(768, 4, 9) == [768, 768, 768, 768, 384, 192, 96, 48, 24]
    assert stage_widths(64, 1, 4) == [64, 32, 16, 8]
    assert stage_widths(16, 4, 7)[-1] == 8  # the minimum
    generator, discriminator = pair(R3GAN(width=32, blocks=1), Shape(3, 128, 128))
    wide = [m[0].in_channels for m in generator.modules() if isinstance(m, ResidualBlock)]
    assert wide == [32, 32, 32, 32, 16, 8]
    assert [m[0].in_channels for m in discriminator.modules() if isinstance(m, ResidualBlock)] == wide[::-1]
    assert [type(m) for m in generator.layers][-6:] == 2 * [Conv2d, Upsample, ResidualBlock]
    assert [type(m) for m in discriminator.layers][:6] == 2 * [ResidualBlock, Downsample, Conv2d]


@pytest.mark.parametrize(
    ("channels", "size", "number"), [(1536, 16, 96), (48, 16, 3), (24, 16, 1), (40, 16, 2), (100, 16, 5), (8, 16, 1)]
)
def test_number_of_groups_divides_the_channels_and_keeps_the_group_size(channels: int, size: int, number: int) -> None:
    assert groups(channels, size) == number


def test_class_affects_both_networks() -> None:
    generator, discriminator = pair(SMALL, Shape(1, 16, 16, 3))
    z = torch.randn(1, 6)
    one, two = (generator(z, torch.tensor([c])) for c in (0, 1))
    assert not torch.equal(one, two)
    assert discriminator(one, torch.tensor([0])) != discriminator(one, torch.tensor([1]))


@pytest.mark.parametrize("classes", [0, 3])
def test_first_and_last_layers_equal_the_formulas_by_hand(classes: int) -> None:
    generator, discriminator = pair(SMALL, Shape(1, 8, 8, classes))
    z, labels = torch.randn(2, 6), torch.tensor([2, 0]) if classes else None
    seed = z if labels is None else torch.cat([z, generator.embedding.weight[labels]], 1)  # type: ignore[union-attr]
    start = torch.einsum("chw,nz,cz->nchw", generator.basis[0], seed, generator.dense.weight)
    assert torch.allclose(generator(z, labels), generator.to_image(generator.layers(start)), atol=1e-5)

    images, head = torch.randn(2, 1, 8, 8), discriminator.head
    last = discriminator.layers(discriminator.from_image(images))
    features = F.conv2d(last, discriminator.pooling.transpose(0, 1), groups=8).flatten(1) @ head.linear.weight.t()
    logits = features[:, 0] if labels is None else (features * head.embedding.weight[labels]).sum(1)  # type: ignore[union-attr]
    assert torch.allclose(discriminator(images, labels), logits, atol=1e-5)


def test_initialisation_is_that_of_the_paper() -> None:
    torch.manual_seed(0)
    generator, discriminator = pair(R3GAN(width=128), Shape(3, 32, 32, 10))
    blocks = [m for network in (generator, discriminator) for m in network.modules() if isinstance(m, ResidualBlock)]
    assert len(blocks) == 2 * 8
    gain = math.sqrt(2 / 1.04) * 8**-0.25
    for block in blocks:
        expand, expand_bias, mix, mix_bias, project = block.parameters()
        assert expand.std().item() == pytest.approx(gain / math.sqrt(128), rel=0.03)
        assert mix.std().item() == pytest.approx(gain / math.sqrt(16 * 9), rel=0.03)
        assert not any(zero.any() for zero in (expand_bias, mix_bias, project))
    for weight, std in [
        (generator.basis, 1),
        (generator.dense.weight, 1 / math.sqrt(128)),
        (generator.embedding.weight, 1 / math.sqrt(10)),  # type: ignore[union-attr]
        (generator.to_image.weight, 1 / math.sqrt(128)),
        (discriminator.from_image.weight, 1 / math.sqrt(3)),
        (discriminator.pooling, 1 / 4),
        (discriminator.head.linear.weight, 1 / math.sqrt(128)),
        (discriminator.head.embedding.weight, 1 / math.sqrt(10 * 128)),  # type: ignore[union-attr]
    ]:
        assert weight.std().item() == pytest.approx(std, rel=0.15)


def test_every_block_starts_as_the_identity_and_both_networks_as_linear() -> None:
    generator, discriminator = pair(SMALL, Shape(3, 28, 28))
    for network in (generator, discriminator):
        for block in (m for m in network.modules() if isinstance(m, ResidualBlock)):
            x = torch.randn(2, next(block.parameters()).shape[1], 5, 4)
            assert torch.equal(block(x), x)
    z, images = torch.randn(3, 6), torch.randn(3, 3, 28, 28)
    assert torch.allclose(generator(3 * z), 3 * generator(z), atol=1e-5)  # no tanh
    assert torch.allclose(discriminator(3 * images), 3 * discriminator(images), atol=1e-5)  # no bias
    randomise(generator)
    assert not torch.allclose(generator(3 * z), 3 * generator(z), atol=1e-2)


def test_impulse_response_of_resampling() -> None:
    one = torch.ones(1, 1, 1, 1)
    inside = F.pad(one, (2, 2, 2, 2))
    assert Upsample((10, 10))(inside)[0, 0, 3:6, 3:6].tolist() == (4 * BINOMIAL).tolist()
    assert Upsample((10, 10))(inside).sum() == 4
    impulse = F.pad(one, (3, 3, 2, 4))  # an odd column, an even row: it reaches two pixels
    assert Downsample()(impulse)[0, 0].tolist() == [[0, 0, 0, 0], [0, 1 / 8, 1 / 8, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_resampling_keeps_a_constant_except_at_one_border() -> None:
    for height, width in ((8, 6), (7, 5)):
        down = Downsample()(torch.ones(1, 1, height, width))[0, 0]
        assert down.shape == (-(-height // 2), -(-width // 2))
        assert (down[1:-1, 1:-1] == 1).all()
        up = Upsample((2 * height, 2 * width))(torch.ones(1, 1, height, width))[0, 0]
        assert up.shape == (2 * height, 2 * width)
        assert (up[:-1, :-1] == 1).all()


@pytest.mark.parametrize("size", [(4, 6), (5, 4), (3, 7)])
def test_resampling_equals_a_convolution_and_its_transpose(size: tuple[int, int]) -> None:
    x = torch.randn(2, 2, *size, dtype=torch.float64, requires_grad=True)
    kernel = BINOMIAL.expand(2, 1, 3, 3)
    small = Downsample()(x)
    assert torch.allclose(small, F.conv2d(x, kernel, stride=2, padding=1, groups=2))
    up = Upsample(size)
    large = F.conv_transpose2d(small, 4 * kernel, stride=2, padding=1, output_padding=1, groups=2)
    assert torch.allclose(up(small), large[:, :, : size[0], : size[1]])
    y = torch.randn_like(small)
    assert torch.allclose(4 * (small * y).sum(), (x * up(y)).sum())
    assert torch.autograd.gradcheck(lambda x: up(Downsample()(x)), x)
    assert torch.autograd.gradgradcheck(lambda x: up(Downsample()(x)), x)


@pytest.mark.parametrize("classes", [0, 3])
def test_gradient_penalty_reaches_every_weight_of_d(classes: int) -> None:
    torch.manual_seed(0)
    discriminator = Discriminator(SMALL, Shape(3, 20, 28, classes)).double()
    images = torch.randn(4, 3, 20, 28, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 1, 2, 0]) if classes else None

    def weights_with_gradients() -> dict[str, bool]:
        discriminator.zero_grad()
        zero_centred_penalty(images, discriminator(images, labels)).mean().backward()
        gradients = {n: p.grad for n, p in discriminator.named_parameters() if p.ndim > 1}
        assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients.values())
        return {name: bool(gradient.any()) for name, gradient in gradients.items() if gradient is not None}

    # layers in front of a zero weight affect neither the logits nor their gradient yet
    start = weights_with_gradients()
    assert {n for n, r in start.items() if not r} == {n for n in start if n.endswith((".0.weight", ".2.weight"))}
    randomise(discriminator)
    assert all(weights_with_gradients().values())


def test_second_derivatives_are_right_for_nonlinear_blocks() -> None:
    torch.manual_seed(0)
    discriminator = randomise(
        Discriminator(R3GAN(latent=4, width=8, blocks=1, group_size=8), Shape(1, 8, 9, 2)).double()
    )
    images = torch.randn(2, 1, 8, 9, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 1])
    assert torch.autograd.gradcheck(lambda x: discriminator(x, labels), images)
    assert torch.autograd.gradgradcheck(lambda x: discriminator(x, labels), images)


def test_every_weight_of_g_gets_a_gradient() -> None:
    generator = randomise(Generator(SMALL, Shape(3, 20, 28, 3)))
    generator(torch.randn(3, 6), torch.tensor([0, 1, 2])).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in generator.parameters())


def test_copy_gives_the_same_output_and_the_state_is_plain_tensors() -> None:
    for network, x in zip(pair(SMALL, Shape(1, 20, 12)), (torch.randn(3, 6), torch.randn(3, 1, 20, 12)), strict=True):
        copied = copy.deepcopy(randomise(network))
        assert torch.equal(network(x), copied(x))
        assert all(type(value) is Tensor for value in network.state_dict().values())
        assert network.state_dict().keys() == dict(network.named_parameters()).keys()
        fresh = type(network)(SMALL, Shape(1, 20, 12))
        assert not torch.equal(network(x), fresh(x))
        fresh.load_state_dict(network.state_dict())
        assert torch.equal(network(x), fresh(x))


BURN_IN = 20_000_000
PRESET = {
    "g_lr": (2e-4, 5e-5),
    "d_lr": (2e-4, 5e-5),
    "beta2": (0.9, 0.99),
    "r1": (0.05, 0.005),
    "r2": (0.05, 0.005),
    "ema": (0, 5000),  # half-life in kimg
    "augment_p": (0, 0.55),
}
"""Start and end of the authors' cosine schedules: Huang et al. 2024, Table 9, column CIFAR-10; the same values in
github.com/brownvc/R3GAN, commit 19a7ddf, train.py, preset "CIFAR10"."""

SETTINGS = {
    "objective": "rpgan",
    "data": "cifar10",
    "mirror": True,  # --mirror=1
    "conditional": True,  # --cond=1
    "augment": "ada",  # --aug=1
    "ada_target": 0.0,  # p has a schedule
    "batch": 512,
    "kimg": 250_000,
    "optimiser": "adam",
    "beta1": 0.0,
    "penalty_every": 1,
    "d_steps": 1,
    "g_steps": 1,
    "shared_fakes": False,  # each update draws its own z
    "ema_warmup": 0.0,  # the schedule of the half-life is the only warm-up
    "latent": 64,
    "width": 768,
    "blocks": 2,
    "group_size": 1536 // 96,
}
"""The authors' constants: the same sources, and the command for CIFAR-10 in their README."""


def test_recipe_has_the_authors_cifar10_settings() -> None:
    config = get_recipe("r3gan").config
    knobs = dict(leaves(config))
    assert {name: knobs[name] for name in SETTINGS} == SETTINGS
    schedules = config.schedules()
    for name, (start, end) in PRESET.items():
        for nimg in (0, 1_000_000, 7_300_000, 10_000_000, BURN_IN, 100_000_000, 250_000_000):
            decay = (1 + math.cos(math.pi * min(nimg / BURN_IN, 1))) / 2
            expected = end + (start - end) * decay
            assert schedules[name].at(nimg, nimg / config.total_images) == pytest.approx(expected), (name, nimg)
            assert schedules[name].at(nimg, nimg / 10_000_000) == pytest.approx(expected), "independent of the length"


def test_short_recipe_differs_only_in_the_listed_knobs() -> None:
    changed = differences(get_recipe("r3gan").config, get_recipe("r3gan-short").config)
    values = {name: value for name, _, value in changed}
    assert values == {
        "kimg": 20_000,
        "conditional": False,
        "augment": "none",
        "augment_p": 1.0,
        "shared_fakes": True,
        "r1": "0.05..0.005:cosine@0-0.2",
        "r2": "0.05..0.005:cosine@0-0.2",
        "g_lr": "2e-4..5e-5:cosine@0-0.2",
        "d_lr": "2e-4..5e-5:cosine@0-0.2",
        "beta2": "0.9..0.99:cosine@0-0.2",
        "ema": "0..500:cosine@0-0.2",
        "ema_warmup": 0.05,
        "snapshot_kimg": None,
    }
