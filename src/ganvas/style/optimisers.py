"""Down a goal, step by step, scale after scale: bounded L-BFGS, or Adam.

Pixels lie in [-1, 1]. L-BFGS whose steps are clamped behind its back learns curvatures from steps that were never made;
told of the bounds it needs, with VGG-19, two fifths of the evaluations (docs/results.md).
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ganvas.style.objective import StyleObjective, LossValue
from ganvas.style.options import StyleOptions

Iterates = Iterator[tuple[LossValue, Tensor]]
"""For each step: the loss before it, and the picture float [1 3 h w] that were the result if this were the end."""

HISTORY_SIZE = 10
"""Steps, and what they did to the slope, that L-BFGS remembers."""

RESTART_RATIO = 1.5
"""Times the lowest loss so far is where L-BFGS, which does not search along its lines, begins anew."""

FINAL_LR_FACTOR = 0.1
"""Adam's step size at the end of a scale, as a part of the first."""


class BoundedLBFGS:
    """L-BFGS (Liu & Nocedal 1989) whose steps are remembered as they were made, after the clamping.

    The result is the best picture seen.
    """

    def __init__(self, options: StyleOptions) -> None:
        assert options.lr is not None
        self.lr = options.lr

    def minimise(self, goal: StyleObjective, image: Tensor, count: int) -> Iterates:
        """Takes `count` steps from a picture float [1 3 h w]."""
        image = _leaf(image)
        optimiser = self._optimiser(image)
        best, lowest = image, math.inf
        for _ in range(count):
            here = image.detach().clone()
            value = _step(optimiser, image, goal)
            state = optimiser.state[image]
            state["d"] = (image.detach() - here).flatten() / state["t"]
            if value.loss < lowest:
                best, lowest = here, value.loss
            elif value.loss > RESTART_RATIO * lowest:
                image = _leaf(best)
                optimiser = self._optimiser(image)
            yield value, best

    def _optimiser(self, image: Tensor) -> torch.optim.Optimizer:
        return torch.optim.LBFGS(
            [image], self.lr, max_iter=1, history_size=HISTORY_SIZE, tolerance_grad=0, tolerance_change=0
        )


class AveragedAdam:
    """Adam with a step size that falls along a cosine; the result is an average over the newest pictures.

    Its moments are carried on from one scale to the next (Crowson 2021).
    """

    def __init__(self, options: StyleOptions) -> None:
        assert options.lr is not None
        self.lr, self.average = options.lr, options.average
        self.state: dict[str, Any] = {}

    def minimise(self, goal: StyleObjective, image: Tensor, count: int) -> Iterates:
        """Takes `count` steps from a picture float [1 3 h w]."""
        image = _leaf(image)
        optimiser = torch.optim.Adam([image], self.lr, betas=(0.9, 0.99))
        if self.state:
            optimiser.state[image] = _resize_moments(self.state, image)
        average, total = torch.zeros_like(image), 0.0
        share = 1 / max(1.0, self.average * count)  # of the newest picture
        for i in range(count):
            optimiser.param_groups[0]["lr"] = self.lr * _cosine_decay(i / count)
            value = _step(optimiser, image, goal)
            with torch.no_grad():
                average.lerp_(image, share)
            total += share * (1 - total)
            yield value, (average / total).detach()
        self.state = optimiser.state[image]


OPTIMISERS = {"lbfgs": BoundedLBFGS, "adam": AveragedAdam}


def _leaf(image: Tensor) -> Tensor:
    return image.detach().clone(memory_format=torch.contiguous_format).requires_grad_()


def _step(optimiser: torch.optim.Optimizer, image: Tensor, goal: StyleObjective) -> LossValue:
    """One step, one evaluation: the loss before it."""
    values: list[LossValue] = []

    def closure() -> float:
        values.append(goal(image))
        image.grad = values[-1].gradient.contiguous()
        return values[-1].loss

    optimiser.step(closure)
    with torch.no_grad():
        image.clamp_(-1, 1)
    return values[0]


def _resize_moments(state: dict[str, Tensor], image: Tensor) -> dict[str, Tensor]:
    """Adam's step and moments at the last scale, for this one, where a pixel's part in every loss is smaller."""
    size, last = (image.shape[2], image.shape[3]), state["exp_avg"].shape
    part = last[2] * last[3] / (size[0] * size[1])
    first = F.interpolate(state["exp_avg"], size, mode="bicubic") * part
    second = F.interpolate(state["exp_avg_sq"], size, mode="bilinear") * part**2
    return {"step": state["step"], "exp_avg": first, "exp_avg_sq": second}


def _cosine_decay(done: float) -> float:
    return FINAL_LR_FACTOR + (1 - FINAL_LR_FACTOR) * (1 + math.cos(math.pi * done)) / 2
