"""What D's loss and G's ask of D's outputs: read from the gradients that reach these, whatever the losses are."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ganvas.diagnosis.loops.calls import Call, Place

SMOOTHED = (1.0, 0.95, 0.9, 0.8)
"""Targets of reals in use."""


@dataclass(frozen=True)
class Asked:
    """A call of D, and where the reals and the fakes of the round are in it, if they are."""

    call: Call
    real: Place | None
    fake: Place | None

    def rows(self, kind: str) -> slice | None:
        """Its rows of reals or of fakes; what is not known to be real counts as fake."""
        place = self.real if kind == "real" else self.fake
        if place is not None:
            return place.rows
        return slice(None) if kind == "fake" and self.real is None else None


def target_signals(calls: Iterable[Asked], of_d: set[int], of_g: set[int]) -> dict[str, float]:
    """The directions in which the losses push D's outputs.

    Args:
        calls: of D in the round.
        of_d, of_g: the backward passes of D's loss and of G's.

    Returns:
        targets/D/real, targets/D/fake, targets/G/fake: the sum of the gradients of that loss by D's outputs on such
            images, over that of their sizes: -1 where all are pushed up, 1 where all are pushed down.
        targets/D/apart: how differently D's loss pushes equal outputs on reals and on fakes, over the mean push.
        targets/G/apart: how differently D's loss and G's push equal outputs on fakes.
        targets/linear: 1 where D's loss is the difference of the means of its outputs, a Wasserstein one.
        targets/sigmoid_twice: 1 where D ends in a sigmoid and its loss applies another one, 0 where it does not.
    """
    calls, values = list(calls), dict[str, float]()
    asked = {"D/real": ("real", of_d), "D/fake": ("fake", of_d), "G/fake": ("fake", of_g)}
    pairs = {name: list(_gradients(calls, kind, passes)) for name, (kind, passes) in asked.items()}
    for name, pushed in pairs.items():
        size = sum(float(push.abs().sum()) for _, push in pushed)
        if size > 0:
            values[f"targets/{name}"] = sum(float(push.sum()) for _, push in pushed) / size
    for loss, one, other in (("D", "D/real", "D/fake"), ("G", "D/fake", "G/fake")):
        if f"targets/{one}" in values and f"targets/{other}" in values:
            values[f"targets/{loss}/apart"] = _difference(pairs[one], pairs[other])
    values |= {"targets/linear": 1.0} if _is_linear(pairs["D/real"], pairs["D/fake"]) else {}
    twice = _is_sigmoid_twice([asked for asked in calls if asked.call.sigmoid], of_d)
    return values if twice is None else values | {"targets/sigmoid_twice": float(twice)}


Pairs = list[tuple[Tensor, Tensor]]
"""(D's outputs, their gradients times the number of images), float64 each, of several calls."""


def _gradients(calls: list[Asked], kind: str, passes: set[int]) -> Iterator[tuple[Tensor, Tensor]]:
    """(D's outputs, their gradients in these backward passes, times the number of images) on reals or on fakes."""
    for asked in calls:
        rows = asked.rows(kind)
        for number, head, gradient in asked.call.gradients:
            if rows is not None and number in passes:
                part = gradient[rows].double()
                yield asked.call.heads[head][rows].double(), part * part.numel()


def _difference(one: Pairs, other: Pairs) -> float:
    """How far apart two losses push equal outputs, over the mean push: by a·output + b, and c more in one."""
    outputs, pushes = (torch.cat([pair[i].flatten() for pair in (*one, *other)]) for i in (0, 1))
    first = sum(output.numel() for output, _ in one)
    which = torch.zeros_like(outputs)
    which[:first] = 1
    terms = torch.stack([outputs, torch.ones_like(outputs), which], 1)
    fitted = torch.linalg.lstsq(terms, pushes[:, None], driver="gelsd").solution
    return float(fitted[2, 0].abs() / pushes.abs().mean())


def _is_linear(real: Pairs, fake: Pairs) -> bool:
    """Whether all outputs are pushed with the same force, also beyond 1, where the hinge loss has no gradient."""
    pairs = [*real, *fake]
    force = torch.cat([push.abs().flatten() for _, push in pairs]) if real and fake else torch.zeros(1)
    far = any(bool((output * push.sign() < -1).any()) for output, push in pairs)
    return far and bool(force.min() > 0.99 * force.max())


def _is_sigmoid_twice(calls: list[Asked], of_d: set[int]) -> bool | None:
    """Whether the gradients by D's probabilities are those of a cross-entropy that takes logits; None if unknown."""
    real, fake = (list(_gradients(calls, kind, of_d)) for kind in ("real", "fake"))
    if not real or not fake:
        return None
    p_real, p_fake = (torch.cat([p.flatten() for p, _ in pairs]).clamp(1e-6, 1 - 1e-6) for pairs in (real, fake))
    pushed = torch.cat([torch.cat([g.flatten() for _, g in pairs]) for pairs in (real, fake)])
    if p_real.mean() < p_fake.mean() and pushed[: len(p_real)].sum() > 0:
        return None
    errors = {"logits": 2.0, "probabilities": 2.0, "squares": 2.0}
    for y in SMOOTHED:
        shapes = {
            "logits": torch.cat([p_real.sigmoid() - y, p_fake.sigmoid()]),
            "probabilities": torch.cat([(1 - y) / (1 - p_real) - y / p_real, 1 / (1 - p_fake)]),
            "squares": torch.cat([p_real - y, p_fake]),
        }
        for name, shape in shapes.items():
            scale = (pushed @ shape) / (shape @ shape)
            errors[name] = min(errors[name], float((pushed - scale * shape).norm() / pushed.norm()))
    least, *others = sorted(errors.values())
    return errors["logits"] == least and least < 0.03 and others[0] > 3 * least
