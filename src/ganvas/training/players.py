"""The two players at the table: networks, the average of G, an optimiser each; and one round between them."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Adam

from ganvas import networks
from ganvas.config import SCHEDULED, TrainConfig
from ganvas.data.pixels import to_unit
from ganvas.game.moves import Game, train_d, train_g
from ganvas.game.objectives import objective
from ganvas.networks import Shape
from ganvas.schedule import Schedule
from ganvas.training import distributed, ema

PASSES = 10
"""Forward passes of both networks that a round costs, about."""

FLOPS_A_THREAD = 5e8
"""Operations a round that are worth a thread (measured: docs/decisions/0005)."""


@dataclass
class Players:
    """Everything that training changes, and the rules by which it does."""

    config: TrainConfig
    device: torch.device
    game: Game
    average: nn.Module
    g_adam: Adam
    d_adam: Adam
    schedules: dict[str, Schedule]
    layout: torch.memory_format

    @classmethod
    def seat(cls, config: TrainConfig, shape: Shape, device: torch.device) -> "Players":
        """Builds untrained players from the configuration's seed, equal on every rank.

        Raises:
            GanvasError: the objective does not exist.
        """
        rules = objective(config.play.objective)
        torch.manual_seed(config.seed)
        generator, discriminator = networks.build(config.network, shape)
        convolves = any(isinstance(m, nn.Conv2d) for m in discriminator.modules())
        layout = torch.channels_last if convolves else torch.contiguous_format
        generator = generator.to(device=device, memory_format=layout)  # type: ignore[call-overload]
        discriminator = discriminator.to(device=device, memory_format=layout)  # type: ignore[call-overload]
        fused = device.type in ("cpu", "cuda")
        return cls(
            config=config,
            device=device,
            game=Game(generator, discriminator, rules),
            average=ema.average_of(generator),
            g_adam=Adam(generator.parameters(), fused=fused),
            d_adam=Adam(discriminator.parameters(), fused=fused),
            schedules={knob: config.schedule(knob) for knob in SCHEDULED},
            layout=layout,
        )

    @property
    def parts(self) -> dict[str, nn.Module | Adam]:
        """What must survive, named once."""
        return {
            "G": self.game.G,
            "D": self.game.D,
            "ema": self.average,
            "g_adam": self.g_adam,
            "d_adam": self.d_adam,
        }

    def threads(self) -> int:
        """How many CPU threads a round keeps busy: small networks run slower on many.

        A function of the configuration and the machine, not of its load: the number of threads may change the last
        bit of a sum, and a resumed run is the same run.
        """
        with torch.no_grad():
            z = torch.zeros(2, self.config.network.latent, device=self.device)
            conditional = self.config.pictures.conditional
            labels = torch.zeros(2, dtype=torch.long, device=self.device) if conditional else None
            images = self.average(z, labels)
            forward = networks.flops(self.average, z, labels) + networks.flops(self.game.D, images, labels)
        a_round = forward / 2 * PASSES * self.config.optimisation.batch / distributed.world()
        return max(1, min(torch.get_num_threads(), round(a_round / FLOPS_A_THREAD)))

    def knobs(self, nimg: int) -> dict[str, float]:
        """The value of every scheduled knob after `nimg` images."""
        return {name: schedule.at(nimg, self.config.total) for name, schedule in self.schedules.items()}

    def round(self, pictures: Tensor, labels: Tensor | None, nimg: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """One move of D, one of G, and the average follows.

        Args:
            pictures: this rank's share of the batch, uint8 [n c h w]; labels: int64 [n] or None.
            nimg: images shown before this round, over all ranks.

        Returns:
            What the moves saw (float [n] each), and the gradients' norms (float [] each), detached.
        """
        config, game = self.config, self.game
        knobs = self.knobs(nimg)
        batch = config.optimisation.batch
        penalised = (nimg // batch) % config.play.penalty_every == 0
        r1, r2 = (knobs[name] * config.play.penalty_every * penalised for name in ("r1", "r2"))
        shared = config.play.shared_fakes
        real = to_unit(pictures).contiguous(memory_format=self.layout)
        z = self._latents(nimg, 1 if shared else 2)
        if labels is not None and not config.pictures.conditional:
            labels = None

        with torch.set_grad_enabled(shared):
            fake = game.G(z[0], labels)
        seen = train_d(game, real, fake, labels, r1=r1, r2=r2)
        norms = {"D/gradient": self._step(self.d_adam, game.D, knobs["d_lr"], knobs["beta2"])}

        if not shared:
            fake = game.G(z[1], labels)
        seen |= train_g(game, real, fake, labels)
        norms["G/gradient"] = self._step(self.g_adam, game.G, knobs["g_lr"], knobs["beta2"])

        images = nimg + batch
        warmup = config.optimisation.ema_warmup
        half_life = min(knobs["ema"] * 1000, warmup * images if warmup else math.inf)
        ema.update(self.average, game.G, images=batch, half_life=half_life)
        return seen, norms

    def _latents(self, nimg: int, draws: int) -> Tensor:
        """This rank's rows of the global latents of a round, float32 [draws n z]: a function of (seed, nimg)."""
        draw = torch.Generator().manual_seed(int(np.random.SeedSequence([self.config.seed, nimg]).generate_state(1)[0]))
        batch = self.config.optimisation.batch
        z = torch.randn(draws, batch, self.config.network.latent, generator=draw)  # on the CPU: equal on every device
        share = batch // distributed.world()
        return z[:, distributed.rank() * share : (distributed.rank() + 1) * share].to(self.device, non_blocking=True)

    def _step(self, adam: Adam, player: nn.Module, lr: float, beta2: float) -> Tensor:
        norm = distributed.mean_gradients(player)
        for group in adam.param_groups:
            group["lr"], group["betas"] = lr, (self.config.optimisation.beta1, beta2)
        adam.step()
        adam.zero_grad(set_to_none=True)
        return norm.detach()
