"""What the losses of a log are: their parts, their kind, how finely they are printed, and what they can prove.

Loss functions are mostly not named in a log, so their kind follows from the numbers: only a difference of means, as
Wasserstein's, can be negative in D; cross-entropy is negative in neither network.
"""

from dataclasses import replace
from decimal import Decimal

import numpy as np

from ganvas.diagnosis.history import History, Series

CHANCE = 2 * np.log(2)
"""D's cross-entropy, of reals and fakes together, when it cannot tell them apart; some logs print half of it."""

AT_CHANCE = {
    "minimax": CHANCE, "non-saturating": CHANCE, "least-squares": 0.25, "hinge": 2.0, "rpgan": CHANCE / 2,
    "rahinge": 2.0,
}  # fmt: skip
"""Objective -> the least loss of a D that answers the same to reals and fakes."""

LOSSES = ("D/loss", "G/loss", "D/loss_real", "D/loss_fake")

ROUND_OFF = 1e-5
"""How far below 0 a cross-entropy may be computed."""

SILENT = 1e-5
"""A difference of means below which a critic does not tell reals from fakes."""

NOT_BEGUN = 0.05
"""The level of G's loss below which a D loss of 0 in all rows means that D has not begun, as VQGAN's at first."""

NOISE = 1e-3
"""The relative change from one printed loss to the next that any live network exceeds, mostly many times."""


def with_total(history: History) -> History:
    """With the sum of D's losses on reals and on fakes as its loss, where a log has only these parts."""
    real, fake = history["D/loss_real"], history["D/loss_fake"]
    if "D/loss" in history or not real or not fake:
        return history
    other = fake.value if np.array_equal(real.at, fake.at) else np.interp(real.at, fake.at, fake.value)
    total = np.round(real.value + other, 10)  # not 0.6400000000000001: its digits are those of the parts
    facts = history.facts
    steps = [facts.resolution[name] for name in ("D/loss_real", "D/loss_fake") if name in facts.resolution]
    if steps:
        facts = replace(facts, resolution={**facts.resolution, "D/loss": max(steps)})
    return History(history.unit, facts, {**history.columns, "D/loss": (real.at.tolist(), total.tolist())})


def is_critic(history: History) -> bool:
    """Whether D's loss has no fixed zero, so that its level means nothing: as it is known, or by the losses."""
    if history.facts.critic is not None:
        return history.facts.critic
    d, g = history["D/loss"].finite().value, history["G/loss"].finite().value
    if not len(d):
        return "D/wasserstein" in history
    if "D/wasserstein" in history or (d < -ROUND_OFF).mean() > 0.1:
        return True
    if _tells_apart(history):  # then losses of nearly 0 are those of a D that is certain
        return False
    if is_silent(history):
        return True
    small = np.median(d) < 0.01 and np.median(d[:5]) < 0.05
    if len(g) and small and np.median(np.abs(g)) < 0.4:  # with no other objective are both so small from the start
        return True
    lifted = len(g) > 0 and (g < -ROUND_OFF).mean() > 0.1  # a hinge loss of G is negative too, but D's stays below 3
    first = max(5, len(d) // 10)  # later it may have diverged
    return bool(lifted and ("D/gp" in history or (np.median(d[:first]) > 3 and np.median(np.abs(g)) > 1.5)))


def _tells_apart(history: History) -> bool:
    """Whether D's outputs on reals and on fakes are known, and far apart."""
    real, fake = history["D/real"].finite(), history["D/fake"].finite()
    return len(real) > 0 and len(fake) > 0 and abs(newest(real) - newest(fake)) > 0.5


def is_silent(history: History) -> bool:
    """Whether D's loss is nearly nothing while G's is far from what a D that is always right would give it.

    Such a D gives G at least 0.5 by least squares, 1 by the hinge loss, and 10 or more by cross-entropy.
    """
    d, g = history["D/loss"].finite(), history["G/loss"].finite()
    if len(d) < 5 or len(g) < 5 or _tells_apart(history):
        return False
    if penalty_alone_since(history) is not None:
        return True
    half, level = d.value[len(d) // 2 :], float(np.median(np.abs(g.value[len(g) // 2 :])))
    if not d.value.any() and level < NOT_BEGUN:
        return False
    if not np.median(np.abs(half)) <= max(SILENT, resolution(history, "D/loss", at=0.0) / 2 * (half == 0).all()):
        return False
    signed = np.signbit(half).mean() > 0.1 or (g.value < -ROUND_OFF).mean() > 0.1
    always = np.median(np.abs(d.value[:5])) <= 100 * SILENT
    return level > 1e-3 and (signed or (level < 0.45 and bool(always)))


def penalty_alone_since(history: History) -> float | None:
    """Since when D's loss is the gradient penalty and nothing else: λ(0 - 1)², of a critic without gradient."""
    d, gp = history["D/loss"].finite(), history["D/gp"].finite()
    if len(d) != len(gp) or not len(gp) or gp.last <= 0:
        return None
    alone = (np.abs(d.value - gp.value) <= 1e-4 * gp.last) & (np.abs(gp.value - gp.last) <= 1e-3 * gp.last)
    return d.holds_since(alone, 5)


def is_cross_entropy(history: History) -> bool:
    """Whether the losses may be cross-entropies, so that G's below 0.69 says that fakes pass for real."""
    if history.facts.knobs.get("objective") in ("least-squares", "hinge", "rahinge"):
        return False
    losses = [history[name].finite().value for name in ("D/loss", "G/loss")]
    return not is_critic(history) and all(len(loss) > 0 and loss.min() >= -ROUND_OFF for loss in losses)


def chance(history: History, first: int) -> float:
    """The cross-entropy of a D that cannot tell reals from fakes: half the usual sum where the log starts near it.

    Args:
        first: the values whose median is its start.
    """
    loss = history["D/loss"].finite()
    return CHANCE / 2 if loss and abs(loss.early(first) / (CHANCE / 2) - 1) < 0.1 else CHANCE


def resolution(history: History, name: str, at: float | None = None) -> float:
    """The smallest difference that the log prints of a quantity near its value `at`, by default the newest one."""
    known = history.facts.resolution.get(name)
    if known is not None:
        return known
    own = _last_decimal(history[name], at, 3)
    if own is not None:
        return own
    for least in (3, 1):  # too few different values to tell: as all losses are printed
        steps = [step for other in LOSSES if (step := _last_decimal(history[other], None, least)) is not None]
        if steps:
            return min(steps)
    return 0.0


def _last_decimal(series: Series, at: float | None, least: int) -> float | None:
    """The last decimal of the values near `at`; None if fewer than `least` differ.

    A format may keep digits, not decimals: then larger values have fewer.
    """
    values = series.finite().value[-500:]
    if not len(values):
        return None
    level = abs(values[-1] if at is None else at)
    near = values[(np.abs(values) >= level / 2) & (np.abs(values) <= 2 * level)] if level else values
    different = np.unique(near)[:50]
    if len(different) < least:
        return None
    decimals = max(-int(Decimal(repr(float(value))).as_tuple().exponent) for value in different)
    return 10.0 ** -max(decimals, 0)


def constant_since(history: History, name: str) -> float | None:
    """The time since which a loss has not changed at all, where rounding alone cannot explain that; None otherwise.

    The steps must be so fine that a live network would change it each time: five equal values are enough then, and
    where it would change it mostly, ten and a third of all.
    """
    loss = history[name]
    if not loss or not 0 < abs(loss.last) < 8:  # above, the logarithm is clipped: D is sure of itself, and may learn
        return None
    step = resolution(history, name)
    likely = min(1.0, step / (NOISE * abs(loss.last)))  # to be equal to the one before
    least = 5 if likely < 0.01 else max(10, len(loss) // 3)
    since = loss.holds_since(np.abs(loss.value - loss.last) <= max(step / 2, 1e-9 * abs(loss.last)), least)
    if since is None or likely ** ((loss.at >= since).sum() - 1) >= 1e-4:
        return None
    before = loss.value[loss.at < since]
    return since if (loss.at >= since).sum() > 2 * _longest_run(before) else None


def _longest_run(values: np.ndarray) -> int:
    """How many equal values follow each other at most: a log may repeat a loss until the next update of its network."""
    ends = np.flatnonzero(np.diff(values, append=np.nan) != 0)
    return int(np.diff(ends, prepend=-1).max(initial=0))


def is_clamped(history: History, name: str) -> bool:
    """Whether a cross-entropy is as large as PyTorch lets it be: 100, or 50 where reals and fakes are averaged."""
    known = history[name].finite()
    return bool(known) and any(abs(newest(known) / level - 1) < 0.02 for level in (50, 100))


def smoothed(loss: Series) -> Series:
    """Finite values, at most 2,000, and medians of neighbours where there are many: single batches are noisy."""
    loss = loss.finite().thinned()
    return loss.smooth(min(len(loss) // 40, 25) // 2 * 2 + 1)


def newest(loss: Series, n: int = 5) -> float:
    """The median of the newest finite values, a twentieth of all, but at least n."""
    known = loss.finite()
    return known.recent(max(n, len(known) // 20)) if known else float("nan")
