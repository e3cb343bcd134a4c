"""What `--on-failure correct` and `rollback` change while a run continues; stronger with each failure.

Smaller learning rates, no momentum, penalised gradients, augmentation: the changes of `ganvas.diagnosis.rules.fixes`,
but of the rates and penalties in force rather than of the configuration, so that they add up.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

from ganvas.config import TrainConfig
from ganvas.diagnosis.rules.conditions import ConditionName
from ganvas.diagnosis.rules.fixes import GP, NOISE, R1_R2

USUAL_UPDATE = 0.01
"""The relative change of a network's weights in one update that a smaller learning rate aims at."""


@dataclass(frozen=True)
class Corrections:
    """How the values in force differ from those of the configuration, which the user wrote.

    Attributes:
        g_lr_factor, d_lr_factor: factors of the learning rates.
        r1_r2: the least γ of R1 and R2.
        gp: the least λ of WGAN-GP's penalty.
        noise: the least standard deviation of the noise on D's input.
        momentum: whether Adam keeps its first moment (β1), where it has one.
        augment: whether D's input is augmented (DiffAugment), where it was not.
    """

    g_lr_factor: float = 1.0
    d_lr_factor: float = 1.0
    r1_r2: float = 0.0
    gp: float = 0.0
    noise: float = 0.0
    momentum: bool = True
    augment: bool = False

    def apply(self, knobs: dict[str, float]) -> dict[str, float]:
        """The scheduled values of a round, corrected."""
        if self == Corrections():
            return knobs
        return knobs | {
            "g_lr": knobs["g_lr"] * self.g_lr_factor,
            "d_lr": knobs["d_lr"] * self.d_lr_factor,
            "r1": max(knobs["r1"], self.r1_r2),
            "r2": max(knobs["r2"], self.r1_r2),
            "gp": max(knobs["gp"], self.gp),
            "noise": max(knobs["noise"], self.noise),
        }

    def changes(self) -> dict[str, Any]:
        """Only what differs, for a log."""
        return {name: value for name, value in asdict(self).items() if value != getattr(Corrections(), name)}


def remedy(
    failure: ConditionName, about: str, config: TrainConfig, before: Corrections, update: float | None = None
) -> Corrections | None:
    """What to change about a failure, on top of earlier corrections; None where no correction helps.

    Args:
        failure: its name in `ganvas.diagnosis.rules.table`.
        about: the network concerned, D or G, if it is only one.
        update: the relative change of that network's weights in one update, where it is known.
    """
    if failure in ("learning rate too high", "non-finite"):
        factor = 0.1 if not update else min(max(USUAL_UPDATE / update, 0.05), 0.5)
        g, d = (1.0 if about == other else factor for other in ("D", "G"))
        return replace(
            _regularised(config, before), g_lr_factor=before.g_lr_factor * g, d_lr_factor=before.d_lr_factor * d
        )
    if failure in (
        *("mode collapse", "mode cycling", "missing modes"),
        *("D too strong", "divergence", "critic unconstrained"),
    ):
        return replace(
            _regularised(config, before), g_lr_factor=before.g_lr_factor / 2, d_lr_factor=before.d_lr_factor / 2
        )
    if failure in ("D too weak", "critic under-trained"):
        return replace(before, d_lr_factor=before.d_lr_factor * 4)
    if failure == "learning rate too low":
        return replace(before, g_lr_factor=before.g_lr_factor * 10, d_lr_factor=before.d_lr_factor * 10)
    if failure in ("D overfits", "memorisation"):
        if config.network.family == "msg":  # whose D sees each image at every size
            return replace(before, noise=max(NOISE, 2 * before.noise))
        return replace(_regularised(config, before), augment=True)
    return None


def _regularised(config: TrainConfig, before: Corrections) -> Corrections:
    """No momentum, and smaller input gradients of D: by penalties, or where batch norm forbids them, by noise."""
    before = replace(before, momentum=False)
    if getattr(config.network, "d_norm", "none") == "batch":
        return replace(before, noise=max(NOISE, 2 * before.noise))
    if config.loss.objective == "wasserstein":
        return replace(before, gp=max(GP, 2 * before.gp))
    return replace(before, r1_r2=max(R1_R2, 4 * before.r1_r2))
