"""What is random in a round: a function of the run's seed and the images shown, so that a resumed run repeats it."""

import numpy as np
import torch

from ganvas import devices
from ganvas.config import TrainConfig
from ganvas.training import distributed

MAX_BYTES = 2**23
"""Most bytes of latents that are drawn in advance for a GPU."""


def round_seed(seed: int, nimg: int, purpose: int) -> int:
    """The seed of a round for one purpose: 0 for latents, 1 for what is random inside the networks."""
    return int(np.random.SeedSequence([seed, nimg]).generate_state(purpose + 1)[purpose])


class LatentStream:
    """This process's rows of the global latents of each round.

    They are drawn on the CPU, so that they are equal on every device. A GPU gets those of up to a tick in one copy.
    """

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        balance = config.balance
        self._draws = balance.d_steps + balance.g_steps - config.loss.shared_fakes
        self._batch, self._latent, self._seed = config.optimisation.batch, config.network.latent, config.seed
        self._device, self._images = device, config.images_per_round
        self._ahead = 1
        if device.type != "cpu":
            most = MAX_BYTES // (4 * self._draws * self._batch * self._latent)
            self._ahead = max(1, min(config.tick_every() // self._images, most))
        self._begin, self._drawn = 0, torch.empty(0)

    def of_round(self, nimg: int) -> torch.Tensor:
        """float32 [draws n z] for the round before which `nimg` images were shown."""
        number, between = divmod(nimg - self._begin, self._images)
        if between or not 0 <= number < len(self._drawn):
            self._begin, number = nimg, 0
            self._drawn = devices.upload(
                torch.stack([self._draw(nimg + i * self._images) for i in range(self._ahead)]), self._device
            )
        return self._drawn[number]

    def _draw(self, nimg: int) -> torch.Tensor:
        rng = torch.Generator().manual_seed(round_seed(self._seed, nimg, 0))
        z = torch.randn(self._draws, self._batch, self._latent, generator=rng)
        share = self._batch // distributed.world_size()
        return z[:, distributed.rank() * share : (distributed.rank() + 1) * share]
