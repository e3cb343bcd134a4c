"""Conditions of the players: who does not learn, who learns too well, whose numbers run away."""

from collections.abc import Callable

import numpy as np

from ganvas.diagnosis.history import History, Series
from ganvas.diagnosis.rules.conditions import Condition, Cure, Sighting, critic, told

CHANCE = 2 * np.log(2)
"""D's loss, of reals and fakes together, when it cannot tell them apart."""


NEAR = 0.02
"""A distance to the reals under which fakes cannot be told from them as pixels go."""

FEW = 500
"""Pictures that a D learns by heart sooner or later."""


BOUNDS = ("clip", "spectral", "gp", "r1", "r2", "dragan")
"""The knobs that bound a critic's slope."""

YOUNG = 1500
"""Pictures before which nobody can be said to have stopped learning."""


def non_finite(history: History) -> Sighting | None:
    """A loss, a logit or a picture that is NaN or infinite."""
    if bad := history.facts.get("non_finite"):
        return Sighting(bad["at"], (f"{', '.join(bad['quantities'])} stopped being finite",))
    for name in ("D/loss", "G/loss", "D/real", "D/fake", "real/std", "fake/std"):
        series, counted = history[name], history[f"{name}/bad"]
        wrong = np.flatnonzero(~np.isfinite(series.value))
        if len(wrong):
            share = f"{len(wrong)} of {len(series)} values"
            return Sighting(float(series.at[wrong[0]]), (f"{name} is not finite in {share}",))
        if counted and counted.value.any():
            return Sighting(float(counted.at[counted.value > 0][0]), (f"{name} was not finite",))
    return None


def frozen(who: str) -> Callable[[History], Sighting | None]:
    """Weights that have never moved; from losses alone: one that never changes."""

    def seen(history: History) -> Sighting | None:
        update, gradient = history[f"{who}/update"], history[f"{who}/gradient"]
        if not update:
            return _constant(history[f"{who}/loss"], who) or (_never_better(history) if who == "D" else None)
        if len(update) < 2 or update.value.any():  # one that moved, and stopped, has other reasons
            return None
        looks = len(update)
        evidence = [f"the relative update of {who}'s weights was exactly 0 in each of the {looks} rounds looked at"]
        if gradient:
            evidence.append(f"although its gradient is {told(gradient.last)}")
        return Sighting(float(update.at[0]), tuple(evidence))

    return seen


def _constant(loss: Series, who: str) -> Sighting | None:
    if not loss or not 0 < abs(loss.last) < 40:  # won for good, or diverged: other rows
        return None
    since = loss.holds(np.abs(loss.value - loss.last) <= 1e-9, 5)
    if since is None:
        return None
    return Sighting(since, (f"{who}'s loss has been exactly {told(loss.last)} ever since",))


def _never_better(history: History) -> Sighting | None:
    """A D that is fooled, and whose loss, smoothed, has not fallen once since G began to fool it."""
    loss, fooled = history["D/loss"], _fooled(history)
    if fooled is None or len(loss) < 20:
        return None
    smooth = np.array([part.mean() for part in np.array_split(loss.value, 10)])
    if smooth[-1] < 0.995 * smooth.max():
        return None
    rose = f"D's loss has only risen, from {told(loss.value[0])} to {told(loss.recent(5))}"
    return Sighting(fooled, (rose, f"while G's fell to {told(history['G/loss'].recent(5))}"))


def _fooled(history: History) -> float | None:
    """Since when, by the losses, fakes have passed for real: G's below that of chance, D's above where it began."""
    g, d = history["G/loss"], history["D/loss"]
    if critic(history) or len(g) < 10 or len(d) < 10 or d.recent(5) < 1.05 * d.value[0]:
        return None
    return g.holds(g.value < 0.66, 10)


def partly_frozen(history: History) -> Sighting | None:
    """Some of the layers of a player that moves otherwise; not where networks grow."""
    for who in ("D", "G"):
        still, update = history[f"{who}/still"], history[f"{who}/update"]
        since = still.holds((still.value >= 0.25) & (update.value > 0), 4)
        if since is not None and "growth" not in history:
            share = f"{100 * still.recent():.0f} % of {who}'s weight tensors do not move at all"
            return Sighting(since, (share,), who)
    return None


def exploding(history: History) -> Sighting | None:
    """Losses or logits far beyond what a probability needs, and far beyond what they were."""
    if critic(history):
        return None
    for name, limit in (("G/loss", 40.0), ("D/loss", 40.0), ("D/real", 100.0), ("D/fake", 100.0)):
        series = history[name]
        if len(series) < 3:
            continue
        size = np.abs(series.value)
        since = series.holds(size > limit)
        if since is not None:
            return Sighting(since, (f"{name} is {told(series.recent())}, and began at {told(series.value[0])}",))
    for who in ("D", "G"):
        update = history[f"{who}/update"]
        since = update.holds(update.value > 0.5)
        if since is not None:
            return Sighting(since, (f"{who}'s weights change by {100 * update.recent():.0f} % in a single step",))
    return None


def rate_high(history: History) -> Sighting | None:
    """Steps so large that weights are replaced rather than mended."""
    for who in ("G", "D"):
        update = history[f"{who}/update"]
        since = update.holds(update.value > 0.06, 3)
        if since is not None and history.now > update.at[0]:
            evidence = [f"{who}'s weights change by {100 * update.recent():.0f} % a step; 0.1 to 2 % is usual"]
            return Sighting(since, (*evidence, *_far(history)), who)
        most = update.value[:3].max(initial=0)
        wild = most > 0.3 or (len(update) >= 4 and np.median(update.value[:4]) > 0.06)
        gradient = history[f"{who}/gradient"]
        dead = most > 0.05 and gradient and gradient.recent() == 0
        if dead or (wild and poor(history) and not critic(history)):
            step = f"{who}'s weights changed by {100 * most:.0f} % in a single step"
            return Sighting(float(update.at[0]), (step, *_far(history)), who)
    return None


def rate_low(history: History) -> Sighting | None:
    """Steps so small that nothing has changed by now."""
    d, g, distance = history["D/update"], history["G/update"], history["distance"]
    if len(d) < 3 or len(g) < 3 or not 0 < max(d.recent(), g.recent(), d.early(), g.early()) < 3e-5:
        return None
    if distance and distance.recent() < 0.8 * distance.early(2):
        return None
    steps = f"a step changes D's weights by {told(d.recent())} of their size and G's by {told(g.recent())}"
    return Sighting(float(d.at[0]), (f"{steps}; 1e-3 to 2e-2 is usual", *_far(history)))


def leaking(history: History) -> Sighting | None:
    """A D with batch norm to which reals and fakes are shown together."""
    mixed, company = history["D/mixed"], history["D/company"]
    since = mixed.holds((mixed.value > 0) & (company.value > 0.3))
    if since is None:
        return None
    shift = f"D's outputs of the same reals move by {told(company.recent())} standard deviations with their company"
    return Sighting(since, ("reals and fakes pass through D's batch norm in one batch", shift))


def learns_nothing(history: History) -> Sighting | None:
    """A D that cannot tell even poor fakes from real pictures, so that G has nobody to learn from."""
    auc, distance = history["D/auc"], history["distance"]
    if auc:
        far = not distance or distance.recent() > 0.3
        least = min(0.55, 0.5 + auc.value.max() / 10)
        since = auc.holds(auc.value < least, 5)
        if since is None or not far or critic(history) or young(history):
            return None
        placed = f"D places a real above a fake in {100 * auc.recent():.0f} % of pairs; a coin would in 50 %"
        return Sighting(since, (placed, *_far(history)))
    since, d, g = _fooled(history), history["D/loss"], history["G/loss"]
    if since is None:
        return None
    below = f"G's loss is {told(g.recent(5))}, below what a coin-tossing D would give it (0.69)"
    return Sighting(since, (below, f"while D's went from {told(d.value[0])} to {told(d.recent(5))}"))


def too_strong(history: History) -> Sighting | None:
    """A D that is always right, while the pictures have stopped getting better: G learns nothing from it."""
    if critic(history):
        return None
    auc, distance, gradient = history["D/auc"], history["distance"], history["G/gradient"]
    loss = history["D/loss"]
    if auc and distance:
        since = auc.holds(auc.value > 0.995, 6)
        if since is None or young(history):
            return None
        stretch = distance.after(since - 1e-9)
        stuck = len(stretch) >= 3 and stretch.recent() > 0.8 * stretch.early() and poor(history)
        sure = not loss or loss.recent() < 0.1
        if not (stuck and sure):
            return None
        evidence = [f"D is right about {100 * auc.recent():.1f} % of all pairs", *_far(history)]
        if gradient:
            evidence.append(f"the gradient that reaches G is {told(gradient.recent())}")
        return Sighting(since, tuple(evidence))
    since = loss.holds(loss.value < 0.05, 10) if loss else None
    judged = next((history[name] for name in ("fid", "kid") if history[name]), None)
    if since is None or (judged and judged.recent() < 0.9 * judged.early()):  # sure of itself, and still teaching
        return None
    return Sighting(since, (f"D's loss is {told(loss.recent(10))} (chance would be {told(CHANCE)} or half of it)",))


def unbounded(history: History) -> Sighting | None:
    """A Wasserstein critic whose slope or loss grows without end."""
    if not critic(history):
        return None
    slope, loss, knobs = history["G/slope"], history["D/loss"], history.facts.get("knobs")
    if knobs and slope and not any(knobs[bound] for bound in BOUNDS):
        unset = "neither clipping nor a gradient penalty nor spectral norm is set"
        return Sighting(
            float(slope.at[0]), (unset, f"the critic's slope at fakes is {told(slope.recent())}; 1 is meant")
        )
    if len(slope) >= 4 and slope.recent() > 6 and slope.recent() > 4 * slope.early(1):
        grown = f"the critic's slope at fakes went from {told(slope.value[0])} to {told(slope.recent())}; 1 is meant"
        first = slope.at[np.flatnonzero(slope.value > 6)[0]]
        return Sighting(float(first), (grown,))
    if not slope and len(loss) >= 10 and abs(loss.recent(5)) > 100 * max(abs(loss.early(5)), 0.1):
        return Sighting(float(loss.at[0]), (f"its loss went from {told(loss.early(5))} to {told(loss.recent(5))}",))
    return None


def under_trained(history: History) -> Sighting | None:
    """A critic that does not see the distance there is."""
    auc, distance = history["D/auc"], history["distance"]
    if not critic(history) or len(auc) < 4:
        return None
    since = auc.holds(auc.value < 0.6, 4)
    if since is None or not distance or distance.recent() < 0.3:
        return None
    placed = f"the critic places a real above a fake in {100 * auc.recent():.0f} % of pairs only"
    return Sighting(since, (placed, *_far(history)))


def overfitting(history: History) -> Sighting | None:
    """A D that knows the training pictures by heart."""
    overfit, held = history["D/overfit"], history["D/held_auc"]
    if len(overfit) < 5 or len(held) < 5:
        return None
    images, shown = history.facts.get("images"), history.facts.get("seen", 0)
    few = images is not None and images <= FEW and shown > 30 * images  # then even a small gap will only grow
    distance = history["distance"]
    better = len(distance) >= 10 and distance.recent(5) < 0.8 * float(np.median(distance.value[-10:-5]))
    if not few and distance and (better or distance.recent(5) < NEAR):  # it does no harm
        return None
    gap, share = (0.08, 0.58) if few else (0.35, 0.62)
    if not (overfit.recent(5) >= gap and held.recent(5) >= share):
        return None
    since = held.holds(held.value > 0.58, 2)
    seen = f"D places a picture it learnt from above one it never saw in {100 * held.recent(5):.0f} % of pairs (50 %)"
    lie = f"held-out pictures lie {100 * overfit.recent(5):.0f} % of the way from the learnt ones to the fakes (0 %)"
    often = (f"each of the {images:,} pictures was shown about {shown / images:,.0f} times",) if few else ()
    return Sighting(since if since is not None else float(held.at[-3]), (seen, lie, *often))


def young(history: History) -> bool:
    """Whether so few pictures have been seen that everything may still come."""
    return history.facts.get("seen", YOUNG) < YOUNG


def poor(history: History) -> bool:
    """Whether the fakes are far from the reals: all together, or each of them."""
    distance, precision = history["distance"], history["precision"]
    if not distance:
        return False
    each = precision and precision.recent() < 0.05 and distance.recent() > 0.05
    return distance.recent() > 0.3 or bool(each)


def _far(history: History) -> tuple[str, ...]:
    """How far from the reals the fakes are, and were."""
    distance = history["distance"]
    if not distance:
        return ()
    return (f"the fakes' distance to the reals is {told(distance.recent())}, and began at {told(distance.value[0])}",)


FASTER_D = Cure("let D learn at G's rate or faster", "--d-lr 2e-4 --d-steps 2")
PENALTY = Cure("penalise D's slope on reals and fakes (R1 and R2)", "--objective rpgan --r1 1 --r2 1")

NON_FINITE = Condition(
    "non-finite", "failure", "Numbers are no longer finite: nothing can be learnt from here on.", ("D/loss",),
    ("a learning rate that is far too high", "a NaN in the data", "a logarithm of 0: a probability instead of logits"),
    (Cure("look for NaNs in the data"), Cure("lower both learning rates tenfold", "--g-lr 2e-5 --d-lr 2e-5"),
     Cure("compute the loss from logits (softplus, BCEWithLogits), never log(sigmoid(x))"), PENALTY),
    "IEEE 754; Goodfellow 2016, section 4", non_finite,
)  # fmt: skip
D_FROZEN = Condition(
    "D frozen", "failure", "D is frozen: its weights do not move, so G learns from a judge who never learns.",
    (("D/update", "D/loss"),),
    ("D's optimiser is never stepped, or holds other parameters",
     "in Keras 3: discriminator.trainable = False before train_on_batch, which compile no longer protects",
     "D's parameters have requires_grad=False, or its learning rate is 0"),
    (Cure("check that D's optimiser was given D.parameters() and is stepped in every round"),
     Cure("in Keras: set trainable back to True before D's train_on_batch, or write the loop with GradientTape"),
     Cure("a learning rate above 0", "--d-lr 2e-4")),
    "three course reports under Keras 3: updates of exactly 0.0", frozen("D"),
)  # fmt: skip
G_FROZEN = Condition(
    "G frozen", "failure", "G is frozen: its weights do not move, so its pictures stay as they began.",
    (("G/update", "G/loss"),),
    ("G's optimiser is never stepped, or holds other parameters", "the fakes were detached before G's loss",
     "G's learning rate is 0"),
    (Cure("check that G's optimiser was given G.parameters() and is stepped in every round"),
     Cure("compute G's loss on D(fake), not on D(fake.detach())"), Cure("a learning rate above 0", "--g-lr 2e-4")),
    "as for D", frozen("G"),
)  # fmt: skip
PARTLY_FROZEN = Condition(
    "layers frozen", "warning", "Some layers of {about} never move.", (("D/still", "G/still"),),
    ("layers that are not in the optimiser", "layers that the forward pass does not use"),
    (Cure("compare the optimiser's parameters with network.parameters()"),), "", partly_frozen,
)  # fmt: skip
LEAK = Condition(
    "batch-norm leak", "failure", "Batch norm leaks: D can tell reals from fakes by the company they come in.",
    ("D/company",),
    ("reals and fakes are concatenated into one batch for a D with batch norm",),
    (Cure("show D reals and fakes in separate batches"), Cure("take batch norm out of D", "--d-norm none")),
    "Radford et al. 2015; Chintala et al. 2016, ganhacks 4", leaking,
)  # fmt: skip
EXPLODING = Condition(
    "divergence", "failure", "Training has diverged: losses or outputs run away.", (("D/loss", "D/real"),),
    ("a learning rate that is too high", "no gradient penalty on D"),
    (Cure("lower both learning rates", "--g-lr 1e-4 --d-lr 1e-4"), PENALTY),
    "Mescheder et al. 2018", exploding,
)  # fmt: skip
RATE_HIGH = Condition(
    "learning rate too high", "failure", "{about}'s learning rate is too high: each step overthrows what it knew.",
    (("G/update", "D/update"),), ("a learning rate meant for another optimiser or network",),
    (Cure("a tenth of the learning rate", "--g-lr 2e-4 --d-lr 2e-4"),), "", rate_high,
)  # fmt: skip
RATE_LOW = Condition(
    "learning rate too low", "failure", "The learning rates are too low: the players hardly move.",
    ("G/update", "D/update"), ("a learning rate meant for another optimiser, or decayed to nothing",),
    (Cure("ten to a hundred times the learning rate", "--g-lr 2e-4 --d-lr 2e-4"),), "", rate_low,
)  # fmt: skip
UNBOUNDED = Condition(
    "critic unbounded", "failure", "Nothing bounds the critic's slope: its loss is no distance.",
    ("D/loss", "G/slope"), ("a Wasserstein loss without clipping, gradient penalty or spectral norm",),
    (Cure("a gradient penalty", "--gp 10"), Cure("clip the weights", "--clip 0.01")),
    "Arjovsky et al. 2017; Gulrajani et al. 2017", unbounded,
)  # fmt: skip
UNDER_TRAINED = Condition(
    "critic under-trained", "failure", "The critic learns too little to see how far the fakes are off.",
    ("D/auc", "distance"), ("one critic step for each of G's", "weights clipped too tightly"),
    (Cure("five steps of the critic for one of G", "--d-steps 5"), FASTER_D),
    "Arjovsky et al. 2017, section 3", under_trained,
)  # fmt: skip
NOTHING = Condition(
    "D learns nothing", "failure", "D learns nothing: it cannot tell even poor fakes from real pictures.",
    (("D/auc", "G/loss"),),
    ("D's learning rate is far below G's", "D is frozen, or trained on the wrong labels", "G moves more often than D"),
    (FASTER_D, Cure("check that D's loss asks for high outputs on reals and low ones on fakes"),
     Cure("a wider D", "--d-width 128")),
    "Goodfellow 2016, section 5.2", learns_nothing,
)  # fmt: skip
TOO_STRONG = Condition(
    "D too strong", "failure", "D is too strong: it is always right, and G no longer gets better.",
    (("D/auc", "D/loss"),),
    ("the saturating loss, whose gradient vanishes when D is sure", "D learns faster, or more often, than G",
     "no gradient penalty"),
    (Cure("a loss whose gradient does not vanish", "--objective non-saturating"), PENALTY,
     Cure("fewer or smaller steps of D", "--d-steps 1 --d-lr 1e-4"), Cure("noise on what D sees", "--noise 0.1")),
    "Goodfellow et al. 2014, section 3; Arjovsky & Bottou 2017", too_strong,
)  # fmt: skip
OVERFITTING = Condition(
    "D overfits", "failure", "D knows the training pictures by heart instead of telling real from fake.",
    ("D/held_auc",), ("too few pictures", "no augmentation", "no gradient penalty"),
    (Cure("augment what D sees", "--augment ada --ada-target 0.6"), Cure("more pictures, or mirrored ones", "--mirror"),
     PENALTY, Cure("dropout in D", "--dropout 0.3")),
    "Karras et al. 2020 (ADA), section 2", overfitting,
)  # fmt: skip
