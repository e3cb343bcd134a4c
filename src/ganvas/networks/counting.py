"""Floating-point operations, counted as PyTorch dispatches them."""

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class FlopCounter(TorchDispatchMode):
    """Adds up the operations of what runs in its block, forward, backward and double backward.

    Matrix products, convolutions and attention are counted; a multiply-add counts two.
    `torch.utils.flop_counter.FlopCounterMode` counts the same, but imports torch.compile, which takes a second, and
    takes the weights' gradient of a convolution of g groups for g times what it is.

    Attributes:
        total: operations since it was made.
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
        """Else the method above is wrapped in what imports torch.compile."""
        return False
