"""The two players at the table: networks, the average of G, an optimiser each; and one round between them."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ganvas import networks
from ganvas.config import Optimisation, TrainConfig
from ganvas.data.pixels import to_unit
from ganvas.diagnosis.rules.remedies import Corrections
from ganvas.game.augment import ADJUST_EVERY, Ada, Lens
from ganvas.game.balance import Referee
from ganvas.game.moves import Game, Penalties, look, train_d, train_g
from ganvas.game.objectives import objective
from ganvas.networks import Generator, Shape
from ganvas.optimisers import Adam, RMSprop
from ganvas.schedule import Schedule
from ganvas.training import distributed, ema

Seen = dict[str, Tensor]

Batch = tuple[Tensor, Tensor | None]
"""This rank's share of a batch: pictures uint8 [n c h w], labels int64 [n] or None."""


@dataclass
class Players:
    """Everything that training changes, and the rules by which it does.

    Attributes:
        moved: [moves of D, of G, rounds in which D rested, in which G rested] since somebody last set it to zeros.
        corrections: what was changed about a failure.
        between: called before each microbatch; what it raises ends the round.
    """

    config: TrainConfig
    device: torch.device
    game: Game
    lens: Lens
    average: Generator
    g_optimiser: Optimizer
    d_optimiser: Optimizer
    referee: Referee
    ada: Ada | None
    schedules: dict[str, Schedule]
    layout: torch.memory_format
    moved: np.ndarray
    corrections: Corrections = field(default_factory=Corrections)
    between: Callable[[], None] = lambda: None

    @classmethod
    def seat(cls, config: TrainConfig, shape: Shape, device: torch.device) -> "Players":
        """Builds untrained players from the configuration's seed, equal on every rank.

        Raises:
            GanvasError: the objective does not exist.
        """
        play = config.play
        rules = objective(play.objective, smoothing=play.smoothing)
        torch.manual_seed(config.seed)
        generator, discriminator = networks.build(config.network, shape)
        if play.spectral:
            networks.bound_spectrally(discriminator)
        convolves = any(isinstance(m, nn.Conv2d) for m in discriminator.modules())
        layout = torch.channels_last if convolves else torch.contiguous_format
        generator = generator.to(device=device, memory_format=layout)  # type: ignore[call-overload]
        discriminator = discriminator.to(device=device, memory_format=layout)  # type: ignore[call-overload]
        lens = Lens(play.augment)
        return cls(
            config=config,
            device=device,
            game=Game(generator, discriminator, rules, lens),
            lens=lens,
            average=ema.average_of(generator),
            g_optimiser=_optimiser(generator, config.optimisation, device),
            d_optimiser=_optimiser(discriminator, config.optimisation, device),
            referee=Referee(config.balance),
            ada=Ada(play.ada_target, play.ada_kimg).to(device) if play.ada_target > 0 else None,
            schedules=config.schedules(),
            layout=layout,
            moved=np.zeros(4, int),
        )

    @property
    def parts(self) -> dict[str, nn.Module | Optimizer]:
        """What must survive, named once."""
        return {
            "G": self.game.G,
            "D": self.game.D,
            "ema": self.average,
            "g_optimiser": self.g_optimiser,
            "d_optimiser": self.d_optimiser,
            **({"referee": self.referee} if self.referee.watches else {}),
            **({"ada": self.ada} if self.ada is not None else {}),
        }

    def knobs(self, nimg: int) -> dict[str, float]:
        """The value of every scheduled knob after `nimg` images."""
        scheduled = {name: schedule.at(nimg, self.config.total) for name, schedule in self.schedules.items()}
        return self.corrections.corrected(scheduled)

    def correct(self, corrections: Corrections) -> None:
        """Plays on by other knobs."""
        self.corrections = corrections
        if corrections.augment and self.config.play.augment == "none":
            self.lens.augment("diffaugment")

    def round(self, batches: Sequence[Batch], nimg: int) -> tuple[Seen, Seen]:
        """The moves of D, those of G, and the average follows; who rests is the referee's word.

        Args:
            batches: this rank's share of a batch for each move of D.
            nimg: images shown before this round, over all ranks.

        Returns:
            What the moves saw (float [n] each), and the gradients' norms (float [moves] each), detached.
        """
        knobs, balance = self.knobs(nimg), self.config.balance
        self._set_the_scene(knobs, nimg)
        shared = self.config.play.shared_fakes
        z = self._latents(nimg, balance.d_steps + balance.g_steps - shared)
        d_moves, g_moves = self.referee.moves() if self.referee.watches else (True, True)
        # the graph of D's last fakes is kept for G, unless that would undo what small batches save
        kept = shared and d_moves and g_moves and not self.config.optimisation.microbatch
        seen: list[Seen] = []
        norms: list[Seen] = []

        for i, batch in enumerate(batches):
            real, labels = self._prepared(batch)
            if d_moves:
                fake, saw = self._train_d(real, labels, z[i], knobs, nimg, i, graph=kept and i == len(batches) - 1)
                seen += saw
                norms.append({"D/gradient": self._step(self.d_optimiser, self.game.D, knobs["d_lr"], knobs["beta2"])})
                self._clip()
        for j in range(balance.g_steps * g_moves):
            own = fake if kept and j == 0 else None
            seen += self._train_g(real, labels, z[len(batches) + j - shared], own)
            norms.append({"G/gradient": self._step(self.g_optimiser, self.game.G, knobs["g_lr"], knobs["beta2"])})

        self.moved += d_moves * balance.d_steps, g_moves * balance.g_steps, not d_moves, not g_moves
        self._average(nimg + self.config.a_round, knobs["ema"])
        together = _joined(seen)
        if self.referee.watches:
            if not (d_moves and g_moves):
                together = self._look(real, labels, z[-1]) | together
            self.referee.saw(*(distributed.mean(together[name].mean()) for name in ("D/loss", "G/loss")))
        return together, _joined(norms)

    def _set_the_scene(self, knobs: dict[str, float], nimg: int) -> None:
        """What the round's time and place decide: growth, the lens, and the random numbers inside the networks."""
        if "growth" in knobs:
            for player in (self.game.G, self.game.D, self.average):
                player.grow(knobs["growth"])
        self.lens.p = knobs["augment_p"] if self.ada is None else self.ada.p
        self.lens.noise = knobs["noise"]
        seed = self._seed(nimg, 1) + distributed.rank()
        if self.device.type == "cpu":  # the same numbers; torch.manual_seed formats a stack for each absent device
            torch.default_generator.manual_seed(seed)
        else:
            torch.manual_seed(seed)

    def _prepared(self, batch: Batch) -> Batch:
        """Reals as D is shown them, and the labels where they are learnt."""
        pictures, labels = batch
        real = self.game.D.view(to_unit(pictures).contiguous(memory_format=self.layout))
        return real, labels if self.config.pictures.conditional else None

    def _train_d(
        self, real: Tensor, labels: Tensor | None, z: Tensor, knobs: dict[str, float], nimg: int, i: int, *, graph: bool
    ) -> tuple[Tensor, list[Seen]]:
        """D's i-th move of a round, all but the step; its last fakes, with their graph if wished."""
        play, move = self.config.play, nimg // self.config.optimisation.batch + i
        due = play.penalty_every * (move % play.penalty_every == 0)
        penalties = Penalties(**{name: knobs[name] * due for name in ("r1", "r2", "gp", "dragan")})
        seen: list[Seen] = []
        for part, share in self._parts(len(real)):
            own = None if labels is None else labels[part]
            with torch.set_grad_enabled(graph):
                fake = self.game.G.shown(z[part], own)
            seen.append(train_d(self.game, real[part], fake, own, penalties=penalties, share=share))
        if self.ada is not None:
            for saw in seen:
                self.ada.saw(saw["D/real"])
            if move % ADJUST_EVERY == ADJUST_EVERY - 1:
                distributed.add([self.ada.signs])
                self.ada.adjust(ADJUST_EVERY * self.config.optimisation.batch)
        return fake, seen

    def _train_g(self, real: Tensor, labels: Tensor | None, z: Tensor, fake: Tensor | None) -> list[Seen]:
        """One move of G, all but the step, on fakes that are there already or on its own."""
        seen: list[Seen] = []
        for part, share in self._parts(len(real)):
            own = None if labels is None else labels[part]
            drawn = fake if fake is not None else self.game.G.shown(z[part], own)
            seen.append(train_g(self.game, real[part], drawn, own, share=share))
        return seen

    def _look(self, real: Tensor, labels: Tensor | None, z: Tensor) -> Seen:
        """What a resting player would lose, so that it can wake up."""
        part, _ = next(self._parts(len(real)))
        own = None if labels is None else labels[part]
        with torch.no_grad():
            fake = self.game.G.shown(z[part], own)
        return look(self.game, real[part], fake, own)

    def _parts(self, n: int) -> Iterator[tuple[slice, float]]:
        """The microbatches of n images, and each one's share of them."""
        size = min(self.config.optimisation.microbatch or n, n)
        for start in range(0, n, size):
            self.between()
            yield slice(start, start + size), (min(start + size, n) - start) / n

    def _step(self, optimiser: Optimizer, player: nn.Module, lr: float, beta2: float) -> Tensor:
        norm = distributed.mean_gradients(player)
        for group in optimiser.param_groups:
            group["lr"] = lr
            if "alpha" in group:
                group["alpha"] = beta2
            else:
                group["betas"] = self.config.optimisation.beta1 * self.corrections.momentum, beta2
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return norm.detach()

    @torch.no_grad()
    def _clip(self) -> None:
        if (bound := self.config.play.clip) > 0:
            for weight in self.game.D.parameters():
                weight.clamp_(-bound, bound)

    def _average(self, images: int, half_life_kimg: float) -> None:
        warmup = self.config.optimisation.ema_warmup
        half_life = min(half_life_kimg * 1000, warmup * images if warmup else math.inf)
        ema.update(self.average, self.game.G, images=self.config.a_round, half_life=half_life)

    def _seed(self, nimg: int, purpose: int) -> int:
        """A seed for a round and a purpose: a function of (seed, nimg), so that a resumed run draws the same."""
        return int(np.random.SeedSequence([self.config.seed, nimg]).generate_state(purpose + 1)[purpose])

    def _latents(self, nimg: int, draws: int) -> Tensor:
        """This rank's rows of the global latents of a round, float32 [draws n z]."""
        draw = torch.Generator().manual_seed(self._seed(nimg, 0))
        batch = self.config.optimisation.batch
        z = torch.randn(draws, batch, self.config.network.latent, generator=draw)  # on the CPU: equal on every device
        share = batch // distributed.world()
        return z[:, distributed.rank() * share : (distributed.rank() + 1) * share].to(self.device, non_blocking=True)


def _optimiser(player: nn.Module, knobs: Optimisation, device: torch.device) -> Optimizer:
    if knobs.optimiser == "rmsprop":
        return RMSprop(player.parameters(), foreach=True)
    return Adam(player.parameters(), fused=device.type in ("cpu", "cuda"))


def _joined(seen: Sequence[Seen]) -> Seen:
    """What several moves saw, as one: each quantity's values behind one another."""
    names = dict.fromkeys(name for own in seen for name in own)
    return {name: torch.cat([own[name].reshape(-1) for own in seen if name in own]) for name in names}
