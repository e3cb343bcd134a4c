"""Feature networks as sequences of named layers, for losses in their features: the eye, VGG-19 and SqueezeNet.

All take images float [n 3 h w] in [-1, 1] and normalise them as their training data. The first convolution of the eye
and of VGG-19 uses replicate padding, as zero padding would leave a frame in the image (Crowson 2021).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganvas.errors import GanvasError
from ganvas.features.eye import BLOCKS as EYE_BLOCKS
from ganvas.features.eye import load_eye

RGB, PATCHES = "rgb", "patches"
"""The layers that every network has: the image itself, and the 5×5 patches around every other pixel."""

PATCH_SIZE = 5

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

Blocks = Sequence[Sequence[int]]
"""Channels of the convolutions, block by block."""

VGG19_BLOCKS = ((64,) * 2, (128,) * 2, (256,) * 4, (512,) * 4, (512,) * 4)
"""Simonyan & Zisserman 2015, table 1, E."""

SQUEEZENET_FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))
"""Squeeze and expand channels of fire2 to fire9; two expand branches each (Iandola et al. 2016, version 1.1)."""


class FeatureNetwork(nn.Module):
    """A sequence of steps (convolutions, fires, pools); all but the pools are layers that a loss may use.

    Attributes:
        layer_names: in their order, `rgb` and `patches` first.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, name: str, mean: Collection[float] = (0.5,) * 3, std: Collection[float] = (0.5,) * 3) -> None:
        """`mean` and `std` normalise RGB in [0, 1]."""
        super().__init__()
        self.name = name
        self.steps = nn.ModuleDict()
        self._geometry: dict[str, tuple[int, int]] = {RGB: (1, 0), PATCHES: (2, PATCH_SIZE // 2)}
        self._stride, self._before, self._after = 1, 0, 0
        normalisation = torch.tensor([list(mean), list(std)]).view(2, 1, 3, 1, 1)
        self.register_buffer("scale", 0.5 / normalisation[1], persistent=False)
        self.register_buffer("shift", (0.5 - normalisation[0]) / normalisation[1], persistent=False)

    def append(self, name: str, step: nn.Module, kernel: int, stride: int = 1, padding: int = 0) -> None:
        """Adds a step with this kernel size, stride and padding; it is a layer unless its name begins with pool."""
        self.steps[name] = step
        self._before += padding * self._stride
        self._after += (kernel - 1 - padding) * self._stride
        self._stride *= stride
        if not name.startswith("pool"):
            self._geometry[name] = (self._stride, max(self._before, self._after))

    def truncate_before(self, name: str) -> None:
        """Removes a step and all later ones."""
        for later in list(self.steps)[list(self.steps).index(name) :]:
            del self.steps[later]
            self._geometry.pop(later, None)

    @property
    def layer_names(self) -> tuple[str, ...]:
        return tuple(self._geometry)

    def stride(self, name: str) -> int:
        """Pixels of the image between neighbouring positions of the layer."""
        return self._geometry[name][0]

    def receptive_radius(self, name: str) -> int:
        """Pixels of the receptive field of the layer on either side of a position, the larger of both."""
        return self._geometry[name][1]

    def check_layers(self, names: Collection[str]) -> None:
        """Checks that the network has these layers.

        Raises:
            GanvasError: it lacks one of them.
        """
        if unknown := [name for name in names if name not in self._geometry]:
            raise GanvasError(
                f"{self.name} has no layer {', '.join(unknown)}.", expected=f"one of {', '.join(self.layer_names)}"
            )

    def features(self, images: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        """Features of the named layers for images float [n 3 h w] in [-1, 1]; computation ends at the last of them.

        Returns:
            name -> float [n c h/stride w/stride].
        """
        wanted = set(names)
        features = {}
        if RGB in wanted:
            features[RGB] = images
        if PATCHES in wanted:
            features[PATCHES] = _patches(images)
        x = images * self.scale + self.shift
        for name, step in self.steps.items():
            if not wanted - features.keys():
                break
            x = step(x)
            if name in wanted:
                features[name] = x
        return features


def _patches(images: Tensor) -> Tensor:
    """Images [n 3 h w] -> patches [n 3·PATCH_SIZE² h/2 w/2], sides rounded up."""
    around = F.pad(images, (PATCH_SIZE // 2,) * 4, mode="replicate")
    height, width = (-(-side // 2) for side in images.shape[2:])
    return F.unfold(around, PATCH_SIZE, stride=2).unflatten(2, (height, width))


class ConvReLU(nn.Conv2d):
    """A convolution followed by ReLU."""

    def forward(self, input: Tensor) -> Tensor:
        return F.relu(super().forward(input))


class Fire(nn.Module):
    """SqueezeNet's fire module: [n c h w] -> [n 2·expand_channels h w]."""

    def __init__(self, channels: int, squeeze_channels: int, expand_channels: int) -> None:
        super().__init__()
        self.squeeze = ConvReLU(channels, squeeze_channels, 1)
        self.expand1x1 = ConvReLU(squeeze_channels, expand_channels, 1)
        self.expand3x3 = ConvReLU(squeeze_channels, expand_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze(x)
        return torch.cat([self.expand1x1(x), self.expand3x3(x)], dim=1)


def build_eye() -> FeatureNetwork:
    """The embedded network (`features/eye.py`), relu1_1 to relu4_2. It comes with its weights."""
    network = _build_vgg_like("eye", EYE_BLOCKS, lambda: nn.AvgPool2d(2, ceil_mode=True))
    convolutions = [step for step in network.steps.values() if isinstance(step, ConvReLU)]
    for mine, its in zip(convolutions, load_eye().convolutions.values(), strict=True):
        mine.load_state_dict(its.state_dict())
    return _freeze(network)


def build_vgg19(weights: Mapping[str, Tensor]) -> FeatureNetwork:
    """VGG-19, relu1_1 to relu5_4, from weights with torchvision's names (`features.0.weight` …); they may end early.

    Raises:
        GanvasError: the weights are another network's, or not finite.
    """
    network = _build_vgg_like("vgg19", VGG19_BLOCKS, lambda: nn.MaxPool2d(2), IMAGENET_MEAN, IMAGENET_STD)
    names, place = {}, 0  # torchvision counts convolutions, ReLUs and pools
    for name in network.steps:
        names[name] = f"features.{place}"
        place += 1 if name.startswith("pool") else 2
    return _load_weights(network, weights, names)


def build_squeezenet(weights: Mapping[str, Tensor]) -> FeatureNetwork:
    """SqueezeNet 1.1, relu1 and fire2 to fire9, from weights with torchvision's names; they may end early.

    Raises:
        GanvasError: the weights are another network's, or not finite.
    """
    network = FeatureNetwork("squeezenet", IMAGENET_MEAN, IMAGENET_STD)
    network.append("relu1", ConvReLU(3, 64, 3, stride=2), 3, 2)
    channels = [64, *(2 * expanded for _, expanded in SQUEEZENET_FIRES)]
    for number, (before, (squeezed, expanded)) in enumerate(zip(channels, SQUEEZENET_FIRES, strict=False), 2):
        if number in (2, 4, 6):
            network.append(f"pool{number}", nn.MaxPool2d(3, 2, ceil_mode=True), 3, 2)
        network.append(f"fire{number}", Fire(before, squeezed, expanded), 3, padding=1)
    places = ("0", None, "3", "4", None, "6", "7", None, "9", "10", "11", "12")
    names = {name: f"features.{place}" for name, place in zip(network.steps, places, strict=True) if place}
    return _load_weights(network, weights, names)


def _build_vgg_like(
    name: str, blocks: Blocks, pool: Callable[[], nn.Module], *normalised: tuple[float, ...]
) -> FeatureNetwork:
    """Blocks of 3×3 convolutions with pools between them, named as VGG's."""
    network = FeatureNetwork(name, *normalised)
    widths = (3, *(width for block in blocks for width in block))
    pairs = pairwise(widths)
    for b, block in enumerate(blocks, 1):
        if b > 1:
            network.append(f"pool{b - 1}", pool(), 2, 2)
        for i in range(1, len(block) + 1):
            mode = "replicate" if b == i == 1 else "zeros"
            network.append(f"relu{b}_{i}", ConvReLU(*next(pairs), 3, padding=1, padding_mode=mode), 3, padding=1)
    return network


def _freeze(network: FeatureNetwork) -> FeatureNetwork:
    return network.eval().requires_grad_(False)


def _load_weights(network: FeatureNetwork, weights: Mapping[str, Tensor], names: Mapping[str, str]) -> FeatureNetwork:
    """Loads the weights step by step, and truncates the network where they end."""
    for step, place in names.items():
        if step.startswith("pool"):
            continue
        own = {key.removeprefix(f"{place}."): value for key, value in weights.items() if key.startswith(f"{place}.")}
        if not own:
            network.truncate_before(step)
            break
        if not all(value.isfinite().all() for value in own.values()):
            raise GanvasError(f"The weights of {network.name} hold values that are not numbers, in {place}.")
        try:
            network.steps[step].load_state_dict(own)
        except RuntimeError as error:
            raise _wrong_weights(network.name, place) from error
    if not network.steps:
        raise _wrong_weights(network.name, next(iter(names.values())))
    return _freeze(network)


def _wrong_weights(name: str, place: str) -> GanvasError:
    return GanvasError(
        f"These are not the weights of {name}: {place} is missing or of another shape.",
        expected=f"{place}.weight and the others, named and shaped as torchvision's ",
    )
