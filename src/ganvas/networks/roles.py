"""The two roles of the game, and what each family may do in its own way."""

from typing import NamedTuple

from torch import Tensor, nn


class Shape(NamedTuple):
    """What the data tells a network about itself; `classes` is 0 for an unconditional network."""

    channels: int
    height: int
    width: int
    classes: int = 0


class Generator(nn.Module):
    """z float [n latent], labels int64 [n] or None -> images float [n c h w], nominally in [-1, 1].

    Attributes:
        latent: numbers in z.
        shape: what it draws.
    """

    latent: int
    shape: Shape

    def shown(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """What D is shown while both learn: the images, but for families whose D sees them at other sizes."""
        return self(z, labels)

    def truncated(self, z: Tensor, labels: Tensor | None, truncation: float) -> Tensor:
        """Images as from `forward`: below 1 more typical and less varied. Here z is multiplied by `truncation`."""
        return self(truncation * z, labels)

    def grow(self, growth: float) -> None:
        """Follows the `growth` knob, from 0 (smallest) to 1 (full size), where the family grows at all."""


class Discriminator(nn.Module):
    """What is shown of n images, labels int64 [n] or None -> logits float [n], larger for real."""

    apart = False
    """Whether a logit depends on the other images of its batch, so that reals and fakes are judged apart."""

    def view(self, images: Tensor) -> Tensor:
        """Images float [n c h w] as they are shown to D: the counterpart, for reals, of `Generator.shown`."""
        return images

    def grow(self, growth: float) -> None:
        """Follows the `growth` knob together with the generator."""
