"""What the groups of knobs exclude in other groups, and what they warn of."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from ganvas.errors import GanvasError

if TYPE_CHECKING:
    from ganvas.config import LossConfig, OptimisationConfig, TrainConfig


class Group:
    """A group of knobs: those of a network family, or some that all families share."""

    def conflicts(self, config: "TrainConfig") -> Iterable[GanvasError]:
        """What is impossible together in `config` and concerns this group, as errors to raise."""
        return ()

    def warnings(self, config: "TrainConfig") -> Iterable[str]:
        """What is possible together, but often a mistake."""
        return ()

    def differs(self, knob: str) -> bool:
        """Whether a knob has another value than by default."""
        return bool(getattr(self, knob) != getattr(type(self), knob))


def has_single_images(optimisation: "OptimisationConfig", processes: int | None = None) -> bool:
    """Whether a network receives one image at a time, over which batch norm cannot normalise.

    Args:
        processes: how many share each batch. None if that is not known yet: then what is left over for the last
            microbatch is not known either.
    """
    share = optimisation.batch // (processes or 1)
    size = min(share, optimisation.microbatch or share)
    return size < 2 or (processes is not None and share % size == 1)


def equalised_weights_conflicts(family: str, loss: "LossConfig") -> Iterator[GanvasError]:
    """Those of a discriminator whose weights are scaled in the forward pass."""
    if loss.spectral_norm:
        yield GanvasError(
            f"--spectral-norm with the {family} family.",
            expected="plain weights; equalised weights are scaled again in the forward pass, which undoes the "
            "normalisation",
            fix="--gp 10 or --r1.",
        )
    if loss.clip > 0:
        yield GanvasError(
            f"--clip {loss.clip} with the {family} family.",
            expected="plain weights; equalised weights are stored with variance 1, and clipping would remove almost "
            "all of them",
            fix="--gp 10.",
        )
