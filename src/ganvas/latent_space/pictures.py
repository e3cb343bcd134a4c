"""Which pictures `ganvas sample` and the studio draw: of seeds, of latents, moved along directions, or mixed."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ganvas import image_io
from ganvas.drawing import images_per_pass
from ganvas.errors import GanvasError
from ganvas.latent_space.axes import Directions, directions
from ganvas.latent_space.axis_names import Method, parse_direction, parse_moves
from ganvas.latent_space.layers import choose_layers, parse_layers
from ganvas.latents import EASINGS, MAX_FRAMES, SUFFIXES, Latents, in_parts, load_latents, walk_length
from ganvas.sampling import Sampler
from ganvas.seeds import parse_seeds
from ganvas.threads import monitored
from ganvas.values import to_whole

MAX_AMOUNTS = 1000


def find_directions(drawn: Sampler, method: Method, number: int) -> Directions:
    """The directions of a generator, at least up to that of a number."""
    return directions(drawn, method=method, n=number + 1)


@dataclass(frozen=True)
class Request:
    """What the command line asks for; see `ganvas.cli.sampling.sample`.

    Attributes:
        latents: files of them, drawn one after the other; None for seeds.
        layers: of --mix those that are coarse; without it those that are moved.
        find: gives directions; for callers that keep them.
    """

    seeds: str | None = None
    label: str | None = None
    truncation: float = 1.0
    latents: Path | Sequence[Path] | None = None
    direction: str | None = None
    amount: str | None = None
    mix: str | None = None
    layers: str | None = None
    move: str | None = None
    find: Callable[[Sampler, Method, int], Directions] = find_directions

    @property
    def plain(self) -> bool:
        """Whether the images are those of seeds, as they are."""
        return all(given is None for given in (self.latents, self.direction, self.mix, self.move))

    def grid(
        self, drawn: Sampler, columns: int | None, scale: int | None = None
    ) -> tuple[np.ndarray, int, Sequence[str]]:
        """Images uint8 [n c h w], columns and the names of rows.

        Raises:
            GanvasError: as `check_grid`.
        """
        _, across = self.check_grid(drawn, columns, scale)
        if self.plain:
            plan = drawn.plan_grid(self._seeds(), label=self.label, columns=columns)
            images = drawn.sample(plan.seeds, label=plan.label, truncation=self.truncation, progress=True)
            return images, plan.columns, plan.row_names
        if self.mix is None:
            return drawn.draw(self.latents_of(drawn)), across, ()
        mixed = np.asarray(drawn.draw(self.latents_of(drawn)))
        left, top = (np.asarray(drawn.draw(self._moved(drawn, of))) for of in self._sources(drawn))
        rows = [np.concatenate([np.full_like(top[:1], 255), top])]
        rows += [np.concatenate([left[i : i + 1], part]) for i, part in enumerate(np.split(mixed, len(left)))]
        return np.concatenate(rows), across, ["", *map(str, self._rows[1])]

    def check_grid(
        self, drawn: Sampler, columns: int | None, scale: int | None = None, path: Path | None = None
    ) -> tuple[int, int]:
        """How many images `grid` has, and how many columns, before any is drawn.

        That of --mix has what is mixed at the left and at the top, as Karras et al. 2019 show it in figure 3.

        Raises:
            GanvasError: it would be larger than a file can be, each pixel enlarged `scale` times.
        """
        names: list[str] = []
        fewer = "fewer seeds" if self.latents is None else "fewer latents"
        if self.plain:
            plan = drawn.plan_grid(self._seeds(), label=self.label, columns=columns)
            plan.check(*drawn.card.shape[1:3], scale, path, each=True)
            return len(plan.seeds), plan.columns
        if self.mix is not None:
            names = ["", *map(str, self._rows[1])]
            across = 1 + len(self._columns[1])
            n = len(names) * across
        elif self.direction is not None:
            across = len(self.amounts)
            n = len(self._rows[1]) * across
            fewer = f"{fewer}, or fewer steps of --amount"
        else:
            n = len(self._rows[1])
            across = columns or math.isqrt(n - 1) + 1
        image_io.check_grid(
            n, across, *drawn.card.shape[1:3], scale,
            row_names=names, path=path, fewer=fewer, each=self.direction is None,
        )  # fmt: skip
        return n, across

    @property
    def names(self) -> list[str]:
        """A name for each image of `batches`; with a direction, of each that is moved."""
        (kind, rows), (other, columns) = self._rows, self._columns
        if self.mix is None:
            return [f"{kind}{row:05d}" for row in rows]
        other = other.removeprefix("seed")
        return [f"{kind}{row:05d}-{other}{column:05d}" for row in rows for column in columns]

    @property
    def fine(self) -> str:
        """What gives the fine layers of --mix, in words."""
        return f"seeds {', '.join(map(str, self._columns[1]))}" if self._fine is None else f"{self.mix}"

    @cached_property
    def _rows(self) -> tuple[str, Sequence[int]]:
        """What the images or the rows of --mix are of, and the numbers of those."""
        if self._given is None:
            return "seed", parse_seeds(self._seeds())
        return "latent", range(sum(map(len, self._given)))

    @cached_property
    def _columns(self) -> tuple[str, Sequence[int]]:
        """The same of the columns of --mix."""
        if self._fine is not None:
            return "latent", range(len(self._fine[0]))
        return "seed", [] if self.mix is None else parse_seeds(self.mix)

    @cached_property
    def _given(self) -> list[Latents] | None:
        """Those of each file, read once."""
        if self.latents is None:
            return None
        files = [self.latents] if isinstance(self.latents, Path) else self.latents
        return [load_latents(file) for file in files]

    @cached_property
    def _fine(self) -> list[Latents] | None:
        """Those of the file that --mix names, if it names one."""
        is_file = self.mix is not None and self.mix.lower().endswith(SUFFIXES)
        return [load_latents(self.mix)] if self.mix is not None and is_file else None

    def batches(self, drawn: Sampler) -> Iterator[Tensor]:
        """The images one after the other, uint8 [m c h w]."""
        if self.plain:
            return drawn.sample_batches(self._seeds(), label=self.label, truncation=self.truncation)
        return drawn.draw_batches(self.latents_of(drawn))

    def film(self, drawn: Sampler, *, frames: int, easing: str, loop: bool) -> Iterator[Tensor]:
        """The frames from each seed or latent to the next, or along a direction, uint8 [m c h w]."""
        self.film_length(frames=frames, loop=loop)
        start = self._start(drawn, film=True)
        if self.direction is None:
            return drawn.interpolate(latents=start, frames=frames, easing=easing, loop=loop)
        first, last = self.amounts[0], self.amounts[-1]
        t = EASINGS[easing](torch.arange(frames * 2 + 1) / (frames * 2))
        there = (first + (last - first) * t).tolist()
        path = [*there, *there[-2:0:-1]] if loop else there
        step = images_per_pass(*drawn.card.shape[1:3])
        pieces = (
            self._sweep(drawn, start[i : i + 1], path[j : j + step])
            for i in range(len(start))
            for j in range(0, len(path), step)
        )
        parts = in_parts(pieces, step)
        return monitored(images for part in parts for images in drawn.draw_batches(part))

    def film_length(self, *, frames: int, loop: bool) -> int:
        """How many frames `film` has, before directions are found.

        Raises:
            GanvasError: there are no frames, or too many.
        """
        n = len(parse_seeds(self._seeds(film=True)) if self._given is None else self._rows[1])
        along = self.direction is not None
        frames = to_whole(frames, "--frames", 1, max(1, MAX_FRAMES // (4 * n if along else n)))
        return n * (4 * frames if loop else 2 * frames + 1) if along else walk_length(n, frames, loop=loop)

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
            mixed = drawn.mix_latents(*self._sources(drawn), layers=layers, label=None, truncation=1.0)
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
        of_seeds = 0 if film or self.direction is not None else None
        return self._moved(drawn, self._points(drawn, self._given, self._seeds(film=film), of_seeds))

    def _sources(self, drawn: Sampler) -> tuple[Latents, Latents]:
        """What --mix mixes: what gives the coarse layers, and what the fine ones.

        Without --label, seeds beside latents of one class are of that class.
        """
        sources = (self._given, self._seeds()), (self._fine, self.mix or "")
        labels = [one.labels for given, _ in sources for one in given or [] if one.labels is not None]
        if self.label is not None and len(labels) == sum(len(given or [0]) for given, _ in sources):
            raise _label_of_none()
        own = torch.cat(labels).unique().tolist() if labels else []
        of_seeds = own[0] if len(own) == 1 else 0
        coarse, fine = (self._points(drawn, given, seeds, of_seeds) for given, seeds in sources)
        return coarse, fine

    def _points(self, drawn: Sampler, given: list[Latents] | None, seeds: str, of_seeds: int | None) -> Latents:
        """Latents of files, of the class of --label where they have none themselves; or those of seeds.

        Args:
            of_seeds: the class of seeds without --label, if there are classes; None for each seed its own.
        """
        number = None if self.label is None else drawn.find_class(self.label)
        if given is None:
            number = of_seeds if number is None and drawn.card.shape.classes else number
            return drawn.latents(seeds, label=number, truncation=self.truncation)
        if number is not None and self.mix is None and all(one.labels is not None for one in given):
            raise _label_of_none()
        if number is not None:
            given = [
                replace(one, labels=torch.full((len(one),), number)) if one.labels is None else one for one in given
            ]
        return Latents.concatenate(drawn.check_latents(one) for one in given)

    def _moved(self, drawn: Sampler, points: Latents) -> Latents:
        """Latents moved along the directions of --move, one after the other."""
        layers = self._moved_layers(drawn) if self._moves else None
        for method, number, amount in self._moves:
            points = self._directions(drawn, method).move(points, number, [amount], layers=layers)
        return points

    def _sweep(self, drawn: Sampler, points: Latents, amounts: Sequence[float]) -> Latents:
        method, number = parse_direction(self.direction or "")
        layers = self._moved_layers(drawn)
        return self._directions(drawn, method).move(points, number, amounts, layers=layers)

    def _moved_layers(self, drawn: Sampler) -> int | list[int] | None:
        """The layers that --direction and --move are for; None for all. Those of --mix are another matter.

        Raises:
            GanvasError: this family has no layers of its own.
        """
        if self.mix is not None:
            return None
        layers = parse_layers(self.layers)
        if layers is not None:
            choose_layers(drawn, layers)  # refused before directions are found
        return layers

    def _directions(self, drawn: Sampler, method: Method) -> Directions:
        """The directions of a method up to the last that is asked for, found once."""
        if (drawn, method) not in self._found:
            asked = [(of, number) for of, number, _ in self._moves]
            asked += [] if self.direction is None else [parse_direction(self.direction)]
            self._found[drawn, method] = self.find(drawn, method, max(number for of, number in asked if of == method))
        return self._found[drawn, method]

    @cached_property
    def _found(self) -> dict[tuple[Sampler, Method], Directions]:
        return {}

    @cached_property
    def _moves(self) -> list[tuple[Method, int, float]]:
        return [] if self.move is None else parse_moves(self.move)

    @cached_property
    def amounts(self) -> list[float]:
        """The amounts of --amount.

        Raises:
            GanvasError: the text is none.
        """
        return parse_amounts("-3..3" if self.amount is None else self.amount)


def _label_of_none() -> GanvasError:
    return GanvasError("--label chooses a class, and these latents have their own.", fix="leave --label out.")


def truncated_rows(
    drawn: Sampler,
    truncations: Sequence[float],
    seeds: str,
    label: str | None = None,
    scale: int | None = None,
    path: Path | None = None,
) -> tuple[np.ndarray, int, Sequence[str]]:
    """Images of the same seeds at each truncation, one a row: uint8 [n c h w], columns and the names of rows."""
    across, names = len(parse_seeds(seeds)), [f"{truncation:g}" for truncation in truncations]
    n = len(truncations) * across
    image_io.check_grid(n, across, *drawn.card.shape[1:3], scale, row_names=names, path=path, fewer="fewer seeds")
    rows = (drawn.latents(seeds, label=label, truncation=truncation) for truncation in truncations)
    return np.asarray(drawn.draw(Latents.concatenate(rows))), across, names


def side_by_side(films: Sequence[Iterator[Tensor]]) -> Iterator[Tensor]:
    """Films uint8 [m c h w] of as many frames, as one that shows them from left to right: [m c h n·(w + 1) - 1]."""
    for parts in zip(*films, strict=True):
        yield torch.cat([parts[0], *(torch.nn.functional.pad(part, (1, 0), value=255) for part in parts[1:])], dim=3)


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
