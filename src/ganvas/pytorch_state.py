"""PyTorch's global state at our entry points: ours inside, the caller's again afterwards.

A caller may compute under `torch.no_grad()`, inference mode or autocast, with another default dtype or device, or with
TF32 allowed. None of it may change a training, an image or a number, and nothing set here may change the caller's
program. Some of this state belongs to the process: where calls in several threads overlap, the first one saves it and
the last one restores it.
"""

import threading
from collections.abc import Callable, Iterator
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

GPU_MODULES: dict[str, Any] = {"cuda": torch.cuda, "xpu": torch.xpu}
"""The modules of the kinds of GPU of which a machine may have several; they have the same functions."""


class _ProcessState:
    """State that all threads share: saved when the first of overlapping calls begins, restored when the last ends."""

    def __init__(self, read: Callable[[], Any], enter: Callable[[], None], restore: Callable[[Any], None]) -> None:
        self._read, self._enter, self._restore = read, enter, restore
        self._lock, self._calls, self._before = threading.Lock(), 0, None

    @contextmanager
    def held(self) -> Iterator[None]:
        with self._lock:
            if self._calls == 0:
                self._before = self._read()
                self._enter()
            self._calls += 1
        try:
            yield
        finally:
            with self._lock:
                self._calls -= 1
                if self._calls == 0:
                    self._restore(self._before)


@contextmanager
def default_state(*, random: bool = True) -> Iterator[None]:
    """Computes in PyTorch's default state; also a decorator.

    Inside: gradients are recorded, there is no inference mode and no autocast, the default dtype is float32, the
    default device is the CPU, and float32 is multiplied in full precision (no TF32, no bfloat16). Afterwards all of
    this, and the state of the random number generators of the CPU and of every GPU, is what it was before.

    Args:
        random: False where no global random number is drawn inside: then the generators are left alone, and other
            threads may draw meanwhile.
    """
    with ExitStack() as held:
        held.enter_context(_ARITHMETIC.held())
        if random:
            held.enter_context(_GENERATORS.held())
        held.enter_context(torch.inference_mode(False))
        held.enter_context(torch.set_grad_enabled(True))
        for kind in _device_types():
            if torch.is_autocast_enabled(kind):
                held.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":  # the mode costs time in every call: only where it is needed
            held.enter_context(torch.device("cpu"))
        yield


@contextmanager
def readable_tf32_flag() -> Iterator[None]:
    """Within `default_state`: lets torch.export read the older flag of TF32, which has to agree with the newer ones.

    PyTorch raises an error where the older flag allows TF32, its default, and the newer ones do not. No number changes.
    """
    cudnn = _BACKENDS.cudnn
    try:
        cudnn.allow_tf32  # noqa: B018 - raises where they differ
    except RuntimeError:
        kept = [place.fp32_precision for place in (cudnn.conv, cudnn.rnn)]
        cudnn.allow_tf32 = False
        try:
            yield
        finally:
            cudnn.allow_tf32 = True
            for place, precision in zip((cudnn.conv, cudnn.rnn), kept, strict=True):
                place.fp32_precision = precision
        return
    yield


def seed_generators(seed: int, device: torch.device) -> None:
    """Seeds the global random number generators of the CPU and, unless `device` is the CPU, of every GPU.

    As torch.manual_seed, which formats a stack for each kind of GPU that is not there.
    """
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def _device_types() -> list[str]:
    """The types of device that we compute on and that are there."""
    there = {"cuda": torch.cuda.is_available, "xpu": torch.xpu.is_available, "mps": torch.backends.mps.is_available}
    return ["cpu", *(kind for kind, available in there.items() if available())]


def _read_arithmetic() -> tuple[torch.dtype, list[str]]:
    return torch.get_default_dtype(), [place.fp32_precision for place in _PRECISIONS]


def _set_exact_arithmetic() -> None:
    torch.set_default_dtype(torch.float32)
    for place in _PRECISIONS:
        place.fp32_precision = "ieee"


def _restore_arithmetic(before: tuple[torch.dtype, list[str]]) -> None:
    torch.set_default_dtype(before[0])
    for place, precision in zip(_PRECISIONS, before[1], strict=True):
        place.fp32_precision = precision


def _read_generators() -> tuple[Any, ...]:
    gpus = [module.get_rng_state_all() if module.is_initialized() else None for module in GPU_MODULES.values()]
    mps = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None
    return torch.get_rng_state(), torch.initial_seed(), gpus, mps


def _restore_generators(before: tuple[Any, ...]) -> None:
    """The generators of the GPUs exist once CUDA or XPU is initialised.

    Where that happened inside, they get the seed that they would have had outside: PyTorch seeds them as it seeds the
    CPU's.
    """
    cpu, seed, gpus, mps = before
    torch.set_rng_state(cpu)
    for module, states in zip(GPU_MODULES.values(), gpus, strict=True):
        if states is not None:
            module.set_rng_state_all(states)
        elif module.is_initialized():
            module.manual_seed_all(seed)
    if mps is not None:
        torch.mps.set_rng_state(mps)


_ARITHMETIC = _ProcessState(_read_arithmetic, _set_exact_arithmetic, _restore_arithmetic)
_GENERATORS = _ProcessState(_read_generators, lambda: None, _restore_generators)
