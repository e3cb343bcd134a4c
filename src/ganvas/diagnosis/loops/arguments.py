"""The arguments of `ganvas.watch` and `probe.step`: what is wrong with one is told at the call, by its name."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from ganvas.diagnosis.loops.keras_models import KerasModule, is_keras
from ganvas.errors import GanvasError, describe_value

Network = nn.Module | Any
"""A module, or a model of Keras 3."""

Images = Tensor | Any
"""A tensor of PyTorch or TensorFlow, or an array of NumPy; of a Keras D with several inputs a list of them."""

Loss = Tensor | float | Any
"""A number, or what `train_on_batch` returns."""

IMAGES = "float [n …], one row an image"

STACK = "stack the images, as D receives them: torch.stack([image for image, *_ in dataset]), or torch.stack(list)"

FEW = 16
"""With fewer images in a batch nothing is said of their range."""


def check_networks(G: Any, D: Any) -> tuple[nn.Module, list[nn.Module]]:
    """G, and the discriminators that D is or holds; models of Keras as modules.

    Raises:
        GanvasError: one of them is no module, or there is no D.
    """
    listed = list(D.values()) if isinstance(D, Mapping | nn.ModuleDict) else D
    several = list(listed) if isinstance(listed, Sequence | nn.ModuleList) else [listed]
    if not several:
        raise GanvasError("D is empty.", expected="a discriminator, or a list of several")
    for name, network in (("G", G), *(("D", one) for one in several)):
        if not isinstance(network, nn.Module) and not is_keras(network):
            kind = network.__name__ + ", a class" if isinstance(network, type) else f"a {type(network).__name__}"
            raise GanvasError(f"{name} is {kind}.", expected="a torch.nn.Module, or a model of Keras 3")
    if len({id(network) for network in (G, *several)}) <= len(several):
        raise GanvasError(
            "The same network is given twice.", expected="the generator, then the discriminator: ganvas.watch(G, D)"
        )
    G, *several = (KerasModule(network) if is_keras(network) else network for network in (G, *several))
    return G, several


def as_images(name: str, images: Any) -> Tensor:
    """Images as a tensor; arrays of NumPy and tensors of TensorFlow are taken too.

    Raises:
        GanvasError: they are something else, or not numbers with a row for each image.
    """
    if hasattr(images, "numpy") and not isinstance(images, Tensor):  # a tensor of TensorFlow
        images = images.numpy()
    if isinstance(images, np.ndarray) and images.dtype.kind in "fiub":
        images = torch.from_numpy(np.ascontiguousarray(images))
    if not isinstance(images, Tensor):
        what = f"a {type(images).__name__}" + (f" of {images.dtype}" if isinstance(images, np.ndarray) else "")
        listed = isinstance(images, list | tuple | DataLoader | Dataset)
        raise GanvasError(f"`{name}` is {what}.", expected=f"a tensor, {IMAGES}", fix=STACK if listed else "")
    if images.dim() == 0:
        raise GanvasError(f"`{name}` is a single number.", expected=IMAGES)
    if images.is_complex() or images.layout != torch.strided:
        kind = images.dtype if images.is_complex() else images.layout
        raise GanvasError(f"`{name}` is a tensor of {kind}.", expected=f"real numbers, dense, {IMAGES}")
    return images


def check_data(data: Any, labels: Any, held_out: Any) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """The training images, their classes and the held-out images as tensors.

    Raises:
        GanvasError: not one label an image, or images of different shapes.
    """
    given = {"data": data, "held_out": held_out}
    images = {name: None if value is None else as_images(name, value) for name, value in given.items()}
    data, held_out = images["data"], images["held_out"]
    labels = None if labels is None else as_images("labels", labels)
    if labels is not None and (data is None or labels.dim() != 1):
        raise GanvasError(
            "There are labels without images." if data is None else f"`labels` are {tuple(labels.shape)}.",
            expected="`data`, and the number of a class for each of its images",
        )
    if labels is not None and labels.is_floating_point():
        raise GanvasError(f"`labels` are {labels.dtype}.", expected="the number of a class for each image, int64 [n]")
    if data is not None and labels is not None and len(data) != len(labels):
        raise GanvasError(
            f"There are {len(data)} images in `data` and {len(labels)} labels.", expected="one label an image"
        )
    for name, of in images.items():
        if of is not None and not len(of):
            raise GanvasError(f"`{name}` holds no image.", expected=f"at least one, or no `{name}` at all")
    if data is not None and held_out is not None and data.shape[1:] != held_out.shape[1:]:
        raise GanvasError(
            f"Images in `data` are {tuple(data.shape[1:])}, in `held_out` {tuple(held_out.shape[1:])}.",
            expected="the same shape, as D receives them",
        )
    return data, labels, held_out


def check_batch(real: Any, fake: Any) -> tuple[Tensor, Tensor]:
    """The images of a round.

    Raises:
        GanvasError: reals and fakes are of different shapes, or on different devices.
    """
    real, fake = as_images("real", real), as_images("fake", fake)
    if real.shape[1:] != fake.shape[1:]:
        raise GanvasError(
            f"Real images are {tuple(real.shape[1:])} and fakes {tuple(fake.shape[1:])}.",
            expected="D's inputs, of one size",
        )
    if real.device != fake.device:
        raise GanvasError(
            f"`real` is on {real.device} and `fake` on {fake.device}.",
            expected="both as D receives them, on one device",
        )
    return real, fake


def check_alike(data: Tensor, real: Tensor) -> None:
    """Whether the reals of the first round are some of the training images, by their shape and range.

    Raises:
        GanvasError: they are not.
    """
    if data.shape[1:] != real.shape[1:]:
        raise GanvasError(
            f"Images in `data` are {tuple(data.shape[1:])}, in `real` {tuple(real.shape[1:])}.",
            expected="the same shape: `data` as D receives it",
        )
    if len(real) < FEW:
        return
    known, shown = (images.detach()[:: max(1, len(images) // 256)].float().cpu() for images in (data, real))
    (low, high), (first, last) = ((float(of.amin()), float(of.amax())) for of in (known, shown))
    slack = 0.25 * (high - low)
    outside = ((shown < low - slack) | (shown > high + slack)).float().mean()
    unseen = ((known < first - 0.1 * (last - first)) | (known > last + 0.1 * (last - first))).float().mean()
    if max(outside, unseen) > 0.2 and high > low and last > first:
        raise GanvasError(
            f"`data` lies in [{low:.3g}, {high:.3g}], and `real` in [{first:.3g}, {last:.3g}].",
            expected="the same range: `data` as D receives it",
        )


def as_loss(name: str, loss: Any) -> Tensor:
    """A loss of a round, without its graph: the mean of its values; of what Keras returns, loss and metrics, the loss.

    Raises:
        GanvasError: it is no number.
    """
    if isinstance(loss, Tensor) and not loss.is_complex() and loss.numel():
        return loss.detach().float().mean()
    try:
        if isinstance(loss, Mapping):
            loss = loss["loss"]
        return torch.tensor(float(loss[0] if isinstance(loss, list | tuple) or np.ndim(loss) == 1 else loss))
    except (TypeError, ValueError, LookupError, OverflowError, RuntimeError) as error:
        kind = f"a {type(loss).__name__}" + (" without values" if isinstance(loss, Tensor) else "")
        raise GanvasError(f"`{name}` is {kind}.", expected="the loss of this round, a number") from error


def check_settings(every: Any, critic: Any, logits: Any, report: Any) -> None:
    """The other arguments of `ganvas.watch`.

    Raises:
        GanvasError: one is of another kind.
    """
    whole = isinstance(every, int) and not isinstance(every, bool)
    if every is not None and (not whole or every < 1):
        raise GanvasError(f"every is {describe_value(every)}.", expected="a whole number of steps from 1 on")
    if critic is not None and not isinstance(critic, bool):
        raise GanvasError(
            f"critic is {describe_value(critic)}.",
            expected="True for a Wasserstein loss, or False; by default it is inferred",
        )
    if report is not None and not callable(report):
        raise GanvasError(f"report is {describe_value(report)}.", expected="a function that receives text, or None")
    if logits is not None and not callable(logits):
        raise GanvasError(
            f"logits is {describe_value(logits)}.", expected="a function: D's output -> its judgement of each image"
        )
