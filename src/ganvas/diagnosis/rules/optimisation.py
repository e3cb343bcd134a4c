"""Conditions of the optimisation: a network that does not learn, one that is too strong, numbers that diverge."""

from collections.abc import Callable
from typing import Literal

import numpy as np

from ganvas.diagnosis.history import History, Series
from ganvas.diagnosis.rules import fixes, remedies
from ganvas.diagnosis.rules.conditions import Condition, Detection, is_critic, three_digits
from ganvas.diagnosis.rules.fixes import Fix

CHANCE = 2 * np.log(2)
"""D's loss, of reals and fakes together, when it cannot tell them apart."""

NEAR = 0.02
"""A distance to the reals below which fakes cannot be told from them by their pixels."""

FEW = 500
"""Training images that any D memorises sooner or later."""

BOUNDS = ("clip", "spectral_norm", "gp", "r1", "r2", "dragan")
"""The fields that bound a critic's gradient."""

YOUNG = 1500
"""Images shown before which no network can be said to have stopped learning."""


def non_finite(history: History) -> Detection | None:
    """A loss, a logit or an image that is NaN or infinite."""
    if first := history.facts.non_finite:
        return Detection(first.at, (f"{', '.join(first.quantities)} stopped being finite",))
    for name in ("D/loss", "G/loss", "D/real", "D/fake", "real/std", "fake/std"):
        series, counted = history[name], history[f"{name}/bad"]
        wrong = np.flatnonzero(~np.isfinite(series.value))
        if len(wrong):
            share = f"{len(wrong)} of {len(series)} values"
            return Detection(float(series.at[wrong[0]]), (f"{name} is not finite in {share}",))
        if counted and counted.value.any():
            return Detection(float(counted.at[counted.value > 0][0]), (f"{name} was not finite",))
    return None


def frozen(network: Literal["D", "G"]) -> Callable[[History], Detection | None]:
    """Weights that have never changed; from losses alone: a loss that never changes."""

    def detect(history: History) -> Detection | None:
        update, gradient = history[f"{network}/update"], history[f"{network}/gradient"]
        if not update:
            constant = _constant(history[f"{network}/loss"], network)
            return constant or (_never_better(history) if network == "D" else None)
        if len(update) < 2 or update.value.any():  # one that changed and then stopped has other reasons
            return None
        evidence = [f"the relative update of {network}'s weights was exactly 0 in each of {len(update)} probes"]
        if gradient:
            evidence.append(f"its gradient is {three_digits(gradient.last)}")
        return Detection(float(update.at[0]), tuple(evidence))

    return detect


def _constant(loss: Series, network: str) -> Detection | None:
    if not loss or not 0 < abs(loss.last) < 40:  # saturated, or diverged: other rows
        return None
    since = loss.holds_since(np.abs(loss.value - loss.last) <= 1e-9, 5)
    if since is None:
        return None
    return Detection(since, (f"{network}'s loss has been exactly {three_digits(loss.last)} ever since",))


def _never_better(history: History) -> Detection | None:
    """A D that is fooled, and whose loss, smoothed, has not fallen once since G began to fool it."""
    loss, fooled = history["D/loss"], _fooled_since(history)
    if fooled is None or len(loss) < 20:
        return None
    smooth = np.array([part.mean() for part in np.array_split(loss.value, 10)])
    if smooth[-1] < 0.995 * smooth.max():
        return None
    rose = f"D's loss has only risen, from {three_digits(loss.value[0])} to {three_digits(loss.recent(5))}"
    return Detection(fooled, (rose, f"while G's fell to {three_digits(history['G/loss'].recent(5))}"))


def _fooled_since(history: History) -> float | None:
    """Since when, by the losses, fakes have passed for real: G's below that of chance, D's above where it began."""
    g, d = history["G/loss"], history["D/loss"]
    if is_critic(history) or len(g) < 10 or len(d) < 10 or d.recent(5) < 1.05 * d.value[0]:
        return None
    return g.holds_since(g.value < 0.66, 10)


def partly_frozen(history: History) -> Detection | None:
    """Some layers of a network whose others change; not where networks grow."""
    for network in ("D", "G"):
        unchanged, update = history[f"{network}/unchanged"], history[f"{network}/update"]
        since = unchanged.holds_since((unchanged.value >= 0.25) & (update.value > 0), 4)
        if since is not None and "growth" not in history:
            share = f"{100 * unchanged.recent():.0f} % of {network}'s weight tensors do not change at all"
            return Detection(since, (share,), network)
    return None


def diverging(history: History) -> Detection | None:
    """Losses or logits far beyond what a probability needs, and far beyond what they were."""
    if is_critic(history):
        return None
    for name, limit in (("G/loss", 40.0), ("D/loss", 40.0), ("D/real", 100.0), ("D/fake", 100.0)):
        series = history[name]
        if len(series) < 3:
            continue
        size = np.abs(series.value)
        since = series.holds_since(size > limit)
        if since is not None:
            now = f"{name} is {three_digits(series.recent())}, and began at {three_digits(series.value[0])}"
            return Detection(since, (now,))
    for network in ("D", "G"):
        update = history[f"{network}/update"]
        since = update.holds_since(update.value > 0.5)
        if since is not None:
            return Detection(since, (f"{network}'s weights change by {100 * update.recent():.0f} % in one update",))
    return None


def rate_high(history: History) -> Detection | None:
    """Updates so large that weights are replaced rather than improved."""
    for network in ("G", "D"):
        update = history[f"{network}/update"]
        since = update.holds_since(update.value > 0.06, 3)
        if since is not None and history.now > update.at[0]:
            now = f"{network}'s weights change by {100 * update.recent():.0f} % an update; 0.1 to 2 % is usual"
            return Detection(since, (now, *_distance_evidence(history)), network)
        most = update.value[:3].max(initial=0)
        wild = most > 0.3 or (len(update) >= 4 and np.median(update.value[:4]) > 0.06)
        gradient = history[f"{network}/gradient"]
        dead = most > 0.05 and gradient and gradient.recent() == 0
        if dead or (wild and is_poor(history) and not is_critic(history)):
            largest = f"{network}'s weights changed by {100 * most:.0f} % in one update"
            return Detection(float(update.at[0]), (largest, *_distance_evidence(history)), network)
    return None


def rate_low(history: History) -> Detection | None:
    """Updates so small that nothing has changed by now."""
    d, g, distance = history["D/update"], history["G/update"], history["distance"]
    if len(d) < 3 or len(g) < 3 or not 0 < max(d.recent(), g.recent(), d.early(), g.early()) < 3e-5:
        return None
    if distance and distance.recent() < 0.8 * distance.early(2):
        return None
    sizes = f"D's weights by {three_digits(d.recent())} of their size and G's by {three_digits(g.recent())}"
    evidence = (f"an update changes {sizes}; 1e-3 to 2e-2 is usual", *_distance_evidence(history))
    return Detection(float(d.at[0]), evidence)


def leaking(history: History) -> Detection | None:
    """A D with batch norm that receives reals and fakes in one batch."""
    mixed, shift = history["D/mixed_batch"], history["D/batch_effect"]
    since = mixed.holds_since((mixed.value > 0) & (shift.value > 0.3))
    if since is None:
        return None
    moved = f"D's outputs of the same reals shift by {three_digits(shift.recent())} standard deviations with the batch"
    return Detection(since, ("reals and fakes pass through D's batch norm in one batch", moved))


def too_weak(history: History) -> Detection | None:
    """A D that cannot tell even poor fakes from real images, so that G learns nothing from it."""
    auc, distance = history["D/auc"], history["distance"]
    if auc:
        far = not distance or distance.recent() > 0.3
        least = min(0.55, 0.5 + auc.value.max() / 10)
        since = auc.holds_since(auc.value < least, 5)
        if since is None or not far or is_critic(history) or is_young(history):
            return None
        ranked = f"D ranks a real above a fake in {100 * auc.recent():.0f} % of pairs; chance is 50 %"
        return Detection(since, (ranked, *_distance_evidence(history)))
    since, d, g = _fooled_since(history), history["D/loss"], history["G/loss"]
    if since is None:
        return None
    below = f"G's loss is {three_digits(g.recent(5))}, below what a D at chance would give it (0.69)"
    return Detection(since, (below, f"while D's went from {three_digits(d.value[0])} to {three_digits(d.recent(5))}"))


def too_strong(history: History) -> Detection | None:
    """A D that is always right while the images no longer improve: G learns nothing from it."""
    if is_critic(history):
        return None
    auc, distance, gradient = history["D/auc"], history["distance"], history["G/gradient"]
    loss = history["D/loss"]
    if auc and distance:
        since = auc.holds_since(auc.value > 0.995, 6)
        if since is None or is_young(history):
            return None
        stretch = distance.after(since - 1e-9)
        stuck = len(stretch) >= 3 and stretch.recent() > 0.8 * stretch.early() and is_poor(history)
        sure = not loss or loss.recent() < 0.1
        if not (stuck and sure):
            return None
        evidence = [f"D is right about {100 * auc.recent():.1f} % of all pairs", *_distance_evidence(history)]
        if gradient:
            evidence.append(f"the gradient that reaches G is {three_digits(gradient.recent())}")
        return Detection(since, tuple(evidence))
    since = loss.holds_since(loss.value < 0.05, 10) if loss else None
    score = next((history[name] for name in ("fid", "kid") if history[name]), None)
    if since is None or (score and score.recent() < 0.9 * score.early()):  # confident, and G still learns
        return None
    low = f"D's loss is {three_digits(loss.recent(10))} (chance would be {three_digits(CHANCE)} or half of it)"
    return Detection(since, (low,))


def unconstrained(history: History) -> Detection | None:
    """A Wasserstein critic whose gradient or loss grows without bound."""
    if not is_critic(history):
        return None
    gradient, loss, knobs = history["D/input_gradient"], history["D/loss"], history.facts.knobs
    if knobs and gradient and not any(knobs[bound] for bound in BOUNDS):
        unset = "neither clipping nor a gradient penalty nor spectral norm is set"
        now = f"the critic's input gradient at fakes has norm {three_digits(gradient.recent())}; it should be 1"
        return Detection(float(gradient.at[0]), (unset, now))
    if len(gradient) >= 4 and gradient.recent() > 6 and gradient.recent() > 4 * gradient.early(1):
        grown = f"went from {three_digits(gradient.value[0])} to {three_digits(gradient.recent())}; it should be 1"
        first = gradient.at[np.flatnonzero(gradient.value > 6)[0]]
        return Detection(float(first), (f"the norm of the critic's input gradient at fakes {grown}",))
    if not gradient and len(loss) >= 10 and abs(loss.recent(5)) > 100 * max(abs(loss.early(5)), 0.1):
        grown = f"its loss went from {three_digits(loss.early(5))} to {three_digits(loss.recent(5))}"
        return Detection(float(loss.at[0]), (grown,))
    return None


def under_trained(history: History) -> Detection | None:
    """A critic that does not detect the distance there is."""
    auc, distance = history["D/auc"], history["distance"]
    if not is_critic(history) or len(auc) < 4:
        return None
    since = auc.holds_since(auc.value < 0.6, 4)
    if since is None or not distance or distance.recent() < 0.3:
        return None
    ranked = f"the critic ranks a real above a fake in only {100 * auc.recent():.0f} % of pairs"
    return Detection(since, (ranked, *_distance_evidence(history)))


def overfitting(history: History) -> Detection | None:
    """A D that has memorised the training images."""
    overfit, held = history["D/overfit"], history["D/held_auc"]
    if len(overfit) < 5 or len(held) < 5:
        return None
    images, shown = history.facts.images, history.facts.shown or 0
    few = images is not None and images <= FEW and shown > 30 * images  # then even a small gap will only grow
    distance = history["distance"]
    better = len(distance) >= 10 and distance.recent(5) < 0.8 * float(np.median(distance.value[-10:-5]))
    if not few and distance and (better or distance.recent(5) < NEAR):  # it does no harm
        return None
    gap, share = (0.08, 0.58) if few else (0.35, 0.62)
    if not (overfit.recent(5) >= gap and held.recent(5) >= share):
        return None
    since = held.holds_since(held.value > 0.58, 2)
    ranked = f"D ranks a training image above a held-out one in {100 * held.recent(5):.0f} % of pairs (chance: 50 %)"
    gap = f"held-out images score {100 * overfit.recent(5):.0f} % of the way from training images to fakes (0 %)"
    often = (f"each of the {images:,} images was shown about {shown / images:,.0f} times",) if few and images else ()
    return Detection(since if since is not None else float(held.at[-3]), (ranked, gap, *often))


def is_young(history: History) -> bool:
    """Whether so few images have been shown that everything may still change."""
    return history.facts.shown is not None and history.facts.shown < YOUNG


def is_poor(history: History) -> bool:
    """Whether the fakes are far from the reals: all together, or each of them."""
    distance, precision = history["distance"], history["precision"]
    if not distance:
        return False
    each = precision and precision.recent() < 0.05 and distance.recent() > 0.05
    return distance.recent() > 0.3 or bool(each)


def _distance_evidence(history: History) -> tuple[str, ...]:
    """How far the fakes are from the reals, and were at the start."""
    distance = history["distance"]
    if not distance:
        return ()
    now, start = three_digits(distance.recent()), three_digits(distance.value[0])
    return (f"the fakes' distance to the reals is {now}, and began at {start}",)


PENALTY = Fix(
    "penalise D's input gradients (R1 and R2; for a Wasserstein critic WGAN-GP's penalty)", fixes.penalise_gradients
)
CHECK_D_OPTIMISER, CHECK_G_OPTIMISER = (
    Fix(f"check that {n}'s optimiser was given {n}.parameters() and is stepped in every round", scope="loop")
    for n in ("D", "G")
)
FASTER_D = Fix("let D learn at G's rate, or four times as fast as now", fixes.match_rates)

NON_FINITE = Condition(
    "non-finite", "failure", "Numbers are no longer finite: nothing can be learned from here on.", ("D/loss",),
    ("a learning rate that is far too high", "a NaN in the data", "a logarithm of 0: a probability instead of logits"),
    (Fix("look for NaNs in the data", scope="loop"),
     Fix("lower both learning rates tenfold", fixes.scaling_rates(0.1)),
     Fix("compute the loss from logits (softplus, BCEWithLogits), never as log(sigmoid(x))", scope="loop"), PENALTY),
    "IEEE 754; Goodfellow 2016, section 4", non_finite, remedies.USUAL_RATES,
)  # fmt: skip
D_FROZEN = Condition(
    "D frozen", "failure", "D is frozen: its weights do not change, so G learns from a D that never learns.",
    (("D/update", "D/loss"),),
    ("D's optimiser is never stepped, or was built over other parameters",
     "in Keras 3: discriminator.trainable = False before train_on_batch, which compile no longer protects",
     "D's parameters have requires_grad=False, or its learning rate is 0"),
    (CHECK_D_OPTIMISER,
     Fix("in Keras: set trainable back to True before D's train_on_batch, or write the loop with GradientTape",
         scope="loop"),
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
    ("layers that are not in the optimiser", "layers that the forward pass does not use",
     "rectifiers that output only zeros"),
    (Fix("compare the optimiser's parameters with network.parameters()", scope="loop"),
     Fix("lower the learning rate: large updates can leave rectifiers at zero", fixes.scaling_rates(0.1))),
    "", partly_frozen,
)  # fmt: skip
LEAK = Condition(
    "batch-norm leak", "failure", "Batch norm leaks: D can tell reals from fakes by the rest of their batch.",
    ("D/batch_effect",),
    ("reals and fakes are concatenated into one batch for a D with batch norm",),
    (Fix("pass reals and fakes through D in separate batches", scope="loop"),
     Fix("take batch norm out of D", fixes.setting(d_norm="none"))),
    "Radford et al. 2015; Chintala et al. 2016, ganhacks 4", leaking,
)  # fmt: skip
DIVERGENCE = Condition(
    "divergence", "failure", "Training has diverged: losses or outputs grow without bound.", (("D/loss", "D/real"),),
    ("a learning rate that is too high", "no gradient penalty on D"),
    (Fix("halve both learning rates", fixes.scaling_rates(0.5)), PENALTY),
    "Mescheder et al. 2018", diverging, remedies.HALF_RATES,
)  # fmt: skip
RATE_HIGH = Condition(
    "learning rate too high", "failure", "{about}'s learning rate is too high: each update undoes what it had learned.",
    (("G/update", "D/update"),), ("a learning rate meant for another optimiser or network",),
    (Fix("a tenth of the learning rate", fixes.scaling_rates(0.1)),), "", rate_high, remedies.USUAL_RATES,
)  # fmt: skip
RATE_LOW = Condition(
    "learning rate too low", "failure", "The learning rates are too low: the weights hardly change.",
    ("G/update", "D/update"), ("a learning rate meant for another optimiser, or decayed to nothing",),
    (Fix("ten times the learning rates", fixes.scaling_rates(10)),
     Fix("a hundred times the learning rates", fixes.scaling_rates(100))), "", rate_low, remedies.HIGHER_RATES,
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
     Fix("check that D's loss asks for high outputs on reals and low ones on fakes", scope="loop"),
     Fix("a wider D", fixes.widen("d_width", "d_widths"))),
    "Goodfellow 2016, section 5.2", too_weak, remedies.FASTER_D,
)  # fmt: skip
TOO_STRONG = Condition(
    "D too strong", "failure", "D is too strong: it is always right, and G no longer improves.",
    (("D/auc", "D/loss"),),
    ("the saturating loss, whose gradient vanishes when D is sure", "D learns faster, or more often, than G",
     "no gradient penalty"),
    (Fix("a loss whose gradient does not vanish (non-saturating)", fixes.non_saturating_loss), PENALTY,
     Fix("fewer or smaller updates of D", fixes.update_d_less), Fix("noise on D's input", fixes.add_noise)),
    "Goodfellow et al. 2014, section 3; Arjovsky & Bottou 2017", too_strong, remedies.HALF_RATES,
)  # fmt: skip
OVERFITTING = Condition(
    "D overfits", "failure", "D has memorised the training images instead of learning to tell real from fake.",
    ("D/held_auc",), ("too few images", "no augmentation", "no gradient penalty"),
    (Fix("augment D's input (ADA, DiffAugment)", fixes.augment),
     Fix("more images, or mirrored ones if a mirrored image is as good", fixes.setting(mirror=True)),
     PENALTY, Fix("dropout in D", fixes.add_dropout)),
    "Karras et al. 2020 (ADA), section 2", overfitting, remedies.AUGMENTED,
)  # fmt: skip
