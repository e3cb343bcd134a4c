"""The frozen network through whose features a discriminator sees images (Sauer et al. 2021): lite0, eye, or your own.

network = load_frozen("lite0")
maps = network(images)  # float [n 3 h w] in [-1, 1] -> a list of float [n c h' w'], finest first
"""

import copy
import inspect
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn

from ganvas import user_code
from ganvas.errors import GanvasError
from ganvas.features.efficientnet import INSTALL, PACKAGE, is_installed, load_lite0
from ganvas.features.extraction import hash_weights
from ganvas.features.eye import load_eye
from ganvas.features.layers import build_eye

NAMES = ("lite0", "eye")

D_LAYERS = ("relu2_2", "relu3_2", "relu4_2")
"""The eye's feature maps for D: 64, 128 and 192 channels, strides 2, 4 and 8."""


class FrozenNetwork(nn.Module):
    """A network whose weights never change: images float [n 3 h w] in [-1, 1] -> feature maps, finest first.

    Gradients reach the images. It moves with the module that holds it (`.to(device)`, `.to(memory_format=…)`) and is
    copied with it, but is no child of it: its weights are in no `parameters()`, `buffers()` or `state_dict()`, and
    `train`, `requires_grad_` and `apply` do not reach them. lite0 and the eye take any h, w >= 8.

    Attributes:
        name: lite0, eye, or the spec of the user's own.
        digest: the first 16 hexadecimal digits of the weights' SHA-256 (`hash_weights`); of a function of the user's
            that of its file, and weights that it uses are not in it.
    """

    _network: nn.Module

    def __init__(self, name: str, digest: str, network: nn.Module) -> None:
        super().__init__()
        self.name, self.digest = name, digest
        network.eval().requires_grad_(False)
        self.__dict__["_network"] = network  # `nn.Module.__setattr__` would register it as a child

    @property
    def nbytes(self) -> int:
        """Bytes of its weights."""
        return sum(weight.nbytes for weight in (*self._network.parameters(), *self._network.buffers()))

    def forward(self, images: Tensor) -> list[Tensor]:
        return self._network(images)

    def train(self, mode: bool = True) -> Self:
        """Stays in evaluation mode."""
        return super().train(False)

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """What `to`, `cuda`, `float` and the like do to a module."""
        self._network._apply(fn, recurse)
        return super()._apply(fn, recurse)

    def extra_repr(self) -> str:
        return f"{self.name}, {self.digest}"


def find_frozen(module: nn.Module) -> list[dict[str, Any]]:
    """The frozen networks in a module, as cards record them: name or spec ("network") and digest ("weights")."""
    frozen = [one for one in module.modules() if isinstance(one, FrozenNetwork)]
    found = [{"network": one.name, "weights": one.digest} for one in frozen]
    return [one for i, one in enumerate(found) if one not in found[:i]]


def resolve_frozen(name: str) -> tuple[str, str]:
    """The network that a training takes when `name` is asked for, and a note for the user if it is another one.

    Without the package that has its weights, lite0 is replaced by the eye.
    """
    if name != "lite0" or is_installed():
        return name, ""
    what = f"The package {PACKAGE} is not installed: D uses the eye instead of lite0, and images will be worse."
    return "eye", f"{what} Fix: {INSTALL}"


def load_frozen(name: str) -> FrozenNetwork:
    """Loads the frozen network with this name, on the CPU.

    Args:
        name: lite0 (EfficientNet-Lite0, trained on ImageNet); eye (comes with Ganvas); or the spec
            (`ganvas.user_code`) of a module of the user's own, its class, a function that returns one, or a function,
            from images to a list of feature maps. Random numbers in making it are from a fixed seed.

    Raises:
        GanvasError: no such network, its package is missing, its file is damaged, or the user's code fails.
    """
    with torch.device("cpu"), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        if name == "lite0":
            network = load_lite0()
            return FrozenNetwork(name, hash_weights(network), network.drop_later_layers())
        if name == "eye":
            digest = hash_weights(load_eye())  # the extractor's: the maps have the same weights under other names
            return FrozenNetwork(name, digest, _EyeMaps())
        if user_code.is_spec(name):
            return _load_own(name)
    raise user_code.unknown(f"There is no frozen network '{name}'.", name, NAMES)


class _EyeMaps(nn.Module):
    """The eye's feature maps, as a list; unlike those of `Eye.activations` without a frame in the image."""

    def __init__(self) -> None:
        super().__init__()
        self.eye = build_eye()

    def forward(self, images: Tensor) -> list[Tensor]:
        return list(self.eye.features(images, D_LAYERS).values())


def _load_own(spec: str) -> FrozenNetwork:
    value, who = user_code.load(spec), user_code.title(spec)
    torch.default_generator.manual_seed(0)  # the file may have drawn some, if it has just been executed
    network: Any = value
    if isinstance(value, nn.Module):
        with user_code.quote_errors(spec, "cannot be copied"):
            network = copy.deepcopy(value)
    elif isinstance(value, type) or _takes_no_images(spec, value):
        network = user_code.call(spec, value, expected=f"{user_code.parse(spec).name}() without positional arguments")
    elif callable(value):
        network = partial(value, **user_code.parse(spec).arguments)
    if not callable(network):
        what = "is" if network is value else "gives"
        raise GanvasError(
            f"{who} {what} a {type(network).__name__}.",
            expected="a torch.nn.Module, its class, a function that returns one, or a function, from images "
            "[n 3 h w] in [-1, 1] to a list of feature maps [n c h w], finest first",
        )
    if not isinstance(network, nn.Module):
        return FrozenNetwork(spec, user_code.digest(spec)[:16], _OwnMaps(spec, network))
    with user_code.quote_errors(spec, "cannot be frozen"):
        return FrozenNetwork(spec, hash_weights(network), _OwnMaps(spec, network))


def _takes_no_images(spec: str, value: Any) -> bool:
    """Whether a function makes the network: it can be called with the spec's arguments alone."""
    try:
        inspect.signature(value).bind(**user_code.parse(spec).arguments)
    except (TypeError, ValueError):  # it needs images, it is no function, or it has no signature
        return False
    return True


class _OwnMaps(nn.Module):
    """The user's network, with its output checked at every call."""

    def __init__(self, spec: str, network: Any) -> None:
        super().__init__()
        self.spec, self.network = spec, network

    def forward(self, images: Tensor) -> list[Tensor]:
        n, _, height, width = images.shape
        hint = f"the images are {height}×{width}: resize them in forward if it needs another size."
        with user_code.quote_errors(self.spec, f"fails on images {[*images.shape]}", hint):
            maps = self.network(images)
        if found := _find_mistake(maps, n, images.requires_grad and torch.is_grad_enabled()):
            raise GanvasError(
                f"{user_code.title(self.spec)} gives {found}.",
                expected=f"a list of feature maps, float [{n} c h w], finest first, with a gradient to the images",
            )
        return list(maps)


def _find_mistake(maps: Any, n: int, needs_gradient: bool) -> str:
    """What is wrong with the feature maps of n images, in words; empty if nothing is."""
    if not isinstance(maps, list | tuple):
        return f"a {type(maps).__name__}"
    if not maps:
        return f"an empty {type(maps).__name__}"
    before = torch.inf
    for i, one in enumerate(maps, 1):
        if not isinstance(one, Tensor):
            return f"a {type(one).__name__} as map {i}"
        if one.dim() != 4 or len(one) != n or 0 in one.shape[1:] or not one.is_floating_point():
            return f"{str(one.dtype).removeprefix('torch.')} {[*one.shape]} as map {i} of {n} images"
        if needs_gradient and not one.requires_grad:
            return f"map {i} without a gradient to the images"
        if (size := one.shape[2:].numel()) > before:
            return f"map {i} larger than map {i - 1}"
        before = size
    return ""
