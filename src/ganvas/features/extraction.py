"""Feature extraction: uint8 images -> features float32 [n f], by one interface for every network, cached on disk.

    extractor = load_extractor("eye")
    matrix = extract_features(batches, extractor, count=n)  # uint8 [m c h w] at a time -> float32 [n f]

The preprocessing is `resize_shorter_side`: an antialiased bicubic resize as in clean-fid (Parmar et al. 2022), if a
network needs one. Only Inception and DINOv2 have their own, which the published distances depend on.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganvas.data import ImageSet, to_unit
from ganvas.data.cached import cache
from ganvas.data.selection import iterate_batches, subsample
from ganvas.errors import GanvasError
from ganvas.progress import progress_bar

CHECKED_IMAGES = 16
"""Images by which cached features of a network of the user's are checked."""


@dataclass(frozen=True)
class Extractor:
    """A network that turns images into features.

    Attributes:
        name: eye, lite0, classifier, inception, dinov2, or the name of the user's own network.
        digest: the first 16 hexadecimal digits of the weights' SHA-256.
        resize: the resizing before the network, in words.
        extract: uint8 [n c h w] -> float32 [n f], on the CPU; c is 1, 3 or 4.
        facts: further entries of the protocol, such as a classifier's accuracy; "network" and "code" of the user's own.
        predict_probabilities: features float32 [n f] -> class probabilities float32 [n k]; None without classes.
        spec: of the user's own network; empty for those of Ganvas.
    """

    name: str
    digest: str
    resize: str
    extract: Callable[[Tensor], Tensor]
    facts: dict[str, Any] = field(default_factory=dict)
    predict_probabilities: Callable[[np.ndarray], np.ndarray] | None = None
    spec: str = ""

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
    """The first 16 hexadecimal digits of the SHA-256 of all weights, names and shapes; without any, of its `repr`."""
    weights = sorted(network.state_dict().items())
    total = hashlib.sha256(b"" if weights else repr(network).encode())
    for name, weight in weights:
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
    """`extract_features` of rows (int64, ascending) of a set, cached on disk by everything that they depend on.

    What a network of the user's depends on is not known: a file that its own imports, for instance. Its cached features
    are taken if it still gives those of a few images.
    """
    rows_digest = hashlib.sha256(rows.tobytes()).hexdigest()
    key = cache.key("features", images.fingerprint, rows_digest, extractor.describe(), torch.__version__)

    def make() -> np.ndarray:
        return extract_features(iterate_batches(images.images, rows), extractor, count=len(rows), progress=progress)

    def are_current(cached: np.ndarray) -> bool:
        few = subsample(np.arange(len(rows)), CHECKED_IMAGES)
        again = extract_features(iterate_batches(images.images, rows[few]), extractor, count=len(few))
        scale = np.abs(again).max(initial=0)
        return cached.shape[1:] == again.shape[1:] and np.allclose(cached[few], again, rtol=1e-3, atol=1e-5 * scale)

    return cache.load_or_compute(key, len(rows), make, are_current if extractor.spec else None)
