"""A photo's place: the latent whose picture is nearest to it, compared with training, held-out and other pictures.

found = ganvas.project("runs/00003-fast-faces", ["me.jpg"])
found.save("place")  # a sheet, the latents, a film of the search
"""

import dataclasses
import io
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ganvas import image_io, sampling, user_code
from ganvas.animation import MAX_PIXELS, MAX_SIDE, save_animation
from ganvas.data import DataOptions, decoding, open_images
from ganvas.data.arrays.value_range import USUAL_LEVELS, Levels, levels_in
from ganvas.data.decoding import Fit
from ganvas.data.imageset import ImageSet
from ganvas.data.pixels import to_uint8, to_unit
from ganvas.data.selection import open_test_split
from ganvas.data.source_types import Unreadable
from ganvas.display import Displayed, InlineImage, Paragraph, Part, Table
from ganvas.errors import GanvasError, describe_value
from ganvas.features.perceptual import PerceptualDistance
from ganvas.files import check_writable, to_path
from ganvas.latent_space.budget import choose_amount
from ganvas.latent_space.search import Place, Search, SearchStep, Watch
from ganvas.latents import Latents
from ganvas.networks import Shape
from ganvas.progress import progress_bar
from ganvas.pytorch_state import default_state
from ganvas.reading import near_paths
from ganvas.runs.folder import Run
from ganvas.runs.snapshot import Card
from ganvas.runs.training_data import find_data
from ganvas.sampling import Label
from ganvas.threads import cpu_threads
from ganvas.values import to_flag, to_whole

MAX_STEPS = 100_000
MAX_PHOTOS = 64
FILM_PHOTOS, FILM_HELD = 8, 15
"""Photos in the film of a search, and frames for which its end is shown."""

MAX_SEED = 2**63 - 1 - 2**16
"""The candidates have the seeds that follow."""

Photo = Path | str | np.ndarray
"""A file of any kind that Ganvas reads, or pixels uint8 [1|3|4 h w]."""


@dataclass(frozen=True, eq=False, repr=False)
class Projection(Displayed):
    """The places of n photos.

    Attributes:
        targets, found: the photos at the generator's size, and the nearest pictures that it draws, uint8 [n c h w].
        latents: where those lie.
        distances: of each pair, float64 [n]: perceptual and of the pixels (`ganvas.features.perceptual`).
        context: the distances of other pictures, found by the same search: {"training": float64 [m], …}.
        frames: the pictures during the search, uint8 [n c h w] each.
        names: of the photos.
        network: in whose maps the distance is measured.
        notes: what was decided or left out, a sentence each.
        seconds: the search took.
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

    def verdict(self, i: int = 0) -> str:
        """How near photo i is, compared with the other pictures."""
        d = self.distances[i]
        if not self.context:
            return f"distance {d:.3f}"
        for name, words in (("training", "as near as training pictures"), ("held-out", "as near as held-out pictures")):
            if name in self.context and d <= self.context[name].max():
                return f"distance {d:.3f}: {words}"
        if d >= self.context["other kinds"].min():
            return f"distance {d:.3f}: as far as pictures of other kinds: it cannot draw this"
        own = "" if len(self.context) == 1 else "farther than its own kind, "
        return f"distance {d:.3f}: {own}nearer than pictures of other kinds"

    def sheet(self) -> Image.Image:
        """One column a photo: the photo, what was found, and their difference (grey where they are equal)."""
        difference = (127.5 + (self.found.astype(np.float32) - self.targets) / 2).round().astype(np.uint8)
        if self.targets.shape[1] == 4:
            difference[:, 3] = 255
        rows = np.concatenate([self.targets, self.found, difference])
        return image_io.make_grid(rows, len(self.targets), row_names=["photo", "found", "difference"])

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
        """Names, distances and verdicts, and the distances of the other pictures."""
        found = zip(self.names, self.distances, strict=True)
        return {
            "photos": [{"name": n, "distance": float(d), "verdict": self.verdict(i)} for i, (n, d) in enumerate(found)],
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
    run: Run | Path | str,
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
        run: a run (its newest snapshot), its folder, or a snapshot.
        photos: files, or pixels uint8 [1|3|4 h w]; they are cut or padded to the generator's size as its training
            pictures were.
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
    sampler = sampling.load(run, device=device)
    shape = sampler.card.shape
    trained = find_data(sampler.path, sampler.card.data, shape[:3])
    several = _as_list(photos)
    fit: Fit = trained.fit if trained else "crop"
    levels = _find_levels(trained, several, sampler.card.data["fingerprint"], quiet)
    targets = np.stack([load_photo(photo, shape, fit, levels) for photo in several])
    names = tuple(
        f"picture {i + 1}" if isinstance(photo, np.ndarray) else str(photo) for i, photo in enumerate(several)
    )
    cuts = [_describe_cut(*one, shape) for one in zip(several, names, strict=True)] if fit == "crop" else []
    number = None if label is None else int(sampler.latents([0], label=label).labels[0])  # type: ignore[index]
    distance = PerceptualDistance(sampler.device)
    with user_code.quote_loaded():
        amount = choose_amount(sampler, distance, steps, references)
    groups, notes = _references(trained, sampler.card, amount.references, quiet) if amount.references else ({}, [])
    search = Search(sampler.generator, distance, sampler.device, seed)

    stopped = False

    def find(pixels: np.ndarray, title: str, of: int | None, stage: str) -> Place:
        def watch(step: SearchStep) -> bool:
            nonlocal stopped
            stopped = callback is not None and callback(dataclasses.replace(step, stage=stage)) is False
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
        place.latents,
        place.distances.cpu().double().numpy(),
        context,
        [frame.numpy() for frame in place.frames],
        names,
        distance.name,
        tuple(filter(None, [*cuts, *notes, amount.note, distance.note])),
        time.perf_counter() - began,
    )


def _find_levels(trained: DataOptions | None, photos: Sequence[Photo], fingerprint: str, quiet: bool) -> Levels:
    """The levels of the training pictures, where a photo is a grey file of 16 bits or more, or of floats.

    Args:
        fingerprint: of the training pictures: others say nothing about it.
    """
    if trained is None or not any(map(_is_deep, photos)):
        return USUAL_LEVELS
    try:
        images = open_images(trained, progress=not quiet)
    except GanvasError:
        return USUAL_LEVELS
    return levels_in(images.notes) if images.fingerprint == fingerprint else USUAL_LEVELS


def _is_deep(photo: Photo) -> bool:
    """Whether it is a grey file of 16 bits or more, or of floats."""
    if isinstance(photo, np.ndarray) or not (path := to_path(photo, "a picture's file")).is_file():
        return False
    try:
        with path.open("rb") as file:
            return decoding.read_header(file, path.name).deep in ("grey", "float")
    except (Unreadable, OSError):
        return False


def load_photo(photo: Photo, shape: Shape, fit: Fit, levels: Levels) -> np.ndarray:
    """A photo at a generator's size and channels, uint8 [c h w].

    Args:
        levels: of files of more than 8 bits.

    Raises:
        GanvasError: it cannot be read, or the array is something else.
    """
    size = shape.height, shape.width
    if isinstance(photo, np.ndarray):
        if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[0] not in (1, 3, 4) or not photo.size:
            raise GanvasError(f"{photo.dtype} {list(photo.shape)} is no picture.", expected="uint8 [1|3|4 h w]")
        return decoding.resize_array(photo, shape.channels, size, fit)
    path = to_path(photo, "a picture's file")
    if not path.is_file():
        what = "is no file" if path.exists() else "does not exist"
        raise GanvasError(f"{path} {what}.", expected="a picture's file", fix=near_paths(path))
    try:
        return decoding.decode(io.BytesIO(path.read_bytes()), shape.channels, size, fit, levels)
    except (Unreadable, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise GanvasError(f"{path} cannot be used: {reason}.", expected="a picture of at least 8×8 pixels") from error


def _describe_cut(photo: Photo, name: str, shape: Shape) -> str:
    """That most of a photo that can be read is cut off; empty if it is not."""
    if isinstance(photo, np.ndarray):
        height, width = photo.shape[1:]
    else:
        with to_path(photo, "a picture's file").open("rb") as file:
            header = decoding.read_header(file, name)
        height, width = header.height, header.width
    down, across = map(round, decoding.crop_size(height, width, (shape.height, shape.width)))
    if 2 * down * across >= height * width:
        return ""
    named = Path(name).name
    return f"{named} has {width}×{height} pixels: only the middle {across}×{down} is used, the shape of what is drawn."


def _as_list(photos: Photo | Sequence[Photo]) -> list[Photo]:
    single = isinstance(photos, str | Path) or (isinstance(photos, np.ndarray) and photos.ndim != 4)
    if not single and (isinstance(photos, bytes) or not isinstance(photos, Iterable) or not getattr(photos, "ndim", 1)):
        raise GanvasError(f"{describe_value(photos)} is no photo.", expected="files, or pixels uint8 [1|3|4 h w]")
    several: list[Photo] = [photos] if single else list(photos)  # type: ignore[list-item]
    if not 0 < len(several) <= MAX_PHOTOS:
        raise GanvasError(f"There are {len(several)} photos.", expected=f"1 to {MAX_PHOTOS} at a time")
    return several


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
    shown = max(1, min(FILM_PHOTOS, MAX_SIDE // targets.shape[3]))
    rows = [np.concatenate(list(of[:shown]), axis=2) for of in (targets, frame)]
    return np.concatenate(rows, axis=1)
