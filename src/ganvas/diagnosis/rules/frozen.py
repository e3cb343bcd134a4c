"""Networks that do not change: by their weights, or by losses that could not look so otherwise."""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np

from ganvas.diagnosis.history import History
from ganvas.diagnosis.rules import fixes
from ganvas.diagnosis.rules.conditions import Condition, Detection, three_digits
from ganvas.diagnosis.rules.fixes import Fix
from ganvas.diagnosis.rules.losses import (
    chance,
    constant_since,
    is_clamped,
    is_cross_entropy,
    is_silent,
    newest,
    resolution,
)
from ganvas.diagnosis.rules.quality import severity_of

WAIT = 200
"""Rounds in which the other network may be trained alone: a critic before G, or G by the content of images."""

FINE = 1e-4
"""A gradient of 0 is no rounded one where losses are printed in steps of this or smaller ones."""


def frozen(network: Literal["D", "G"]) -> Callable[[History], Detection | None]:
    """Weights that have never changed; from losses alone: one that never changes, or a D that never learned."""

    def detect(history: History) -> Detection | None:
        update, gradient = history[f"{network}/update"], history[f"{network}/gradient"]
        if not update:
            found = _without_gradient(history, network) or _by_losses(history, network)
            severity = severity_of(history, found.since, sure=True) if found else None
            return replace(found, severity=severity) if found and severity else None
        moved = history[f"{network}/moved"]  # between the probes: it is not stepped in every round
        if len(update) < 2 or update.value.any() or moved.value.any():  # one that stopped has other reasons
            return None
        if may_begin(history, network):
            return None
        evidence = [f"the relative update of {network}'s weights was exactly 0 in each of {len(update)} probes"]
        if gradient:
            evidence.append(f"its gradient is {three_digits(gradient.last)}")
        trainable = history["D/trainable"]
        if network == "D" and trainable and not trainable.value.any():
            evidence.append("D.trainable is False")
            causes, fixes = (KERAS_CAUSE,), (UNFREEZE_D, CHECK_D_OPTIMISER)
            return Detection(float(update.at[0]), tuple(evidence), summary=KERAS_FROZEN, causes=causes, fixes=fixes)
        return Detection(float(update.at[0]), tuple(evidence))

    return detect


def may_begin(history: History, network: str) -> bool:
    """Whether a watched loop has only moved the other network yet, and computed no loss of this one."""
    if any(history[f"{network}/{of}"].value.any() for of in ("update", "moved")):
        return False
    own, other = (history[f"wiring/{name}/steps"] for name in (network, "G" if network == "D" else "D"))
    losses, trainable = history[f"wiring/{network}/losses"], history["D/trainable"]
    if not other.value.any() or own.value.any() or losses.value.any():
        return False
    switched_off = network == "D" and trainable and not trainable.value.any()
    return not switched_off and history.now < WAIT


def _without_gradient(history: History, network: str) -> Detection | None:
    """A gradient that has been 0 from the first row on, in a log that does not round to it."""
    gradient = history[f"{network}/gradient"]
    step = min(resolution(history, name) for name in (f"{network}/gradient", "D/loss"))
    if len(gradient) < 5 or gradient.value.any() or step > FINE or is_silent(history):
        return None
    evidence = f"the gradient of {network}'s weights is exactly 0 in each of {len(gradient)} rows"
    return Detection(float(gradient.at[0]), (evidence,), summary=f"{network} is frozen: no gradient reaches it.")


def _by_losses(history: History, network: Literal["D", "G"]) -> Detection | None:
    d = history["D/loss"]
    if is_silent(history) or (network == "G" and d and newest(d) < 0.05):  # then G's loss stands still for want of D's
        return None
    since = constant_since(history, f"{network}/loss")
    if since is not None:
        level = three_digits(history[f"{network}/loss"].last)
        still = f"{network} is frozen, or its output is always the same: its loss does not change at all."
        return Detection(since, (f"{network}'s loss has been exactly {level} ever since",), summary=still)
    return _never_learned(history) if network == "D" else None


def _never_learned(history: History) -> Detection | None:
    """A D that began at chance, has never been better, and has only got worse while G made use of that.

    One update in D's favour would take its loss below chance: it could answer 50 % to everything.
    """
    d, g = history["D/loss"].finite(), history["G/loss"].finite()
    level = chance(history, 1)
    if not is_cross_entropy(history) or min(len(d), len(g)) < 10 or abs(d.value[0] / level - 1) > 0.05:
        return None
    d_means, g_means = (np.array([part.mean() for part in np.array_split(one.value, 10)]) for one in (d, g))
    if (d.value < 0.95 * level).mean() > 0.02 or is_clamped(history, "D/loss"):
        return None
    worst = d_means.min() > 0.98 * level and d_means[-1] > max(1.12 * level, 0.98 * d_means.max())
    if not worst or g_means[-1] > min(0.6, 1.05 * g_means.min()):
        return None
    rose = f"D's loss began at {three_digits(d.value[0])}, about chance ({three_digits(level)}), and rose to"
    since = g.mostly_since(g.value < 0.66, 5)
    return Detection(
        float(d.at[0]) if since is None else since,
        (f"{rose} {three_digits(newest(d))}", f"while G's fell to {three_digits(newest(g))}"),
    )


def partly_frozen(history: History) -> Detection | None:
    """Some layers of a network whose others change; not where networks grow."""
    for network in ("D", "G"):
        unchanged, update = history[f"{network}/unchanged"], history[f"{network}/update"]
        since = unchanged.holds_since((unchanged.value >= 0.25) & (update.value > 0), 4)
        if since is not None and "growth" not in history:
            share = f"{100 * unchanged.recent():.0f} % of {network}'s weight tensors do not change at all"
            return Detection(since, (share,), network)
    return None


KERAS_FROZEN = "D is frozen by D.trainable = False: its weights do not change, so G learns from a D that never learns."
KERAS_CAUSE = "in Keras 3: discriminator.trainable = False before train_on_batch, which compile no longer protects"
UNFREEZE_D = Fix(
    "in Keras 3: D.trainable = True before D's train_on_batch, False again before the combined model's; or write the "
    "loop with GradientTape",
    scope="loop",
)
CHECK_D_OPTIMISER, CHECK_G_OPTIMISER = (
    Fix(f"check that {n}'s optimiser was given {n}.parameters() and is stepped in every round", scope="loop")
    for n in ("D", "G")
)
D_FROZEN = Condition(
    "D frozen", "failure", "D is frozen: its weights do not change, so G learns from a D that never learns.",
    (("D/update", "D/loss"),),
    ("D's optimiser is never stepped, or was built over other parameters",
     KERAS_CAUSE,
     "D's parameters have requires_grad=False, or its learning rate is 0"),
    (CHECK_D_OPTIMISER,
     UNFREEZE_D,
     Fix("a learning rate above 0, and no skipped updates", fixes.restart_updates("d_lr")),
     Fix("check that the learning rate of D is large enough to change float32 weights", scope="run")),
    "three public student reports under Keras 3: updates of exactly 0.0", frozen("D"),
)  # fmt: skip
G_FROZEN = Condition(
    "G frozen", "failure", "G is frozen: its weights do not change, so its images stay as they began.",
    (("G/update", "G/loss"),),
    ("G's optimiser is never stepped, or was built over other parameters", "the fakes were detached before G's loss",
     "G's learning rate is 0"),
    (CHECK_G_OPTIMISER, Fix("compute G's loss on D(fake), not on D(fake.detach())", scope="loop"),
     Fix("a learning rate above 0, and no skipped updates", fixes.restart_updates("g_lr")),
     Fix("check that the learning rate of G is large enough to change float32 weights", scope="run")),
    "as for D", frozen("G"),
)  # fmt: skip
PARTLY_FROZEN = Condition(
    "layers frozen", "warning", "Some layers of {about} never change.", (("D/unchanged", "G/unchanged"),),
    ("layers that are not in the optimiser", "a gradient that is cut off on its way: torch.no_grad() or .detach()",
     "rectifiers that output only zeros"),
    (Fix("compare the optimiser's parameters with network.parameters()", scope="loop"),
     Fix("lower the learning rate: large updates can leave rectifiers at zero", fixes.scaling_rates(0.1))),
    "", partly_frozen,
)  # fmt: skip
