"""Latents: where pictures lie in the space of a generator; their file, and walks from one to the next.

A latent is [layers k]: z itself with one layer, or in families with a mapping network the style w of each layer.
"""

import io
import lzma
import math
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib import format as npy
from torch import Tensor

from ganvas.data.arrays.stored import parse_header
from ganvas.display import Displayed
from ganvas.errors import GanvasError
from ganvas.files import atomic_file, check_writable, make_folder, to_path
from ganvas.values import as_whole, to_flag, to_whole

MAX_BYTES = 2**30
"""Largest file of latents."""

MAX_FRAMES = 100_000
"""Most images of an interpolation."""

EASINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda t: t,
    "smooth": lambda t: (1 - torch.cos(math.pi * t)) / 2,
}
"""t from 0 to 1 -> the way that is done; smooth is slow at both ends."""


@dataclass(frozen=True, eq=False, repr=False)
class Latents(Displayed):
    """Where n pictures lie.

    Attributes:
        styles: float32 [n layers k].
        labels: the class of each, int64 [n]; None of a generator without classes.
        space: "z", "w" or "features" (`ganvas.networks.Generator.style_space`).
    """

    styles: Tensor
    labels: Tensor | None
    space: str

    def __len__(self) -> int:
        return len(self.styles)

    def __getitem__(self, rows: int | slice | list[int]) -> "Latents":
        """Some of them, of a number the one alone."""
        if (number := as_whole(rows)) is not None:
            first = range(len(self))[number]  # its IndexError ends an iteration
            rows = slice(first, first + 1)
        return Latents(self.styles[rows], None if self.labels is None else self.labels[rows], self.space)

    def _line(self) -> str:
        n, layers, k = self.styles.shape
        each = f"{layers} layers of {k}" if layers > 1 else f"{k}"
        return f"Latents({n:,} in {self.space}, {each} numbers each)"

    def save(self, path: Path | str) -> Path:
        """Writes a NumPy archive (.npz): styles float32 [n layers k], labels int64 [n] if there are any, space.

        Raises:
            GanvasError: the name does not end in .npz, or the file cannot be written.
        """
        path = check_latents_file(path)
        labels: dict[str, Any] = {} if self.labels is None else {"labels": self.labels.numpy()}
        make_folder(path.parent)
        with atomic_file(path) as temporary, temporary.open("wb") as file:
            np.savez(file, styles=self.styles.numpy(), space=np.array(self.space), **labels)
        return path


def check_latents_file(path: Path | str) -> Path:
    """The path of a file that `Latents.save` can write.

    Raises:
        GanvasError: the name does not end in .npz, or the place cannot be written.
    """
    path = to_path(path, "a file for latents")
    if path.suffix.lower() != ".npz":
        raise GanvasError(f"Latents cannot be written to {path.name}.", expected="a name that ends in .npz")
    check_writable(path)
    return path


def load_latents(path: Path | str) -> Latents:
    """Reads what `Latents.save` wrote, or other programs.

    The array is float [k] of one picture, [n k], or [n layers k] of several layers. In an .npz it is called styles, w
    or z, or is the only other one beside labels, int [n], and space. Where neither a name nor space says in which
    space they lie, several layers are w, and one is z.

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
            others = [other for other in arrays if other not in ("labels", "space")]
            if len(others) != 1:
                raise ValueError(f"its arrays are {', '.join(arrays) or 'none'}")
            (name,) = others
        styles = _check_styles(arrays[name])
        labels = _check_labels(arrays.get("labels"), len(styles))
        in_w = name == "w" or (name != "z" and styles.shape[1] > 1)
        space = str(arrays["space"]) if "space" in arrays else "w" if in_w else "z"
    except (OSError, ValueError, EOFError, KeyError, NotImplementedError, zipfile.BadZipFile) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise GanvasError(f"{path} has no latents: {reason}.", expected=expected) from error
    return Latents(styles, labels, space)


def _read_arrays(content: bytes) -> dict[str, np.ndarray]:
    if content.startswith(npy.MAGIC_PREFIX):
        return {"the array": _read_array(content)}
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
    """From each latent to the next, and with `loop` back to the first; `frames` a segment, yielded at most `step` at a
    time, since all of a long walk would take too much memory.

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
    return _segments(ends, EASINGS[easing](torch.arange(frames) / frames).split(step), loop)


def walk_length(n: int, frames: int, *, loop: bool) -> int:
    """How many latents `walk` yields between n of them."""
    return n * frames if loop else (n - 1) * frames + 1


def _segments(ends: Latents, parts: Sequence[Tensor], loop: bool) -> Iterator[Latents]:
    n = len(ends)
    for i in range(n if loop else n - 1):
        a, b = ends.styles[i], ends.styles[(i + 1) % n]
        for t in parts:
            between = slerp(a[0], b[0], t)[:, None] if ends.space == "z" else torch.lerp(a, b, t[:, None, None])
            yield Latents(between, None if ends.labels is None else ends.labels[i].repeat(len(t)), ends.space)
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
    if isinstance(layers, Sequence) and not isinstance(layers, str):
        chosen = {to_whole(layer, "--layers", 0, count - 1) for layer in layers}
        several = len(chosen)
    else:
        several = count // 2 if layers is None else to_whole(layers, "--layers")
        chosen = set(range(min(several, count)))
    if not 0 < several < count:
        raise GanvasError(f"{several} of {count} layers cannot be coarse.", expected=f"1 to {count - 1}")
    rows = torch.tensor([layer in chosen for layer in range(count)])[None, :, None]
    styles = torch.where(rows, coarse.styles.repeat_interleave(n, 0), fine.styles.repeat(len(coarse), 1, 1))
    return Latents(styles, None if coarse.labels is None else coarse.labels.repeat_interleave(n), coarse.space)
