"""The measured quality of the images: it has the last word about what losses suggest."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ganvas.diagnosis.history import History, Series
from ganvas.diagnosis.severity import Severity

LOWER, HIGHER, DECIBELS = "lower", "higher", "decibels"

MEASURES = {
    "fid": LOWER, "fd": LOWER, "kid": LOWER, "cmmd": LOWER, "swd": LOWER, "lpips": LOWER, "inception score": HIGHER,
    "ms-ssim": HIGHER, "ssim": HIGHER, "psnr": DECIBELS, "ppl": LOWER, "mmd": LOWER, "modes": HIGHER,
    "recall": HIGHER,
}  # fmt: skip
"""Which direction is better, the most trusted measure first. Of unpaired images MS-SSIM is a likeness of fakes to each
other (Odena et al. 2017): then lower is better."""

UNSURE = frozenset({"lpips", "ms-ssim", "ppl"})
"""Measures that another one is preferred to, and that alone prove no failure: a PPL and an MS-SSIM also rise with the
variety of the images, and the LPIPS between fakes measures it. Of paired images, where PSNR or SSIM is logged too,
LPIPS and MS-SSIM are sure."""

OWN = {"quality": 0.0, "distance": 0.05}
"""Measures of our own, which lower is better, and what of them is noise: quick ones, that losses need not yield to."""

WORSE, OWN_WORSE = 1.25, 1.5
"""How many times its best a quality must be to be called worse."""

FEW = 12
"""Values of which neither the noise nor a median says much."""

FEW_OWN = 8
"""Values of a measure of our own, before which nothing is said of it."""

USELESS = {"fid": 200.0, "fd": 2000.0, "kid": 0.2, "inception score": 1.6}
"""Values as those of noise: a fine-tuned network starts well and may stay so, one that stays here learns nothing."""

TITLES = {
    "distance": "the fakes' distance to the reals", "quality": "the quality (a kernel distance)", "fid": "FID",
    "kid": "KID", "swd": "SWD", "lpips": "LPIPS", "ms-ssim": "MS-SSIM", "ssim": "SSIM", "psnr": "PSNR", "ppl": "PPL",
    "fd": "the Fréchet distance", "cmmd": "CMMD", "inception score": "the inception score", "mmd": "MMD",
    "modes": "the number of modes that are generated", "recall": "recall",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Quality:
    """One measure through time, robust to noise: a best is a median of neighbours, never a single value.

    Attributes:
        name: as in `MEASURES` or `OWN`.
        shown: the values as measured.
        badness: the same so that lower is better and ratios have a meaning.
        sure: whether a measure that has become worse proves a failure.
    """

    name: str
    shown: Series
    badness: Series
    sure: bool = True

    @cached_property
    def _width(self) -> int:
        """How many values a median is of: an eighth of all, from 3 to 15; of few, the value itself."""
        n = len(self.badness)
        return 1 if n < FEW else min(max(3, n // 8 // 2 * 2 + 1), 15)

    @cached_property
    def _smooth(self) -> np.ndarray:
        return self.badness.smooth(self._width).value

    @cached_property
    def _noise(self) -> float:
        """The relative deviation of a single value from its neighbours, whatever the trend."""
        value = self.badness.value
        if len(value) < 3:
            return 0.0
        if len(value) < FEW and len(value) - self.best_at >= 4:  # the first steps down are no noise
            value = value[self.best_at :]
        middle = (value[2:] + value[:-2]) / 2
        relative = np.abs(value[1:-1] - middle) / np.maximum(np.abs(middle), 1e-12)
        noise = 1.4826 * float(np.median(relative)) / 1.5**0.5
        return min(max(noise, 0.03), 0.1) if len(self.badness) < FEW else noise

    @cached_property
    def _slack(self) -> float:
        """What is noise in absolute terms: of a KID, which comes down to 0, three deviations of its newer half."""
        if self.name != "kid" or len(self.badness) < FEW:
            return OWN.get(self.name, 0.0)
        newer = self.badness.value[len(self.badness) // 2 :]
        return 3 * 1.4826 * float(np.median(np.abs(np.diff(newer, 2)))) / 6**0.5

    @property
    def best_at(self) -> int:
        """The place of the best median."""
        return int(self._smooth.argmin())

    def limit(self, width: int) -> float:
        """What a median of the newest `width` values must exceed to be worse than the best, and not by chance."""
        luck = (2 * np.log(max(len(self.badness) / self._width, 1)) / self._width) ** 0.5  # of the best of many medians
        chance = 1.25 * self._noise * (luck + 2.5 * (1 / self._width + 1 / width) ** 0.5)
        if len(self.badness) < FEW:  # two single values must exceed it
            chance = self._noise * (luck + 1.5)
        best = float(self._smooth[self.best_at])
        relative = abs(best) * max(self._factor - 1, chance)
        return best + (max(relative, self._slack) if self.name in MEASURES else relative + self._slack)

    @cached_property
    def worse(self) -> bool:
        """Whether it was clearly better once."""
        n, best = len(self.badness), float(self._smooth[self.best_at])
        if n < 2 or self.badness.recent(min(3, n)) <= best + abs(best) * (self._factor - 1):
            return False  # as good as ever now, whatever it was in between
        widths = (3, self._width, max(3, (n - self.best_at) // 2)) if n >= FEW else (min(2, n - 1),)
        newest = {width: float(np.median(self.badness.value[-width:])) for width in widths if n - self.best_at > width}
        if n < FEW:
            return any(self.badness.value[-width:].min() > self.limit(width) for width in newest)
        return any(now > self.limit(width) for width, now in newest.items()) or self._rises

    @cached_property
    def _rises(self) -> bool:
        """Whether a robust line since the best (Theil 1950, Sen 1968) rises far enough, and not by chance (Kendall)."""
        since = slice(self.best_at, None)
        at, value = self.badness.at[since], self.badness.value[since]
        n = len(at)
        if n < 8:
            return False
        first, second = np.triu_indices(n, 1)
        later = at[second] > at[first]
        slopes = (value[second] - value[first])[later] / (at[second] - at[first])[later]
        if not len(slopes) or np.sign(slopes).sum() < 3.5 * (n * (n - 1) * (2 * n + 5) / 18) ** 0.5:
            return False
        slope = float(np.median(slopes))
        middle = float(np.median(value - slope * at))
        began, ends = middle + slope * at[0], middle + slope * at[-1]
        return bool(began > 0 and ends > began * self._factor and ends > self.limit(n))

    @property
    def _factor(self) -> float:
        return WORSE if self.name in MEASURES else OWN_WORSE

    @cached_property
    def improved(self) -> bool:
        """Whether its newest median is clearly better than its first values."""
        return self.improved_after(-np.inf)

    @property
    def is_better(self) -> bool:
        """Whether it has improved, and was never clearly better than now."""
        return self.improved and not self.worse

    def improved_after(self, when: float) -> bool:
        """The same of the values after a time."""
        part = self.badness.after(when)
        if len(part) < 2:
            return False
        first = part.early(min(3, max(1, len(part) // 4)))
        least = min(0.9 * first, first - self._slack) if self.name not in OWN else 0.9 * first - self._slack
        return part.recent(min(3, len(part))) < least

    @cached_property
    def useless(self) -> bool:
        """Whether it has been as bad as that of noise all the time."""
        value, limit = self.shown.value, USELESS.get(self.name)
        if limit is None or self.improved or len(value) < 6 or (self.name == "kid" and np.median(value) > 1):
            return False  # a KID that large is printed a hundred or a thousand times as large
        return bool(value.max() < limit if MEASURES[self.name] == HIGHER else value.min() > limit)

    @property
    def worse_since(self) -> float:
        """The first time after the best stretch."""
        best = float(self._smooth[self.best_at])
        near = best + 0.25 * (self.limit(self._width) - best)
        good = np.flatnonzero(self._smooth <= near)
        return float(self.badness.at[min(good[-1] + 1, len(self.badness) - 1)])

    @property
    def ratio(self) -> float:
        """How many times its best it is now."""
        now, best = self.badness.recent(min(3, len(self.badness))), float(self._smooth[self.best_at])
        return now / best if best > 0 else 1.0

    def values(self) -> tuple[float, float, float]:
        """(now, the best, when) as measured: medians."""
        shown = self.shown.smooth(self._width).value
        return (
            self.shown.recent(min(3, len(self.shown))),
            float(shown[self.best_at]),
            float(self.shown.at[self.best_at]),
        )


def measured(history: History, *, own: bool = False) -> Quality | None:
    """The most trusted measure with enough values: three, of our quick ones eight, unless they only improve.

    Where there is none, one with fewer.

    Args:
        own: whether our quick measures count too.
    """
    names = sorted(MEASURES, key=lambda name: not _is_sure(history, name))
    found = [one for name in (*names, *(OWN if own else ())) if (one := _quality(history, name))]
    some = [one for one in found if len(one.shown) >= 3]
    enough = (one for one in some if one.name not in OWN or len(one.shown) >= FEW_OWN or one.is_better)
    return next(enough, next(iter(some or found), None))


def _is_sure(history: History, name: str) -> bool:
    return name not in UNSURE or (name != "ppl" and ("psnr" in history or "ssim" in history))


def _quality(history: History, name: str) -> Quality | None:
    shown = history[name].finite()
    direction = MEASURES.get(name, LOWER)
    if name == "ms-ssim" and shown and not any(paired in history for paired in ("ssim", "psnr", "lpips")):
        direction = HIGHER if np.median(shown.value) > 0.6 else LOWER
    if name in MEASURES:  # 0 or -1 until it is first measured; KID may be below 0, but is not exactly 0
        known = shown.value != 0 if name == "kid" else shown.value > 0
        shown = Series(shown.at[known], shown.value[known])
        changed = np.diff(shown.value, prepend=np.nan) != 0
        if changed.sum() >= 8 and changed.mean() < 0.5:  # each value is repeated until the next is measured
            shown = Series(shown.at[changed], shown.value[changed])
    else:
        shown = since_growth(history, shown)
    if not shown:
        return None
    if name == "ppl":  # a G that has hardly learned changes little along a path
        shown = Series(shown.at[len(shown) // 4 :], shown.value[len(shown) // 4 :])
    shown = shown.thinned(200)
    scaled = {LOWER: lambda v: v, HIGHER: lambda v: 1 / v, DECIBELS: lambda v: 10 ** (-v / 20)}[direction](shown.value)
    return Quality(name, shown, Series(shown.at, scaled), _is_sure(history, name))


def is_growing(history: History) -> bool:
    """Whether networks still grow, by the configuration; without one, by the growth so far."""
    growth = history["growth"]
    return bool(growth) and growth.value[-1] < _full_growth(history)


def since_growth(history: History, shown: Series) -> Series:
    """The values since networks stopped growing: ours compare small images, which are close before the details come."""
    growth = history["growth"]
    if not growth:
        return shown
    growing = np.flatnonzero(growth.value < _full_growth(history))
    return shown.after(float(growth.at[growing[-1]])) if len(growing) else shown


def _full_growth(history: History) -> float:
    config = history.facts.config
    schedule = None if config is None else config.schedules().get("growth")
    return (history["growth"].value.max() if schedule is None else schedule.ends[1]) - 1e-6


def severity_of(history: History, since: float, *, sure: bool = False) -> Severity | None:
    """How serious something is that losses show since a time.

    A failure if a quality that is sure has become worse; nothing while images are as good as ever and better than at
    first, or, of what is proved, better than at that time; else a warning. Where no quality was measured since, or one
    that never was any good, it depends on the evidence.

    Args:
        sure: whether the losses prove it: then it is a failure without a quality too.
    """
    quality = measured(history)
    if quality is None or quality.shown.at[-1] < since or (sure and quality.useless):
        return "failure" if sure else "warning"
    if quality.worse:
        return "failure" if sure or quality.sure else "warning"
    better = quality.improved_after(since) if sure else quality.improved
    return None if better else "warning"
