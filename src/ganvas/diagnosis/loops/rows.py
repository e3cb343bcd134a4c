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
    """A call of D, and its rows of reals and of fakes, where they are known.

    Attributes:
        images: its argument in which these were found, or all that may be images: a condition may come before them.
    """

    call: Call
    real: slice | None
    fake: slice | None
    images: tuple[Tensor, ...] = ()

    @property
    def has_graph(self) -> bool:
        """Whether its images were computed with gradients, as those through which G learns."""
        return any(images.grad_fn is not None for images in self.images)

    @property
    def is_penalised(self) -> bool:
        """Whether a gradient by its images was asked for."""
        return any(images.requires_grad and images.is_leaf for images in self.images)

    def is_mixed(self, n: int) -> bool:
        """Whether reals and fakes were in one batch; where neither was found, as of augmented ones, by its size n."""
        if self.real or self.fake:
            return bool(self.real and self.fake)
        return bool(self.images) and len(self.images[0]) == n and not self.has_graph

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
    found = [_beside(_find(call, real, fakes)) for call in calls]
    if not any(one.real for one in found) and any(one.fake for one in found):
        found = [_without_fakes(one, real) for one in found]
    return [one if one.real or one.fake else _near(one, real, fakes) for one in found]


def _find(call: Call, real: Tensor, fakes: Sequence[Tensor]) -> Asked:
    """Of the fakes the most: those of `probe.step` may be a part of what G returned, and D received."""
    of_real = find_images(call, real)
    places = [place for images in fakes if (place := find_images(call, images))]
    of_fake = max(places, key=lambda place: place.rows.stop - place.rows.start, default=None)
    if of_fake and of_real and of_real.rows.start < of_fake.rows.stop and of_fake.rows.start < of_real.rows.stop:
        of_real = None  # the reals are the condition of these fakes
    known = of_fake or of_real
    tensors = dict(call.tensors())
    alike = tuple(value for value in tensors.values() if value.shape[1:] == real.shape[1:])
    first = () if call.images is None else (call.images,)
    images = alike or first if known is None else (tensors[known.argument],)
    return Asked(call, of_real and of_real.rows, of_fake and of_fake.rows, images)


def _beside(one: Asked) -> Asked:
    known = one.real or one.fake
    if known is None or (one.real and one.fake) or not one.images:
        return one
    n, first = len(one.images[0]), known.start == 0
    if 2 * (known.stop - known.start) != n:
        return one
    other = slice(n // 2, n) if first else slice(0, n // 2)
    return Asked(one.call, one.real or other, one.fake or other, one.images)


def _without_fakes(one: Asked, real: Tensor) -> Asked:
    needed = any(images.requires_grad or images.shape[1:] != real.shape[1:] for images in one.images)
    if one.fake or not one.images or needed:
        return one
    return Asked(one.call, slice(0, len(one.images[0])), None, one.images)


def _near(one: Asked, real: Tensor, fakes: Sequence[Tensor]) -> Asked:
    """Of a call with noise on its images, as instance noise; not where it is unknown which argument they are."""
    if len(one.images) != 1 or not one.images[0].is_floating_point():
        return one
    (images,) = one.images
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
    of_real, of_fake = (rows, None) if rows and near[least] else (None, rows)
    return Asked(one.call, of_real, of_fake, one.images)


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
