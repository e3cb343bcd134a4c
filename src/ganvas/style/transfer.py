"""The way of a stylised picture: scale by scale from coarse to fine, each an optimisation over the picture's pixels.

After Gatys et al. 2016, and Crowson's style-transfer-pytorch (2021): scales by √2, each beginning where the last one
ended; Wasserstein-2 statistics. Ours: the photo takes the painting's palette first, pixels and their neighbourhoods
are layers like any other, and L-BFGS knows its bounds (`descent`).
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from ganvas.errors import GanvasError
from ganvas.speed import Speed
from ganvas.style import pictures
from ganvas.style.colours import luminance, replace_luminance
from ganvas.style.optimisers import OPTIMISERS
from ganvas.style.options import StyleOptions, resolved
from ganvas.style.pictures import StyleImage, ImageSource
from ganvas.style.plan import Plan, plan, scale_sizes
from ganvas.threads import computing


@dataclass(frozen=True, eq=False)
class Iterate:
    """How far the picture is.

    Attributes:
        number: of this iterate, from 1; `of`: how many there will be.
        height, width: of the present scale, in pixels.
        loss: what is minimised; style, content, tv: its parts, weighted.
        seconds: since the beginning; `left`: until the end, about.
    """

    iteration: int
    iterations: int
    height: int
    width: int
    loss: float
    style: float
    content: float
    tv: float
    seconds: float
    seconds_left: float
    _render: Callable[[], StyleImage] = field(repr=False)

    def image(self) -> StyleImage:
        """The picture so far, at the present scale."""
        return self._render()


Callback = Callable[[Iterate], None]


def stylize(
    content: ImageSource,
    styles: ImageSource | Sequence[ImageSource],
    *,
    masks: Sequence[ImageSource] = (),
    style_masks: Sequence[ImageSource] = (),
    callback: Callback | None = None,
    options: StyleOptions | None = None,
    **knobs: Any,
) -> StyleImage:
    """Redraws a picture in the style of one painting or several.

        ganvas.stylize("photo.jpg", "starry_night.jpg", size=256).save("out.png")

    Args:
        content: a picture file, pixels uint8 [1|3|4 h w], or a Picture.
        styles: likewise, one or several.
        masks: one for each style, grey: where in the picture it shall be. What no mask covers stays as it is.
        style_masks: one for each style, grey: the part of the painting to learn from.
        callback: told of every iterate.
        options, knobs: see `StyleOptions`; any field by its name.

    Raises:
        GanvasError: what happened, what was expected, the fix.
    """
    if isinstance(styles, (str, np.ndarray, StyleImage)) or not isinstance(styles, Sequence):
        styles = [styles]
    return followed(plan(content, styles, masks, style_masks, resolved(options, knobs)), callback)


@computing()
def followed(plan: Plan, callback: Callback | None = None) -> StyleImage:
    """Carries out a plan."""
    options = plan.options
    assert options.iterations is not None
    sizes = scale_sizes(plan.content.shape[2:], options.smallest)
    rounds = [options.iterations * (2 if i == 0 else 1) for i in range(len(sizes))]
    if options.strength == 0:
        return _render(plan, plan.content)
    descent = OPTIMISERS[options.optimiser](options)
    clock = _Timer([count * math.prod(size) for count, size in zip(rounds, sizes, strict=True)])
    image, number = plan.first(sizes[0]), 0
    for scale, (size, count) in enumerate(zip(sizes, rounds, strict=True)):
        goal = plan.goal(size)
        steps = descent.down(goal, pictures.resize(image, size), count)
        for i, (value, image) in enumerate(steps, 1):
            if not math.isfinite(value.loss):
                raise GanvasError(
                    f"The loss is {value.loss} in iteration {number + i}.",
                    expected="a number",
                    fix="a smaller --lr, or --optimiser adam.",
                )
            if callback is not None:
                seconds, left = clock.read(scale, i / count)
                callback(
                    Iterate(
                        number + i, sum(rounds), *size, value.loss, value.style, value.content, value.tv, seconds, left,
                        lambda now=image: _render(plan, now),
                    )
                )  # fmt: skip
        number += count
    return _render(plan, image)


def _render(plan: Plan, image: Tensor) -> StyleImage:
    """The picture as it is shown: with the photo's colours, where they are kept, and the photo where no mask is."""
    size = (image.shape[2], image.shape[3])
    photo = pictures.resize(plan.content, size)
    if plan.options.keep_colours == "luminance":
        image = replace_luminance(photo, luminance(image))
    if (cover := plan.coverage(size)) is not None:
        image = photo + cover * (image - photo)
    return plan.source.with_pixels(pictures.to_pixels(image))


class _Timer:
    """Time since the beginning and to the end: the work of an iteration is taken to be proportional to its pixels."""

    def __init__(self, work: Sequence[int]) -> None:
        self.work, self.began, self.speed = work, time.monotonic(), Speed()
        self.speed.mark(0)

    def read(self, scale: int, part: float) -> tuple[float, float]:
        done = sum(self.work[:scale]) + part * self.work[scale]
        self.speed.mark(done)
        speed = self.speed.per_second
        return time.monotonic() - self.began, (sum(self.work) - done) / speed if speed else 0.0
