"""Conditions of the whole course: back and forth, downhill, or nowhere any more."""

import numpy as np

from ganvas.diagnosis.history import History, Series
from ganvas.diagnosis.rules.conditions import Condition, Cure, Sighting, critic, told
from ganvas.diagnosis.rules.optimisation import PENALTY

ENOUGH = 3000
"""Pictures before which nothing can be said of what G draws."""


def _progress(history: History) -> tuple[str, Series, float]:
    """The best measure of quality there is, lower being better, and the noise to be expected of it."""
    for name, noise in (("fid", 0.0), ("kid", 0.0), ("quality", 0.0), ("distance", 0.05)):
        known = history[name].finite()
        if len(known) >= 3:
            return name, known, noise
    return "", history["distance"].finite(), 0.0


def regressing(history: History) -> Sighting | None:
    """A quality that was clearly better once."""
    name, quality, noise = _progress(history)
    if len(quality) < 8:
        return None
    smooth = np.array([np.median(quality.value[max(0, i - 1) : i + 2]) for i in range(len(quality))])
    best = int(smooth.argmin())
    now = quality.recent(5)
    if now <= 1.5 * smooth[best] + noise or quality.at[best] > 0.7 * quality.at[-1]:
        return None
    called = {"distance": "the fakes' distance to the reals", "quality": "the quality (a kernel distance)"}.get(
        name, name
    )
    was = f"{called} is {told(now)}, and was {told(float(smooth[best]))} at {told(quality.at[best])}"
    return Sighting(float(quality.at[best]), (was,))


def oscillating(history: History) -> Sighting | None:
    """Losses that come and go in a period of their own while nothing gets better."""
    loss = history["G/loss"]
    if len(loss) < 24 or critic(history) or not np.isfinite(loss.value).all():
        return None
    value = loss.value[len(loss) // 3 :]
    value = value - np.polyval(np.polyfit(np.arange(len(value)), value, 1), np.arange(len(value)))
    deviation = value.std()
    if deviation <= 0.2 * np.abs(loss.value[len(loss) // 3 :]).mean():
        return None
    lags = np.correlate(value, value, "full")[len(value) - 1 :] / (value @ value)
    sinks = np.flatnonzero(lags < 0)
    if not len(sinks):
        return None
    later = lags[sinks[0] : len(lags) * 2 // 3]
    period = int(sinks[0] + later.argmax()) if len(later) else 0
    if not len(later) or later.max() < 0.45 or period < 4:
        return None
    _, quality, noise = _progress(history)
    half = quality.after((quality.at[0] + quality.at[-1]) / 2) if quality else quality
    if half and half.recent() < 0.9 * quality.early() - noise:
        return None
    step = float(np.median(np.diff(loss.at)))
    swing = f"G's loss swings by ±{told(float(deviation))} with a period of about {told(period * step)} {history.unit}"
    return Sighting(float(loss.at[len(loss) // 3]), (swing,))


def settled(history: History) -> Sighting | None:
    """A quality that has not changed for half of the time."""
    name, quality, _ = _progress(history)
    if len(quality) < 12:
        return None
    half = quality.value[len(quality) // 2 :]
    first, last = np.median(half[: len(half) // 2]), np.median(half[len(half) // 2 :])
    if not 0.95 * first < last < 1.05 * first:
        return None
    return Sighting(float(quality.at[len(quality) // 2]), (f"{name} went from {told(first)} to {told(last)} since",))


def early(history: History) -> Sighting | None:
    """A training that has only begun."""
    seen, rows = history.facts.get("seen"), (len(times) for times, _ in history.columns.values())
    looks = len(history["D/auc"]) or max(rows, default=0)
    if (seen is None or seen >= ENOUGH) and looks >= 3:
        return None
    pictures = "" if seen is None else f"{seen:,.0f} pictures and "
    return Sighting(history.now, (f"{pictures}{looks} looks so far",))


REGRESSING = Condition(
    "quality regressing", "warning", "The pictures were better before.", (("distance", "quality", "fid", "kid"),),
    ("D overfits, or G collapses", "learning rates that do not fall"),
    (Cure("use the best snapshot (snapshots/best), or go back to it", "--on-failure rollback"),
     Cure("let the learning rates fall", "--g-lr 2e-4..2e-5:cosine --d-lr 2e-4..2e-5:cosine"), PENALTY),
    "6 of 30 published CIFAR-10 logs end at 1.5 times their best FID or worse", regressing,
)  # fmt: skip
OSCILLATING = Condition(
    "oscillation", "warning", "The players chase each other in circles: losses come and go, and nothing gets better.",
    ("G/loss",), ("no gradient penalty", "momentum (β1) that is too high"),
    (PENALTY, Cure("no momentum", "--beta1 0"), Cure("smaller learning rates", "--g-lr 1e-4 --d-lr 1e-4")),
    "Mescheder et al. 2018", oscillating,
)  # fmt: skip
PLATEAU = Condition(
    "plateau", "note", "The pictures no longer get better: more time alone will not help.",
    (("distance", "quality", "fid", "kid"),), ("all has been learnt that these networks and rates can learn",),
    (Cure("let the learning rates fall, or widen the networks"),), "", settled,
)  # fmt: skip
EARLY = Condition(
    "too early to judge", "note", "Too few pictures have been seen to judge what G draws.",
    (), (), (Cure("go on"),), "", early,
)  # fmt: skip
