"""The configuration of a training run: frozen, documented dataclasses that are read from and written to JSON.

A setting ("knob") has one name everywhere: the field here, the key in `config.json`, the keyword of
`ganvas.train(...)`, and (with dashes) the flag on the command line. Field names are therefore unique over all groups.
"""

from dataclasses import dataclass, field

from ganvas import user_code
from ganvas.config import rules
from ganvas.config.families import CNN, DCGAN, MLP, MSG, R3GAN, Custom, Network, ResNet, StyleGAN, Transformer, ViT
from ganvas.config.forms import differences, from_json, leaves, replace, to_json
from ganvas.config.groups import BalanceConfig, DatasetConfig, LossConfig, OptimisationConfig, RuntimeConfig
from ganvas.schedule import Schedule

SCHEDULED = ("g_lr", "d_lr", "beta2", "r1", "r2", "gp", "dragan", "noise", "augment_p", "ema", "growth")
"""The knobs that can have a schedule, where a configuration has them."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything that determines a training run.

    Raises:
        GanvasError: a value is out of bounds, or two knobs exclude each other; with the reason.
    """

    kimg: float = 500.0
    """Length of the run, in thousands of real images shown to the discriminator."""
    seed: int = 0
    """Seed of all random numbers."""
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    network: Network = field(default_factory=MLP)
    loss: LossConfig = field(default_factory=LossConfig)
    balance: BalanceConfig = field(default_factory=BalanceConfig)
    optimisation: OptimisationConfig = field(default_factory=OptimisationConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)

    def __post_init__(self) -> None:
        self.dataset.options()
        knobs = dict(leaves(self))
        rules.check_bounds(knobs, [name for name in SCHEDULED if name in knobs])
        rules.check_together(knobs)
        if isinstance(self.network, Custom):
            self.network.check_parts(self)

    @property
    def total_images(self) -> int:
        """The length of the run in images."""
        return round(self.kimg * 1000)

    @property
    def images_per_round(self) -> int:
        """Real images shown to D in one round."""
        return self.optimisation.batch * self.balance.d_steps

    def warnings(self) -> list[str]:
        """Warnings about combinations of knobs that are valid, but often a mistake."""
        return rules.find_warnings(dict(leaves(self)))

    def schedules(self) -> dict[str, Schedule]:
        """The schedule of every knob in `SCHEDULED` that the configuration has."""
        knobs = dict(leaves(self))
        return {name: Schedule.parse(knobs[name]) for name in SCHEDULED if name in knobs}

    def user_specs(self) -> list[str]:
        """The specs of the user's own networks, objective and augmentation, if there are any."""
        knobs = dict(leaves(self))
        return [knobs[name] for name in ("g", "d", "objective", "augment") if user_code.is_spec(knobs.get(name))]

    def snapshot_every(self) -> int:
        """The number of images between two snapshots."""
        return round(1000 * (self.runtime.snapshot_kimg or max(self.kimg / 10, self.runtime.tick_kimg)))


__all__ = [
    "CNN",
    "DCGAN",
    "MLP",
    "MSG",
    "R3GAN",
    "SCHEDULED",
    "BalanceConfig",
    "Custom",
    "DatasetConfig",
    "LossConfig",
    "Network",
    "OptimisationConfig",
    "ResNet",
    "RuntimeConfig",
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
