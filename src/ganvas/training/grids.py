"""The pictures of a run: what it learns from, and what it draws."""

import torch
from PIL import Image

from ganvas import image_io, sampling
from ganvas.data import ImageSet
from ganvas.networks import Shape
from ganvas.training.state import Players

ROW = 8
"""Pictures in a row."""

MOST_ROWS = 20
"""Classes shown, the first ones, where there are more."""


def fakes(players: Players, shape: Shape, images: ImageSet) -> Image.Image:
    """What the average of G draws for the seeds 0, 1, 2 …; where classes are learnt, one class a row."""
    classes = min(shape.classes, MOST_ROWS)
    n = ROW * (classes or ROW)
    labels = torch.arange(n) // ROW if classes else None
    z = sampling.latents(range(n), players.config.network.latent)
    drawn = torch.cat(list(sampling.generate(players.average, z, labels, device=players.device)))
    return image_io.grid(drawn.numpy(), ROW, row_names=images.class_names[:classes])


def reals(images: ImageSet, shape: Shape) -> Image.Image:
    """The first pictures of the data; where classes are learnt, one class a row."""
    if not shape.classes:
        return image_io.grid(images.images[: ROW * ROW], ROW)
    assert images.labels is not None
    members = [(images.labels == c).nonzero()[0] for c in range(min(shape.classes, MOST_ROWS))]
    chosen = [int(own[i % len(own)]) for own in members if len(own) for i in range(ROW)]
    names = [name for name, own in zip(images.class_names, members, strict=False) if len(own)]
    return image_io.grid(images.images[chosen], ROW, row_names=names)
