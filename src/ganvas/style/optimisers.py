"""Minimises a style objective over the pixels of an image at one scale: bounded L-BFGS, or Adam.

Pixels are clamped to [-1, 1] after each step. Plain L-BFGS would estimate curvature from the unclamped steps; here it
uses the steps actually made, which takes two fifths of the evaluations with VGG-19 (docs/results.md).
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ganvas.optimisers import Adam
from ganvas.style.objective import LossValue, StyleObjective
from ganvas.style.options import StyleOptions

Iterates = Iterator[tuple[LossValue, Tensor]]
"""For each step: the loss before it, and the image float [1 3 h w] that is the result if this step is the last."""

HISTORY_SIZE = 10
"""Of L-BFGS: past steps and gradient differences."""

RESTART_RATIO = 1.5
"""L-BFGS, which has no line search, restarts from the best image when the loss exceeds this times the lowest so far."""

FINAL_LR_FACTOR = 0.1
"""Adam's step size at the end of a scale, relative to the first."""


class BoundedLBFGS:
    """L-BFGS (Liu & Nocedal 1989) that remembers its steps as they are after clamping.

    The result is the image of the lowest loss.
    """

    def __init__(self, options: StyleOptions) -> None:
        assert options.lr is not None
        self.lr = options.lr

    def minimise(self, objective: StyleObjective, image: Tensor, count: int) -> Iterates:
        """Takes `count` steps from an image float [1 3 h w]."""
        image = _leaf(image)
        optimiser = self._optimiser(image)
        best, lowest = image, math.inf
        for _ in range(count):
            previous = image.detach().clone()
            value = _step(optimiser, image, objective)
            state = optimiser.state[image]
            if "t" in state:  # PyTorch takes no first step where the gradient is 0
                state["d"] = (image.detach() - previous).flatten() / state["t"]
            if value.loss < lowest:
                best, lowest = previous, value.loss
            elif value.loss > RESTART_RATIO * lowest:
                image = _leaf(best)
                optimiser = self._optimiser(image)
            yield value, best

    def _optimiser(self, image: Tensor) -> torch.optim.Optimizer:
        return torch.optim.LBFGS(
            [image], self.lr, max_iter=1, history_size=HISTORY_SIZE, tolerance_grad=0, tolerance_change=0
        )


class AveragedAdam:
    """Adam with a cosine step size schedule; the result is an exponential moving average of the images.

    Its moments are carried from one scale to the next (Crowson 2021).
    """

    def __init__(self, options: StyleOptions) -> None:
        assert options.lr is not None
        self.lr, self.average = options.lr, options.average
        self.state: dict[str, Any] = {}

    def minimise(self, objective: StyleObjective, image: Tensor, count: int) -> Iterates:
        """Takes `count` steps from an image float [1 3 h w]."""
        image = _leaf(image)
        optimiser = Adam([image], self.lr, betas=(0.9, 0.99))
        if self.state:
            optimiser.state[image] = _resize_moments(self.state, image)
        average, total = torch.zeros_like(image), 0.0
        weight = 1 / max(1.0, self.average * count)  # of the newest image
        for i in range(count):
            optimiser.param_groups[0]["lr"] = self.lr * _cosine_decay(i / count)
            value = _step(optimiser, image, objective)
            with torch.no_grad():
                average.lerp_(image, weight)
            total += weight * (1 - total)
            yield value, (average / total).detach()
        self.state = optimiser.state[image]


OPTIMISERS = {"lbfgs": BoundedLBFGS, "adam": AveragedAdam}


def _leaf(image: Tensor) -> Tensor:
    return image.detach().clone(memory_format=torch.contiguous_format).requires_grad_()


def _step(optimiser: torch.optim.Optimizer, image: Tensor, objective: StyleObjective) -> LossValue:
    """Takes one step with one evaluation, clamps the image, and returns the loss before the step."""
    values: list[LossValue] = []

    def closure() -> float:
        values.append(objective(image))
        image.grad = values[-1].gradient.contiguous()
        return values[-1].loss

    optimiser.step(closure)
    with torch.no_grad():
        image.clamp_(-1, 1)
    return values[0]


def _resize_moments(state: dict[str, Tensor], image: Tensor) -> dict[str, Tensor]:
    """Resizes Adam's moments to this scale, and rescales them: pixels of a larger image have smaller gradients."""
    size, previous = (image.shape[2], image.shape[3]), state["exp_avg"].shape
    ratio = previous[2] * previous[3] / (size[0] * size[1])
    first = F.interpolate(state["exp_avg"], size, mode="bicubic") * ratio
    second = F.interpolate(state["exp_avg_sq"], size, mode="bilinear") * ratio**2
    return {"step": state["step"], "exp_avg": first, "exp_avg_sq": second}


def _cosine_decay(progress: float) -> float:
    return FINAL_LR_FACTOR + (1 - FINAL_LR_FACTOR) * (1 + math.cos(math.pi * progress)) / 2
