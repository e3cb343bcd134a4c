"""Checks of the user's own networks, objective and augmentation before the first round, by calls with a few images."""

import copy
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ganvas import user_code
from ganvas.config import TrainConfig
from ganvas.config.families import Custom
from ganvas.errors import GanvasError
from ganvas.game.augment import load_transform
from ganvas.game.objectives import Objective
from ganvas.networks import Discriminator, Generator, Shape
from ganvas.networks.custom import has_batch_norm
from ganvas.training import distributed

N = 4
"""Images in a call."""

_RESHAPING = ("View", "Squeeze", "Unsqueeze", "Reshape", "Slice", "Select", "ToCopy", "Alias", "Clone", "Transpose")


def check_user_code(config: TrainConfig, G: Generator, D: Discriminator, objective: Objective, shape: Shape) -> None:
    """Checks what is the user's own. The networks stay as they are, and so do random numbers.

    Raises:
        GanvasError: something is wrong with it, or it does not go together with the rest of the configuration.
    """
    with torch.random.fork_rng(devices=[]):
        if isinstance(config.network, Custom):
            _check_generator(config.network.g, G, shape)
            _check_discriminator(config.network.d, D, shape)
            _check_batch_norm(config, G, D)
        if user_code.is_spec(config.loss.objective):
            _check_objective(config, objective)
        if user_code.is_spec(config.loss.augment):
            _check_augmentation(config.loss.augment, shape)


def work_in_channels_last(config: TrainConfig, G: Generator, D: Discriminator, shape: Shape) -> bool:
    """Whether the networks can have their memory in channels_last: not a user's own that flatten with `view`."""
    if not isinstance(config.network, Custom):
        return True
    with torch.random.fork_rng(devices=[]):
        z, labels, images = _inputs(G.latent, shape)
        try:
            for network, x in ((G, z), (D, images.contiguous(memory_format=torch.channels_last))):
                copy.deepcopy(network).to(memory_format=torch.channels_last)(x, labels)  # type: ignore[call-overload]
        except RuntimeError:
            return False
    return True


def _inputs(latent: int, shape: Shape) -> tuple[Tensor, Tensor | None, Tensor]:
    """Latents float32 [4 z], labels int64 [4] or None, images float32 [4 c h w] in [-1, 1]."""
    labels = torch.arange(N) % shape.classes if shape.classes else None
    return torch.randn(N, latent), labels, 2 * torch.rand(N, *shape[:3]) - 1


def _check_generator(spec: str, G: Generator, shape: Shape) -> None:
    z, labels, _ = _inputs(G.latent, shape)
    images = _check_call(spec, G, z, labels, "z float [n latent]")
    expected = f"float images {[N, *shape[:3]]} for {N} latents: channels, height and width of the data"
    _check_tensor(f"{spec} gives", images, (N, *shape[:3]), expected)
    if user_code.is_spec(spec) and _ends_in_sigmoid(images):
        raise GanvasError(
            f"{spec} ends in a sigmoid: its images are in [0, 1].",
            expected="images in [-1, 1], as D is shown real ones",
            fix="tanh at the end; or 2 * x - 1 after the sigmoid.",
        )


def _check_discriminator(spec: str, D: Discriminator, shape: Shape) -> None:
    _, labels, images = _inputs(1, shape)
    plain = getattr(D, "network", D)
    logits = _check_call(spec, D if plain is D else plain, images, labels, "images float [n c h w]")
    if isinstance(logits, Tensor) and logits.numel() == N and plain is not D:
        logits = logits.reshape(N)
    _check_tensor(f"{spec} gives", logits, (N,), f"float logits [{N}] or [{N}, 1] for {N} images, one number for each")
    if _ends_in_sigmoid(logits):
        raise GanvasError(
            f"{spec} ends in a sigmoid: it gives probabilities.",
            expected="logits, any numbers, larger for real; every objective computes probabilities itself",
            fix="leave the last sigmoid out.",
        )


def _check_call(spec: str, network: nn.Module, x: Tensor, labels: Tensor | None, takes: str) -> Any:
    """The output of a copy of the network; checks its parameters, and whether it takes labels."""
    if not any(p.requires_grad for p in network.parameters()):
        raise GanvasError(
            f"{spec} has no parameters to train.",
            expected="layers that are attributes of the module",
            fix="call super().__init__() first, and keep layers in nn.Sequential or nn.ModuleList, not in a list.",
        )
    arguments = (x,) if labels is None else (x, labels)
    forward = getattr(network, "network", network).forward
    try:
        inspect.signature(forward).bind(*arguments)
    except TypeError:
        labelled = "takes no labels, and --conditional gives it some" if labels is not None else "wants more arguments"
        raise GanvasError(
            f"The forward of {spec} {labelled}.",
            expected=f"forward({takes}{', labels int64 [n]' if labels is not None else ''})",
            fix="add labels to forward, or train with --no-conditional."
            if labels is not None
            else "labels come with --conditional; without it, shape.classes is 0 and there are none.",
        ) from None
    with user_code.quote_errors(spec, f"{user_code.parse(spec).name} fails on {takes.split()[0]} {[*x.shape]}"):
        return copy.deepcopy(network)(*arguments)


def _check_tensor(who: str, value: Any, shape: tuple[int, ...], expected: str) -> None:
    if not isinstance(value, Tensor):
        raise GanvasError(f"{who} a {type(value).__name__}.", expected=expected)
    if value.shape != shape or not value.is_floating_point():
        raise GanvasError(f"{who} {str(value.dtype).removeprefix('torch.')} {[*value.shape]}.", expected=expected)
    if not torch.isfinite(value).all():
        raise GanvasError(
            f"{who} NaN or infinity.", expected=expected, fix="correct its forward, or its first weights."
        )


def _ends_in_sigmoid(output: Tensor) -> bool:
    """Whether the graph of an output ends in a sigmoid or a softmax, whatever changes its shape afterwards."""
    node: Any = output.grad_fn
    while node is not None and any(name in node.name() for name in _RESHAPING) and node.next_functions:
        node = node.next_functions[0][0]
    return node is not None and node.name().startswith(("Sigmoid", "Softmax"))


def _check_batch_norm(config: TrainConfig, G: Generator, D: Discriminator) -> None:
    network, optimisation = config.network, config.optimisation
    assert isinstance(network, Custom)
    share = optimisation.batch // distributed.world_size()
    if has_batch_norm(G) and min(share, optimisation.microbatch or share) < 2:
        raise GanvasError(
            f"Batch norm in {network.g} with one image at a time.",
            expected="2 or more images at a time: batch norm normalises over the images of a batch",
            fix="a larger --batch.",
        )
    penalties = [name for name in ("r1", "r2", "gp", "dragan") if _is_ever_positive(config, name)]
    if has_batch_norm(D) and penalties:
        raise GanvasError(
            f"A gradient penalty (--{penalties[0]}) with batch norm in {network.d}.",
            expected="a D whose logits are independent: with batch norm, the gradient of one logit reaches all images",
            fix=f"leave batch norm out, or {' '.join(f'--{name} 0' for name in penalties)}.",
        )


def _is_ever_positive(config: TrainConfig, name: str) -> bool:
    schedule = config.schedules()[name]
    return schedule.start > 0 or schedule.end > 0


def _check_objective(config: TrainConfig, objective: Objective) -> None:
    spec, loss = config.loss.objective, config.loss
    expected = f"a loss for each image, float [{N}], not their mean; larger is worse"
    for name, function in (("d_loss", objective.d_loss), ("g_loss", objective.g_loss)):
        on_real, on_fake = (torch.randn(N).requires_grad_() for _ in "rf")
        values = _call_loss(spec, name, function, on_real, on_fake)
        _check_tensor(f"{name} of {spec} gives", values, (N,), expected)
        if not values.requires_grad:
            raise GanvasError(f"{name} of {spec} does not depend on D's logits.", expected="a differentiable loss")
        other = _call_loss(spec, name, function, on_real + 1, on_fake)
        if name == "g_loss" and not objective.relative and not torch.equal(values, other):
            raise GanvasError(
                f"g_loss of {spec} reads D's logits on reals, but relative is False.",
                expected="relative=True, so that G's loss is given them",
                fix="Objective(d_loss, g_loss, relative=True)",
            )
    if loss.ada_target > 0 and (objective.relative or objective.critic):
        raise GanvasError(
            f"--ada-target with {spec}.",
            expected="an objective for which the sign of a logit indicates overfitting: no relative one, no critic's",
            fix="--augment-p 0..0.5 without --ada-target.",
        )
    if objective.critic and (config.balance.skip_d_below, config.balance.skip_g_below) != (None, None):
        raise GanvasError(
            f"--skip-d-below or --skip-g-below with {spec}.",
            expected="a loss with a fixed zero; a critic's has none",
            fix="--d-steps and --g-steps, or --loss-change 1.",
        )


def _call_loss(spec: str, name: str, function: Callable[..., Tensor], on_real: Tensor, on_fake: Tensor) -> Tensor:
    with user_code.quote_errors(spec, f"{name} fails on logits [{N}], [{N}]"):
        return function(on_real, on_fake)


def _check_augmentation(spec: str, shape: Shape) -> None:
    transform = load_transform(spec)
    images = _inputs(1, shape)[2].requires_grad_()
    with user_code.quote_errors(spec, f"it fails on images {[*images.shape]}"):
        changed = transform(images)
    _check_tensor(f"{spec} gives", changed, (N, *shape[:3]), f"float images {[*images.shape]}, the shape of its input")
    if not changed.requires_grad:
        raise GanvasError(
            f"{spec} is not differentiable.",
            expected="images that depend on the input by PyTorch's functions: G learns through them",
            fix="compute with tensors, without NumPy, PIL, detach or no_grad.",
        )
