"""Every knob: frozen, documented dataclasses; JSON in and out; an unknown key is an error.

A knob has one name everywhere: the field here, the key in `config.json`, the keyword of `ganvas.train(...)`, and
(with dashes) the flag of the command line. Field names are therefore unique over all groups.
"""

from dataclasses import dataclass, field

from ganvas.config import rules
from ganvas.config.families import CNN, DCGAN, MLP, MSG, R3GAN, Network, ResNet, StyleGAN, Transformer, ViT
from ganvas.config.forms import differences, from_json, leaves, replace, to_json
from ganvas.config.groups import Balance, Habits, Optimisation, Pictures, Play
from ganvas.schedule import Schedule

SCHEDULED = ("g_lr", "d_lr", "beta2", "r1", "r2", "gp", "dragan", "noise", "augment_p", "ema", "growth")
"""The knobs that may move with time, where a configuration has them."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything that decides a run.

    Raises:
        GanvasError: a value is out of bounds, or two knobs cannot go together; with the reason.
    """

    kimg: float = 500.0
    """Length of the run, in thousands of real pictures shown to the discriminator."""
    seed: int = 0
    """Seed of everything random."""
    pictures: Pictures = field(default_factory=Pictures)
    network: Network = field(default_factory=MLP)
    play: Play = field(default_factory=Play)
    balance: Balance = field(default_factory=Balance)
    optimisation: Optimisation = field(default_factory=Optimisation)
    habits: Habits = field(default_factory=Habits)

    def __post_init__(self) -> None:
        self.pictures.options()
        knobs = dict(leaves(self))
        rules.check_bounds(knobs, [name for name in SCHEDULED if name in knobs])
        rules.check_together(knobs)

    @property
    def total(self) -> int:
        """Length of the run in images."""
        return round(self.kimg * 1000)

    @property
    def a_round(self) -> int:
        """Images shown in a round."""
        return self.optimisation.batch * self.balance.d_steps

    def cautions(self) -> list[str]:
        """What may be meant, but often is not."""
        return rules.cautions(dict(leaves(self)))

    def schedules(self) -> dict[str, Schedule]:
        """The schedule of every knob that may move."""
        knobs = dict(leaves(self))
        return {name: Schedule.of(knobs[name]) for name in SCHEDULED if name in knobs}

    def snapshot_every(self) -> int:
        """Images between two snapshots."""
        return round(1000 * (self.habits.snapshot_kimg or max(self.kimg / 10, self.habits.tick_kimg)))


__all__ = [
    "CNN",
    "DCGAN",
    "MLP",
    "MSG",
    "R3GAN",
    "SCHEDULED",
    "Balance",
    "Habits",
    "Network",
    "Optimisation",
    "Pictures",
    "Play",
    "ResNet",
    "StyleGAN",
    "TrainConfig",
    "Transformer",
    "ViT",
    "differences",
    "from_json",
    "leaves",
    "replace",
    "to_json",
]
