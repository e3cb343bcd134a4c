"""Pictures -> features: every extractor looks at uint8 pictures in the same way, and says who it is.

    extractor = features.named("eye")
    matrix = features.of(images, extractor)         # uint8 [n c h w] -> float32 [n f]

The one preprocessing is `fitted`: an antialiased bicubic resize of the shorter side, as clean-fid's (Parmar et al.
2022), where a network needs one at all. Inception alone brings its own, which the published FID depends on.
"""

import hashlib
import importlib
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from ganvas.data import ImageSet, cache, to_unit
from ganvas.data.progress import bar
from ganvas.errors import GanvasError
from ganvas.evaluation.eye import eye, to_rgb
from ganvas.files import atomic_file

PIXELS_PER_PASS, MIN_IMAGES_PER_PASS = 2**15, 8
"""Pixels of a forward pass, about, and pictures, at the least. 32 pictures of 32×32 keep the eye in a CPU's cache."""

EYE_SIDES = (16, 128)
"""The eye sees pictures whose shorter side lies between these, and others resized to the nearer one."""

EYE_LAYERS = ("relu1_2", "relu2_2", "relu3_2")
"""Its layers that are its features: those that rank damages as networks taught by ImageNet do (docs/decisions/0011)."""


@dataclass(frozen=True)
class Extractor:
    """A network that turns pictures into features.

    Attributes:
        name: eye, classifier, inception, or what the user's own is called.
        digest: of its weights, the first 16 hexadecimal digits of SHA-256.
        resize: what is done to the pictures first, in words.
        look: uint8 [n c h w] -> float32 [n f], on the CPU; c 1, 3 or 4.
        facts: what else a protocol should tell of it, such as a classifier's accuracy.
        probabilities: float32 [n f] features -> float32 [n k] of its classes; None where it has none.
    """

    name: str
    digest: str
    resize: str
    look: Callable[[Tensor], Tensor]
    facts: dict[str, Any] = field(default_factory=dict)
    probabilities: Callable[[np.ndarray], np.ndarray] | None = None

    def describe(self) -> dict[str, Any]:
        """Its part of a protocol."""
        return {"extractor": self.name, "weights": self.digest, "resize": self.resize, **self.facts}


def resize_shorter_side(images: Tensor, sides: tuple[int, int]) -> Tensor:
    """uint8 [n c h w] -> float32 [n c h' w'] in [-1, 1], whose shorter side lies in `sides`.

    Bicubic and antialiased, clipped to [-1, 1], never rounded; pictures that fit are not touched.
    """
    shorter = min(images.shape[2:])
    wanted = min(max(shorter, sides[0]), sides[1])
    pixels = to_unit(images)
    if wanted == shorter:
        return pixels
    size = [round(side * wanted / shorter) for side in images.shape[2:]]
    return F.interpolate(pixels, size, mode="bicubic", antialias=True).clamp(-1, 1)


def describe_resize(sides: tuple[int, int]) -> str:
    """What `fitted` does, for a protocol."""
    return f"shorter side to {sides[0]}..{sides[1]}, bicubic antialiased"


def hash_weights(network: nn.Module) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of all weights, names and shapes."""
    total = hashlib.sha256()
    for name, weight in sorted(network.state_dict().items()):
        total.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        total.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()[:16]


def extract_features(
    images: Iterable[Tensor], extractor: Extractor, *, count: int, progress: bool = False
) -> np.ndarray:
    """The features of `count` pictures in all, uint8 [n c h w] at a time -> float32 [count f].

    Raises:
        GanvasError: a feature is not finite.
    """
    parts: list[Tensor] = []
    with bar(f"Looking at pictures ({extractor.name})", count, shown=progress) as advance, torch.inference_mode():
        for part in images:
            parts.append(extractor.look(part))
            advance(len(part))
    matrix = torch.cat(parts).numpy()
    if bad := int((~np.isfinite(matrix).all(axis=1)).sum()):
        raise GanvasError(
            f"{extractor.name} gives features that are not finite for {bad:,} of {len(matrix):,} pictures.",
            expected="finite numbers",
            fix="check the extractor's weights.",
        )
    return matrix


def extract_set_features(
    images: ImageSet, rows: np.ndarray, extractor: Extractor, *, progress: bool = False
) -> np.ndarray:
    """`of` the chosen rows (int64, ascending) of a set, kept in the cache under everything that changes them."""
    rows_digest = hashlib.sha256(rows.tobytes()).hexdigest()
    key = cache.key("features", images.fingerprint, rows_digest, extractor.describe(), torch.__version__)

    def make() -> np.ndarray:
        return extract_features(chunks(images.images, rows), extractor, count=len(rows), progress=progress)

    return load_or_compute(key, len(rows), make)


def load_or_compute(key: str, count: int, make: Callable[[], np.ndarray]) -> np.ndarray:
    """An array of `count` rows from the cache; where it is not there whole, from `make`, and kept."""
    path = cache.root() / "features" / f"{key}.npy"
    try:
        found = np.load(path, allow_pickle=False)
        if len(found) == count:
            return found
    except (OSError, ValueError, EOFError):
        pass
    array = make()
    content = io.BytesIO()
    np.save(content, array)
    write_cache_file(path, content.getvalue())
    return array


def chunks(images: np.ndarray, rows: np.ndarray) -> Iterator[Tensor]:
    """The chosen rows of uint8 [n c h w], a forward pass's worth at a time."""
    step = max(MIN_IMAGES_PER_PASS, PIXELS_PER_PASS // (images.shape[2] * images.shape[3]))
    for start in range(0, len(rows), step):
        yield torch.from_numpy(images[rows[start : start + step]])


def write_cache_file(path: Path, content: bytes) -> None:
    """Writes a file of the cache, atomically. One that cannot be written costs time later, and nothing else."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as temporary:
            temporary.write_bytes(content)
    except (OSError, GanvasError):
        pass


def named(name: str, *, weights: Path | None = None, device: str = "cpu") -> Extractor:
    """The extractor of a name.

    Args:
        name: eye; eye-bf16; inception or dinov2, with the file or folder of their `weights`; or MODULE:FACTORY, a
            Python function without arguments that gives a `torch.nn.Module` (see `own`).
        weights: also a safetensors file for a module of the user's own.

    Raises:
        GanvasError: no such extractor, or its weights are missing or wrong.
    """
    if name in ("eye", "eye-bf16", "classifier") and weights is not None:
        told = f"The {name} has weights of its own; --weights names {weights}."
        raise GanvasError(told, fix="leave one of them out.")
    if name in ("eye", "eye-bf16"):
        return eye_extractor(device, torch.float32 if name == "eye" else torch.bfloat16)
    if name == "inception":
        from ganvas.evaluation.inception import inception_extractor

        return inception_extractor(weights, device)
    if name == "dinov2":
        from ganvas.evaluation.dinov2 import dinov2_extractor

        return dinov2_extractor(weights, device)
    module, colon, factory = name.partition(":")
    if not colon:
        raise GanvasError(
            f"There is no extractor '{name}'.",
            expected="eye, eye-bf16, classifier, inception, dinov2, or MODULE:FACTORY for a network of your own",
        )
    try:
        network = getattr(importlib.import_module(module), factory)()
    except (ImportError, AttributeError, TypeError) as error:
        raise GanvasError(
            f"{name} cannot be imported and called: {error}.",
            expected="a module on the Python path, and a function without arguments in it",
        ) from error
    if not isinstance(network, nn.Module):
        raise GanvasError(f"{name}() gives a {type(network).__name__}.", expected="a torch.nn.Module")
    if weights is not None:
        try:
            network.load_state_dict(load_file(weights))
        except (OSError, RuntimeError, SafetensorError) as error:
            raise GanvasError(
                f"{weights} does not fit {name}: {error}.", expected="a safetensors file of its state_dict"
            ) from error
    return module_extractor(network, factory, device=device)


def eye_extractor(device: str = "cpu", dtype: torch.dtype = torch.float32) -> Extractor:
    """The embedded network: the means of its layers over the picture.

    Args:
        device: where it computes.
        dtype: of its convolutions. With bfloat16, faster where the processor has it, features are off by up to 0.4 %
            (docs/decisions/0011): that is another extractor, `eye-bf16`, whose numbers compare with no other's.
    """
    network = eye()
    place = torch.device(device)
    seen = network if (place.type, dtype) == ("cpu", torch.float32) else _copy_to(network, place, dtype)

    def look(images: Tensor) -> Tensor:
        pixels = to_rgb(resize_shorter_side(images.to(place), EYE_SIDES)).to(dtype)
        if place.type == "cpu":
            pixels = pixels.contiguous(memory_format=torch.channels_last)  # oneDNN's convolutions are faster so
        maps = seen.layers(pixels, EYE_LAYERS)
        return torch.cat([maps[name].mean((2, 3), dtype=torch.float32) for name in EYE_LAYERS], dim=1).cpu()

    name = "eye" if dtype == torch.float32 else "eye-bf16"
    return Extractor(name, hash_weights(network), describe_resize(EYE_SIDES), look, {"layers": " ".join(EYE_LAYERS)})


def module_extractor(network: nn.Module, name: str = "", *, device: str = "cpu") -> Extractor:
    """A module of the user's own: float [n c h w] in [-1, 1], at the pictures' own size -> [n f …], flattened.

    Raises:
        GanvasError: it fails on the pictures it is shown.
    """
    place = torch.device(device)
    seen = network.eval().to(place)
    name = name or type(network).__name__

    def look(images: Tensor) -> Tensor:
        try:
            return seen(to_unit(images.to(place))).float().flatten(1).cpu()
        except RuntimeError as error:
            raise GanvasError(
                f"{name} cannot look at pictures of {tuple(images.shape[1:])}: {error}.",
                expected="a module that takes float [n c h w] in [-1, 1] and gives [n f]",
            ) from error

    return Extractor(name, hash_weights(network), "none", look)


def _copy_to(network: nn.Module, place: torch.device, dtype: torch.dtype) -> Any:
    copied = type(network)()
    copied.load_state_dict(network.state_dict())
    return copied.eval().requires_grad_(False).to(place, dtype)
