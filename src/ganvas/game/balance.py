"""Who moves next: both players, or the one whose turn it is by their losses."""

import torch
from torch import Tensor, nn

from ganvas.config import Balance


class Referee(nn.Module):
    """Decides, round by round, who moves and who rests, from the losses seen in the rounds before.

    Rules (`ganvas.config.Balance`): a player rests while its loss is below a threshold; or only the player moves whose
    loss changes faster, D where |ΔL_D / L_D| > λ · |ΔL_G / L_G| and G otherwise (Ouyang & Agam 2021, algorithm 1). The
    loss of a resting player is still looked at, so that it wakes up. Where both would rest, both move.

    The losses are buffers: a resumed run decides as the interrupted one would have.
    """

    losses: Tensor

    def __init__(self, rules: Balance) -> None:
        super().__init__()
        self.rules = rules
        self.register_buffer("losses", torch.full((2, 2), torch.nan, dtype=torch.float64))  # [before, now] × [D, G]

    @property
    def watches(self) -> bool:
        """Whether losses matter at all. If not, both always move and `saw` need not be called."""
        rules = self.rules
        return rules.loss_change > 0 or rules.skip_d_below is not None or rules.skip_g_below is not None

    def moves(self) -> tuple[bool, bool]:
        """Whether D moves, and whether G does."""
        rules, (d, g) = self.rules, self.losses[1].tolist()
        if rules.loss_change > 0:
            d_change, g_change = ((self.losses[1] - self.losses[0]) / self.losses[0]).abs().tolist()
            if d_change != d_change or g_change != g_change:  # nan: too early to say
                return True, True
            faster = d_change > rules.loss_change * g_change
            return faster, not faster
        d_rests = rules.skip_d_below is not None and d < rules.skip_d_below
        g_rests = rules.skip_g_below is not None and g < rules.skip_g_below
        return (True, True) if d_rests and g_rests else (not d_rests, not g_rests)

    def saw(self, d_loss: Tensor, g_loss: Tensor) -> None:
        """The mean losses of a round, scalars; waits for the device."""
        self.losses[0] = self.losses[1]
        self.losses[1] = torch.stack([d_loss, g_loss]).to(self.losses)
