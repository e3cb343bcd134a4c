"""PyTorch's optimisers without their wrappers for torch.compile: no step of an optimiser is compiled here.

The wrappers import the compiler when an optimiser is created: a second, and 200 MB, before the first step. The methods
below are PyTorch's own without the wrappers; every number stays the same.
"""

from inspect import unwrap

import torch
from torch import optim
from torch.optim import Optimizer


class _Eager(Optimizer):
    add_param_group = unwrap(Optimizer.add_param_group)
    zero_grad = unwrap(Optimizer.zero_grad)
    state_dict = unwrap(Optimizer.state_dict)
    load_state_dict = unwrap(Optimizer.load_state_dict)


class Adam(_Eager, optim.Adam):
    """Kingma & Ba 2015."""

    step = torch.no_grad()(unwrap(optim.Adam.step))


class AdamW(_Eager, optim.AdamW):
    """Loshchilov & Hutter 2019."""

    step = torch.no_grad()(unwrap(optim.AdamW.step))


class RMSprop(_Eager, optim.RMSprop):
    """Tieleman & Hinton 2012."""

    step = torch.no_grad()(unwrap(optim.RMSprop.step))
