"""What stands between the images and D: augmentation and noise, on reals and fakes alike."""

import torch
from torch import Tensor

from ganvas.game.augment import augmentation


class Lens:
    """Disturbs what D sees, differentiably, with draws of the global generator.

    Attributes:
        p: how often each transformation is applied, in [0, 1]; a float, or a scalar tensor on the device.
        noise: standard deviation of the Gaussian noise (instance noise: Sønderby et al. 2017, section 3.2).
    """

    def __init__(self, augment: str) -> None:
        self._transform = augmentation(augment)
        self.p: float | Tensor = 1.0
        self.noise = 0.0

    def augment(self, augment: str) -> None:
        """From now on, augments in this way."""
        self._transform = augmentation(augment)

    def __call__(self, images: Tensor) -> Tensor:
        """float [n …] -> the same shape."""
        images = self._transform(images, self.p)
        return images + self.noise * torch.randn_like(images) if self.noise > 0 else images
