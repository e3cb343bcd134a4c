"""The plain and the residual networks: parameter counts, any image size, blocks by hand, conditional batch norm."""

import copy
import math
from typing import Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from ganvas.config.families import ResNet
from ganvas.game.objectives import zero_centred_penalty
from ganvas.networks import Shape, count_parameters
from ganvas.networks.layers import StridedConv2d
from ganvas.networks.resnet import Discriminator, DiscriminatorBlock, Generator, GeneratorBlock, NormReLU

PLAIN = ResNet(latent=6, g_width=4, d_width=4)
RESIDUAL = ResNet(blocks="residual", latent=6, g_width=4, d_width=4)
BOTH = pytest.mark.parametrize("config", [PLAIN, RESIDUAL], ids=["plain", "residual"])


def pair(config: ResNet, shape: Shape) -> tuple[Generator, Discriminator]:
    return Generator(config, shape), Discriminator(config, shape)


@pytest.mark.parametrize(
    ("blocks", "classes", "g", "d"),
    [
        ("plain", 0, 4_897_795, 2_636_673),
        ("plain", 10, 5_005_059, 2_718_593),
        ("residual", 0, 1_204_483, 1_053_825),
        ("residual", 10, 1_241_091, 1_055_105),
    ],
)
def test_parameter_counts_at_32_by_32(blocks: Literal["plain", "residual"], classes: int, g: int, d: int) -> None:
    generator, discriminator = pair(ResNet(blocks=blocks), Shape(3, 32, 32, classes))
    assert (count_parameters(generator), count_parameters(discriminator)) == (g, d)


@pytest.mark.parametrize(
    "size", [(8, 8), (8, 23), (25, 40), (28, 28), (32, 32), (48, 64), (65, 64), (8, 65), (128, 8), (16, 256)]
)
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("classes", [0, 3])
@BOTH
def test_any_size_channels_and_classes(config: ResNet, size: tuple[int, int], channels: int, classes: int) -> None:
    generator, discriminator = pair(config, Shape(channels, *size, classes))
    labels = torch.tensor([0, 2]) if classes else None
    images = generator(torch.randn(2, 6), labels)
    assert images.shape == (2, channels, *size)
    assert images.abs().max() <= 1
    assert discriminator(images, labels).shape == (2,)


def sizes_of(network: nn.Module, kind: type[nn.Module], *inputs: Tensor) -> list[tuple[int, ...]]:
    shapes: list[tuple[int, ...]] = []
    for module in network.modules():
        if isinstance(module, kind):
            module.register_forward_hook(lambda _, __, out: shapes.append(tuple(out.shape[1:])))
    network(*inputs)
    return shapes


def test_plain_networks_use_the_same_sizes() -> None:
    generator, discriminator = pair(PLAIN, Shape(1, 25, 40))
    down = sizes_of(discriminator, StridedConv2d, torch.zeros(2, 1, 25, 40))
    assert down == [(4, 13, 20), (8, 7, 10), (16, 4, 5), (16, 2, 3)]
    assert generator.start_shape == down[-1]
    assert sizes_of(generator, GeneratorBlock, torch.zeros(2, 6)) == [(16, 4, 5), (16, 7, 10), (8, 13, 20), (4, 25, 40)]


def test_residual_networks_keep_their_width() -> None:
    generator, discriminator = pair(RESIDUAL, Shape(1, 25, 40))
    down = sizes_of(discriminator, DiscriminatorBlock, torch.zeros(2, 1, 25, 40))
    assert down == [(4, 13, 20), (4, 7, 10), (4, 4, 5), (4, 4, 5), (4, 4, 5)]
    assert generator.start_shape == (4, 2, 3)
    assert sizes_of(generator, GeneratorBlock, torch.zeros(2, 6)) == [(4, 4, 5), (4, 7, 10), (4, 13, 20), (4, 25, 40)]


@pytest.mark.parametrize("classes", [0, 3])
def test_generator_blocks_equal_the_formulas(classes: int) -> None:
    block = GeneratorBlock(5, 4, (6, 7), RESIDUAL, classes)
    x, labels = torch.randn(3, 5, 3, 4), torch.tensor([2, 0, 2]) if classes else None

    def normed(x: Tensor) -> Tensor:
        return F.batch_norm(x, None, None, training=True).relu()  # every class starts with scale 1 and shift 0

    def larger(x: Tensor) -> Tensor:
        return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)[:, :, :6, :7]

    by_hand = block.conv2(normed(block.conv1(larger(normed(x))))) + block.shortcut(larger(x))
    assert torch.allclose(block(x, labels), by_hand, atol=1e-5)
    plain = GeneratorBlock(5, 4, (6, 7), PLAIN, classes)
    assert torch.allclose(plain(x, labels), plain.conv1(larger(normed(x))), atol=1e-5)


def test_discriminator_blocks_equal_the_formulas() -> None:
    x = torch.randn(2, 4, 7, 6)
    first, down = DiscriminatorBlock(4, 5, downsample=True, first=True), DiscriminatorBlock(4, 5, downsample=True)
    same = DiscriminatorBlock(4, 4, downsample=False)

    def pool(x: Tensor) -> Tensor:  # the mean of the pixels inside the image
        padded, ones = F.pad(x, (0, 0, 0, 1)), F.pad(torch.ones_like(x), (0, 0, 0, 1))
        return F.avg_pool2d(padded, 2) / F.avg_pool2d(ones, 2)

    by_hand = pool(first.conv2(first.conv1(x).relu())) + first.shortcut(pool(x))
    assert torch.allclose(first(x), by_hand, atol=1e-5)
    by_hand = pool(down.conv2(down.conv1(x.relu()).relu())) + pool(down.shortcut(x))
    assert torch.allclose(down(x), by_hand, atol=1e-5)
    assert torch.allclose(same(x), same.conv2(same.conv1(x.relu()).relu()) + x)


def test_d_has_one_first_block_and_averages_its_last_features() -> None:
    discriminator = Discriminator(RESIDUAL, Shape(3, 16, 16))
    first, *blocks = (m for m in discriminator.modules() if isinstance(m, DiscriminatorBlock))
    assert [first.first, *(m.first for m in blocks)] == [True, False, False]
    assert [first.downsample, *(m.downsample for m in blocks)] == [True, False, False]
    x = images = torch.randn(2, 3, 16, 16)
    for block in (first, *blocks):
        x = block(x)
    assert torch.allclose(discriminator(images), discriminator.head(x.relu().mean(dim=(2, 3)), None))


@BOTH
def test_class_affects_both_networks(config: ResNet) -> None:
    generator, discriminator = pair(config, Shape(1, 16, 16, 3))
    generator.eval()
    z = torch.randn(1, 6)
    one, two = (generator(z, torch.tensor([c])) for c in (0, 1))
    assert not torch.equal(one, two)
    assert discriminator(one, torch.tensor([0])) != discriminator(one, torch.tensor([1]))


def test_conditional_batch_norm_has_a_scale_and_shift_per_class() -> None:
    layer = NormReLU(5, "batch", 3)
    assert layer.scale is not None
    assert layer.shift is not None
    assert (layer.scale.weight == 1).all()
    assert (layer.shift.weight == 0).all()
    nn.init.normal_(layer.scale.weight)
    nn.init.normal_(layer.shift.weight)
    x, labels = torch.randn(4, 5, 3, 2), torch.tensor([1, 0, 1, 2])
    mean, variance = x.mean(dim=(0, 2, 3), keepdim=True), x.var(dim=(0, 2, 3), keepdim=True, correction=0)
    normal = (x - mean) / torch.sqrt(variance + 1e-5)
    for i, c in enumerate(labels.tolist()):
        by_hand = layer.scale.weight[c, :, None, None] * normal[i] + layer.shift.weight[c, :, None, None]
        assert torch.allclose(layer(x, labels)[i], by_hand.relu(), atol=1e-5)
    layer(x, labels).sum().backward()
    assert all(p.grad is not None and p.grad.any(dim=1).all() for p in (layer.scale.weight, layer.shift.weight))


@pytest.mark.parametrize("classes", [0, 3])
@BOTH
def test_batch_norm_is_in_g_only_and_can_be_switched_off(config: ResNet, classes: int) -> None:
    shape = Shape(1, 16, 16, classes)
    generator, discriminator = pair(config, shape)
    norms = [module for module in generator.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == (3 if config is PLAIN else 5)
    assert all(norm.affine != bool(classes) for norm in norms)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in discriminator.modules())
    bare = Generator(ResNet(blocks=config.blocks, latent=6, g_width=4, g_norm="none"), shape)
    assert not any(isinstance(module, nn.BatchNorm2d | nn.Embedding) for module in bare.modules())
    z, labels = torch.randn(4, 6), torch.tensor([0, 1, 2, 0]) if classes else None
    assert torch.allclose(bare(z, labels)[:1], bare(z[:1], None if labels is None else labels[:1]), atol=1e-6)


@pytest.mark.parametrize("classes", [0, 3])
@BOTH
def test_every_weight_of_g_gets_a_gradient(config: ResNet, classes: int) -> None:
    generator = Generator(config, Shape(3, 20, 28, classes))
    labels = torch.tensor([0, 1, 2, 0]) if classes else None
    (generator(torch.randn(4, 6), labels) - 0.5).square().mean().backward()
    gradients = [p.grad for p in generator.parameters() if p.ndim > 1]
    assert all(gradient is not None and gradient.isfinite().all() and gradient.any() for gradient in gradients)


@pytest.mark.parametrize("normal", [False, True], ids=["", "spectral norm"])
@pytest.mark.parametrize("classes", [0, 3])
@BOTH
def test_gradient_penalty_reaches_every_weight_of_d(config: ResNet, classes: int, normal: bool) -> None:
    torch.manual_seed(0)
    discriminator = Discriminator(config, Shape(3, 20, 28, classes))
    if normal:
        for module in list(discriminator.modules()):
            if isinstance(module, nn.Conv2d | nn.Linear | nn.Embedding):
                spectral_norm(module)
    images = torch.randn(4, 3, 20, 28, requires_grad=True)
    logits = discriminator(images, torch.tensor([0, 1, 2, 0]) if classes else None)
    assert logits.isfinite().all()
    zero_centred_penalty(images, logits).mean().backward()
    gradients = [p.grad for p in discriminator.parameters() if p.ndim > 1]
    assert len(gradients) == (3 if config is PLAIN else 4 * 2 + 2) + 1 + bool(classes)
    assert all(gradient is not None and gradient.isfinite().all() and gradient.any() for gradient in gradients)


@BOTH
def test_second_derivatives_of_d_are_right(config: ResNet) -> None:
    torch.manual_seed(0)
    discriminator = Discriminator(config, Shape(1, 8, 9)).double()
    images = torch.randn(2, 1, 8, 9, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(discriminator, images)
    assert torch.autograd.gradgradcheck(discriminator, images)


def test_weights_start_glorot_uniform() -> None:
    torch.manual_seed(0)
    for network in pair(ResNet(blocks="residual", g_width=32, d_width=32), Shape(3, 32, 32, 10)):
        for name, module in network.named_modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                fan_in, fan_out = module.weight[0].numel(), module.weight[:, 0].numel()
                bound = math.sqrt((12 if "conv" in name else 6) / (fan_in + fan_out))
                assert 0.85 * bound < module.weight.abs().max() <= bound
                assert not module.bias.any()  # type: ignore[union-attr]


@BOTH
def test_dropout_is_random_only_in_training(config: ResNet) -> None:
    discriminator = Discriminator(ResNet(blocks=config.blocks, d_width=8, dropout=0.5), Shape(1, 16, 16))
    images = torch.randn(4, 1, 16, 16)
    assert not torch.equal(discriminator(images), discriminator(images))
    discriminator.eval()
    assert torch.equal(discriminator(images), discriminator(images))


@BOTH
def test_copy_gives_the_same_output_and_the_state_is_plain_tensors(config: ResNet) -> None:
    labels = torch.tensor([0, 1, 2])
    shape = Shape(1, 20, 12, 3)
    for network, x in zip(pair(config, shape), (torch.randn(3, 6), torch.randn(3, 1, 20, 12)), strict=True):
        copied = copy.deepcopy(network)
        assert torch.equal(network(x, labels), copied(x, labels))
        assert all(type(value) is Tensor for value in network.state_dict().values())
        fresh = type(network)(config, shape)
        fresh.load_state_dict(network.state_dict())
        assert torch.equal(network.eval()(x, labels), fresh.eval()(x, labels))
