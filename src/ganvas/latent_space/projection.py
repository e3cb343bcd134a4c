"""A photo's place: the latent whose picture is nearest to it, compared with training, held-out and other pictures.

found = ganvas.project("runs/00003-fast-faces", ["me.jpg"])
found.save("place")  # a sheet, the latents, a film of the search
"""

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ganvas import image_io, sampling, user_code
from ganvas.animation import MAX_PIXELS, MAX_SIDE, save_animation
from ganvas.data import DataOptions, decoding, open_images
from ganvas.data.decoding import Fit
from ganvas.data.imageset import ImageSet
from ganvas.data.pixels import to_uint8, to_unit
from ganvas.data.selection import open_test_split
from ganvas.display import Displayed, InlineImage, Paragraph, Part, Table
from ganvas.errors import GanvasError
from ganvas.features.perceptual import PerceptualDistance
from ganvas.files import check_writable, to_path
from ganvas.latent_space.budget import choose_amount
from ganvas.latent_space.photos import MAX_PHOTOS, Photo, as_list, describe_cut, find_levels, load_photo
from ganvas.latent_space.search import FRAME_TARGETS, Place, Search, SearchStep, Watch
from ganvas.latents import Latents
from ganvas.networks import Shape
from ganvas.progress import progress_bar
from ganvas.pytorch_state import default_state
from ganvas.runs.folder import Run
from ganvas.runs.snapshot import Card
from ganvas.runs.training_data import find_data
from ganvas.sampling import Label, Sampler
from ganvas.threads import cpu_threads
from ganvas.values import to_flag, to_whole

MAX_STEPS = 100_000
FILM_HELD = 15
"""Frames for which the end of a search's film is shown."""

SHEET_ROWS = ("photo", "found", "difference")

MAX_SEED = 2**63 - 1 - 2**16
"""The candidates have the seeds that follow."""


@dataclass(frozen=True, eq=False, repr=False)
class Projection(Displayed):
    """The places of n photos.

    Attributes:
        targets, found: the photos at the generator's size, and the nearest pictures that it draws, uint8 [n c h w].
        latents: where those lie.
        distances: of each pair, float64 [n]: perceptual and of the pixels (`ganvas.features.perceptual`).
        context: the distances of other pictures, found by the same search: {"training": float64 [m], …}.
        frames: the pictures during the search, uint8 [≤ 8 c h w] each, of the first photos.
        names: of the photos.
        network: in whose maps the distance is measured.
        notes: what was decided or left out, a sentence each.
        seconds: the search took.
        class_names: of the generator; empty without classes.
    """

    targets: np.ndarray
    found: np.ndarray
    latents: Latents
    distances: np.ndarray
    context: Mapping[str, np.ndarray]
    frames: Sequence[np.ndarray]
    names: tuple[str, ...]
    network: str
    notes: tuple[str, ...]
    seconds: float
    class_names: tuple[str, ...] = ()

    def class_of(self, i: int = 0) -> str | None:
        """The name of the class in which photo i was found; None without classes."""
        labels = self.latents.labels
        return self.class_names[int(labels[i])] if self.class_names and labels is not None else None

    def verdict(self, i: int = 0) -> str:
        """How near photo i is, compared with the other pictures; and its class."""
        own = self.class_of(i)
        words = f"distance {self.distances[i]:.3f}" + ("" if own is None else f", class {own}")
        if not self.context:
            return words
        few = max(map(len, self.context.values())) == 1
        return f"{words}: {self._compare(self.distances[i])}" + (" (one picture of a kind decides nothing)" * few)

    def _compare(self, distance: float) -> str:
        """The distances of two kinds of pictures may overlap: then both are named."""
        kinds = [name for name in ("training", "held-out") if name in self.context]
        near = next((name for name in kinds if distance <= self.context[name].max()), "")
        far = distance >= self.context["other kinds"].min()
        if near:
            return f"as near as {near} pictures" + (", and as far as some of other kinds" if far else "")
        if far:
            return "as far as pictures of other kinds: it cannot draw this"
        return f"{'farther than its own kind, ' if kinds else ''}nearer than pictures of other kinds"

    def sheet(self) -> Image.Image:
        """One column a photo: the photo, what was found, and their difference (grey where they are equal).

        Raises:
            GanvasError: see `check_sheet`.
        """
        check_sheet(len(self.targets), *self.targets.shape[2:])
        difference = (127.5 + (self.found.astype(np.float32) - self.targets) / 2).round().astype(np.uint8)
        if self.targets.shape[1] == 4:
            difference[:, 3] = 255
        rows = np.concatenate([self.targets, self.found, difference])
        return image_io.make_grid(rows, len(self.targets), row_names=SHEET_ROWS)

    def save(self, folder: Path | str) -> list[Path]:
        """Writes projection.png, latents.npz (for `ganvas sample --latents`) and search.webp, a film of the search.

        The film has the first eight photos, and fewer pictures of the search where these are so large that it would
        take too much memory.

        Raises:
            GanvasError: they cannot be written.
        """
        files = check_folder(folder)
        image_io.save_image(self.sheet(), files[0])
        self.latents.save(files[1])
        frames = [*self.frames, *[self.found] * FILM_HELD]
        step = -(-len(frames) // max(1, MAX_PIXELS // _beside(self.targets, self.found)[0].size))
        save_animation((_beside(self.targets, frame) for frame in frames[::-step][::-1]), files[2], fps=15)
        return files

    def to_json(self) -> dict[str, Any]:
        """Names, distances, classes and verdicts, and the distances of the other pictures."""
        photos = [
            {"name": name, "distance": float(d), "class": self.class_of(i), "verdict": self.verdict(i)}
            for i, (name, d) in enumerate(zip(self.names, self.distances, strict=True))
        ]
        return {
            "photos": photos,
            "context": {name: [float(d) for d in of] for name, of in self.context.items()},
            "network": self.network, "seconds": self.seconds, "notes": list(self.notes),
        }  # fmt: skip

    def _line(self) -> str:
        return f"Projection({len(self.targets)} photos: {', '.join(f'{d:.3f}' for d in self.distances[:4])})"

    def _parts(self) -> Iterator[Part]:
        yield Table([(name, self.verdict(i)) for i, name in enumerate(self.names)])
        yield Table([(name, f"{of.min():.3f} to {of.max():.3f}") for name, of in self.context.items()])
        for note in self.notes:
            yield Paragraph(note, "dim")
        yield InlineImage(self.sheet(), "")


def check_sheet(n: int, height: int, width: int) -> None:
    """Refuses the sheet of so many photos at the size of a generator's pictures where no file holds it.

    Raises:
        GanvasError: it is too large.
    """
    try:
        image_io.check_grid(len(SHEET_ROWS) * n, n, height, width, row_names=SHEET_ROWS)
    except GanvasError as error:
        raise GanvasError(error.what, expected=error.expected, fix="fewer photos at a time.") from None


def check_folder(folder: Path | str) -> list[Path]:
    """The files that `Projection.save` writes to a folder.

    Raises:
        GanvasError: they cannot be written there.
    """
    folder = to_path(folder, "a folder")
    files = [folder / "projection.png", folder / "latents.npz", folder / "search.webp"]
    for file in files:
        check_writable(file)
    return files


@default_state()
@cpu_threads()
def project(
    run: Run | Path | str | Sampler,
    photos: Photo | Sequence[Photo],
    *,
    label: Label | None = None,
    seed: int = 0,
    steps: int | None = None,
    references: int | None = None,
    device: str = "auto",
    quiet: bool = False,
    callback: Watch | None = None,
) -> Projection:
    """Finds the places of photos in a generator's latent space.

    Args:
        run: a run (its newest snapshot), its folder, a snapshot, or what `ganvas.load` gave.
        photos: files, pixels uint8 [1|3|4 h w], or images of Pillow; they are cut or padded to the generator's size as
            its training pictures were.
        label: the class of all photos; by default that of the nearest of 256 random pictures.
        seed: of those pictures; the same seed finds the same place.
        steps: of the gradient descent, by default 240.
        references: how many training pictures, held-out ones, and pictures of other kinds are sought for comparison,
            by default 4; 0 for none. On a CPU both defaults are smaller, down to 40 steps and one picture of each kind,
            where one photo would take more than about two minutes: the operations of the generator decide, not the
            time, so that the place does not depend on the machine's speed. Each further photo takes as long as one
            picture for comparison.
        device: where to compute.
        quiet: show no bar.
        callback: called a few dozen times with a `SearchStep`. Where it returns False, the search ends with what it has
            found, and nothing more is sought for comparison.

    Raises:
        GanvasError: there is no usable snapshot, or a photo cannot be read.
    """
    began = time.perf_counter()
    quiet = to_flag(quiet, "quiet")
    steps = None if steps is None else to_whole(steps, "--steps", 1, MAX_STEPS)
    references = None if references is None else to_whole(references, "--references", 0, MAX_PHOTOS)
    seed = to_whole(seed, "--seed", 0, MAX_SEED)
    sampler = run if isinstance(run, Sampler) else sampling.load(run, device=device)
    shape = sampler.card.shape
    trained = find_data(sampler.path, sampler.card.data, shape[:3])
    several = as_list(photos)
    fit: Fit = trained.fit if trained else "crop"
    levels = find_levels(trained, several, sampler.card.data["fingerprint"], quiet)
    targets = np.stack([load_photo(photo, shape, fit, levels) for photo in several])
    names = tuple(
        f"picture {i + 1}" if isinstance(photo, np.ndarray) else str(photo) for i, photo in enumerate(several)
    )
    cuts = [describe_cut(*one, shape) for one in zip(several, names, strict=True)] if fit == "crop" else []
    number = None if label is None else int(sampler.latents([0], label=label).labels[0])  # type: ignore[index]
    distance = PerceptualDistance(sampler.device)
    with user_code.quote_loaded():
        amount = choose_amount(sampler, distance, steps, references)
    groups, notes = _references(trained, sampler.card, amount.references, quiet) if amount.references else ({}, [])
    search = Search(sampler.generator, distance, sampler.device, seed)

    stopped, ended = False, list[str]()

    def find(pixels: np.ndarray, title: str, of: int | None, stage: str) -> Place:
        def watch(step: SearchStep) -> bool:
            nonlocal stopped
            if callback is not None:
                latents = dataclasses.replace(step.latents, origin=sampler.origin)
                stopped = callback(dataclasses.replace(step, stage=stage, latents=latents)) is False
            if stopped:
                what = "search" if stage == "photos" else "comparison"
                ended.append(f"The {what} was ended after {step.step} of {step.steps} steps.")
            return not stopped

        with progress_bar(title, amount.steps, shown=not quiet) as advance, user_code.quote_loaded():
            targets, keep = to_unit(torch.from_numpy(pixels)).to(sampler.device), stage == "photos"
            return search.find(targets, of, amount.steps, advance, watch, keep_frames=keep)

    place, context = find(targets, "Searching", number, "photos"), {}
    others = None
    if groups and not stopped:
        others = find(np.concatenate([*groups.values()]), "For comparison", None, "comparison").distances
    if others is not None and not stopped:
        ends = np.cumsum([len(group) for group in groups.values()])[:-1]
        context = dict(zip(groups, np.split(others.cpu().double().numpy(), ends), strict=True))
    return Projection(
        targets,
        to_uint8(place.images).cpu().numpy(),
        dataclasses.replace(place.latents, origin=sampler.origin),
        place.distances.cpu().double().numpy(),
        context,
        [frame.numpy() for frame in place.frames],
        names,
        distance.name,
        tuple(filter(None, [*ended, *cuts, *notes, amount.note, distance.note])),
        time.perf_counter() - began,
        sampler.card.class_names,
    )


def _references(
    trained: DataOptions | None, card: Card, n: int, quiet: bool
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Pictures with which a photo is compared, uint8 [≤ n c h w] of each kind; and what is missing, in words."""
    other = {"other kinds": _other_kinds(card.shape, n)}
    if trained is None:
        return other, ["The snapshot lies in no run folder: there are no training pictures to compare with."]
    try:
        train = open_images(trained, progress=not quiet)
        if train.images.shape[1:] != card.shape[:3] or train.fingerprint != card.data["fingerprint"]:
            return other, [
                f"{trained.source} has other pictures now than this generator was trained on: there are no training "
                "pictures and no held-out ones to compare with."
            ]
        held = open_test_split(trained, train)
    except GanvasError as error:
        return other, [f"The training pictures cannot be opened, so there are none to compare with: {error.what}"]
    chosen = {"training": _pick(train, n)}
    if held is None:
        return chosen | other, ["The data has no held-out pictures to compare with."]
    return chosen | {"held-out": _pick(held, n)} | other, []


def _pick(images: ImageSet, n: int) -> np.ndarray:
    rows = np.sort(np.random.default_rng(0).choice(len(images), min(n, len(images)), replace=False))
    return np.asarray(images.images[rows])


def _other_kinds(shape: Shape, n: int) -> np.ndarray:
    """Pieces of scikit-learn's two photographs, a temple and a flower, at a generator's size: uint8 [n c h w]."""
    from sklearn.datasets import load_sample_images

    photographs, random = load_sample_images().images, np.random.default_rng(0)
    pieces = []
    for i in range(n):
        photograph = photographs[i % len(photographs)]  # [427 640 3]
        top, left = random.integers(0, 427 - 256), random.integers(0, 640 - 256)
        piece = photograph[top : top + 256, left : left + 256].transpose(2, 0, 1)
        pieces.append(decoding.resize_array(piece, shape.channels, (shape.height, shape.width), "crop"))
    return np.stack(pieces)


def _beside(targets: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """A frame of the film, uint8 [c h w]: the photos above what is drawn."""
    shown = max(1, min(FRAME_TARGETS, MAX_SIDE // targets.shape[3]))
    rows = [np.concatenate(list(of[:shown]), axis=2) for of in (targets, frame)]
    return np.concatenate(rows, axis=1)
