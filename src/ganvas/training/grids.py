"""Image grids of a run: real images, and images of the generator."""

import torch
from PIL import Image

from ganvas import drawing, image_io
from ganvas.data import ImageSet
from ganvas.networks import Shape
from ganvas.runs.film import GRID_COLUMNS, GRID_MAX_ROWS
from ganvas.training.state import TrainState


def draw_fakes(state: TrainState, shape: Shape, images: ImageSet) -> Image.Image:
    """Images of the average of G for the seeds 0, 1, 2 …; where training is conditional, one class a row."""
    classes = min(shape.classes, GRID_MAX_ROWS)
    n = GRID_COLUMNS * (classes or GRID_COLUMNS)
    labels = torch.arange(n) // GRID_COLUMNS if classes else None
    z = drawing.sample_latents(range(n), state.config.network.latent)
    drawn = torch.cat(list(drawing.generate(state.g_ema, z, labels, device=state.device)))
    return image_io.make_grid(drawn.numpy(), GRID_COLUMNS, row_names=images.class_names[:classes])


def draw_reals(images: ImageSet, shape: Shape) -> Image.Image:
    """The first images of the data; where training is conditional, one class a row."""
    if not shape.classes:
        return image_io.make_grid(images.images[: GRID_COLUMNS * GRID_COLUMNS], GRID_COLUMNS)
    assert images.labels is not None
    classes = [(images.labels == c).nonzero()[0] for c in range(min(shape.classes, GRID_MAX_ROWS))]
    chosen = [int(indices[i % len(indices)]) for indices in classes if len(indices) for i in range(GRID_COLUMNS)]
    names = [name for name, indices in zip(images.class_names, classes, strict=False) if len(indices)]
    return image_io.make_grid(images.images[chosen], GRID_COLUMNS, row_names=names)
