"""Descents against minima that are known in closed form."""

from collections.abc import Callable

import torch
from torch import Tensor

from ganvas.style.objective import LossValue
from ganvas.style.optimisers import AveragedAdam, BoundedLBFGS
from ganvas.style.options import resolve_options

SIZE = (1, 3, 8, 8)


class Bowl:
    """½ Σ k (x − x̂)² with curvatures k from 1 to 100: between bounds its minimum is x̂, clamped."""

    def __init__(self) -> None:
        draw = torch.Generator().manual_seed(1)
        self.bottom = 1.5 * torch.randn(SIZE, generator=draw)
        self.curvature = 10 ** (2 * torch.rand(SIZE, generator=draw))
        self.seen: list[Tensor] = []

    def __call__(self, image: Tensor) -> LossValue:
        self.seen.append(image.detach().clone())
        away = image.detach() - self.bottom
        return LossValue(float((self.curvature * away**2).sum() / 2), 0.0, 0.0, 0.0, self.curvature * away)


def ended(
    descent: BoundedLBFGS | AveragedAdam, goal: Callable[[Tensor], LossValue], count: int
) -> tuple[list[float], Tensor]:
    way = list(descent.minimise(goal, torch.zeros(SIZE), count))  # type: ignore[arg-type]
    return [value.loss for value, _ in way], way[-1][1]


def test_bounded_lbfgs_finds_the_minimum_between_the_bounds() -> None:
    bowl = Bowl()
    losses, image = ended(BoundedLBFGS(resolve_options(None, {})), bowl, 100)
    torch.testing.assert_close(image, bowl.bottom.clamp(-1, 1), rtol=0, atol=1e-2)
    assert len(losses) == len(bowl.seen) == 100  # one evaluation a step
    assert max(picture.abs().max() for picture in bowl.seen) <= 1


def test_it_needs_fewer_steps_than_where_clamping_is_not_told() -> None:
    bowl = Bowl()
    least = float(bowl(bowl.bottom.clamp(-1, 1)).loss)
    ours, _ = ended(BoundedLBFGS(resolve_options(None, {})), bowl, 60)
    image = torch.zeros(SIZE, requires_grad=True)
    plain, theirs = torch.optim.LBFGS([image], 1.0, max_iter=1, history_size=10), []
    for _ in range(60):

        def closure() -> float:
            value = bowl(image)
            image.grad = value.gradient
            theirs.append(value.loss)
            return value.loss

        plain.step(closure)
        with torch.no_grad():
            image.clamp_(-1, 1)
    assert ours[-1] - least < 0.1 * (min(theirs) - least)


def test_lbfgs_gone_astray_begins_anew_where_it_was_best() -> None:
    bowl = Bowl()

    def treacherous(image: Tensor) -> LossValue:
        value = bowl(image)
        return LossValue(1e6, 0.0, 0.0, 0.0, -1e6 * value.gradient) if len(bowl.seen) == 20 else value

    losses, image = ended(BoundedLBFGS(resolve_options(None, {})), treacherous, 100)
    best = min(range(19), key=losses.__getitem__)
    torch.testing.assert_close(bowl.seen[20], bowl.seen[best])
    torch.testing.assert_close(image, bowl.bottom.clamp(-1, 1), rtol=0, atol=1e-2)


def test_adams_result_is_the_mean_of_the_newest_pictures_and_without_averaging_the_last() -> None:
    bowl = Bowl()
    _, last = ended(AveragedAdam(resolve_options(None, {"optimiser": "adam", "average": 0})), bowl, 10)
    bowl(last)
    again = Bowl()
    _, mean = ended(AveragedAdam(resolve_options(None, {"optimiser": "adam", "average": 1})), again, 10)
    pictures = [*again.seen[1:], last]
    share = 0.1
    weights = [share * (1 - share) ** (9 - i) for i in range(10)]
    wanted = sum(w * picture for w, picture in zip(weights, pictures, strict=True)) / sum(weights)
    torch.testing.assert_close(mean, wanted)


def test_adam_steps_as_far_at_the_next_scale_where_every_pixels_slope_is_a_quarter() -> None:
    def slope(image: Tensor) -> LossValue:
        part = torch.full_like(image, 1 / image[0, 0].numel())
        return LossValue(0.0, 0.0, 0.0, 0.0, part)

    adam = AveragedAdam(resolve_options(None, {"optimiser": "adam", "average": 0, "lr": 0.001}))
    list(adam.minimise(slope, torch.zeros(1, 3, 8, 8), 50))  # type: ignore[arg-type]
    large = torch.zeros(1, 3, 16, 16)
    _, image = next(iter(adam.minimise(slope, large, 50)))  # type: ignore[arg-type]
    torch.testing.assert_close(image, torch.full_like(large, -0.001), rtol=1e-3, atol=0)
