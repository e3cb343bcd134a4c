"""Parameter counts of the classic networks; every family at any size, channel count and class count."""

import copy
from types import SimpleNamespace
from typing import Any, get_args

import pytest
import torch
from safetensors.torch import load, save
from support import NARROW

from ganvas.config import Network, replace
from ganvas.config.families import CNN, MLP
from ganvas.game.moves import Game
from ganvas.game.objectives import OBJECTIVES
from ganvas.networks import Shape, build, count_flops, count_parameters, layers
from ganvas.networks.layers import ToImage, average_pool, pool_by_matrices

HALVED = {
    f"{family}-halved": replace(NARROW[family], width=32, full_width_stages=1)
    for family in ("stylegan", "msg", "r3gan")
}
NETWORK_CONFIGS: dict[str, Network] = {
    **NARROW,
    "resnet-residual": replace(NARROW["resnet"], blocks="residual"),
    **HALVED,
}
LINEAR_OUTPUT = ("stylegan", "msg", "r3gan", *HALVED)
"""Families whose generator has no tanh, as in their papers."""


def test_every_family_has_a_test_configuration() -> None:
    assert NARROW.keys() == {kind().family for kind in get_args(Network)} - {"custom"}, "custom: tests/test_custom.py"


@pytest.mark.parametrize(("family", "g", "d"), [("mlp", 581_520, 533_505), ("cnn", 1_925_633, 138_561)])
def test_classic_networks_have_the_published_sizes(family: str, g: int, d: int) -> None:
    generator, discriminator = build({"mlp": MLP(), "cnn": CNN()}[family], Shape(1, 28, 28))
    assert (count_parameters(generator), count_parameters(discriminator)) == (g, d)


SIZES = [(8, 8), (8, 23), (25, 40), (28, 28), (32, 32), (48, 64), (65, 64), (8, 65), (128, 8), (16, 256)]


@pytest.mark.parametrize(
    ("size", "channels", "classes"),
    [*((size, 3, 3) for size in SIZES), *(((25, 40), *both) for both in [(1, 0), (3, 0), (4, 0), (1, 3), (4, 3)])],
)
@pytest.mark.parametrize("family", NETWORK_CONFIGS)
def test_any_size_channels_and_classes(family: str, size: tuple[int, int], channels: int, classes: int) -> None:
    shape = Shape(channels, *size, classes)
    generator, discriminator = build(NETWORK_CONFIGS[family], shape)
    z = torch.randn(2, generator.latent)  # type: ignore[arg-type]
    labels = torch.tensor([0, 2]) if classes else None
    images = generator(z, labels)
    assert images.shape == (2, channels, *size)
    assert images.abs().max() <= 1 or family in LINEAR_OUTPUT
    d_input = Game(generator, discriminator, OBJECTIVES["hinge"]).fake_input(z, labels)
    assert d_input.shape == discriminator.d_input(images).shape
    assert discriminator(d_input, labels).shape[:1] == (2,)
    assert family == "projected" or discriminator(d_input, labels).dim() == 1
    assert generator.truncated(z, labels, 0.5).shape == images.shape


@pytest.mark.parametrize("family", NETWORK_CONFIGS)
def test_class_affects_both_networks(family: str) -> None:
    shape = Shape(1, 16, 16, 3)
    generator, discriminator = build(NETWORK_CONFIGS[family], shape)
    generator.eval()
    z = torch.randn(1, generator.latent)  # type: ignore[arg-type]
    one, two = (generator(z, torch.tensor([c])) for c in (0, 1))
    assert not torch.equal(one, two)
    embeddings = [m for name, m in discriminator.named_modules() if name.endswith("embedding")]
    assert embeddings
    for embedding in embeddings:
        torch.nn.init.normal_(embedding.weight)  # type: ignore[arg-type]
    d_input = discriminator.d_input(one)
    discriminator.eval()  # without the statistics of a batch of one image
    assert not torch.equal(discriminator(d_input, torch.tensor([0])), discriminator(d_input, torch.tensor([1])))


@pytest.mark.parametrize("family", NETWORK_CONFIGS)
def test_saved_and_copied_weights_give_the_same_images(family: str) -> None:
    shape = Shape(3, 12, 16, 3)
    z, labels = torch.randn(3, 6), torch.arange(3)
    generator, _ = build(NETWORK_CONFIGS[family], shape)
    generator.train()(z, labels)  # updates running statistics
    again, _ = build(NETWORK_CONFIGS[family], shape)
    again.load_state_dict(load(save({name: t.contiguous() for name, t in generator.state_dict().items()})))
    for copied in (again, copy.deepcopy(generator)):
        assert torch.equal(copied.eval()(z, labels), generator.eval()(z, labels))


def test_multiply_add_counts_as_two_flops() -> None:
    assert count_flops(torch.nn.Linear(10, 7), torch.zeros(3, 10)) == 2 * 3 * 10 * 7


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("c_in", [5, 40])
def test_to_image_equals_a_transposed_convolution(c_in: int, channels: int) -> None:
    layer = ToImage(c_in, channels, 7).double()
    x = torch.randn(2, c_in, 9, 11, dtype=torch.float64, requires_grad=True)
    expected = torch.nn.functional.conv_transpose2d(x, layer.weight, layer.bias, padding=3)
    assert torch.allclose(layer(x), expected)
    assert layer.bias is not None
    inputs = (x, layer.weight, layer.bias)
    g = torch.randn_like(expected)
    for ours, theirs in zip(
        torch.autograd.grad(layer(x), inputs, g), torch.autograd.grad(expected, inputs, g), strict=True
    ):
        assert torch.allclose(ours, theirs)


@pytest.mark.parametrize("family", ["mlp", "cnn", "transformer"])
def test_linear_output_is_not_bounded(family: str) -> None:
    torch.manual_seed(0)
    outputs = {}
    for output in ("tanh", "linear"):
        torch.manual_seed(0)
        generator, _ = build(replace(NARROW[family], output=output), Shape(1, 16, 16))
        z = torch.randn(4, generator.latent)  # type: ignore[arg-type]
        outputs[output] = generator.eval()(z)
    assert torch.allclose(outputs["linear"].tanh(), outputs["tanh"], atol=1e-6)
    assert not torch.allclose(outputs["linear"], outputs["tanh"], atol=1e-3)


@pytest.mark.parametrize("name", HALVED)
def test_fewer_channels_at_large_sizes(name: str) -> None:
    """32, 16, 8 and 8 channels from 4×4 to 32×32: less than a quarter of the operations."""
    shape, z = Shape(3, 32, 32), torch.randn(2, 6)
    halved, full = (build(replace(HALVED[name], full_width_stages=n), shape)[0] for n in (1, 4))
    assert count_flops(halved, z) < count_flops(full, z) / 4
    assert {w.shape[0] for w in halved.parameters() if w.dim() == 4} >= {16, 8}


@pytest.mark.parametrize("size", [(28, 28), (100, 64), (7, 5), (3, 20)])
@pytest.mark.parametrize("to", [(8, 8), (2, 3)])
def test_pooling_by_matrices_gives_the_means_of_adaptive_pooling(size: tuple[int, int], to: tuple[int, int]) -> None:
    x, y = (torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0)).requires_grad_() for _ in range(2))
    expected, found = torch.nn.functional.adaptive_avg_pool2d(x, to), pool_by_matrices(y, to)
    assert torch.allclose(found, expected, atol=1e-6)
    expected.square().sum().backward()
    found.square().sum().backward()
    assert x.grad is not None
    assert y.grad is not None
    assert torch.allclose(y.grad, x.grad, atol=1e-6)


def test_only_mps_pools_by_matrices_and_only_where_sides_do_not_divide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "pool_by_matrices", lambda *_: "matrices")
    monkeypatch.setattr(layers.F, "adaptive_avg_pool2d", lambda *_: "PyTorch")

    def pooled(device: str, *sides: int) -> Any:
        x: Any = SimpleNamespace(device=torch.device(device), shape=(1, 1, *sides))
        return average_pool(x, (8, 8))

    assert [pooled("mps", 28, 28), pooled("mps", 32, 28), pooled("mps", 4, 4)] == ["matrices"] * 3
    assert [pooled("mps", 32, 64), pooled("cpu", 28, 28), pooled("cuda", 28, 28)] == ["PyTorch"] * 3
