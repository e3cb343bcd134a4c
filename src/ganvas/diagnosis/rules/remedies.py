"""What changes in a game that fails: smaller steps, no momentum, a bounded slope, augmentation; more each time."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from ganvas.config import TrainConfig

PENALTY = 1.0
"""γ of R1 and R2 that the first remedy asks for; the next ask for four times as much."""


USUAL = 0.01
"""The relative change of a player's weights in a step that is aimed at."""


@dataclass(frozen=True)
class Corrections:
    """How the knobs differ from the configuration's, which the user wrote.

    Attributes:
        g_rate, d_rate: factors of the learning rates.
        penalty: the least γ of R1 and R2.
        gp: the least λ of WGAN-GP's penalty.
        noise: the least deviation of the noise on what D sees.
        momentum: whether Adam keeps its first moment (β1), where it has one.
        augment: whether everything D sees is augmented (DiffAugment), where it was not.
    """

    g_rate: float = 1.0
    d_rate: float = 1.0
    penalty: float = 0.0
    gp: float = 0.0
    noise: float = 0.0
    momentum: bool = True
    augment: bool = False

    def corrected(self, knobs: dict[str, float]) -> dict[str, float]:
        """The knobs of a round, as they are to be."""
        if self == Corrections():
            return knobs
        return knobs | {
            "g_lr": knobs["g_lr"] * self.g_rate,
            "d_lr": knobs["d_lr"] * self.d_rate,
            "r1": max(knobs["r1"], self.penalty),
            "r2": max(knobs["r2"], self.penalty),
            "gp": max(knobs["gp"], self.gp),
            "noise": max(knobs["noise"], self.noise),
        }

    def told(self) -> dict[str, Any]:
        """Only what differs, for a log."""
        return {name: value for name, value in asdict(self).items() if value != getattr(Corrections(), name)}


def remedy(
    failure: str, about: str, config: TrainConfig, before: Corrections, step: float | None = None
) -> Corrections | None:
    """What to change about a failure, besides what was changed before; None where no knob helps.

    Args:
        failure: its name in `ganvas.diagnosis.rules.table`.
        about: the player it is about, D or G, if it is one's alone.
        step: by how much of their size that player's weights change in a step, where that is known.
    """
    if failure in ("learning rate too high", "non-finite"):
        smaller = 0.1 if not step else min(max(USUAL / step, 0.05), 0.5)
        g, d = (1.0 if about == other else smaller for other in ("D", "G"))
        return replace(_bounded(config, before), g_rate=before.g_rate * g, d_rate=before.d_rate * d)
    if failure in ("mode collapse", "mode hopping", "modes missing", "D too strong", "divergence", "critic unbounded"):
        return replace(_bounded(config, before), g_rate=before.g_rate / 2, d_rate=before.d_rate / 2)
    if failure in ("D learns nothing", "critic under-trained"):
        return replace(before, d_rate=before.d_rate * 4)
    if failure == "learning rate too low":
        return replace(before, g_rate=before.g_rate * 10, d_rate=before.d_rate * 10)
    if failure in ("D overfits", "memorisation"):
        if config.network.family == "msg":  # whose D sees the same picture at every size
            return replace(before, noise=max(0.1, 2 * before.noise))
        return replace(_bounded(config, before), augment=True)
    return None


def _bounded(config: TrainConfig, before: Corrections) -> Corrections:
    """No momentum, and D's slope held smaller: by penalties, or where batch norm forbids them, by noise."""
    play, before = config.play, replace(before, momentum=False)
    if getattr(config.network, "d_norm", "none") == "batch":
        return replace(before, noise=max(0.1, 2 * before.noise))
    if play.objective == "wasserstein":
        return replace(before, gp=max(10.0, 2 * before.gp))
    return replace(before, penalty=max(PENALTY, 4 * before.penalty))
