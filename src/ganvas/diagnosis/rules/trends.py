"""Conditions of the whole training: oscillation, regression, plateau."""

import numpy as np

from ganvas.diagnosis.history import History, Series
from ganvas.diagnosis.rules import fixes
from ganvas.diagnosis.rules.conditions import Condition, Detection, is_critic, three_digits
from ganvas.diagnosis.rules.fixes import Fix
from ganvas.diagnosis.rules.optimisation import PENALTY

ENOUGH = 3000
"""Images shown before which nothing can be said of what G generates."""


def _quality(history: History) -> tuple[str, Series, float]:
    """(name, values, expected noise) of the best measure of quality there is; lower is better."""
    for name, noise in (("fid", 0.0), ("kid", 0.0), ("quality", 0.0), ("distance", 0.05)):
        series = history[name].finite()
        if len(series) >= 3:
            return name, series, noise
    return "", history["distance"].finite(), 0.0


def regressing(history: History) -> Detection | None:
    """A quality that was clearly better once."""
    name, quality, noise = _quality(history)
    if len(quality) < 8:
        return None
    smooth = np.array([np.median(quality.value[max(0, i - 1) : i + 2]) for i in range(len(quality))])
    best = int(smooth.argmin())
    now = quality.recent(5)
    if now <= 1.5 * smooth[best] + noise or quality.at[best] > 0.7 * quality.at[-1]:
        return None
    titles = {"distance": "the fakes' distance to the reals", "quality": "the quality (a kernel distance)"}
    was = f"{three_digits(float(smooth[best]))} at {three_digits(quality.at[best])}"
    evidence = f"{titles.get(name, name)} is {three_digits(now)}, and was {was}"
    return Detection(float(quality.at[best]), (evidence,))


def oscillating(history: History) -> Detection | None:
    """Losses that oscillate with a period of their own while nothing improves."""
    loss = history["G/loss"]
    if len(loss) < 24 or is_critic(history) or not np.isfinite(loss.value).all():
        return None
    value = loss.value[len(loss) // 3 :]
    value = value - np.polyval(np.polyfit(np.arange(len(value)), value, 1), np.arange(len(value)))
    deviation = value.std()
    if deviation <= 0.2 * np.abs(loss.value[len(loss) // 3 :]).mean():
        return None
    lags = np.correlate(value, value, "full")[len(value) - 1 :] / (value @ value)
    negative = np.flatnonzero(lags < 0)
    if not len(negative):
        return None
    later = lags[negative[0] : len(lags) * 2 // 3]
    period = int(negative[0] + later.argmax()) if len(later) else 0
    if not len(later) or later.max() < 0.45 or period < 4:
        return None
    _, quality, noise = _quality(history)
    half = quality.after((quality.at[0] + quality.at[-1]) / 2) if quality else quality
    if half and half.recent() < 0.9 * quality.early() - noise:
        return None
    step = float(np.median(np.diff(loss.at)))
    cycle = f"a period of about {three_digits(period * step)} {history.unit}"
    swing = f"G's loss oscillates by ±{three_digits(float(deviation))} with {cycle}"
    return Detection(float(loss.at[len(loss) // 3]), (swing,))


def settled(history: History) -> Detection | None:
    """A quality that has not changed for half of the time."""
    name, quality, _ = _quality(history)
    if len(quality) < 12:
        return None
    half = quality.value[len(quality) // 2 :]
    first, last = np.median(half[: len(half) // 2]), np.median(half[len(half) // 2 :])
    if not 0.95 * first < last < 1.05 * first:
        return None
    since = float(quality.at[len(quality) // 2])
    went = f"{name} went from {three_digits(first)} to {three_digits(last)} since {history.unit} {since:g}"
    return Detection(since, (went,))


def early(history: History) -> Detection | None:
    """A training that has only begun."""
    shown, rows = history.facts.shown, (len(times) for times, _ in history.columns.values())
    probes = len(history["D/auc"]) or max(rows, default=0)
    if (shown is None or shown >= ENOUGH) and probes >= 3:
        return None
    images = "" if shown is None else f"{shown:,.0f} images and "
    return Detection(history.now, (f"{images}{probes} probes so far",))


REGRESSING = Condition(
    "quality regressing", "warning", "The images were better before.", (("distance", "quality", "fid", "kid"),),
    ("D overfits, or G collapses", "learning rates that do not fall"),
    (Fix("use the snapshot of the best quality (snapshots/best in a run of Ganvas)"),
     Fix("go back to the best state after a failure", fixes.setting(on_failure="rollback"), scope="run"),
     Fix("let the learning rates fall", fixes.decay_rates), PENALTY),
    "6 of 30 published CIFAR-10 logs end at 1.5 times their best FID or worse", regressing,
)  # fmt: skip
OSCILLATING = Condition(
    "oscillation", "warning", "G and D chase each other in circles: the losses oscillate, and nothing improves.",
    ("G/loss",), ("no gradient penalty", "momentum (β1) that is too high"),
    (PENALTY, Fix("no momentum", fixes.setting(beta1=0.0)), Fix("half the learning rates", fixes.scaling_rates(0.5))),
    "Mescheder et al. 2018", oscillating,
)  # fmt: skip
PLATEAU = Condition(
    "plateau", "note", "The images no longer improve: more time alone will not help.",
    (("distance", "quality", "fid", "kid"),), ("all has been learned that these networks and rates can learn",),
    (Fix("let the learning rates fall", fixes.decay_rates),
     Fix("wider networks", fixes.widen("g_width", "d_width", "g_widths", "d_widths", "width", "token_width"))),
    "", settled,
)  # fmt: skip
EARLY = Condition(
    "too early to judge", "note", "Too few images have been shown to judge what G generates.",
    (), (), (Fix("go on"),), "", early,
)  # fmt: skip
