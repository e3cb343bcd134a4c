"""What `ganvas.watch` adds to the time of a loop: blocks of a watched and of an unwatched training, in turn.

    python benchmarks/watch_cost.py [--seconds 60] [--busy]

Both trainings start from the same seed, and end with the same weights. The first block of each is left out: in it the
first probes fall, and libraries are loaded. With --busy another process holds a core, at the same priority.
"""

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.functional import softplus

import ganvas

Shape = tuple[int, ...]


def mlp() -> tuple[nn.Module, nn.Module, Shape, Shape]:
    G = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 784), nn.Tanh(), nn.Unflatten(1, (1, 28, 28)))
    D = nn.Sequential(nn.Flatten(), nn.Linear(784, 256), nn.LeakyReLU(0.2), nn.Linear(256, 1))
    return G, D, (64,), (1, 28, 28)


def dcgan(width: int = 32) -> tuple[nn.Module, nn.Module, Shape, Shape]:
    def up(of: int, to: int) -> list[nn.Module]:
        return [nn.ConvTranspose2d(of, to, 4, 2, 1, bias=False), nn.BatchNorm2d(to), nn.ReLU()]

    def down(of: int, to: int) -> list[nn.Module]:
        return [nn.Conv2d(of, to, 4, 2, 1, bias=False), nn.BatchNorm2d(to), nn.LeakyReLU(0.2)]

    first = [nn.ConvTranspose2d(64, 4 * width, 4, bias=False), nn.BatchNorm2d(4 * width), nn.ReLU()]
    last = [nn.ConvTranspose2d(width, 3, 4, 2, 1), nn.Tanh()]
    G = nn.Sequential(*first, *up(4 * width, 2 * width), *up(2 * width, width), *last)
    begin = [nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.2)]
    D = nn.Sequential(*begin, *down(width, 2 * width), *down(2 * width, 4 * width), nn.Conv2d(4 * width, 1, 4))
    return G, D, (64, 1, 1), (3, 32, 32)


def training(networks: str, watched: bool, batch: int = 64) -> Iterator[ganvas.Probe | None]:
    """A loop as people write it; one value a round."""
    G, D, z_shape, shape = {"mlp": mlp, "dcgan": dcgan}[networks]()
    random = torch.Generator().manual_seed(0)
    images = torch.rand(5000, *shape, generator=random) * 2 - 1
    g_adam, d_adam = (torch.optim.Adam(of.parameters(), 2e-4, (0.5, 0.99)) for of in (G, D))
    probe = ganvas.watch(G, D, data=images, report=None) if watched else None
    while True:
        real = images[torch.randint(len(images), (batch,), generator=random)]
        fake = G(torch.randn(batch, *z_shape, generator=random))
        d_loss = softplus(-D(real)).mean() + softplus(D(fake.detach())).mean()
        d_adam.zero_grad()
        d_loss.backward()
        d_adam.step()
        g_loss = softplus(-D(fake)).mean()
        g_adam.zero_grad()
        g_loss.backward()
        g_adam.step()
        if probe is not None:
            probe.step(real=real, fake=fake, d_loss=d_loss, g_loss=g_loss)
        yield probe


def seconds_of(rounds: Iterator[ganvas.Probe | None], n: int) -> float:
    began = time.perf_counter()
    for _ in range(n):
        next(rounds)
    return time.perf_counter() - began


def measure(networks: str, seconds: float) -> str:
    """A row of the table."""
    pair = {watched: training(networks, watched) for watched in (False, True)}
    n = max(5, round(0.5 / (seconds_of(pair[False], 20) / 20)))  # rounds in half a second
    for rounds in pair.values():
        seconds_of(rounds, n)
    ended, plain, watched, blocks = time.perf_counter() + seconds, 0.0, 0.0, []
    while time.perf_counter() < ended:
        first = len(blocks) % 2 == 0
        times = {key: seconds_of(pair[key], n) for key in (first, not first)}
        plain, watched = plain + times[False], watched + times[True]
        blocks.append(times[True] / times[False] - 1)
    probe = next(pair[True])
    assert probe is not None
    return (
        f"| {networks} | {1000 * plain / len(blocks) / n:.2f} | {watched / plain - 1:+.1%} | "
        f"{statistics.median(blocks):+.1%} | {len(blocks)} | {len(probe.history['D/auc'])} |"
    )


def spin() -> None:
    while True:
        sum(range(10_000))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--busy", action="store_true", help="while another process holds a core")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    neighbour = multiprocessing.Process(target=spin, daemon=True)
    if arguments.busy:
        neighbour.start()
    print("| networks | ms a round | in all | median of blocks | blocks | probes |")
    print("|---|---|---|---|---|---|")
    for networks in ("mlp", "dcgan"):
        torch.manual_seed(0)
        print(measure(networks, arguments.seconds), flush=True)


if __name__ == "__main__":
    main()
