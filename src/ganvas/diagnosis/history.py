"""The measurements of a training in order of time, and the facts that do not change with it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from ganvas.config import TrainConfig, leaves, to_json


@dataclass(frozen=True, eq=False)
class Series:
    """One quantity through time.

    Attributes:
        at: times, float64 [n], ascending, in the unit of its history.
        value: values, float64 [n]; NaN and infinity are values too.
    """

    at: np.ndarray
    value: np.ndarray

    def __len__(self) -> int:
        return len(self.at)

    def __bool__(self) -> bool:
        return len(self.at) > 0

    @property
    def last(self) -> float:
        """The newest value."""
        return float(self.value[-1])

    def recent(self, n: int = 3) -> float:
        """The median of the newest n values."""
        return float(np.median(self.value[-n:]))

    def early(self, n: int = 3) -> float:
        """The median of the first n values."""
        return float(np.median(self.value[:n]))

    def finite(self) -> "Series":
        """Without NaN and infinity."""
        known = np.isfinite(self.value)
        return Series(self.at[known], self.value[known])

    def after(self, when: float) -> "Series":
        """The values later than `when`."""
        later = self.at > when
        return Series(self.at[later], self.value[later])

    def holds_since(self, true: np.ndarray, least: int = 2) -> float | None:
        """The time since which a condition, bool [n], holds without a break; None if for fewer than `least` values."""
        broken = np.flatnonzero(~true)
        first = broken[-1] + 1 if len(broken) else 0
        return float(self.at[first]) if len(self) - first >= least else None

    def mostly_since(self, true: np.ndarray, least: int) -> float | None:
        """The time since which a condition, bool [n], holds for four values of five or more, and still does.

        None if it holds for fewer than `least` values, or no longer for most of the last twentieth.
        """
        end = true[-max(5, len(self) // 20) :]
        if len(self) < least or 2 * end.sum() <= len(end):
            return None
        score = np.cumsum(np.where(true, 1, -4)[::-1])[::-1]  # of each suffix; the largest begins where it began
        first = int(score.argmax())
        return float(self.at[first]) if true[first:].sum() >= least else None

    def thinned(self, most: int = 2000) -> "Series":
        """At most that many values: the medians of blocks, each at the time of its first value."""
        size = -(-len(self) // most)
        if size <= 1:
            return self
        starts = np.arange(0, len(self), size)
        return Series(self.at[starts], np.array([np.median(self.value[i : i + size]) for i in starts]))

    def smooth(self, width: int) -> "Series":
        """Medians of so many values around each, an odd number; of fewer towards the ends, as many on each side."""
        if width < 3 or len(self) < 3:
            return self
        half = min(width // 2, (len(self) - 1) // 2)
        windows = np.lib.stride_tricks.sliding_window_view(self.value, 2 * half + 1)
        ends = [i for i in range(len(self)) if not half <= i < len(self) - half]
        value = np.concatenate([np.empty(half), np.median(windows, axis=1), np.empty(half)])
        for i in ends:
            reach = min(i, len(self) - 1 - i)
            value[i] = np.median(self.value[i - reach : i + reach + 1])
        return Series(self.at, value)


EMPTY = Series(np.empty(0), np.empty(0))


@dataclass(frozen=True)
class NonFinite:
    """The first quantities that were NaN or infinite.

    Attributes:
        at: when, in the unit of the history.
        quantities: their names, such as G/loss.
    """

    at: float
    quantities: tuple[str, ...]


@dataclass(frozen=True)
class Facts:
    """What is known of a training besides its measurements; None is unknown.

    Attributes:
        config: the configuration of a run of Ganvas; None for other people's loops and logs.
        critic: whether D is a Wasserstein critic, whose loss has no fixed zero.
        output_activation: the kind of G's last layer, in lower case: tanh, sigmoid, linear …
        images: the size of the training set.
        classes: the number of its classes; 0 without labels.
        shown: real images shown to D so far.
        non_finite: where numbers stopped being finite.
        probe_errors: {what a probe could not measure: the error}.
        source: the name of a log file.
        columns: {name in the log: name in Ganvas} of the quantities that were recognised.
        unread: lines of the log that could not be parsed.
        restarts: how often time went back in the log.
        probabilities: whether D's outputs in the log are probabilities.
        format: the format of the log, in words.
        unused: names in the log whose meaning is not known.
        resolution: {quantity: the smallest difference that the log prints}, such as 0.01 for 0.69; without an entry
            it is derived from the values.
        notes: what was done to the numbers of the log when it was read, in words for the user.
    """

    config: TrainConfig | None = None
    critic: bool | None = None
    output_activation: str = ""
    images: int | None = None
    classes: int | None = None
    shown: int | None = None
    non_finite: NonFinite | None = None
    probe_errors: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    unread: int = 0
    restarts: int = 0
    probabilities: bool | None = None
    format: str = ""
    unused: tuple[str, ...] = ()
    resolution: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def knobs(self) -> dict[str, Any]:
        """{name: value} of the configuration; empty without one."""
        return dict(leaves(self.config)) if self.config else {}

    def to_json(self) -> dict[str, Any]:
        """Only what is known."""
        known = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        known = {name: value for name, value in known.items() if value is not None and value not in ("", {}, (), 0)}
        if self.critic is not None:
            known["critic"] = self.critic
        if self.probabilities is not None:
            known["probabilities"] = self.probabilities
        if self.config is not None:
            known["config"] = to_json(self.config)
        if self.non_finite is not None:
            known["non_finite"] = {"at": self.non_finite.at, "quantities": list(self.non_finite.quantities)}
        return known


@dataclass(eq=False)
class History:
    """A training as it was measured.

    Attributes:
        unit: the unit of time: kimg, step, epoch, or row.
        facts: what else is known of the training.
        columns: {name: (times, values)} of each quantity; the names are in `ganvas.diagnosis.signals`.
    """

    unit: str
    facts: Facts = field(default_factory=Facts)
    columns: dict[str, tuple[list[float], list[float]]] = field(default_factory=dict)
    _series: dict[str, Series] = field(default_factory=dict, init=False, repr=False)

    def update_facts(self, **changes: Any) -> None:
        """Replaces fields of `facts`."""
        self.facts = replace(self.facts, **changes)

    def add(self, at: float, values: Mapping[str, float | None]) -> None:
        """Appends the values of one time; None is skipped."""
        for name, value in values.items():
            if value is not None:
                times, column = self.columns.setdefault(name, ([], []))
                times.append(at)
                column.append(float(value))

    def add_line(self, line: Mapping[str, Any]) -> None:
        """Appends a line of stats.jsonl; G/steps counts the updates of G in all lines so far."""
        values = dict(numbers(line))
        if "G/updates" in values:
            before = self.columns["G/steps"][1][-1] if "G/steps" in self.columns else 0.0
            values["G/steps"] = before + values["G/updates"]
        self.add(line["nimg"] / 1000, values)

    def __getitem__(self, name: str) -> Series:
        if name not in self.columns:
            return EMPTY
        times, values = self.columns[name]
        series = self._series.get(name)
        if series is None or len(series) != len(times):  # columns only grow, and every rule reads them
            series = self._series[name] = Series(np.asarray(times, float), np.asarray(values, float))
        return series

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    @property
    def now(self) -> float:
        """The time of the newest value; 0 before the first."""
        return max((times[-1] for times, _ in self.columns.values()), default=0.0)

    @property
    def probes(self) -> int:
        """How often the networks were measured: of small batches D's outputs are known less often than its weights."""
        return max(len(self["D/auc"]), len(self["D/update"]))

    @classmethod
    def from_stats(cls, lines: Iterable[Mapping[str, Any]], facts: Facts) -> "History":
        """From the lines of a run's stats.jsonl: the means of what is logged every round, and the probes."""
        history = cls("kimg", facts)
        for line in lines:
            history.add_line(line)
        return history


def numbers(line: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """(name, value) of each quantity in a line of stats.jsonl; of a {num, mean, std} the mean, and the std as /std."""
    for name, value in line.items():
        if isinstance(value, Mapping):
            if "mean" in value:
                yield name, value["mean"]
                yield f"{name}/std", value.get("std", 0.0)
            else:
                yield from numbers(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield name, float(value)
