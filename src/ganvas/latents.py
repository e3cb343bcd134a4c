"""Latents: where pictures lie in the space of a generator; their file, and walks from one to the next.

A latent is [layers k]: z itself with one layer, or in families with a mapping network the style w of each layer.
"""

import io
import json
import lzma
import math
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.lib import format as npy
from torch import Tensor

from ganvas.data.arrays.stored import parse_header
from ganvas.display import Displayed
from ganvas.errors import GanvasError, describe_value
from ganvas.files import atomic_file, check_writable, make_folder, to_path
from ganvas.values import as_whole, to_flag, to_whole

MAX_BYTES = 2**30
"""Largest file of latents."""

SUFFIXES = (".npz", ".npy")
"""The ends of the names of files of latents."""

MAX_FRAMES = 100_000
"""Most images of an interpolation."""

EASINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda t: t,
    "smooth": lambda t: (1 - torch.cos(math.pi * t)) / 2,
}
"""t from 0 to 1 -> the way that is done; smooth is slow at both ends."""


class Origin(NamedTuple):
    """The generator that latents are of.

    Attributes:
        weights: their digest (`ganvas.features.extraction.hash_weights`).
        name: of a run's snapshot RUN/snapshots/NAME, of another generator its own; no path of the machine.
        kimg: real images shown to D before, in thousands.
    """

    weights: str
    name: str
    kimg: float


@dataclass(frozen=True, eq=False, repr=False)
class Latents(Displayed):
    """Where n pictures lie.

    Attributes:
        styles: float32 [n layers k].
        labels: the class of each, int64 [n]; None of a generator without classes.
        space: "z", "w" or "features" (`ganvas.networks.Generator.style_space`).
        origin: whose they are; None where it is not known, as of other programs.
    """

    styles: Tensor
    labels: Tensor | None
    space: str
    origin: Origin | None = None

    def __len__(self) -> int:
        return len(self.styles)

    def __getitem__(self, rows: int | slice | list[int]) -> "Latents":
        """Some of them, of a number the one alone."""
        if (number := as_whole(rows)) is not None:
            first = range(len(self))[number]  # its IndexError ends an iteration
            rows = slice(first, first + 1)
        return Latents(self.styles[rows], None if self.labels is None else self.labels[rows], self.space, self.origin)

    @staticmethod
    def concatenate(parts: Iterable["Latents"]) -> "Latents":
        """Several as one, in their order; the origin is left out where it is not the same of all.

        Raises:
            GanvasError: there are none, or they differ in space, in layers and numbers, or in whether they have
                classes.
        """
        several = list(parts) if isinstance(parts, Iterable) and getattr(parts, "ndim", 1) else []
        if not several or not all(isinstance(part, Latents) for part in several):
            raise GanvasError("There are no latents to join.", expected="several Latents")
        classes = ("without classes", "with classes")
        kinds = {f"{list(one.styles.shape[1:])} in {one.space} {classes[one.labels is not None]}" for one in several}
        if len(kinds) > 1:
            raise GanvasError(f"Latents of different kinds cannot be joined: {', '.join(sorted(kinds))}.")
        first, labels = several[0], [one.labels for one in several if one.labels is not None]
        origin = first.origin if all(one.origin == first.origin for one in several) else None
        styles = torch.cat([one.styles for one in several])
        return Latents(styles, torch.cat(labels) if labels else None, first.space, origin)

    def _line(self) -> str:
        n, layers, k = self.styles.shape
        each = f"{layers} layers of {k}" if layers > 1 else f"{k}"
        return f"Latents({n:,} in {self.space}, {each} numbers each)"

    def save(self, path: Path | str) -> Path:
        """Writes a NumPy archive (.npz), or the styles alone (.npy).

        The archive has styles float32 [n layers k], labels int64 [n] if there are any, space, and generator: the
        origin as JSON, if it is known. Alone, styles of one layer are float32 [n k].

        Raises:
            GanvasError: the name has another end, or the file cannot be written.
        """
        path, styles = check_latents_file(path), self.styles.numpy()
        more: dict[str, Any] = {} if self.labels is None else {"labels": self.labels.numpy()}
        more |= {} if self.origin is None else {"generator": np.array(json.dumps(self.origin._asdict()))}
        make_folder(path.parent)
        with atomic_file(path) as temporary, temporary.open("wb") as file:
            if path.suffix.lower() == ".npy":
                np.save(file, styles[:, 0] if styles.shape[1] == 1 else styles)
            else:
                np.savez(file, styles=styles, space=np.array(self.space), **more)
        return path


def check_latents_file(path: Path | str) -> Path:
    """The path of a file that `Latents.save` can write.

    Raises:
        GanvasError: the name has another end, or the place cannot be written.
    """
    path = to_path(path, "a file for latents")
    if path.suffix.lower() not in SUFFIXES:
        expected = "a name that ends in .npz, or in .npy for the numbers alone"
        raise GanvasError(f"Latents cannot be written to {path.name}.", expected=expected)
    check_writable(path)
    return path


def load_latents(path: Path | str) -> Latents:
    """Reads what `Latents.save` wrote, or other programs.

    The array is float [k] of one picture, [n k], or [n layers k] of several layers. In an .npz it is called styles, w
    or z, or is the only other one beside labels, int [n], space and generator. Where neither a name nor space says in
    which space they lie, several layers are w, and one is z; a generator whose styles alone have this form takes them
    for its own.

    Raises:
        GanvasError: the file cannot be read, or is none.
    """
    path = to_path(path, "a file of latents")
    expected = (
        "a file that --save-latents or ganvas project wrote, or z as float [n k] or w as [n layers k] in .npy or .npz"
    )
    try:
        if not path.is_file():
            raise FileNotFoundError(2, "there is no such file")
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"it is larger than {MAX_BYTES:,} bytes")
        arrays = _read_arrays(path.read_bytes())
        name = next((name for name in ("styles", "w", "z") if name in arrays), None)
        if name is None:
            others = [one for one in arrays if one not in ("labels", "space") and not _is_origin(one, arrays[one])]
            if len(others) != 1:
                raise ValueError(f"its arrays are {', '.join(arrays) or 'none'}")
            (name,) = others
        styles = _check_styles(arrays[name])
        labels = _check_labels(arrays.get("labels"), len(styles))
        in_w = name == "w" or (name != "z" and styles.shape[1] > 1)
        space = str(arrays["space"]) if "space" in arrays else "w" if in_w else "z"
        origin = next((_read_origin(values) for one, values in arrays.items() if _is_origin(one, values)), None)
    except (OSError, ValueError, EOFError, KeyError, NotImplementedError, zipfile.BadZipFile) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise GanvasError(f"{path} has no latents: {reason}.", expected=expected) from error
    return Latents(styles, labels, space, origin)


def describe_origin(origin: Origin, drawn: Origin, snapshots: Path) -> str:
    """That latents are drawn by other weights than they are of, in words.

    Args:
        origin: theirs.
        drawn: the generator that draws them.
        snapshots: the folder of that generator, which may have the other one too.
    """
    (of, _, name), (own, _, _) = (one.name.rpartition("/") for one in (origin, drawn))
    there = snapshots / name if of == own != "" and name != "best" and (snapshots / name).is_dir() else None
    known, other = (f"{one.name} ({one.kimg:g} kimg)" for one in (origin, drawn))
    theirs = f"; {there} draws those that they are of." if there else "."
    return f"these latents are of {known}, and {other} draws other pictures of them{theirs}"


def _is_origin(name: str, values: np.ndarray) -> bool:
    """Whether an array is the text that says whose latents are."""
    return name == "generator" and values.dtype.kind == "U" and not values.ndim


def _read_origin(values: np.ndarray) -> Origin | None:
    """None where the array is something else, as of another program."""
    try:
        found = json.loads(str(values))
    except (ValueError, RecursionError):
        return None
    kinds = {"weights": str, "name": str, "kimg": int | float}
    if not isinstance(found, dict) or not all(isinstance(found.get(name), kind) for name, kind in kinds.items()):
        return None
    return Origin(found["weights"], found["name"], found["kimg"])


def _read_arrays(content: bytes) -> dict[str, np.ndarray]:
    if content.startswith(npy.MAGIC_PREFIX):
        return {"the array": _read_array(content)}
    if not zipfile.is_zipfile(io.BytesIO(content)):
        raise ValueError("it is neither .npy nor .npz inside")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > MAX_BYTES:
            raise ValueError(f"its arrays are larger than {MAX_BYTES:,} bytes")
        names = [name for name in archive.namelist() if name.endswith(".npy")]
        try:
            return {name.removesuffix(".npy"): _read_array(archive.read(name)) for name in names}
        except (zlib.error, lzma.LZMAError, RuntimeError) as error:  # the last: encrypted, or packed in an unknown way
            raise ValueError(str(error)) from error


def _read_array(content: bytes) -> np.ndarray:
    """An array as numpy.save writes it; ValueError where its header declares more than there is."""
    file = io.BytesIO(content)
    try:
        shape, _, dtype = parse_header(file)
    except Exception as error:  # a damaged header may fail in any way
        raise ValueError(str(error) or type(error).__name__) from error
    if not dtype.hasobject and math.prod(shape) * dtype.itemsize > len(content):
        raise ValueError(f"its header declares {dtype} {list(shape)} in {len(content):,} bytes")
    file.seek(0)
    return npy.read_array(file, allow_pickle=False)


def _check_styles(values: np.ndarray) -> Tensor:
    if values.dtype.kind not in "fiu" or values.ndim not in (1, 2, 3) or not values.size:
        raise ValueError(f"{values.dtype} {list(values.shape)} are not latents")
    with np.errstate(over="ignore"):
        styles = torch.from_numpy(values.astype(np.float32))
    if not styles.isfinite().all():
        raise ValueError("some numbers are not finite in float32")
    return styles if styles.dim() == 3 else styles.reshape(-1, 1, styles.shape[-1])


def _check_labels(values: np.ndarray | None, n: int) -> Tensor | None:
    if values is None:
        return None
    if values.dtype.kind not in "iu" or values.shape != (n,):
        raise ValueError(f"labels are {values.dtype} {list(values.shape)}, of {n} latents")
    return torch.from_numpy(values.astype(np.int64))


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Spherical interpolation between two latents (White 2016): [z], [z], [n] -> [n z].

    Lengths are interpolated linearly, so that both ends are reached exactly. Latents in nearly the same or opposite
    directions are interpolated linearly, and so is a latent of length 0, which has none.
    """
    t = t[:, None]
    cosine = torch.nn.functional.cosine_similarity(a, b, dim=0).clamp(-1, 1)
    angle = torch.acos(cosine)
    if torch.sin(angle) < 1e-4 or not a.norm() * b.norm():
        return (1 - t) * a + t * b
    direction = (torch.sin((1 - t) * angle) * a / a.norm() + torch.sin(t * angle) * b / b.norm()) / torch.sin(angle)
    return direction * ((1 - t) * a.norm() + t * b.norm())


def walk(ends: Latents, frames: int, *, easing: str = "smooth", loop: bool = True, step: int = 64) -> Iterator[Latents]:
    """From each latent to the next, and with `loop` back to the first; `frames` a segment, yielded `step` at a time,
    since all of a long walk would take too much memory.

    In z along great circles (`slerp`), elsewhere along straight lines. The class stays that of the segment's start.
    Without `loop`, the last latent is the last frame.

    Raises:
        GanvasError: fewer than two latents, no frames, or no such easing.
    """
    n = len(ends)
    if n < 2:
        raise GanvasError(f"An interpolation needs at least two seeds or latents; there are {n}.", fix="--seeds 0,7,12")
    loop = to_flag(loop, "loop")
    frames = to_whole(frames, "--frames", 1, MAX_FRAMES // n)
    if not isinstance(easing, str) or easing not in EASINGS:
        raise GanvasError(f"--easing is {easing}.", expected=f"one of {', '.join(EASINGS)}")
    return in_parts(_segments(ends, EASINGS[easing](torch.arange(frames) / frames).split(step), loop), step)


def in_parts(pieces: Iterable[Latents], step: int) -> Iterator[Latents]:
    """The same latents, `step` at a time but for the last ones, from pieces of any sizes."""
    held = list[Latents]()
    for piece in pieces:
        held.append(piece)
        while sum(map(len, held)) >= step:
            joined = Latents.concatenate(held)
            yield joined[:step]
            held = [joined[step:]] if len(joined) > step else []
    if held:
        yield Latents.concatenate(held)


def walk_length(n: int, frames: int, *, loop: bool) -> int:
    """How many latents `walk` yields between n of them."""
    return n * frames if loop else (n - 1) * frames + 1


def _segments(ends: Latents, parts: Sequence[Tensor], loop: bool) -> Iterator[Latents]:
    n = len(ends)
    for i in range(n if loop else n - 1):
        a, b = ends.styles[i], ends.styles[(i + 1) % n]
        for t in parts:
            between = slerp(a[0], b[0], t)[:, None] if ends.space == "z" else torch.lerp(a, b, t[:, None, None])
            labels = None if ends.labels is None else ends.labels[i].repeat(len(t))
            yield Latents(between, labels, ends.space, ends.origin)
    if not loop:
        yield ends[n - 1 :]


def mix(coarse: Latents, fine: Latents, layers: int | Sequence[int] | None = None) -> Latents:
    """Some layers of each of `coarse` with the others of each of `fine`: [n·m layers k].

    Args:
        coarse, fine: of one generator.
        layers: how many of the first layers are `coarse`'s, by default half; or which ones, numbered from 0.

    Raises:
        GanvasError: there are not so many layers, or all or none are named.
    """
    count, n = coarse.styles.shape[1], len(fine)
    chosen = mark_layers(count // 2 if layers is None else layers, count, count - 1, "coarse")
    styles = torch.where(chosen, coarse.styles.repeat_interleave(n, 0), fine.styles.repeat(len(coarse), 1, 1))
    labels = None if coarse.labels is None else coarse.labels.repeat_interleave(n)
    return Latents(styles, labels, coarse.space, coarse.origin)


def check_form(latents: Latents) -> None:
    """Refuses what is no latents, or has another form than [n layers k] with n ≥ 1.

    Raises:
        GanvasError: it is so.
    """
    if not isinstance(latents, Latents):
        expected = "what Sampler.latents or ganvas.load_latents gives"
        raise GanvasError(f"{describe_value(latents)} is no Latents.", expected=expected)
    if latents.styles.dim() != 3 or not len(latents):
        raise GanvasError(f"These latents are {list(latents.styles.shape)}.", expected="[n layers k], n ≥ 1 pictures")


def mark_layers(layers: int | Sequence[int], count: int, most: int, use: str) -> Tensor:
    """Which of the layers of latents are meant, bool [layers 1].

    Args:
        layers: how many of the first ones, or which ones, numbered from 0.
        count: of all.
        most: that may be meant.
        use: what they are to be, in a word.

    Raises:
        GanvasError: there are not so many, or none is named.
    """
    if isinstance(layers, Sequence) and not isinstance(layers, str):
        named = {to_whole(layer, "--layers", 0, count - 1) for layer in layers}
        several = len(named)
    else:
        several = to_whole(layers, "--layers")
        named = set(range(min(several, count)))
    if not 0 < several <= most:
        raise GanvasError(f"{several} of {count} layers cannot be {use}.", expected=f"1 to {most}")
    return torch.tensor([layer in named for layer in range(count)])[:, None]
