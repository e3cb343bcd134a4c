"""The configuration of a training run: frozen, documented dataclasses that are read from and written to JSON.

A setting ("knob") has one name everywhere: the field here, the key in `config.json`, the keyword of
`ganvas.train(...)`, and (with dashes) the flag on the command line. Field names are therefore unique over all groups.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass

from ganvas import user_code
from ganvas.config.bounds import Kimg, Minutes, Seed, check_bounds, is_scheduled
from ganvas.config.conflicts import Group
from ganvas.config.custom import Network
from ganvas.config.families import MLP
from ganvas.config.forms import differences, from_json, knob_fields, leaves, replace, to_json
from ganvas.config.groups import (
    BalanceConfig,
    DatasetConfig,
    LossConfig,
    OptimisationConfig,
    RuntimeConfig,
    TransferConfig,
)
from ganvas.display import Displayed, Part, Table
from ganvas.errors import GanvasError, describe_value
from ganvas.schedule import Schedule

CODE_KNOBS = ("g", "d", "features_net", "objective", "augment")
"""Knobs that may name code of the user's own (a *spec*, `user_code.is_spec`)."""

DEFAULT_TICK_KIMG = 4.0
"""kimg between two lines of stats.jsonl."""


@dataclass(frozen=True, kw_only=True, repr=False)
class TrainConfig(Displayed):
    """Everything that determines a training run.

    Raises:
        GanvasError: a value is out of bounds, or two knobs exclude each other; with the reason.
    """

    kimg: Kimg | None = 500.0
    """Length of the run, in thousands of real images shown to the discriminator; None with `minutes`."""
    minutes: Minutes | None = None
    """Length of the run in minutes instead, within 5 %: kimg is planned from the speed of a trial, and re-planned while
    the run goes on. Decoding, the trial, probes and saving count, the last plot, the film, --evaluate-at-end and
    pauses of more than 20 seconds do not.
    On a CPU a recipe starts from its CPU preset, if it has one."""
    seed: Seed = 0
    """Seed of all random numbers."""
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    network: Network = field(default_factory=MLP)
    loss: LossConfig = field(default_factory=LossConfig)
    balance: BalanceConfig = field(default_factory=BalanceConfig)
    optimisation: OptimisationConfig = field(default_factory=OptimisationConfig)
    transfer: TransferConfig = field(default_factory=TransferConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)

    def __post_init__(self) -> None:
        groups = (DatasetConfig, Network, LossConfig, BalanceConfig, OptimisationConfig, TransferConfig, RuntimeConfig)
        names = ("dataset", "network", "loss", "balance", "optimisation", "transfer", "runtime")
        for name, kind in zip(names, groups, strict=True):
            if not isinstance(value := getattr(self, name), kind):
                raise GanvasError(
                    f"{name} is {describe_value(value)}.", expected=f"a group of knobs: ganvas.config.{name}"
                )
        self.dataset.options()
        check_bounds(self)
        self._check_length()
        for group in self._groups():
            for conflict in group.conflicts(self):
                raise conflict

    def _check_length(self) -> None:
        if self.kimg is not None and self.minutes is not None:
            raise GanvasError(
                f"--kimg {self.kimg:g} and --minutes {self.minutes:g} are two lengths of one run.",
                expected="one of the two",
                fix="leave the other one out.",
            )
        if self.kimg is None and self.minutes is None:
            raise GanvasError("The run has no length.", expected="kimg or minutes", fix="--kimg 100 or --minutes 10.")

    @property
    def total_images(self) -> int:
        """The length of the run in images; a run by time has none before it is planned (`ganvas.training.planning`)."""
        assert self.kimg is not None, "a run by time is not planned yet"
        return round(self.kimg * 1000)

    @property
    def images_per_round(self) -> int:
        """Real images shown to D in one round."""
        return self.optimisation.batch * self.balance.d_steps

    def warnings(self) -> list[str]:
        """Warnings about combinations of knobs that are valid, but often a mistake."""
        return [warning for group in self._groups() for warning in group.warnings(self)]

    def schedules(self) -> dict[str, Schedule]:
        """The schedule of every knob that can have one, also where it is constant."""
        return {knob.name: Schedule.parse(value) for knob, value in knob_fields(self) if is_scheduled(knob.type)}

    def user_specs(self) -> list[str]:
        """The specs of the user's own networks, objective and augmentation, if there are any."""
        knobs = dict(leaves(self))
        return [knobs[name] for name in CODE_KNOBS if user_code.is_spec(knobs.get(name))]

    def known_of_code(self) -> dict[str, bool | str]:
        """What only the process knows that has loaded the user's own objective and D: critic, and D's d_norm."""
        return {"critic": self.loss.critic, "d_norm": getattr(self.network, "d_norm", "none")}

    def tick_every(self) -> int:
        """The number of images between two lines of stats.jsonl."""
        return max(1, round(1000 * (self.runtime.tick_kimg or DEFAULT_TICK_KIMG)))

    def snapshot_every(self) -> int:
        """The number of images between two snapshots."""
        if self.runtime.snapshot_kimg:
            return round(1000 * self.runtime.snapshot_kimg)
        return max(round(self.total_images / 10), self.tick_every())

    def _parts(self) -> Iterator[Part]:
        groups = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        knobs = {
            "training": {name: value for name, value in groups.items() if not is_dataclass(value)},
            **{name: dict(leaves(group)) for name, group in groups.items() if is_dataclass(group)},
        }
        yield Table([(name, ", ".join(f"{k}={v!r}" for k, v in group.items())) for name, group in knobs.items()])

    def _groups(self) -> list[Group]:
        return [value for value in vars(self).values() if isinstance(value, Group)]


__all__ = [
    "DEFAULT_TICK_KIMG", "BalanceConfig", "DatasetConfig", "LossConfig", "Network", "OptimisationConfig",
    "RuntimeConfig", "TrainConfig", "TransferConfig", "differences", "from_json", "leaves", "replace", "to_json",
]  # fmt: skip
