"""Distributions of points in [-1, 1]², each of parts that can be counted: Gaussians, or pieces of a curve."""

import math

import torch
from torch import Tensor

from ganvas.plane.settings import decode_points

PIECES = 8
"""Parts of a distribution that has no modes of its own."""


class Points:
    """A distribution in the plane.

    Args:
        name: one of `ganvas.plane.settings.DATA`.
        own: the user's points, in the form of the knob `points`.

    Attributes:
        centres: of the modes, float32 [k 2]; for a curve, points along it in their order.
        parts: how many parts are counted.
        modes: whether these are modes, apart from each other.
        spread: the standard deviation around a centre.
    """

    def __init__(self, name: str, own: str = "") -> None:
        drawn = decode_points(own) or [(0.0, 0.0)]
        centres, self.parts, self.spread = {
            "ring": lambda: (_ring(8), 8, 0.04),
            "grid": lambda: (_grid(5), 25, 0.03),
            "spiral": lambda: (_spiral(), PIECES, 0.02),
            "moons": lambda: (_moons(), 2, 0.04),
            "line": lambda: (_line(), PIECES, 0.02),
            "own": lambda: (drawn, min(len(drawn), 25), 0.03),
        }[name]()
        self.centres = torch.tensor(centres, dtype=torch.float32)
        self.modes = name in ("ring", "grid") or (name == "own" and len(drawn) <= 25)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """n points, float32 [n 2]."""
        chosen = torch.randint(len(self.centres), (n,), generator=rng)
        return self.centres[chosen] + self.spread * torch.randn(n, 2, generator=rng)

    def part_of(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """The part nearest to each point, int64 [n], and whether the point lies within four deviations of it."""
        distance, nearest = torch.cdist(points, self.centres).min(1)
        return nearest * self.parts // len(self.centres), distance <= 4 * self.spread


def _ring(k: int) -> list[tuple[float, float]]:
    return [(0.75 * math.cos(2 * math.pi * i / k), 0.75 * math.sin(2 * math.pi * i / k)) for i in range(k)]


def _grid(k: int) -> list[tuple[float, float]]:
    places = [-0.8 + 1.6 * i / (k - 1) for i in range(k)]
    return [(x, y) for y in places for x in places]


def _spiral() -> list[tuple[float, float]]:
    turns = [0.25 + 3.5 * math.pi * math.sqrt(i / 159) for i in range(160)]
    return [(0.075 * a * math.cos(a), 0.075 * a * math.sin(a)) for a in turns]


def _moons() -> list[tuple[float, float]]:
    angles = [math.pi * i / 39 for i in range(40)]
    upper = [(0.55 * math.cos(a) - 0.27, 0.6 * math.sin(a) - 0.12) for a in angles]
    return upper + [(-x, -y) for x, y in upper]


def _line() -> list[tuple[float, float]]:
    return [(-0.8 + 1.6 * i / 79, -0.5 + i / 79) for i in range(80)]
