"""PyTorch's global state at our entry points: ours inside, the caller's again afterwards.

A caller may compute under `torch.no_grad()`, inference mode or autocast, with another default dtype or device, or with
TF32 allowed. None of it may change a training, an image or a number, and nothing set here may change the caller's
program.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

_BACKENDS: Any = torch.backends
_PRECISIONS = (
    _BACKENDS.cuda.matmul,
    _BACKENDS.cudnn.conv,
    _BACKENDS.cudnn.rnn,
    _BACKENDS.mkldnn.matmul,
    _BACKENDS.mkldnn.conv,
)
"""Where PyTorch keeps how float32 is multiplied: `fp32_precision` is "ieee", or less exact."""


@contextmanager
def default_state() -> Iterator[None]:
    """Computes in PyTorch's default state; also a decorator.

    Inside: gradients are recorded, there is no inference mode and no autocast, the default dtype is float32, the
    default device is the CPU, and float32 is multiplied in full precision (no TF32, no bfloat16). Afterwards all of
    this, and the state of the random number generators of the CPU and of every GPU, is what it was before.
    """
    with ExitStack() as held:
        held.enter_context(_random_state())
        held.enter_context(_precision())
        held.enter_context(_default_dtype())
        held.enter_context(torch.inference_mode(False))
        held.enter_context(torch.set_grad_enabled(True))
        for kind in _device_types():
            if torch.is_autocast_enabled(kind):
                held.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":  # the mode costs time in every call: only where it is needed
            held.enter_context(torch.device("cpu"))
        yield


def _device_types() -> list[str]:
    """The types of device that we compute on and that are there."""
    there = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    return ["cpu", *(kind for kind, available in there.items() if available())]


@contextmanager
def _random_state() -> Iterator[None]:
    """The random number generators are afterwards as they were before.

    The generators of the GPUs exist once CUDA is initialised. Where that happens inside, they get the seed that they
    would have had outside: PyTorch seeds them as it seeds the CPU's.
    """
    cpu, seed = torch.get_rng_state(), torch.initial_seed()
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    mps = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None
    try:
        yield
    finally:
        torch.set_rng_state(cpu)
        if gpus is not None:
            torch.cuda.set_rng_state_all(gpus)
        elif torch.cuda.is_initialized():
            torch.cuda.manual_seed_all(seed)
        if mps is not None:
            torch.mps.set_rng_state(mps)


@contextmanager
def _precision() -> Iterator[None]:
    before = [place.fp32_precision for place in _PRECISIONS]
    try:
        for place in _PRECISIONS:
            place.fp32_precision = "ieee"
        yield
    finally:
        for place, precision in zip(_PRECISIONS, before, strict=True):
            place.fp32_precision = precision


@contextmanager
def _default_dtype() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
