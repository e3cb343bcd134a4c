"""The only conversions between uint8 pixels and floats in [-1, 1]."""

import torch
from torch import Tensor


def to_unit(images: Tensor) -> Tensor:
    """uint8 [n c h w] in [0, 255] -> float32 [n c h w] in [-1, 1]."""
    return images.to(torch.float32).div_(127.5).sub_(1.0)


def to_uint8(images: Tensor) -> Tensor:
    """float [n c h w], nominally in [-1, 1] -> uint8 [n c h w]; rounds to nearest, clamps values outside.

    `to_uint8(to_unit(x)) == x` for every uint8 x.
    """
    return images.to(torch.float32).add(1.0).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)
