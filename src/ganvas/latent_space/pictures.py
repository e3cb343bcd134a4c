"""Which pictures `ganvas sample` and the studio draw: of seeds, of latents, moved along directions, or mixed."""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ganvas import image_io
from ganvas.drawing import images_per_pass
from ganvas.errors import GanvasError
from ganvas.latent_space.axes import METHODS, Directions, directions
from ganvas.latent_space.layers import parse_layers
from ganvas.latents import EASINGS, MAX_FRAMES, Latents, load_latents, walk_length
from ganvas.sampling import Sampler
from ganvas.seeds import parse_seeds
from ganvas.values import to_whole

MAX_AMOUNTS = 1000
MAX_MOVES = 64


def find_directions(drawn: Sampler, method: str, number: int) -> Directions:
    """The directions of a generator, at least up to that of a number."""
    return directions(drawn, method=method, n=number + 1)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Request:
    """What the command line asks for; see `ganvas.cli.sampling.sample`.

    Attributes:
        find: gives directions; for callers that keep them.
    """

    seeds: str | None = None
    label: str | None = None
    truncation: float = 1.0
    latents: Path | None = None
    direction: str | None = None
    amount: str | None = None
    mix: str | None = None
    layers: str | None = None
    move: str | None = None
    find: Callable[[Sampler, str, int], Directions] = find_directions

    @property
    def plain(self) -> bool:
        """Whether the images are those of seeds, as they are."""
        return all(given is None for given in (self.latents, self.direction, self.mix, self.move))

    def grid(
        self, drawn: Sampler, columns: int | None, scale: int | None = None
    ) -> tuple[np.ndarray, int, Sequence[str]]:
        """Images uint8 [n c h w], columns and the names of rows.

        Raises:
            GanvasError: the grid would be larger than a file can be, each pixel enlarged `scale` times.
        """
        size = drawn.card.shape[1:3]
        if self.plain:
            of, label = self._seeds(), self.label
            plan = drawn.plan_grid(of, label=label, columns=columns)
            image_io.check_grid(len(plan.seeds), plan.columns, *size, scale)
            return drawn.sample_grid(of, label=label, truncation=self.truncation, columns=columns, progress=True)
        names: Sequence[str] = ()
        n = len(self.names) * (1 if self.direction is None else len(self.amounts))
        if self.mix is not None:
            columns, names = len(parse_seeds(self.mix)), [str(seed) for seed in parse_seeds(self._seeds())]
        columns = columns or (math.isqrt(n - 1) + 1 if self.direction is None else len(self.amounts))
        image_io.check_grid(n, columns, *size, scale)
        return drawn.draw(self.latents_of(drawn)), columns, names

    @property
    def names(self) -> list[str]:
        """A name for each image of `batches`; with a direction, of each that is moved."""
        if self.latents is not None:
            return [f"latent{i:05d}" for i in range(len(load_latents(self.latents)))]
        rows = parse_seeds(self._seeds())
        if self.mix is None:
            return [f"seed{seed:05d}" for seed in rows]
        return [f"seed{row:05d}-{column:05d}" for row in rows for column in parse_seeds(self.mix)]

    def batches(self, drawn: Sampler) -> Iterator[Tensor]:
        """The images one after the other, uint8 [m c h w]."""
        if self.plain:
            return drawn.sample_batches(self._seeds(), label=self.label, truncation=self.truncation)
        return drawn.draw_batches(self.latents_of(drawn))

    def film(self, drawn: Sampler, *, frames: int, easing: str, loop: bool) -> Iterator[Tensor]:
        """The frames from each seed or latent to the next, or along a direction, uint8 [m c h w]."""
        start = self._start(drawn, film=True)
        if self.direction is None:
            return drawn.interpolate(latents=start, frames=frames, easing=easing, loop=loop)
        frames = to_whole(frames, "--frames", 1, max(1, MAX_FRAMES // (4 * len(start))))
        first, last = self.amounts[0], self.amounts[-1]
        t = EASINGS[easing](torch.arange(frames * 2 + 1) / (frames * 2))
        there = (first + (last - first) * t).tolist()
        path = [*there, *there[-2:0:-1]] if loop else there
        step = images_per_pass(*drawn.card.shape[1:3])
        parts = (
            self._sweep(drawn, start[i : i + 1], path[j : j + step])
            for i in range(len(start))
            for j in range(0, len(path), step)
        )
        return (images for part in parts for images in drawn.draw_batches(part))

    def film_length(self, drawn: Sampler, *, frames: int, loop: bool) -> int:
        """How many frames `film` has."""
        n = len(self._start(drawn, film=True))
        if self.direction is not None:
            return n * (4 * frames if loop else 2 * frames + 1)
        return walk_length(n, frames, loop=loop)

    def film_ends(self, drawn: Sampler) -> Latents:
        """The latents between which `film` goes: with a direction the first and the last of each seed or latent."""
        start = self._start(drawn, film=True)
        return start if self.direction is None else self._sweep(drawn, start, [self.amounts[0], self.amounts[-1]])

    def latents_of_grid(self, drawn: Sampler, columns: int | None) -> Latents:
        """The latents of the images of `grid`, in their order."""
        if not self.plain:
            return self.latents_of(drawn)
        plan = drawn.plan_grid(self._seeds(), label=self.label, columns=columns)
        return drawn.latents(plan.seeds, label=plan.label, truncation=self.truncation)

    def latents_of(self, drawn: Sampler) -> Latents:
        """The latents of all images."""
        if self.mix is not None:
            layers = parse_layers(self.layers)
            mixed = drawn.mix_latents(
                self._seeds(), self.mix, layers=layers, label=self.label, truncation=self.truncation
            )
            return self._moved(drawn, mixed)
        start = self._start(drawn)
        return start if self.direction is None else self._sweep(drawn, start, self.amounts)

    def _seeds(self, *, film: bool = False) -> str:
        if self.seeds is not None:
            return self.seeds
        if self.mix is not None:
            return "0-5"
        if self.direction is not None:
            return "0" if film else "0-3"
        return "0-7" if film else "0-63"

    def _start(self, drawn: Sampler, *, film: bool = False) -> Latents:
        """The latents that are given, or of seeds, moved by --move; films and sweeps are of one class."""
        if self.latents is not None:
            return self._moved(drawn, drawn.check_latents(load_latents(self.latents)))
        number = None if self.label is None else drawn.find_class(self.label)
        if number is None and drawn.card.shape.classes and (film or self.direction is not None):
            number = 0
        return self._moved(drawn, drawn.latents(self._seeds(film=film), label=number, truncation=self.truncation))

    def _moved(self, drawn: Sampler, points: Latents) -> Latents:
        """Latents moved along the directions of --move, one after the other."""
        for method, number, amount in self._moves:
            points = self._directions(drawn, method).move(points, number, [amount])
        return points

    def _sweep(self, drawn: Sampler, points: Latents, amounts: Sequence[float]) -> Latents:
        method, number = self._parse_direction()
        return self._directions(drawn, method).move(points, number, amounts)

    def _directions(self, drawn: Sampler, method: str) -> Directions:
        """The directions of a method up to the last that is asked for, found once."""
        if (drawn, method) not in self._found:
            asked = [(of, number) for of, number, _ in self._moves]
            asked += [] if self.direction is None else [self._parse_direction()]
            self._found[drawn, method] = self.find(drawn, method, max(number for of, number in asked if of == method))
        return self._found[drawn, method]

    @cached_property
    def _found(self) -> dict[tuple[Sampler, str], Directions]:
        return {}

    @cached_property
    def _moves(self) -> list[tuple[str, int, float]]:
        return [] if self.move is None else parse_moves(self.move)

    @cached_property
    def amounts(self) -> list[float]:
        """The amounts of --amount.

        Raises:
            GanvasError: the text is none.
        """
        return parse_amounts("-3..3" if self.amount is None else self.amount)

    def _parse_direction(self) -> tuple[str, int]:
        method, _, number = (self.direction or "").rpartition(":")
        if (method or METHODS[0]) not in METHODS or not (number.isascii() and number.isdigit()) or len(number) > 6:
            raise GanvasError(
                f"--direction is {self.direction!r}.", expected="pca:0, sefa:3 …, as ganvas directions numbers them"
            )
        return method or METHODS[0], int(number)


def truncated_rows(
    drawn: Sampler, truncations: Sequence[float], seeds: str, label: str | None = None, scale: int | None = None
) -> tuple[np.ndarray, int, Sequence[str]]:
    """Images of the same seeds at each truncation, one a row: uint8 [n c h w], columns and the names of rows."""
    across = len(parse_seeds(seeds))
    image_io.check_grid(len(truncations) * across, across, *drawn.card.shape[1:3], scale)
    rows = [drawn.sample(seeds, label=label, truncation=truncation) for truncation in truncations]
    return np.concatenate(rows), across, [f"{truncation:g}" for truncation in truncations]


def parse_amounts(text: str) -> list[float]:
    """Parses "-3..3" as seven numbers, "-2..2:9" as nine, "0,1.5" as these.

    Raises:
        GanvasError: the text is something else, or numbers are not finite.
    """
    try:
        if ".." in text:
            first, _, rest = text.partition("..")
            last, _, count = rest.partition(":")
            n = int(count) if count else 7
            ends = float(first), float(last)
            if not 1 <= n <= MAX_AMOUNTS or not all(map(math.isfinite, ends)):
                raise ValueError("too many, or not finite")
            amounts = np.linspace(*ends, n).tolist()
        else:
            amounts = [float(part) for part in text.split(",")]
        if not all(map(math.isfinite, amounts)) or len(amounts) > MAX_AMOUNTS:
            raise ValueError("not finite")
    except ValueError as error:
        raise GanvasError(
            f"--amount is {text!r}.", expected=f"-3..3, -2..2:9 or 0,1.5,3: at most {MAX_AMOUNTS:,} numbers"
        ) from error
    return amounts


def parse_moves(text: str) -> list[tuple[str, int, float]]:
    """Parses "pca:0=1.5,sefa:2=-1" as [("pca", 0, 1.5), ("sefa", 2, -1.0)].

    Raises:
        GanvasError: the text is something else, or an amount is not finite.
    """
    moves = []
    for part in text.split(","):
        name, _, amount = part.strip().partition("=")
        method, _, number = name.rpartition(":")
        try:
            if method not in METHODS or not re.fullmatch(r"[0-9]{1,6}", number) or not math.isfinite(float(amount)):
                raise ValueError(part)
            moves.append((method, int(number), float(amount)))
        except ValueError:
            raise GanvasError(
                f"--move has {part[:100]!r} in it.",
                expected="a direction and how far, in standard deviations, with commas between several: "
                "pca:0=1.5,sefa:2=-1",
            ) from None
    if len(moves) > MAX_MOVES:
        raise GanvasError(f"--move has {len(moves)} directions.", expected=f"at most {MAX_MOVES}")
    return moves
