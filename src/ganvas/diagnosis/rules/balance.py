"""Conditions of the balance between D and G: a D that is too weak or too strong, and a critic that measures nothing."""

import numpy as np

from ganvas.diagnosis.history import History
from ganvas.diagnosis.rules import fixes, remedies
from ganvas.diagnosis.rules.conditions import Condition, Detection, three_digits
from ganvas.diagnosis.rules.fixes import PENALTY, Fix
from ganvas.diagnosis.rules.losses import (
    AT_CHANCE,
    CHANCE,
    SILENT,
    chance,
    is_clamped,
    is_critic,
    is_cross_entropy,
    is_silent,
    newest,
    penalty_alone_since,
    resolution,
    smoothed,
)
from ganvas.diagnosis.rules.progress import distance_evidence, is_poor, is_young
from ganvas.diagnosis.rules.quality import severity_of

EXPLODED = 1e4
"""How many times what it was a critic's loss must be to be a failure by itself."""

HINGE_AT_CHANCE = 2.05
"""Slightly above the hinge loss of a D at chance: two losses below it may be hinge losses in balance."""

FLAT_PROBES = 4
"""Probes in which a critic must have had no gradient."""

FEW_PROBES = 6
"""With fewer the losses, which are known of each step, say more."""

BOUNDS = ("clip", "spectral_norm", "gp", "r1", "r2", "dragan")
"""The fields that bound a critic's gradient."""


def too_weak(history: History) -> Detection | None:
    """A D that cannot tell even poor fakes from real images, so that G learns nothing from it."""
    auc, distance = history["D/auc"], history["distance"]
    if is_young(history):
        return None
    if len(auc) >= FEW_PROBES and not _may_be_inverted(history):
        far = distance and distance.recent() > 0.3
        least = min(0.55, 0.5 + auc.value.max() / 10)
        since = auc.holds_since(auc.value < least, 5)
        if since is None or not far or is_critic(history):
            return None
        ranked = f"D ranks a real above a fake in {100 * auc.recent():.0f} % of pairs; chance is 50 %"
        return Detection(since, (ranked, *distance_evidence(history)))
    return _fooled(history) or _always_at_chance(history)


def _may_be_inverted(history: History) -> bool:
    """Whether it is not known if D's loss asks for high outputs on reals, and its outputs are lower on these."""
    unread, auc = history["targets/unread"], history["D/auc"]
    return bool(unread and unread.last and auc.recent() < 0.45)


def _always_at_chance(history: History) -> Detection | None:
    """By the losses: D's answer is the same to everything, from the first row to the last."""
    d, g = history["D/loss"].finite(), history["G/loss"].finite()
    levels = ((CHANCE, CHANCE / 2), (CHANCE / 2, CHANCE / 2), (2.0, 0.0))  # cross-entropies, and the hinge loss
    if min(len(d), len(g)) < 20:
        return None
    near = [np.abs(d.value - of_d).max() < 0.01 and np.abs(g.value - of_g).max() < 0.01 for of_d, of_g in levels]
    severity = severity_of(history, float(d.at[0]))
    if not any(near) or severity is None:
        return None
    seen = f"D's loss has been {three_digits(newest(d))} and G's {three_digits(newest(g))} in all {len(d)} rows"
    nothing = "D has learned nothing: its answer to everything is the same, that of chance."
    return Detection(float(d.at[0]), (seen,), severity=severity, summary=nothing)


def _fooled(history: History) -> Detection | None:
    """By the losses: fakes pass for real, and D is worse than one that answers 50 % to everything."""
    d, g, level = history["D/loss"].finite(), smoothed(history["G/loss"]), chance(history, 3)
    if not is_cross_entropy(history) or min(len(g), len(d)) < 10 or newest(d) < 1.1 * level:
        return None
    inverted = _inverted(history)
    certain = inverted or level < CHANCE or history.facts.knobs.get("objective") in AT_CHANCE
    if not certain and newest(d) < HINGE_AT_CHANCE:
        return None
    since = g.mostly_since(g.value < 0.6, max(10, len(g) // 20))
    if since is None or (severity := severity_of(history, since)) is None:
        return None
    below = f"G's loss is {three_digits(newest(g))}, below what a D at chance would give it (0.69)"
    above = f"D's is {three_digits(newest(d))}, and {three_digits(level)} would be chance"
    seen = (below, above, *inverted)
    return Detection(since, seen, severity=severity, fixes=(CHECK_TARGETS, FASTER_D) if inverted else ())


def _inverted(history: History) -> tuple[str, ...]:
    """D's outputs in a log, if they are far lower on reals than on fakes."""
    real, fake = history["D/real"].finite(), history["D/fake"].finite()
    if min(len(real), len(fake)) < 10 or not all(0 <= of.value.min() <= of.value.max() <= 1 for of in (real, fake)):
        return ()
    on_real, on_fake = newest(real), newest(fake)
    return (f"D's output is {on_real:.2g} on reals and {on_fake:.2g} on fakes",) if on_real + 0.5 < on_fake else ()


def too_strong(history: History) -> Detection | None:
    """A D that is always right while the images no longer improve: G learns nothing from it."""
    if is_critic(history):
        return None
    auc, distance, gradient = history["D/auc"], history["distance"], history["G/gradient"]
    loss = history["D/loss"]
    if is_young(history):
        return None
    if auc and distance and len(auc) >= FEW_PROBES:
        since = auc.holds_since(auc.value > 0.995, 6)
        if since is None:
            return None
        sure = not loss or loss.recent() < 0.1
        if not (_is_stuck(history, since) and sure):
            return None
        evidence = [f"D is right about {100 * auc.recent():.1f} % of all pairs", *distance_evidence(history)]
        if gradient:
            evidence.append(f"the gradient that reaches G is {three_digits(gradient.recent())}")
        return Detection(since, tuple(evidence))
    found = _never_wrong(history)
    measured = bool(distance) and history.probes >= FEW_PROBES  # of small batches, where D's order is known late
    return None if found and measured and not _is_stuck(history, found.since) else found


def _is_stuck(history: History, since: float) -> bool:
    """Whether the fakes are far from the reals, and have not come nearer since."""
    stretch = history["distance"].after(since - 1e-9)
    return len(stretch) >= 3 and stretch.recent() > 0.8 * stretch.early() and is_poor(history)


def _never_wrong(history: History) -> Detection | None:
    """By the losses: D's is almost 0."""
    loss, g = smoothed(history["D/loss"]), history["G/loss"].finite()
    certain = bool(loss) and newest(loss) == 0 and is_clamped(history, "G/loss")
    if not loss or (resolution(history, "D/loss") > 0.1 and not certain):
        return None
    least = 5 if loss.recent(5) < 0.01 else 10
    since = loss.mostly_since(loss.value < 0.05, max(least, len(loss) // 20))
    if since is None or (severity := severity_of(history, since, sure=certain)) is None:
        return None
    known = AT_CHANCE.get(history.facts.knobs.get("objective", ""))
    least_squares = g and newest(g) < 1.5  # cross-entropy would give G far more
    level = three_digits(known or (0.5 if least_squares else CHANCE)) + ("" if known else " or half of it")
    low = f"D's loss is {three_digits(newest(loss))} (chance would be {level})"
    others = [f"G's is {three_digits(newest(g))}"] if g else []
    unsure = "" if severity == "failure" else "D is too strong: its loss is almost 0, and G may learn nothing from it."
    return Detection(since, (low, *others), severity=severity, summary=unsure)


def silent(history: History) -> Detection | None:
    """A Wasserstein critic whose outputs on reals and fakes are the same."""
    d = history["D/loss"].finite()
    if not is_critic(history):
        return None
    if history["D/input_gradient"]:
        return _flat(history)
    if not is_silent(history):
        return None
    alone = penalty_alone_since(history)
    since = alone if alone is not None else d.mostly_since(np.abs(d.value) <= 10 * SILENT, 5)
    if since is None or (severity := severity_of(history, since, sure=True)) is None:
        return None
    low = f"the critic's loss, the difference of its outputs on fakes and reals, is {three_digits(newest(d))}"
    level = f"its outputs themselves are near {three_digits(newest(history['G/loss']))}"
    if alone is None:
        return Detection(since, (low, level), severity=severity)
    low = f"the critic's loss is its gradient penalty alone, {three_digits(newest(d))}: that of a gradient of 0"
    return Detection(since, (low, level), severity=severity, causes=CONSTANT_CAUSES, fixes=CONSTANT_FIXES)


def _flat(history: History) -> Detection | None:
    """By the gradient that reaches G through the critic."""
    gradient = history["D/input_gradient"]
    since = gradient.holds_since(gradient.value < SILENT, FLAT_PROBES)
    if since is None or is_young(history) or not is_poor(history):
        return None
    norm = f"the norm of the critic's input gradient at fakes is {three_digits(gradient.recent())}; it should be 1"
    return Detection(since, (norm, *distance_evidence(history)))


def unconstrained(history: History) -> Detection | None:
    """A Wasserstein critic whose gradient or loss grows without bound."""
    if not is_critic(history):
        return None
    gradient, knobs = history["D/input_gradient"], history.facts.knobs
    if knobs and gradient and not any(knobs[bound] for bound in BOUNDS):
        unset = "neither clipping nor a gradient penalty nor spectral norm is set"
        now = f"the critic's input gradient at fakes has norm {three_digits(gradient.recent())}; it should be 1"
        return Detection(float(gradient.at[0]), (unset, now))
    if len(gradient) >= 4 and gradient.recent() > 6 and gradient.recent() > 4 * gradient.early(1):
        grown = f"went from {three_digits(gradient.value[0])} to {three_digits(gradient.recent())}; it should be 1"
        first = gradient.at[np.flatnonzero(gradient.value > 6)[0]]
        seen = (f"the norm of the critic's input gradient at fakes {grown}",)
        if not history["targets/penalised"].value.any():
            return Detection(float(first), seen)
        return Detection(float(first), seen, summary=DIVERGED, causes=PENALISED_CAUSES, fixes=PENALISED_FIXES)
    return None if gradient else _growing_loss(history)


def _growing_loss(history: History) -> Detection | None:
    """By the losses: a critic's has grown beyond any distance."""
    loss = history["D/loss"].finite()
    if len(loss) < 10:
        return None
    began = max(abs(loss.early(5)), 1.0)
    size, limit = abs(newest(loss)), 100 * began
    since = loss.mostly_since(np.abs(loss.value) > limit, 3)
    if size < limit or since is None:
        return None
    severity = severity_of(history, since, sure=size > EXPLODED * began)
    if severity is None:
        return None
    grown = f"its loss went from {three_digits(loss.early(5))} to {three_digits(newest(loss))}"
    penalty = history["D/gp"].finite()
    if not penalty:
        return Detection(since, (grown,), severity=severity)
    share = f"its gradient penalty from {three_digits(penalty.early(5))} to {three_digits(newest(penalty))}"
    return Detection(since, (grown, share), severity=severity, summary=DIVERGED, fixes=PENALISED_FIXES)


def under_trained(history: History) -> Detection | None:
    """A critic that does not detect the distance there is."""
    auc, distance = history["D/auc"], history["distance"]
    if not is_critic(history) or len(auc) < 4:
        return None
    since = auc.holds_since(auc.value < 0.6, 4)
    if since is None or not distance or distance.recent() < 0.3 or _may_be_inverted(history):
        return None
    ranked = f"the critic ranks a real above a fake in only {100 * auc.recent():.0f} % of pairs"
    return Detection(since, (ranked, *distance_evidence(history)))


CHECK_TARGETS = Fix("check that D's loss asks for high outputs on reals and low ones on fakes", scope="loop")
FASTER_D = Fix("let D learn at G's rate, or four times as fast as now", fixes.match_rates)

CONSTANT_CAUSES = (
    "updates so large that all of the critic's rectifiers output zeros",
    "a critic that ends in a bounded or saturated layer",
)
CONSTANT_FIXES = (
    Fix("start again: a critic without gradient does not recover", scope="loop"),
    Fix("a lower learning rate for the critic (1e-4, Adam with β 0 and 0.9)", fixes.scaling_rates(0.5)),
    Fix("LeakyReLU and layer norm in the critic, and a linear last layer", scope="loop"),
)
"""Of a critic with a gradient penalty, whose output is constant."""

PENALISED_FIXES = (
    Fix("a lower learning rate for the critic (1e-4, Adam with β 0 and 0.9)", fixes.scaling_rates(0.5)),
    Fix("check the penalty: the norm over all pixels of an image, at points between reals and fakes", scope="loop"),
    Fix("keep batch norm out of the critic: the penalty is defined for each image", scope="loop"),
)
"""Of a critic that diverges although it is penalised."""

PENALISED_CAUSES = ("a learning rate that is too high for the penalty", "a penalty that is too weak")

DIVERGED = "The critic diverges in spite of its gradient penalty."

SILENT_CRITIC = Condition(
    "critic without gradient", "failure",
    "A critic without gradient: its outputs on reals and fakes are the same, so G learns nothing from it.",
    (("D/input_gradient", "D/loss"), ("D/input_gradient", "G/loss")),
    ("weights clipped so tightly that a deep critic's output no longer depends on its input",
     "a critic whose optimiser is never stepped"),
    (Fix("a gradient penalty in place of clipping (WGAN-GP)", fixes.replace_clipping),
     Fix("a larger clipping bound, and batch norm in the critic, if it must be clipped", scope="loop"),
     Fix("check that the critic's optimiser was given its parameters and is stepped in every round", scope="loop"),
     FASTER_D),
    "Gulrajani et al. 2017, section 3", silent,
)  # fmt: skip
UNCONSTRAINED = Condition(
    "critic unconstrained", "failure", "Nothing bounds the critic's gradient: its loss estimates no distance.",
    ("D/loss", "D/input_gradient"), ("a Wasserstein loss without clipping, gradient penalty or spectral norm",),
    (Fix("a gradient penalty (WGAN-GP)", fixes.bound_critic), Fix("clip the weights", fixes.clip_weights)),
    "Arjovsky et al. 2017; Gulrajani et al. 2017", unconstrained, remedies.HALF_RATES,
)  # fmt: skip
UNDER_TRAINED = Condition(
    "critic under-trained", "failure", "The critic learns too little to measure how far the fakes are from the reals.",
    ("D/auc", "distance"), ("one update of the critic for each of G's", "weights clipped too tightly"),
    (Fix("five updates of the critic for one of G", fixes.five_critic_steps),
     Fix("a gradient penalty in place of clipping", fixes.replace_clipping), FASTER_D),
    "Arjovsky et al. 2017, section 3", under_trained, remedies.FASTER_D,
)  # fmt: skip
TOO_WEAK = Condition(
    "D too weak", "failure", "D is too weak: it cannot tell even poor fakes from real images.",
    (("D/auc", "G/loss"),),
    ("D's learning rate is far below G's", "D is frozen, or trained on the wrong labels",
     "G is updated more often than D"),
    (FASTER_D, Fix("update D more often", fixes.update_d_more),
     CHECK_TARGETS,
     Fix("a wider D", fixes.widen("d_width", "d_widths"))),
    "Goodfellow 2016, section 5.2", too_weak, remedies.FASTER_D,
)  # fmt: skip
TOO_STRONG = Condition(
    "D too strong", "failure", "D is too strong: it is always right, and G no longer improves.",
    (("D/auc", "D/loss"),),
    ("D learns faster, or more often, than G", "no gradient penalty",
     "the saturating loss, whose gradient vanishes when D is sure"),
    (Fix("let G learn at D's rate", fixes.raise_g_rate),
     Fix("a loss whose gradient does not vanish (non-saturating)", fixes.non_saturating_loss, scope="run"), PENALTY,
     Fix("fewer or smaller updates of D", fixes.update_d_less), Fix("noise on D's input", fixes.add_noise),
     Fix("if G minimises log(1 - D(fake)), let it maximise log D(fake) instead", scope="loop")),
    "Goodfellow et al. 2014, section 3; Arjovsky & Bottou 2017", too_strong, remedies.HALF_RATES,
)  # fmt: skip
