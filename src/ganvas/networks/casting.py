"""Layers that compute in the dtype of their input while their weights stay float32: mixed precision without autocast.

A network casts its input to its `activation_dtype` (`networks.base`), these layers cast their weights to match, and the
network casts back to float32 before its last layer. Norms and statistics compute in float32 inside. With float32
activations nothing is cast, and every number is that of PyTorch's own layers.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CLAMP = 256.0
"""The largest absolute value of a float16 layer's output (Karras et al. 2020, arXiv 2006.06676, appendix C)."""


def cast(x: Tensor, dtype: torch.dtype) -> Tensor:
    """x in another dtype; x itself if it has that already, so that a float32 program contains no cast."""
    return x if x.dtype == dtype else x.to(dtype)


def narrow(x: Tensor, dtype: torch.dtype) -> Tensor:
    """x in the dtype of a network's feature maps; x itself for float32, so that a float64 network stays one."""
    return x if dtype == torch.float32 else cast(x, dtype)


def widen(x: Tensor) -> Tensor:
    """bfloat16 or float16 as float32; x itself in other dtypes."""
    return cast(x, torch.float32) if x.dtype in (torch.bfloat16, torch.float16) else x


def clamp_half(x: Tensor) -> Tensor:
    """Limits float16, whose largest number is 65,504, to ±CLAMP; other dtypes are left alone."""
    return x.clamp(-CLAMP, CLAMP) if x.dtype == torch.float16 else x


def _cast_bias(bias: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    return None if bias is None else cast(bias, dtype)


class Linear(nn.Linear):
    """`torch.nn.Linear` in the dtype of its input."""

    def forward(self, input: Tensor) -> Tensor:
        dtype = input.dtype
        return clamp_half(F.linear(input, cast(self.weight, dtype), _cast_bias(self.bias, dtype)))


class Conv2d(nn.Conv2d):
    """`torch.nn.Conv2d` in the dtype of its input."""

    def forward(self, input: Tensor) -> Tensor:
        dtype = input.dtype
        return clamp_half(self._conv_forward(input, cast(self.weight, dtype), _cast_bias(self.bias, dtype)))


class ConvTranspose2d(nn.ConvTranspose2d):
    """`torch.nn.ConvTranspose2d` in the dtype of its input, without a choice of the output's size."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        assert output_size is None
        assert not isinstance(self.padding, str)
        weight, bias = cast(self.weight, input.dtype), _cast_bias(self.bias, input.dtype)
        output = F.conv_transpose2d(
            input, weight, bias, self.stride, self.padding, self.output_padding, self.groups, self.dilation
        )
        return clamp_half(output)


class LayerNorm(nn.LayerNorm):
    """`torch.nn.LayerNorm`, computed in float32."""

    def forward(self, input: Tensor) -> Tensor:
        return cast(super().forward(widen(input)), input.dtype)
