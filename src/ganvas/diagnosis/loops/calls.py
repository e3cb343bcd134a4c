"""How other people's networks are called: the arguments and outputs of each call, and the same call repeated."""

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from ganvas.diagnosis.loops.keras_models import KerasModule
from ganvas.diagnosis.signals import networks as signals

AUTOCAST_DEVICES = ("cpu", "cuda", "mps", "xpu")


@dataclass(eq=False)
class Call:
    """One call of a network.

    Attributes:
        args, kwargs: its arguments, by position and by name.
        network: what was called.
        training: whether it was in training mode.
        autocast: {type of device: the dtype} of autocast where it was enabled.
        heads: D's logits in what it returned, float [n …] each, without their graph; of G its images.
        sigmoid: whether a sigmoid was the last operation on them.
        softmax: whether a softmax was, or its logarithm.
        gradients: (number of the backward pass, which of the heads, the gradient) of each that reached a head.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    network: nn.Module
    training: bool = True
    autocast: dict[str, torch.dtype] = field(default_factory=dict)
    heads: list[Tensor] = field(default_factory=list)
    sigmoid: bool = False
    softmax: bool = False
    gradients: list[tuple[int, int, Tensor]] = field(default_factory=list)

    def tensors(self) -> Iterator[tuple[int | str, Tensor]]:
        """(place, value) of each argument that is a tensor with rows: its index, or its name."""
        for place, value in (*enumerate(self.args), *self.kwargs.items()):
            if isinstance(value, Tensor) and value.dim() > 0:
                yield place, value

    @property
    def images(self) -> Tensor | None:
        """The first tensor among the arguments."""
        return next((value for _, value in self.tensors()), None)

    def map(self, change: Callable[[int | str, Any], Any]) -> "Call":
        """The call with other arguments: (place, value) -> value."""
        args = tuple(change(place, value) for place, value in enumerate(self.args))
        return replace(self, args=args, kwargs={name: change(name, value) for name, value in self.kwargs.items()})

    def repeat(self) -> Any:
        """What the network returns for these arguments now, computed under the same autocast.

        Raises:
            LookupError: other processes would have to take part.
        """
        if communicates(self.network):
            raise LookupError("its forward pass needs all processes at once (FSDP, SyncBatchNorm)")
        with ExitStack() as held:
            for kind in AUTOCAST_DEVICES:
                if kind in self.autocast or torch.is_autocast_enabled(kind):  # converted weights change between calls
                    on = {"enabled": kind in self.autocast, "dtype": self.autocast.get(kind), "cache_enabled": False}
                    held.enter_context(torch.autocast(kind, **on))
            return unwrap(self.network)(*self.args, **self.kwargs)

    def repeat_reproducibly(self) -> Any:
        """With the same random numbers every time, so that noise and dropout make no difference."""
        with signals.preserve_state(self.network):
            return self.repeat()


def called_weights(calls: Sequence[Call]) -> set[int]:
    """The ids of the weights of all modules that the last call of each network calls, as far as it can be repeated."""
    found = set[int]()
    hook = register_module_forward_pre_hook(
        lambda module, _: found.update(id(weight) for weight in module.parameters(recurse=False))
    )
    try:
        for call in {id(call.network): call for call in calls}.values():
            with suppress(Exception), torch.no_grad():
                call.repeat_reproducibly()
    finally:
        hook.remove()
    return found


def autocast_now() -> dict[str, torch.dtype]:
    """{type of device: the dtype} of autocast where it is enabled."""
    return {kind: torch.get_autocast_dtype(kind) for kind in AUTOCAST_DEVICES if torch.is_autocast_enabled(kind)}


@contextmanager
def eagerly() -> Iterator[None]:
    """Compiled networks run as they are written: a repetition neither compiles nor counts as a new case."""
    compiled = "torch._dynamo" in sys.modules  # else nothing is compiled, and the import would take seconds
    with torch.compiler.set_stance("force_eager") if compiled else nullcontext():
        yield


def unwrap(network: nn.Module) -> nn.Module:
    """The network inside DataParallel and DistributedDataParallel, which communicate in each pass."""
    while isinstance(network, nn.DataParallel | nn.parallel.DistributedDataParallel):
        network = network.module
    return network


def communicates(network: nn.Module) -> bool:
    """Whether a forward pass needs the other processes: weights in shards, or batch norm over all of them."""
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1):
        return False
    sharded = any(type(weight).__name__ == "DTensor" for weight in network.parameters())
    kinds = ("FullyShardedDataParallel", "SyncBatchNorm")
    return sharded or any(type(module).__name__ in kinds for module in network.modules())


@dataclass(frozen=True)
class Place:
    """Where the images are among the arguments of a call.

    Attributes:
        argument: the index or the name of the argument.
        rows: which of its rows, where reals and fakes are in one batch.
        channels: which of its channels, where the images are concatenated with others.
        n: its rows in all.
    """

    argument: int | str
    rows: slice
    channels: slice | None
    n: int


def find_images(call: Call, images: Tensor) -> Place | None:
    """Where these very images, float [n …], are in a call: alone, as a part of a batch, or of the channels."""
    n = len(images)
    for argument, value in call.tensors():
        if value.dim() != images.dim() or len(value) < n or value.device != images.device:
            continue
        for rows in dict.fromkeys((0, len(value) - n)):
            part = value[rows : rows + n]
            if part.shape == images.shape and _equal(part, images):
                return Place(argument, slice(rows, rows + n), None, len(value))
        if images.dim() > 1 and len(value) == n and value.shape[2:] == images.shape[2:]:
            c = images.shape[1]
            for first in (0, value.shape[1] - c):
                if first >= 0 and _equal(value[:, first : first + c], images):
                    return Place(argument, slice(0, n), slice(first, first + c), n)
    return None


def rows_of(call: Call, images: Tensor, *, second: bool) -> Place | None:
    """Where images of this kind are in a call, whatever their values: all rows, or a half of reals and fakes.

    None if the call is on images of another shape.
    """
    for argument, value in call.tensors():
        if value.shape[1:] == images.shape[1:]:
            n = len(value)
            half = slice(n // 2, n) if second else slice(0, n // 2)
            return Place(argument, half if n == 2 * len(images) else slice(0, n), None, n)
    return None


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.data_ptr() == other.data_ptr() or torch.equal(one.detach().to(other.dtype), other.detach())


def with_images(call: Call, place: Place, images: Tensor) -> Call:
    """The call on other images: its other arguments are repeated for their number."""

    def change(argument: int | str, value: Any) -> Any:
        if not _has_rows(value, place.n):
            return value
        rows = value[place.rows]
        same = images.to(value.dtype) if value.is_floating_point() and images.is_floating_point() else images
        if argument == place.argument and place.channels is None:
            return same
        rows = rows.repeat(math.ceil(len(images) / len(rows)), *[1] * (rows.dim() - 1))[: len(images)]
        if argument == place.argument:
            channels = place.channels
            assert channels is not None
            rows = torch.cat([rows[:, : channels.start], same, rows[:, channels.stop :]], 1)
        return rows

    return call.map(change)


def permuted(call: Call, order: Tensor, which: Callable[[int | str], bool]) -> Call:
    """The call with the rows of some arguments in another order."""
    n = len(order)
    return call.map(
        lambda place, value: value[order.to(value.device)] if which(place) and _has_rows(value, n) else value
    )


def is_alone(call: Call) -> bool:
    """Whether nothing besides the images has a row for each image: labels, or a condition."""
    (_, images), *others = [*call.tensors()] or [("", torch.empty(0))]
    return not any(len(value) == len(images) for _, value in others)


def _has_rows(value: Any, n: int) -> bool:
    return isinstance(value, Tensor) and value.dim() > 0 and len(value) == n


class CallHook:
    """A forward hook, before or after; in a copy of the network, or one that was saved, it does nothing."""

    def __init__(self, receive: Callable[..., None]) -> None:
        self._receive = receive

    def __call__(self, *arguments: Any) -> None:
        if not torch.compiler.is_compiling():  # a compiled loop must not depend on being watched
            self._receive(*arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return CallHook, (_ignore,)


def _ignore(*_: Any) -> None:
    pass


def last_layer(network: nn.Module) -> str:
    """The kind of the last layer, in lower case: tanh, sigmoid, linear …"""
    if isinstance(network, KerasModule):
        return network.output_activation
    leaves = [m for m in network.modules() if not list(m.children()) and not isinstance(m, nn.Flatten | nn.Unflatten)]
    return type(leaves[-1]).__name__.lower() if leaves else ""


def has_batch_norm(network: nn.Module) -> bool:
    """Whether batch norm in training mode is in it."""
    return any(isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training for m in network.modules())
