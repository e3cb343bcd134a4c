"""Everything that training changes: G, D, the moving average of G, their optimisers; and one round of updates."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ganvas import drawing, networks
from ganvas.config import OptimisationConfig, TrainConfig
from ganvas.data import ImageSet
from ganvas.data.pixels import to_unit
from ganvas.data.selection import assign_classes, class_shares
from ganvas.game.augment import ADJUST_EVERY, Ada, AugmentPipe
from ganvas.game.balance import UpdatePolicy
from ganvas.game.moments import MomentMatching
from ganvas.game.moves import Game, Penalties, evaluate_losses, learnt
from ganvas.game.objectives import get_objective
from ganvas.networks import Generator, Shape
from ganvas.optimisers import Adam, RMSprop
from ganvas.pytorch_state import seed_generators
from ganvas.schedule import Schedule
from ganvas.training import checks, distributed, ema, precision
from ganvas.training.compilation import CompiledUpdates, EagerUpdates, Updates
from ganvas.training.planning import Plan
from ganvas.training.randomness import LatentStream, round_seed

Quantities = dict[str, Tensor]
"""What a round measured, by name: "D/loss", "G/gradient" …, float [n] each, detached."""

MIN_IMAGES_PER_CLASS = 2
"""Images of a batch for each class, on average, from which on each class has moments of its own."""

STATISTICS_PASSES, STATISTICS_BATCH = 8, 64
"""Forward passes of the average of G, and images in each, over which its batch statistics are estimated."""

Batch = tuple[Tensor, Tensor | None]
"""This process's share of a batch: images uint8 [n c h w], labels int64 [n] or None."""


@dataclass
class TrainState:
    """Networks, optimisers and controllers of a training, and the configuration by which a round updates them.

    Attributes:
        g_ema: the moving average of G.
        update_policy: decides which of the networks are updated in a round.
        plan: the length of the run, by which the schedules go.
        memory_format: of the networks' weights and inputs: channels_last where D has 2D convolutions.
        update_counts: [updates of D, of G, rounds in which D was skipped, in which G was skipped] since they were last
            zeroed.
        updates: what a round calls to update the networks of `game`.
        before_microbatch: called before each microbatch; an exception from it ends the round.
        precision: fp32, tf32, bf16 or fp16: of G and D; their average is float32.
        ema_warmup: the knob of this name, or 0 where all of the average was taken over from another training.
    """

    config: TrainConfig
    device: torch.device
    game: Game
    augment_pipe: AugmentPipe
    g_ema: Generator
    g_optimiser: Optimizer
    d_optimiser: Optimizer
    update_policy: UpdatePolicy
    ada: Ada | None
    schedules: dict[str, Schedule]
    plan: Plan
    memory_format: torch.memory_format
    update_counts: np.ndarray
    updates: Updates
    latents: LatentStream
    before_microbatch: Callable[[], None] = lambda: None
    precision: str = "fp32"
    ema_warmup: float = 0.0

    @classmethod
    def build(cls, config: TrainConfig, shape: Shape, device: torch.device) -> "TrainState":
        """Builds untrained networks from the configuration's seed; they are equal on every process.

        Raises:
            GanvasError: the user's own network, objective or augmentation cannot be used.
        """
        loss_config = config.loss
        losses = get_objective(loss_config.objective, smoothing=loss_config.label_smoothing)
        seed_generators(config.seed, device)
        generator, discriminator = networks.build(config.network, shape)
        if config.user_specs():
            checks.check_user_code(config, generator, discriminator, losses, shape)
        if loss_config.spectral_norm:
            networks.apply_spectral_norm(discriminator)
        convolves = any(isinstance(m, nn.Conv2d) for m in discriminator.modules())
        convolves = convolves and checks.work_in_channels_last(config, generator, discriminator, shape)
        memory_format = torch.channels_last if convolves else torch.contiguous_format
        generator = generator.to(device=device, memory_format=memory_format)  # type: ignore[call-overload]
        discriminator = discriminator.to(device=device, memory_format=memory_format)  # type: ignore[call-overload]
        augment_pipe = AugmentPipe(loss_config.augment)
        moments = _build_moments(config, discriminator, shape, device)
        game = Game(generator, discriminator, losses, augment_pipe, moments)
        average = ema.frozen_copy(generator)
        chosen = precision.choose(config.runtime.precision, device)
        for network in (generator, discriminator):
            network.set_activation_dtype(precision.DTYPES[chosen])
        if precision.DTYPES[chosen] not in (generator.activation_dtype, discriminator.activation_dtype):
            chosen = "fp32"
        return cls(
            config=config,
            device=device,
            game=game,
            augment_pipe=augment_pipe,
            g_ema=average,
            g_optimiser=_build_optimiser(generator, config.optimisation, device),
            d_optimiser=_build_optimiser(discriminator, config.optimisation, device),
            update_policy=UpdatePolicy(config.balance),
            ada=Ada(loss_config.ada_target, loss_config.ada_kimg).to(device) if loss_config.ada_target > 0 else None,
            schedules=config.schedules(),
            plan=Plan.of(config),
            memory_format=memory_format,
            update_counts=np.zeros(4, int),
            updates=EagerUpdates(game),
            latents=LatentStream(config, device),
            precision=chosen,
            ema_warmup=config.optimisation.ema_warmup,
        )

    def compile(self, report: Callable[[str], object]) -> None:
        """Compiles the updates of all later rounds; `report` is told what cannot be compiled."""
        self.updates = CompiledUpdates(self.game, self.device, report)

    @property
    def is_compiled(self) -> bool:
        return isinstance(self.updates, CompiledUpdates)

    @property
    def compile_attempts(self) -> int:
        """How often something was compiled so far, or could not be; 0 without --compile."""
        return self.updates.attempts if isinstance(self.updates, CompiledUpdates) else 0

    @property
    def parts(self) -> dict[str, nn.Module | Optimizer]:
        """What a checkpoint saves, by name."""
        return {
            "G": self.game.G,
            "D": self.game.D,
            "ema": self.g_ema,
            "g_optimiser": self.g_optimiser,
            "d_optimiser": self.d_optimiser,
            **({"update_policy": self.update_policy} if self.update_policy.is_active else {}),
            **({"ada": self.ada} if self.ada is not None else {}),
            **({"moments": self.game.moments} if self.game.moments is not None else {}),
        }

    def average_for_sampling(self, images: ImageSet) -> Generator:
        """The average of G, with batch statistics of its own until the next round; deterministic."""
        n, size, labels = STATISTICS_PASSES * STATISTICS_BATCH, STATISTICS_BATCH, None
        if self.config.dataset.conditional and (shares := class_shares(images)) is not None:
            labels = torch.from_numpy(assign_classes(np.arange(n), shares)).to(self.device)
        z = drawing.sample_latents(range(n), self.config.network.latent).to(self.device)
        parts = [slice(start, start + size) for start in range(0, n, size)]
        passes = (partial(self.g_ema, z[part], None if labels is None else labels[part]) for part in parts)
        ema.estimate_statistics(self.g_ema, passes)
        return self.g_ema

    def scheduled_values(self, nimg: int) -> dict[str, float]:
        """The value of every scheduled knob after `nimg` images."""
        fraction = self.plan.fraction_at(nimg)
        return {name: schedule.at(nimg, fraction) for name, schedule in self.schedules.items()}

    def set_augmentation(self, nimg: int) -> None:
        """Sets the augmentation's probability and the instance noise to those after `nimg` images."""
        self._set_augmentation(self.scheduled_values(nimg))

    def is_growing(self, nimg: int) -> bool:
        """Whether the networks of the end of the run are larger than those after `nimg` images."""
        growth = self.schedules.get("growth")
        return growth is not None and self.scheduled_values(nimg)["growth"] < growth.at(self.plan.total, 1.0)

    def reconfigure(self, config: TrainConfig) -> None:
        """Continues with changed learning rates, momentum, penalties, noise, augmentation, or numbers of updates."""
        self.config, self.schedules = config, config.schedules()
        self.latents = LatentStream(config, self.device)
        self.augment_pipe.set_augmentation(config.loss.augment)

    def train_round(self, batches: Sequence[Batch], nimg: int) -> tuple[Quantities, Quantities]:
        """Updates D `d_steps` times, G `g_steps` times, and then the moving average; the update policy may skip one.

        Args:
            batches: this process's share of a batch for each update of D.
            nimg: images shown before this round, over all processes.

        Returns:
            Losses, logits and penalties (float [n] each), and gradient norms (float [updates] each), detached.
        """
        with precision.arithmetic(self.precision):
            return self._train_round(batches, nimg)

    def _train_round(self, batches: Sequence[Batch], nimg: int) -> tuple[Quantities, Quantities]:
        scheduled, balance = self.scheduled_values(nimg), self.config.balance
        self._apply_schedules(scheduled, nimg)
        shared = self.config.loss.shared_fakes
        z = self.latents.of_round(nimg)
        update_d, update_g = self.update_policy.decide() if self.update_policy.is_active else (True, True)
        # the graph of D's last fakes is kept for G, but not with microbatches: it would need the memory they save
        keep_graph = shared and update_d and update_g and not self.config.optimisation.microbatch
        measured: list[Quantities] = []
        norms: list[Quantities] = []

        for i, batch in enumerate(batches):
            real, labels = self._prepare_batch(batch)
            if update_d:
                keep = keep_graph and i == len(batches) - 1
                fake, quantities = self._accumulate_d_gradients(real, labels, z[i], scheduled, nimg, i, keep_graph=keep)
                measured += quantities
                norm = self._step(self.d_optimiser, self.game.D, scheduled["d_lr"], scheduled["beta2"])
                norms.append({"D/gradient": norm})
                self._clip_weights()
                self.update_policy.d_updates += 1
        for j in range(balance.g_steps * update_g):
            reused = fake if keep_graph and j == 0 else None
            z_g = z[len(batches) + j - shared]
            measured += self._accumulate_g_gradients(real, labels, z_g, reused, scheduled["moments"])
            self._average_moments()
            norm = self._step(self.g_optimiser, self.game.G, scheduled["g_lr"], scheduled["beta2"])
            norms.append({"G/gradient": norm})

        self.update_counts += update_d * balance.d_steps, update_g * balance.g_steps, not update_d, not update_g
        self._update_ema(nimg + self.config.images_per_round, scheduled["ema"])
        quantities = _concatenate(measured)
        if self.update_policy.is_active:
            if not (update_d and update_g):
                quantities = self._measure_losses(real, labels, z[-1]) | quantities
            means = (distributed.all_reduce_mean(quantities[name].mean()) for name in ("D/loss", "G/loss"))
            self.update_policy.record_losses(*means)
        return quantities, _concatenate(norms)

    def _apply_schedules(self, scheduled: dict[str, float], nimg: int) -> None:
        """Sets growth, augmentation and instance noise of the round, and seeds what is random inside the networks."""
        if "growth" in scheduled:
            for network in (self.game.G, self.game.D, self.g_ema):
                network.grow(scheduled["growth"])
        self._set_augmentation(scheduled)
        seed_generators(round_seed(self.config.seed, nimg, 1) + distributed.rank(), self.device)

    def _set_augmentation(self, scheduled: dict[str, float]) -> None:
        self.augment_pipe.p = scheduled["augment_p"] if self.ada is None else self.ada.p
        self.augment_pipe.noise = scheduled["noise"]

    def _prepare_batch(self, batch: Batch) -> Batch:
        """Real images as D's input, and the labels where training is conditional.

        A frozen network sees one microbatch at a time: its feature maps need memory too.
        """
        images, labels = batch
        pixels = to_unit(images).contiguous(memory_format=self.memory_format)
        size = self.config.optimisation.microbatch if self.game.D.frozen_input else None
        with torch.no_grad():
            parts = [self.updates.real_input(part) for part in pixels.split(size or len(pixels))]
        real = parts[0] if len(parts) == 1 else torch.cat(parts)
        return real, labels if self.config.dataset.conditional else None

    def _accumulate_d_gradients(
        self,
        real: Tensor,
        labels: Tensor | None,
        z: Tensor,
        scheduled: dict[str, float],
        nimg: int,
        i: int,
        *,
        keep_graph: bool,
    ) -> tuple[Tensor, list[Quantities]]:
        """Gradients of D's i-th update of a round; returns the last fakes too, with their graph if it is kept."""
        loss_config, policy = self.config.loss, self.update_policy
        update = int(policy.d_updates) if policy.is_active else nimg // self.config.optimisation.batch + i
        scale = loss_config.penalty_every * (update % loss_config.penalty_every == 0)
        penalties = Penalties(**{name: scheduled[name] * scale for name in ("r1", "r2", "gp", "dragan")})
        measured: list[Quantities] = []
        for part, share in self._microbatches(len(real)):
            part_labels = None if labels is None else labels[part]
            with torch.set_grad_enabled(keep_graph):
                fake = self.updates.fake_input(z[part], part_labels)
            measured.append(self.updates.train_d(real[part], fake, part_labels, penalties=penalties, share=share))
        if self.ada is not None:
            before = self.ada.signs.clone()
            for quantities in measured:
                self.ada.record_logits(quantities["D/real"] - self.game.objective.boundary)
            distributed.all_reduce_sum([self.ada.signs.sub_(before)])  # at once: a saved state is that of one process
            self.ada.signs += before
            if update % ADJUST_EVERY == ADJUST_EVERY - 1:
                self.ada.adjust(ADJUST_EVERY * self.config.optimisation.batch)
        return fake, measured

    def _accumulate_g_gradients(
        self, real: Tensor, labels: Tensor | None, z: Tensor, fake: Tensor | None, matching: float
    ) -> list[Quantities]:
        """Gradients of one update of G, on `fake` (with its graph), or where that is None on fakes from z."""
        measured: list[Quantities] = []
        for part, share in self._microbatches(len(real)):
            part_labels = None if labels is None else labels[part]
            part_fake = fake if fake is not None else self.updates.fake_input(z[part], part_labels)
            measured.append(self.updates.train_g(real[part], part_fake, part_labels, matching=matching, share=share))
        return measured

    def _average_moments(self) -> None:
        """The running moments of all processes' fakes, on each."""
        if self.game.moments is not None and distributed.world_size() > 1:
            for moments in self.game.moments.running:
                moments.copy_(distributed.all_reduce_mean(moments))

    def _measure_losses(self, real: Tensor, labels: Tensor | None, z: Tensor) -> Quantities:
        """The losses on the first microbatch, without an update: the update policy needs those of both networks."""
        part, _ = next(self._microbatches(len(real)))
        part_labels = None if labels is None else labels[part]
        with torch.no_grad():
            fake = self.game.fake_input(z[part], part_labels)
        return evaluate_losses(self.game, real[part], fake, part_labels)

    def _microbatches(self, n: int) -> Iterator[tuple[slice, float]]:
        """The microbatches of n images, and each one's fraction of them, times the losses' scale."""
        size = min(self.config.optimisation.microbatch or n, n)
        for start in range(0, n, size):
            self.before_microbatch()
            yield slice(start, start + size), (min(start + size, n) - start) / n * self._loss_scale

    @property
    def _loss_scale(self) -> float:
        return precision.HALF_LOSS_SCALE if self.precision == "fp16" else 1.0

    def _step(self, optimiser: Optimizer, network: nn.Module, lr: float, beta2: float) -> Tensor:
        """Averages the gradients over the processes and takes a step; returns the norm of the averaged gradient."""
        if self._loss_scale != 1:
            gradients = [p.grad for p in network.parameters() if p.grad is not None]
            torch._foreach_div_(gradients, self._loss_scale)  # pyright: ignore[reportPrivateImportUsage]
        norm = distributed.average_gradients(network)
        for group in optimiser.param_groups:
            group["lr"] = lr
            if "alpha" in group:  # RMSprop
                group["alpha"] = beta2
            else:
                group["betas"] = self.config.optimisation.beta1, beta2
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return norm.detach()

    @torch.no_grad()
    def _clip_weights(self) -> None:
        if (bound := self.config.loss.clip) > 0:
            for weight in learnt(self.game.D):
                weight.clamp_(-bound, bound)

    def _update_ema(self, images: int, half_life_kimg: float) -> None:
        half_life = min(half_life_kimg * 1000, self.ema_warmup * images if self.ema_warmup else math.inf)
        ema.update(self.g_ema, self.game.G, images=self.config.images_per_round, half_life=half_life)


def _build_moments(
    config: TrainConfig, discriminator: networks.Discriminator, shape: Shape, device: torch.device
) -> MomentMatching | None:
    if max(Schedule.parse(config.loss.moments).ends) == 0:
        return None
    with torch.no_grad():
        example = discriminator.d_input(torch.zeros(1, *shape[:3], device=device))
    classes = shape.classes if config.optimisation.batch >= MIN_IMAGES_PER_CLASS * shape.classes else 0
    return MomentMatching(discriminator.unpack, example, classes).to(device)


def _build_optimiser(network: nn.Module, knobs: OptimisationConfig, device: torch.device) -> Optimizer:
    if knobs.optimiser == "rmsprop":
        return RMSprop(network.parameters(), foreach=True)
    return Adam(network.parameters(), fused=device.type in ("cpu", "cuda", "xpu"))


def _concatenate(measured: Sequence[Quantities]) -> Quantities:
    """The values of each quantity over several updates, concatenated."""
    names = dict.fromkeys(name for quantities in measured for name in quantities)
    return {name: torch.cat([part[name].reshape(-1) for part in measured if name in part]) for name in names}
