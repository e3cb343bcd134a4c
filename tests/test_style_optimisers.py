"""Optimisers of style transfer on objectives with known minima."""

from collections.abc import Callable

import torch
from torch import Tensor

from ganvas.style.objective import LossValue
from ganvas.style.optimisers import AveragedAdam, BoundedLBFGS
from ganvas.style.options import resolve_options

SIZE = (1, 3, 8, 8)


class Quadratic:
    """½ Σ k (x − x̂)² with curvatures k from 1 to 100: between bounds its minimum is x̂, clamped."""

    def __init__(self) -> None:
        draw = torch.Generator().manual_seed(1)
        self.minimum = 1.5 * torch.randn(SIZE, generator=draw)
        self.curvature = 10 ** (2 * torch.rand(SIZE, generator=draw))
        self.images: list[Tensor] = []

    def __call__(self, image: Tensor) -> LossValue:
        self.images.append(image.detach().clone())
        offset = image.detach() - self.minimum
        return LossValue(float((self.curvature * offset**2).sum() / 2), 0.0, 0.0, 0.0, self.curvature * offset)


def minimise(
    optimiser: BoundedLBFGS | AveragedAdam, objective: Callable[[Tensor], LossValue], count: int
) -> tuple[list[float], Tensor]:
    steps = list(optimiser.minimise(objective, torch.zeros(SIZE), count))  # type: ignore[arg-type]
    return [value.loss for value, _ in steps], steps[-1][1]


def test_bounded_lbfgs_finds_the_minimum_between_the_bounds() -> None:
    quadratic = Quadratic()
    losses, image = minimise(BoundedLBFGS(resolve_options(None, {})), quadratic, 100)
    torch.testing.assert_close(image, quadratic.minimum.clamp(-1, 1), rtol=0, atol=1e-2)
    assert len(losses) == len(quadratic.images) == 100  # one evaluation a step
    assert max(image.abs().max() for image in quadratic.images) <= 1


def test_bounded_lbfgs_converges_faster_than_lbfgs_with_clamping() -> None:
    quadratic = Quadratic()
    least = float(quadratic(quadratic.minimum.clamp(-1, 1)).loss)
    ours, _ = minimise(BoundedLBFGS(resolve_options(None, {})), quadratic, 60)
    image = torch.zeros(SIZE, requires_grad=True)
    plain, theirs = torch.optim.LBFGS([image], 1.0, max_iter=1, history_size=10), []
    for _ in range(60):

        def closure() -> float:
            value = quadratic(image)
            image.grad = value.gradient
            theirs.append(value.loss)
            return value.loss

        plain.step(closure)
        with torch.no_grad():
            image.clamp_(-1, 1)
    assert ours[-1] - least < 0.1 * (min(theirs) - least)


def test_bounded_lbfgs_restarts_from_its_best_image() -> None:
    quadratic = Quadratic()

    def with_one_wrong_value(image: Tensor) -> LossValue:
        value = quadratic(image)
        return LossValue(1e6, 0.0, 0.0, 0.0, -1e6 * value.gradient) if len(quadratic.images) == 20 else value

    losses, image = minimise(BoundedLBFGS(resolve_options(None, {})), with_one_wrong_value, 100)
    best = min(range(19), key=losses.__getitem__)
    torch.testing.assert_close(quadratic.images[20], quadratic.images[best])
    torch.testing.assert_close(image, quadratic.minimum.clamp(-1, 1), rtol=0, atol=1e-2)


def test_bounded_lbfgs_stays_where_the_gradient_is_0() -> None:
    losses, image = minimise(
        BoundedLBFGS(resolve_options(None, {})), lambda x: LossValue(1.0, 0.0, 0.0, 0.0, torch.zeros_like(x)), 3
    )
    assert losses == [1.0] * 3
    assert not image.any()


def test_result_of_adam_is_the_weighted_mean_of_the_newest_images() -> None:
    quadratic = Quadratic()
    _, last = minimise(AveragedAdam(resolve_options(None, {"optimiser": "adam", "average": 0})), quadratic, 10)
    quadratic(last)
    again = Quadratic()
    _, mean = minimise(AveragedAdam(resolve_options(None, {"optimiser": "adam", "average": 1})), again, 10)
    images = [*again.images[1:], last]
    share = 0.1
    weights = [share * (1 - share) ** (9 - i) for i in range(10)]
    expected = sum(w * image for w, image in zip(weights, images, strict=True)) / sum(weights)
    torch.testing.assert_close(mean, expected)


def test_step_length_of_adam_does_not_depend_on_the_scale() -> None:
    def mean_of_pixels(image: Tensor) -> LossValue:
        gradient = torch.full_like(image, 1 / image[0, 0].numel())
        return LossValue(0.0, 0.0, 0.0, 0.0, gradient)

    adam = AveragedAdam(resolve_options(None, {"optimiser": "adam", "average": 0, "lr": 0.001}))
    list(adam.minimise(mean_of_pixels, torch.zeros(1, 3, 8, 8), 50))  # type: ignore[arg-type]
    large = torch.zeros(1, 3, 16, 16)
    _, image = next(iter(adam.minimise(mean_of_pixels, large, 50)))  # type: ignore[arg-type]
    torch.testing.assert_close(image, torch.full_like(large, -0.001), rtol=1e-3, atol=0)
