"""Directions in a latent space along which pictures change in ways that mean something, found without labels.

    found = ganvas.directions("runs/00003-fast-faces")
    found.sheet().save("directions.png")

- pca: the principal components of the styles (GANSpace: Härkönen et al. 2020, arXiv 2004.02546). Where the space is z,
  which varies in all directions alike, the components are those of the pictures' feature maps, and each direction has
  the weights of z in the least-squares fit of one of them. GANSpace fits z to them instead (section 3.2): of z whose
  numbers are uncorrelated and vary alike, the direction is the same.
- sefa: the eigenvectors of AᵀA, where A are the weights that read the style first (Shen & Zhou 2021, arXiv 2007.06600).
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ganvas import image_io, sampling, user_code
from ganvas.data.pixels import to_unit
from ganvas.display import Displayed, InlineImage, Paragraph, Part
from ganvas.errors import GanvasError, describe_value
from ganvas.features.perceptual import PerceptualDistance
from ganvas.files import to_path
from ganvas.latent_space.axis_names import METHODS, Method
from ganvas.latent_space.layers import choose_layers
from ganvas.latents import Latents
from ganvas.pytorch_state import default_state
from ganvas.runs.folder import Run
from ganvas.sampling import Label, Sampler
from ganvas.threads import cpu_threads
from ganvas.values import to_choice, to_number, to_whole

SAMPLES = 2048
"""Random latents whose components are taken."""

MEMBERS = 32
"""Random latents of each class, at least: centring by class then takes a thirty-second of the variance. Of a generator
with more classes than have so many, some stand for all, evenly spaced. Without centring, the first directions would be
those from class to class, which --class is for."""

DRAWN, DRAWN_EACH = 512, 4
"""Of z, whose pictures are drawn: random latents, or so many for each dimension where that is more."""

AMOUNTS = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
"""Of a sheet: standard deviations of the latents along a direction."""

SHOWN = 8

SHEET_TRUNCATION = 0.7
"""Of the picture that a sheet moves: a typical one shows more than a rare one."""


@dataclass(frozen=True, eq=False, repr=False)
class Directions(Displayed):
    """Directions of one generator, the strongest first.

    Attributes:
        sampler: the generator.
        method: pca or sefa.
        vectors: float32 [n layers k]; one times it is one standard deviation of random latents along it.
        shares: of pca the part of the variance that each explains, of sefa that of the weights' squares; float32 [n].
        network: in whose maps pictures were compared; None where none were drawn.
        note: a sentence where it is another one than usual, else empty.
    """

    sampler: Sampler
    method: Method
    vectors: Tensor
    shares: Tensor
    network: str | None = None
    note: str = ""

    def __len__(self) -> int:
        return len(self.vectors)

    @default_state(random=False)
    def move(
        self, latents: Latents, direction: int, amounts: Sequence[float], *, layers: int | Sequence[int] | None = None
    ) -> Latents:
        """Each latent moved along a direction by each amount, latent by latent.

        Args:
            direction: its number, from 0.
            amounts: in standard deviations.
            layers: how many of the first layers are moved, or which ones, numbered from 0; by default all. Of families
                with a style for each layer: coarse ones move the pose, fine ones the colours.

        Raises:
            GanvasError: there is no such direction, the latents are of another generator, or this family has no such
                layers.
        """
        name = f"The {self.method} direction"
        direction, amounts = to_whole(direction, name, 0, len(self) - 1), _to_numbers(amounts)
        latents = self.sampler.check_latents(latents)
        step = torch.tensor(amounts, dtype=torch.float32)[:, None, None] * self.vectors[direction]
        if layers is not None:
            step = step * choose_layers(self.sampler, layers)
        styles = (latents.styles[:, None] + step).flatten(0, 1)
        labels = None if latents.labels is None else latents.labels.repeat_interleave(len(step))
        return Latents(styles, labels, latents.space, latents.origin)

    def sheet(
        self, seed: int = 0, *, label: Label | None = None, amounts: Sequence[float] = AMOUNTS, n: int = SHOWN
    ) -> Image.Image:
        """A row for each of the first n directions: the picture of a seed, truncated to 0.7, moved along it."""
        label = 0 if label is None and self.sampler.card.shape.classes else label
        n, amounts = min(to_whole(n, "n", 1), len(self)), _to_numbers(amounts)
        start = self.sampler.latents([seed], label=label, truncation=SHEET_TRUNCATION)
        images = np.asarray(self.sampler.draw(Latents.concatenate(self.move(start, i, amounts) for i in range(n))))
        names = [f"{self.method}:{i}" for i in range(n)]
        return image_io.make_grid(images, len(amounts), row_names=names)

    def to_json(self) -> dict[str, Any]:
        shares = [round(float(share), 6) for share in self.shares]
        return {"method": self.method, "shares": shares, "network": self.network, "note": self.note}

    def save_sheet(self, path: Path | str, seed: int = 0, label: Label | None = None) -> Path:
        """Writes `sheet` to a file."""
        path = to_path(path, "the file of a sheet")
        image_io.save_image(self.sheet(seed, label=label), path)
        return path

    def _line(self) -> str:
        first = ", ".join(f"{share:.1%}" for share in self.shares[:4])
        return f"Directions({len(self)} by {self.method} in {self.sampler.generator.style_space}; shares {first} …)"

    def _parts(self) -> Iterator[Part]:
        yield Paragraph(self._line())
        if self.note:
            yield Paragraph(self.note, "dim")
        yield InlineImage(self.sheet(), f"each row one direction, {AMOUNTS[0]:g} to {AMOUNTS[-1]:g}")


def _to_numbers(amounts: Sequence[float]) -> list[float]:
    """The amounts, as finite numbers.

    Raises:
        GanvasError: they are something else, or none.
    """
    if isinstance(amounts, str | bytes) or not isinstance(amounts, Iterable) or not getattr(amounts, "ndim", 1):
        raise GanvasError(f"amounts is {describe_value(amounts)}.", expected="numbers, such as [-1, 0, 1]")
    numbers = [to_number(amount, "amounts", -math.inf) for amount in amounts]
    if not numbers:
        raise GanvasError("There are no amounts.", expected="at least one")
    return numbers


@default_state()
@cpu_threads()
def directions(
    run: Run | Path | str | Sampler,
    *,
    method: Method = "pca",
    n: int = 16,
    seed: int = 0,
    device: str = "auto",
) -> Directions:
    """Finds directions in a generator's latent space; the same call finds the same ones.

    Args:
        run: a run (its newest snapshot), its folder, a snapshot, or what `ganvas.load` gave.
        method: pca or sefa (see the module).
        n: how many, at most as many as the space has dimensions; of pca in z, where more are hardly fitted, at most 64
            or half the dimensions, which is more.
        seed: of the random latents of pca; `ganvas sample --direction` and `ganvas directions` take 0.
        device: where to compute.

    Raises:
        GanvasError: there is no usable snapshot; or its network has no weights that read the style alone (sefa).
    """
    method = to_choice(method, "--method", METHODS)  # type: ignore[assignment]
    n, seed = to_whole(n, "n", 1), to_whole(seed, "--seed", 0, 2**63 - 1 - 2**16)
    sampler = run if isinstance(run, Sampler) else sampling.load(run, device=device)
    distance = PerceptualDistance(sampler.device) if method == "pca" and sampler.generator.style_space == "z" else None
    with torch.no_grad(), user_code.quote_loaded():
        found, shares = _by_weights(sampler) if method == "sefa" else _by_components(sampler, distance, seed)
    by = (None, "") if distance is None else (distance.name, distance.note)
    return Directions(sampler, method, found[:n].cpu(), shares[:n].cpu(), *by)


def _random_latents(sampler: Sampler, seeds: range) -> Latents:
    """Latents of seeds, each of one of the classes, which have at least `MEMBERS` each."""
    classes = sampler.card.shape.classes
    used = min(classes, max(1, len(seeds) // MEMBERS))
    return sampler.latents(seeds, label=[seed % used * classes // used for seed in seeds] if used else None)


def _by_components(sampler: Sampler, distance: PerceptualDistance | None, seed: int) -> tuple[Tensor, Tensor]:
    """Principal components of the styles, or of pictures; float32 [m layers k] and their shares [m].

    Args:
        distance: sees the pictures, where the components are theirs.
    """
    count = SAMPLES if distance is None else max(DRAWN, DRAWN_EACH * sampler.generator.latent)
    latents = _random_latents(sampler, range(seed, seed + count))
    styles, labels = latents.styles, latents.labels
    layers, k = styles.shape[1:]
    points = _centre(styles[:, 0], labels)
    if distance is None:
        _, sizes, axes = torch.linalg.svd(points, full_matrices=False)
        vectors = _orient(axes) * (sizes / len(points) ** 0.5)[:, None]
        return vectors[:, None].expand(-1, layers, -1), _shares(sizes.square())
    features = _centre(_describe(sampler, latents, distance), labels)
    scores, sizes, _ = torch.linalg.svd(features, full_matrices=False)
    # in float32 the last bits depend on where the numbers lie in memory, and with them pictures
    fitted = torch.linalg.lstsq(points.double(), scores[:, : min(k, len(scores) // 8)].double()).solution.T  # [m k]
    fitted = _orient(_orthogonal(fitted)).float()
    return fitted[:, None], _shares(sizes.square())[: len(fitted)]


def _shares(squares: Tensor) -> Tensor:
    """The part of each in their sum, also where that is 0, as of a generator that always draws the same."""
    return squares / squares.sum().clamp(min=torch.finfo(squares.dtype).tiny)


def _describe(sampler: Sampler, latents: Latents, distance: PerceptualDistance) -> Tensor:
    """What a frozen network and coarse pixels say of each picture, float [n f]."""
    rows = []
    for images in sampler.draw_batches(latents):
        *maps, pixels = distance.describe(to_unit(images.to(sampler.device)))
        pooled = [(maps[-1], 4), (pixels, 8)]  # on the CPU: MPS pools only to sides that divide
        rows.append(torch.cat([nn.functional.adaptive_avg_pool2d(x.cpu(), n).flatten(1) for x, n in pooled], 1))
    features = torch.cat(rows)
    return features / features.std(0).clamp(min=1e-6)


def _centre(points: Tensor, labels: Tensor | None) -> Tensor:
    """Points less their mean, with classes that of each class."""
    if labels is None:
        return points - points.mean(0)
    centred = points.clone()
    for c in labels.unique():
        centred[labels == c] -= points[labels == c].mean(0)
    return centred


def _orthogonal(vectors: Tensor) -> Tensor:
    """Orthonormal rows, each as near as possible to the given one and orthogonal to those before (Gram–Schmidt)."""
    q, r = torch.linalg.qr(vectors.T)
    return (q * torch.diagonal(r).sign()).T


def _orient(vectors: Tensor) -> Tensor:
    """The sign of each row such that its largest entry is positive, so that it does not depend on the machine."""
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    return vectors * largest.sign()


def _by_weights(sampler: Sampler) -> tuple[Tensor, Tensor]:
    """The eigenvectors of AᵀA; float32 [k layers k], scaled to the styles' deviation along them, and their shares."""
    weights = _reading_weights(sampler).cpu()
    squares, axes = torch.linalg.eigh((weights.T @ weights).double())
    squares, axes = squares.flip(0), _orient(axes.flip(1).T)
    random = _random_latents(sampler, range(SAMPLES))
    spread = (_centre(random.styles[:, 0], random.labels).double() @ axes.T).std(0)
    vectors = (axes * spread[:, None]).float()[:, None].expand(-1, random.styles.shape[1], -1)
    return vectors, _shares(squares).float()


def _reading_weights(sampler: Sampler) -> Tensor:
    """The weights of all linear and convolutional layers whose input is the style alone (or begins with it), [m k].

    Read from the layers themselves, by what they make of each unit vector: scales and reshapes are then included.
    """
    generator, latents = sampler.generator, sampler.latents([0, 1])
    styles = latents.styles.to(sampler.device)
    labels = None if latents.labels is None else latents.labels.to(sampler.device)
    readers: dict[nn.Module, int] = {}

    def note(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        x, (n, _, k) = inputs[0], styles.shape
        vectors = isinstance(x, Tensor) and x.dim() in (2, 4) and x.shape[:1] == (n,) and x.numel() == n * x.shape[1]
        if vectors and any(torch.equal(x.flatten(1)[:, :k], style) for style in styles.unbind(1)):
            readers[module] = x.shape[1]

    kinds = nn.Linear | nn.ConvTranspose2d | nn.Conv2d
    hooks = [one.register_forward_pre_hook(note) for one in generator.modules() if isinstance(one, kinds)]
    try:
        generator.draw(styles, labels)
    finally:
        for hook in hooks:
            hook.remove()
    if not readers:
        raise GanvasError(
            f"{sampler.path} is of the family {sampler.card.network.family}: no layer of it reads the "
            f"{generator.style_space} itself, so there are no weights for sefa.",
            fix="use pca.",
        )
    return torch.cat([_response(module, width, styles.shape[2]) for module, width in readers.items()])


def _response(module: nn.Module, width: int, k: int) -> Tensor:
    """What a linear layer adds for each of the first k of its inputs, [m k]."""
    parameter = next(module.parameters())
    unit = torch.eye(width, device=parameter.device)[:k]
    unit = torch.cat([unit, torch.zeros_like(unit[:1])])
    shaped = unit if isinstance(module, nn.Linear) else unit[:, :, None, None]
    out = module(shaped).flatten(1)
    return (out[:-1] - out[-1]).T
