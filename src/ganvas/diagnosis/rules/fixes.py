"""Fixes: what to change about a condition. For a run of Ganvas each is a change of its configuration, if one helps.

A change is computed from the present configuration (such as half of its learning rate) and checked by
`ganvas.config.replace`, so what is proposed to a run is always accepted by `ganvas train`.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ganvas.config import TrainConfig, replace
from ganvas.config.custom import Custom
from ganvas.config.flags import format_flags
from ganvas.diagnosis.history import Facts
from ganvas.errors import GanvasError
from ganvas.schedule import Schedule, ScheduleSpec

Knobs = Mapping[str, Any]
"""The fields of a configuration by name, groups opened."""

Change = Callable[[Knobs, str], Mapping[str, Any]]
"""(present fields, the network concerned: D, G or "") -> new values of some fields; {} if it does not apply."""

R1_R2, GP, NOISE, ADA_TARGET = 1.0, 10.0, 0.1, 0.6
"""γ of R1 and R2, λ of WGAN-GP, deviation of the noise on D's input, and ADA's target, where none is set yet."""


@dataclass(frozen=True)
class Fix:
    """Something to change.

    Attributes:
        do: in words, for anyone's loop.
        change: the same for a configuration of Ganvas; None where no field of it helps.
        scope: whom it is for: any training, only runs of Ganvas, or only other people's loops.
    """

    do: str
    change: Change | None = None
    scope: Literal["any", "run", "loop"] = "any"


@dataclass(frozen=True)
class ProposedFix:
    """A fix that applies to the training at hand.

    Attributes:
        do: in words.
        changes: new values of configuration fields; empty where there is no configuration, or none of it helps.
    """

    do: str
    changes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def flags(self) -> str:
        """The changes as flags of `ganvas train`."""
        return format_flags(self.changes)

    def __str__(self) -> str:
        return f"{self.do} ({self.flags})" if self.changes else self.do


def propose(fixes: Iterable[Fix], facts: Facts, about: str = "") -> tuple[ProposedFix, ...]:
    """Those fixes that apply, in their order: without a configuration all in words, else only accepted changes.

    Args:
        about: the network that the condition is about, D or G, if it is only one.
    """
    if facts.config is None:
        return tuple(ProposedFix(fix.do) for fix in fixes if fix.scope != "run")
    own = [fix for fix in fixes if fix.scope != "loop"]
    resolved = [(fix, accepted_changes(fix.change, facts, about) if fix.change else {}) for fix in own]
    return tuple(ProposedFix(fix.do, changes) for fix, changes in resolved if changes or fix.change is None)


def accepted_changes(change: Change, facts: Facts, about: str = "") -> dict[str, Any]:
    """What a change sets anew in the configuration; {} if nothing, or if the configuration refuses it."""
    assert facts.config is not None
    knobs = facts.knobs
    changes = {name: value for name, value in change(knobs, about).items() if knobs.get(name) != value}
    if (changes.get("balanced") or changes.get("conditional")) and facts.classes is not None and facts.classes < 2:
        return {}
    try:
        change_config(facts.config, changes)
    except GanvasError:
        return {}
    return changes


def change_config(config: TrainConfig, changes: Knobs) -> TrainConfig:
    """The configuration with other values of some fields.

    Raises:
        GanvasError: it excludes them, or they penalise a D of the user's own that is known to have batch norm.
    """
    changed = replace(config, **changes)
    network = changed.network
    if isinstance(network, Custom) and network.d_norm == "batch" and changed.loss.penalised:
        raise GanvasError("A gradient penalty with batch norm in D.", expected="a D whose logits are independent")
    return changed


def scaled(knob: ScheduleSpec, factor: float) -> ScheduleSpec:
    """A number, or both ends of a schedule, times `factor`."""
    schedule = Schedule.parse(knob)
    if schedule.shape == "constant":
        return float(f"{schedule.start * factor:g}")
    shape = re.sub(r"^[^:@]*", "", str(knob).replace(" ", ""))
    return f"{schedule.start * factor:g}..{schedule.end * factor:g}{shape}"


def peak(knob: ScheduleSpec) -> float:
    """The larger end of a schedule."""
    schedule = Schedule.parse(knob)
    return max(schedule.start, schedule.end)


def setting(**changes: Any) -> Change:
    """Fixed values."""
    return lambda knobs, about: changes


def scaling_rates(factor: float) -> Change:
    """Both learning rates times `factor`, or only that of the network concerned."""

    def change(knobs: Knobs, about: str) -> Mapping[str, Any]:
        names = {"D": ("d_lr",), "G": ("g_lr",)}.get(about, ("g_lr", "d_lr"))
        return {name: scaled(knobs[name], factor) for name in names}

    return change


def restart_updates(name: Literal["g_lr", "d_lr"]) -> Change:
    """A learning rate above 0, and no rule that lets a network skip its updates."""

    def change(knobs: Knobs, about: str) -> Mapping[str, Any]:
        rate = {} if peak(knobs[name]) > 0 else {name: 2e-4}
        return rate | {f"skip_{name[0]}_below": None, "loss_change": 0.0}

    return change


def penalise_gradients(knobs: Knobs, about: str) -> Mapping[str, Any]:
    """R1 and R2 on the relativistic loss (Huang et al. 2024), or WGAN-GP's penalty; four times what is set already."""
    changes: dict[str, Any] = {"d_norm": "none"} if knobs.get("d_norm") == "batch" else {}
    if knobs["objective"] == "wasserstein":
        return changes | {"gp": _raised(knobs["gp"], GP), "clip": 0.0}
    if knobs["objective"] not in ("rpgan", "rahinge") and not knobs["ada_target"]:
        changes |= {"objective": "rpgan", "label_smoothing": 0.0}
    return changes | {name: _raised(knobs[name], R1_R2) for name in ("r1", "r2")}


def _raised(knob: ScheduleSpec, least: float) -> ScheduleSpec:
    return scaled(knob, 4) if peak(knob) > 0 else least


def bound_critic(knobs: Knobs, about: str) -> Mapping[str, Any]:
    """WGAN-GP's penalty for a critic."""
    return penalise_gradients(knobs, about) if knobs["objective"] == "wasserstein" else {}


def replace_clipping(knobs: Knobs, about: str) -> Mapping[str, Any]:
    """WGAN-GP's penalty in place of clipped weights."""
    return {"clip": 0.0, "gp": GP} if knobs["clip"] else {}


def clip_weights(knobs: Knobs, about: str) -> Mapping[str, Any]:
    """The clipping of the WGAN paper, for a critic that nothing bounds."""
    return {"clip": 0.01} if knobs["objective"] == "wasserstein" and not knobs["clip"] else {}


def diffaugment(knobs: Knobs) -> Mapping[str, Any]:
    """DiffAugment, where there is none or only a part of it; D of the multi-scale family cannot have it."""
    return {"augment": "diffaugment"} if knobs["augment"] in ("none", "translation") else {}


def augment(knobs: Knobs, about: str) -> Mapping[str, Any]:
    """ADA where the loss has a zero, DiffAugment elsewhere; noise where D sees an image at several sizes.

    A D that looks through a frozen network is for short runs, which end before ADA's probability has risen from 0.
    """
    if knobs["family"] == "msg":
        return add_noise(knobs, about)
    if _is_frozen_input(knobs):
        return diffaugment(knobs) or add_noise(knobs, about)
    if knobs["objective"] in ("wasserstein", "rpgan", "rahinge"):
        return diffaugment(knobs)
    adapting = knobs["augment"] == "ada" and knobs["ada_target"] > 0
    return {} if adapting else {"augment": "ada", "ada_target": ADA_TARGET}


def _is_frozen_input(knobs: Knobs) -> bool:
    """Whether D looks through a frozen network; also one that is put together by `custom`."""
    return knobs["family"] == "projected" or (knobs["family"] == "custom" and bool(Custom(d=knobs["d"]).features_net))


def add_noise(knobs: Knobs, about: str) -> Mapping[str, Any]:
    """Noise on D's input, where there is less."""
    return {"noise": NOISE} if peak(knobs["noise"]) < NOISE else {}


def add_dropout(knobs: Knobs, about: str) -> Mapping[str, Any]:
    """Dropout in D, where its family has it and there is less."""
    return {"dropout": 0.3} if knobs.get("dropout", 1.0) < 0.3 else {}


def stop_momentum(knobs: Knobs, about: str) -> Mapping[str, Any]:
    """No first moment of Adam; RMSprop has none."""
    return {} if knobs["optimiser"] == "rmsprop" else {"beta1": 0.0}


def non_saturating_loss(knobs: Knobs, about: str) -> Mapping[str, Any]:
    """In place of the saturating one."""
    return {"objective": "non-saturating"} if knobs["objective"] == "minimax" else {}


def match_rates(knobs: Knobs, about: str) -> Mapping[str, Any]:
    """G's learning rate for D where that of D is lower, four times D's elsewhere."""
    slower = peak(knobs["d_lr"]) < peak(knobs["g_lr"])
    return {"d_lr": knobs["g_lr"] if slower else scaled(knobs["d_lr"], 4)}


def raise_g_rate(knobs: Knobs, about: str) -> Mapping[str, Any]:
    """D's learning rate for G, where that of D is more than ten times higher."""
    return {"g_lr": knobs["d_lr"]} if peak(knobs["d_lr"]) > 10 * peak(knobs["g_lr"]) else {}


def favour_d(knobs: Knobs, about: str) -> Mapping[str, Any]:
    """Twice as many updates of D in a round, one of G, and half its learning rate."""
    once = {"g_steps": 1} if knobs["g_steps"] > 1 else {}
    return {"g_lr": scaled(knobs["g_lr"], 0.5), "d_steps": 2 * knobs["d_steps"]} | once


def update_d_more(knobs: Knobs, about: str) -> Mapping[str, Any]:
    """Twice as many updates of D in a round."""
    return {"d_steps": 2 * knobs["d_steps"]}


def update_d_less(knobs: Knobs, about: str) -> Mapping[str, Any]:
    """Half as many updates of D in a round, at half the learning rate."""
    return {"d_steps": max(1, knobs["d_steps"] // 2), "d_lr": scaled(knobs["d_lr"], 0.5)}


def five_critic_steps(knobs: Knobs, about: str) -> Mapping[str, Any]:
    """Five updates of the critic in a round, where there are fewer."""
    return {"d_steps": 5} if knobs["d_steps"] < 5 else {}


def decay_rates(knobs: Knobs, about: str) -> Mapping[str, Any]:
    """Learning rates that fall to a tenth along a cosine, where they are constant and above 0."""
    rates = {name: Schedule.parse(knobs[name]) for name in ("g_lr", "d_lr")}
    return {
        name: f"{rate.start:g}..{rate.start / 10:g}:cosine"
        for name, rate in rates.items()
        if rate.shape == "constant" and rate.start
    }


def widen(*names: str) -> Change:
    """Twice the widths of the networks, whichever of these fields the family has."""

    def change(knobs: Knobs, about: str) -> Mapping[str, Any]:
        wider = {}
        for name in names:
            if knobs.get(name):
                width = knobs[name]
                wider[name] = tuple(2 * w for w in width) if isinstance(width, tuple) else 2 * width
        return wider

    return change


PENALTY = Fix(
    "penalise D's input gradients (R1 and R2; for a Wasserstein critic WGAN-GP's penalty)", penalise_gradients
)
