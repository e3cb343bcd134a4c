"""A generator and a discriminator of your own, trained, evaluated and diagnosed by Ganvas.

    ganvas train custom --g examples/own_networks.py:Generator --d examples/own_networks.py:Discriminator --data digits
    ganvas train custom --g "examples/own_networks.py:Generator(width=64)" --data digits   # against our DCGAN's D
    ganvas train custom --d examples/own_networks.py:Discriminator --objective examples/own_networks.py:least_squares

`shape` has channels, height, width and classes (0 without --conditional), so the same classes fit any images.
"""

import torch
from torch import Tensor, nn

from ganvas.game.objectives import Objective


class Generator(nn.Module):
    """z float [n latent] -> images float [n c h w] in [-1, 1]."""

    def __init__(self, latent: int, shape, width: int = 256) -> None:
        super().__init__()
        c, h, w, classes = shape
        self.layers = nn.Sequential(
            nn.Linear(latent + classes, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
            nn.Linear(width, c * h * w), nn.Tanh(), nn.Unflatten(1, (c, h, w)),
        )  # fmt: skip
        self.classes = classes

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        if labels is not None:
            z = torch.cat([z, nn.functional.one_hot(labels, self.classes).float()], dim=1)
        return self.layers(z)


class Discriminator(nn.Module):
    """images float [n c h w] -> logits float [n 1], larger for real: no sigmoid at the end."""

    def __init__(self, shape, width: int = 256) -> None:
        super().__init__()
        c, h, w, classes = shape
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(c * h * w, width), nn.LeakyReLU(0.2), nn.Linear(width, max(1, classes))
        )

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        logits = self.layers(images)
        return logits if labels is None else logits.gather(1, labels[:, None])  # one logit for each class


least_squares = Objective(
    d_loss=lambda on_real, on_fake: (on_real - 1) ** 2 + on_fake**2,
    g_loss=lambda on_real, on_fake: (on_fake - 1) ** 2,
)


def flip(images: Tensor) -> Tensor:
    """An augmentation: images [n c h w] -> the same shape, differentiable; --augment-p says how often."""
    return images.flip(3)
