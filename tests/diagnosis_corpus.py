"""Synthetic training logs with what a diagnosis must and must not say of them.

D's outputs on reals and on fakes follow a course of the game; the losses are computed from them, batch by batch, by the
formula of each objective. So their noise, and what they have to do with each other, are those of a real log. All random
numbers have fixed seeds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from ganvas.diagnosis.diagnosis import Diagnosis
from ganvas.diagnosis.history import Facts, History

Array = np.ndarray
Columns = dict[str, Array]


@dataclass(frozen=True)
class Log:
    """A log and its truth.

    Attributes:
        kind: what happens in it.
        truth: healthy: no failure and no warning may be said; ambiguous: no failure; failing: something of `must`.
        columns: {quantity: float [n]}; NaN is printed as it is.
        every: {quantity: rows between its values}.
        must: names of which one must be said.
        never: names that must not be said.
        failure: whether it must be a failure, not only a warning.
        since: between which rows it began.
        decimals: how many the log prints; None for all.
    """

    kind: str
    truth: Literal["healthy", "failing", "ambiguous"]
    columns: Columns
    every: Mapping[str, int] = field(default_factory=dict)
    must: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    failure: bool = False
    since: tuple[float, float] | None = None
    decimals: int | None = None

    @property
    def rows(self) -> int:
        """How many."""
        return max(len(column) * self.every.get(name, 1) for name, column in self.columns.items())

    def history(self) -> History:
        """As a reader would hand it over."""
        history = History("step", Facts())
        for name, column in self.columns.items():
            printed = column if self.decimals is None or name not in LOSSES else np.round(column, self.decimals)
            at = (np.arange(len(column)) + 1.0) * self.every.get(name, 1)
            history.columns[name] = at.tolist(), printed.tolist()
        return history

    def faults(self, found: Diagnosis) -> list[str]:
        """What is wrong about a diagnosis of it."""
        said = {finding.name: finding for finding in found.findings if finding.severity != "note"}
        faults = [f"says {name}" for name in self.never if name in said]
        if self.truth == "healthy":
            faults += [f"says {name} ({finding.severity})" for name, finding in said.items()]
        if self.truth == "ambiguous":
            faults += [f"says {finding.name} (failure)" for finding in found.failures]
        if self.truth == "failing":
            right = [said[name] for name in self.must if name in said]
            faults += [] if right else [f"does not say {' or '.join(self.must)}"]
            if self.failure and not any(finding.severity == "failure" for finding in right):
                faults.append("says it as a warning only")
            if self.since and right and not self.since[0] <= right[0].since <= self.since[1]:
                faults.append(f"says since {right[0].since:g}, not {self.since[0]:g} to {self.since[1]:g}")
        return faults


LOSSES = ("D/loss", "G/loss", "D/loss_real", "D/loss_fake")
OBJECTIVES = ("cross-entropy", "half", "minimax", "least squares", "hinge", "relativistic", "wasserstein")


# The game


def wander(rng: np.random.Generator, n: int, size: float, memory: float = 0.9) -> Array:
    """A slow random course around 0 with this deviation."""
    steps, value = rng.normal(0, size * (1 - memory**2) ** 0.5, n), np.empty(n)
    value[0] = rng.normal(0, size)
    for i in range(1, n):
        value[i] = memory * value[i - 1] + steps[i]
    return value


def ramp(n: int, *points: tuple[float, float]) -> Array:
    """Straight lines through (share of the time, value)."""
    at, values = zip(*points, strict=True)
    return np.interp(np.linspace(0, 1, n), at, values)


def softplus(x: Array) -> Array:
    return np.logaddexp(0, x)


def losses(
    rng: np.random.Generator, objective: str, real: Array, fake: Array, batch: int = 64, spread: float = 1
) -> Columns:
    """D's and G's loss of batches whose logits scatter around `real` and `fake`."""
    r, f = (level[:, None] + rng.normal(0, spread, (len(level), batch)) for level in (real, fake))
    if objective in ("cross-entropy", "half", "minimax"):
        on_real, on_fake, g = softplus(-r), softplus(f), -softplus(f) if objective == "minimax" else softplus(-f)
    elif objective == "least squares":
        r, f = (1 / (1 + np.exp(-x)) for x in (r, f))
        on_real, on_fake, g = (r - 1) ** 2, f**2, (f - 1) ** 2
    elif objective == "hinge":
        on_real, on_fake, g = np.maximum(0, 1 - r), np.maximum(0, 1 + f), -f
    elif objective == "relativistic":
        on_real, on_fake, g = softplus(f - r), np.zeros_like(f), softplus(r - f)
    else:
        on_real, on_fake, g = -r, f, -f
    part = 0.5 if objective == "half" else 1
    return {"D/loss": part * (on_real + on_fake).mean(1), "G/loss": g.mean(1)}


def balanced(rng: np.random.Generator, n: int, level: float = 0.9) -> tuple[Array, Array]:
    """A good D that is never sure: first it learns, then G follows."""
    course = ramp(n, (0, 0), (0.05, 1.6 * level), (0.3, level), (1, 0.8 * level))
    return course + wander(rng, n, 0.15), -course + wander(rng, n, 0.25)


def falling(rng: np.random.Generator, n: int, first: float, last: float, noise: float = 0.04) -> Array:
    """A quality that improves, fast at first."""
    return (last + (first - last) * np.exp(-np.linspace(0, 6, n))) * np.exp(rng.normal(0, noise, n))


def noisy(rng: np.random.Generator, course: Array, noise: float) -> Array:
    return course * np.exp(rng.normal(0, noise, len(course)))


# Healthy


def healthy(seed: int, objective: str, n: int, level: float = 0.9, **changes: Any) -> Log:
    rng = np.random.default_rng(seed)
    return Log(f"balanced {objective}", "healthy", losses(rng, objective, *balanced(rng, n, level)), **changes)


def with_quality(log: Log, name: str, values: Array) -> Log:
    return replace(log, columns={**log.columns, name: values}, every={**log.every, name: log.rows // len(values)})


def healthy_with(seed: int, objective: str, n: int, name: str = "fid", first: float = 200, last: float = 9) -> Log:
    rng = np.random.default_rng(seed + 1000)
    return with_quality(healthy(seed, objective, n), name, falling(rng, n // 20, first, last))


def creeping(seed: int, n: int, quality: bool) -> Log:
    """D's loss creeps up, G's down, and the images get better all the time."""
    rng = np.random.default_rng(seed)
    columns = {
        "D/loss": ramp(n, (0, 0.53), (1, 0.9)) + rng.normal(0, 0.08, n),
        "G/loss": ramp(n, (0, 0.9), (0.5, 0.6), (1, 0.49)) + rng.normal(0, 0.1, n),
    }
    log = Log("D's loss creeps up", "healthy" if quality else "ambiguous", columns, never=("D frozen", "D too weak"))
    return with_quality(log, "fid", falling(rng, n // 20, 120, 8.2, 0.03)) if quality else log


def sure_and_good(seed: int, n: int) -> Log:
    """D is sure, and G learns nevertheless."""
    rng = np.random.default_rng(seed)
    course = ramp(n, (0, 0), (0.1, 6), (1, 8))
    log = Log("D sure, images improve", "healthy", losses(rng, "cross-entropy", course, -course))
    return with_quality(log, "fid", falling(rng, n // 25, 250, 20))


def rounded(seed: int, n: int, decimals: int, objective: str) -> Log:
    """Means over an epoch, printed with few decimals: they are equal now and then."""
    rng = np.random.default_rng(seed)
    level = ramp(n, (0, 0.4), (0.5, 0.6), (1, 0.6))
    columns = losses(rng, objective, level, -level, batch=20_000)
    return Log(f"epochs to {decimals} decimals", "healthy", columns, decimals=decimals)


def early_strength(seed: int, n: int) -> Log:
    """D is sure at first, and G catches up."""
    rng = np.random.default_rng(seed)
    course = ramp(n, (0, 0), (0.05, 6), (0.3, 5), (0.5, 1), (1, 0.8)) + wander(rng, n, 0.15)
    return Log("D sure at first only", "healthy", losses(rng, "half", course, -course))


def image_to_image(seed: int, n: int) -> Log:
    """G's loss is mostly an L1 term, large from the start."""
    rng = np.random.default_rng(seed)
    columns = losses(rng, "half", *balanced(rng, n, 0.7))
    return Log("G's loss with an L1 term", "healthy", {**columns, "G/loss": noisy(rng, falling(rng, n, 62, 31), 0.1)})


def in_parts(seed: int, n: int, **changes: Any) -> Log:
    rng = np.random.default_rng(seed)
    real, fake = balanced(rng, n)
    parts = {"D/loss_real": losses(rng, "cross-entropy", real, np.full(n, -99.0))["D/loss"]}
    parts |= {"D/loss_fake": losses(rng, "cross-entropy", np.full(n, 99.0), fake)["D/loss"]}
    return Log("D's loss in parts", "healthy", {**parts, "G/loss": softplus(-fake)}, **changes)


def gap_pattern(seed: int, n: int) -> Log:
    """G's loss is NaN wherever only the critic was updated."""
    log = healthy(seed, "wasserstein", n)
    g = np.where(np.arange(n) % 5 == 4, log.columns["G/loss"], np.nan)
    return replace(log, kind="NaN between G's updates", columns={**log.columns, "G/loss": g})


def one_bad_evaluation(seed: int, n: int) -> Log:
    """The newest FID stands alone."""
    log = healthy_with(seed, "hinge", n)
    fid = log.columns["fid"].copy()
    fid[-1] *= 1.7
    return replace(log, kind="one bad evaluation", columns={**log.columns, "fid": fid})


def unmeasured(seed: int, n: int) -> Log:
    """The FID is printed as 0 until it is first measured, and repeated until it is measured again."""
    log = healthy(seed, "hinge", n)
    values = falling(np.random.default_rng(seed), n // 10, 180, 12, 0.02)
    values[:2] = 0
    return replace(log, kind="FID repeated", columns={**log.columns, "fid": np.repeat(values, 10)})


# Failing


def d_wins(seed: int, objective: str, n: int, begin: float, level: float = 9) -> Log:
    rng = np.random.default_rng(seed)
    course = ramp(n, (0, 0), (0.02, 1), (begin, 1.2), (min(begin + 0.05, 1), level), (1, level))
    course = course + wander(rng, n, 0.2)
    columns = losses(rng, objective, course, -course)
    since = (begin * n - 2, (begin + 0.15) * n + 12)
    return Log(
        f"D wins, {objective}", "failing", columns, must=("D too strong",), never=("D frozen", "G frozen"), since=since
    )


def d_wins_and_worse(seed: int, objective: str, n: int) -> Log:
    rng = np.random.default_rng(seed)
    log = with_quality(
        d_wins(seed, objective, n, 0.3), "fid", noisy(rng, ramp(40, (0, 250), (0.3, 50), (1, 140)), 0.08)
    )
    return replace(log, kind="D wins, and FID rises", failure=True, must=("D too strong", "quality regressing"))


def d_frozen(seed: int, n: int, objective: str, running: bool) -> Log:
    """D keeps its first weights; G finds what D takes for real."""
    rng = np.random.default_rng(seed)
    fake = ramp(n, (0, 0), (0.1, 0.8), (0.4, 1.0), (1, 1.05))
    columns = losses(rng, objective, np.zeros(n), fake, spread=0.2)
    if running:  # as Keras 3 prints them
        columns = {name: np.cumsum(column) / np.arange(1, n + 1) for name, column in columns.items()}
    return Log("D keeps its first weights", "failing", columns, must=("D frozen",), failure=True)


def dead_loss(seed: int, n: int, network: str, level: float) -> Log:
    """A loss that never changes."""
    columns = losses(np.random.default_rng(seed), "half", *balanced(np.random.default_rng(seed), n))
    columns[f"{network}/loss"][n // 4 :] = level
    never = ("G frozen" if network == "D" else "D frozen",)
    since = (n // 4, n // 4 + 2)
    return Log(f"{network}'s loss constant", "failing", columns, must=(f"{network} frozen",), never=never, since=since)


def fooled(seed: int, n: int) -> Log:
    """A D that learns too slowly: fakes pass for real, though it was good once."""
    rng = np.random.default_rng(seed)
    fake = ramp(n, (0, 0), (0.1, -1), (0.4, 1.5), (1, 2)) + wander(rng, n, 0.2)
    columns = losses(rng, "cross-entropy", ramp(n, (0, 0), (0.1, 1), (0.4, -0.2), (1, 0)), fake)
    return Log("D is fooled", "failing", columns, must=("D too weak",), never=("D frozen",))


def ends_in_nan(seed: int, objective: str, n: int, name: str, rows: int) -> Log:
    log = in_parts(seed, n) if name.startswith("D/loss_") else healthy(seed, objective, n)
    column = log.columns[name].copy()
    column[-rows:] = np.nan
    must, since = ("non-finite",), (n - rows, n - rows + 1)
    return replace(
        log,
        kind="NaN to the end",
        truth="failing",
        columns={**log.columns, name: column},
        must=must,
        failure=True,
        since=since,
    )


def explodes(seed: int, n: int, objective: str) -> Log:
    log = healthy(seed, objective, n)
    grown = {name: column * np.exp(ramp(n, (0, 0), (0.6, 0), (1, 14))) for name, column in log.columns.items()}
    must = ("divergence", "critic unconstrained")
    return replace(log, kind="losses explode", truth="failing", columns=grown, must=must, failure=True)


def silent_critic(seed: int, n: int, level: float, decimals: int | None) -> Log:
    rng = np.random.default_rng(seed)
    columns = {"D/loss": rng.normal(0, 1e-9, n), "G/loss": level + rng.normal(0, 0.004, n)}
    never = ("D too strong", "D frozen", "G frozen", "D too weak")
    must = ("critic without gradient",)
    return Log("silent critic", "failing", columns, must=must, never=never, failure=True, decimals=decimals)


def silent_later(seed: int, n: int) -> Log:
    """A clipped critic that measures a distance at first."""
    rng = np.random.default_rng(seed)
    size = 10 ** ramp(n, (0, -1), (0.2, -2), (0.3, -8.5), (1, -9))
    columns = {"D/loss": -size * rng.uniform(0.5, 1, n), "G/loss": ramp(n, (0, 0.02), (0.3, 0.3), (1, 0.31))}
    must, never = ("critic without gradient",), ("D too strong", "D frozen", "G frozen")
    return Log("critic falls silent", "failing", columns, must=must, never=never, since=(0.2 * n, 0.4 * n))


def regresses(seed: int, n: int, name: str, course: Array, noise: float, **changes: Any) -> Log:
    rng = np.random.default_rng(seed)
    log = with_quality(healthy(seed, "hinge", n), name, noisy(rng, course, noise))
    changes = {"kind": f"{name} gets worse", "truth": "failing", "must": ("quality regressing",), **changes}
    return replace(log, **changes)


def oscillates(seed: int, n: int, period: float) -> Log:
    rng = np.random.default_rng(seed)
    wave = 1.6 * np.sin(2 * np.pi * np.arange(n) / period)
    columns = losses(rng, "cross-entropy", 0.5 - wave, -0.5 + wave)
    return Log("losses oscillate", "failing", columns, must=("oscillation",))


def never_learns(seed: int, n: int, name: str, level: float) -> Log:
    log = with_quality(
        healthy(seed, "cross-entropy", n), name, noisy(np.random.default_rng(seed), np.full(30, level), 0.03)
    )
    return replace(log, kind="never learns", truth="failing", must=("no improvement",))


# Ambiguous


def silent_at_its_best(seed: int, n: int) -> Log:
    """A critic that fell silent when the images had become a little better; they stay so."""
    log, rng = silent_later(seed, n), np.random.default_rng(seed)
    return with_quality(log, "fid", noisy(rng, ramp(50, (0, 230), (0.2, 170), (1, 165)), 0.03))


def ambiguous(log: Log, kind: str, **changes: Any) -> Log:
    return replace(log, **{"kind": kind, "truth": "ambiguous", "must": (), "since": None, "failure": False, **changes})


def at_chance(seed: int, n: int, decimals: int) -> Log:
    """D's loss is at chance throughout: perfect fakes, or a D that learns nothing."""
    rng = np.random.default_rng(seed)
    columns = losses(rng, "cross-entropy", np.full(n, 0.02), np.full(n, -0.02), batch=256)
    return Log("D at chance", "ambiguous", columns, never=("D frozen",), decimals=decimals)


def one_nan(seed: int, n: int) -> Log:
    log = healthy(seed, "cross-entropy", n)
    d = log.columns["D/loss"].copy()
    d[n // 2] = np.nan
    return ambiguous(replace(log, columns={**log.columns, "D/loss": d}), "one NaN")


def winning_flat(seed: int, n: int) -> Log:
    """D is sure and the quality is what it was from the start: a fine-tuned network."""
    log = with_quality(d_wins(seed, "hinge", n, 0.1), "fid", noisy(np.random.default_rng(seed), np.full(25, 6.0), 0.02))
    return ambiguous(log, "D wins, FID stays good")
