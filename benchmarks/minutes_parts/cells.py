"""Cells: one training of one method on one set for some minutes from one seed, and the file of its results."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minutes_parts.methods import BEFORE, METHODS
from minutes_parts.sets import SETS

JUDGING_MINUTES = 5
"""What a cell takes beside its training, about: sampling and judging at every mark."""


@dataclass(frozen=True, order=True)
class Cell:
    """A training and its judgement."""

    set_name: str
    method: str
    minutes: float
    seed: int

    @property
    def name(self) -> str:
        return f"{self.set_name}-{self.method}-{self.minutes:g}-{self.seed}"

    def file(self, results: Path) -> Path:
        """Where its results are, once it is complete."""
        return results / f"{self.name}.json"


def _rows(set_name: str, method: str, minutes: float, seeds: int = 1) -> list[Cell]:
    return [Cell(set_name, method, minutes, seed) for seed in range(seeds)]


SHEET = {
    **dict.fromkeys(
        ("mlp", "mlp-stable", "cnn", "cnn-sigmoid", "cnn-stable", "transformer", "transformer-stable"), "mnist"
    ),
    "fast": "kaokore",
    "dcgan": "kaokore",
    "stylegan": "kaokore-32",
    "msg": "kaokore-32",
    **dict.fromkeys(("transformer-modern", "wgan", "wgan-gp", "sngan", "r3gan-short"), "cifar10"),
    "wgan-conditional": "cifar10-conditional",
}
"""Recipe -> the set on which benchmarks/family.py shows it."""

PLAN = [
    *_rows("kaokore", "fast", 10, 3),
    *_rows("kaokore", "dcgan", 30),
    *_rows("kaokore", "tutorial-dcgan", 30),
    *_rows("kaokore-200", "fast", 10, 3),
    *_rows("cifar10", "fast", 10, 3),
    *_rows("mnist", "fast", 10, 3),
    *_rows("cifar10-conditional", "fast", 10, 3),
    *_rows("kaokore", "fast", 3, 3),
    *_rows("kaokore", "fast", 30, 3),
    *_rows("cifar10", "tutorial-dcgan", 30),
    *_rows("mnist", "tutorial-dcgan", 30),
    *_rows("cifar10", "cnn-stable", 30),
    *_rows("mnist", "cnn-stable", 30),
    *_rows("cifar10-conditional", "cnn-stable", 30),
    *_rows("kaokore", "r3gan-short", 30),
    *_rows("kaokore", "stylegan", 30),
    *_rows("kaokore", "cnn-stable", 30),
    *_rows("kaokore", "tutorial-keras", 30),
    *_rows("mnist", "tutorial-keras", 30),
    *_rows("kaokore", "tutorial-dcgan", 30, 3)[1:],
    *_rows("kaokore", "dcgan", 30, 3)[1:],
    *_rows("kaokore-200", "tutorial-dcgan", 30),
    *(cell for name in ("cifar10", "mnist", "cifar10-conditional", "kaokore-200") for method in ("dcgan", "r3gan-short")
      for cell in _rows(name, method, 30)),
    *(Cell(name, recipe, 10, 0) for recipe, name in SHEET.items() if recipe != "fast"),
    *(Cell(SHEET[recipe], f"{recipe}-before", 10, 0) for recipe in BEFORE),
    *(cell for minutes in (3, 10) for name in ("kaokore-women", "mnist-5-9")
      for method in ("fast", "fast-from", "cnn-stable", "cnn-stable-from") for cell in _rows(name, method, minutes, 3)),
]  # fmt: skip
"""What is to be measured, in the order of importance; of the rivals, seeds 1 and 2 of the best one belong to it."""


def choose(
    set_name: str | None, method: str | None, minutes: float | None, seed: int | None, pattern: str | None
) -> list[Cell]:
    """The planned cells that fit, or the one that is named by all four, planned or not."""
    from fnmatch import fnmatchcase

    if set_name and method and minutes is not None and seed is not None:
        return [Cell(set_name, method, minutes, seed)]
    return [
        cell for cell in PLAN
        if (set_name in (None, cell.set_name) and method in (None, cell.method))
        and (minutes in (None, cell.minutes) and seed in (None, cell.seed))
        and (pattern is None or fnmatchcase(cell.name, pattern))
    ]  # fmt: skip


def read_results(results: Path) -> list[dict[str, Any]]:
    """The results of all complete cells: sets in their order and then any others, methods, minutes, seeds."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in results.glob("*.json")]
    places = {name: place for place, name in enumerate((*SETS, *METHODS))}
    return sorted(
        found,
        key=lambda it: (places.get(it["set"], len(places)), it["set"], places[it["method"]], it["minutes"], it["seed"]),
    )
