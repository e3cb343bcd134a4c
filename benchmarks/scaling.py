"""Computes at how many GPUs the exchange of gradients takes as long as the training itself, for each recipe and link.

Nothing is measured: bytes and operations are counted in the code, and a GPU and links are assumed.

- Bytes: each update averages the gradients of its network, four bytes a parameter: D's `d_steps` times a round, G's
  `g_steps` times. In a ring all-reduce over n GPUs each GPU sends 2 (n - 1) / n of them.
- Operations: those of a training round, forward, backward and penalties (`ganvas.training.estimate.round_flops` on the
  meta device). The batch is shared, so each GPU has 1/n of them.
- Ganvas exchanges after the backward pass, not during it, so the two times add up. They are equal at
  n = 1 + operations / FLOPS × bandwidth / (2 × bytes); n GPUs are n / (1 + (n - 1) / (that - 1)) times as fast as one.

    python benchmarks/scaling.py            # prints the tables of docs/how-to/scaling.md
    python benchmarks/scaling.py --write    # writes them there
"""

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

import torch

from ganvas import networks
from ganvas.config import TrainConfig
from ganvas.networks import Shape
from ganvas.recipes import RECIPES
from ganvas.training import estimate
from ganvas.training.choices import choose_networks

PAGE = Path(__file__).resolve().parent.parent / "docs/how-to/scaling.md"
PLACE = re.compile(r"(?<=<!-- benchmarks/scaling.py -->\n\n).*?(?=\n\n<!-- end -->)", re.DOTALL)

FLOPS = 30e12
"""Operations a second that the assumed GPU reaches in training."""

LINKS = {
    "1 Gbit/s": 0.125e9,
    "10 Gbit/s": 1.25e9,
    "100 Gbit/s": 12.5e9,
    "PCIe": 25e9,
    "NVLink": 450e9,
}
"""Bytes a second that a GPU sends over each assumed link: Ethernet, Ethernet, InfiniBand, PCIe 4 ×16, NVLink 4."""

SHAPES = {
    "digits": (1, 8, 8), "digits28": (1, 28, 28), "mnist": (1, 28, 28), "cifar10": (3, 32, 32),
    "hf:flwrlabs/celeba": (3, 64, 64),
}  # fmt: skip
"""Channels, height and width of the recipes' own data."""

OWN_SHAPES = {"fast": (3, 64, 64)}
"""Of recipes that are for the user's pictures."""

LEFT_OUT = ("custom",)
"""Its networks are the user's."""

SETUPS = ((4, "PCIe"), (8, "PCIe"), (8, "NVLink"), (16, "100 Gbit/s"))
"""GPUs, and the slowest link between them, of which the second table says how fast they are."""


@dataclass(frozen=True)
class Round:
    """What a round of a recipe computes and exchanges.

    Attributes:
        parameters: that G and D learn.
        exchanged: bytes of gradients that are averaged.
        flops: operations on all GPUs together.
        most_gpus: that can share the batch.
    """

    parameters: int
    exchanged: int
    flops: float
    most_gpus: int

    def balance(self, bandwidth: float) -> float:
        """The number of GPUs at which exchanging over such a link takes as long as computing."""
        return 1 + self.flops / FLOPS * bandwidth / (2 * self.exchanged)


def speedup(n: int, balance: float) -> float:
    """How many times as fast n GPUs are as one, where exchange and computation are equal at `balance` GPUs."""
    return n / (1 + (n - 1) / (balance - 1))


def count(name: str) -> Round:
    """A round of a recipe on its own data, with the knobs that are chosen on a GPU."""
    config = RECIPES[name].config
    pixels = OWN_SHAPES.get(name) or SHAPES[config.dataset.data]
    shape = Shape(*pixels, 10 if config.dataset.conditional else 0)
    config, _ = choose_networks(config, shape, torch.device("cuda"))
    g, d = count_parameters(config, shape)
    balance, batch = config.balance, config.optimisation.batch
    alone = 2 if getattr(config.network, "g_norm", "none") == "batch" else 1
    return Round(
        parameters=g + d,
        exchanged=4 * (balance.g_steps * g + balance.d_steps * d),
        flops=estimate.round_flops(config, shape, torch.device("meta")) * config.images_per_round,
        most_gpus=batch // alone,
    )


def count_parameters(config: TrainConfig, shape: Shape) -> tuple[int, int]:
    with torch.device("meta"):
        g, d = networks.build(config.network, shape)
    return networks.count_parameters(g), networks.count_parameters(d)


def format_gpus(counted: Round, bandwidth: float) -> str:
    """The number of GPUs at which exchange and computation are equal; in brackets the batch, if it ends before."""
    n = int(counted.balance(bandwidth))
    return f"{n:,}" if n <= counted.most_gpus else f"({counted.most_gpus})"


def format_row(name: str, counted: Round) -> str:
    cells = [f"`{name}`", f"{counted.parameters / 1e6:.2f}", format_number(counted.exchanged / 1e6)]
    cells += [format_number(counted.flops / 1e9), format_number(counted.flops / FLOPS * 1e3)]
    return "| " + " | ".join(cells) + " |"


def format_links(name: str, counted: Round) -> str:
    cells = [f"`{name}`", *(format_gpus(counted, bandwidth) for bandwidth in LINKS.values())]
    return "| " + " | ".join(cells) + " |"


def format_number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def format_speedups(name: str, counted: Round) -> str:
    speeds = [speedup(n, counted.balance(LINKS[link])) for n, link in SETUPS]
    return "| " + " | ".join([f"`{name}`", *(f"{speed:.1f}" for speed in speeds)]) + " |"


def make_tables(rounds: dict[str, Round]) -> str:
    """Three tables in Markdown: rounds, GPUs on each link, the speed of those that gain from four GPUs over PCIe."""
    gaining = {name: counted for name, counted in rounds.items() if speedup(4, counted.balance(LINKS["PCIe"])) > 1}
    return "\n\n".join(
        [
            make_table(["million parameters", "MB a round", "GFLOP a round", "ms on one GPU"], [
                format_row(name, counted) for name, counted in rounds.items()
            ]),
            "So many GPUs exchange as long as they compute:",
            make_table([*LINKS], [format_links(name, counted) for name, counted in rounds.items()]),
            "So many times as fast as one GPU is each of these:",
            make_table([f"{n} over {link}" for n, link in SETUPS], [
                format_speedups(name, counted) for name, counted in gaining.items()
            ]),
        ]
    )  # fmt: skip


def make_table(titles: list[str], rows: list[str]) -> str:
    return "\n".join(["| " + " | ".join(["recipe", *titles]) + " |", "|---" + "|---:" * len(titles) + "|", *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"write the tables into {PAGE.name}")
    arguments = parser.parse_args()
    tables = make_tables({name: count(name) for name in RECIPES if name not in LEFT_OUT})
    if arguments.write:
        PAGE.write_text(PLACE.sub(lambda _: tables, PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print(tables)


if __name__ == "__main__":
    main()
