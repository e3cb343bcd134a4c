"""The fully connected GAN (after Goodfellow et al. 2014).

At 28×28×1 with the defaults these are the networks of the classic teaching GAN: G 100-128-256-512-784 with LeakyReLU
0.2 and batch norm, 581,520 trainable parameters; D 784-512-256-1, 533,505.
"""

from itertools import pairwise

from torch import Tensor, nn

from ganvas.config.families import MLP
from ganvas.networks import base
from ganvas.networks.base import Shape
from ganvas.networks.casting import Linear, narrow, widen
from ganvas.networks.layers import OneHotConcat, ProjectionHead, activation, init_glorot_uniform, output_activation


class Generator(base.Generator):
    """z float [n latent], labels int64 [n] or None -> images float [n c h w], by default in [-1, 1]."""

    def __init__(self, config: MLP, shape: Shape) -> None:
        super().__init__()
        self.latent, self.shape, self.output = config.latent, shape, config.output
        self.one_hot_concat = OneHotConcat(shape.classes)
        widths = (config.latent + shape.classes, *config.g_widths)
        hidden: list[nn.Module] = []
        for n_in, n_out in pairwise(widths):
            hidden += [Linear(n_in, n_out), nn.LeakyReLU(0.2)]
            if config.g_norm == "batch":
                # momentum 0.2 in PyTorch equals 0.8 in Keras: the first weighs the new statistics, the second the old
                hidden.append(nn.BatchNorm1d(n_out, eps=1e-3, momentum=0.2))
        self.hidden = nn.Sequential(*hidden)
        self.to_image = Linear(widths[-1], shape.channels * shape.height * shape.width)
        init_glorot_uniform(self)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        hidden = self.hidden(self.one_hot_concat(narrow(z, self.activation_dtype), labels))
        flat = self.to_image(widen(hidden))
        return output_activation(flat, self.output).view(-1, self.shape.channels, self.shape.height, self.shape.width)


class Discriminator(base.Discriminator):
    """images float [n c h w] in [-1, 1], labels int64 [n] or None -> logits float [n], positive for real."""

    def __init__(self, config: MLP, shape: Shape) -> None:
        super().__init__()
        widths = (shape.channels * shape.height * shape.width, *config.d_widths)
        hidden: list[nn.Module] = []
        for n_in, n_out in pairwise(widths):
            hidden += [Linear(n_in, n_out), *activation(config.dropout)]
        self.hidden = nn.Sequential(*hidden)
        self.head = ProjectionHead(widths[-1], shape.classes)
        init_glorot_uniform(self)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.head(self.hidden(narrow(images.flatten(1), self.activation_dtype)), labels)
