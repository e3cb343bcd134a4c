"""The real side of an evaluation: pictures, networks that look at them, features, and what real ones get themselves.

None of it depends on what is judged: a comparison computes it once for all its runs.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from torch import nn

from ganvas.data import PictureOptions
from ganvas.evaluation import features, measures
from ganvas.evaluation.counting import counter, own
from ganvas.evaluation.features import Extractor
from ganvas.evaluation.measures import Side
from ganvas.evaluation.memorisation import Originals
from ganvas.evaluation.reference import Reference, reference

PIXELS = 2000
"""Pictures of each side whose pixels are compared, and not only their features."""

T = TypeVar("T")


class Kept:
    """Values by what they depend on, in memory, each computed when it is first asked for."""

    def __init__(self) -> None:
        self._values: dict[Hashable, Any] = {}

    def of(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of a key, from `make` the first time."""
        if key not in self._values:
            self._values[key] = make()
        return self._values[key]


@dataclass(frozen=True, eq=False)
class RealSide:
    """What judged pictures are compared with.

    Attributes:
        seen: the extractor.
        counting: what counts the classes; None where there are none.
        known: training pictures.
        rival: held-out ones, which give the floors.
        originals: all training pictures, for what only they can tell; None where nothing is asked of it.
        floors: of each group of measures, by its place; filled by the first evaluation.
    """

    seen: Extractor
    counting: Extractor | None
    known: Side
    rival: Side
    originals: Originals | None
    floors: dict[int, dict[str, float]] = field(default_factory=dict)

    def prepare(self) -> None:
        """Computes now what the first evaluation would compute of it: the most of it."""
        _ = self.known.moments, self.known.nearest, self.rival.nearest
        if self.originals is not None:
            _ = self.originals.held_distances, self.originals.cells


def opened(options: PictureOptions, count: int, kept: Kept, held_out: str | None = None) -> Reference:
    """`reference`, opened once."""
    return kept.of(("reference", options, count, held_out), lambda: reference(options, count, held_out=held_out))


def counted(real: Reference, kept: Kept, progress: bool = False) -> Extractor | None:
    """`counter`, trained or read once."""
    return kept.of(("counter", id(real)), lambda: counter(real, progress=progress))


def real_side(
    real: Reference,
    n: int,
    extractor: str | nn.Module | Extractor,
    weights: Path | str | None,
    device: str,
    kept: Kept,
    *,
    quick: bool = False,
    progress: bool = False,
) -> RealSide:
    """The real side for n judged pictures; `real` is one that `kept` opened. The rest as `ganvas.evaluate` has it."""
    named = extractor if isinstance(extractor, str) else id(extractor)

    def make() -> RealSide:
        seen = _extractor(extractor, weights, real, device, progress)
        counting = seen if seen.name == "classifier" else counted(real, kept, progress)
        held = measures.spread(real.held_rows, n)
        rival = side(
            lambda by: features.of_set(real.held, held, by, progress=progress),
            real.held.images[measures.spread(held, PIXELS)],
            seen,
            counting,
        )
        copies_told = not quick and real.held is not real.images  # by all training pictures, not only those beside
        looked_at = np.arange(len(real.images)) if copies_told else real.rows
        matrix = features.of_set(real.images, looked_at, seen, progress=progress)
        known = Side(
            matrix[real.rows] if copies_told else matrix,
            real.images.images[measures.spread(real.rows, min(n, PIXELS))],
        )
        originals = Originals(matrix, rival.features, measures.SEED) if copies_told else None
        return RealSide(seen, counting, known, rival, originals)

    return kept.of(("side", id(real), n, named, weights, device, quick), make)


def side(
    matrix: Callable[[Extractor], np.ndarray], pixels: np.ndarray, seen: Extractor, counting: Extractor | None
) -> Side:
    """Pictures as both networks see them; `matrix` gives an extractor's features of them, float32 [n f]."""
    found = matrix(seen)
    if counting is None or counting.probabilities is None:
        return Side(found, pixels)
    return Side(found, pixels, counting.probabilities(found if counting is seen else matrix(counting)))


def _extractor(
    asked: str | nn.Module | Extractor, weights: Path | str | None, real: Reference, device: str, progress: bool
) -> Extractor:
    if isinstance(asked, Extractor):
        return asked
    if isinstance(asked, nn.Module):
        return features.own(asked, device=device)
    if asked == "classifier" and weights is None:
        return own(real, progress=progress)
    return features.named(asked, weights=None if weights is None else Path(weights), device=device)
