"""The first GAN: fully connected, as in the courses (after Goodfellow et al. 2014).

At 28×28×1 with its defaults this is the classic pair: G 100-128-256-512-784 with LeakyReLU 0.2 and batch norm,
581,520 trainable parameters; D 784-512-256-1, 533,505.
"""

from itertools import pairwise

from torch import Tensor, nn

from ganvas.config import MLP
from ganvas.networks import roles
from ganvas.networks.layers import Head, Labelled, bounded, glorot, leaky
from ganvas.networks.roles import Shape


class Generator(roles.Generator):
    """z float [n latent], labels int64 [n] or None -> images float [n c h w], by default in [-1, 1]."""

    def __init__(self, config: MLP, shape: Shape) -> None:
        super().__init__()
        self.latent, self.shape, self.output = config.latent, shape, config.output
        self.labelled = Labelled(shape.classes)
        widths = (config.latent + shape.classes, *config.g_widths)
        hidden: list[nn.Module] = []
        for before, after in pairwise(widths):
            hidden += [nn.Linear(before, after), nn.LeakyReLU(0.2)]
            if config.g_norm == "batch":
                # Keras' momentum 0.8 keeps 0.8 of the old statistics, PyTorch's 0.2 adds 0.2 of the new: the same
                hidden.append(nn.BatchNorm1d(after, eps=1e-3, momentum=0.2))
        self.hidden = nn.Sequential(*hidden)
        self.to_image = nn.Linear(widths[-1], shape.channels * shape.height * shape.width)
        glorot(self)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        flat = self.to_image(self.hidden(self.labelled(z, labels)))
        return bounded(flat, self.output).view(-1, self.shape.channels, self.shape.height, self.shape.width)


class Discriminator(roles.Discriminator):
    """images float [n c h w] in [-1, 1], labels int64 [n] or None -> logits float [n], positive for real."""

    def __init__(self, config: MLP, shape: Shape) -> None:
        super().__init__()
        widths = (shape.channels * shape.height * shape.width, *config.d_widths)
        hidden: list[nn.Module] = []
        for before, after in pairwise(widths):
            hidden += [nn.Linear(before, after), *leaky(config.dropout)]
        self.hidden = nn.Sequential(*hidden)
        self.head = Head(widths[-1], shape.classes)
        glorot(self)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.head(self.hidden(images.flatten(1)), labels)
