"""The update policy: whether D, G or both are updated in the next round, by their losses."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from ganvas.config import BalanceConfig


class UpdatePolicy(nn.Module):
    """Decides for each round whether D and G are updated, from the losses of the previous rounds.

    By the rules of the configuration, a network skips updates while its loss is below a threshold; or only the network
    whose loss changes faster is updated, D if |ΔL_D / L_D| > λ · |ΔL_G / L_G|, else G (Ouyang & Agam 2021, alg. 1). The
    loss of a network that skips updates is still evaluated, so that its updates can continue. If both would skip,
    both are updated.

    The losses are buffers, so that a resumed run makes the same decisions as an uninterrupted one; so is the number of
    updates of D, which lazy penalties and ADA count where some are skipped.
    """

    losses: Tensor
    d_updates: Tensor

    def __init__(self, rules: BalanceConfig) -> None:
        super().__init__()
        self.rules = rules
        self.register_buffer("losses", torch.full((2, 2), torch.nan, dtype=torch.float64))  # [old, new] × [D, G]
        self.register_buffer("d_updates", torch.zeros((), dtype=torch.int64))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        state_dict.setdefault(f"{prefix}d_updates", self.d_updates)  # states of earlier versions have none
        super()._load_from_state_dict(state_dict, prefix, *args)

    @property
    def is_active(self) -> bool:
        """Whether the losses are needed. If not, both networks are always updated, without `record_losses`."""
        rules = self.rules
        return rules.loss_change > 0 or rules.skip_d_below is not None or rules.skip_g_below is not None

    def decide(self) -> tuple[bool, bool]:
        """Whether D is updated, and whether G is."""
        rules, (d, g) = self.rules, self.losses[1].tolist()
        if rules.loss_change > 0:
            d_change, g_change = ((self.losses[1] - self.losses[0]) / self.losses[0]).abs().tolist()
            if math.isnan(d_change) or math.isnan(g_change):  # fewer than two losses yet
                return True, True
            d_faster = d_change > rules.loss_change * g_change
            return d_faster, not d_faster
        skip_d = rules.skip_d_below is not None and d < rules.skip_d_below
        skip_g = rules.skip_g_below is not None and g < rules.skip_g_below
        return (True, True) if skip_d and skip_g else (not skip_d, not skip_g)

    def record_losses(self, d_loss: Tensor, g_loss: Tensor) -> None:
        """Records the mean losses of a round, 0-dimensional tensors; synchronises with the device."""
        self.losses[0] = self.losses[1]
        self.losses[1] = torch.stack([d_loss, g_loss]).cpu().to(self.losses)
