"""Takes the moments of the training images that G's loss matches (`ganvas.game.moments`).

Fakes are augmented on their way to the frozen network, so the training images are too: at the start, and again where
the augmentation is no longer the one of then.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ganvas.data import Batches, ImageSet
from ganvas.data.pixels import to_unit
from ganvas.pytorch_state import seed_generators
from ganvas.training import distributed
from ganvas.training.state import TrainState

IMAGES = 1536
"""Training images from which the moments are taken; several times as many as there are descriptors."""

BATCH = 48
"""Those of one pass: a frozen network sees small images enlarged."""

CHECK_EVERY = 1000
"""Images shown between two looks at the augmentation; ticks may be set anew when a run is resumed."""

TOLERANCE = 0.05
"""The change of the augmentation's probability, or of the noise, from which on moments are taken again."""


@torch.no_grad()
def fit_moments(state: TrainState, images: ImageSet, nimg: int) -> None:
    """Takes them from batches like D's, augmented as they are after `nimg` images; the same on every process.

    Draws from torch's global generator. With several processes all are to call it.
    """
    moments, knobs = state.game.moments, state.config.dataset
    if moments is None:
        return
    state.set_augmentation(nimg)
    seed_generators(state.config.seed, state.device)
    batches = Batches(images, batch=BATCH, seed=state.config.seed, mirror=knobs.mirror, balanced=knobs.balanced)

    def inputs() -> Iterator[tuple[Tensor, Tensor | None]]:
        for start in range(0, IMAGES, BATCH):
            part, labels = (None if x is None else x[: IMAGES - start].to(state.device) for x in next(batches))
            assert part is not None
            yield state.game.real_input(to_unit(part).contiguous(memory_format=state.memory_format)), labels

    sizes = None if images.labels is None else np.bincount(images.labels, minlength=images.classes)
    moments.fit(inputs(), None if sizes is None else torch.from_numpy(sizes))
    moments.augmentation.copy_(_augmentation(state))
    # eigenvectors have no sign of their own, so other processors may find others, and sums in two bases have no mean
    distributed.broadcast(moments.buffers())


def refit_moments(state: TrainState, images: ImageSet, nimg: int) -> None:
    """Takes them again if the augmentation, scheduled or adaptive, has changed by `TOLERANCE` since the last time."""
    moments = state.game.moments
    if moments is None:
        return
    state.set_augmentation(nimg)
    if not bool(((_augmentation(state) - moments.augmentation).abs() < TOLERANCE).all()):  # NaN: never taken
        fit_moments(state, images, nimg)


def _augmentation(state: TrainState) -> Tensor:
    """The probability of the augmentation and the noise, float [2]."""
    pipe, device = state.augment_pipe, state.device
    return torch.stack([torch.as_tensor(x, dtype=torch.float32, device=device) for x in (pipe.p, pipe.noise)])
