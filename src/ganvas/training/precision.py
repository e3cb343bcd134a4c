"""The precision of training: which dtype the feature maps have, and how float32 is multiplied (--precision)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ganvas.errors import GanvasError
from ganvas.pytorch_state import GPU_MODULES

DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""Precision -> the dtype of the feature maps."""

HALF_LOSS_SCALE = 16.0
"""The factor of the losses in float16, whose smallest number is 6e-8: gradients of a mean over a batch come close.

With 256 the second derivatives of penalties overflowed (docs/log.md).
"""


def check(precision: str, device: torch.device) -> None:
    """Refuses a precision that the device does not have.

    Raises:
        GanvasError: tf32 elsewhere than on an NVIDIA GPU that has it.
    """
    if precision == "tf32" and not _has_tf32(device):
        raise GanvasError(
            f"--precision tf32 on {device}, which has no TensorFloat-32.",
            expected="an NVIDIA GPU of compute capability 8.0 or more (Ampere)",
            fix="use --precision auto.",
        )


def choose(precision: str, device: torch.device) -> str:
    """fp32, tf32, bf16 or fp16: what `precision` is on this device; "auto" is bf16 on GPUs that compute in it."""
    if precision == "auto":
        return "bf16" if _has_bfloat16(device) else "fp32"
    return "fp32" if precision == "tf32" and not _has_tf32(device) else precision


def _has_tf32(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def _has_bfloat16(device: torch.device) -> bool:
    """Whether a GPU computes in bfloat16 by itself; a CPU mostly converts, which takes longer than it saves."""
    if device.type not in GPU_MODULES:
        return False
    module = GPU_MODULES[device.type]
    with module.device(device):
        return module.is_bf16_supported(including_emulation=False)


def describe(precision: str) -> str:
    """What is said of it at the start of a run; nothing of fp32."""
    words = {
        "tf32": "products of float32 in TF32",
        "bf16": "feature maps in bfloat16",
        "fp16": "feature maps in float16",
    }
    return f", {words[precision]}" if precision in words else ""


@contextmanager
def arithmetic(precision: str) -> Iterator[None]:
    """Within the block, float32 is multiplied in TF32 if that is the precision."""
    if precision != "tf32":
        yield
        return
    backends: Any = torch.backends
    places = backends.cuda.matmul, backends.cudnn.conv
    before = [place.fp32_precision for place in places]
    for place in places:
        place.fp32_precision = "tf32"
    try:
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.fp32_precision = value
