"""Checks of the user's own networks, objective and augmentation before the first round, by calls with a few images."""

import copy
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ganvas import user_code
from ganvas.config import TrainConfig
from ganvas.config.conflicts import has_single_images
from ganvas.config.custom import Custom
from ganvas.diagnosis.rules.remedies import with_penalties
from ganvas.errors import GanvasError, describe_value
from ganvas.game.augment import load_transform
from ganvas.game.objectives import Objective, zero_centred_penalty
from ganvas.networks import Discriminator, Generator, Shape
from ganvas.networks.custom import PlainDiscriminator, PlainGenerator, has_batch_norm
from ganvas.reading import is_number
from ganvas.training import distributed

N = 4
"""Images in a call."""

LEVELS = (-10.0, -1.0, 0.0, 1.0)
"""Logits near which the slope of a loss is measured: it may be 0, or have another sign, at some, but not at all."""

_FIRST_WEIGHTS = "correct its forward, or its first weights."

_RESHAPING = ("View", "Squeeze", "Unsqueeze", "Reshape", "Slice", "Select", "ToCopy", "Alias", "Clone", "Transpose")


def check_user_code(config: TrainConfig, G: Generator, D: Discriminator, objective: Objective, shape: Shape) -> None:
    """Checks what is the user's own. The networks stay as they are, and so do random numbers.

    Raises:
        GanvasError: something is wrong with it, or it does not go together with the rest of the configuration.
    """
    with torch.random.fork_rng(devices=[]):
        if isinstance(config.network, Custom):
            if user_code.is_spec(config.network.g):
                _check_generator(config.network.g, G, shape)
            if user_code.is_spec(config.network.d):
                _check_discriminator(config.network.d, D, shape)
            _check_normalisation_and_penalties(config, G, D, shape)
        if user_code.is_spec(config.loss.objective):
            _check_objective(config, objective)
        if user_code.is_spec(config.loss.augment):
            _check_augmentation(config, D, shape)


def work_in_channels_last(config: TrainConfig, G: Generator, D: Discriminator, shape: Shape) -> bool:
    """Whether the networks can have their memory in channels_last: not a user's own that flatten with `view`."""
    if not isinstance(config.network, Custom):
        return True
    with torch.random.fork_rng(devices=[]):
        z, labels, images = _inputs(G.latent, shape)
        images = images.contiguous(memory_format=torch.channels_last)
        try:
            for network, x in ((G, z), (D, D.d_input(images))):
                copy.deepcopy(network).to(memory_format=torch.channels_last)(x, labels)  # type: ignore[call-overload]
        except RuntimeError:
            return False
    return True


def _inputs(latent: int, shape: Shape) -> tuple[Tensor, Tensor | None, Tensor]:
    """Latents float32 [4 z], labels int64 [4] or None, images float32 [4 c h w] in [-1, 1]."""
    labels = torch.arange(N) % shape.classes if shape.classes else None
    return torch.randn(N, latent), labels, 2 * torch.rand(N, *shape[:3]) - 1


def _check_generator(spec: str, G: Generator, shape: Shape) -> None:
    who, (z, labels, _) = user_code.title(spec), _inputs(G.latent, shape)
    network, images = _call_network(spec, G, z, labels, "z float [n latent]", shape)
    expected = f"float images {[N, *shape[:3]]} for {N} latents: channels, height and width of the data"
    fix = "reshape them at the end: x.view(-1, *shape[:3])."
    _check_tensor(f"{who} gives", images, (N, *shape[:3]), expected, fix, _FIRST_WEIGHTS)
    if _ends_in_sigmoid(images):
        raise GanvasError(
            f"{who} ends in a sigmoid: its images are in [0, 1].",
            expected="images in [-1, 1], as D is shown real ones",
            fix="tanh at the end; or 2 * x - 1 after the sigmoid.",
        )
    _check_float32(who, G, images)
    _check_learning(spec, network, images)


def _check_discriminator(spec: str, D: Discriminator, shape: Shape) -> None:
    who, (_, labels, images) = user_code.title(spec), _inputs(1, shape)
    images.requires_grad_()
    network, logits = _call_network(spec, D, images * 1, labels, "images float [n c h w]", shape)
    if isinstance(logits, Tensor) and logits.numel() == N and isinstance(D, PlainDiscriminator):
        logits = logits.reshape(N)
    expected = f"float logits [{N}] or [{N}, 1] for {N} images, one number for each"
    fix = "average over patches: logits.mean((1, 2, 3)); of several numbers, return one."
    _check_tensor(f"{who} gives", logits, (N,), expected, fix, _FIRST_WEIGHTS)
    if _ends_in_sigmoid(logits):
        raise GanvasError(
            f"{who} ends in a sigmoid: it gives probabilities.",
            expected="logits, any numbers, larger for real; every objective computes probabilities itself",
            fix="leave the last sigmoid out.",
        )
    _check_float32(who, D, logits)
    _check_learning(spec, network, logits, images)
    if _gradients(spec, logits, [images])[0] is None:
        raise GanvasError(
            f"The logits of {who} do not depend on its images by a gradient.",
            expected="a D through which G learns",
            fix="compute with tensors, without NumPy, detach, no_grad or round.",
        )


def _call_network(
    spec: str, network: nn.Module, x: Tensor, labels: Tensor | None, takes: str, shape: Shape
) -> tuple[nn.Module, Any]:
    """A copy of the user's network, without adapter, and its output; checks whether it takes labels."""
    network = network.network if isinstance(network, PlainGenerator | PlainDiscriminator) else network
    arguments = (x,) if labels is None else (x, labels)
    try:
        inspect.signature(network.forward).bind(*arguments)
    except TypeError:
        labelled = "takes no labels, and --conditional gives it some" if labels is not None else "wants more arguments"
        raise GanvasError(
            f"The forward of {user_code.title(spec)} {labelled}.",
            expected=f"forward({takes}{', labels int64 [n]' if labels is not None else ''})",
            fix="add labels to forward, or train with --no-conditional."
            if labels is not None
            else "labels come with --conditional; without it, shape.classes is 0 and there are none.",
        ) from None
    fix = (
        f"the images are {shape.height}×{shape.width}×{shape.channels} (height, width, channels): take sizes from "
        "shape, or bring the images to yours: --resolution 28, --channels 1."
    )
    what = f"fails on {takes.split()[0]} {[*x.shape]}"
    with user_code.quote_errors(spec, what):
        network = copy.deepcopy(network)
    return network, _call(spec, what, network, *arguments, fix=fix)


def _call(spec: str, what: str, function: Callable[..., Any], *inputs: Tensor, fix: str = "correct the code.") -> Any:
    """What the user's code returns; it must not write to its inputs."""
    versions = [x._version for x in inputs]
    with user_code.quote_errors(spec, what, fix):
        output = function(*inputs)
    if versions != [x._version for x in inputs]:
        raise GanvasError(
            f"{user_code.title(spec)} changes its input in place.",
            expected="an input that stays as it is: others use it too",
            fix="clone first: x = x.clone(); or x = x + 1 for x += 1, nn.ReLU() for nn.ReLU(inplace=True).",
        )
    return output


def _check_tensor(who: str, value: Any, shape: tuple[int, ...], expected: str, fix: str, fix_nan: str) -> None:
    if not isinstance(value, Tensor):
        raise GanvasError(f"{who} a {type(value).__name__}.", expected=expected, fix="return the tensor alone.")
    found = f"{who} {str(value.dtype).removeprefix('torch.')} {[*value.shape]}."
    if not value.is_floating_point():
        raise GanvasError(found, expected=expected, fix="leave out what makes whole numbers of floats.")
    if value.shape != shape:
        raise GanvasError(found, expected=expected, fix=fix)
    if not torch.isfinite(value).all():
        raise GanvasError(f"{who} NaN or infinity.", expected=expected, fix=fix_nan)


def _check_float32(who: str, network: nn.Module, output: Tensor) -> None:
    """An adapter casts; a class derived from ours is used as it is."""
    if output.dtype != torch.float32 and not isinstance(network, PlainGenerator | PlainDiscriminator):
        raise GanvasError(f"{who} gives {output.dtype}.", expected="torch.float32", fix="output.float() at the end.")


def _check_learning(spec: str, network: nn.Module, output: Tensor, *inputs: Tensor) -> None:
    """Checks that a gradient of the output reaches the network's parameters, and nothing else that could learn."""
    who, parameters = user_code.title(spec), [p for p in network.parameters() if p.requires_grad]
    own = {id(tensor) for tensor in (*parameters, *inputs)}
    if hidden := [tensor for tensor in _leaves(output) if id(tensor) not in own]:
        raise GanvasError(
            f"{who} hides parameters from training: {len(hidden)} tensors, the first {[*hidden[0].shape]}.",
            expected="layers that are attributes of the module",
            fix="use nn.ModuleList or nn.ModuleDict for a list or dict of layers, nn.Parameter for a tensor.",
        )
    if not parameters:
        raise GanvasError(
            f"{who} has no parameters to train.",
            expected="layers that are attributes of the module",
            fix="make layers in __init__, as attributes; requires_grad_(False) freezes them.",
        )
    if not any(gradient is not None and gradient.any() for gradient in _gradients(spec, output, parameters)):
        raise GanvasError(
            f"{who} cannot learn: no gradient reaches its parameters.",
            expected="an output that depends on the parameters by PyTorch's functions",
            fix="compute with tensors, without NumPy, detach, no_grad or round; keep activations from saturating.",
        )


def _gradients(spec: str, output: Tensor, inputs: Sequence[Tensor]) -> Sequence[Tensor | None]:
    """The gradients of a random projection of the output; None for an input on which it does not depend."""
    if not output.requires_grad:
        return [None] * len(inputs)
    with user_code.quote_errors(spec, "fails when its gradient is computed"):
        projected = (output * torch.randn_like(output)).sum()
        return torch.autograd.grad(projected, inputs, allow_unused=True, retain_graph=True)


def _leaves(output: Tensor) -> list[Tensor]:
    """The tensors that training could change by the gradient of an output."""
    nodes, seen, leaves = [output.grad_fn], set[Any](), []
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaves += [leaf] if (leaf := getattr(node, "variable", None)) is not None else []
        nodes += [following for following, _ in node.next_functions]
    return leaves


def _ends_in_sigmoid(output: Tensor) -> bool:
    """Whether the graph of an output ends in a sigmoid or a softmax, whatever changes its shape afterwards."""
    node: Any = output.grad_fn
    while node is not None and any(name in node.name() for name in _RESHAPING) and node.next_functions:
        node = node.next_functions[0][0]
    return node is not None and node.name().startswith(("Sigmoid", "Softmax"))


def _check_normalisation_and_penalties(config: TrainConfig, G: Generator, D: Discriminator, shape: Shape) -> None:
    network = config.network
    assert isinstance(network, Custom)
    for part, spec in ((G, network.g), (D, network.d)):
        if has_batch_norm(part) and has_single_images(config.optimisation, distributed.world_size()):
            raise GanvasError(
                f"Batch norm in {user_code.title(spec)} with one image at a time.",
                expected="2 or more images at a time: batch norm normalises over the images of a batch",
                fix="another --batch or --microbatch.",
            )
    penalties = [name for name in ("r1", "r2", "gp", "dragan") if _is_ever_positive(config, name)]
    if has_batch_norm(D) and penalties:
        raise GanvasError(
            f"A gradient penalty (--{penalties[0]}) with batch norm in {user_code.title(network.d)}.",
            expected="a D whose logits are independent: with batch norm, the gradient of one logit reaches all images",
            fix=f"leave batch norm out, or {' '.join(f'--{name} 0' for name in penalties)}.",
        )
    corrected = with_penalties(config)
    if corrected.loss.penalised and user_code.is_spec(network.d):
        _, labels, images = _inputs(1, shape)
        images.requires_grad_()
        without = " ".join(f"--{name} 0" for name in penalties)
        if corrected != config:
            without = f"{without} --on-failure stop (a correction may penalise gradients)".strip()
        fix = f"layers that are differentiable twice, or {without}."
        with user_code.quote_errors(network.d, "fails in a gradient penalty", fix):
            zero_centred_penalty(images, copy.deepcopy(D)(images, labels)).sum().backward()


def _is_ever_positive(config: TrainConfig, name: str) -> bool:
    schedule = config.schedules()[name]
    return schedule.start > 0 or schedule.end > 0


def _check_objective(config: TrainConfig, objective: Objective) -> None:
    spec, loss = config.loss.objective, config.loss
    who = user_code.title(spec)
    expected = f"a loss for each image, float [{N}], not their mean; larger is worse"
    for name, function in (("d_loss", objective.d_loss), ("g_loss", objective.g_loss)):
        slopes = [_slope(spec, name, function, expected, level) for level in LEVELS]
        if not any(slopes):
            raise GanvasError(
                f"{name} of {who} does not depend on D's logits.",
                expected="a differentiable loss, with a gradient",
                fix="compute with tensors, without detach, no_grad, sign or round.",
            )
        if min(slopes) > 0:
            better = "on_real is larger and on_fake smaller" if name == "d_loss" else "on_fake is larger"
            raise GanvasError(
                f"{name} of {who} has the wrong sign.",
                expected=f"a loss that falls where {better}: logits are larger for real",
                fix="change its sign, or exchange on_real and on_fake.",
            )
        on_real, on_fake = torch.randn(2, N)
        values, other = (function(on_real + shift, on_fake) for shift in (0, 1))
        if name == "g_loss" and not objective.relative and not torch.equal(values, other):
            raise GanvasError(
                f"g_loss of {who} reads D's logits on reals, but relative is False.",
                expected="relative=True, so that G's loss is given them",
                fix="Objective(d_loss, g_loss, relative=True)",
            )
    if not is_number(objective.boundary):
        raise GanvasError(
            f"The boundary of {who} is {describe_value(objective.boundary)}.",
            expected="a number: the logit of a D that takes an image as likely for real as for fake",
        )
    if loss.ada_target > 0 and (objective.relative or objective.critic):
        raise GanvasError(
            f"--ada-target with {who}.",
            expected="an objective for which the sign of a logit indicates overfitting: no relative one, no critic's",
            fix="--augment-p 0..0.5 without --ada-target.",
        )
    if objective.critic and (config.balance.skip_d_below, config.balance.skip_g_below) != (None, None):
        raise GanvasError(
            f"--skip-d-below or --skip-g-below with {who}.",
            expected="a loss with a fixed zero; a critic's has none",
            fix="--d-steps and --g-steps, or --loss-change 1.",
        )


def _slope(spec: str, name: str, function: Callable[..., Tensor], expected: str, level: float) -> float:
    """How a loss changes where D rates reals higher and fakes lower, or for g_loss where it rates fakes higher.

    Reals and fakes have the same logits, near a level. Whatever the objective, the loss then falls or stays.
    """
    on_real, on_fake = (level + 0.1 * torch.randn(2, N)).unbind()
    on_real, on_fake = on_real.requires_grad_(), on_fake.requires_grad_()
    values = _call(spec, f"fails in {name} on logits [{N}], [{N}]", function, on_real * 1, on_fake * 1)
    nan = "keep it finite for all logits: log(σ(x)) is F.logsigmoid(x), and divisions need an ε."
    fix = 'leave its mean out: reduction="none".'
    _check_tensor(f"{name} of {user_code.title(spec)} gives", values, (N,), expected, fix, nan)
    if not values.requires_grad:
        return 0.0
    with user_code.quote_errors(spec, f"fails in {name} when its gradient is computed"):
        real, fake = torch.autograd.grad(values.sum(), (on_real, on_fake), allow_unused=True)
    rise, fall = (0.0 if slope is None else float(slope.sum()) for slope in (real, fake))
    return rise - fall if name == "d_loss" else fall


def _check_augmentation(config: TrainConfig, D: Discriminator, shape: Shape) -> None:
    spec = config.loss.augment
    transform, who = load_transform(spec), user_code.title(spec)
    images = _inputs(1, shape)[2].requires_grad_()
    changed = _call(spec, f"fails on images {[*images.shape]}", transform, images * 1)
    expected = f"float images {[*images.shape]}, the shape of its input"
    fix, nan = "crop and pad to the size of the input.", "keep it finite for images in [-1, 1]."
    _check_tensor(f"{who} gives", changed, (N, *shape[:3]), expected, fix, nan)
    _check_float32(who, nn.Identity(), changed)
    (gradient,) = _gradients(spec, changed, [images])
    if gradient is None or not gradient.any():
        raise GanvasError(
            f"{who} is not differentiable.",
            expected="images that depend on the input by PyTorch's functions: G learns through them",
            fix="compute with tensors, without NumPy, PIL, detach, no_grad or round.",
        )
    growth = config.schedules().get("growth")
    if growth is not None and min(growth.ends) < 1:
        smallest = copy.deepcopy(D)
        smallest.grow(min(growth.ends))
        images = smallest.d_input(images.detach())
        fix = "let it take images of any size, or --growth 1: networks that grow begin with small images."
        changed = _call(spec, f"fails on images {[*images.shape]}", transform, images, fix=fix)
        expected = f"float images {[*images.shape]}, the shape of its input"
        _check_tensor(f"{who} gives", changed, tuple(images.shape), expected, fix, nan)
