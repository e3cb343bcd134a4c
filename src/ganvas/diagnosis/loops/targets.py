"""What D's loss and G's ask of D's outputs: read from the gradients that reach these, whatever the losses are."""

from collections.abc import Collection, Iterator

import torch
from torch import Tensor

from ganvas.diagnosis.loops.rows import Asked

SMOOTHED = (1.0, 0.95, 0.9, 0.8)
"""Targets of reals in use."""

APART = 0.25
"""A difference between the pushes on reals and on fakes, over the mean push, that says which are to be higher."""

EVEN = 0.5
"""The least force on an output over the greatest, below which a loss is not linear."""

STRONG = 0.5
"""The sum of pushes over that of their sizes above which they have one direction."""

Pairs = list[tuple[Tensor, Tensor]]
"""(D's outputs, their gradients times the number of images) of several calls."""


def target_signals(asked: list[Asked], of_d: set[int], of_g: set[int]) -> dict[str, float]:
    """The directions in which the losses push D's outputs.

    Args:
        asked: the calls of D in the round.
        of_d, of_g: the backward passes of D's loss and of G's; where they are the same ones, images with a graph
            belong to G's.

    Returns:
        targets/D/real, targets/D/fake, targets/G/fake: the sum of the gradients of that loss by D's outputs on such
            images, over that of their sizes: -1 where all are pushed up, 1 where all are pushed down.
        targets/D/same: 1 where D's loss pushes its outputs on reals and on fakes to the same target, 0 if not.
        targets/G/same: 1 where both losses push D's outputs on fakes to the same target, 0 if not; only where D's
            pushes them apart.
        targets/direction: 1 where D's loss asks for higher outputs on reals, -1 for higher ones on fakes.
        targets/linear: 1 where D's loss is the difference of the means of its outputs, a Wasserstein one, 0 where it
            is certainly not.
        targets/penalised: 1 where a gradient by D's images was asked for.
        targets/sigmoid_twice: 1 where D ends in a sigmoid and its loss applies another one, 0 where it does not.
    """
    own = [one for one in asked if not one.has_graph] if of_d & of_g else asked
    real, fake = (list(pushes(own, kind, of_d)) for kind in ("real", "fake"))
    of_fakes = list(pushes([one for one in asked if one.has_graph], "fake", of_g))
    values = {
        f"targets/{name}": direction
        for name, pairs in (("D/real", real), ("D/fake", fake), ("G/fake", of_fakes))
        if (direction := _direction(pairs)) is not None
    }
    same = same_target(real, fake)
    if same is not None:
        values["targets/D/same"] = float(same)
    if same is False and (of_both := same_target(fake, of_fakes)) is not None:
        values["targets/G/same"] = float(of_both)
    apart = _difference(real, fake)
    if abs(apart) > APART:
        values["targets/direction"] = -1.0 if apart > 0 else 1.0
    if (linear := _is_linear(real, fake)) is not None:
        values["targets/linear"] = float(linear)
    values |= {"targets/penalised": 1.0} if any(one.is_penalised for one in asked) else {}
    of_sigmoids = [list(pushes([one for one in own if one.call.sigmoid], kind, of_d)) for kind in ("real", "fake")]
    twice = _is_sigmoid_twice(*(reversed(of_sigmoids) if apart > APART else of_sigmoids))
    return values if twice is None else values | {"targets/sigmoid_twice": float(twice)}


def passes_of_g(asked: list[Asked], reached: Collection[int], of_d: set[int]) -> tuple[set[int], set[int]]:
    """The backward passes that carry G's adversarial loss: those of it alone, and those of D's loss as well.

    Not that of a layer that reverses the gradient, in which fakes are pushed as D's loss asks, nor one that reaches
    no output of D's judgement, such as that of InfoGAN's codes.
    """
    alone, both = set[int](), set[int]()
    with_graph, without = ([one for one in asked if one.has_graph is wanted] for wanted in (True, False))
    for number in reached:
        of_fakes = list(pushes(with_graph, "fake", {number}))
        own = [list(pushes(without, kind, {number})) for kind in ("real", "fake")]
        if same_target(*own) is False:
            both |= {number} if same_target(of_fakes, own[0]) else set()
        elif same_target(of_fakes, list(pushes(without, "real", of_d - {number}))):
            alone.add(number)
    return alone, both


def pushes(asked: list[Asked], kind: str, passes: set[int]) -> Iterator[tuple[Tensor, Tensor]]:
    """(D's outputs, their gradients in these backward passes, times the number of images) on reals or on fakes."""
    for one in asked:
        rows = one.rows(kind)
        for number, head, gradient in one.call.gradients:
            if rows is not None and number in passes:
                part = gradient[rows]
                yield one.call.heads[head][rows].cpu(), (part * part.numel()).cpu()  # MPS has no float64


def _direction(pairs: Pairs) -> float | None:
    """-1 where all outputs are pushed up, 1 where all are pushed down; None without a push."""
    size = sum(float(push.double().abs().sum()) for _, push in pairs)
    return sum(float(push.double().sum()) for _, push in pairs) / size if size > 0 else None


def same_target(one: Pairs, other: Pairs) -> bool | None:
    """Whether two losses push D's outputs to the same target, whatever their scales; None if that is not clear.

    Least squares push an output that is below both targets up, whichever it is: lines tell where they end. All other
    losses in use push towards reals, or towards fakes, from everywhere.
    """
    lines = _line(one), _line(other)
    if lines[0] is not None and lines[1] is not None:
        (zero, error, far), (other_zero, other_error, other_far) = lines[0], lines[1]
        away, unsure = max(far, other_far), 3 * (error + other_error)
        if abs(zero - other_zero) > unsure + 0.02 * away:
            return False
        return True if unsure < 0.1 * away else None
    directions = _direction(one), _direction(other)
    if directions[0] is None or directions[1] is None or min(map(abs, directions)) < STRONG:  # type: ignore[arg-type]
        return None
    return directions[0] * directions[1] > 0


def _line(pairs: Pairs) -> tuple[float, float, float] | None:
    """(where it is 0, the error of that, how far the outputs are from there) of pushes that are a line of outputs."""
    if sum(output.numel() for output, _ in pairs) < 3:
        return None
    eps = max(torch.finfo(part.dtype).eps for pair in pairs for part in pair)
    outputs, values = (torch.cat([pair[i].double().flatten() for pair in pairs]) for i in (0, 1))
    mean, size = outputs.mean(), values.square().mean().sqrt()
    spread = (outputs - mean).square().mean().sqrt()
    slope = ((outputs - mean) * values).mean() / spread.square().clamp_min(1e-300)
    rest = (values - values.mean() - slope * (outputs - mean)).square().mean().sqrt()
    if rest > 16 * eps * size or slope * spread < 64 * eps * size:
        return None
    far = float((values.mean() / slope).abs() + spread)
    return float(mean - values.mean() / slope), float(16 * eps * far * (1 + far / spread)), far


def _difference(one: Pairs, other: Pairs) -> float:
    """How far apart two losses push equal outputs, over the mean push: by a·output + b, and c more in one."""
    if not one or not other:
        return 0.0
    outputs, values = (torch.cat([pair[i].double().flatten() for pair in (*one, *other)]) for i in (0, 1))
    which = torch.zeros_like(outputs)
    which[: sum(output.numel() for output, _ in one)] = 1
    terms = torch.stack([outputs, torch.ones_like(outputs), which], 1)
    if not bool(torch.isfinite(values).all()):
        return 0.0
    fitted = torch.linalg.lstsq(terms.cpu(), values[:, None].cpu(), driver="gelsd").solution
    return float(fitted[2, 0] / values.abs().mean().cpu().clamp_min(1e-300))


def _is_linear(real: Pairs, fake: Pairs) -> bool | None:
    """Whether all outputs are pushed with the same force, also beyond 1, where the hinge loss has no gradient.

    None where that is not clear: a small penalty on the outputs changes the force too.
    """
    pairs = [*real, *fake]
    force = torch.cat([push.abs().flatten() for _, push in pairs]) if real and fake else torch.zeros(1)
    pushed = force[force > 0]  # a penalty's call of D has pushes of 0
    if not len(pushed):
        return None
    if bool(pushed.min() < EVEN * pushed.max()):
        return False
    far = any(bool((output * push.sign() < -1).any()) for output, push in pairs)
    return True if far and bool(force.min() > 0.99 * force.max()) else None


def _is_sigmoid_twice(real: Pairs, fake: Pairs) -> bool | None:
    """Whether the gradients by D's probabilities are those of a cross-entropy that takes logits; None if unknown."""
    if not real or not fake:
        return None
    p_real, p_fake = (
        torch.cat([p.double().flatten() for p, _ in pairs]).clamp(1e-6, 1 - 1e-6) for pairs in (real, fake)
    )
    pushed = torch.cat([torch.cat([g.double().flatten() for _, g in pairs]) for pairs in (real, fake)])
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
