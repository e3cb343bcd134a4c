"""DCGAN: the paper's sizes and initialisation, any image size, and the effect of batch norm."""

import copy

import pytest
import torch
from torch import Tensor, nn

from ganvas.config.families import DCGAN
from ganvas.game.objectives import zero_centred_penalty
from ganvas.networks import Shape, count_parameters
from ganvas.networks.dcgan import Discriminator, Generator, StridedConvTranspose2d
from ganvas.networks.layers import StridedConv2d

SMALL = DCGAN(latent=6, g_width=4, d_width=4)
BARE = DCGAN(latent=6, g_width=4, d_width=4, g_norm="none", d_norm="none")


def pair(config: DCGAN, shape: Shape) -> tuple[Generator, Discriminator]:
    return Generator(config, shape), Discriminator(config, shape)


def test_networks_have_the_published_sizes() -> None:
    generator, discriminator = pair(DCGAN(), Shape(3, 64, 64))
    assert (count_parameters(generator), count_parameters(discriminator)) == (12_658_432, 11_036_160)


def test_biases_exist_only_without_batch_norm() -> None:
    for network in pair(DCGAN(), Shape(3, 64, 64)):
        kinds = [type(module) for module in network.modules()]
        assert kinds.count(nn.BatchNorm2d) == (4 if isinstance(network, Generator) else 3)
        assert all(
            m.bias is None
            for m in network.modules()
            if isinstance(m, nn.Linear | StridedConv2d | StridedConvTranspose2d)
        )
    for network in pair(BARE, Shape(3, 64, 64)):
        assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
        assert all(
            m.bias is not None
            for m in network.modules()
            if isinstance(m, nn.Linear | StridedConv2d | StridedConvTranspose2d)
        )


def test_neither_the_image_nor_its_first_features_are_normalised() -> None:
    generator, discriminator = pair(SMALL, Shape(3, 32, 32))
    assert isinstance(list(generator.layers)[-1], nn.ReLU)
    assert [type(layer) for layer in discriminator.layers][:3] == [StridedConv2d, nn.LeakyReLU, StridedConv2d]


@pytest.mark.parametrize(
    "size", [(8, 8), (8, 23), (25, 40), (28, 28), (32, 32), (48, 64), (65, 64), (8, 65), (128, 8), (16, 256)]
)
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("config", [SMALL, BARE], ids=["batch", "none"])
def test_any_size_channels_and_classes_work(config: DCGAN, size: tuple[int, int], channels: int, classes: int) -> None:
    generator, discriminator = pair(config, Shape(channels, *size, classes))
    labels = torch.tensor([0, 2]) if classes else None
    images = generator(torch.randn(2, 6), labels)
    assert images.shape == (2, channels, *size)
    assert images.abs().max() <= 1
    assert discriminator(images, labels).shape == (2,)
    sizes = [m.size for m in generator.modules() if isinstance(m, StridedConvTranspose2d)]
    assert sizes[-1] == size
    assert max(generator.start_shape[1:]) <= 4


def test_images_stay_in_range_whatever_the_weights() -> None:
    generator = Generator(SMALL, Shape(3, 16, 16))
    generator.to_image.weight.data *= 1000
    assert generator(torch.randn(2, 6)).abs().max() == 1


def test_g_upsamples_through_the_sizes_of_d() -> None:
    generator, discriminator = pair(SMALL, Shape(1, 25, 40))
    down = []
    hooks = [
        m.register_forward_hook(lambda _, __, out: down.append(tuple(out.shape[1:])))
        for m in discriminator.modules()
        if isinstance(m, StridedConv2d)
    ]
    discriminator(torch.zeros(2, 1, 25, 40))
    assert len(hooks) == 4
    assert down == [(4, 13, 20), (8, 7, 10), (16, 4, 5), (32, 2, 3)]
    assert generator.start_shape == down[-1]
    upsampling = [m for m in generator.modules() if isinstance(m, StridedConvTranspose2d)]
    assert [(m.in_channels, *m.size) for m in upsampling] == [(32, 4, 5), (16, 7, 10), (8, 13, 20), (4, 25, 40)]


def test_width_grows_at_most_eightfold() -> None:
    discriminator = Discriminator(SMALL, Shape(1, 256, 256))
    assert [m.out_channels for m in discriminator.modules() if isinstance(m, StridedConv2d)] == [4, 8, 16, 32, 32, 32]


def test_labels_change_the_outputs_of_g_and_d() -> None:
    generator, discriminator = pair(SMALL, Shape(1, 16, 16, 3))
    generator.eval()
    discriminator.eval()
    z = torch.randn(1, 6)
    one, two = (generator(z, torch.tensor([c])) for c in (0, 1))
    assert not torch.equal(one, two)
    assert discriminator(one, torch.tensor([0])) == discriminator(one, torch.tensor([1]))  # not trained yet
    nn.init.normal_(discriminator.head.embedding.weight)  # type: ignore[union-attr]
    assert discriminator(one, torch.tensor([0])) != discriminator(one, torch.tensor([1]))


def test_initial_weights_follow_the_paper() -> None:
    torch.manual_seed(0)
    for network in pair(DCGAN(g_width=32, d_width=32), Shape(3, 64, 64)):
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert abs(module.weight.mean() - 1) < 0.02
                assert 0.01 < module.weight.std() < 0.03
                assert not module.bias.any()
            elif isinstance(module, nn.Linear | StridedConv2d | StridedConvTranspose2d):
                assert abs(module.weight.mean()) < 0.002
                assert abs(module.weight.std() - 0.02) < 0.002


@pytest.mark.parametrize("config", [SMALL, BARE], ids=["batch", "none"])
def test_logits_depend_on_the_batch_only_with_batch_norm(config: DCGAN) -> None:
    torch.manual_seed(0)
    discriminator = Discriminator(config, Shape(1, 16, 16))
    one, others = torch.randn(1, 1, 16, 16), torch.randn(2, 3, 1, 16, 16)
    logits = [discriminator(torch.cat([one, rest]))[0] for rest in others]
    assert discriminator.batch_dependent == (config is SMALL)
    assert torch.isclose(*logits) != discriminator.batch_dependent


def test_gradient_penalty_has_gradients_without_batch_norm() -> None:
    discriminator = Discriminator(BARE, Shape(3, 16, 16, 3))
    images = torch.randn(4, 3, 16, 16, requires_grad=True)
    zero_centred_penalty(images, discriminator(images, torch.tensor([0, 1, 2, 0]))).mean().backward()
    gradients = [p.grad for p in discriminator.parameters() if p.ndim > 1 and p.grad is not None]
    assert len(gradients) == 4  # two convolutions, the head, the embedding
    assert all(gradient.isfinite().all() and gradient.any() for gradient in gradients)


def test_dropout_is_random_only_in_training() -> None:
    discriminator = Discriminator(DCGAN(d_width=4, d_norm="none", dropout=0.5), Shape(1, 16, 16))
    images = torch.randn(2, 1, 16, 16)
    assert not torch.equal(discriminator(images), discriminator(images))
    discriminator.eval()
    assert torch.equal(discriminator(images), discriminator(images))


def test_copy_computes_the_same_and_the_state_is_plain_tensors() -> None:
    for network, x in zip(pair(SMALL, Shape(1, 20, 12)), (torch.randn(3, 6), torch.randn(3, 1, 20, 12)), strict=True):
        copied = copy.deepcopy(network)
        assert torch.equal(network(x), copied(x))
        assert all(type(value) is Tensor for value in network.state_dict().values())
        fresh = type(network)(SMALL, Shape(1, 20, 12))
        fresh.load_state_dict(network.state_dict())
        assert torch.equal(network.eval()(x), fresh.eval()(x))
