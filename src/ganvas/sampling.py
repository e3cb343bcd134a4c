"""Draws uint8 images from a trained generator: one image per seed, grids by class, interpolations."""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganvas import image_io, user_code
from ganvas.data.pixels import to_uint8
from ganvas.devices import free_bytes, select_device
from ganvas.display import Displayed, InlineImage, Paragraph, Part, Table
from ganvas.errors import GanvasError, describe_value
from ganvas.files import format_bytes, to_path
from ganvas.networks import Generator
from ganvas.progress import progress_bar
from ganvas.pytorch_state import default_state
from ganvas.runs import snapshot
from ganvas.runs.folder import Run
from ganvas.runs.snapshot import Card
from ganvas.samples import Samples
from ganvas.threads import cpu_threads
from ganvas.values import as_whole, to_number, to_whole

Label = int | str
"""A class: its number, or its name."""

MAX_SEEDS = 10_000_000
"""Most seeds that one text names."""

MAX_FRAMES = 100_000
"""Most images of an interpolation."""

MAX_TRUNCATION = 1e6

PIXELS_PER_PASS = 2**20
"""Approximate number of pixels in a forward pass: 64 images of 128×128."""


def images_per_pass(height: int, width: int) -> int:
    """The number of images in a forward pass, at most 64; depends only on their size.

    Every pass has this many (the last one is padded), so that the arithmetic, and with it the image of a seed, does
    not depend on how many images are requested.
    """
    return max(1, min(64, PIXELS_PER_PASS // (height * width)))


def sample_latents(seeds: Iterable[int], size: int) -> Tensor:
    """z ~ N(0, 1) for each seed: float32 [n size], the same on every device."""
    rng = torch.Generator()
    return torch.stack([torch.randn(size, generator=rng.manual_seed(seed)) for seed in seeds])


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Spherical interpolation between two latents (White 2016): [z], [z], [n] -> [n z].

    Lengths are interpolated linearly, so that both ends are reached exactly. Latents in nearly the same or opposite
    directions are interpolated linearly.
    """
    t = t[:, None]
    cosine = torch.nn.functional.cosine_similarity(a, b, dim=0).clamp(-1, 1)
    angle = torch.acos(cosine)
    if torch.sin(angle) < 1e-4:
        return (1 - t) * a + t * b
    direction = (torch.sin((1 - t) * angle) * a / a.norm() + torch.sin(t * angle) * b / b.norm()) / torch.sin(angle)
    return direction * ((1 - t) * a.norm() + t * b.norm())


def generate(
    generator: Generator,
    z: Tensor,
    labels: Tensor | None = None,
    *,
    truncation: float = 1.0,
    device: torch.device | None = None,
) -> Iterator[Tensor]:
    """Yields batches of images, uint8 [m c h w] on the CPU, m ≤ 64, from latents float32 [n z] and labels int64 [n].

    Raises:
        GanvasError: `truncation` is negative or not finite.
    """
    truncation = to_number(truncation, "--truncation", most=MAX_TRUNCATION)
    step = images_per_pass(*generator.shape[1:3])
    for start in range(0, len(z), step):
        with default_state(random=False), torch.no_grad(), user_code.quote_loaded():
            rows = torch.arange(start, start + step).clamp(max=len(z) - 1)
            batch_labels = None if labels is None else labels[rows].to(device)
            images = generator.truncated(z[rows].to(device), batch_labels, truncation)
            images = to_uint8(images).cpu()[: len(z) - start]
        yield images


class Sampler(Displayed):
    """A trained generator that draws images from seeds.

    Attributes:
        card: the metadata of the snapshot.
        path: the snapshot's folder.
        device: where it computes.
    """

    def __init__(self, path: Path, generator: Generator, card: Card, device: torch.device) -> None:
        self.path, self.card, self.device = path, card, device
        self._generator = generator.to(device)

    def _line(self) -> str:
        return f"Sampler({self.path}: {self._describe_images()}, {self.device})"

    def _describe_images(self) -> str:
        shape = self.card.shape
        classes = f", {shape.classes} classes" if shape.classes else ""
        return f"{shape.height}×{shape.width}×{shape.channels}{classes}"

    def _parts(self) -> Iterator[Part]:
        card = self.card
        yield Paragraph(str(self.path), "bold")
        names = {"classes": ", ".join(card.class_names)} if card.class_names else {}
        facts = {
            "images": self._describe_images(), **names, "recipe": f"{card.recipe} ({card.network.family})",
            "data": str(card.data.get("name", "")), "kimg": f"{card.nimg / 1000:g}", "device": str(self.device),
        }  # fmt: skip
        yield Table(list(facts.items()))
        grid = self.path.parent.parent / f"fakes{card.nimg // 1000:06d}.png"
        if grid.exists():
            yield InlineImage(grid, grid.name)

    @default_state(random=False)
    def sample_batches(
        self, seeds: Iterable[int] | str, *, label: Label | Sequence[Label] | None = None, truncation: float = 1.0
    ) -> Iterator[Tensor]:
        """Yields batches of images, uint8 [m c h w], m ≤ 64: one image per seed, whatever the other seeds are.

        Args:
            seeds: integers from 0, or text such as "0-7,12".
            label: the class of all images, by its number or name, or one class for each; by default seed modulo the
                number of classes.
            truncation: below 1, images are more typical and less varied. Latents are multiplied by it (a simple form
                of the truncation trick of Brock et al. 2019, which resamples values outside a range instead);
                style-based generators move the style towards its mean (Karras et al. 2019, section 2).

        Raises:
            GanvasError: the class does not exist, or the generator is unconditional.
        """
        seeds, truncation = _check_seeds(seeds), to_number(truncation, "--truncation", most=MAX_TRUNCATION)
        return self._generate_batches(seeds, self._make_labels(label, seeds), truncation)

    def _generate_batches(self, seeds: Sequence[int], labels: Tensor | None, truncation: float) -> Iterator[Tensor]:
        step = images_per_pass(*self.card.shape[1:3])
        for start in range(0, len(seeds), step):
            with default_state(random=False):
                z = sample_latents(seeds[start : start + step], self._latent_size)
            own = None if labels is None else labels[start : start + step]
            yield from generate(self._generator, z, own, truncation=truncation, device=self.device)

    @cpu_threads()
    def sample(
        self,
        seeds: Iterable[int] | str = range(64),
        *,
        label: Label | Sequence[Label] | None = None,
        truncation: float = 1.0,
        progress: bool = False,
    ) -> Samples:
        """All images of `sample_batches` in one array: uint8 [n c h w], which a notebook shows as a grid.

        With `progress`, a bar is shown on a terminal.

        Raises:
            GanvasError: as `sample_batches`, or the images do not fit into memory.
        """
        seeds = _check_seeds(seeds)
        _check_memory(len(seeds), self.card.shape[:3])
        images, done = np.empty((len(seeds), *self.card.shape[:3]), np.uint8), 0
        with progress_bar("Sampling", len(seeds), shown=progress) as advance:
            for batch in self.sample_batches(seeds, label=label, truncation=truncation):
                images[done : done + len(batch)] = batch.numpy()
                done += len(batch)
                advance(len(batch))
        labels = self._make_labels(label, seeds)
        return Samples(images, None if labels is None else labels.numpy(), self.card.class_names)

    @default_state(random=False)
    def interpolate(
        self,
        seeds: Iterable[int] | str = range(8),
        *,
        frames: int = 25,
        label: Label | None = None,
        truncation: float = 1.0,
    ) -> Iterator[Tensor]:
        """Yields batches of images, uint8 [m c h w], interpolated from seed to seed and back to the first.

        Args:
            seeds: at least two; consecutive latents are connected by `slerp`.
            frames: images from one seed to the next.
            label: the class of all images, by its number or name; by default the first class.
            truncation: see `sample_batches`.

        Raises:
            GanvasError: fewer than two seeds, no frames, or as `sample_batches`.
        """
        seeds = _check_seeds(seeds)
        if len(seeds) < 2:
            raise GanvasError(
                f"An interpolation needs at least two seeds; there are {len(seeds)}.", fix="--seeds 0,7,12"
            )
        frames = to_whole(frames, "--frames", 1, MAX_FRAMES // len(seeds))
        z = sample_latents(seeds, self._latent_size)
        t = torch.arange(frames) / frames
        segments = [slerp(z[i], z[(i + 1) % len(z)], t) for i in range(len(z))]
        if label is None and self.card.shape.classes:
            label = 0
        labels = self._make_labels(label, [0] * frames * len(z))
        return generate(self._generator, torch.cat(segments), labels, truncation=truncation, device=self.device)

    def find_class(self, name: Label) -> int:
        """The index of the class with this name or number.

        Raises:
            GanvasError: there is no such class.
        """
        if (number := as_whole(name)) is not None:
            name = str(number)
        if not isinstance(name, str):
            raise GanvasError(f"{describe_value(name)} is not a class.", expected="its name, or its number")
        names = self.card.class_names
        if name in names:
            return names.index(name)
        if re.fullmatch("[0-9]{1,9}", name) and int(name) < self.card.shape.classes:
            return int(name)
        listed = ", ".join(f"{i} ({n})" if n != str(i) else n for i, n in enumerate(names))
        raise GanvasError(
            f"{self.path} has no class '{name}'.",
            expected=f"one of {listed}" if names else "no --label: it was trained without classes",
            fix="" if names else "train with --conditional on labelled images to choose a class.",
        )

    def sample_grid(
        self,
        seeds: Iterable[int] | str = range(64),
        *,
        label: Label | None = None,
        truncation: float = 1.0,
        columns: int | None = None,
        progress: bool = False,
    ) -> tuple[np.ndarray, int, tuple[str, ...]]:
        """Images for a grid: (uint8 [n c h w], number of columns, row names).

        If the generator is conditional and `label` is None, each row is a class, drawn from the first `columns` seeds
        (by default so many that the grid has about len(seeds) images).

        Raises:
            GanvasError: fewer than one column, more images than a file holds, or as `sample_batches`.
        """
        classes = self.card.shape.classes
        columns = None if columns is None else to_whole(columns, "--columns", 1)
        seeds = _check_seeds(seeds)
        if not seeds:
            raise GanvasError("A grid has no seeds.", expected="at least one")
        if not classes or label is not None:
            n = len(seeds)
            columns = columns or math.isqrt(n - 1) + 1
            image_io.check_grid(n, columns, *self.card.shape[1:3])
            return self.sample(seeds, label=label, truncation=truncation, progress=progress), columns, ()
        columns = min(columns or max(1, len(seeds) // classes), len(seeds))
        image_io.check_grid(classes * columns, columns, *self.card.shape[1:3])
        labels = [c for c in range(classes) for _ in range(columns)]
        images = self.sample(seeds[:columns] * classes, label=labels, truncation=truncation, progress=progress)
        return images, columns, self.card.class_names

    @property
    def _latent_size(self) -> int:
        return self.card.network.latent

    def _make_labels(self, label: Label | Sequence[Label] | None, seeds: Sequence[int]) -> Tensor | None:
        classes = self.card.shape.classes
        if not classes:
            if label is not None:
                raise GanvasError(
                    f"{self.path} was trained without classes.",
                    fix="train with --conditional on labelled images to choose a class.",
                )
            return None
        if label is None:
            return torch.tensor([seed % classes for seed in seeds], dtype=torch.long)
        if hasattr(label, "tolist") and getattr(label, "ndim", 0) == 1:
            label = list(label)  # type: ignore[arg-type]
        several = isinstance(label, Sequence) and not isinstance(label, str | bytes)
        labels = [
            self.find_class(one) if isinstance(one, str) else _to_int(one, "class")
            for one in (label if several else [label])  # type: ignore[union-attr]
        ]
        labels = labels if several else labels * len(seeds)
        if len(labels) != len(seeds) or not all(0 <= each < classes for each in labels):
            raise GanvasError(
                f"Class {label} does not exist.", expected=f"one of 0 to {classes - 1}, or one for each seed"
            )
        return torch.tensor(labels, dtype=torch.long)


@default_state()
def load(run: Run | Path | str, *, device: str = "auto") -> Sampler:
    """Loads the generator of a run (its newest snapshot) or of one snapshot folder, on a device (auto, cpu, cuda …).

    Raises:
        GanvasError: there is no usable snapshot, or no such device.
    """
    path = run.path if isinstance(run, Run) else to_path(run, "a run, its folder, or that of a snapshot")
    if path.name == "G.safetensors":
        path = path.parent
    if not (path / "card.json").exists():
        path = Run(path).latest_snapshot if (path / "config.json").exists() else path
    if not path.exists():
        raise GanvasError(f"{path} does not exist.", expected="a run folder", fix="ganvas runs lists the runs.")
    return Sampler(path, *snapshot.load(path), select_device(device))


def parse_seeds(text: str) -> list[int]:
    """Parses "0-7,12" as 0 … 7 and 12.

    Raises:
        GanvasError: the text is not a list of seeds.
    """
    seeds: list[int] = []
    try:
        for part in text.split(","):
            first, dash, last = part.strip().partition("-")
            if dash and int(last) - int(first) >= MAX_SEEDS - len(seeds):
                raise GanvasError(
                    f"'{text}' are too many seeds.", expected=f"at most {MAX_SEEDS:,}", fix="several commands."
                )
            seeds += range(int(first), int(last) + 1) if dash else [int(first)]
    except ValueError:
        seeds = []
    if not seeds:
        raise GanvasError(f"'{text}' is not a list of seeds.", expected="numbers and ranges, such as 0-7,12")
    return seeds


def _check_seeds(seeds: Iterable[int] | str) -> list[int]:
    """The seeds as integers in the range that PyTorch accepts."""
    if isinstance(seeds, str):
        chosen: Iterable[Any] = parse_seeds(seeds)
    elif isinstance(seeds, Iterable) and not isinstance(seeds, bytes) and getattr(seeds, "ndim", 1):
        chosen = seeds
    else:
        raise GanvasError(
            f"{describe_value(seeds)} is not a list of seeds.",
            expected='integers such as range(64) or [0, 7], or text such as "0-7,12"',
        )
    checked = [_to_int(seed, "seed") for seed in islice(chosen, MAX_SEEDS + 1)]
    if len(checked) > MAX_SEEDS:
        raise GanvasError("These are too many seeds.", expected=f"at most {MAX_SEEDS:,}", fix="several calls.")
    for seed in checked:
        if not 0 <= seed < 2**63:
            raise GanvasError(f"{seed} is not a seed.", expected="an integer from 0 to 2^63 - 1")
    return checked


def _check_memory(n: int, shape: tuple[int, ...]) -> None:
    """Refuses more images than fit into the free memory, before any is made."""
    needed, free = n * math.prod(shape), free_bytes(torch.device("cpu"))
    if needed > free:
        raise GanvasError(
            f"{n:,} images need {format_bytes(needed)}.",
            expected=f"less than the {format_bytes(free)} that are free",
            fix="fewer seeds, or Sampler.sample_batches, which yields a few at a time.",
        )


def _to_int(value: object, what: str) -> int:
    number = as_whole(value)
    if number is None:
        raise GanvasError(f"{describe_value(value)} is not a {what}.", expected="an integer")
    return number
