"""What a run will cost, found out before its first step: operations, memory, time."""

import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from ganvas import networks
from ganvas.config import Network, TrainConfig, replace
from ganvas.devices import free_bytes
from ganvas.errors import GanvasError
from ganvas.game.moves import Penalties, train_d, train_g
from ganvas.networks import Shape
from ganvas.training import distributed
from ganvas.training.progress import clock
from ganvas.training.state import Players

PASSES = 10
"""Forward passes of both networks that a round costs, about."""

FLOPS_A_THREAD = 4e8
"""Operations of a player's images at a time for which a second thread gains a fifth (docs/decisions/0005)."""

TRIAL_ROUNDS, TRIAL_SECONDS = 3, 10.0
"""A trial ends after so many rounds, or with the first that ends later than this."""

TRANSIENT = 1.5
"""What the backward pass and the libraries need besides what the graph holds (measured: docs/results.md)."""

TRIAL_FLOPS = 2e11
"""Operations that a round of a trial may cost on a CPU: a few seconds."""

LEAST_AFFORDABLE = 0.2
"""Pictures of a trial's round that these operations must pay for, of the two that a round needs at least."""

HEADROOM = 0.9
"""The part of the free memory that a run may fill by this estimate."""


@dataclass(frozen=True)
class Estimate:
    """What a run costs.

    Attributes:
        g_parameters, d_parameters: numbers that each network learns.
        g_flops, d_flops: operations of one forward pass an image (a multiply-add counts two).
        kept: bytes of the networks, their average and their optimisers, on each process.
        an_image, a_pass: bytes at the peak of a move, for each image that passes at a time, and besides.
        images: how many pass at a time.
        free: bytes that are free on the device now.
    """

    g_parameters: int
    d_parameters: int
    g_flops: int
    d_flops: int
    kept: int
    an_image: float
    a_pass: float
    images: int
    free: int

    @property
    def memory(self) -> int:
        """Bytes on the device at the peak of a round, on each process."""
        return round(self.kept + self.a_pass + self.an_image * self.images)


def described(cost: Estimate, config: TrainConfig, images_per_s: float | None) -> str:
    """What people are told of it, in two lines."""
    said = (
        f"  {config.network.family}: G {cost.g_parameters:,} parameters, {_operations(cost.g_flops)} an image; "
        f"D {cost.d_parameters:,}, {_operations(cost.d_flops)}\n"
        f"  about {cost.memory / 1e6:,.0f} MB of memory with {cost.images} images at a time; "
        f"{cost.free / 1e6:,.0f} MB are free"
    )
    return said if images_per_s is None else f"{said}\n{timed(config, images_per_s)}"


def timed(config: TrainConfig, images_per_s: float) -> str:
    """How long it takes at the speed of a trial, in a line."""
    speed = f"{images_per_s:,.0f}" if images_per_s >= 10 else f"{images_per_s:.1g}"
    return f"  {speed} images/s in a trial: {clock(config.total / images_per_s)} for {config.kimg:g} kimg"


def _operations(flops: int) -> str:
    return f"{flops / 1e9:.1f} GFLOP" if flops >= 1e9 else f"{flops / 1e6:.1f} MFLOP"


def threads(estimate: Estimate) -> int:
    """How many CPU threads the images that pass at a time keep busy: small networks run no faster on many.

    A function of the configuration and the machine, not of a trial or of the load: the same command is to train the
    same weights, and the number of threads may change the last bit of a sum.
    """
    work = (estimate.g_flops + estimate.d_flops) * PASSES * estimate.images
    return max(1, min(torch.get_num_threads(), round(work / FLOPS_A_THREAD)))


def estimate(config: TrainConfig, shape: Shape, device: torch.device) -> Estimate:
    """Sizes, operations and memory, from a move of each player over tiny batches on the CPU.

    The peak is linear in the images that pass at a time, so two points give it for any batch. Families that grow are
    taken at their full size. Draws from torch's global generator.
    """
    players = Players.seat(config, shape, torch.device("cpu"))
    game = players.game
    g, d = (networks.parameters(player) for player in (game.G, game.D))
    few, more = (_kept_for_backward(players, shape, n) for n in (2, 4))
    moments = 2 if config.optimisation.optimiser == "adam" else 1
    g_flops, d_flops = _forward_flops(game.G, game.D, config.network.latent, shape)
    kept = 4 * (2 * g + d + moments * (g + d))  # G, its average, D, and what the optimisers remember
    return Estimate(
        g_parameters=g,
        d_parameters=d,
        g_flops=g_flops,
        d_flops=d_flops,
        kept=kept,
        an_image=TRANSIENT * max(0, more - few) / 2,
        a_pass=max(0, 2 * few - more) + 4 * max(g, d),  # and one player's gradients
        images=_at_a_time(config),
        free=free_bytes(device),
    )


def forward_flops(network: Network, shape: Shape) -> tuple[int, int]:
    """Operations of a forward pass of G and of D for an image (a multiply-add counts two), at full size.

    Nothing is computed: shapes pass through networks without numbers.

    Raises:
        GanvasError: there is no network of this shape.
    """
    with torch.device("meta"):
        return _forward_flops(*networks.build(network, shape), network.latent, shape)


def _forward_flops(G: networks.Generator, D: networks.Discriminator, latent: int, shape: Shape) -> tuple[int, int]:
    z, labels = torch.zeros(2, latent), torch.zeros(2, dtype=torch.long) if shape.classes else None
    with torch.no_grad():
        shown = G.shown(z, labels)
    return networks.flops(G, z, labels) // 2, networks.flops(D, shown, labels) // 2


def _at_a_time(config: TrainConfig) -> int:
    """Images that pass through a network at a time on each process."""
    own = config.optimisation.batch // distributed.world()
    return min(config.optimisation.microbatch or own, own)


def check_fits(cost: Estimate) -> None:
    """Refuses a run that will not fit, and says how many images at a time would.

    Raises:
        GanvasError: the estimate is above what is free.
    """
    room = cost.free * HEADROOM
    if cost.memory <= room:
        return
    fits = math.floor((room - cost.kept - cost.a_pass) / max(cost.an_image, 1))
    raise GanvasError(
        f"This needs about {cost.memory / 1e9:.1f} GB of memory, and {cost.free / 1e9:.1f} GB are free.",
        expected=f"at most {HEADROOM:.0%} of what is free",
        fix=f"--batch {fits} would fit; --microbatch {fits} keeps the batch and its gradients, and takes longer."
        if fits > 0
        else "narrower networks, or a smaller --resolution: they do not fit with a single picture.",
    )


def trial(cost: Estimate, config: TrainConfig, shape: Shape, device: torch.device) -> float:
    """Images a second over all processes, measured on players of its own with random pictures, at full size.

    One round to warm up, then three, or as many as end within TRIAL_SECONDS. On a CPU, rounds of large networks would
    take minutes: they are of fewer pictures, in which the time is nearly linear there. Where two pictures are too many,
    their forward passes are timed alone.
    """
    n = config.optimisation.batch // distributed.world()
    if device.type == "cpu":
        affordable = TRIAL_FLOPS / (PASSES * config.balance.d_steps * (cost.g_flops + cost.d_flops))
        n = min(n, max(2, round(affordable)))
        config = replace(config, batch=n * distributed.world())
        if affordable < LEAST_AFFORDABLE:
            return distributed.world() / (PASSES * _forward_seconds(config, shape))
    players = Players.seat(config, shape, device)
    pictures = torch.randint(0, 256, (n, *shape[:3]), dtype=torch.uint8, device=device)
    labels = torch.zeros(n, dtype=torch.long, device=device) if shape.classes else None
    batches = [(pictures, labels)] * config.balance.d_steps
    ends = [time.perf_counter()]
    while len(ends) < 2 + TRIAL_ROUNDS and ends[-1] - ends[0] < TRIAL_SECONDS:
        _, norms = players.round(batches, max(0, config.total - config.a_round))
        next(iter(norms.values())).tolist()  # waits for the device
        ends.append(time.perf_counter())
    timed = ends[1:] if len(ends) > 2 else ends
    return config.a_round * (len(timed) - 1) / (timed[-1] - timed[0])


def _forward_seconds(config: TrainConfig, shape: Shape) -> float:
    """Seconds of one forward pass of both networks for an image, on the CPU."""
    G, D = networks.build(config.network, shape)
    z, labels = torch.zeros(2, config.network.latent), torch.zeros(2, dtype=torch.long) if shape.classes else None
    began = time.perf_counter()
    with torch.no_grad():
        D(G.shown(z, labels), labels)
    return (time.perf_counter() - began) / 2


def round_flops(config: TrainConfig, shape: Shape) -> float:
    """Operations of training for each picture shown to D: both players' moves, backward passes and penalties.

    Matrix products, convolutions and attention as they are dispatched (a multiply-add counts two), over as many rounds
    of two pictures as penalties take to come round. Families that grow are taken at their full size.
    """
    small = replace(config, batch=2)
    players = Players.seat(small, shape, torch.device("cpu"))
    labels = torch.zeros(2, dtype=torch.long) if shape.classes else None
    batches = [(torch.zeros(2, *shape[:3], dtype=torch.uint8), labels)] * config.balance.d_steps
    rounds, total = config.play.penalty_every, small.total // small.a_round * small.a_round
    with networks.FlopCounter() as counter:
        for i in range(rounds):
            players.round(batches, total + i * small.a_round)
    return counter.total / (rounds * small.a_round)


def _kept_for_backward(players: Players, shape: Shape, n: int) -> int:
    """Bytes that the graphs of one move hold at the most, over n images: D's move, or G's."""
    game, play = players.game, players.config.play
    z, labels = torch.randn(n, players.config.network.latent), torch.zeros(n, dtype=torch.long)
    own = labels if shape.classes else None
    most = {name: players.schedules[name] for name in ("r1", "r2", "gp", "dragan")}
    penalties = Penalties(**{name: max(schedule.start, schedule.end) for name, schedule in most.items()})
    real = game.D.view(torch.zeros(n, *shape[:3]).contiguous(memory_format=players.layout))
    held: dict[int, int] = {}  # bytes at each address: nothing saved is freed before the backward pass

    def hold(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        held[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(hold, lambda tensor: tensor):
        with torch.set_grad_enabled(play.shared_fakes):
            fake = game.G.shown(z, own)
        g_graph = dict(held)
        train_d(game, real, fake, own, penalties=penalties)
        d_move = sum(held.values())
        held.clear()
        held.update(g_graph)
        train_g(game, real, fake if play.shared_fakes else game.G.shown(z, own), own)
    for player in (game.G, game.D):
        player.zero_grad(set_to_none=True)
    return max(d_move, sum(held.values()))
