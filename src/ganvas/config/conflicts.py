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


def has_single_images(optimisation: "OptimisationConfig") -> bool:
    """Whether a network receives one image at a time, over which batch norm cannot normalise."""
    return min(optimisation.batch, optimisation.microbatch or optimisation.batch) < 2


def batch_norm_conflicts(optimisation: "OptimisationConfig", g_norm: str) -> Iterator[GanvasError]:
    """Those of a generator with this normalisation, if it is batch norm."""
    if g_norm == "batch" and has_single_images(optimisation):
        yield GanvasError(
            f"Batch norm in G with a batch of {optimisation.batch}.",
            expected="2 or more images at a time: batch norm normalises over the images of a batch",
            fix="a larger --batch, or --g-norm none.",
        )


def batch_norm_warnings(optimisation: "OptimisationConfig", *norms: str) -> Iterator[str]:
    """Those of networks with these normalisations, if one is batch norm."""
    if optimisation.microbatch and "batch" in norms:
        yield "batch norm normalises over --microbatch images: gradients are not those of the whole batch."


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
