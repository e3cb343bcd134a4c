"""Conditions of the optimisation: numbers that diverge, learning rates, a leak, a D that overfits."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ganvas.diagnosis.history import History, Series
from ganvas.diagnosis.rules import fixes, remedies
from ganvas.diagnosis.rules.conditions import Condition, Detection, three_digits
from ganvas.diagnosis.rules.fixes import PENALTY, Fix
from ganvas.diagnosis.rules.losses import is_clamped, is_critic, newest
from ganvas.diagnosis.rules.progress import distance_evidence, is_poor, is_young
from ganvas.diagnosis.rules.quality import severity_of

NEAR = 0.02
"""A distance to the reals below which fakes cannot be told from them by their pixels."""

LARGE = 0.06
"""A relative change of all weights in one update above which it undoes what was learned."""

USUAL_RATE = 0.02
"""A learning rate of Adam or RMSprop above all that GANs are trained with."""

FEW = 500
"""Training images that any D memorises sooner or later."""


LIMITS = {"G/loss": 40.0, "D/loss": 40.0, "D/real": 100.0, "D/fake": 100.0}
"""Losses and logits far beyond what a probability needs."""

APART = 100.0
"""A distance between logits, on reals and on fakes or of one kind, far beyond that."""

CLEAN = 3
"""Probes of a watched loop, the last ones, since which all losses must have been finite for it to have recovered."""

RECOVERED = "Some numbers were not finite, and the training recovered."

EXPLODED = 1000.0
"""A loss, and how many times what it was, that no objective explains."""


def non_finite(history: History) -> Detection | None:
    """A loss, a logit or an image that is NaN or infinite, and stays so; a warning where it recovered."""
    if first := history.facts.non_finite:
        return Detection(first.at, (f"{', '.join(first.quantities)} stopped being finite",))
    passing = None
    for name in ("D/loss_real", "D/loss_fake", "D/loss", "G/loss", "D/real", "D/fake", "D/gp", "real/std", "fake/std"):
        series, counted = history[name], history[f"{name}/bad"]
        begins, ends = _runs(~np.isfinite(series.value))
        if len(begins) and ends[-1] == len(series) and ends[-1] - begins[-1] > (ends - begins)[:-1].max(initial=0):
            share = f"{ends[-1] - begins[-1]} of {len(series)} values"
            return Detection(float(series.at[begins[-1]]), (f"{name} is not finite in the last {share}",))
        if counted and counted.value.any():
            since = float(counted.at[counted.value > 0][0])
            if counted.value[-CLEAN:].any():
                return Detection(since, (f"{name} was not finite",))
            bad = f"{name} was not finite in {counted.value.sum():.0f} steps, and is finite again after them"
            passing = passing or Detection(since, (bad,), severity="warning", summary=RECOVERED)
        later = begins > 0  # before the first value there was nothing to measure
        lost = (ends - begins)[later].sum()
        if passing is None and 0 < lost < len(series) / 10:  # more are gaps: it is not measured every time
            since = float(series.at[begins[later][0]])
            passing = Detection(
                since,
                (f"{name} is not finite in {lost} of {len(series)} values, and finite again after them",),
                severity="warning",
                summary=RECOVERED,
            )
    return passing


def _runs(true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(where runs of true values begin, the place after their last), int [n] each."""
    change = np.diff(np.concatenate([[0], true.astype(int), [0]]))
    return np.flatnonzero(change == 1), np.flatnonzero(change == -1)


def diverging(history: History) -> Detection | None:
    """Losses or logits far beyond what a probability needs, and far beyond what they were."""
    if is_critic(history):
        return None
    if not history.probes:
        return next((found for name in LIMITS if (found := _growing(history, name))), None)
    for name in ("G/loss", "D/loss"):
        if not is_clamped(history, name) and (found := _grown(history[name], name, LIMITS[name])):
            return found
    for name, series in _distances(history).items():
        if found := _grown(series, name, APART, np.min):
            return found
    for network in ("D", "G"):
        update = of_one_step(history, network)
        since = update.holds_since(update.value > 0.5)
        if since is not None:
            return Detection(since, (f"{network}'s weights change by {100 * update.recent():.0f} % in one update",))
    return None


def _grown(
    series: Series, name: str, limit: float, of_first: Callable[[np.ndarray], Any] = np.median
) -> Detection | None:
    """Where probes are: what is far beyond the limit, and tenfold what it began at.

    A loss may be a sum, or hold a term that is large from the start, as pix2pix's does; logits have none.

    Args:
        of_first: the first five values -> what it began at.
    """
    series = series.finite()
    if len(series) < 3:
        return None
    size = np.abs(series.value)
    began = max(float(of_first(size[:5])), 1.0)
    since = series.holds_since(size > max(limit, 10 * began))
    now = f"{name} is {three_digits(series.recent())}, and began at {three_digits(series.value[0])}"
    return None if since is None else Detection(since, (now,))


def _distances(history: History) -> dict[str, Series]:
    """How far D's logits are apart; not how large, as nothing fixes the level of a relativistic D's."""
    real, fake = history["D/real"], history["D/fake"]
    spreads = {f"the spread of {name}": history[f"{name}/std"] for name in ("D/real", "D/fake")}
    if len(real) != len(fake):
        return spreads
    return {"D/real - D/fake": Series(real.at, real.value - fake.value), **spreads}


def of_one_step(history: History, network: str) -> Series:
    """A network's relative update in one step of its optimiser: a run measures those of a round together."""
    update = history[f"{network}/update"]
    return Series(update.at, update.value / (history.facts.knobs.get(f"{network.lower()}_steps") or 1))


def _growing(history: History, name: str) -> Detection | None:
    """In a log: G's loss may hold other terms, of any size, so only its growth counts; D's has none so large."""
    series = history[name].finite()
    if len(series) < 5:
        return None
    began, now = max(float(np.median(np.abs(series.value[:5]))), 1.0), abs(newest(series, 3))
    limit = max(LIMITS[name], (3 if name == "D/loss" else 10) * began)  # it may be a sum over pixels or patches
    if name in ("D/loss", "G/loss") and is_clamped(
        history, name
    ):  # one network is certain, and the other does not learn
        return None
    since = series.mostly_since(np.abs(series.value) > limit, 3)
    if now <= limit or since is None:
        return None
    severity = severity_of(history, since, sure=now > EXPLODED * began)
    if severity is None:
        return None
    rising = series.mostly_since(np.abs(series.value) > min(limit, 3 * began), 3)
    since = since if rising is None else min(since, rising)
    evidence = f"{name} is {three_digits(newest(series, 3))}, and began at {three_digits(series.value[0])}"
    return Detection(since, (evidence,), severity=severity)


def rate_high(history: History) -> Detection | None:
    """Updates so large that weights are replaced rather than improved.

    By a usual learning rate the first ones may be larger: narrow networks have small weights, and Adam's first updates
    are its largest. So may those by which G draws near to the reals.
    """
    young = is_young(history)
    for network in ("G", "D"):
        update, rates = of_one_step(history, network), history[f"{network}/lr"]
        rate = rates.value.max(initial=0)
        eased = rate <= USUAL_RATE and (young or _draws_near(history))
        since = update.holds_since(update.value > LARGE, 3)
        harmless = since is not None and eased and update.recent() < (4 if young else 2) * LARGE
        if since is not None and history.now > update.at[0] and not harmless:
            now = f"{network}'s weights change by {100 * update.recent():.0f} % an update; 0.1 to 2 % is usual"
            return Detection(since, (now, *distance_evidence(history)), network)
        if history.facts.config and rate > USUAL_RATE and is_poor(history) and not young:
            given = f"{network}'s learning rate is {rate:g}: the most that an update changes a weight"
            return Detection(float(rates.at[0]), (given, *distance_evidence(history)), network)
        most = update.value[:3].max(initial=0)
        wild = most > 0.3 or (len(update) >= 4 and np.median(update.value[:4]) > LARGE)
        gradient = history[f"{network}/gradient"]
        dead = most > 0.05 and gradient and gradient.recent() == 0
        if dead or (wild and not eased and is_poor(history) and not is_critic(history)):
            largest = f"{network}'s weights changed by {100 * most:.0f} % in one update"
            return Detection(float(update.at[0]), (largest, *distance_evidence(history)), network)
    return None


def _draws_near(history: History) -> bool:
    """Whether the fakes are near to the reals, or half as far from them as at the start."""
    distance = history["distance"]
    return bool(distance) and distance.recent() < max(NEAR, 0.5 * distance.value[0])


def rate_low(history: History) -> Detection | None:
    """Updates so small that nothing has changed by now."""
    d, g, distance = history["D/update"], history["G/update"], history["distance"]
    if len(d) < 3 or len(g) < 3 or not 0 < max(d.recent(), g.recent(), d.early(), g.early()) < 3e-5:
        return None
    if distance and distance.recent() < 0.8 * distance.early(2):
        return None
    sizes = f"D's weights by {three_digits(d.recent())} of their size and G's by {three_digits(g.recent())}"
    evidence = (f"an update changes {sizes}; 1e-3 to 2e-2 is usual", *distance_evidence(history))
    return Detection(float(d.at[0]), evidence)


def leaking(history: History) -> Detection | None:
    """A D with batch norm that receives reals and fakes in one batch."""
    mixed, shift = history["D/mixed_batch"], history["D/batch_effect"]
    since = mixed.holds_since((mixed.value > 0) & (shift.value > 0.3))
    if since is None:
        return None
    moved = f"D's outputs of the same reals shift by {three_digits(shift.recent())} standard deviations with the batch"
    return Detection(since, ("reals and fakes pass through D's batch norm in one batch", moved))


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


NON_FINITE = Condition(
    "non-finite", "failure", "Numbers are no longer finite: nothing can be learned from here on.", ("D/loss",),
    ("a learning rate that is far too high", "a NaN in the data", "a logarithm of 0: a probability instead of logits"),
    (Fix("look for NaNs in the data", scope="loop"),
     Fix("lower both learning rates tenfold", fixes.scaling_rates(0.1)),
     Fix("compute the loss from logits (softplus, BCEWithLogits), never as log(sigmoid(x))", scope="loop"), PENALTY),
    "IEEE 754; Goodfellow 2016, section 4", non_finite, remedies.USUAL_RATES,
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
OVERFITTING = Condition(
    "D overfits", "failure", "D has memorised the training images instead of learning to tell real from fake.",
    ("D/held_auc",), ("too few images", "no augmentation", "no gradient penalty"),
    (Fix("augment D's input (ADA, DiffAugment)", fixes.augment),
     Fix("more images, or mirrored ones if a mirrored image is as good", fixes.setting(mirror=True)),
     PENALTY, Fix("dropout in D", fixes.add_dropout)),
    "Karras et al. 2020 (ADA), section 2", overfitting, remedies.AUGMENTED,
)  # fmt: skip
