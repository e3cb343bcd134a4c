"""Floating-point operations, against PyTorch's counter and by hand."""

import pytest
import torch
from support import NARROW
from torch.utils.flop_counter import FlopCounterMode

from ganvas import networks
from ganvas.game.moves import Game
from ganvas.game.objectives import OBJECTIVES
from ganvas.networks import FlopCounter, Shape


@pytest.mark.parametrize("family", NARROW)
@pytest.mark.parametrize("shape", [Shape(1, 16, 16), Shape(3, 16, 16, 4)], ids=["grey", "classes"])
def test_flops_of_a_forward_pass_equal_pytorch(family: str, shape: Shape) -> None:
    generator, discriminator = networks.build(NARROW[family], shape)
    z, labels = torch.randn(2, 6), torch.tensor([0, 1]) if shape.classes else None
    with torch.no_grad():
        fakes = Game(generator, discriminator, OBJECTIVES["hinge"]).fake_input(z, labels)
    for network, inputs in ((generator, (z, labels)), (discriminator, (fakes, labels))):
        network.requires_grad_(False)
        with FlopCounterMode(display=False) as theirs, torch.no_grad():
            network(*inputs)
        network.requires_grad_(True)
        assert networks.count_flops(network, *inputs) == theirs.get_total_flops() > 0


def test_flops_of_backward_and_double_backward_are_counted() -> None:
    """x·W of [5 4] and [4 3] is 2·5·4·3 operations; so is each of the two products of its backward pass."""
    x, w = torch.randn(5, 4, requires_grad=True), torch.randn(4, 3, requires_grad=True)
    with FlopCounter() as counter:
        out = (x @ w).square().sum()
    assert counter.total == 120
    with counter:
        (gradient,) = torch.autograd.grad(out, x, create_graph=True)
    assert counter.total == 240
    with counter:
        gradient.square().sum().backward()
    assert counter.total == 240 + 4 * 120


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("groups", [1, 4])
def test_each_gradient_of_a_convolution_costs_as_much_as_its_forward_pass(groups: int, transposed: bool) -> None:
    """All three use each weight once a position: 2·n·h·w·out·(in / groups)·3·3 operations, edges included."""
    x, w = torch.randn(2, 8, 6, 6, requires_grad=True), torch.randn(8, 8 // groups, 3, 3, requires_grad=True)
    convolve = torch.nn.functional.conv_transpose2d if transposed else torch.nn.functional.conv2d
    forward = 2 * 2 * 36 * 8 * (8 // groups) * 9
    with FlopCounter() as counter:
        out = convolve(x, w, padding=1, groups=groups).square().sum()
    assert counter.total == forward
    for inputs in ([x], [w], [x, w]):
        with FlopCounter() as counter:
            torch.autograd.grad(out, inputs, retain_graph=True)
        assert counter.total == len(inputs) * forward
