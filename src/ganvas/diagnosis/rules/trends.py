"""Conditions of the whole training: oscillation, regression, plateau."""

import numpy as np

from ganvas.diagnosis.history import History
from ganvas.diagnosis.rules import fixes
from ganvas.diagnosis.rules.conditions import Condition, Detection, three_digits
from ganvas.diagnosis.rules.fixes import PENALTY, Fix
from ganvas.diagnosis.rules.frozen import may_begin
from ganvas.diagnosis.rules.losses import is_critic
from ganvas.diagnosis.rules.progress import distance_evidence, has_learned, is_poor, is_young
from ganvas.diagnosis.rules.quality import (
    FEW,
    FEW_OWN,
    MEASURES,
    OWN,
    TITLES,
    WORSE,
    is_growing,
    measured,
    since_growth,
)

QUALITY = ("distance", "quality", *MEASURES)
"""Quantities of which one is enough."""

PROBES = 6
"""Probes of a run before which it is too early to call it healthy: most rules need four to eight."""

FALLEN = 1.5
"""How many times its best a quality must be to be a failure; less where it has been worse for half of the time."""


def regressing(history: History) -> Detection | None:
    """A quality that was clearly better once."""
    quality = measured(history, own=True)
    if quality is None or not quality.worse or (quality.name in OWN and len(quality.shown) < FEW_OWN):
        return None
    now, best, at = quality.values()
    evidence = (
        f"{TITLES[quality.name]} is {three_digits(now)}, and was {three_digits(best)} at {history.unit} {at:.10g}"
    )
    began, ends = quality.shown.at[0], quality.shown.at[-1]
    least = WORSE if quality.worse_since < (began + ends) / 2 else FALLEN
    lost = quality.sure and quality.name in MEASURES and len(quality.shown) >= FEW and quality.ratio > least
    return Detection(quality.worse_since, (evidence,), severity="failure" if lost else None)


def no_improvement(history: History) -> Detection | None:
    """A quality that has been as bad as that of noise all the time."""
    quality = measured(history)
    if quality is None or not quality.useless:
        return _still_far(history)
    since = f"{TITLES[quality.name]} began at {three_digits(quality.shown.early())}, and is"
    evidence = f"{since} {three_digits(quality.shown.recent())}, after {len(quality.shown)} measurements"
    severity = "failure" if len(quality.shown) >= FEW else None
    return Detection(float(quality.shown.at[0]), (evidence,), severity=severity)


def _still_far(history: History) -> Detection | None:
    """By their distance to the reals: fakes that are no nearer than at first, after hundreds of updates."""
    distance, quality = since_growth(history, history["distance"].finite()), measured(history, own=True)
    if is_young(history) or is_growing(history) or not is_poor(history) or not has_learned(history, 300, 20_000):
        return None
    if len(distance) < FEW_OWN or (quality is not None and quality.improved):
        return None
    if distance.recent() < max(0.5, 0.9 * distance.early()):
        return None
    return Detection(float(distance.at[0]), distance_evidence(history))


def oscillating(history: History) -> Detection | None:
    """Losses that oscillate with a period of their own while nothing improves."""
    loss = history["G/loss"]
    if not loss or not np.isfinite(loss.last):
        return None
    loss = loss.finite()  # one value that was lost does not end the oscillation
    if len(loss) < 24 or is_critic(history):
        return None
    loss = loss.thinned()
    value = loss.value[len(loss) // 3 :]
    value = value - np.polyval(np.polyfit(np.arange(len(value)), value, 1), np.arange(len(value)))
    deviation = value.std()
    if deviation <= 0.2 * np.abs(loss.value[len(loss) // 3 :]).mean():
        return None
    lags = np.correlate(value, value, "full")[len(value) - 1 :] / (value @ value)
    negative = np.flatnonzero(lags < 0)
    if not len(negative):
        return None
    later = lags[negative[0] : len(lags) // 3]  # three periods, or chance may look like one
    period = int(negative[0] + later.argmax()) if len(later) else 0
    if not len(later) or later.max() < 0.45 or period < 4 or lags[2 * period - 1 : 2 * period + 2].max() < 0.25:
        return None
    quality = measured(history, own=True)
    if is_growing(history) or (quality is not None and quality.is_better):
        return None
    step = float(np.median(np.diff(loss.at)))
    cycle = f"a period of about {three_digits(period * step)} {history.unit}"
    swing = f"G's loss oscillates by ±{three_digits(float(deviation))} with {cycle}"
    return Detection(float(loss.at[len(loss) // 3]), (swing,))


def settled(history: History) -> Detection | None:
    """A quality that has not changed for half of the time, in which no rate was still to fall."""
    quality = measured(history, own=True)
    if quality is None or len(quality.shown) < 12 or quality.worse or quality.useless or _rate_falls(history):
        return None
    half = quality.shown.after(quality.shown.at[len(quality.shown) // 2 - 1])
    first, last = (float(np.median(part)) for part in np.array_split(half.value, 2))
    if not 0.95 * first < last < 1.05 * first:
        return None
    if quality.name == "distance" and first < 2 * OWN["distance"]:  # near 0 its changes are lost in its noise
        return None
    went = f"{quality.name} went from {three_digits(first)} to {three_digits(last)} since {history.unit}"
    return Detection(float(half.at[0]), (f"{went} {half.at[0]:g}",))


def _rate_falls(history: History) -> bool:
    """Whether G's learning rate has not yet come down to the end of its schedule: images mostly improve until then."""
    config, rates = history.facts.config, history["G/lr"]
    return config is not None and bool(rates) and rates.last > 1.001 * config.schedules()["g_lr"].end


def early(history: History) -> Detection | None:
    """A training that has only begun, or that has not begun yet for one of the networks."""
    if waits := next((network for network in ("D", "G") if may_begin(history, network)), ""):
        return Detection(history.now, (f"{waits} has not been stepped yet",), summary=f"{waits} is not trained yet.")
    shown, rows = history.facts.shown, (len(times) for times, _ in history.columns.values())
    probes = history.probes or max(rows, default=0)
    least = PROBES if history["D/auc"] and history.facts.config is not None else 3
    if not is_young(history) and probes >= least:
        return None
    images = "" if shown is None else f"{shown:,.0f} images and "
    return Detection(history.now, (f"{images}{probes} probe{'' if probes == 1 else 's'} so far",))


REGRESSING = Condition(
    "quality regressing", "warning", "The images were better before.", (QUALITY,),
    ("D overfits, or G collapses", "learning rates that do not fall"),
    (Fix("use the snapshot of the best quality: snapshots/best", scope="run"),
     Fix("use the checkpoint nearest to the best quality: later ones are worse", scope="loop"),
     Fix("go back to the best state after a failure", fixes.setting(on_failure="rollback"), scope="run"),
     Fix("let the learning rates fall", fixes.decay_rates), PENALTY),
    "19 of 65 published logs end at 1.5 times their best FID or worse", regressing,
)  # fmt: skip
NO_IMPROVEMENT = Condition(
    "no improvement", "warning", "The images have never improved: they measure as bad as at the start.",
    (QUALITY,),
    ("G does not learn: see its loss and its optimiser", "images and fakes in different ranges, also for the measure"),
    (Fix("look at real images and fakes as D and as the measure receive them: range, channels, order", scope="loop"),
     Fix("check that G's optimiser was given G.parameters() and is stepped in every round", scope="loop"),
     Fix("a recipe that learns on most data: fast, or on a GPU also r3gan", scope="run")),
    "of 65 published logs, the one whose FID stayed above 300", no_improvement,
)  # fmt: skip
OSCILLATING = Condition(
    "oscillation", "warning", "G and D chase each other in circles: the losses oscillate, and nothing improves.",
    ("G/loss",), ("no gradient penalty", "momentum (β1) that is too high"),
    (PENALTY, Fix("no momentum", fixes.stop_momentum), Fix("half the learning rates", fixes.scaling_rates(0.5))),
    "Mescheder et al. 2018", oscillating,
)  # fmt: skip
PLATEAU = Condition(
    "plateau", "note", "The images no longer improve: more time alone will not help.",
    (QUALITY,), ("all has been learned that these networks and rates can learn",),
    (Fix("let the learning rates fall", fixes.decay_rates),
     Fix("wider networks", fixes.widen("g_width", "d_width", "g_widths", "d_widths", "width", "token_width"))),
    "", settled,
)  # fmt: skip
EARLY = Condition(
    "too early to judge", "note", "Too few images have been shown to judge what G generates.",
    (), (), (Fix("go on"),), "", early,
)  # fmt: skip
