"""A callback for the `fit` of a Keras model whose `train_step` updates G and D."""

import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganvas.diagnosis.logs.names import translate
from ganvas.diagnosis.loops.arguments import as_loss
from ganvas.diagnosis.loops.keras_models import KerasModule
from ganvas.diagnosis.loops.observed import MAX_IMAGES
from ganvas.diagnosis.signals.networks import preserve_state
from ganvas.errors import GanvasError

Latents = int | Callable[[int], Any]
"""The size of z, or n -> the input of G for n images: an array, or a list of several."""


class FitSampler:
    """Reals and fakes for a probe: `fit` does not show those of its steps.

    Args:
        data: the training images, float [m …].
        labels: their classes, int64 [m], for a D that receives them.

    Raises:
        GanvasError: there is no data, or `latents` is something else.
    """

    def __init__(self, G: Any, D: Any, data: Tensor | None, labels: Tensor | None, latents: Latents) -> None:
        if not isinstance(G, KerasModule) or not isinstance(D, KerasModule):
            raise GanvasError("The callback is for `fit` of Keras.", expected="G and D, models of Keras 3")
        if data is None:
            raise GanvasError("The callback needs reals.", expected="ganvas.watch(G, D, data=images)")
        if not callable(latents) and not (isinstance(latents, int) and latents > 0):
            raise GanvasError(f"`latents` is {latents!r}.", expected="the size of z, or a function: n -> G's input")
        shape = getattr(G.model, "input_shape", None)
        if isinstance(latents, int) and isinstance(shape, tuple) and shape[1:] not in ((latents,), (None,)):
            raise GanvasError(f"`latents` is {latents}, and G's input has the shape {shape}.", expected=f"{shape[1:]}")
        self._G, self._D, self._data, self._labels, self._latents = G, D, data, labels, latents
        self._random = np.random.default_rng(0)

    def __call__(self) -> tuple[list[Tensor], list[Tensor]]:
        """(inputs of D with reals, inputs of D with fakes): images, and where D has more inputs the labels."""
        G, n = self._G, min(MAX_IMAGES, len(self._data))
        with preserve_state(G), G.unchanged(), torch.no_grad():
            drawn = self._random.normal(size=(n, self._latents)) if isinstance(self._latents, int) else self._latents(n)
            inputs = [G.as_input(value) for value in (drawn if isinstance(drawn, list | tuple) else [drawn])]
            fake = G(*inputs, listed=len(inputs) > 1)
        rows = torch.from_numpy(self._random.permutation(len(self._data))[:n])
        reals, fakes = [self._data[rows]], [fake]
        if len(inputs) > 1 and self._labels is not None and len(getattr(self._D.model, "inputs", None) or [0]) > 1:
            fakes.append(inputs[1])
            reals.append(_labels_like(inputs[1], self._labels[rows]))
        return reals, fakes


def _labels_like(given: Tensor, labels: Tensor) -> Tensor:
    """Classes in the form of others: int64 [n], or [n 1], or one-hot [n k]."""
    if given.dim() == 2 and given.shape[1] > 1:
        return torch.nn.functional.one_hot(labels, given.shape[1]).to(given)
    return labels.reshape(-1, *given.shape[1:]).to(given)


def losses_in(logs: Mapping[str, Any]) -> dict[str, Tensor]:
    """{"D/loss", "G/loss": value} of what a `train_step` returns, by the usual names."""
    known = {name: translate(name) for name in logs}
    return {own: as_loss(name, logs[name]) for name, own in known.items() if own in ("D/loss", "G/loss")}


def fit_callback(end_step: Callable[[int | None, Mapping[str, Any]], None]) -> Any:
    """A `keras.callbacks.Callback`.

    Args:
        end_step: receives (steps of an epoch, if they are known, logs) at the end of each training step.
    """
    keras: Any = sys.modules["keras"]

    class WatchCallback(keras.callbacks.Callback):
        """Counts the steps of `fit`, and probes some of them."""

        def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
            end_step((self.params or {}).get("steps"), logs or {})

    return WatchCallback()
