"""Feature extractors: networks that turn uint8 images into features, with one preprocessing and a cache.

    extractor = features.load_extractor("eye")
    matrix = features.extract_features(batches, extractor, count=n)  # uint8 [m c h w] at a time -> float32 [n f]

The preprocessing is `resize_shorter_side`: an antialiased bicubic resize as in clean-fid (Parmar et al. 2022), if a
network needs one. Only Inception has its own, which the published FID depends on.
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
from ganvas.data.progress import progress_bar
from ganvas.errors import GanvasError
from ganvas.evaluation.eye import load_eye, to_rgb
from ganvas.files import atomic_file

PIXELS_PER_PASS, MIN_IMAGES_PER_PASS = 2**15, 8
"""Approximate pixels and least images in a forward pass. With 32 images of 32×32 the eye fits into a CPU's cache."""

EYE_SIDES = (16, 128)
"""The eye takes images whose shorter side is in this range; others are resized to the nearer end."""

EYE_LAYERS = ("relu1_2", "relu2_2", "relu3_2")
"""Its feature layers: those that rank image damage as networks trained on ImageNet do (docs/decisions/0011)."""


@dataclass(frozen=True)
class Extractor:
    """A network that turns images into features.

    Attributes:
        name: eye, classifier, inception, or the name of the user's own network.
        digest: the first 16 hexadecimal digits of the weights' SHA-256.
        resize: the resizing before the network, in words.
        extract: uint8 [n c h w] -> float32 [n f], on the CPU; c is 1, 3 or 4.
        facts: further entries of the protocol, such as a classifier's accuracy.
        predict_probabilities: features float32 [n f] -> class probabilities float32 [n k]; None without classes.
    """

    name: str
    digest: str
    resize: str
    extract: Callable[[Tensor], Tensor]
    facts: dict[str, Any] = field(default_factory=dict)
    predict_probabilities: Callable[[np.ndarray], np.ndarray] | None = None

    def describe(self) -> dict[str, Any]:
        """Its entries in a protocol."""
        return {"extractor": self.name, "weights": self.digest, "resize": self.resize, **self.facts}


def resize_shorter_side(images: Tensor, sides: tuple[int, int]) -> Tensor:
    """uint8 [n c h w] -> float32 [n c h' w'] in [-1, 1], resized until the shorter side is in `sides`.

    Bicubic and antialiased, clipped to [-1, 1], never rounded; images already in the range are not resized.
    """
    shorter = min(images.shape[2:])
    wanted = min(max(shorter, sides[0]), sides[1])
    pixels = to_unit(images)
    if wanted == shorter:
        return pixels
    size = [round(side * wanted / shorter) for side in images.shape[2:]]
    return F.interpolate(pixels, size, mode="bicubic", antialias=True).clamp(-1, 1)


def describe_resize(sides: tuple[int, int]) -> str:
    """What `resize_shorter_side` does, for a protocol."""
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
    """Extracts the features of `count` images, uint8 [n c h w] at a time -> float32 [count f].

    Raises:
        GanvasError: a feature is not finite.
    """
    parts: list[Tensor] = []
    with (
        progress_bar(f"Extracting features ({extractor.name})", count, shown=progress) as advance,
        torch.inference_mode(),
    ):
        for batch in images:
            parts.append(extractor.extract(batch))
            advance(len(batch))
    matrix = torch.cat(parts).numpy()
    if bad := int((~np.isfinite(matrix).all(axis=1)).sum()):
        raise GanvasError(
            f"{extractor.name} gives features that are not finite for {bad:,} of {len(matrix):,} images.",
            expected="finite numbers",
            fix="check the extractor's weights.",
        )
    return matrix


def extract_set_features(
    images: ImageSet, rows: np.ndarray, extractor: Extractor, *, progress: bool = False
) -> np.ndarray:
    """`extract_features` of rows (int64, ascending) of a set, cached on disk by everything that they depend on."""
    rows_digest = hashlib.sha256(rows.tobytes()).hexdigest()
    key = cache.key("features", images.fingerprint, rows_digest, extractor.describe(), torch.__version__)

    def make() -> np.ndarray:
        return extract_features(iterate_batches(images.images, rows), extractor, count=len(rows), progress=progress)

    return load_or_compute(key, len(rows), make)


def load_or_compute(key: str, count: int, compute: Callable[[], np.ndarray]) -> np.ndarray:
    """Loads an array of `count` rows from the cache; if it is missing or damaged, computes and caches it."""
    path = cache.root() / "features" / f"{key}.npy"
    try:
        array = np.load(path, allow_pickle=False)
        if len(array) == count:
            cache.mark_used(path)
            return array
    except (OSError, ValueError, EOFError):
        pass
    array = compute()
    content = io.BytesIO()
    np.save(content, array)
    write_cache_file(path, content.getvalue())
    return array


def iterate_batches(images: np.ndarray, rows: np.ndarray) -> Iterator[Tensor]:
    """Yields rows of uint8 [n c h w] in batches for a forward pass."""
    step = max(MIN_IMAGES_PER_PASS, PIXELS_PER_PASS // (images.shape[2] * images.shape[3]))
    for start in range(0, len(rows), step):
        yield torch.from_numpy(images[rows[start : start + step]])


def write_cache_file(path: Path, content: bytes) -> None:
    """Writes a file into the cache, atomically. A failure is ignored: it only costs time later."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as temporary:
            temporary.write_bytes(content)
    except (OSError, GanvasError):
        pass


def load_extractor(name: str, *, weights: Path | None = None, device: str = "cpu") -> Extractor:
    """Loads the extractor with this name.

    Args:
        name: eye; eye-bf16; inception or dinov2, with the file or folder of their `weights`; or MODULE:FACTORY, a
            Python function without arguments that returns a `torch.nn.Module` (see `module_extractor`).
        weights: of inception or dinov2, or a safetensors file for the user's own module.
        device: where it computes.

    Raises:
        GanvasError: no such extractor, or its weights are missing or wrong.
    """
    if name in ("eye", "eye-bf16", "classifier") and weights is not None:
        raise GanvasError(
            f"The {name} comes with its weights; --weights names {weights}.", fix="leave one of them out."
        )
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
            expected="eye, eye-bf16, classifier, inception, dinov2, or MODULE:FACTORY for your own network",
        )
    try:
        network = getattr(importlib.import_module(module), factory)()
    except (ImportError, AttributeError, TypeError) as error:
        raise GanvasError(
            f"{name} cannot be imported and called: {error}.",
            expected="a module on the Python path, and a function without arguments in it",
        ) from error
    if not isinstance(network, nn.Module):
        raise GanvasError(f"{name}() returns a {type(network).__name__}.", expected="a torch.nn.Module")
    if weights is not None:
        try:
            network.load_state_dict(load_file(weights))
        except (OSError, RuntimeError, SafetensorError) as error:
            raise GanvasError(
                f"{weights} does not fit {name}: {error}.", expected="a safetensors file of its state_dict"
            ) from error
    return module_extractor(network, factory, device=device)


def eye_extractor(device: str = "cpu", dtype: torch.dtype = torch.float32) -> Extractor:
    """The embedded eye network; its features are the means of EYE_LAYERS over the image.

    Args:
        device: where it computes.
        dtype: of its convolutions. bfloat16 is faster where the processor supports it and changes features by up to
            0.4 % (docs/decisions/0011): that is another extractor, `eye-bf16`, whose numbers are not comparable.
    """
    network = load_eye()
    target = torch.device(device)
    network_there = network if (target.type, dtype) == ("cpu", torch.float32) else _copy_to(network, target, dtype)

    def extract(images: Tensor) -> Tensor:
        pixels = to_rgb(resize_shorter_side(images.to(target), EYE_SIDES)).to(dtype)
        if target.type == "cpu":
            pixels = pixels.contiguous(memory_format=torch.channels_last)  # oneDNN's convolutions are faster with it
        maps = network_there.activations(pixels, EYE_LAYERS)
        return torch.cat([maps[name].mean((2, 3), dtype=torch.float32) for name in EYE_LAYERS], dim=1).cpu()

    name = "eye" if dtype == torch.float32 else "eye-bf16"
    return Extractor(name, hash_weights(network), describe_resize(EYE_SIDES), extract, {"layers": " ".join(EYE_LAYERS)})


def module_extractor(network: nn.Module, name: str = "", *, device: str = "cpu") -> Extractor:
    """An extractor from the user's own module: float [n c h w] in [-1, 1], not resized -> [n f …], flattened.

    The extractor raises a GanvasError if the module fails on the images.
    """
    target = torch.device(device)
    network = network.eval().to(target)
    name = name or type(network).__name__

    def extract(images: Tensor) -> Tensor:
        try:
            return network(to_unit(images.to(target))).float().flatten(1).cpu()
        except RuntimeError as error:
            raise GanvasError(
                f"{name} fails on images of {tuple(images.shape[1:])}: {error}.",
                expected="a module that takes float [n c h w] in [-1, 1] and returns [n f]",
            ) from error

    return Extractor(name, hash_weights(network), "none", extract)


def _copy_to(network: nn.Module, device: torch.device, dtype: torch.dtype) -> Any:
    copy = type(network)()
    copy.load_state_dict(network.state_dict())
    return copy.eval().requires_grad_(False).to(device, dtype)
