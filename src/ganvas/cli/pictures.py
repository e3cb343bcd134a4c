"""Which pictures `ganvas sample` draws: of seeds, of latents, moved along a direction, or mixed."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ganvas import image_io
from ganvas.errors import GanvasError
from ganvas.latent_space.axes import METHODS, Directions, directions
from ganvas.latents import EASINGS, MAX_FRAMES, Latents, load_latents
from ganvas.sampling import Sampler
from ganvas.seeds import parse_seeds
from ganvas.values import to_whole

MAX_AMOUNTS = 1000


@dataclass(frozen=True)
class Request:
    """What the command line asks for; see `ganvas.cli.sampling.sample`."""

    seeds: str | None
    label: str | None
    truncation: float
    latents: Path | None
    direction: str | None
    amount: str | None
    mix: str | None
    layers: int | None

    @property
    def plain(self) -> bool:
        """Whether the images are those of seeds, as they are."""
        return not (self.latents or self.direction or self.mix)

    def grid(self, drawn: Sampler, columns: int | None) -> tuple[np.ndarray, int, Sequence[str]]:
        """Images uint8 [n c h w], columns and the names of rows."""
        if self.plain:
            return drawn.sample_grid(
                self.seeds or "0-63", label=self.label, truncation=self.truncation, columns=columns, progress=True
            )
        if self.mix is not None:
            rows = self.seeds or "0-5"
            images = drawn.mix(rows, self.mix, layers=self.layers, label=self.label, truncation=self.truncation)
            return images, len(parse_seeds(self.mix)), [str(seed) for seed in parse_seeds(rows)]
        points = self.latents_of(drawn)
        columns = columns or (len(self.amounts) if self.direction else math.isqrt(len(points) - 1) + 1)
        image_io.check_grid(len(points), columns, *drawn.card.shape[1:3])
        return drawn.draw(points), columns, ()

    def batches(self, drawn: Sampler) -> Iterator[Tensor]:
        """The images one after the other, uint8 [m c h w]."""
        if self.plain:
            return drawn.sample_batches(self.seeds or "0-63", label=self.label, truncation=self.truncation)
        return drawn.draw_batches(self.latents_of(drawn))

    def film(self, drawn: Sampler, *, frames: int, easing: str, loop: bool) -> Iterator[Tensor]:
        """The frames from each seed or latent to the next, or along a direction, uint8 [m c h w]."""
        if self.direction is None:
            return drawn.interpolate(
                self.seeds or "0-7",
                frames=frames,
                label=self.label,
                truncation=self.truncation,
                latents=None if self.latents is None else self._start(drawn, "0"),
                easing=easing,
                loop=loop,
            )
        frames = to_whole(frames, "--frames", 1, MAX_FRAMES // 4)
        first, last = self.amounts[0], self.amounts[-1]
        t = EASINGS[easing](torch.arange(frames * 2 + 1) / (frames * 2))
        there = (first + (last - first) * t).tolist()
        path = [*there, *there[-2:0:-1]] if loop else there
        points = self._directions(drawn).move(self._start(drawn, "0"), self._number, path)
        return drawn.draw_batches(points)

    def latents_of(self, drawn: Sampler, *, video: bool = False) -> Latents:
        """The latents of all images; of a film those between which it goes."""
        if self.mix is not None:
            return drawn.mix_latents(
                self.seeds or "0-5", self.mix, layers=self.layers, label=self.label, truncation=self.truncation
            )
        if self.direction is None or video:
            return self._start(drawn, "0-7" if video else "0-63")
        return self._directions(drawn).move(self._start(drawn, "0-3"), self._number, self.amounts)

    def _start(self, drawn: Sampler, seeds: str) -> Latents:
        if self.latents is not None:
            return drawn.check_latents(load_latents(self.latents))
        one_class = drawn.card.shape.classes and (self.direction is not None)
        label = "0" if one_class and self.label is None else self.label
        return drawn.latents(
            self.seeds or seeds, label=None if label is None else drawn.find_class(label), truncation=self.truncation
        )

    @cached_property
    def amounts(self) -> list[float]:
        """The amounts of --amount.

        Raises:
            GanvasError: the text is none.
        """
        return parse_amounts(self.amount or "-3..3")

    @property
    def _number(self) -> int:
        return self._parse_direction()[1]

    def _directions(self, drawn: Sampler) -> Directions:
        method, number = self._parse_direction()
        return directions(drawn, method=method, n=number + 1)  # type: ignore[arg-type]

    def _parse_direction(self) -> tuple[str, int]:
        method, _, number = (self.direction or "").rpartition(":")
        if (method or METHODS[0]) not in METHODS or not (number.isascii() and number.isdigit()) or len(number) > 6:
            raise GanvasError(
                f"--direction is {self.direction!r}.", expected="pca:0, sefa:3 …, as ganvas directions numbers them"
            )
        return method or METHODS[0], int(number)


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
