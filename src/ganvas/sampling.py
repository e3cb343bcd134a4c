"""Snapshot and seeds in, uint8 images out."""

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ganvas.data.pixels import to_uint8
from ganvas.devices import choose
from ganvas.errors import GanvasError
from ganvas.networks import Generator
from ganvas.pytorch_state import default_state
from ganvas.runs import snapshot
from ganvas.runs.folder import Run
from ganvas.runs.snapshot import Card
from ganvas.threads import computing

A_PASS = 2**20
"""Pixels of a forward pass, about: 64 images of 128×128."""


def chunk(height: int, width: int) -> int:
    """Images a forward pass, at most 64: a function of their size alone.

    Every pass has this many (the last one is filled up), so that the arithmetic, and with it the picture of a seed,
    does not depend on how many are asked for.
    """
    return max(1, min(64, A_PASS // (height * width)))


def latents(seeds: Iterable[int], size: int) -> Tensor:
    """z ~ N(0, 1) of each seed: float32 [n size]; the same on every device."""
    draw = torch.Generator()
    return torch.stack([torch.randn(size, generator=draw.manual_seed(seed)) for seed in seeds])


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Points between two latents along the great circle (White 2016): [z], [z], [n] -> [n z].

    Lengths are interpolated linearly, so that both ends are met exactly; latents in (nearly) the same or opposite
    direction are joined by a straight line.
    """
    t = t[:, None]
    cosine = torch.nn.functional.cosine_similarity(a, b, dim=0).clamp(-1, 1)
    angle = torch.acos(cosine)
    if torch.sin(angle) < 1e-4:
        return (1 - t) * a + t * b
    along = (torch.sin((1 - t) * angle) * a / a.norm() + torch.sin(t * angle) * b / b.norm()) / torch.sin(angle)
    return along * ((1 - t) * a.norm() + t * b.norm())


def generate(
    generator: Generator,
    z: Tensor,
    labels: Tensor | None = None,
    *,
    truncation: float = 1.0,
    device: torch.device | None = None,
) -> Iterator[Tensor]:
    """uint8 [m c h w] on the CPU, m ≤ 64 at a time, from latents float32 [n z] and labels int64 [n] or None."""
    if not 0 <= truncation < math.inf:
        raise GanvasError(f"--truncation is {truncation}.", expected="a number from 0 on; 1 leaves all as it is")
    step = chunk(*generator.shape[1:3])
    for start in range(0, len(z), step):
        with default_state(), torch.no_grad():
            part = torch.arange(start, start + step).clamp(max=len(z) - 1)
            own = None if labels is None else labels[part].to(device)
            images = to_uint8(generator.truncated(z[part].to(device), own, truncation)).cpu()[: len(z) - start]
        yield images


class Sampler:
    """A trained generator, ready to draw.

    Attributes:
        card: what the snapshot says of itself.
        path: where it lies.
    """

    def __init__(self, path: Path, generator: Generator, card: Card, device: torch.device) -> None:
        self.path, self.card, self.device = path, card, device
        self._generator = generator.to(device)

    @default_state()
    def images(
        self, seeds: Iterable[int], *, label: int | Sequence[int] | None = None, truncation: float = 1.0
    ) -> Iterator[Tensor]:
        """uint8 [m c h w], m ≤ 64 at a time: one image a seed; the same seed gives the same image in any company.

        Args:
            seeds: whole numbers from 0.
            label: the class of all, or of each; by default a seed's class is seed modulo the number of classes.
            truncation: below 1 more typical and less varied. Latents are multiplied by it (a simple form of the
                truncation trick of Brock et al. 2019, which redraws what falls outside instead); style-based
                generators draw the style towards its mean (Karras et al. 2019, section 2).

        Raises:
            GanvasError: no such class, or a class asked of an unconditional generator.
        """
        seeds = _checked(seeds)
        z = latents(seeds, self._latent) if seeds else torch.empty(0, self._latent)
        labels = self._labels(label, seeds)
        return generate(self._generator, z, labels, truncation=truncation, device=self.device)

    @computing()
    def sample(
        self,
        seeds: Iterable[int] = range(64),
        *,
        label: int | Sequence[int] | None = None,
        truncation: float = 1.0,
    ) -> np.ndarray:
        """All of `images` at once: uint8 array [n c h w]."""
        parts = list(self.images(seeds, label=label, truncation=truncation))
        shape = self.card.shape
        return torch.cat(parts).numpy() if parts else np.empty((0, *shape[:3]), np.uint8)

    @default_state()
    def walk(
        self, seeds: Sequence[int], *, frames: int, label: int | None = None, truncation: float = 1.0
    ) -> Iterator[Tensor]:
        """uint8 [m c h w] along great circles from seed to seed and back to the first, `frames` images a leg."""
        if len(seeds) < 2:
            raise GanvasError(
                f"An interpolation needs at least two seeds; there are {len(seeds)}.",
                fix="--interpolate 0,7,12",
            )
        if frames < 1:
            raise GanvasError(f"A walk of {frames} pictures a leg.", expected="at least one")
        z = latents(_checked(seeds), self._latent)
        t = torch.arange(frames) / frames
        legs = [slerp(z[i], z[(i + 1) % len(z)], t) for i in range(len(z))]
        if label is None and self.card.shape.classes:
            label = 0
        labels = self._labels(label, [0] * frames * len(z))
        return generate(self._generator, torch.cat(legs), labels, truncation=truncation, device=self.device)

    def label(self, name: str) -> int:
        """The class called `name`, or numbered so.

        Raises:
            GanvasError: there is none.
        """
        names = self.card.class_names
        if name in names:
            return names.index(name)
        if name.isdigit() and int(name) < self.card.shape.classes:
            return int(name)
        listed = ", ".join(f"{i} ({n})" if n != str(i) else n for i, n in enumerate(names))
        raise GanvasError(
            f"{self.path} has no class '{name}'.",
            expected=f"one of {listed}" if names else "no --class: it was trained without classes",
            fix="" if names else "train with --conditional on labelled pictures to choose a class.",
        )

    def arranged(
        self,
        seeds: Sequence[int],
        *,
        label: int | None = None,
        truncation: float = 1.0,
        columns: int | None = None,
    ) -> tuple[np.ndarray, int, tuple[str, ...]]:
        """Images for a grid: (uint8 [n c h w], columns, the rows' names).

        With classes, and none chosen, the grid has one class a row, of the first `columns` seeds each (by default as
        many as make about len(seeds) pictures in all).
        """
        classes = self.card.shape.classes
        if columns is not None and columns < 1:
            raise GanvasError(f"A grid of {columns} columns.", expected="at least one")
        if not classes or label is not None:
            n = len(seeds)
            return self.sample(seeds, label=label, truncation=truncation), columns or math.isqrt(n - 1) + 1, ()
        columns = min(columns or max(1, len(seeds) // classes), len(seeds))
        labels = [c for c in range(classes) for _ in range(columns)]
        images = self.sample(list(seeds[:columns]) * classes, label=labels, truncation=truncation)
        return images, columns, self.card.class_names

    @property
    def _latent(self) -> int:
        return self.card.network.latent

    def _labels(self, label: int | Sequence[int] | None, seeds: Sequence[int]) -> Tensor | None:
        classes = self.card.shape.classes
        if not classes:
            if label is not None:
                raise GanvasError(
                    f"{self.path} was trained without classes.",
                    fix="train with --conditional on labelled pictures to choose a class.",
                )
            return None
        if label is None:
            return torch.tensor([seed % classes for seed in seeds], dtype=torch.long)
        labels = [label] * len(seeds) if isinstance(label, int) else list(label)
        if len(labels) != len(seeds) or not all(0 <= own < classes for own in labels):
            raise GanvasError(
                f"Class {label} does not exist.", expected=f"one of 0 to {classes - 1}, or one for each seed"
            )
        return torch.tensor(labels, dtype=torch.long)


@default_state()
def load(run: Run | Path | str, *, device: str = "cpu") -> Sampler:
    """The generator of a run (its newest snapshot) or of one snapshot folder, on a device (auto, cpu, cuda …).

    Raises:
        GanvasError: there is nothing usable, or no such device.
    """
    path = run.path if isinstance(run, Run) else Path(run)
    if path.name == "G.safetensors":
        path = path.parent
    if not (path / "card.json").exists():
        path = Run(path).snapshot if (path / "config.json").exists() else path
    if not path.exists():
        raise GanvasError(f"{path} does not exist.", expected="a run folder", fix="ls runs shows the runs.")
    return Sampler(path, *snapshot.load(path), choose(device))


def parse_seeds(text: str) -> list[int]:
    """Reads "0-7,12" as 0 … 7 and 12.

    Raises:
        GanvasError: it is no list of seeds.
    """
    seeds: list[int] = []
    try:
        for part in text.split(","):
            first, dash, last = part.strip().partition("-")
            seeds += range(int(first), int(last) + 1) if dash else [int(first)]
    except ValueError:
        seeds = []
    if not seeds:
        raise GanvasError(f"'{text}' is no list of seeds.", expected="numbers and ranges, such as 0-7,12")
    return seeds


def _checked(seeds: Iterable[int]) -> list[int]:
    """The seeds as whole numbers that PyTorch takes."""
    checked = [int(seed) for seed in seeds]
    for seed in checked:
        if not 0 <= seed < 2**63:
            raise GanvasError(f"{seed} is no seed.", expected="a whole number from 0 to 2^63 - 1")
    return checked
