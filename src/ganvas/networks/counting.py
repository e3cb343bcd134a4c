"""Floating-point operations, counted as PyTorch dispatches them."""

from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class FlopCounter(TorchDispatchMode):
    """Adds up the operations of what runs in its block, forward, backward and double backward.

    Matrix products, convolutions and attention are counted; a multiply-add counts two.
    `torch.utils.flop_counter.FlopCounterMode` counts the same, but imports torch.compile, which takes a second.

    Attributes:
        total: operations since it was made.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if cost := flop_registry.get(func.overloadpacket):
            self.total += cost(*args, **(kwargs or {}), out_val=out)
        return out

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Else the method above is wrapped in what imports torch.compile."""
        return False
