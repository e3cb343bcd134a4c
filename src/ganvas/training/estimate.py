"""The cost of a run, estimated before its first round: operations, memory, time."""

import math
import time
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from ganvas import networks
from ganvas.config import Network, OptimisationConfig, TrainConfig, replace
from ganvas.config.custom import images_per_group, is_batch_normed
from ganvas.devices import free_bytes
from ganvas.diagnosis.rules.remedies import with_penalties
from ganvas.errors import GanvasError
from ganvas.features.frozen import FrozenNetwork
from ganvas.game.moves import Game, Penalties, train_d, train_g
from ganvas.game.objectives import get_objective
from ganvas.networks import Shape
from ganvas.progress import format_duration, format_rate
from ganvas.training import distributed, precision
from ganvas.training.state import TrainState

CPU = torch.device("cpu")

PASSES_PER_ROUND = 10
"""What a round costs, about, in forward passes of both networks."""

FLOPS_PER_THREAD = 4e8
"""Operations of a pass for which a second thread gains a fifth (docs/decisions/0005)."""

TRIAL_ROUNDS, TRIAL_SECONDS = 3, 10.0
"""A trial has this many timed rounds, or fewer if one ends after this many seconds."""

MAX_TRIAL_FRACTION = 0.05
"""The fraction of a run by time after which its trial ends with the round."""

BACKWARD_OVERHEAD = 1.5
"""Peak memory of a pass as a multiple of what the graph holds (measured: docs/results.md)."""

TRIAL_FLOPS = 2e11
"""Operations of a trial's round on a CPU at the most: a few seconds."""

MIN_AFFORDABLE_IMAGES = 0.2
"""If TRIAL_FLOPS allows fewer images a round than this (a round has at least two), only forward passes are timed."""

LARGE_TENSOR = 2**20
"""Bytes of a tensor from which on the memory of a graph is checked while it is made."""

MAX_MEMORY_FRACTION = 0.9
"""The fraction of the free memory that a run may need by this estimate."""


@dataclass(frozen=True)
class CostEstimate:
    """What a run costs.

    Attributes:
        g_parameters, d_parameters: learnt parameters of each network.
        g_flops, d_flops: operations of a forward pass per image (a multiply-add counts two).
        persistent_bytes: of the networks, also a frozen one, the average of G, the optimisers' state and the moments
            that are matched, on each process.
        bytes_per_image, bytes_per_pass: at the peak of an update, per image of a pass, and independent of their number.
        images_per_pass: images that pass through a network at a time, on each process.
        free_bytes: free on the device now.
        images_per_group: images of which D needs a multiple at a time (`ganvas.config.custom`).
        accumulates: whether the gradients of microbatches add up to those of the batch.
    """

    g_parameters: int
    d_parameters: int
    g_flops: int
    d_flops: int
    persistent_bytes: int
    bytes_per_image: float
    bytes_per_pass: float
    images_per_pass: int
    free_bytes: int
    images_per_group: int = 1
    accumulates: bool = True

    @property
    def peak_bytes(self) -> int:
        """Bytes on the device at the peak of a round, on each process."""
        return round(self.persistent_bytes + self.bytes_per_pass + self.bytes_per_image * self.images_per_pass)

    @property
    def fitting_images(self) -> int:
        """Images per pass that fit into MAX_MEMORY_FRACTION of the free memory; 0 or less where none does."""
        left = self.free_bytes * MAX_MEMORY_FRACTION - self.persistent_bytes - self.bytes_per_pass
        return self.in_groups(math.floor(left / max(self.bytes_per_image, 1)))

    def in_groups(self, images: int) -> int:
        """The number of images, rounded down to whole groups if it is at least one."""
        return images - images % self.images_per_group if images >= self.images_per_group else images


def format_cost(cost: CostEstimate, config: TrainConfig, images_per_s: float | None) -> str:
    """The estimate in two lines, and the speed in a third if it is known."""
    text = (
        f"  {config.network.family}: G {cost.g_parameters:,} parameters, {_format_flops(cost.g_flops)} an image; "
        f"D {cost.d_parameters:,}, {_format_flops(cost.d_flops)}\n"
        f"  about {cost.peak_bytes / 1e6:,.0f} MB of memory with {cost.images_per_pass} images at a time; "
        f"{cost.free_bytes / 1e6:,.0f} MB are free"
    )
    return text if images_per_s is None else f"{text}\n{format_speed(config.total_images, images_per_s)}"


def format_speed(total_images: int, images_per_s: float) -> str:
    """The speed of a trial, and how long a run of so many images takes at it, in a line."""
    duration = format_duration(total_images / images_per_s)
    return f"  {format_rate(images_per_s)} images/s in a trial: {duration} for {total_images / 1000:g} kimg"


def _format_flops(flops: int) -> str:
    return f"{flops / 1e9:.1f} GFLOP" if flops >= 1e9 else f"{flops / 1e6:.1f} MFLOP"


def choose_threads(cost: CostEstimate) -> int:
    """The number of CPU threads for a run: small networks run no faster on many.

    It depends on the configuration and the machine, not on a trial or the load: the same command is to train the
    same weights, and the number of threads may change the last bit of a sum.
    """
    flops = (cost.g_flops + cost.d_flops) * PASSES_PER_ROUND * cost.images_per_pass
    return max(1, min(torch.get_num_threads(), round(flops / FLOPS_PER_THREAD)))


def estimate_cost(config: TrainConfig, shape: Shape, device: torch.device) -> CostEstimate:
    """Sizes, operations and memory, from one update of each network on tiny batches on the CPU.

    The peak is linear in the images per pass, so two points give it for any batch. Families that grow are taken at
    their full size. Draws from torch's global generator.

    Raises:
        GanvasError: the parameters alone do not fit into memory, which is found before they are made.
    """
    free = free_bytes(device)
    config = replace(config, precision=precision.choose(config.runtime.precision, device))
    state = _build_within(config, shape, free)
    game = state.game
    g, d = (networks.count_parameters(network) for network in (game.G, game.D))
    persistent = _persistent_bytes(config, g, d) + _fixed_bytes(state)
    with_2, with_4 = (_graph_bytes(state, shape, n, persistent, free) for n in (2, 4))
    g_flops, d_flops = _forward_flops(game, config.network.latent, shape)
    return CostEstimate(
        g_parameters=g,
        d_parameters=d,
        g_flops=g_flops,
        d_flops=d_flops,
        persistent_bytes=persistent,
        bytes_per_image=BACKWARD_OVERHEAD * max(0, with_4 - with_2) / 2,
        bytes_per_pass=max(0, 2 * with_2 - with_4) + 4 * max(g, d),  # with the gradients of one network
        images_per_pass=_images_per_pass(config.optimisation),
        free_bytes=free,
        images_per_group=images_per_group(config.network),
        accumulates=not is_batch_normed(config.network) and config.loss.objective != "rahinge",
    )


def _build_within(config: TrainConfig, shape: Shape, free: int) -> TrainState:
    """The untrained networks; the first parameter with which they no longer fit ends the building, before it is set."""
    needed = 0

    def add(parameter: Tensor) -> None:
        nonlocal needed
        needed += _persistent_bytes(config, 0, parameter.numel())
        if needed > free * MAX_MEMORY_FRACTION:
            raise _too_large(f"more than {needed / 1e9:.1f} GB of", free)

    try:
        with networks.seen_parameters(add):
            return TrainState.build(config, shape, torch.device("cpu"))
    except RuntimeError as error:  # one that is larger than any memory
        if "allocate memory" not in str(error) and "overflow" not in str(error):
            raise
        raise _too_large("far more", free) from error


def _persistent_bytes(config: TrainConfig, g: int, d: int) -> int:
    """Bytes of G, its average, D, and the optimisers' moments."""
    moments = 2 if config.optimisation.optimiser == "adam" else 1
    return 4 * (2 * g + d + moments * (g + d))


def _fixed_bytes(state: TrainState) -> int:
    """Bytes of what is not learnt: buffers, such as fixed random mixing and running moments, and a frozen network."""
    game = state.game
    holders = [game.G, game.D, state.g_ema, *([] if game.moments is None else [game.moments])]
    frozen = sum(module.nbytes for module in game.D.modules() if isinstance(module, FrozenNetwork))
    return frozen + sum(buffer.nbytes for holder in holders for buffer in holder.buffers())


def forward_flops(network: Network, shape: Shape) -> tuple[int, int]:
    """Operations of a forward pass of G and of D per image (a multiply-add counts two), at full size.

    The networks are built on the meta device, so nothing is computed.

    Raises:
        GanvasError: there is no network of this shape.
    """
    with torch.device("meta"):
        G, D = networks.build(network, shape)
        return _forward_flops(Game(G, D, get_objective("non-saturating")), network.latent, shape)


def _forward_flops(game: Game, latent: int, shape: Shape) -> tuple[int, int]:
    z, labels = torch.zeros(2, latent), torch.zeros(2, dtype=torch.long) if shape.classes else None
    with torch.no_grad():
        images = game.G.d_input(z, labels)
        with networks.FlopCounter() as of_d:
            game.D(game.D.d_input(images) if game.D.frozen_input else images, labels)
    return networks.count_flops(game.G, z, labels) // 2, of_d.total // 2


def _images_per_pass(optimisation: OptimisationConfig) -> int:
    """Images that pass through a network at a time, on each process."""
    local_batch = optimisation.batch // distributed.world_size()
    return min(optimisation.microbatch or local_batch, local_batch)


def check_memory(cost: CostEstimate) -> None:
    """Refuses a run that does not fit into memory, and says how many images per pass would fit.

    Raises:
        GanvasError: the estimate is above MAX_MEMORY_FRACTION of the free memory.
    """
    if cost.peak_bytes > cost.free_bytes * MAX_MEMORY_FRACTION:
        fits, fix = cost.fitting_images, ""
        if fits > 0:
            fix = f"--batch {fits * distributed.world_size()} would fit."
            if cost.accumulates:
                fix = f"{fix[:-1]}; --microbatch {fits} keeps the batch and its gradients, and takes longer."
        raise _too_large(f"about {cost.peak_bytes / 1e9:.1f} GB of", cost.free_bytes, fix)


def _too_large(needed: str, free: int, fix: str = "") -> GanvasError:
    """The error for a run that needs too much memory; without a fix, a single image does not fit."""
    return GanvasError(
        f"This needs {needed} memory, and {free / 1e9:.1f} GB are free.",
        expected=f"at most {MAX_MEMORY_FRACTION:.0%} of what is free",
        fix=fix or "use narrower networks, or a smaller --resolution: these do not fit with a single image.",
    )


def measure_speed(cost: CostEstimate, config: TrainConfig, shape: Shape, device: torch.device) -> float:
    """Images per second over all processes, measured on separate networks with random images, at full size.

    One round warms up, then TRIAL_ROUNDS are timed, or as many as end within TRIAL_SECONDS, and of a run by time within
    MAX_TRIAL_FRACTION of it. Where only some rounds have penalties (`penalty_every`), rounds of both kinds are timed,
    and each kind counts as often as the run has it. On a CPU, rounds of large networks would take minutes: they have
    fewer images, in which the time is nearly linear there. Where two images are too many, only the forward passes are
    timed.
    """
    n = config.optimisation.batch // distributed.world_size()
    if device.type == "cpu":
        affordable = TRIAL_FLOPS / (PASSES_PER_ROUND * config.balance.d_steps * (cost.g_flops + cost.d_flops))
        n = min(n, max(2, round(affordable)))
        if (microbatch := config.optimisation.microbatch) and microbatch < n:
            n -= n % microbatch  # batch norm fails on one that is left over
        config = replace(config, batch=n * distributed.world_size())
        if affordable < MIN_AFFORDABLE_IMAGES:
            return distributed.world_size() / (PASSES_PER_ROUND * _time_forward(config, shape))
    state = TrainState.build(config, shape, device)
    images = torch.randint(0, 256, (n, *shape[:3]), dtype=torch.uint8, device=device)
    labels = torch.zeros(n, dtype=torch.long, device=device) if shape.classes else None
    batches = [(images, labels)] * config.balance.d_steps
    starts, share = _kinds_of_rounds(config, state.plan.total)
    seconds: list[float] = []
    longest = min(TRIAL_SECONDS, MAX_TRIAL_FRACTION * 60 * (config.minutes or math.inf))
    while len(seconds) < len(starts) or (
        len(seconds) < 1 + TRIAL_ROUNDS and not distributed.all_reduce_any(sum(seconds) >= longest)[0]
    ):
        began = time.perf_counter()
        start = starts[len(seconds) % len(starts)]
        state.update_policy.d_updates.fill_(start // config.optimisation.batch)
        _, norms = state.train_round(batches, start)
        next(iter(norms.values())).tolist()  # waits for the device
        seconds.append(time.perf_counter() - began)
    first = seconds[:: len(starts)]
    mean = fmean(first[1:] or first)
    if share < 1:
        mean = share * mean + (1 - share) * fmean(seconds[1::2])  # the first round has warmed up for this kind too
    return config.images_per_round / mean


def _kinds_of_rounds(config: TrainConfig, total: int) -> tuple[tuple[int, ...], float]:
    """Images shown before a round of each kind near the end of a run of `total` images.

    Where some rounds have more updates of D with penalties than others, there are two: with more, with fewer.

    Returns:
        These images, and the share of the first kind in all rounds.
    """
    d_steps, every, batch = config.balance.d_steps, config.loss.penalty_every, config.optimisation.batch
    if not config.loss.penalised or d_steps % every == 0:
        return (max(0, total - config.images_per_round),), 1.0
    penalised = math.ceil(total / (batch * every)) * batch * every  # begins with an update that has penalties
    return (penalised, penalised + batch), d_steps % every / every


def _time_forward(config: TrainConfig, shape: Shape) -> float:
    """Seconds of one forward pass of both networks per image, on the CPU."""
    game = Game(*networks.build(config.network, shape), get_objective("non-saturating"))
    z, labels = torch.zeros(2, config.network.latent), torch.zeros(2, dtype=torch.long) if shape.classes else None
    began = time.perf_counter()
    with torch.no_grad():
        game.D(game.fake_input(z, labels), labels)
    return (time.perf_counter() - began) / 2


def round_flops(config: TrainConfig, shape: Shape, device: torch.device = CPU) -> float:
    """Operations of training per real image shown to D: updates of both networks, penalties included.

    Counts matrix products, convolutions and attention as they are dispatched (a multiply-add counts two), over
    `penalty_every` rounds of two images. Families that grow are taken at their full size. On the meta device nothing is
    computed, which is faster for large networks; a user's own code may need values.
    """
    with networks.FlopCounter() as counter:
        images = play_every_kind_of_round(config, shape, device)
    return counter.total / images


def play_every_kind_of_round(config: TrainConfig, shape: Shape, device: torch.device) -> int:
    """Plays `penalty_every` rounds of two images, with all penalties, on separate networks at full size.

    On a GPU an operation that PyTorch lacks there is found by it, before anything is trained.

    Returns:
        Real images shown to D.
    """
    small = replace(config, batch=2)
    state = TrainState.build(small, shape, device)
    labels = torch.zeros(2, dtype=torch.long, device=device) if shape.classes else None
    batches = [(torch.zeros(2, *shape[:3], dtype=torch.uint8, device=device), labels)] * config.balance.d_steps
    rounds, total = config.loss.penalty_every, state.plan.total // small.images_per_round * small.images_per_round
    for i in range(rounds):
        state.train_round(batches, total + i * small.images_per_round)
    return rounds * small.images_per_round


def _graph_bytes(state: TrainState, shape: Shape, n: int, persistent: int, free: int) -> int:
    """Bytes that the autograd graph of an update holds, over n images: the larger of D's and G's.

    D's has the penalties that a correction may add (`--on-failure`).

    Raises:
        GanvasError: it does not fit beside the `persistent` bytes into the free ones; found while it is made.
    """
    game, loss_config = state.game, state.config.loss
    z, labels = torch.randn(n, state.config.network.latent), torch.zeros(n, dtype=torch.long)
    labels = labels if shape.classes else None
    schedules = with_penalties(state.config).schedules()
    penalties = Penalties(**{name: max(schedules[name].ends) for name in ("r1", "r2", "gp", "dragan")})
    with torch.no_grad():
        real = game.real_input(torch.zeros(n, *shape[:3]).contiguous(memory_format=state.memory_format))
    saved: dict[int, int] = {}  # address -> bytes; no saved tensor is freed before the backward pass

    def record(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes()
        if storage.nbytes() > LARGE_TENSOR:
            needed = persistent + sum(saved.values())
            if needed > free * MAX_MEMORY_FRACTION:
                raise _too_large(f"more than {needed / 1e9:.1f} GB of", free)
        return tensor

    with saved_tensors_hooks(record, lambda tensor: tensor):
        with torch.set_grad_enabled(loss_config.shared_fakes):
            fake = game.fake_input(z, labels)
        g_graph = dict(saved)
        train_d(game, real, fake, labels, penalties=penalties)
        d_bytes = sum(saved.values())
        saved.clear()
        saved.update(g_graph)
        fake = fake if loss_config.shared_fakes else game.fake_input(z, labels)
        train_g(game, real, fake, labels, matching=max(state.schedules["moments"].ends))
    for network in (game.G, game.D):
        network.zero_grad(set_to_none=True)
    return max(d_bytes, sum(saved.values()))


def max_disk_bytes(config: TrainConfig, g: int, d: int) -> int:
    """Bytes on disk of a run at the most, without grids and logs, for networks of g and d parameters."""
    keep = config.runtime.keep_kimg
    kept = 0 if keep is None else 1 + int(config.total_images / max(1000 * keep, config.snapshot_every()))
    snapshots = 4 + kept  # with the best, and one being written
    return 4 * (snapshots * g + 2 * (4 * g + 3 * d))  # a file that is being replaced exists twice
