"""The base classes of all generators and discriminators, and the methods that a family may override."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Shape(NamedTuple):
    """The shape of the images, and the number of classes: 0 for an unconditional network."""

    channels: int
    height: int
    width: int
    classes: int = 0


class BaseNetwork(nn.Module):
    """What generators and discriminators have in common: the precision of their feature maps, and their layers.

    Attributes:
        activation_dtype: of the feature maps. Weights, inputs and outputs are float32 whatever it is, as are norms,
            statistics and the last layer (`ganvas.networks.casting`).
        mixed_precision: False for a family whose feature maps are always float32.
        matched_at_end: the lists of layers of which networks for images of two sizes have the last ones in common, and
            how many of the first ones too; of other lists they have the first ones in common.
    """

    activation_dtype = torch.float32
    mixed_precision = True
    matched_at_end: Mapping[str, int] = MappingProxyType({})

    def set_activation_dtype(self, dtype: torch.dtype) -> None:
        """Computes in float32, bfloat16 or float16 from now on, if the family can."""
        if self.mixed_precision:
            self.activation_dtype = dtype


class Generator(BaseNetwork):
    """z float [n latent], labels int64 [n] or None -> images float [n c h w], nominally in [-1, 1].

    Attributes:
        latent: the dimension of z.
        shape: the shape of the generated images.
        style_space: where a picture is changed: "z", or "w" of a mapping network, or the first "features".
    """

    latent: int
    shape: Shape
    style_space = "z"

    @property
    def noise(self) -> Sequence[Tensor]:
        """The constant noise of each layer in use, which is part of every image; of most families there is none."""
        return ()

    def d_input(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The input of D during training: the generated images, at other sizes in families whose D expects that."""
        return self(z, labels)

    def truncated(self, z: Tensor, labels: Tensor | None, truncation: float) -> Tensor:
        """Images by the truncation trick, more typical and less varied below 1."""
        return self.draw(self.truncate(self.styles(z, labels), labels, truncation), labels)

    def styles(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """What determines the images, float [n layers k]: z itself, or the style of each layer."""
        return z[:, None]

    def truncate(self, styles: Tensor, labels: Tensor | None, truncation: float) -> Tensor:
        """Styles moved towards their average, which is at 0; by default multiplied by `truncation`."""
        return truncation * styles

    def draw(self, styles: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images float [n c h w] of styles [n layers k]; in evaluation mode those that `forward` makes of z."""
        return self(styles[:, 0], labels)

    def grow(self, growth: float) -> None:
        """Sets the progressive growth from 0 (smallest size) to 1 (full size); most families ignore it."""


class Discriminator(BaseNetwork):
    """The input made of n images (`d_input`), labels int64 [n] or None -> logits, larger for real.

    The logits are float [n], or float [n k] of a D that gives k for each image, which count equally.
    """

    batch_dependent = False
    """Whether a logit depends on the other images of its batch; reals and fakes then pass through D separately."""

    frozen_input = False
    """Whether `d_input` is a frozen network, for images that are augmented already, generated ones too."""

    parallel_heads = ""
    """The list of modules that an input passes beside each other, each with an output of its own; empty: none."""

    def d_input(self, images: Tensor) -> Tensor:
        """Turns real images float [n c h w] into the input of D: the counterpart of `Generator.d_input`."""
        return images

    def unpack(self, inputs: Tensor) -> list[Tensor]:
        """The maps float [n c h w] in n inputs of D, the image last; by default the image alone."""
        return [inputs]

    def grow(self, growth: float) -> None:
        """Sets the progressive growth, as in the generator."""
