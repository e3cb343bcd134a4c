"""Which rows of D's calls are real images, and which are fakes."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ganvas.diagnosis.loops.calls import Call, find_images

NEAR = 0.4
"""A batch is another one with noise if its distance to it, image by image, is below this share of that to others."""


@dataclass(frozen=True)
class Asked:
    """A call of D, and its rows of reals and of fakes, where they are known."""

    call: Call
    real: slice | None
    fake: slice | None

    @property
    def has_graph(self) -> bool:
        """Whether its images were computed with gradients, as those through which G learns."""
        return self.call.images is not None and self.call.images.grad_fn is not None

    def rows(self, kind: str) -> slice | None:
        """Those of "real" or "fake"; images with a graph that are not known are fakes as well."""
        if kind == "real":
            return self.real
        unknown = self.real is None and self.fake is None and self.has_graph
        return slice(None) if unknown else self.fake


def attribute(calls: Iterable[Call], real: Tensor, fakes: Sequence[Tensor]) -> list[Asked]:
    """Where reals and fakes are in calls of D.

    Images are found by their values, also with noise on them. What is beside fakes in the halves of one batch is real,
    and the other way round. Where no call holds these reals, as in `fit`, which does not show them, the calls without
    fakes do.

    Args:
        real: the reals of the round.
        fakes: those of the round, and all that G returned in it.
    """
    found = [_beside(Asked(call, _find(call, [real]), _find(call, fakes))) for call in calls]
    if not any(one.real for one in found) and any(one.fake for one in found):
        found = [_without_fakes(one, real) for one in found]
    return [one if one.real or one.fake else _near(one.call, real, fakes) for one in found]


def _find(call: Call, batches: Iterable[Tensor]) -> slice | None:
    return next((place.rows for images in batches if (place := find_images(call, images))), None)


def _beside(one: Asked) -> Asked:
    known = one.real or one.fake
    if known is None or (one.real and one.fake) or one.call.images is None:
        return one
    n, first = len(one.call.images), known.start == 0
    if 2 * (known.stop - known.start) != n:
        return one
    other = slice(n // 2, n) if first else slice(0, n // 2)
    return Asked(one.call, one.real or other, one.fake or other)


def _without_fakes(one: Asked, real: Tensor) -> Asked:
    images = one.call.images
    if one.fake or images is None or images.requires_grad or images.shape[1:] != real.shape[1:]:
        return one
    return Asked(one.call, slice(0, len(images)), None)


def _near(call: Call, real: Tensor, fakes: Sequence[Tensor]) -> Asked:
    """Of a call with noise on its images, as instance noise."""
    images = call.images
    if images is None or not images.is_floating_point():
        return Asked(call, None, None)
    near: dict[float, bool] = {}
    for batch in (real, *fakes):
        if batch.shape == images.shape and len(batch) > 1 and batch.device == images.device:
            ends = images.detach().float().flatten(1)
            to_own, to_other = (
                float((ends - other.detach().float().flatten(1)).abs().mean()) for other in (batch, batch.roll(1, 0))
            )
            near[to_own / max(to_other, 1e-12)] = batch is real
    least = min(near, default=1.0)
    rows = slice(0, len(images)) if least < NEAR else None
    return Asked(call, rows, None) if rows and near[least] else Asked(call, None, rows)


def tensors_of(output: Any) -> Iterator[Tensor]:
    """Images in what G returns: a tensor, or those in a list, a tuple or a dict."""
    if isinstance(output, Tensor):
        if output.dim():
            yield output
    elif isinstance(output, list | tuple):
        for part in output:
            yield from tensors_of(part)
    elif isinstance(output, dict):
        yield from tensors_of(list(output.values()))
