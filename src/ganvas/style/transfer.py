"""The way of a stylised picture: scale by scale from coarse to fine, each an optimisation over the picture's pixels.

After Gatys et al. 2016, and Crowson's style-transfer-pytorch (2021): scales by √2, each beginning at the average of the
last one's iterates and with its optimiser's moments; Wasserstein-2 statistics. Ours: the photo takes the painting's
palette first, pixels and their neighbourhoods are layers like any other, the step size falls along a cosine at every
scale.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ganvas.errors import GanvasError
from ganvas.style import pictures
from ganvas.style.colours import luminance, with_luminance
from ganvas.style.goal import Goal, Value
from ganvas.style.options import StyleOptions, resolved
from ganvas.style.pictures import Picture, Source
from ganvas.style.plan import Plan, plan, scales

LAST_STEP = 0.1
"""The step size at the end of a scale, as a part of the first."""


@dataclass(frozen=True, eq=False)
class Iterate:
    """How far the picture is.

    Attributes:
        number: of this iterate, from 1; `of`: how many there will be.
        height, width: of the present scale, in pixels.
        loss: what is minimised; style, content, tv: its parts, weighted.
        seconds: since the beginning; `left`: until the end, about.
    """

    number: int
    of: int
    height: int
    width: int
    loss: float
    style: float
    content: float
    tv: float
    seconds: float
    left: float
    _finish: Callable[[], Picture] = field(repr=False)

    def picture(self) -> Picture:
        """The picture so far, at the present scale."""
        return self._finish()


Callback = Callable[[Iterate], None]


def stylize(
    content: Source,
    styles: Source | Sequence[Source],
    *,
    masks: Sequence[Source] = (),
    style_masks: Sequence[Source] = (),
    callback: Callback | None = None,
    options: StyleOptions | None = None,
    **knobs: Any,
) -> Picture:
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
        GanvasError: what happened, what was expected, how to mend it.
    """
    if isinstance(styles, (str, np.ndarray, Picture)) or not isinstance(styles, Sequence):
        styles = [styles]
    return followed(plan(content, styles, masks, style_masks, resolved(options, knobs)), callback)


def followed(plan: Plan, callback: Callback | None = None) -> Picture:
    """Carries out a plan."""
    options = plan.options
    assert options.iterations is not None
    sizes = scales(plan.content.shape[2:], options.smallest)
    rounds = [options.iterations * (2 if i == 0 else 1) for i in range(len(sizes))]
    if options.strength == 0:
        return _finished(plan, plan.content)
    descent = _Descent(options)
    clock = _Clock([count * math.prod(size) for count, size in zip(rounds, sizes, strict=True)])
    image, number = plan.first(sizes[0]), 0
    for scale, (size, count) in enumerate(zip(sizes, rounds, strict=True)):
        goal = plan.goal(size)
        steps = descent.down(goal, pictures.at(image, size), count)
        for i, (value, image) in enumerate(steps, 1):
            if not math.isfinite(value.loss):
                raise GanvasError(
                    f"The loss is {value.loss} in iteration {number + i}.",
                    expected="a number",
                    mend="a smaller --lr, or --optimiser adam.",
                )
            if callback is not None:
                seconds, left = clock.read(scale, i / count)
                callback(
                    Iterate(
                        number + i, sum(rounds), *size, value.loss, value.style, value.content, value.tv, seconds, left,
                        lambda now=image: _finished(plan, now),
                    )
                )  # fmt: skip
        number += count
    return _finished(plan, image)


class _Descent:
    """Steps down a goal, scale after scale; Adam's moments are carried on from one to the next."""

    def __init__(self, options: StyleOptions) -> None:
        assert options.lr is not None
        self.options, self.lr = options, options.lr
        self.state: dict[str, Any] = {}

    def down(self, goal: Goal, image: Tensor, count: int) -> Iterator[tuple[Value, Tensor]]:
        """Yields, for each of `count` steps, the loss before it and the averaged picture [1 3 h w] after it."""
        image = image.clone(memory_format=torch.contiguous_format).requires_grad_()
        optimiser = self._optimiser(image)
        average, total = torch.zeros_like(image), 0.0
        share = 1 / max(1.0, self.options.average * count)  # of the newest iterate
        for i in range(count):
            optimiser.param_groups[0]["lr"] = self.lr * _cosine(i / count)
            values: list[Value] = []

            def closure(values: list[Value] = values) -> float:
                values.append(goal(image))
                image.grad = values[-1].gradient.contiguous()
                return values[-1].loss

            optimiser.step(closure)
            with torch.no_grad():
                image.clamp_(-1, 1)
                average.lerp_(image, share)
            total += share * (1 - total)
            yield values[0], (average / total).detach()
        self.state = optimiser.state[image]

    def _optimiser(self, image: Tensor) -> torch.optim.Optimizer:
        if self.options.optimiser == "lbfgs":
            return torch.optim.LBFGS([image], self.lr, max_iter=1, tolerance_grad=0, tolerance_change=0)
        adam = torch.optim.Adam([image], self.lr, betas=(0.9, 0.99))
        if self.state:
            adam.state[image] = _grown(self.state, image)
        return adam


def _grown(state: dict[str, Tensor], image: Tensor) -> dict[str, Tensor]:
    """Adam's step and moments at the last scale, for this one."""
    size = (image.shape[2], image.shape[3])
    first = F.interpolate(state["exp_avg"], size, mode="bicubic")
    second = F.interpolate(state["exp_avg_sq"], size, mode="bilinear")
    return {"step": state["step"], "exp_avg": first, "exp_avg_sq": second}


def _cosine(done: float) -> float:
    return LAST_STEP + (1 - LAST_STEP) * (1 + math.cos(math.pi * done)) / 2


def _finished(plan: Plan, image: Tensor) -> Picture:
    """The picture as it is shown: with the photo's colours, where they are kept, and the photo where no mask is."""
    size = (image.shape[2], image.shape[3])
    photo = pictures.at(plan.content, size)
    if plan.options.keep_colours == "luminance":
        image = with_luminance(photo, luminance(image))
    if (cover := plan.cover(size)) is not None:
        image = photo + cover * (image - photo)
    return plan.source.of(pictures.eight_bits(image))


class _Clock:
    """Time since the beginning and to the end: the work of an iteration is taken to be proportional to its pixels."""

    def __init__(self, work: Sequence[int]) -> None:
        self.work, self.began = work, time.monotonic()

    def read(self, scale: int, part: float) -> tuple[float, float]:
        seconds = time.monotonic() - self.began
        done = sum(self.work[:scale]) + part * self.work[scale]
        return seconds, seconds * (sum(self.work) - done) / done
