"""MSG-GAN: the packed pyramid, D's input, truncation, classes, gradients."""

import copy

import pytest
import torch
from safetensors.torch import load, save

from ganvas.config.families import MSG
from ganvas.networks import count_parameters, msg
from ganvas.networks.base import Shape
from ganvas.networks.layers import avg_downsample

SMALL = MSG(latent=8, width=8)
SIZES = [(8, 8), (28, 28), (25, 40), (48, 64), (32, 32), (8, 65), (128, 8)]


def pair(shape: Shape, config: MSG = SMALL) -> tuple[msg.Generator, msg.Discriminator]:
    """A pair with fixed weights and nonzero class embeddings."""
    torch.manual_seed(0)
    generator, discriminator = msg.Generator(config, shape), msg.Discriminator(config, shape)
    if discriminator.head.embedding is not None:
        torch.nn.init.normal_(discriminator.head.embedding.weight)
    return generator, discriminator


def test_parameter_counts() -> None:
    generator, discriminator = pair(Shape(3, 32, 32), MSG())
    assert (count_parameters(generator), count_parameters(discriminator)) == (3_924_108, 4_471_553)
    generator, discriminator = pair(Shape(1, 28, 28, 10), MSG())
    assert (count_parameters(generator), count_parameters(discriminator)) == (4_447_876, 4_460_033)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("channels", "classes"), [(1, 0), (3, 3), (4, 0), (1, 3)])
def test_any_size_channels_and_classes(size: tuple[int, int], channels: int, classes: int) -> None:
    shape = Shape(channels, *size, classes)
    generator, discriminator = pair(shape)
    z, labels = torch.randn(2, 8), torch.tensor([0, 2]) if classes else None
    images, d_input = generator(z, labels), generator.d_input(z, labels)
    assert images.shape == generator.truncated(z, labels, 0.5).shape == (2, *shape[:3])
    assert d_input.shape == discriminator.d_input(images).shape
    assert d_input.shape == (2, channels * sum(h * w for h, w in generator.sizes))
    assert discriminator(d_input, labels).shape == (2,)
    assert torch.equal(msg.unpack(d_input, channels, generator.sizes)[-1], images)


def test_unpack_inverts_pack_without_a_copy() -> None:
    sizes = [(2, 3), (4, 5), (7, 10)]
    pyramid = [torch.randn(4, 3, *size) for size in sizes]
    packed = msg.pack(pyramid)
    assert packed.shape == (4, 3 * (6 + 20 + 70))
    again = msg.unpack(packed, 3, sizes)
    assert all(torch.equal(one, two) for one, two in zip(pyramid, again, strict=True))
    assert {part.untyped_storage().data_ptr() for part in again} == {packed.untyped_storage().data_ptr()}
    channels_last = [images.contiguous(memory_format=torch.channels_last) for images in pyramid]
    assert torch.equal(msg.pack(channels_last), packed)


def test_d_input_of_reals_is_a_pyramid_of_averages() -> None:
    shape = Shape(1, 25, 40)
    _, discriminator = pair(shape)
    images = torch.randn(2, 1, 25, 40)
    *coarser, finest = msg.unpack(discriminator.d_input(images), 1, discriminator.sizes)
    assert torch.equal(finest, images)
    for below, above in zip(reversed(coarser), reversed([*coarser[1:], finest]), strict=True):
        assert torch.equal(below, avg_downsample(above))
    assert coarser[-1][1, 0, 12, 3] == images[1, 0, 24, 6:8].mean()


def test_d_uses_every_scale_and_all_weights_of_g_get_gradients() -> None:
    generator, discriminator = pair(Shape(3, 25, 40))
    d_input = generator.d_input(torch.randn(4, 8))
    logits = discriminator(d_input)
    (gradient,) = torch.autograd.grad(logits.sum(), d_input, retain_graph=True)
    for part in msg.unpack(gradient, 3, generator.sizes):
        assert (part.abs().amax(dim=(2, 3)) > 0).all()
    logits.sum().backward()
    for name, weight in generator.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all()
        assert weight.grad.abs().amax() > 0, name


def test_gradient_penalty_reaches_every_weight_of_d() -> None:
    _, discriminator = pair(Shape(3, 16, 16, 2))
    images = discriminator.d_input(torch.randn(8, 3, 16, 16)).requires_grad_()
    logits = discriminator(images, torch.tensor([0, 1]).repeat(4))
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    gradient.square().sum().backward(inputs=list(discriminator.parameters()))
    for name, weight in discriminator.named_parameters():
        if name.endswith("weight"):
            assert weight.grad is not None, name
            assert weight.grad.isfinite().all()
            assert weight.grad.abs().amax() > 0, name


@torch.no_grad()
def test_truncation_interpolates_from_the_mean_image_to_each_image() -> None:
    for classes in (0, 3):
        generator, _ = pair(Shape(1, 16, 16, classes))
        z, labels = torch.randn(3, 8), torch.tensor([0, 1, 1]) if classes else None
        torch.nn.init.normal_(generator.feature_avg.value)
        full, centre, between = (generator.truncated(z, labels, psi) for psi in (1.0, 0.0, 0.5))
        assert torch.equal(full, generator(z, labels))
        assert torch.allclose(centre[1], centre[2], atol=1e-5)
        assert 0.01 < (between[1] - between[2]).norm() < (full[1] - full[2]).norm()
        assert torch.allclose(centre[0], centre[1], atol=1e-5) == (not classes)


@torch.no_grad()
def test_class_affects_both_networks() -> None:
    generator, discriminator = pair(Shape(1, 16, 16, 3))
    z = torch.randn(1, 8)
    one, two = (generator.d_input(z, torch.tensor([label])) for label in (0, 1))
    assert not torch.allclose(one, two, atol=0.1)
    assert discriminator(one, torch.tensor([0])) != discriminator(one, torch.tensor([1]))


@torch.no_grad()
def test_d_depends_on_the_whole_batch() -> None:
    _, discriminator = pair(Shape(1, 16, 16))
    assert discriminator.batch_dependent
    d_input = discriminator.d_input(torch.randn(4, 1, 16, 16))
    alone = torch.cat([discriminator(image) for image in d_input.split(1)])
    assert not torch.allclose(discriminator(d_input), alone, atol=1e-3)
    deviations = []
    for part in (*discriminator.blocks, discriminator.final):
        part.register_forward_pre_hook(lambda _, inputs: deviations.append(inputs[0][:, -1]))
    discriminator(d_input)
    assert len(deviations) == 3
    for deviation in deviations:
        assert deviation.amin() == deviation.amax() > 0.01


def test_copies_are_independent_and_the_state_loads() -> None:
    shape = Shape(1, 16, 16, 2)
    z, labels = torch.randn(2, 8), torch.tensor([0, 1])
    for network in pair(shape):
        other = copy.deepcopy(network)
        for weight in other.parameters():
            torch.nn.init.normal_(weight)
        inputs = network.d_input(torch.randn(2, 1, 16, 16)) if isinstance(network, msg.Discriminator) else z
        assert not torch.equal(other(inputs, labels), network(inputs, labels))
        weights = {name: tensor.detach().contiguous() for name, tensor in network.state_dict().items()}
        other.load_state_dict(load(save(weights)))
        assert torch.equal(other(inputs, labels), network(inputs, labels))
