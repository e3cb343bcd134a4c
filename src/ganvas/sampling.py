"""Draws uint8 images from a trained generator: one image per seed, grids by class, interpolations."""

import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ganvas import user_code
from ganvas.devices import select_device
from ganvas.display import Displayed, InlineImage, Paragraph, Part, Table
from ganvas.drawing import (
    GridPlan,
    check_memory,
    check_truncation,
    generate,
    images_per_pass,
    in_passes,
    plan_grid,
    sample_latents,
)
from ganvas.errors import GanvasError, describe_value
from ganvas.features.extraction import hash_weights
from ganvas.files import to_path
from ganvas.latents import Latents, Origin, check_form, describe_origin, mix, walk
from ganvas.networks import Generator
from ganvas.progress import progress_bar
from ganvas.pytorch_state import default_state
from ganvas.reading import near_paths
from ganvas.runs import lookup, pretrained, snapshot
from ganvas.runs.card import WEIGHTS, is_run, is_snapshot
from ganvas.runs.folder import Run
from ganvas.runs.names import grid_file, title_generator
from ganvas.runs.snapshot import Card
from ganvas.samples import Samples
from ganvas.seeds import check_seeds, to_int
from ganvas.threads import monitored
from ganvas.values import as_whole, to_flag

Label = int | str
"""A class: its number, or its name."""


class Sampler(Displayed):
    """A trained generator that draws images from seeds.

    Attributes:
        card: the metadata of the snapshot.
        path: the snapshot's folder, or the file of a generator that is one.
        device: where it computes.
    """

    def __init__(self, path: Path, generator: Generator, card: Card, device: torch.device) -> None:
        self.path, self.card, self.device = path, card, device
        self._generator, self._noted = generator.to(device), set[Origin]()

    @property
    def generator(self) -> Generator:
        """The network, frozen and in evaluation mode, on `device`."""
        return self._generator

    @property
    def name(self) -> str:
        """Its path, or pretrained:NAME."""
        return pretrained.title(self.path)

    @cached_property
    def origin(self) -> Origin:
        """Says in a file of latents whose they are."""
        return Origin(hash_weights(self._generator), title_generator(Path(self.name)), self.card.nimg / 1000)

    def _line(self) -> str:
        return f"Sampler({self.name}: {self._describe_images()}, {self.device})"

    def _describe_images(self) -> str:
        shape = self.card.shape
        classes = f", {shape.classes} classes" if shape.classes else ""
        return f"{shape.height}×{shape.width}×{shape.channels}{classes}"

    def _parts(self) -> Iterator[Part]:
        card = self.card
        yield Paragraph(self.name, "bold")
        names = {"classes": ", ".join(card.class_names)} if card.class_names else {}
        facts = {
            "images": self._describe_images(), **names, "recipe": f"{card.recipe} ({card.network.family})",
            "data": str(card.data.get("name", "")), "kimg": f"{card.nimg / 1000:g}", "device": str(self.device),
        }  # fmt: skip
        yield Table(list(facts.items()))
        grid = grid_file(self.path.parent.parent, card.nimg)
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
        seeds, truncation = check_seeds(seeds), check_truncation(truncation)
        return monitored(self._generate_batches(seeds, self._make_labels(label, seeds), truncation))

    def _generate_batches(self, seeds: Sequence[int], labels: Tensor | None, truncation: float) -> Iterator[Tensor]:
        step = images_per_pass(*self.card.shape[1:3])
        for start in range(0, len(seeds), step):
            with default_state(random=False):
                z = sample_latents(seeds[start : start + step], self._generator.latent)
            own = None if labels is None else labels[start : start + step]
            yield from generate(self._generator, z, own, truncation=truncation, device=self.device)

    @default_state(random=False)
    def sample(
        self,
        seeds: Iterable[int] | str = range(64),
        *,
        label: Label | Sequence[Label] | None = None,
        truncation: float = 1.0,
        progress: bool = False,
    ) -> Samples:
        """All images of `sample_batches` in one array: uint8 [n c h w]; with `progress`, a bar on a terminal.

        Raises:
            GanvasError: as `sample_batches`, or the images do not fit into memory.
        """
        seeds, progress = check_seeds(seeds), to_flag(progress, "progress")
        check_memory(len(seeds), self.card.shape[:3])
        images, done = np.empty((len(seeds), *self.card.shape[:3]), np.uint8), 0
        with progress_bar("Sampling", len(seeds), shown=progress) as advance:
            for batch in self.sample_batches(seeds, label=label, truncation=truncation):
                images[done : done + len(batch)] = batch.numpy()
                done += len(batch)
                advance(len(batch))
        labels = self._make_labels(label, seeds)
        return Samples(images, None if labels is None else labels.numpy(), self.card.class_names)

    @default_state(random=False)
    def latents(
        self,
        seeds: Iterable[int] | str = range(64),
        *,
        label: Label | Sequence[Label] | None = None,
        truncation: float = 1.0,
    ) -> Latents:
        """Where the images of these seeds lie; the arguments are those of `sample_batches`."""
        seeds, truncation = check_seeds(seeds), check_truncation(truncation)
        if not seeds:
            raise GanvasError("There are no seeds.", expected="at least one")
        labels = self._make_labels(label, seeds)
        there = None if labels is None else labels.to(self.device)
        z = sample_latents(seeds, self._generator.latent).to(self.device)
        with torch.no_grad(), user_code.quote_loaded():
            styles = self._generator.truncate(self._generator.styles(z, there), there, truncation)
        return Latents(styles.cpu().contiguous(), labels, self._generator.style_space, self.origin)

    @default_state(random=False)
    def check_latents(self, latents: Latents) -> Latents:
        """Latents in this generator's own space and number of layers, with classes where it has any.

        z of a generator with a mapping network is mapped; one style is taken for all layers; without labels, the
        first class is taken. A note goes to stderr where they are known to be of other weights.

        Raises:
            GanvasError: they are of another generator.
        """
        check_form(latents)
        classes, styles, labels, of = self.card.shape.classes, latents.styles, latents.labels, latents.origin
        none = torch.zeros(len(latents), dtype=torch.long) if classes else None
        labels = labels if classes and labels is not None else none
        if labels is not None and len(wrong := labels[(labels < 0) | (labels >= classes)]):
            raise GanvasError(f"The latents have class {int(wrong[0])}.", expected=f"one of 0 to {classes - 1}")
        own, of_z = self.latents([0]).styles, (1, self._generator.latent)
        space, k = self._generator.style_space, styles.shape[2]
        bare = of is None and styles.shape[1:] == own.shape[1:] != of_z  # an array alone says no space
        theirs = space if bare else latents.space
        if theirs == "z" != space and styles.shape[1:] == of_z:
            there = None if labels is None else labels.to(self.device)
            with torch.no_grad(), user_code.quote_loaded():
                styles = self._generator.styles(styles[:, 0].to(self.device), there).cpu().contiguous()
        elif theirs != space or k != own.shape[2] or styles.shape[1] not in (1, own.shape[1]):
            raise GanvasError(
                f"These latents are [{styles.shape[1]} {k}] in {theirs}; they are not of {self.name}.",
                expected=f"{space}: [{own.shape[1]} {own.shape[2]}] or [1 {own.shape[2]}] of each picture"
                + ("" if space == "z" else f", or z: [{self._generator.latent}]"),
                fix="make them with this run: ganvas sample RUN --save-latents FILE.npz, or ganvas project RUN PHOTO.",
            )
        if of is not None and of.weights != self.origin.weights and of not in self._noted:
            self._noted.add(of)
            print(f"Note: {describe_origin(of, self.origin, self.path.parent)}", file=sys.stderr)
        return Latents(styles.expand(-1, own.shape[1], -1), labels, space, self.origin)

    @default_state(random=False)
    def draw(self, latents: Latents) -> Samples:
        """The images of latents, uint8 [n c h w].

        Raises:
            GanvasError: see `check_latents`.
        """
        latents = self.check_latents(latents)
        images = np.concatenate([batch.numpy() for batch in self.draw_batches(latents)])
        labels = None if latents.labels is None else latents.labels.numpy()
        return Samples(images, labels, self.card.class_names)

    def draw_batches(self, latents: Latents, step: int | None = None) -> Iterator[Tensor]:
        """Yields batches of images, uint8 [m c h w] on the CPU, m ≤ 64, of latents that were checked.

        With `step` so many at a time: one alone is drawn much sooner, and its pixels may differ by one level.
        """
        draw, styles = self._generator.draw, latents.styles
        return monitored(in_passes(draw, self._generator, styles, latents.labels, self.device, step))

    @default_state(random=False)
    def interpolate(
        self,
        seeds: Iterable[int] | str = range(8),
        *,
        frames: int = 25,
        label: Label | None = None,
        truncation: float = 1.0,
        latents: Latents | None = None,
        easing: str = "smooth",
        loop: bool = True,
    ) -> Iterator[Tensor]:
        """Yields batches of images, uint8 [m c h w], interpolated from seed to seed and back to the first.

        Args:
            seeds: at least two; z is interpolated along great circles, w along straight lines.
            frames: images from one seed to the next.
            label: the class of all images, by its number or name; by default the first class.
            truncation: see `sample_batches`.
            latents: go from one of these to the next, such as those of photos, in place of seeds; `label` and
                `truncation` are then theirs.
            easing: linear, or smooth, which is slow at each seed.
            loop: go back to the first at the end.

        Raises:
            GanvasError: fewer than two seeds, no frames, no such easing, or as `sample_batches`.
        """
        ends = self._place(seeds, label, truncation) if latents is None else self.check_latents(latents)
        parts = walk(ends, frames, easing=easing, loop=loop, step=images_per_pass(*self.card.shape[1:3]))
        return monitored(images for part in parts for images in self.draw_batches(part))

    def mix(
        self,
        rows: Iterable[int] | str | Latents,
        columns: Iterable[int] | str | Latents,
        *,
        layers: int | Sequence[int] | None = None,
        label: Label | None = None,
        truncation: float = 1.0,
    ) -> Samples:
        """Style mixing (Karras et al. 2019, section 3.1): an image for each row and column, row by row.

        Args:
            rows: of the coarse layers: seeds, or latents, such as those of photos.
            columns: of the fine layers: seeds, or latents.
            layers: how many of the first layers are the row's, by default half; or which ones, numbered from 0.
            label: the class of the seeds; by default the first. Images have the class of their row.
            truncation: of the seeds; see `sample_batches`.

        Raises:
            GanvasError: this family has no style for each layer, or as `sample_batches`.
        """
        return self.draw(self.mix_latents(rows, columns, layers=layers, label=label, truncation=truncation))

    @default_state(random=False)
    def mix_latents(
        self, rows: Iterable[int] | str | Latents, columns: Iterable[int] | str | Latents, *,
        layers: int | Sequence[int] | None, label: Label | None, truncation: float,
    ) -> Latents:  # fmt: skip
        """The latents of `mix`."""
        coarse, fine = (self._place(of, label, truncation) for of in (rows, columns))
        if coarse.styles.shape[1] == 1:
            raise GanvasError(
                f"{self.name} is of the family {self.card.network.family}, whose images come from one {coarse.space} "
                "as a whole: it has no layers to mix.",
                fix="interpolate between two seeds instead (--video), or train stylegan or transformer-modern.",
            )
        return mix(coarse, fine, layers)

    def _place(self, of: Iterable[int] | str | Latents, label: Label | None, truncation: float) -> Latents:
        """Latents, checked; those of seeds are of one class."""
        if isinstance(of, Latents):
            return self.check_latents(of)
        return self.latents(of, label=0 if label is None and self.card.shape.classes else label, truncation=truncation)

    def find_class(self, name: Label) -> int:
        """The index of the class with this name or number.

        Raises:
            GanvasError: there is no such class.
        """
        names, number = self.card.class_names, as_whole(name)
        if isinstance(name, str):  # which may be a number too; a name goes before it
            composed = [unicodedata.normalize("NFC", one) for one in names]  # a folder of macOS has the accents apart
            if (wanted := unicodedata.normalize("NFC", name)) in composed:
                return composed.index(wanted)
            number = int(name) if re.fullmatch("[0-9]{1,9}", name) else -1
        if number is None:
            raise GanvasError(f"{describe_value(name)} is not a class.", expected="its name, or its number")
        if 0 <= number < self.card.shape.classes:
            return number
        listed = ", ".join(f"{i} ({n})" if n != str(i) else n for i, n in enumerate(names))
        raise GanvasError(
            f"{self.name} has no class '{name}'.",
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
        plan = self.plan_grid(seeds, label=label, columns=columns)
        plan.check(*self.card.shape[1:3])
        images = self.sample(plan.seeds, label=plan.label, truncation=truncation, progress=progress)
        return images, plan.columns, plan.row_names

    def plan_grid(
        self, seeds: Iterable[int] | str = range(64), *, label: Label | None = None, columns: int | None = None
    ) -> GridPlan:
        """Which images `sample_grid` draws, with the same arguments; whether a file holds them is not checked."""
        return plan_grid(check_seeds(seeds), label, columns, self.card.shape, self.card.class_names)

    def _make_labels(self, label: Label | Sequence[Label] | None, seeds: Sequence[int]) -> Tensor | None:
        classes = self.card.shape.classes
        if not classes:
            if label is not None:
                raise GanvasError(
                    f"{self.name} was trained without classes.",
                    fix="train with --conditional on labelled images to choose a class.",
                )
            return None
        if label is None:
            return torch.tensor([seed % classes for seed in seeds], dtype=torch.long)
        if hasattr(label, "tolist") and getattr(label, "ndim", 0) == 1:
            label = list(label)  # type: ignore[arg-type]
        several = isinstance(label, Sequence) and not isinstance(label, str | bytes)
        labels = [
            self.find_class(one) if isinstance(one, str) else to_int(one, "class")
            for one in (label if several else [label])  # type: ignore[union-attr]
        ]
        labels = labels if several else labels * len(seeds)
        wrong = [f"Class {each} does not exist." for each in labels if not 0 <= each < classes]
        if wrong or len(labels) != len(seeds):
            found = f"The seeds and their classes differ in number: {len(seeds)} and {len(labels)}."
            raise GanvasError([*wrong, found][0], expected=f"one of 0 to {classes - 1}, or one for each seed")
        return torch.tensor(labels, dtype=torch.long)


@default_state()
def load(run: Run | Path | str, *, device: str = "auto") -> Sampler:
    """Loads the generator of a run (its newest snapshot) or of one snapshot folder, on a device (auto, cpu, cuda …).

    Also one that comes with Ganvas, "pretrained:digits28"; of a folder that `ganvas.export` wrote for the Hugging Face
    hub, or one on it, "hf:owner/name@revision"; and of one file with its card inside, as tools/pretrain.py writes it,
    here or on the web: "https://…/NAME.safetensors#sha256=DIGEST". What is elsewhere is downloaded once.

    Raises:
        GanvasError: there is no usable snapshot, no such device, or it cannot be downloaded.
    """
    path = run.path if isinstance(run, Run) else to_path(run, "a run, its folder, or that of a snapshot")
    path = lookup.folder_of(lookup.find_local(path))
    if not is_snapshot(path):
        path = Run(path).latest_snapshot if is_run(path) else path
    if not (is_snapshot(path) or any((path / name).exists() for name in WEIGHTS)):
        fix = f"{pretrained.PREFIX}{path} comes with Ganvas; " if str(path) in pretrained.GENERATORS else ""
        raise GanvasError(
            f"{path} is no run and no snapshot." if path.exists() else f"{path} does not exist.",
            expected=f"a run folder, or {lookup.FORMS}",
            fix=fix + ((not path.exists() and near_paths(path)) or "ganvas runs lists the runs."),
        )
    return Sampler(path, *snapshot.load(path), select_device(device))
