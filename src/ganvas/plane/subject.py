"""The networks of a game on points as a subject of the probe: the same measurements and rules as in a training."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn

from ganvas.diagnosis.probe import Part
from ganvas.diagnosis.signals.samples import ReferenceSet
from ganvas.game.moves import Game
from ganvas.plane.points import Points
from ganvas.pytorch_state import seed_generators

FAKES, REALS, REFERENCES = 256, 64, 500
"""Points that are measured: G's, those D is asked about, and those that G's are compared with."""


class PlaneNetworks:
    """A `Subject`: the networks of a game, fixed latents and fixed points of the distribution."""

    def __init__(self, game: Game, points: Points, latent: int) -> None:
        self._game = game
        self.networks: dict[str, nn.Module] = {"D": game.D, "G": game.G}
        rng = torch.Generator().manual_seed(0)
        self.z = torch.randn(FAKES, latent, generator=rng)
        self.real = points.sample(REFERENCES, rng)
        cells, _ = points.part_of(self.real)
        shares = cells.bincount(minlength=points.parts) / len(cells)
        self._references = ReferenceSet(self.real, cells, shares, True, False, None)

    def images(self) -> tuple[Tensor, Tensor, int]:
        """Points of the distribution, and G's of the fixed latents."""
        return self.real[:REALS], self._game.G(self.z).flatten(1), FAKES

    def references(self) -> ReferenceSet:
        """Points of the distribution by its parts."""
        return self._references

    def d_input(self) -> Tensor:
        """G's points as D receives them."""
        seed_generators(0, self.z.device)
        return self._game.fake_input(self.z[:REALS], None)

    def on_real(self) -> Tensor:
        """On points of the distribution."""
        seed_generators(0, self.z.device)
        return self._game.logits(self._game.real_input(self.real[:REALS, None, None]), None)

    def on_fake(self, fake: Tensor) -> Tensor:
        """D's logits."""
        return self._game.logits(fake, None)

    def on_held_out(self, on_real: Tensor) -> None:
        """None: every batch is drawn anew, so that D cannot overfit."""

    def g_loss(self, on_real: Tensor) -> Callable[[Tensor], Tensor]:
        """The objective's."""
        return partial(self._game.objective.g_loss, on_real)

    def label_changes(self) -> Iterator[tuple[str, Tensor, Tensor]]:
        """None: there are no labels."""
        return iter(())

    def more_signals(self, part: Part, *measured: Tensor) -> dict[str, float]:
        """None."""
        return {}
