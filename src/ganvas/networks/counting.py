"""Counts floating-point operations as PyTorch dispatches them."""

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class FlopCounter(TorchDispatchMode):
    """Counts the operations that run inside its `with` block: forward, backward and double backward.

    Matrix products, convolutions and attention are counted; a multiply-add counts two.
    `torch.utils.flop_counter.FlopCounterMode` counts the same, but it imports torch.compile, which takes a second, and
    overestimates the weight gradient of a convolution with g groups by the factor g.

    Attributes:
        total: the operations counted since construction.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if cost := flop_registry.get(func.overloadpacket):
            flops = cost(*args, **(kwargs or {}), out_val=out)
            if func is torch.ops.aten.convolution_backward.default:
                groups, (of_input, of_weight, _) = args[9:11]
                flops = flops * (of_input + of_weight) // max(1, of_input + groups * of_weight)
            self.total += flops
        return out

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Prevents PyTorch from wrapping the method above, which would import torch.compile."""
        return False
